"""What a runtime's document says of the models it serves, held against a model.

An entry's field that is left out takes any model: one runtime may serve many. One that is written must be the model's:
architecture, quantization and format are compared as text, sizes by the counted parameters, versions by the operator
that is written. A framework's version without an operator is that of the files' publisher and refuses nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

from ome_iac.models.metadata import ModelMetadata
from ome_iac.problems import did_you_mean
from ome_iac.spec.models import ModelDeclaration, ModelDocument, Storage, Versioned
from ome_iac.spec.runtimes import ServingRuntimeSpec, SupportedFormat
from ome_iac.spec.sizes import parameters

PROTOCOLS = ("openAI", "openInference-v1", "openInference-v2", "cohere", "v1", "v2", "grpc-v1", "grpc-v2")
"""Protocols as OME's and KServe's documents name them; compared without regard to case."""

_PLUMBING = re.compile(
    r"srt|vllm|sglang|trt|trtllm|tensorrt|tgi|tei|nim|triton|rt|runtime|serving|server|pd|rdma|grpc|multi|single|node"
    r"|multinode|cluster|nvidia|amd|[abhl]\d{2,3}s?|gb\d{3}|mi\d{3}x?|(tp|pp|dp|ep)\d*|\d*x?gpus?"
)
"""Words of a runtime's name that name no model."""

_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    "Equal": operator.eq,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
}


@dataclass(frozen=True)
class Subject:
    """A model as declarations are held against it: what was read, else what its document says; None: not known.

    `quantization` is OME's word for it, "" for none. `names` are what it may be served as.
    """

    names: tuple[str, ...]
    repository: str | None
    format: Versioned | None
    framework: Versioned | None
    architecture: str | None
    quantization: str | None
    methods: tuple[str, ...]
    size: float | None
    pipeline: str | None
    was_read: bool

    @classmethod
    def of(cls, document: ModelDocument | None, read: ModelMetadata | None) -> Subject:
        """From a model's document and what was read of it; either may be missing."""
        said = document.spec if document else ModelDeclaration()
        storage: Storage | None = getattr(said, "storage", None)
        uri = storage.storage_uri if storage else read.source if read else ""
        repository = uri.removeprefix("hf://").partition("@")[0].strip("/") if uri.startswith("hf://") else None
        names = [document.name] if document else []
        names += [repository] if repository else []
        names += [said.display_name] if said.display_name else []
        read_framework = (
            Versioned(name=read.framework, version=read.framework_version) if read and read.framework else None
        )
        quantization, methods = said.quantization, () if said.quantization is None else (said.quantization,)
        if read and (read.architecture or read.weights):
            stored = read.quantization
            quantization = (stored.ome_name or stored.method) if stored else ""
            methods = (stored.method, *((stored.ome_name,) if stored.ome_name else ())) if stored else ()
        size = float(read.parameters.total) if read and read.parameters else None
        if size is None and said.model_parameter_size:
            size = parameters(said.model_parameter_size)
        architecture = (read.architecture if read else None) or said.model_architecture
        framework = read_framework or said.model_framework
        pipeline = said.diffusion_pipeline.class_name if said.diffusion_pipeline else None
        if framework and framework.name == "diffusers":
            pipeline = pipeline or architecture
        return cls(
            names=tuple(names),
            repository=repository,
            format=Versioned(name=read.format) if read and read.format else said.model_format,
            framework=framework,
            architecture=architecture,
            quantization=quantization,
            methods=methods,
            size=size,
            pipeline=pipeline,
            was_read=read is not None and bool(read.architecture or read.weights),
        )


@dataclass(frozen=True)
class Finding:
    """What one document says against a model, and what could not be told; `entry` is the one that matches best."""

    reasons: tuple[str, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]
    entry: SupportedFormat | None


def declared(runtime: ServingRuntimeSpec, subject: Subject) -> Finding:
    """Hold the document against the model; every entry's reasons where none matches."""
    reasons = ["it is disabled"] if runtime.disabled else []
    reasons += [
        f"protocolVersions: {name} is no protocol, {did_you_mean(name, PROTOCOLS)}"
        for name in runtime.protocol_versions
        if name.lower() not in {known.lower() for known in PROTOCOLS}
    ]
    unknown: list[str] = []
    notes: tuple[str, ...] = ()
    chosen: SupportedFormat | None = None
    judged = [(entry, _judge(entry, subject)) for entry in runtime.supported_model_formats]
    matching = [(entry, found) for entry, found in judged if not found.reasons]
    if matching:
        # What is known to match goes before what may, what is open to selection before what is not.
        chosen, best = min(
            matching,
            key=lambda item: (len(item[1].unknown), not item[0].auto_select, -(item[0].priority or 1), item[0].serves),
        )
        unknown, notes = [*best.unknown], best.notes
    elif judged:
        ways = [", ".join(found.reasons) for _, found in judged]
        reasons += dict.fromkeys(ways if len(ways) == 1 else [f"entry {i}: {way}" for i, way in enumerate(ways)])
    else:
        reasons.append("supportedModelFormats is empty: it serves no model")
    size_reasons, size_unknown = _outside(runtime, subject)
    return Finding((*reasons, *size_reasons), (*unknown, *size_unknown), notes, chosen)


