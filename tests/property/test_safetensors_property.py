"""Headers against the safetensors library itself: what we accept it accepts, and reads the same."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from ome_iac.models.safetensors import BITS, parse_header
from ome_iac.problems import ProblemsError
from tests.make_weights import safetensors_header, tensor_bytes

MAX_DATA = 4096
patient = settings(deadline=None)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
tensors = (
    st.dictionaries(names, st.tuples(st.sampled_from(sorted(BITS)), shapes), max_size=6)
    .map(lambda found: [(name, dtype, shape) for name, (dtype, shape) in found.items()])
    .filter(lambda found: all(_whole_bytes(dtype, shape) for _, dtype, shape in found))
)


def _whole_bytes(dtype: str, shape: tuple[int, ...]) -> bool:
    count = 1
    for size in shape:
        count *= size
    return count * BITS[dtype] % 8 == 0


def ours(header: bytes, data: int) -> set[tuple[str, str, tuple[int, ...], int]] | None:
    try:
        return {(t.name, t.dtype, t.shape, t.bytes) for t in parse_header(header, data, "f", "f")}
    except ProblemsError:
        return None


def theirs(header: bytes, data: int) -> set[tuple[str, str, tuple[int, ...], int]] | None:
    try:
        found = deserialize(len(header).to_bytes(8, "little") + header + b"\0" * data)
    except (SafetensorError, ValueError):
        return None
    return {(name, entry["dtype"], tuple(entry["shape"]), len(entry["data"])) for name, entry in found}


@patient
@given(tensors)
def test_every_well_formed_header_is_read(found: list[tuple[str, str, tuple[int, ...]]]) -> None:
    header, size = safetensors_header(found)
    expected = {(name, dtype, shape, tensor_bytes(dtype, shape)) for name, dtype, shape in found}
    assert ours(header, size) == expected == theirs(header, size)


@patient
@given(tensors, st.sampled_from([None, 1, "\t"]))
def test_blanks_and_order_of_fields_change_nothing(
    found: list[tuple[str, str, tuple[int, ...]]], indent: int | str | None
) -> None:
    header, size = safetensors_header(found)
    loosely = json.dumps(json.loads(header), indent=indent, sort_keys=True).encode()
    assert ours(loosely, size) == ours(header, size)


@patient
@given(tensors, st.data())
def test_a_changed_header_is_read_as_the_library_reads_it_or_refused(
    found: list[tuple[str, str, tuple[int, ...]]], data: st.DataObject
) -> None:
    header, size = safetensors_header(found)
    position = data.draw(st.integers(0, len(header) - 1))
    length = data.draw(st.integers(0, 4))
    instead = data.draw(
        st.binary(max_size=4) | st.sampled_from([b"{", b"}", b"[", b"]", b",", b'"', b"0", b"-1", b"1.0"])
    )
    changed = header[:position] + instead + header[position + length :]
    shifted = data.draw(st.integers(max(0, size - 2), size + 2))
    accepted = ours(changed, shifted)
    if accepted is not None:
        assert accepted == theirs(changed, shifted)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 100) | st.text(max_size=5) | st.sampled_from(["F32", "U8"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@patient
@given(
    st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), json_values, max_size=4), st.integers(0, MAX_DATA)
)
@example({"w": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]}}, 3)
def test_any_json_object(header: dict[str, Any], data: int) -> None:
    raw = json.dumps(header).encode("utf-8", "surrogatepass")
    accepted = ours(raw, data)
    if accepted is not None:
        assert accepted == theirs(raw, data)


@patient
@given(st.binary(max_size=200), st.integers(0, 100))
def test_any_bytes(header: bytes, data: int) -> None:
    accepted = ours(header, data)
    if accepted is not None:
        assert accepted == theirs(header, data)
