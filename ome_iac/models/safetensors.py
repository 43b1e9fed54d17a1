"""Safetensors headers: which tensors a file holds, without reading one of them.

A file is 8 bytes of little-endian length N, N bytes of JSON `{"name": {"dtype", "shape", "data_offsets"}, ...}`, and
the tensors' bytes, which the offsets must cover without gap or overlap. The header comes from whoever published the
model, so it is tokenized entry by entry, never decoded as one JSON value: nesting cannot recurse, a few bytes cannot
turn into many, and what is kept is proportional to the number of tensors.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Sequence
from itertools import chain, islice
from math import prod
from operator import attrgetter, eq, sub

from ome_iac.models.tensors import Kind, TensorTable
from ome_iac.problems import Problem, ProblemsError, did_you_mean

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits of one value of each dtype, as in the safetensors library 0.8."""

_SHOWN_PROBLEMS = 20

_W = rb"[ \t\n\r]*+"
_STRING = rb'"((?:[^"\\\x00-\x1f]++|\\.)*+)"'
_NUMBER = rb"(?:0|[1-9][0-9]{0,19})"
_FIELD = (
    rb'(?:"dtype"%(w)s:%(w)s"(?P<dtype>\w++)"'
    rb'|"shape"%(w)s:%(w)s\[%(w)s(?P<shape>(?:%(n)s(?:%(w)s,%(w)s%(n)s)*+)?)%(w)s\]'
    rb'|"data_offsets"%(w)s:%(w)s\[%(w)s(?P<begin>%(n)s)%(w)s,%(w)s(?P<end>%(n)s)%(w)s\])'
) % {b"w": _W, b"n": _NUMBER}
# Each of the three alternatives sets its own groups, so three fields that leave no group unset are one of each.
_TENSOR = re.compile(
    rb"%(w)s%(s)s%(w)s:%(w)s\{(?:%(w)s%(f)s%(w)s(?:,|(?=\}))){3}(?<!,)\}%(w)s(?P<next>[,}])"
    % {b"w": _W, b"s": _STRING, b"f": _FIELD}
)
# The same as the libraries write it; the frame is what of an entry is in no group.
_PLAIN = rb'"[^"\\\x00-\x1f]*+"'
_COMPACT_METADATA = re.compile(rb'\{(?:"__metadata__":\{(%(p)s:%(p)s(?:,%(p)s:%(p)s)*+)\},)?' % {b"p": _PLAIN})
_COMPACT_TENSOR = re.compile(
    rb'"([^"\\\x00-\x1f]*+)":\{"dtype":"(\w++)","shape":\[((?:%(n)s(?:,%(n)s)*+)?)\],'
    rb'"data_offsets":\[(%(n)s),(%(n)s)\]\}([,}])' % {b"n": _NUMBER}
)
_LARGEST_COMPACT = 8 * 1024 * 1024  # its matches take eight times the header's memory
_COMPACT_FRAME = len('"":{"dtype":"","shape":[],"data_offsets":[,]}')
_KEY = re.compile(rb"%(w)s%(s)s%(w)s:%(w)s" % {b"w": _W, b"s": _STRING})
_TEXT_MEMBER = re.compile(rb"%(w)s%(s)s%(w)s:%(w)s%(s)s%(w)s([,}])" % {b"w": _W, b"s": _STRING})
_OPEN = re.compile(rb"\{%s" % _W)
_EMPTY = re.compile(rb"\{%s\}" % _W)
_NEXT = re.compile(rb"%s([,}])" % _W)
_BLANK = re.compile(rb"%s\Z" % _W)


