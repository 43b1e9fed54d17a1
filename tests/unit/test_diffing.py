from __future__ import annotations

import pytest

from ome_iac.rehearsal.providers.diffing import Change, changes, covered, parse, render, touches
from ome_iac.rehearsal.providers.values import UNKNOWN, Secret


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["update a"]),
        ({"a": 1}, {"a": True}, ["update a"]),
        ({"a": 0}, {"a": False}, ["update a"]),
        ({"a": 1}, {}, ["delete a"]),
        ({}, {"a": {"b": 1}}, ["add a"]),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, ["update a.b", "add a.c"]),
        ({"a": [1, 2, 3]}, {"a": [1, 9]}, ["update a[1]", "delete a[2]"]),
        ({"a": [1]}, {"a": [1, 2]}, ["add a[1]"]),
        ({"a": [{"b.c": 1}]}, {"a": [{"b.c": 2}]}, ['update a[0]["b.c"]']),
        ({"a": [1]}, {"a": {"0": 1}}, ["update a"]),
        ({"a": Secret("x")}, {"a": Secret("x")}, []),
        ({"a": Secret("x")}, {"a": "x"}, []),
        ({"a": Secret({"b": 1})}, {"a": Secret({"b": 2})}, ["update a"]),
        ({"a": "x"}, {"a": UNKNOWN}, ["update a"]),
        ({"a": ["x"]}, {"a": ["x", UNKNOWN]}, ["add a[1]"]),
        ({"a": {"b": "x"}}, {"a": {"b": Secret(UNKNOWN)}}, ["update a.b"]),
    ],
)
def test_the_smallest_places_that_differ(old: object, new: object, wanted: list[str]) -> None:
    assert [f"{change.kind} {render(change.path)}" for change in changes(old, new)] == wanted


def test_what_is_inside_a_secret_is_not_told() -> None:
    (change,) = changes({"data": Secret({"password": "a"})}, {"data": Secret({"password": "b"})})
    assert change == Change(("data",), "update")
    assert "password" not in repr(Secret({"password": "b"}))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("spec.containers[0].env", ("spec", "containers", 0, "env")),
        ('metadata.labels["a.b/c"]', ("metadata", "labels", "a.b/c")),
        ('["a\\"b"][*].c', ('a"b', "*", "c")),
        ("a.*.b", ("a", "*", "b")),
    ],
)
def test_paths_and_patterns_are_read(text: str, path: tuple[str | int, ...]) -> None:
    assert parse(text) == path


@pytest.mark.parametrize("text", ["a[", "[x]", 'a["b', "a..b"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a property path"):
        parse(text)


def test_patterns_cover_what_lies_in_them_and_touch_what_holds_them() -> None:
    patterns = [parse("spec.containers[*].image"), parse("data")]
    assert covered(parse("spec.containers[3].image"), patterns)
    assert covered(parse("data.key"), patterns)
    assert not covered(parse("spec.containers[3]"), patterns)
    assert touches(parse("spec.containers[3]"), patterns)
    assert touches(parse("data.key"), patterns)
    assert not touches(parse("spec.replicas"), patterns)
    assert not touches(parse("metadata"), patterns)
