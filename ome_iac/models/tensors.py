"""`TensorTable`: every tensor's name, dtype, shape and bytes, as the headers of the weight files give them.

The table is columnar: DeepSeek-V3 has some 90,000 tensors, and a row of Python objects for each would cost several
times the names themselves.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple


class TensorInfo(NamedTuple):
    """One tensor.

    `dtype` is the file format's own name: safetensors' `BF16`, `F8_E4M3`, `I32`, `U8` ... or ggml's `Q4_K`, `F16` ...
    `shape` is row-major as torch prints it, also for GGUF; `bytes` as stored; `shard` the file, relative to the
    model's folder.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    shard: str


class TensorGroup(NamedTuple):
    """One tensor, or the same matrix of all experts of one layer.

    `example` is the first of them, `times` how many they are. Two thousand groups say what a mixture's 90,000 tensors
    say.
    """

    example: TensorInfo
    times: int


class Kind(NamedTuple):
    """What many tensors share: dtype, shape, and the bytes they make."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int


class TensorTable:
    """The tensors of one model, shard after shard.

    `format` is `safetensors` or `gguf`. `metadata` is what safetensors files say of themselves (`format: pt`), later
    shards winning; GGUF's keys are in `ConfigFiles.gguf`.
    """

    def __init__(self, weight_format: str = "safetensors") -> None:
        self.format = weight_format
        self._metadata: dict[str, str] = {}
        self._names: list[str] = []
        self._kinds = _Column()  # of each row
        self._shards: list[str] = []
        self._ends: list[int] = []  # the row after each shard's last
        self._row_of: dict[str, int] | None = None
        self._groups: tuple[TensorGroup, ...] | None = None

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[TensorInfo]:
        begin = 0
        for shard, end in zip(self._shards, self._ends, strict=True):
            for row in range(begin, end):
                kind = self._kinds[row]
                yield TensorInfo(self._names[row], kind.dtype, kind.shape, kind.bytes, shard)
            begin = end

    def __contains__(self, name: object) -> bool:
        return name in self._rows()

    @property
    def names(self) -> tuple[str, ...]:
        """All tensor names, in the order of iteration."""
        return tuple(self._names)

    @property
    def shards(self) -> tuple[str, ...]:
        """The weight files, in the order of iteration."""
        return tuple(self._shards)

    @property
    def metadata(self) -> Mapping[str, str]:
        """The weight files' own free-form metadata."""
        return MappingProxyType(self._metadata)

    @property
    def bytes(self) -> int:
        """All tensors' bytes as stored."""
        return sum(tensor.bytes for tensor in self)

    def get(self, name: str) -> TensorInfo | None:
        """The tensor of that name, or None."""
        row = self._rows().get(name)
        return None if row is None else self._info(row)

    def groups(self) -> tuple[TensorGroup, ...]:
        """The tensors in order, those of numbered experts gathered by layer, matrix, dtype and shape."""
        if self._groups is None:
            self._groups = tuple(self._gathered())
        return self._groups

    def _gathered(self) -> Iterator[TensorGroup]:
        rows: dict[tuple[str, str, int], list[int]] = {}
        for row, (name, kind) in enumerate(zip(self._names, self._kinds.indices, strict=True)):
            stem, _, rest = name.partition(".experts.")
            number, _, matrix = rest.partition(".")
            key = (stem, matrix, kind) if number.isdecimal() else (name, "", kind)
            if key in rows:
                rows[key][1] += 1
            else:
                rows[key] = [row, 1]
        for first, times in rows.values():
            yield TensorGroup(self._info(first), times)

    def shard_of(self) -> dict[str, str]:
        """Each tensor's name to its shard."""
        found: dict[str, str] = {}
        begin = 0
        for shard, end in zip(self._shards, self._ends, strict=True):
            found.update(dict.fromkeys(self._names[begin:end], shard))
            begin = end
        return found

    def repeated(self) -> Iterator[str]:
        """The names that are there more than once."""
        if len(set(self._names)) != len(self._names):
            seen: set[str] = set()
            for name in self._names:
                if name in seen:
                    yield name
                seen.add(name)

    def append(self, name: str, dtype: str, shape: tuple[int, ...], size: int, shard: str) -> None:
        """Add one tensor, already checked by the reader of its header; the shard is the last one or a new one."""
        self.add_shard(shard, [name], [Kind(dtype, shape, size)])

    def add_shard(
        self, shard: str, names: Sequence[str], kinds: Iterable[Kind], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Add the tensors of a shard, `kinds` as long as `names`."""
        if self._shards and self._shards[-1] == shard:
            self._ends.pop()
        else:
            self._shards.append(shard)
        self._names.extend(names)
        self._kinds.extend(kinds)
        self._ends.append(len(self._names))
        self._metadata.update(metadata or {})
        self._row_of = self._groups = None

    def extend(self, other: TensorTable) -> None:
        """Add all shards of another table, which are others than those here."""
        offset = len(self._names)
        self._names.extend(other._names)
        self._kinds.extend_column(other._kinds)
        self._shards.extend(other._shards)
        self._ends.extend(offset + end for end in other._ends)
        self._metadata.update(other._metadata)
        self._row_of = self._groups = None

    def _info(self, row: int) -> TensorInfo:
        kind = self._kinds[row]
        shard = self._shards[bisect_right(self._ends, row)]
        return TensorInfo(self._names[row], kind.dtype, kind.shape, kind.bytes, shard)

    def _rows(self) -> dict[str, int]:
        if self._row_of is None:
            self._row_of = {name: row for row, name in enumerate(self._names)}
        return self._row_of


class _Column:
    """The kinds of all rows: each distinct one is kept once, a row costs four bytes."""

    def __init__(self) -> None:
        self._distinct: list[Kind] = []
        self._index_of: dict[Kind, int] = {}
        self.indices = array("I")

    def __getitem__(self, row: int) -> Kind:
        return self._distinct[self.indices[row]]

    def extend(self, kinds: Iterable[Kind]) -> None:
        self.indices.extend(map(self._index, kinds))

    def extend_column(self, other: _Column) -> None:
        here = list(map(self._index, other._distinct))
        self.indices.extend(map(here.__getitem__, other.indices))

    def _index(self, kind: Kind) -> int:
        index = self._index_of.get(kind)
        if index is None:
            index = self._index_of[kind] = len(self._distinct)
            self._distinct.append(kind)
        return index
