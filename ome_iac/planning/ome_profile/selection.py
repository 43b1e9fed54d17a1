"""OME's answer to "which runtime for this model", and to "may this one serve it"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ome_iac.planning.ome_profile.documents import ServiceDocument
from ome_iac.planning.ome_profile.matching import DISABLED, WRONG_ACCELERATOR, Verdict, judge
from ome_iac.planning.ome_profile.scoring import best_first, score
from ome_iac.spec.models import ModelDeclaration
from ome_iac.spec.runtimes import RuntimeDocument, ServingRuntime

ACCELERATOR_ANNOTATION = "ome.io/accelerator-class"
NOT_AUTOMATIC = "no supported format has autoSelect: true"
NO_SCORE = "no entry open to auto-selection has the model's format and framework"


@dataclass(frozen=True)
class Candidate:
    """A runtime that may be selected."""

    name: str
    score: int
    cluster: bool


@dataclass(frozen=True)
class Rejection:
    """A runtime that may not, and all that speaks against it."""

    name: str
    reasons: tuple[str, ...]
    cluster: bool


@dataclass(frozen=True)
class Selection:
    """`candidates` best first; `rejected` by scope and name; `error` in OME's words where nothing is selected."""

    selected: str | None
    candidates: tuple[Candidate, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What `ome-iac select --json` prints."""
        return {
            "selected": self.selected,
            "candidates": [{"name": found.name, "score": found.score} for found in self.candidates],
            "rejected": [{"name": found.name, "reasons": list(found.reasons)} for found in self.rejected],
            "error": self.error,
        }


@dataclass(frozen=True)
class Check:
    """Whether a named runtime may serve the model."""

    valid: bool
    reasons: tuple[str, ...] = ()
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What `ome-iac select --runtime NAME --json` prints."""
        return {"valid": self.valid, "reasons": list(self.reasons), "error": self.error}


def as_applied(runtimes: Iterable[RuntimeDocument]) -> list[RuntimeDocument]:
    """What a cluster holds after the documents were applied in this order: of two with one name, the last."""
    held = {(runtime.KIND, runtime.metadata.namespace, runtime.name): runtime for runtime in runtimes}
    return list(held.values())


def select(
    model: ModelDeclaration,
    runtimes: Iterable[RuntimeDocument],
    service: ServiceDocument | None = None,
    namespace: str = "default",
) -> Selection:
    """Choose among the runtimes of the service's namespace and of the cluster; `namespace` counts without a service.

    Every runtime of the namespace goes before every one of the cluster, whatever their scores.
    """
    unusable = _model_error(model)
    if unusable:
        return Selection(None, error=unusable)
    namespace = _namespace(service, namespace)
    known, classes = _visible(runtimes, namespace), _required_classes(service)
    found: list[tuple[int, RuntimeDocument]] = []
    rejected: list[Rejection] = []
    excluded: dict[str, str] = {}
    crashes: list[str] = []
    for runtime in known:
        verdict = judge(runtime.spec, model, classes)
        reasons = [*verdict.reasons, *([verdict.crash] if verdict.crash else [])]
        if verdict.crash:
            crashes.append(_crash(runtime, verdict.crash))
        elif reasons:
            excluded[runtime.name] = reasons[0]
        points = score(runtime.spec, model) if verdict.compatible else 0
        if not any(entry.auto_select for entry in runtime.spec.supported_model_formats):
            reasons.append(NOT_AUTOMATIC)
        elif verdict.compatible and points <= 0:
            reasons.append(NO_SCORE)
        if reasons:
            rejected.append(Rejection(runtime.name, tuple(reasons), _of_cluster(runtime)))
        else:
            found.append((points, runtime))
    if crashes:
        return Selection(None, (), tuple(rejected), "; ".join(crashes))
    found.sort(key=best_first(model))
    found.sort(key=lambda item: _of_cluster(item[1]))
    candidates = tuple(Candidate(runtime.name, points, _of_cluster(runtime)) for points, runtime in found)
    if candidates:
        return Selection(candidates[0].name, candidates, tuple(rejected))
    return Selection(None, (), tuple(rejected), _nothing_found(model, namespace, known, excluded))


def check(
    model: ModelDeclaration,
    name: str,
    runtimes: Iterable[RuntimeDocument],
    service: ServiceDocument | None = None,
    namespace: str = "default",
) -> Check:
    """Whether the named runtime may serve the model; autoSelect is not asked for."""
    unusable = _model_error(model)
    if unusable:
        return Check(False, (unusable,), unusable)
    namespace = _namespace(service, namespace)
    named = [runtime for runtime in _visible(runtimes, namespace) if runtime.name == name]
    if not named:
        missing = f"runtime {name} not found in namespace {namespace} or at cluster scope"
        return Check(False, (missing,), missing)
    verdict = judge(named[0].spec, model, _required_classes(service))
    if verdict.compatible:
        return Check(True)
    if verdict.crash:
        return Check(False, (verdict.crash,), _crash(named[0], verdict.crash))
    return Check(False, verdict.reasons, _refusal(named[0], model, verdict))


def _model_error(model: ModelDeclaration) -> str | None:
    if model.model_format and model.model_format.name:
        return None
    return "invalid model specification: modelFormat.name: model format name is required"


def _refusal(runtime: RuntimeDocument, model: ModelDeclaration, verdict: Verdict) -> str:
    first = verdict.reasons[0]
    if first == DISABLED:
        return f"{'cluster' if _of_cluster(runtime) else 'namespace'}-scoped runtime {runtime.name} is disabled"
    # OME calls a model by its format, and leaves even that out where the accelerator is wrong.
    called = "" if first == WRONG_ACCELERATOR or model.model_format is None else model.model_format.name
    return f"runtime {runtime.name} does not support model {called}: {first}"


def _nothing_found(
    model: ModelDeclaration, namespace: str, known: list[RuntimeDocument], excluded: dict[str, str]
) -> str:
    format_name = model.model_format.name if model.model_format else ""
    text = f"no runtime found to support model {format_name} with format {format_name} in namespace {namespace}"
    if known:
        cluster = sum(map(_of_cluster, known))
        text += f". Checked {len(known)} runtimes"
        text += f" ({len(known) - cluster} namespace-scoped, {cluster} cluster-scoped)"
    if excluded:
        text += ". Excluded runtimes: "
        text += "; ".join(f"{name} ({reason})" for name, reason in sorted(excluded.items()))
    return text


def _crash(runtime: RuntimeDocument, what: str) -> str:
    return f"runtime {runtime.name}: {what}"


def _of_cluster(runtime: RuntimeDocument) -> bool:
    return not isinstance(runtime, ServingRuntime)


def _namespace(service: ServiceDocument | None, otherwise: str) -> str:
    return (service.metadata.namespace if service else None) or otherwise


def _visible(runtimes: Iterable[RuntimeDocument], namespace: str) -> list[RuntimeDocument]:
    """The namespace's and the cluster's, in that order and each by name; one without a namespace is in this one.

    Two of a name are no case of OME's, a cluster cannot hold them; their content then decides the order.
    """
    visible = [
        runtime
        for runtime in runtimes
        if _of_cluster(runtime) or (runtime.metadata.namespace or namespace) == namespace
    ]
    of_a_name = Counter((_of_cluster(runtime), runtime.name) for runtime in visible)

    def place(runtime: RuntimeDocument) -> tuple[bool, str, str]:
        scope, name = _of_cluster(runtime), runtime.name
        return scope, name, runtime.spec.model_dump_json() if of_a_name[scope, name] > 1 else ""

    return sorted(visible, key=place)


def _required_classes(service: ServiceDocument | None) -> frozenset[str]:
    """Accelerator classes that the runtime must list, all of them."""
    if service is None:
        return frozenset()
    spec = service.spec
    selectors = [spec.accelerator_selector]
    selectors += [part.accelerator_override for part in (spec.engine, spec.decoder) if part]
    named = [selector.accelerator_class for selector in selectors if selector]
    named.append(service.metadata.annotations.get(ACCELERATOR_ANNOTATION))
    return frozenset(name for name in named if name is not None)
