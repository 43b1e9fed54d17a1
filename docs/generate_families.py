"""Write docs/reference/families.md from the tables of families; with --check, fail where the file is out of date."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the published counts are the tests'

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import describe
from ome_iac.models.families.audio_towers import AUDIO
from ome_iac.models.families.joined import PROJECTORS
from ome_iac.models.families.levels import TEXT_TYPES
from ome_iac.models.families.library import ALIASES, LAYOUTS
from ome_iac.models.families.quantization import METHODS
from ome_iac.models.families.recipes import RECIPES, Recipe
from ome_iac.models.families.towers import VISION
from ome_iac.models.families.translations import GGUF_FAMILIES
from tests.unit.published import PUBLISHED, Published

PAGE = Path(__file__).parent / "reference" / "families.md"

NORMS = {"rms": "RMS", "layer": "layer norm", "layer-nobias": "layer norm, no bias", "none": "none"}
QK_NORMS = {"none": "", "head": "one for all heads", "heads": "each head", "full": "whole"}
PACKING = (
    ("AWQ", "`qweight` I32, `qzeros`, `scales`", "width from `scales`: 32 x packed columns / outputs"),
    ("GPTQ", "`qweight` I32, `qzeros`, `scales`, `g_idx`", "width from `qzeros`; else the config's `bits`"),
    ("FP8", "`weight` F8_E4M3, `weight_scale` or `weight_scale_inv`", "one a byte; block from the scale's shape"),
    ("MXFP4", "`*_blocks` and `*_scales` U8", "two a byte, 32 to a scale"),
    ("NVFP4", "`weight` U8, `weight_scale` F8_E4M3, `weight_scale_2`", "two a byte, 16 to a scale"),
    ("bitsandbytes 4 bit", "`weight` U8, `weight.absmax`, `weight.quant_state...`", "two a byte"),
    ("bitsandbytes 8 bit", "`weight` I8, `SCB`", "one a byte"),
    ("compressed-tensors", "`weight_packed` I32, `weight_scale` ...", "width in the config only: `num_bits`"),
    ("HQQ", "`W_q`, `scale`, `zero`", "width only in the config: `nbits`"),
    ("BitNet", "`weight` U8, `weight_scale`", "four a byte where the config says 2 bits"),
    ("GGUF", "ggml's block types", "the shape is the weights'"),
)  # fmt: skip


def render() -> str:
    """The page, Markdown."""
    sections = [
        "# Model families and quantization formats",
        "Generated from `ome_iac/models/families` by `docs/generate_families.py`; do not edit.",
        "A family here is one whose tensor shapes are known from its config alone, so that parameters and bytes are "
        "derived where there are no headers. With headers every model is counted, known or not: a family then only "
        "adds attention windows and states. A `model_type` that is in no table and whose config states exactly the "
        'standard keys is laid out as a Llama or a BERT; anything else is "unknown", with what is missing.',
        *_recipes(),
        *_functions("Families with a function of their own", LAYOUTS),
        *_aliases(),
        *_functions("Vision towers", VISION),
        *_functions("Audio towers", AUDIO),
        *_joined(),
        *_quantization(),
        *_published(),
    ]
    return "\n\n".join(sections) + "\n"


def _recipes() -> list[str]:
    header = ["model_type", "Norm", "Norms a layer", "QKV bias", "Query and key norm", "MLP", "Experts"]
    rows = [[f"`{name}`", *_recipe(recipe)] for name, recipe in sorted(RECIPES.items())]
    text = "Where a cell names a key in `code`, the config decides."
    return ["## Decoders", text, _table(header, rows)]


def _recipe(recipe: Recipe) -> list[str]:
    norm = QK_NORMS[recipe.qk_norm]
    if norm and isinstance(recipe.qk_norm_when, str):
        norm = f"{norm}: `{recipe.qk_norm_when}`"
    return [
        NORMS[recipe.norm],
        str(len(recipe.norms)),
        f"`{recipe.qkv_bias}`" if isinstance(recipe.qkv_bias, str) else "yes" if recipe.qkv_bias else "",
        norm,
        "gated" if recipe.gated else "plain",
        "yes" if recipe.sparse else "",
    ]


def _functions(title: str, table: dict[str, Callable[..., Any]]) -> list[str]:
    by_function: dict[str, list[str]] = {}
    for name, function in sorted(table.items()):
        by_function.setdefault(" ".join((function.__doc__ or "").split()), []).append(name)
    rows = [[", ".join(f"`{name}`" for name in names), text] for text, names in by_function.items()]
    return [f"## {title}", _table(["model_type", "What is laid out"], sorted(rows))]


def _aliases() -> list[str]:
    rows = [[f"`{name}`", f"`{same}`"] for name, same in sorted(ALIASES.items())]
    gguf = [[f"`{name}`", f"`{same}`"] for name, same in sorted(GGUF_FAMILIES.items())]
    return [
        "## Other names",
        _table(["model_type", "Has the layers of"], rows),
        "GGUF files name their architecture themselves:",
        _table(["`general.architecture`", "model_type"], gguf),
    ]


def _joined() -> list[str]:
    rows = [[f"`{name}`", f"`{TEXT_TYPES[name]}`" if name in TEXT_TYPES else ""] for name in sorted(PROJECTORS)]
    text = "Towers and language model joined; the second column is the language model where the config does not say."
    return ["## Joined models", text, _table(["model_type", "Language model"], rows)]


def _quantization() -> list[str]:
    methods = [[f"`{name}`", ours, str(bits or "")] for name, (ours, bits) in sorted(METHODS.items())]
    return [
        "## Quantization formats",
        "Scales, zero points and group indices are bytes, never parameters.",
        _table(["Format", "Tensors", "Weights in them"], PACKING),
        "Declared in `quantization_config` (config.json), `hf_quant_config.json`, `quantize_config.json` or "
        "`quant_config.json`; where the tensors say otherwise they win, with a warning:",
        _table(["quant_method", "Called here", "Bits where none are stated"], methods),
    ]


def _published() -> list[str]:
    text = (
        "Counts derived from the config alone, beside the publishers' (`tests/unit/published.py`): of the Hub's "
        "safetensors metadata, or rounded, from the model's card."
    )
    header = ["Model", "model_type", "Published", "From", "Derived", "Active"]
    return ["## Checked against", text, _table(header, map(_row, PUBLISHED))]


def _row(model: Published) -> list[str]:
    made = describe(ConfigFiles({"config.json": model.config}), None).parameters
    if made is None:
        raise SystemExit(f"{model.name} is not derived")
    active = f"{made.active:,}" if made.active != made.total else ""
    return [
        model.name,
        f"`{model.config['model_type']}`",
        f"{model.total:,.0f}",
        model.source,
        f"{made.total:,}",
        active,
    ]


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    titles = list(header)
    lines = [titles, ["---"] * len(titles), *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Write the page, or compare it."""
    page = render()
    if "--check" not in sys.argv[1:]:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        raise SystemExit(f"{PAGE} is out of date: run python {Path(__file__).name}")


if __name__ == "__main__":
    main()
