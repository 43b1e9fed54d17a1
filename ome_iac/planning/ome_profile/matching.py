"""Whether a runtime can serve a model, by OME's rules and in OME's words.

A field of an entry and of the model must both be set, and agree, or both be left out; only the diffusion pipeline may
be left out by the entry alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ome_iac.planning.ome_profile.sizes import parse_size
from ome_iac.planning.ome_profile.versions import accepts
from ome_iac.spec.models import DiffusionComponent, DiffusionPipeline, ModelDeclaration, Versioned
from ome_iac.spec.runtimes import ServingRuntimeSpec, SupportedFormat

DISABLED = "runtime is disabled"
WRONG_ACCELERATOR = "runtime does not support the required accelerator class"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reasons` against the runtime, OME's first one first; `crash` is what OME's selector panics on."""

    reasons: tuple[str, ...]
    crash: str | None = None

    @property
    def compatible(self) -> bool:
        """Nothing speaks against it."""
        return not self.reasons and self.crash is None


def judge(runtime: ServingRuntimeSpec, model: ModelDeclaration, accelerator_classes: Collection[str]) -> Verdict:
    """Everything that speaks against the runtime; auto-selection is not asked about."""
    reasons: list[str] = []
    if runtime.disabled:
        reasons.append(DISABLED)
    if not set(accelerator_classes) <= set(runtime.accelerator_classes):
        reasons.append(WRONG_ACCELERATOR)
    mismatches = _format_mismatches(runtime, model)
    if mismatches is not None:
        reasons.append(f"model format '{label(model)}' not in supported formats: {mismatches}")
    size, bounds = model.model_parameter_size, runtime.model_size_range
    if size is None or bounds is None:
        return Verdict(tuple(reasons))
    if bounds.min is None or bounds.max is None:
        missing = " and no ".join(name for name in ("min", "max") if getattr(bounds, name) is None)
        crash = f"spec.modelSizeRange has no {missing}: OME panics on it (nil pointer dereference), write both"
        return Verdict(tuple(reasons), None if reasons else crash)
    # Not `not low <= size <= high`: a range with NaN in it takes every size.
    if parse_size(size) < parse_size(bounds.min) or parse_size(size) > parse_size(bounds.max):
        reasons.append(f"model size {size} is outside supported range [{bounds.min}, {bounds.max}]")
    return Verdict(tuple(reasons))


def label(model: ModelDeclaration) -> str:
    """How OME names a model's format."""
    own = (model.model_architecture, model.quantization)
    parts = ("mt", *_name_and_version(model.model_format), *own, *_name_and_version(model.model_framework))
    return ":".join(part for part in parts if part is not None)


def _name_and_version(versioned: Versioned | None) -> tuple[str | None, ...]:
    return (versioned.name, versioned.version) if versioned else ()


def _format_mismatches(runtime: ServingRuntimeSpec, model: ModelDeclaration) -> str | None:
    """None where an entry matches, else why each does not."""
    all_of_them = []
    for entry in runtime.supported_model_formats:
        mismatches = list(_entry_mismatches(entry, model))
        if not mismatches and entry.model_format is not None:
            return None
        all_of_them.append(", ".join(mismatches) or "unknown mismatch")
    return "; ".join(all_of_them) or "no supported formats defined"


def _entry_mismatches(entry: SupportedFormat, model: ModelDeclaration) -> Iterator[str]:
    pipeline = _pipeline_mismatch(model.diffusion_pipeline, entry.diffusion_pipeline)
    if pipeline:
        yield pipeline
    for name, ours, theirs in (
        ("architecture", entry.model_architecture, model.model_architecture),
        ("quantization", entry.quantization, model.quantization),
    ):
        if ours == theirs:
            continue
        if theirs is None:
            yield f"model has no {name} but runtime requires {ours}"
        elif ours is None:
            yield f"model has {name} {theirs} but runtime has no {name} requirement"
        else:
            yield f"{name} mismatch (model={theirs}, runtime={ours})"
    if entry.model_format and model.model_format:
        yield from _versioned_mismatch("format", entry.model_format, model.model_format)
    if entry.model_framework and model.model_framework:
        yield from _versioned_mismatch("framework", entry.model_framework, model.model_framework)
    elif entry.model_framework:
        yield f"model has no framework but runtime requires {entry.model_framework.name}"
    elif model.model_framework:
        yield f"model has framework {model.model_framework.name} but runtime has no framework requirement"


def _versioned_mismatch(kind: str, ours: Versioned, theirs: Versioned) -> Iterator[str]:
    if ours.name != theirs.name:
        yield f"{kind} name mismatch (model={theirs.name}, runtime={ours.name})"
    elif ours.version is None:
        if theirs.version is not None:
            yield f"model has {kind} version but runtime has no version requirement"
    elif theirs.version is None:
        yield f"model has no {kind} version but runtime requires {ours.version}"
    elif not accepts(ours.version, ours.operator, theirs.version):
        yield f"{kind} version mismatch (model={theirs.version}, runtime={ours.version})"


def _pipeline_mismatch(model: DiffusionPipeline | None, entry: DiffusionPipeline | None) -> str | None:
    """The first difference that OME meets; additional components, a Go map there, in the order of their names."""
    if entry is None:
        return None
    if model is None:
        return "diffusion pipeline required by runtime but not specified in model"
    if entry.class_name is not None and entry.class_name != model.class_name:
        named = "<nil>" if model.class_name is None else model.class_name
        return f"pipeline class mismatch (model={named}, runtime={entry.class_name})"
    for name, theirs, ours in (
        ("scheduler", model.scheduler, entry.scheduler),
        ("textEncoder", model.text_encoder, entry.text_encoder),
        ("tokenizer", model.tokenizer, entry.tokenizer),
        ("transformer", model.transformer, entry.transformer),
        ("vae", model.vae, entry.vae),
    ):
        mismatch = _component_mismatch(name, theirs, ours)
        if mismatch:
            return mismatch
    if entry.additional_components and not model.additional_components:
        return "diffusion pipeline missing required additional components"
    for name, component in sorted(entry.additional_components.items()):
        if name not in model.additional_components:
            return f"diffusion component {name} missing in model"
        mismatch = _component_mismatch(name, model.additional_components[name], component)
        if mismatch:
            return mismatch
    return None


def _component_mismatch(name: str, model: DiffusionComponent | None, entry: DiffusionComponent | None) -> str | None:
    if entry is None:
        return None
    if model is None:
        return f"component {name} required by runtime but not specified in model"
    for what, ours, theirs in (("library", entry.library, model.library), ("type", entry.type, model.type)):
        if ours and ours != (theirs or ""):
            return f"{name} {what} mismatch (model={theirs or ''}, runtime={ours})"
    return None