def same_model(name: str, subject: Subject) -> bool:
    """Whether a served name or repository is this model's: by its last part, whatever the punctuation."""
    return _plain(name) in {_plain(known) for known in subject.names}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.rstrip("/").rpartition("/")[2].lower()).strip("-")


def _judge(entry: SupportedFormat, subject: Subject) -> Finding:
    reasons: list[str] = []
    unknown: list[str] = []
    notes: list[str] = []
    if entry.model_format is None:
        reasons.append("it has no modelFormat, and so serves no model")
    for what, ours, theirs in (
        ("architecture", entry.model_architecture, subject.architecture),
        ("quantization", entry.quantization, subject.quantization),
    ):
        if ours is None:
            continue
        if theirs is None:
            unknown.append(f"the model's {what} is not known, it serves {ours}")
        elif ours != theirs and ours not in (subject.methods if what == "quantization" else ()):
            reasons.append(f"serves {what} {ours}, the model has {theirs or 'none'}")
    wanted_pipeline = entry.diffusion_pipeline.class_name if entry.diffusion_pipeline else None
    if wanted_pipeline and subject.pipeline and wanted_pipeline != subject.pipeline:
        reasons.append(f"serves pipeline {wanted_pipeline}, the model's is {subject.pipeline}")
    elif wanted_pipeline and subject.pipeline is None:
        text = f"serves pipeline {wanted_pipeline}, the model "
        (reasons if subject.was_read else unknown).append(text + ("has none" if subject.was_read else "names none"))
    for what, wanted, found in (
        ("format", entry.model_format, subject.format),
        ("framework", entry.model_framework, subject.framework),
    ):
        if wanted is not None:
            _versioned(what, wanted, found, reasons, notes)
    return Finding(tuple(reasons), tuple(unknown), tuple(notes), entry)


def _versioned(what: str, wanted: Versioned, found: Versioned | None, reasons: list[str], notes: list[str]) -> None:
    if found is None:
        notes.append(f"the model's {what} is not known, it serves {wanted.name}")
        return
    if wanted.name.lower() != found.name.lower():
        reasons.append(f"serves {what} {wanted.name}, the model's is {found.name}")
        return
    if wanted.version is None or found.version is None:
        return
    asked = wanted.operator or "Equal"
    try:
        ours, theirs = Version(wanted.version), Version(found.version)
    except InvalidVersion:
        agrees = wanted.version == found.version
    else:
        # OME's operators are runtime OP model: GreaterThanOrEqual takes models that are not newer.
        agrees = _COMPARE.get(asked, _COMPARE["Equal"])(ours, theirs)
    if agrees:
        return
    text = f"names {what} {wanted.name} {wanted.version}, the model's is {found.version}"
    if what == "framework" and wanted.operator is None:
        notes.append(text)
    else:
        reasons.append(f"{text} ({asked})")


def _outside(runtime: ServingRuntimeSpec, subject: Subject) -> tuple[list[str], list[str]]:
    bounds = runtime.model_size_range
    if bounds is None:
        return [], []
    low, high = (parameters(text) if text else None for text in (bounds.min, bounds.max))
    if low is None or high is None:
        return [f"modelSizeRange [{bounds.min}, {bounds.max}] is no range: write both bounds as in 7B"], []
    if subject.size is None:
        return [], [f"the model's size is not known, it serves {bounds.min} to {bounds.max}"]
    if low <= subject.size <= high:
        return [], []
    return [f"serves {bounds.min} to {bounds.max} parameters, the model has {_billions(subject.size)}"], []


def _billions(size: float) -> str:
    return f"{size / 1e9:.2f}B" if size >= 1e8 else f"{size / 1e6:.1f}M"


def named_elsewhere(values: tuple[str, ...], subject: Subject) -> Iterator[str]:
    """Of the literal names in a command, those that are another model's; none where the model's name is unknown.

    A repository (`org/name`) and a name with a number in it (`llama-3-8b`) are a model's; `vllm-model` is an alias.
    """
    if not subject.names:
        return
    for value in values:
        literal = "$" not in value and "{{" not in value and not value.startswith("/")
        if literal and re.search(r"[/\d]", value) and not same_model(value, subject):
            yield value


def made_for_another(runtime: str, subject: Subject) -> bool:
    """Whether a runtime's own name is that of a model, by a size in it, and not of this one.

    Such documents are copied model by model (`vllm-llama-3-2-3b-instruct`); what names an engine, a pod or a GPU in
    them is passed over, and the rest must be in the model's name.
    """
    parts = _telling(runtime)
    if not subject.names or not any(re.fullmatch(r"[aex]?(\d+x)?\d+[bm]", part) for part in parts):
        return False
    return not any("".join(parts) in "".join(_telling(name)) for name in subject.names)


def _telling(name: str) -> list[str]:
    parts = (part for part in re.split(r"[^a-z0-9]+", name.lower()) if part)
    return [part for part in parts if not _PLUMBING.fullmatch(part)]
