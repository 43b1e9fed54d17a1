"""`describe`: config and headers in, facts out.

Where there are headers they win over the config, and a contradiction is a warning. The layout a family derives from the
config gives the attention geometry in either case; without headers it gives the tensors too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import quantization as quantizations
from ome_iac.models.families.blocks import Layout
from ome_iac.models.families.capabilities import capabilities
from ome_iac.models.families.config import Notes, UnknownError
from ome_iac.models.families.counts import Counts, count
from ome_iac.models.families.derived import DTYPES, UnknownStorageError, derive
from ome_iac.models.families.description import Description
from ome_iac.models.families.findings import Findings
from ome_iac.models.families.geometry import attention_of, experts_of, grouped
from ome_iac.models.families.joined import with_towers
from ome_iac.models.families.levels import Levels, levels_of
from ome_iac.models.families.library import inactive_roles, layout_of
from ome_iac.models.families.naming import dtype_of, name_things
from ome_iac.models.families.shapes import Shapes, different_heads, geometries, read_shapes
from ome_iac.models.families.translations import config_of_gguf, config_of_params
from ome_iac.models.metadata import Capability, Evidence, Experts, Source
from ome_iac.models.tensors import TensorTable

_NO_CONFIG = frozenset({Capability.ADAPTER, Capability.IMAGE_OUTPUT, Capability.AUDIO_OUTPUT, Capability.VIDEO})


def describe(files: ConfigFiles, tensors: TensorTable | None) -> Description:
    """Everything the files beside the weights and the weights' headers tell.

    `tensors` is None where there are no headers; parameters and bytes are then derived from the config by the
    family's tensor shapes, and marked so. What cannot be told is left out and named in `missing`. Never raises for
    what a file says.
    """
    raw, file = _config_of(files)
    notes = Notes(file=file)
    levels = levels_of(raw, notes)
    architecture = _architecture(levels)
    findings = Findings()
    header = tensors if tensors is not None and len(tensors) else None
    proven = capabilities(files, raw, levels, architecture)
    alone = not raw and (bool(_NO_CONFIG & proven.keys()) or files.object("model_index.json") is not None)
    layout, whole = (None, False) if alone else _layout(levels, architecture, findings, quiet=header is not None)
    said = quantizations.declared(files, raw)
    if header is None:
        counts = _derived(layout if whole else None, levels, said, findings)
    else:
        counts = count(
            header,
            tied=_tied(levels, layout),
            declared_bits=said.quantization.bits if said.quantization else None,
            declared_layers=levels.text.maybe("num_hidden_layers"),
        )
        shapes = read_shapes(header, counts.predictor_layers)
        levels, layout = _hold_against(raw, notes, levels, layout, architecture, shapes, counts, findings)
        if layout is None and not alone:
            _from_shapes(shapes, counts, levels, files, architecture, findings)
    _sizes(layout, levels, counts, header is not None, findings)
    _quantization(said, counts, header, findings)
    name_things(files, raw, levels, architecture, alone, header, findings)
    for capability, evidence in proven.items():
        findings.provenance[f"capabilities.{capability}"] = evidence
    if not proven and architecture:
        findings.missing.append(f"capabilities: nothing known follows from architecture {architecture}")
    if Capability.COMPLETION in proven and Capability.CHAT not in proven and not files.files and not files.gguf:
        findings.missing.append(
            "capabilities: whether it chats, tokenizer_config.json or chat_template.jinja would tell"
        )
    said_already = "\n".join(findings.missing)
    findings.missing.extend(problem for problem in notes.problems.values() if problem not in said_already)
    return Description(
        capabilities=tuple(proven),
        missing=tuple(dict.fromkeys(findings.missing)),
        warnings=tuple(dict.fromkeys(findings.warnings)),
        provenance=dict(sorted(findings.provenance.items())),
        **findings.facts,
    )


def derived_tensors(files: ConfigFiles) -> TensorTable | None:
    """The tensors the model should have by its config alone: names, dtypes, shapes, bytes, as its family stores them.

    None where the family, the dtype or the way the quantization stores its weights is not known.
    """
    raw, file = _config_of(files)
    levels = levels_of(raw, Notes(file=file))
    dtype = DTYPES.get(dtype_of(levels) or "")
    layout, whole = _layout(levels, _architecture(levels), Findings(), quiet=True)
    if layout is None or not whole or dtype is None:
        return None
    try:
        return derive(layout, dtype, quantizations.declared(files, raw))
    except UnknownStorageError:
        return None


def _config_of(files: ConfigFiles) -> tuple[Mapping[str, Any], str]:
    """The model's config in Hugging Face's keys, and the file it is from."""
    if (config := files.object("config.json")) is not None:
        return config, "config.json"
    if files.gguf:
        return config_of_gguf(files.gguf), "the GGUF header"
    if (params := files.object("params.json")) is not None:
        return config_of_params(params), "params.json"
    return {}, "config.json"


def _architecture(levels: Levels) -> str:
    names = levels.top.items("architectures") or levels.text.items("architectures")
    return str(names[0]) if names else ""


def _tied(levels: Levels, layout: Layout | None) -> bool:
    return layout.tied if layout is not None else levels.text.flag("tie_word_embeddings")


def _layout(levels: Levels, architecture: str, findings: Findings, *, quiet: bool) -> tuple[Layout | None, bool]:
    """The model's layout and whether it is whole: with unknown towers it is the language model's alone.

    Where headers count the weights (`quiet`) what is not known need not be said.
    """
    try:
        text = _language_model(levels, architecture)
    except UnknownError as unknown:
        if not quiet:
            findings.missing.extend(f"parameters: {reason}" for reason in unknown.missing)
        return None, False
    try:
        return with_towers(levels, text), True
    except UnknownError as unknown:
        if not quiet:
            findings.missing.extend(f"parameters: {reason}" for reason in unknown.missing)
        return text, False


def _language_model(levels: Levels, architecture: str) -> Layout:
    """The text level's architecture decides its head; one that states none, inside a joined model, is a generator."""
    if levels.text is not levels.outer:
        names = levels.text.items("architectures")
        architecture = str(names[0]) if names else ""
    return layout_of(levels.text, architecture)


