"""`describe`: config and headers in, facts out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import quantization as quantizations
from ome_iac.models.families.blocks import Layout
from ome_iac.models.families.config import Notes, Unknown
from ome_iac.models.families.context import context_length
from ome_iac.models.families.counts import Counts, count, ranges
from ome_iac.models.families.derived import DTYPES, UnknownStorage, derive
from ome_iac.models.families.description import Description
from ome_iac.models.families.geometry import attention_of, experts_of
from ome_iac.models.families.levels import Levels, levels_of
from ome_iac.models.families.library import layout_of, recipe_of
from ome_iac.models.metadata import Evidence, Source
from ome_iac.models.tensors import TensorTable


def describe(files: ConfigFiles, tensors: TensorTable | None) -> Description:
    """Everything the files beside the weights and the weights' headers tell.

    `tensors` is None where there are no headers; parameters and bytes are then derived from the config by the
    family's tensor shapes, and marked so. What cannot be told is left out and named in `missing`. Never raises for
    what a file says.
    """
    raw: Mapping[str, Any] = files.object("config.json") or {}
    notes = Notes()
    levels = levels_of(raw, notes)
    text = levels.text
    said = quantizations.declared(files, raw)
    missing: list[str] = []
    warnings: list[str] = []
    provenance: dict[str, Evidence] = {}
    layout = _layout(levels, missing)
    tied = layout.tied if layout else text.flag("tie_word_embeddings")
    dtype = text.text("dtype").removeprefix("torch.") or None
    bits = said.quantization.bits if said.quantization else None
    counts: Counts | None = None
    if tensors is not None and len(tensors):
        counts = count(tensors, tied=tied, declared_bits=bits, declared_layers=text.maybe("num_hidden_layers"))
        source = Source.HEADER
    elif layout is not None:
        source = Source.DERIVED
        stored = DTYPES.get(dtype or "")
        if stored is None:
            missing.append("weights: dtype is not in config.json; the weights' headers would tell")
        try:
            table = derive(layout, stored or "BF16", said)
        except UnknownStorage as unknown:
            missing.append(str(unknown))
            table = derive(layout, stored or "BF16", quantizations.Declared())
        counts = count(table, tied=tied, declared_bits=bits, declared_layers=len(layout.layers))
    found: dict[str, Any] = {}
    experts = experts_of(layout) if layout else None
    if counts is not None:
        recipe = recipe_of(text.model_type)
        found["parameters"] = counts.parameters(
            experts.routed if experts else 0,
            experts.active if experts else 0,
            embedding_active=recipe.embedding_active if recipe else True,
            tied=tied,
        )
        provenance["parameters"] = Evidence(source=source)
        if source is Source.HEADER or dtype in DTYPES:
            found["weights"] = counts.weights()
            provenance["weights"] = Evidence(source=source)
    found["quantization"] = said.quantization
    if context := context_length(text):
        found["context_length"], provenance["contextLength"] = context
    if layout is not None:
        found["attention"] = attention_of(layout, dtype)
    return Description(
        architecture=_architecture(levels) or None,
        model_type=raw.get("model_type") if isinstance(raw.get("model_type"), str) else None,
        layers=len(layout.layers) if layout else None,
        hidden_size=layout.hidden if layout else None,
        vocabulary_size=layout.vocabulary if layout else None,
        intermediate_size=text.maybe("intermediate_size"),
        dtype=dtype,
        tied_embeddings=tied,
        experts=experts,
        missing=tuple(missing),
        warnings=tuple(warnings),
        provenance=provenance,
        **found,
    )


def _layout(levels: Levels, missing: list[str]) -> Layout | None:
    try:
        return layout_of(levels.text, _architecture(levels))
    except Unknown as unknown:
        missing.extend(unknown.missing)
        return None


def _architecture(levels: Levels) -> str:
    names = levels.outer.items("architectures") or levels.text.items("architectures")
    return str(names[0]) if names else ""
