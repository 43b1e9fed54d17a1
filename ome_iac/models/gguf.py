"""GGUF headers: keys and tensor table of llama.cpp's file format, versions 2 and 3, little-endian.

The header holds the vocabulary too, so it is megabytes long and its length is not said in advance: `GgufReader` is
fed from the front until it has seen the last tensor's entry.
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from ome_iac.models.tensors import Kind, TensorTable
from ome_iac.problems import Problem, ProblemsError

MAX_HEADER_BYTES = 64 * 1024 * 1024
"""Ours: the largest vocabularies make headers of some 20 MB."""

KEPT_VALUES = 64
"""Arrays longer than this are kept as their length only."""

GGML_TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
}
"""ggml's number of a type to its name, the values in a block, and the bytes of a block."""

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4  # ggml's own


class NeedMore(Exception):  # noqa: N818 - a signal, not an error
    """The bytes end before the header does."""


def parse_gguf(data: bytes, file_bytes: int, shard: str, where: str) -> tuple[dict[str, Any], TensorTable]:
    """Keys and tensors, from the first bytes of a file of `file_bytes`.

    Raises NeedMore when `data` ends too early, ProblemsError for what is no GGUF header or leaves the file.
    """
    return _Reader(data, file_bytes, where).read(shard)


class _Reader:
    def __init__(self, data: bytes, file_bytes: int, where: str) -> None:
        self.data = data
        self.file_bytes = file_bytes
        self.where = where
        self.position = 0

    def read(self, shard: str) -> tuple[dict[str, Any], TensorTable]:
        if self._take(4) != b"GGUF":
            raise self._refuse("does not begin with GGUF", "this is another format")
        version = self._number("I")
        if version not in (2, 3):
            what = "is big-endian" if version in (2 << 24, 3 << 24) else f"is version {version}"
            raise self._refuse(what, "versions 2 and 3, little-endian, are read")
        tensors, keys = self._count("tensors"), self._count("keys")
        found: dict[str, Any] = {}
        for _ in range(keys):
            key = self._string()
            value = self._value(self._number("I"))
            if isinstance(value, _Long):
                found[f"{key}.length"] = value.length
            else:
                found[key] = value
        names, kinds, offsets = [], [], []
        for _ in range(tensors):
            name, kind, offset = self._tensor()
            names.append(name)
            kinds.append(kind)
            offsets.append(offset)
        self._check_offsets(names, kinds, offsets, found.get("general.alignment", 32))
        table = TensorTable("gguf")
        table.add_shard(shard, names, kinds)
        repeated = next(table.repeated(), None)
        if repeated is not None:
            raise self._refuse("this tensor is given twice", tensor=repeated)
        return found, table

    def _tensor(self) -> tuple[str, Kind, int]:
        name, dimensions = self._string(), self._number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise self._refuse(f"{dimensions} dimensions; ggml has at most {_MAX_DIMENSIONS}", tensor=name)
        shape = tuple(reversed([self._number("Q") for _ in range(dimensions)]))
        number, offset = self._number("I"), self._number("Q")
        if number not in GGML_TYPES:
            raise self._refuse(f"unknown ggml type {number}", tensor=name)
        dtype, block_values, block_bytes = GGML_TYPES[number]
        if shape and shape[-1] % block_values:
            raise self._refuse(
                f"rows of {shape[-1]} are no multiple of {dtype}'s blocks of {block_values}", tensor=name
            )
        return name, Kind(dtype, shape, prod(shape) // block_values * block_bytes), offset

    def _check_offsets(self, names: list[str], kinds: list[Kind], offsets: list[int], alignment: Any) -> None:
        if not isinstance(alignment, int) or alignment < 1:
            raise self._refuse(f"general.alignment is {alignment}", "a positive number")
        begin = -(-self.position // alignment) * alignment
        reached, before = 0, ""
        for row in sorted(range(len(names)), key=offsets.__getitem__):
            if offsets[row] < reached:
                raise self._refuse(f"overlaps {before}", tensor=names[row])
            reached, before = offsets[row] + kinds[row].bytes, names[row]
            if begin + reached > self.file_bytes:
                what = f"ends at byte {begin + reached:,} of a file of {self.file_bytes:,}"
                raise self._refuse(what, "the file is cut off; download it again", tensor=names[row])

    def _value(self, kind: int) -> Any:
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            raise self._refuse(f"unknown type {kind} of a key's value (byte {self.position})")
        item, length = self._number("I"), self._count("values")
        if item == _STRING:
            if length <= KEPT_VALUES:
                return [self._string() for _ in range(length)]
            for _ in range(length):
                self._take(self._count("characters"))
            return _Long(length)
        if item not in _SCALARS:  # arrays of arrays: allowed on paper, written by nobody
            raise self._refuse(f"an array of type {item} (byte {self.position})")
        values = self._take(length * struct.calcsize("<" + _SCALARS[item]))
        return _Long(length) if length > KEPT_VALUES else list(struct.unpack(f"<{length}{_SCALARS[item]}", values))

    def _count(self, what: str) -> int:
        """A count of things of at least one byte each, so it cannot exceed the file."""
        count: int = self._number("Q")
        if count > self.file_bytes:
            raise self._refuse(f"says it has {count:,} {what}, more than the file has bytes")
        return count

    def _number(self, code: str) -> Any:
        size = struct.calcsize("<" + code)
        return struct.unpack("<" + code, self._take(size))[0]

    def _string(self) -> str:
        return self._take(self._count("characters")).decode("utf-8", "replace")

    def _take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self.data):
            if end > self.file_bytes:
                raise self._refuse(f"the header ends outside the file of {self.file_bytes:,} bytes")
            if end > MAX_HEADER_BYTES:
                raise self._refuse(f"the header is longer than {MAX_HEADER_BYTES:,} bytes")
            raise NeedMore
        taken = self.data[self.position : end]
        self.position = end
        return taken

    def _refuse(self, what: str, remedy: str = "", tensor: str = "header") -> ProblemsError:
        shown = tensor if tensor.isprintable() and len(tensor) <= 120 else ascii(tensor)[:120]
        return ProblemsError([Problem(self.where, shown, what, remedy)])


class _Long:
    """An array of which only the length is kept."""

    def __init__(self, length: int) -> None:
        self.length = length