def header_length(prefix: bytes, file_bytes: int, where: str) -> int:
    """N, from the file's first 8 bytes. Raises ProblemsError for a length that the format or the file forbids."""

    def refuse(what: str) -> ProblemsError:
        return ProblemsError([Problem(where, "header", what, "download the file again, or ask its publisher")])

    if len(prefix) < 8 or file_bytes < 8:
        raise refuse(f"the file ends after {min(len(prefix), file_bytes)} bytes, within the header's length")
    length = int.from_bytes(prefix[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise refuse(
            f"says it is {length:,} bytes long; the format allows {MAX_HEADER_BYTES:,}, so this is no safetensors file"
        )
    if length > file_bytes - 8:
        raise refuse(f"says it is {length:,} bytes long; the file holds {file_bytes - 8:,} after the length")
    if length < 2:
        raise refuse(f"is {length} bytes long; the shortest is {{}}")
    return length


def parse_header(header: bytes, data_bytes: int, shard: str, where: str) -> TensorTable:
    """The tensors of one file, in the header's order.

    `header` is the N bytes of JSON, `data_bytes` the size of the file less 8 + N, `shard` what the rows name as their
    file, `where` what errors name. Raises ProblemsError with every violation, up to 20.
    """
    return _parse_compact(header, data_bytes, shard) or _HeaderReader(header, data_bytes, where).read(shard)


def _parse_compact(header: bytes, data_bytes: int, shard: str) -> TensorTable | None:
    """A faultless header as the libraries write it: no blanks, fields and tensors in order. None for any other.

    Half of the time that reading a large model takes is spent on its headers; this halves it again.
    """
    text = header.rstrip(b" ")
    opened = _COMPACT_METADATA.match(text)
    if opened is None or len(text) > _LARGEST_COMPACT:
        return None
    tensors = _COMPACT_TENSOR.findall(text, opened.end())
    if not tensors:
        return None
    # Matches do not overlap, so if together they are as long as the text, nothing lies between them.
    if sum(map(len, chain.from_iterable(tensors))) + _COMPACT_FRAME * len(tensors) != len(text) - opened.end():
        return None
    raw_names, dtypes, shapes, begins, ends, separators = zip(*tensors, strict=True)
    if separators.count(b",") != len(tensors) - 1 or separators[-1] != b"}":
        return None
    if begins[0] != b"0" or begins[1:] != ends[:-1] or int(ends[-1]) != data_bytes:
        return None
    try:
        names = b"\n".join(raw_names).decode().split("\n")  # a name holds no control character
        kinds = list(map(_Kinds().__getitem__, zip(dtypes, shapes, strict=True)))
        metadata = json.loads(b"{%s}" % opened[1]) if opened[1] else None
    except (UnicodeDecodeError, _UnfitError):
        return None
    spans = map(sub, map(int, ends), map(int, begins))
    if not all(map(eq, spans, map(attrgetter("bytes"), kinds))) or len(set(names)) != len(names):
        return None
    if "__metadata__" in names:
        return None
    table = TensorTable("safetensors")
    table.add_shard(shard, names, kinds, metadata)
    return table


class _HeaderReader:
    def __init__(self, header: bytes, data_bytes: int, where: str) -> None:
        self.header = header
        self.data_bytes = data_bytes
        self.where = where
        self.names: list[str] = []
        self.kinds: list[Kind] = []
        self.begins = array("Q")
        self.ends = array("Q")
        self.metadata: dict[str, str] | None = None
        self.problems: list[Problem] = []

    def read(self, shard: str) -> TensorTable:
        try:
            position = self._members()
            if not _BLANK.match(self.header, position):
                self._report("", f"more text after the JSON object (byte {8 + position})")
        except _BrokenError as error:
            self._report(error.tensor, error.what)
        table = TensorTable("safetensors")
        table.add_shard(shard, self.names, self.kinds, self.metadata)
        for name in islice(table.repeated(), _SHOWN_PROBLEMS):
            self._report(name, "this tensor is given twice")
        if "__metadata__" in self.names:
            self._report("__metadata__", "must map strings to strings, and describes a tensor")
        if not self.problems:
            self._check_layout()
        if self.problems:
            raise ProblemsError(self.problems)
        return table

    def _report(self, tensor: str, what: str, remedy: str = "") -> None:
        self.problems.append(Problem(self.where, _shown(tensor) if tensor else "header", what, remedy))

    def _members(self) -> int:
        """Read all members of the JSON object; the position after it."""
        header, size_limit = self.header, self.data_bytes
        opened = _OPEN.match(header)
        if opened is None:
            raise _BrokenError("", "is no JSON object: it must begin with {")
        position, more = opened.end(), b","
        if header[position : position + 1] == b"}":
            return position + 1
        kinds = _Kinds()
        while more == b",":
            tensor = _TENSOR.match(header, position)
            if tensor is None:
                position, more = self._other_member(position)
                continue
            raw_name, dtype, shape, begin_text, end_text, more = tensor.groups()
            if dtype is None or shape is None or end_text is None:
                position, more = self._other_member(position)
                continue
            name = self._text(raw_name, position)
            position, begin, end = tensor.end(), int(begin_text), int(end_text)
            try:
                kind = kinds[dtype, shape]
            except _UnfitError as error:
                self._reject(name, error.what, error.remedy)
                continue
            if end - begin != kind.bytes or end > size_limit:
                self._reject(name, *self._wrong_span(kind, begin, end))
                continue
            self.names.append(name)
            self.kinds.append(kind)
            self.begins.append(begin)
            self.ends.append(end)
        return position

    def _other_member(self, position: int) -> tuple[int, bytes]:
        """Read `__metadata__`, the one member that is no tensor, or say what is wrong with this one."""
        key = _KEY.match(self.header, position)
        if key is None:
            raise _BrokenError("", f"is not JSON at byte {8 + position}: a quoted name and a colon expected")
        name = self._text(key[1], position)
        if name != "__metadata__":
            raise _BrokenError(name, _why_no_tensor(self.header, key.end()))
        if self.metadata is not None:
            raise _BrokenError(name, "given twice")
        return self._metadata(key.end())

    def _reject(self, name: str, what: str, remedy: str) -> None:
        self._report(name, what, remedy)
        if len(self.problems) >= _SHOWN_PROBLEMS:
            raise ProblemsError(self.problems)

    def _wrong_span(self, kind: Kind, begin: int, end: int) -> tuple[str, str]:
        if not begin <= end <= self.data_bytes:
            what = f"data_offsets [{begin}, {end}] leave the file's {self.data_bytes:,} bytes of tensors"
            return what, "the file is cut off or its header is wrong"
        what = f"{kind.dtype} {list(kind.shape)} is {kind.bytes:,} bytes; its data_offsets span {end - begin:,}"
        return what, ""

    def _metadata(self, position: int) -> tuple[int, bytes]:
        header = self.header
        found: dict[str, str] = {}
        empty = _EMPTY.match(header, position)
        if empty:
            position = empty.end()
        else:
            opened = _OPEN.match(header, position)
            if opened is None:
                raise _BrokenError("__metadata__", "must be an object of strings")
            position, more = opened.end(), b","
            while more == b",":
                member = _TEXT_MEMBER.match(header, position)
                if member is None:
                    raise _BrokenError("__metadata__", f"must map strings to strings (byte {8 + position})")
                found[self._text(member[1], position)] = self._text(member[2], position)
                position, more = member.end(), member[3]
        after = _NEXT.match(header, position)
        if after is None:
            raise _BrokenError("__metadata__", f"is not JSON at byte {8 + position}: a comma or }} expected")
        self.metadata = found
        return after.end(), after[1]

    def _text(self, raw: bytes, position: int) -> str:
        try:
            if b"\\" not in raw:
                return raw.decode()
            text: str = json.loads(b'"%s"' % raw)
            text.encode()  # a lone surrogate is no text
            return text
        except ValueError:
            raise _BrokenError("", f"is not JSON: a string near byte {8 + position} is not valid UTF-8") from None

    def _check_layout(self) -> None:
        """The offsets, sorted, must follow one another from 0 to the end of the file."""
        order: Sequence[int] = range(len(self.begins))
        if self.begins[1:] != self.ends[:-1]:
            order = sorted(order, key=lambda row: (self.begins[row], self.ends[row]))
        reached = 0
        for row in order:
            begin = self.begins[row]
            if begin < reached:
                self._report(self.names[row], f"begins at {begin:,}, {reached - begin:,} bytes inside another tensor")
            elif begin > reached:
                self._report(self.names[row], f"begins at {begin:,}, after {begin - reached:,} bytes of no tensor")
            if len(self.problems) >= _SHOWN_PROBLEMS:
                return
            reached = max(reached, self.ends[row])
        if reached != self.data_bytes:
            what = f"covers {reached:,} bytes of tensors; the file holds {self.data_bytes:,}"
            self._report("", what, "every byte must belong to a tensor")


class _BrokenError(Exception):
    """What makes reading on pointless."""

    def __init__(self, tensor: str, what: str) -> None:
        self.tensor = tensor
        self.what = what


class _UnfitError(Exception):
    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy


class _Kinds(dict[tuple[bytes, bytes], Kind]):
    """Made as they are asked for; the few distinct ones repeat over all layers."""

    def __missing__(self, key: tuple[bytes, bytes]) -> Kind:
        dtype, shape = key
        made = self[key] = _kind(dtype.decode("ascii", "replace"), shape)
        return made


def _kind(dtype: str, shape_text: bytes) -> Kind:
    bits = BITS.get(dtype)
    if bits is None:
        raise _UnfitError(f'unknown dtype "{_shown(dtype)}"', did_you_mean(dtype.upper(), BITS))
    shape = tuple(int(size) for size in shape_text.split(b",")) if shape_text else ()
    size, rest = divmod(prod(shape) * bits, 8)
    if rest:
        raise _UnfitError(f"{dtype} {list(shape)} does not end on a byte")
    return Kind(dtype, shape, size)


def _why_no_tensor(header: bytes, position: int) -> str:
    """What is wrong with the value at `position`, which is no tensor's entry."""
    expected = 'expected {"dtype": text, "shape": [sizes], "data_offsets": [begin, end]}'
    found = header[position : position + 60].decode("utf-8", "replace")
    return f"{expected}, found {_shown(found)}" if found else "the header ends within this entry"


def _shown(text: str) -> str:
    """Text from the file, safe for a terminal and short."""
    escaped = json.dumps(text, ensure_ascii=False)[1:-1] if text.isprintable() else json.dumps(text)[1:-1]
    return escaped if len(escaped) <= 120 else escaped[:117] + "..."
