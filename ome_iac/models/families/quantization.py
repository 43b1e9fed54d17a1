"""How the weights are packed: what the configs declare, what the tensors show, and one answer from both.

Declared in `quantization_config` (config.json), `hf_quant_config.json` (ModelOpt), `quantize_config.json` (AutoGPTQ) or
`quant_config.json` (AutoAWQ). Where the tensors contradict it the tensors win, and a warning says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families.packing import Packing
from ome_iac.models.metadata import Evidence, Quantization, Source

METHODS: dict[str, tuple[str, int | None]] = {
    "fp8": ("fp8", 8),
    "fbgemm_fp8": ("fbgemm_fp8", 8),
    "finegrained_fp8": ("fp8", 8),
    "awq": ("awq", 4),
    "gptq": ("gptq", 4),
    "mxfp4": ("mxfp4", 4),
    "nvfp4": ("nvfp4", 4),
    "bitsandbytes": ("bitsandbytes", 4),
    "compressed-tensors": ("compressed-tensors", None),
    "hqq": ("hqq", 4),
    "modelopt": ("modelopt", None),
    "bitnet": ("bitnet", 2),
    "aqlm": ("aqlm", 2),
    "quark": ("quark", None),
    "torchao": ("torchao", None),
    "eetq": ("eetq", 8),
    "quanto": ("quanto", None),
    "auto-round": ("auto-round", 4),
    "intel/auto-round": ("auto-round", 4),
    "higgs": ("higgs", 4),
    "spqr": ("spqr", 3),
    "vptq": ("vptq", 2),
}
"""quant_method as transformers writes it, to the name used here and its usual width."""

_GGML_BITS = {
    "Q2_K": 2,
    "Q3_K": 3,
    "Q4_0": 4,
    "Q4_1": 4,
    "Q4_K": 4,
    "Q5_0": 5,
    "Q5_1": 5,
    "Q5_K": 5,
    "Q6_K": 6,
    "Q8_0": 8,
    "Q8_1": 8,
    "Q8_K": 8,
    "IQ4_NL": 4,
    "IQ4_XS": 4,
    "IQ3_S": 3,
    "IQ3_XXS": 3,
    "IQ2_S": 2,
    "IQ2_XS": 2,
    "IQ2_XXS": 2,
    "IQ1_S": 1,
    "IQ1_M": 1,
    "TQ1_0": 1,
    "TQ2_0": 2,
    "MXFP4": 4,
}


@dataclass(frozen=True)
class Declared:
    """What the configs say; `skipped` are module names left unquantized, as written there."""

    quantization: Quantization | None = None
    evidence: Evidence | None = None
    skipped: tuple[str, ...] = ()
    strategy: str = ""


def declared(files: ConfigFiles, config: Mapping[str, Any]) -> Declared:
    """Read whichever quantization config there is."""
    text = config.get("text_config")
    nested = text.get("quantization_config") if isinstance(text, Mapping) else None
    for path, found in (
        ("config.json", config.get("quantization_config") or config.get("compression_config") or nested),
        ("hf_quant_config.json", (files.object("hf_quant_config.json") or {}).get("quantization")),
        ("quantize_config.json", files.object("quantize_config.json")),
        ("quant_config.json", files.object("quant_config.json")),
    ):
        if isinstance(found, Mapping) and found:
            return _declared(path, found)
    return Declared()


def _declared(path: str, raw: Mapping[str, Any]) -> Declared:
    method = str(raw.get("quant_method") or raw.get("quant_algo") or raw.get("quant_type") or "").lower()
    if not method and path in ("quantize_config.json", "quant_config.json"):
        method = "awq" if "zero_point" in raw or path == "quant_config.json" else "gptq"
    evidence = Evidence(source=Source.CONFIG, file=path, detail=f"quant_method {method}" if method else "")
    skipped = tuple(
        str(name)
        for key in (
            "modules_to_not_convert",
            "ignore",
            "exclude_modules",
            "ignored_layers",
            "llm_int8_skip_modules",
            "exclude",
        )
        if isinstance(raw.get(key), list)
        for name in raw[key]
    )
    if method == "compressed-tensors" or "config_groups" in raw:
        return _compressed(raw, evidence, skipped, method)
    if method in ("modelopt", "modelopt_fp4", "modelopt_fp8") or path == "hf_quant_config.json":
        algorithm = str(raw.get("quant_algo") or method).upper()
        fp4 = "FP4" in algorithm or "W4A16" in algorithm
        name = "nvfp4" if "NVFP4" in algorithm or "FP4" in algorithm else "fp8" if "FP8" in algorithm else "modelopt"
        width = 4 if fp4 or "W4" in algorithm else 8
        group = _whole(raw.get("group_size")) or (16 if name == "nvfp4" else None)
        return Declared(_made(name, width, group, None, "fp8" if name == "fp8" else None), evidence, skipped)
    name, usual = METHODS.get(method, (method, None))
    if not name:
        return Declared(None, None, skipped)
    bits = _whole(raw.get("bits")) or _whole(raw.get("w_bit")) or _whole(raw.get("nbits")) or usual
    activations = None
    if name == "bitsandbytes":
        bits = 4 if raw.get("load_in_4bit") or raw.get("_load_in_4bit") else 8
    if name in ("fp8", "fbgemm_fp8") and raw.get("activation_scheme", "dynamic") is not None:
        activations = "fp8"
    if name == "hqq" and isinstance(raw.get("quant_config"), Mapping):
        inner = raw["quant_config"].get("weight_quant_params", raw["quant_config"])
        if isinstance(inner, Mapping):
            bits = _whole(inner.get("nbits")) or bits
            raw = {**raw, "group_size": inner.get("group_size")}
    group = _whole(raw.get("group_size")) or _whole(raw.get("q_group_size")) or (32 if name == "mxfp4" else None)
    block = raw.get("weight_block_size")
    shape = (block[0], block[1]) if isinstance(block, list) and len(block) == 2 and all(map(_whole, block)) else None
    if bits is None:
        return Declared(None, evidence, skipped)
    return Declared(_made(name, bits, group, shape, activations), evidence, skipped)


def _compressed(raw: Mapping[str, Any], evidence: Evidence, skipped: tuple[str, ...], method: str) -> Declared:
    """compressed-tensors: the first group that quantizes weights."""
    groups = raw.get("config_groups")
    for group in groups.values() if isinstance(groups, Mapping) else ():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(weights, Mapping) or _whole(weights.get("num_bits")) is None:
            continue
        bits, kind = int(weights["num_bits"]), str(weights.get("type", "int"))
        inputs = group.get("input_activations")
        activations = None
        if isinstance(inputs, Mapping) and _whole(inputs.get("num_bits")):
            activations = f"{'fp' if inputs.get('type') == 'float' else 'int'}{inputs['num_bits']}"
        size = _whole(weights.get("group_size"))
        block = weights.get("block_structure")
        shape = (
            (block[0], block[1]) if isinstance(block, list) and len(block) == 2 and all(map(_whole, block)) else None
        )
        name = {("float", 8): "fp8", ("float", 4): "nvfp4"}.get((kind, bits), "compressed-tensors")
        if name == "nvfp4" and size == 32:
            name = "mxfp4"
        if method == "compressed-tensors":
            name = "compressed-tensors"
        detail = f"{raw.get('format', '')} {kind}{bits} by {weights.get('strategy', '')}".strip()
        return Declared(
            _made(name, bits, size, shape, activations, kind=kind),
            Evidence(source=Source.CONFIG, file=evidence.file, detail=detail),
            skipped,
            str(weights.get("strategy", "")),
        )
    return Declared(None, evidence, skipped)


def settle(
    said: Declared, packing: Packing, ggml: Counter[str] | None = None
) -> tuple[Quantization | None, Evidence | None, tuple[str, ...]]:
    """The quantization, its evidence, and warnings, from what is declared and what the tensors show."""
    if ggml:
        return _gguf(ggml)
    seen = packing.methods.most_common(1)[0][0] if packing.methods else None
    stated = said.quantization
    if seen is None:
        if stated is None:
            return None, said.evidence, ()
        return (
            None,
            None,
            (f"{stated.method} is declared, but the weights are plain floating point: the weights win",),
        )
    bits = packing.bits.most_common(1)[0][0]
    group = _common(packing.group_sizes) if seen != "fp8" else None
    block = packing.block_shapes.most_common(1)[0][0] if packing.block_shapes else None
    header = Evidence(source=Source.HEADER, detail=f"{packing.methods[seen]} {seen} tensors")
    if stated is None:
        return (
            _made(seen, bits, group, block, None),
            header,
            (f"the weights are packed as {seen}, which no config declares: the weights win",),
        )
    warnings: tuple[str, ...] = ()
    fits = stated.method == seen or seen in _STORED_AS.get(stated.method, ())
    if not fits or stated.bits != bits:
        warnings = (
            f"declared are {stated.method} and {stated.bits} bits, the weights are {seen} and {bits}: the weights win",
        )
    method = stated.method if fits else seen
    return (
        _made(
            method,
            bits,
            stated.group_size or group,
            block or stated.block_shape,
            stated.activations if fits else None,
            kind="float" if seen in ("fp8", "nvfp4", "mxfp4") else "int",
        ),
        header,
        warnings,
    )


_STORED_AS: dict[str, tuple[str, ...]] = {
    "fbgemm_fp8": ("fp8",),
    "modelopt": ("fp8", "nvfp4", "mxfp4", "int8"),
    "compressed-tensors": ("fp8", "nvfp4", "mxfp4", "int8", "compressed-tensors"),
    "quark": ("fp8", "mxfp4", "nvfp4", "int8"),
    "auto-round": ("gptq", "awq"),
    "torchao": ("fp8", "int8"),
    "eetq": ("int8",),
    "bitsandbytes": ("int8",),
    "gptq": ("gptq",),
}
"""Methods that store their weights in another's layout."""


def _gguf(ggml: Counter[str]) -> tuple[Quantization | None, Evidence | None, tuple[str, ...]]:
    packed = Counter({name: size for name, size in ggml.items() if name in _GGML_BITS})
    if not packed:
        return None, None, ()
    name = packed.most_common(1)[0][0]
    made = _made("gguf", _GGML_BITS[name], None, None, None)
    return made, Evidence(source=Source.HEADER, detail=f"most bytes are {name}"), ()


def _made(
    method: str, bits: int, group: int | None, block: tuple[int, int] | None, activations: str | None, kind: str = ""
) -> Quantization:
    """OME's documents know three names: fp8, fbgemm_fp8 and int4."""
    floating = kind == "float" or method in ("fp8", "fbgemm_fp8", "mxfp4", "nvfp4")
    ome = "fbgemm_fp8" if method == "fbgemm_fp8" else "fp8" if floating and bits == 8 else None
    if ome is None and bits == 4 and not floating:
        ome = "int4"
    return Quantization(
        method=method, bits=bits, group_size=group, block_shape=block, activations=activations, ome_name=ome
    )


def _common(sizes: Counter[int]) -> int | None:
    size = sizes.most_common(1)[0][0] if sizes else 0
    return size if size > 0 else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None
