"""How many weights a stored tensor holds.

Quantized checkpoints pack several weights into one integer and store scales and zero points beside them. The tensors'
names and shapes tell the packing; where they do not (the width of a `pack-quantized` integer), the config does, and
where neither does the answer is None, not a guess. Scales and zero points hold no weight.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ome_iac.models.tensors import TensorGroup, TensorInfo, TensorTable

FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4", "C64"})
EIGHT_BIT_FLOATS = frozenset({"F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"})

_SIDE = re.compile(
    r"\.(?:qzeros|scales|g_idx|SCB|weight_format|pre_quant_scale|absmax|quant_map|nested_absmax|nested_quant_map"
    r"|weight_(?:g_idx|zero_point|shape)|quant_state\.[a-z_0-9]+"
    r"|(?:weight|input|output|[kvq]|kv|prob|act|activation)_(?:global_)?scale(?:_inv|_2)?)$"
    r"|(?:_scale_inv|_proj_(?:weight|input)_scale(?:_2)?|_amax)$"
)
_BUFFER = re.compile(
    r"(?:inv_freq|position_ids|masked_bias|num_batches_tracked|relative_position_index|token_type_ids|rope_freqs\.weight"
    r"|rope_factors_(?:long|short)\.weight|original_inv_freq|expert_bias_buffer)$"
)
_CAUSAL_MASK = re.compile(r"att(?:n|ention)\.bias$")


@dataclass
class Packing:
    """What was seen while counting: tensors per method, and the shapes that tell group and block sizes."""

    methods: Counter[str] = field(default_factory=Counter)
    bits: Counter[int] = field(default_factory=Counter)
    group_sizes: Counter[int] = field(default_factory=Counter)
    block_shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    times: int = 1
    """How many tensors the one being looked at stands for."""


def count_values(table: TensorTable, declared_bits: int | None, packing: Packing) -> Iterator[tuple[TensorGroup, int]]:
    """Each group with the weights that one of its tensors holds; `declared_bits` is the config's, for what shapes
    cannot tell.

    A tensor whose packing is unknown counts 0 and is named in `packing.unreadable`.
    """
    for group in table.groups():
        packing.times = group.times
        yield group, _values(group.example, table, declared_bits, packing)


def _values(tensor: TensorInfo, table: TensorTable, declared_bits: int | None, packing: Packing) -> int:
    name, dtype = tensor.name, tensor.dtype
    stored = math.prod(tensor.shape)
    if table.format == "gguf":
        return 0 if _BUFFER.search(name) else stored
    if dtype in ("BF16", "F16", "F32", "F64"):
        return 0 if _is_side(tensor, table) else stored
    base = name.rpartition(".")[0]
    if dtype in ("I32", "I16") and name.endswith(".qweight"):
        return _qweight(tensor, base, table, declared_bits, packing)
    if name.endswith(".weight_packed"):
        if dtype == "U8":
            scale = table.get(base + ".weight_scale")
            _note(packing, "mxfp4" if scale and scale.dtype in ("U8", "F8_E8M0") else "nvfp4", 4)
            _note_group(packing, 2 * tensor.shape[-1] if tensor.shape else 0, scale)
            return 2 * stored
        _note_group_of_packed(packing, tensor, table.get(base + ".weight_scale"), declared_bits)
        return _packed(tensor, stored, 32, declared_bits, packing, "compressed-tensors")
    if name.endswith("_blocks") and name[: -len("_blocks")] + "_scales" in table:
        _note(packing, "mxfp4", 4)
        packing.group_sizes[2 * tensor.shape[-1] if tensor.shape else 0] += packing.times
        return 2 * stored
    if name.endswith(".W_q"):
        return _hqq(tensor, base, table, declared_bits, packing)
    if dtype in ("U8", "I8") and not _is_side(tensor, table):
        return _bytes_as_weights(tensor, stored, table, declared_bits, packing)
    if dtype in FLOATS:
        if dtype in EIGHT_BIT_FLOATS and not _is_side(tensor, table):
            _note(packing, "fp8", 8)
            _note_block(packing, tensor, table)
        return 0 if _is_side(tensor, table) else stored
    return 0  # I64 position ids, BOOL masks, E8M0 scales: no weights


def _is_side(tensor: TensorInfo, table: TensorTable) -> bool:
    """Scales, zero points and buffers."""
    name = tensor.name
    if name.endswith(".weight"):
        return name == "rope_freqs.weight"
    if _SIDE.search(name) or _BUFFER.search(name) or (_CAUSAL_MASK.search(name) and len(tensor.shape) == 4):
        return True
    scaled = re.sub(r"_scale(?:_inv|_2)?$", "", name)
    if scaled != name and (scaled in table or scaled + "_packed" in table):
        return True
    if name.endswith("_scales"):
        return name[: -len("_scales")] + "_blocks" in table
    base, _, last = name.rpartition(".")
    if last in ("scale", "zero", "zero_scale", "zero_zero", "scale_scale", "scale_zero", "scale_weight"):
        weight = table.get(base + ".weight")
        return base + ".W_q" in table or (weight is not None and weight.dtype in EIGHT_BIT_FLOATS | {"I8", "U8"})
    return False


def _qweight(tensor: TensorInfo, base: str, table: TensorTable, declared_bits: int | None, packing: Packing) -> int:
    """AWQ packs along the output, GPTQ along the input; scales are (groups, output), zeros (groups, packed output)."""
    scales, zeros = table.get(base + ".scales"), table.get(base + ".qzeros")
    method, bits, inputs = "gptq", declared_bits, 0
    if scales is not None and len(scales.shape) == 2 == len(tensor.shape) and scales.shape[1]:
        out = scales.shape[1]
        if tensor.shape[1] != out:
            method, bits, inputs = "awq", _exact(32 * tensor.shape[1], out) or declared_bits, tensor.shape[0]
        else:
            if zeros is not None and len(zeros.shape) == 2:
                bits = _exact(32 * zeros.shape[1], out) or declared_bits
            inputs = 32 * tensor.shape[0] // bits if bits else 0
        if scales.shape[0]:
            packing.group_sizes[inputs // scales.shape[0]] += packing.times
    stored = math.prod(tensor.shape)
    return _packed(tensor, stored, 8 * tensor.bytes // max(stored, 1), bits, packing, method)


def _exact(numerator: int, denominator: int) -> int | None:
    return numerator // denominator if denominator and numerator % denominator == 0 else None


def _packed(tensor: TensorInfo, stored: int, width: int, bits: int | None, packing: Packing, method: str) -> int:
    if not bits or bits > width:
        packing.unreadable.append(tensor.name)
        return 0
    _note(packing, method, bits)
    return stored * width // bits


def _hqq(tensor: TensorInfo, base: str, table: TensorTable, declared_bits: int | None, packing: Packing) -> int:
    scale = table.get(base + ".scale")
    stored = math.prod(tensor.shape)
    if declared_bits is None or (declared_bits == 3 and tensor.dtype != "I32"):
        packing.unreadable.append(tensor.name)
        return 0
    _note(packing, "hqq", declared_bits)
    per_word = 10 if declared_bits == 3 else (8 * tensor.bytes // max(stored, 1)) // declared_bits
    held = stored * per_word
    groups = math.prod(scale.shape) if scale is not None else 0
    if groups:
        group = 1 << max(0, (held // groups).bit_length() - 1)
        packing.group_sizes[group] += packing.times
        return groups * group if declared_bits == 3 else held  # three-bit words are padded to ten values
    return held


def _bytes_as_weights(
    tensor: TensorInfo, stored: int, table: TensorTable, declared_bits: int | None, packing: Packing
) -> int:
    """U8 and I8: two four-bit weights a byte, or one eight-bit weight; the tensors beside it tell which."""
    name = tensor.name
    base = name.rpartition(".")[0]
    if name + ".absmax" in table:
        _note(packing, "bitsandbytes", 4)
        absmax = table.get(name + ".absmax")
        _note_group(packing, 2 * stored, absmax)
        return 2 * stored
    scale = table.get(name + "_scale") or table.get(name + "_weight_scale") or table.get(name + "_scale_inv")
    if tensor.dtype == "I8":
        _note(packing, "bitsandbytes" if base + ".SCB" in table else "int8", 8)
        return stored
    if scale is None:
        packing.unreadable.append(name)
        return 0
    if scale.dtype in ("BF16", "F16", "F32") and declared_bits in (2, 8):  # BitNet packs four ternary weights a byte
        _note(packing, "bitnet" if declared_bits == 2 else "int8", declared_bits)
        return stored * (8 // declared_bits)
    _note(packing, "nvfp4" if scale.dtype == "F8_E4M3" else "mxfp4", 4)
    _note_group(packing, 2 * tensor.shape[-1] if tensor.shape else 0, scale)
    return 2 * stored


def _note(packing: Packing, method: str, bits: int) -> None:
    packing.methods[method] += packing.times
    packing.bits[bits] += packing.times


def _note_group(packing: Packing, columns: int, scale: TensorInfo | None) -> None:
    if scale is not None and scale.shape and scale.shape[-1]:
        packing.group_sizes[columns // scale.shape[-1]] += packing.times


def _note_group_of_packed(packing: Packing, tensor: TensorInfo, scale: TensorInfo | None, bits: int | None) -> None:
    if bits and tensor.shape:
        _note_group(packing, tensor.shape[-1] * 32 // bits, scale)


def _note_block(packing: Packing, tensor: TensorInfo, table: TensorTable) -> None:
    """Rows and columns that share a scale: the next power of two, since the last block may be cut."""
    scale = table.get(tensor.name + "_scale_inv") or table.get(tensor.name + "_scale")
    if scale is None or len(scale.shape) != 2 or len(tensor.shape) != 2 or 1 in scale.shape or 0 in scale.shape:
        return
    rows, columns = (
        1 << (math.ceil(size / blocks) - 1).bit_length() for size, blocks in zip(tensor.shape, scale.shape, strict=True)
    )
    packing.block_shapes[rows, columns] += packing.times