def _derived(layout: Layout | None, levels: Levels, said: quantizations.Declared, findings: Findings) -> Counts | None:
    """Counts from the layout; bytes only where the dtype and the packing are known."""
    if layout is None:
        if not findings.missing:
            findings.missing.append("parameters: the weights' headers would tell")
        return None
    dtype = DTYPES.get(dtype_of(levels) or "")
    try:
        table = derive(layout, dtype or "BF16", said)
        known = dtype is not None
    except UnknownStorageError as unknown:
        findings.missing.append(f"weights: {unknown}")
        table, known = derive(layout, dtype or "BF16", quantizations.Declared()), False
    if dtype is None:
        findings.missing.append("weights: dtype is not in config.json; the weights' headers would tell")
    bits = said.quantization.bits if said.quantization else None
    counts = count(table, tied=layout.tied, declared_bits=bits, declared_layers=len(layout.layers))
    if known:
        findings.add("weights", counts.weights(), Evidence(source=Source.DERIVED, detail="the family's tensor shapes"))
    return counts


def _hold_against(
    raw: Mapping[str, Any],
    notes: Notes,
    levels: Levels,
    layout: Layout | None,
    architecture: str,
    shapes: Shapes,
    counts: Counts,
    findings: Findings,
) -> tuple[Levels, Layout | None]:
    """Where the headers contradict the config's layers, width or vocabulary, lay out again with what they say."""
    if layout is None:
        return levels, None
    rows = layout.embeddings[0][1][0]
    changed: dict[str, int] = {}
    for key, ours, theirs in (
        ("num_hidden_layers", counts.layers if counts.layers > 1 or len(layout.layers) == 1 else 0, len(layout.layers)),
        ("hidden_size", shapes.hidden if layout.hidden == layout.embeddings[0][1][1] else None, layout.hidden),
        ("vocab_size", shapes.vocabulary, rows),
    ):
        if ours:
            findings.in_headers.add(key)
        if ours and ours != theirs:
            changed[key] = ours
            findings.warnings.append(f"{notes.file} says {key} {theirs}, the weights {ours}: the weights win")
    for key, ours, theirs in different_heads(shapes, layout):
        changed[key] = ours
        findings.warnings.append(f"{notes.file} says {key} {theirs}, the weights {ours}: the weights win")
    untold = layout.head and shapes.vocabulary and not levels.text.has("tie_word_embeddings")
    if untold and not shapes.has_head and layout.head[0][0] == "lm_head.weight":
        changed["tie_word_embeddings"] = True  # no head is stored, and nothing says there should be one: GGUF
    if not changed:
        return levels, layout
    levels = levels_of(raw, notes, changed)
    return levels, _layout(levels, architecture, findings, quiet=True)[0]


