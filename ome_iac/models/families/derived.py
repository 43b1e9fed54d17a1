"""The tensors a layout has, as they would lie in its files: names, dtypes, shapes and bytes, without any file.

Used where there are no headers. Quantization is applied as its method stores it, to the language model's linear layers
but those the config leaves out; embeddings, head, router, norms and vision towers stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ome_iac.models.families.blocks import Layout, Shape
from ome_iac.models.families.quantization import Declared
from ome_iac.models.families.roles import place
from ome_iac.models.families.skipping import Skipped
from ome_iac.models.metadata import Quantization, Role
from ome_iac.models.safetensors import BITS
from ome_iac.models.tensors import TensorTable

DTYPES = {
    "bfloat16": "BF16",
    "float16": "F16",
    "half": "F16",
    "float32": "F32",
    "float": "F32",
    "float64": "F64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
"""torch's names to safetensors'."""

Stored = tuple[str, str, Shape]
_PACKED_ROLES = frozenset({Role.ATTENTION, Role.MLP, Role.EXPERT, Role.SHARED_EXPERT, Role.STATE})


def derive(layout: Layout, dtype: str, declared: Declared) -> TensorTable:
    """The table of a layout whose plain weights are of `dtype` (safetensors' name)."""
    table = TensorTable()
    quantization = declared.quantization
    skipped = Skipped(declared.skipped)
    for name, shape in layout.weights():
        if quantization is not None and _is_packed(name, shape, skipped):
            stored = _packed(name, shape, dtype, quantization)
        else:
            stored = iter([(name, dtype, shape)])
        for stored_name, stored_dtype, stored_shape in stored:
            size = math.prod(stored_shape) * BITS[stored_dtype] // 8
            table.append(stored_name, stored_dtype, stored_shape, size, "")
    return table


def _is_packed(name: str, shape: Shape, skipped: Skipped) -> bool:
    if len(shape) < 2 or name.endswith((".bias", "_bias", "conv1d.weight", "A_log")):
        return False
    if place(name)[0].role not in _PACKED_ROLES:
        return False
    return not (skipped and skipped.covers(name.removesuffix(".weight")))


def _packed(name: str, shape: Shape, dtype: str, quantization: Quantization) -> Iterator[Stored]:
    """The tensors that stand for one matrix (..., output, input)."""
    *outer, rows, columns = shape
    lead, base = tuple(outer), name.removesuffix(".weight")
    bits, method = quantization.bits, quantization.method
    group = quantization.group_size or columns
    groups = math.ceil(columns / group)
    if method in ("fp8", "fbgemm_fp8") or (quantization.ome_name == "fp8" and bits == 8):
        yield name, "F8_E4M3", shape
        if quantization.block_shape:
            high, wide = quantization.block_shape
            yield f"{name}_scale_inv", "F32", (*lead, math.ceil(rows / high), math.ceil(columns / wide))
        else:
            yield f"{name}_scale", "F32", (*lead, rows, 1)
    elif method in ("awq", "gptq", "auto-round"):
        packed = math.ceil(rows * bits / 32)
        if method == "awq":
            yield f"{base}.qweight", "I32", (*lead, columns, packed)
        else:
            yield f"{base}.qweight", "I32", (*lead, math.ceil(columns * bits / 32), rows)
            yield f"{base}.g_idx", "I32", (*lead, columns)
        yield f"{base}.qzeros", "I32", (*lead, groups, packed)
        yield f"{base}.scales", "F16", (*lead, groups, rows)
    elif method == "mxfp4":
        yield f"{base}_blocks", "U8", (*lead, rows, math.ceil(columns / 32), 16)
        yield f"{base}_scales", "U8", (*lead, rows, math.ceil(columns / 32))
    elif method == "nvfp4" or (method == "compressed-tensors" and bits == 4 and quantization.ome_name is None):
        yield f"{base}.weight", "U8", (*lead, rows, math.ceil(columns / 2))
        yield f"{base}.weight_scale", "F8_E4M3", (*lead, rows, math.ceil(columns / 16))
        yield f"{base}.weight_scale_2", "F32", ()
    elif method == "bitsandbytes" and bits == 4:
        yield f"{base}.weight", "U8", (math.ceil(math.prod(shape) / 2), 1)
        yield f"{base}.weight.absmax", "U8", (math.ceil(math.prod(shape) / 64),)
    elif method == "compressed-tensors" and bits == 4:
        yield f"{base}.weight_packed", "I32", (*lead, rows, math.ceil(columns * bits / 32))
        yield f"{base}.weight_scale", dtype, (*lead, rows, groups)
    elif bits == 8:
        yield f"{base}.weight", "I8", shape
        yield f"{base}.weight_scale", dtype, (*lead, rows, 1)
    elif method == "hqq":
        yield f"{base}.W_q", "U8", (math.ceil(math.prod(shape) * bits / 8), 1)
        yield f"{base}.scale", dtype, (math.ceil(math.prod(shape) / (quantization.group_size or 64)), 1)
        yield f"{base}.zero", dtype, (math.ceil(math.prod(shape) / (quantization.group_size or 64)), 1)
    else:
        raise UnknownStorageError(method, bits)


class UnknownStorageError(Exception):
    """How the method stores its weights is not known here."""

    def __init__(self, method: str, bits: int) -> None:
        super().__init__(f"how {method} stores {bits}-bit weights is not known without the weights' headers")
