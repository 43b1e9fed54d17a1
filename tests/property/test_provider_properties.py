from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ome_iac.rehearsal.providers.diffing import changes, covered, parse, render
from ome_iac.rehearsal.providers.folder_store import FolderStore
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectRef
from ome_iac.rehearsal.providers.managed_shape import managed_part
from ome_iac.rehearsal.providers.object_store import Owner
from ome_iac.rehearsal.providers.oci_records import Record, Records
from ome_iac.rehearsal.providers.values import UNKNOWN, Secret, decode, encode, has_secret, mark_secrets, plain

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT
FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
KEYS = TEXT.filter(lambda key: key not in ("", "*"))


def values(leaves: st.SearchStrategy[Any], depth: int = 12) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
        max_leaves=depth,
    )


DOCUMENTS = st.dictionaries(KEYS, values(SCALARS), max_size=4)
MARKED = st.dictionaries(KEYS, values(SCALARS | FLOATS | st.just(UNKNOWN) | st.builds(Secret, SCALARS)), max_size=4)


@given(MARKED)
def test_values_survive_the_wire(properties: dict[str, Any]) -> None:
    back = decode(encode(properties))
    assert back == properties
    assert repr(_ordered(back)) == repr(_ordered(properties))  # 1, 1.0 and True are equal in Python, and not the same


@given(MARKED)
def test_nothing_differs_from_itself_unless_unknown(properties: dict[str, Any]) -> None:
    found = changes(properties, properties)
    assert found == []
    assert changes(plain(properties), properties) == []


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_is_mirrored(old: dict[str, Any], new: dict[str, Any]) -> None:
    there, back = changes(old, new), changes(new, old)
    assert {change.path for change in there} == {change.path for change in back}
    assert (there == []) == (repr(_ordered(old)) == repr(_ordered(new)))
    mirror = {"add": "delete", "delete": "add", "update": "update"}
    assert {(change.path, mirror[change.kind]) for change in there} == {(change.path, change.kind) for change in back}


@given(st.lists(KEYS | st.integers(0, 99), min_size=1).map(tuple))
def test_paths_are_written_and_read_back(path: tuple[str | int, ...]) -> None:
    assert parse(render(path)) == path
    assert covered(path, [path[:1]])


@given(DOCUMENTS)
def test_an_untouched_object_shows_no_drift(deployed: dict[str, Any]) -> None:
    assert managed_part(deployed, deployed) == deployed


@given(DOCUMENTS, DOCUMENTS)
def test_what_is_seen_has_no_more_fields_than_deployed(live: dict[str, Any], deployed: dict[str, Any]) -> None:
    assert managed_part(live, deployed).keys() <= deployed.keys()
    assert managed_part({**live, "another": 1}, deployed).keys() <= deployed.keys()


@given(MARKED, MARKED)
def test_marking_adds_secrecy_and_changes_nothing_else(value: dict[str, Any], like: dict[str, Any]) -> None:
    marked = mark_secrets(value, like)
    assert plain(marked) == plain(value)
    assert has_secret(mark_secrets(value, value)) == has_secret(value)
    assert mark_secrets(plain(value), value) == value


@given(DOCUMENTS, DOCUMENTS)
def test_a_folder_gives_back_what_it_was_told(first: dict[str, Any], second: dict[str, Any]) -> None:
    owner = Owner("pulumi-1", "urn:pulumi:dev::demo::t::n")
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
    ref = ObjectRef.of(base)
    with tempfile.TemporaryDirectory() as folder:
        store = FolderStore(Path(folder))
        store.create(ref, {**base, "data": first}, owner, dry_run=False)
        foretold = store.apply(ref, {**base, "data": second}, {**base, "data": first}, owner, False, dry_run=True)
        made = store.apply(ref, {**base, "data": second}, {**base, "data": first}, owner, False, dry_run=False)
        read = store.get(ref)
    assert foretold == made == read
    assert made["data"] == second


@given(MARKED.map(lambda document: {key: value for key, value in document.items() if value is not None}))
def test_records_hold_no_secret_and_get_them_back(inputs: dict[str, Any]) -> None:
    known = _without_unknowns(inputs)
    word = "a-secret-that-nobody-else-has"
    known["secret"] = Secret(word)
    record = Record("ocid1.vcn.oc1.r.x", "t", "u", "now", known, {})
    with tempfile.TemporaryDirectory() as folder:
        records = Records(Path(folder))
        records.write(record)
        (path,) = Path(folder).rglob("*.json")
        assert word not in path.read_text()
        read = records.read(record.id, known)
        forgotten = records.read(record.id, {})
    assert read is not None
    assert forgotten is not None
    assert plain(read.inputs["secret"]) == word
    assert "secret" not in forgotten.inputs


def _without_unknowns(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_unknowns(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_unknowns(item) for item in value]
    return "known" if value is UNKNOWN else value


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value