def _from_shapes(
    shapes: Shapes, counts: Counts, levels: Levels, files: ConfigFiles, architecture: str, findings: Findings
) -> None:
    """An unknown family: what the headers' shapes and the standard config keys tell."""
    header = Evidence(source=Source.HEADER, detail="shapes of the tensors")
    encoder = "token_type" in str(sorted(levels.text.raw)) and not shapes.has_head
    found, missing = geometries(shapes, levels.text, counts.layers, encoder)
    findings.missing.extend(missing)
    findings.add("layers", counts.layers or None, header)
    findings.add("hidden_size", shapes.hidden, header)
    findings.add("vocabulary_size", shapes.vocabulary, header)
    findings.add("intermediate_size", shapes.intermediate, header)
    findings.add("attention", grouped(enumerate(found), dtype_of(levels)) or None, header)
    generates = architecture.endswith(("ForCausalLM", "LMHeadModel")) or files.gguf is not None
    if levels.text.flag("tie_word_embeddings", generates and not shapes.has_head):
        findings.add("tied_embeddings", True, header)
    if counts.expert_layers:
        active = levels.text.maybe("num_experts_per_tok")
        routed = max(counts.expert_layers.values()) or levels.text.maybe("num_experts") or 0
        if active and routed:
            layers = counts.ranges_of_experts()
            shared = levels.text.maybe("n_shared_experts") or 0
            experts = Experts(routed=routed, active=min(active, routed), shared=shared, layers=layers)
            findings.add("experts", experts, header)
        else:
            findings.missing.append("parameters.active: num_experts_per_tok is not in config.json; given is the total")


def _sizes(layout: Layout | None, levels: Levels, counts: Counts | None, read: bool, findings: Findings) -> None:
    """Parameters, and the sizes a layout knows."""
    source = Evidence(
        source=Source.HEADER if read else Source.DERIVED, detail="" if read else "the family's tensor shapes"
    )
    text = levels.text
    if layout is not None:
        keys = text.notes.read
        at = f"{text.path}." if text.path else ""
        for name, key, value in (
            ("layers", "num_hidden_layers", len(layout.layers)),
            ("hidden_size", "hidden_size", layout.hidden),
            ("vocabulary_size", "vocab_size", layout.vocabulary),
        ):
            shown = (
                Evidence(source=Source.HEADER, detail="shapes of the tensors") if key in findings.in_headers else None
            )
            findings.add(
                name, value, shown or keys.get(at + key) or Evidence(source=Source.CONFIG, file=text.notes.file)
            )
        inner = text.maybe("intermediate_size") if isinstance(text.value("intermediate_size"), int) else None
        findings.add("intermediate_size", inner, keys.get(at + "intermediate_size"))
        attention = attention_of(layout, dtype_of(levels))
        derived = Evidence(source=Source.CONFIG, file=text.notes.file, detail=f"model_type {text.model_type}")
        findings.add("attention", attention or None, derived)
        findings.add("experts", experts_of(layout), derived)
        findings.add("tied_embeddings", layout.tied or None, keys.get(at + "tie_word_embeddings"))
    if counts is None:
        return
    experts: Experts | None = findings.facts.get("experts")
    parameters = counts.parameters(
        experts.routed if experts else 0,
        experts.active if experts else 0,
        inactive=inactive_roles(text.model_type, levels.outer.model_type),
        tied=findings.facts.get("tied_embeddings", False),
    )
    findings.add("parameters", parameters, source)
    if read:
        findings.add("weights", counts.weights(), source)
    if counts.packing.unreadable:
        first, *others = counts.packing.unreadable
        more = f" and {len(others):,} more" if others else ""
        findings.missing.append(f"parameters: how {first}{more} are packed, no config says; they count as none")


def _quantization(
    said: quantizations.Declared, counts: Counts | None, header: TensorTable | None, findings: Findings
) -> None:
    if header is None or counts is None:
        findings.add("quantization", said.quantization, said.evidence)
        return
    ggml = Counter(counts.dtype_bytes) if header.format == "gguf" else None
    made, evidence, warnings = quantizations.settle(said, counts.packing, ggml)
    findings.add("quantization", made, evidence)
    findings.warnings.extend(warnings)
