"""Which runtime serves a model, and whether a named one may. Pure; the order of the runtimes does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from ome_iac.planning.default_profile.answers import Candidate, Check, Rejection, Selection
from ome_iac.planning.default_profile.judging import Verdict, judge
from ome_iac.planning.default_profile.proving import allowed_shapes, prove_engine
from ome_iac.planning.default_profile.question import Question
from ome_iac.problems import ProblemsError, did_you_mean
from ome_iac.runtimes.engines import all_engines, automatic_engines, engine
from ome_iac.spec.runtimes import RuntimeDocument, ServingRuntime, SupportedFormat
from ome_iac.spec.sizes import parameters

SHOWN = 3
"""Refused runtimes whose reasons stand in the error itself; `rejected` has all."""


def select(question: Question, runtimes: Iterable[RuntimeDocument]) -> Selection:
    """Choose among the declared runtimes in reach and our own engines."""
    if question.model.spec.disabled:
        return Selection(None, error=f"the model {question.model.name} is disabled")
    candidates: list[Candidate] = []
    rejected: list[Rejection] = []
    for document in _in_reach(runtimes, question):
        verdict = judge(document, question)
        reasons = [*verdict.reasons, *verdict.undecided]
        entry = verdict.finding.entry
        reasons += verdict.only_when_named
        if question.unknown:
            reasons.append(question.unknown)
        if reasons:
            rejected.append(Rejection(document.name, tuple(reasons), cluster=_of_cluster(document)))
        elif entry is not None:
            candidates.append(_candidate(document, entry, verdict))
    if question.unknown:
        return Selection(None, (), _nearest_first(rejected), question.unknown)
    if question.read is not None:
        allowed, _ = allowed_shapes(question.classes, question.selectors)
        for order, (name, ours) in enumerate(automatic_engines().items()):
            fit = prove_engine(name, question.read, question.intent, allowed)
            if fit.reasons:
                rejected.append(Rejection(ours.name, fit.reasons, declared=False))
            else:
                from_docs = ours.catalog.source is not None
                candidates.append(Candidate(ours.name, fit, declared=False, order=order, from_docs=from_docs))
    candidates.sort(key=lambda candidate: candidate.rank)
    if candidates:
        return Selection(candidates[0].name, tuple(candidates), _nearest_first(rejected))
    return Selection(None, (), _nearest_first(rejected), _nothing(question, rejected))


def _engine_named(name: str) -> str | None:
    """An engine of ours as a service names it: `vllm`, `vllm==0.19.0`, or as plans show it, `vllm 0.33.0`.

    Raises ProblemsError for a version that is not known; None where no engine has the name.
    """
    kind, _, version = name.replace(" ", "==").partition("==")
    if kind not in all_engines():
        return None
    engine(kind, version or None, "--runtime")
    return f"{kind}=={version}" if version else kind


def _candidate(document: RuntimeDocument, entry: SupportedFormat, verdict: Verdict) -> Candidate:
    bounds = document.spec.model_size_range
    low, high = (parameters(text or "") for text in ((bounds.min, bounds.max) if bounds else (None, None)))
    return Candidate(
        name=document.name,
        fit=verdict.fit,
        priority=1 if entry.priority is None else entry.priority,
        architecture=entry.model_architecture,
        sizes=f"{bounds.min} to {bounds.max}" if bounds else "",
        width=inf if low is None or high is None else high - low,
        cluster=_of_cluster(document),
        notes=verdict.notes,
    )


def _nearest_first(rejected: Sequence[Rejection]) -> tuple[Rejection, ...]:
    return tuple(sorted(rejected, key=lambda one: (one.declared, len(one.reasons), one.name, one.reasons)))


def check(question: Question, name: str, runtimes: Iterable[RuntimeDocument]) -> Check:
    """Whether the named runtime may serve the model: a declared one, the namespace's first, or an engine of ours."""
    if question.model.spec.disabled:
        reason = f"the model {question.model.name} is disabled"
        return Check(False, (reason,), reason)
    known = _in_reach(runtimes, question)
    named = [document for document in known if document.name == name]
    if named:
        verdict = judge(named[0], question)
        if verdict.reasons:
            return _refused(name, question, verdict.reasons, verdict.notes)
        unknown = [*verdict.undecided, *([verdict.fit.unknown] if verdict.fit.unknown else [])]
        if unknown:
            remedy = f"; fetch it with: {question.fetch}" if question.fetch else ""
            return Check(True, fit=f"unknown: {'; '.join(unknown)}{remedy}", notes=verdict.notes)
        return Check(True, fit=str(verdict.fit), notes=verdict.notes)
    try:
        ours = _engine_named(name)
    except ProblemsError as error:
        what = "; ".join(f"{problem.what}; {problem.remedy}" for problem in error.problems)
        return Check(False, (what,), what)
    if ours is None:
        near = did_you_mean(name, [*(document.name for document in known), *all_engines()])
        what = f"there is no runtime {name} in namespace {question.namespace} or of the cluster"
        what += f"; {near}" if near.startswith("did") else ""
        return Check(False, (what,), what)
    if question.read is None:
        return Check(True, fit=question.unknown or "unknown: the document names no files to read")
    allowed, notes = allowed_shapes(question.classes, question.selectors)
    fit = prove_engine(ours, question.read, question.intent, allowed)
    if fit.reasons:
        return _refused(name, question, fit.reasons, tuple(notes))
    return Check(True, fit=str(fit), notes=tuple(notes))


def _refused(name: str, question: Question, reasons: Sequence[str], notes: tuple[str, ...]) -> Check:
    return Check(
        False, tuple(reasons), f"runtime {name} cannot serve {question.model.name}: {'; '.join(reasons)}", None, notes
    )


def _nothing(question: Question, rejected: Sequence[Rejection]) -> str:
    ours = [rejection for rejection in rejected if not rejection.declared]
    declared = [rejection for rejection in rejected if rejection.declared]
    shown = declared if len(declared) <= SHOWN else []
    told = [f"{one.name}: {', '.join(one.reasons)}" for one in (*shown, *ours)]
    if len(declared) > SHOWN:
        told.insert(0, f"{len(declared)} declared ones are refused")
    if question.read is None:
        told.append("nothing was read of the model, so that no engine of ome-iac can be proven")
    return f"no runtime serves {question.model.name}: {'; '.join(told)}"


def _in_reach(runtimes: Iterable[RuntimeDocument], question: Question) -> list[RuntimeDocument]:
    """The namespace's, then the cluster's, each by name; two of a name are told apart by their content."""
    namespace = question.namespace
    found = [
        document
        for document in runtimes
        if _of_cluster(document) or (document.metadata.namespace or namespace) == namespace
    ]
    return sorted(found, key=lambda document: (_of_cluster(document), document.name, document.model_dump_json()))


def _of_cluster(document: RuntimeDocument) -> bool:
    return not isinstance(document, ServingRuntime)
