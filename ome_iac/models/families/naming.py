"""Names and versions, dtype, context and licence: what a config or a card says outright."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ome_iac.models.config_files import CARD, ConfigFiles
from ome_iac.models.families.capabilities import adapter_evidence
from ome_iac.models.families.context import context_length
from ome_iac.models.families.findings import Findings
from ome_iac.models.families.levels import Levels
from ome_iac.models.metadata import Evidence, Source
from ome_iac.models.tensors import TensorTable

_PLAIN_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def dtype_of(levels: Levels) -> str | None:
    """The dtype of computation as the config states it: `bfloat16`."""
    stated = levels.text.text("dtype") or levels.outer.text("dtype")
    return stated.removeprefix("torch.") or None


def name_things(
    files: ConfigFiles,
    raw: Mapping[str, Any],
    levels: Levels,
    architecture: str,
    alone: bool,
    header: TensorTable | None,
    findings: Findings,
) -> None:
    """Names, versions, dtype, context, licence, and the warning about a publisher's own code."""
    file = levels.outer.notes.file
    config = Evidence(source=Source.CONFIG, file=file)
    pipeline = files.object("model_index.json")
    if pipeline is not None:
        file, config = "model_index.json", Evidence(source=Source.CONFIG, file="model_index.json")
        architecture = str(pipeline.get("_class_name") or "") or architecture
    findings.add("architecture", architecture or None, config)
    stated = raw.get("model_type")
    findings.add("model_type", stated if isinstance(stated, str) and stated else None, config)
    if header is not None:
        findings.add("format", header.format, Evidence(source=Source.HEADER))
    version = pipeline.get("_diffusers_version") if pipeline is not None else raw.get("transformers_version")
    findings.add("framework_version", version if isinstance(version, str) else None, config)
    known = pipeline is not None or (bool(raw) and files.object("config.json") is not None) or alone
    framework = ("diffusers" if pipeline is not None else "transformers") if known else None
    findings.add("framework", framework, config)
    if (dtype := dtype_of(levels)) is not None:
        findings.add("dtype", dtype, config)
    elif header is not None:
        findings.add(
            "dtype", _stored_dtype(header), Evidence(source=Source.HEADER, detail="dtype of the plain tensors")
        )
    if not alone:
        context = context_length(levels.text, files)
        if context is not None:
            findings.add("context_length", *context)
        elif raw and "max_position_embeddings" not in levels.text.raw:
            findings.missing.append(f"contextLength: max_position_embeddings is not in {file}")
    if files.object("adapter_config.json") is not None:
        findings.provenance["adapter"] = adapter_evidence(files)
    if isinstance(raw.get("auto_map"), Mapping) and raw["auto_map"]:
        modules = sorted({str(value).rpartition(".")[0] for value in raw["auto_map"].values()} - {""})
        findings.warnings.append(
            f"the publisher ships code with the model ({', '.join(modules[:4])}): it is not run here, and an engine "
            "without its own implementation needs --trust-remote-code"
        )
    _licence(files, findings)


def _licence(files: ConfigFiles, findings: Findings) -> None:
    """The card's `license`; where that is `other`, its name."""
    card = files.object(CARD) or {}
    licence = card.get("license")
    if isinstance(licence, list):
        licence = ", ".join(str(item) for item in licence)
    if licence == "other" and isinstance(card.get("license_name"), str):
        licence = card["license_name"]
    if isinstance(licence, str) and licence:
        findings.add("licence", licence, Evidence(source=Source.CARD, file=CARD, detail="license"))


def _stored_dtype(table: TensorTable) -> str | None:
    """The dtype most plain floating point of the table is in, as torch names it."""
    sizes = Counter[str]()
    for tensor in table:
        if tensor.dtype in _PLAIN_DTYPES:
            sizes[tensor.dtype] += tensor.bytes
    return _PLAIN_DTYPES[sizes.most_common(1)[0][0]] if sizes else None
