from __future__ import annotations

from typing import Any

import pytest

from ome_iac.rehearsal.providers.managed_shape import managed_part, with_secret_data, with_string_data
from ome_iac.rehearsal.providers.values import Secret, mark_secrets


@pytest.mark.parametrize(
    ("live", "deployed", "seen"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, {"a": 1}),
        ({"a": 9}, {"a": 1}, {"a": 9}),
        ({}, {"a": 1}, {}),
        ({}, {"a": False, "b": "", "c": {}, "d": [], "e": 0}, {"a": False, "b": "", "c": {}, "d": [], "e": 0}),
        ({}, {"a": {"b": {}}}, {"a": {"b": {}}}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {}}),
        (
            {"c": [{"name": "web", "image": "2", "pullPolicy": "Always"}, {"name": "sidecar"}]},
            {"c": [{"name": "web", "image": "1"}]},
            {"c": [{"name": "web", "image": "2"}]},
        ),
        ({"c": [{"name": "b"}, {"name": "a"}]}, {"c": [{"name": "a"}]}, {"c": [{"name": "a"}]}),
        ({"c": [{"name": "b"}]}, {"c": [{"name": "a"}]}, {"c": []}),
        (
            {"p": [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}]},
            {"p": [{"port": 80}]},
            {"p": [{"port": 80}]},
        ),
        ({"args": ["a", "b"]}, {"args": ["a"]}, {"args": ["a", "b"]}),
        ({"requests": {"cpu": "1", "memory": "1Gi"}}, {"requests": {"cpu": "1000m", "memory": "1024Mi"}}, None),
        ({"limits": {"nvidia.com/gpu": "8"}}, {"limits": {"nvidia.com/gpu": 8}}, None),
        ({"limits": {"cpu": "2"}}, {"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
        ({"env": [{"name": "N", "value": "1"}]}, {"env": [{"name": "N", "value": "1000m"}]}, "live"),
        ({"sizeLimit": "1Gi"}, {"sizeLimit": "1024Mi"}, None),
        ({"hard": {"pods": "1k"}}, {"hard": {"pods": "1e3"}}, None),
    ],
)
def test_only_what_was_deployed_is_seen(live: Any, deployed: Any, seen: Any) -> None:
    wanted = deployed if seen is None else live if seen == "live" else seen
    assert managed_part(live, deployed) == wanted


def test_string_data_is_read_back_from_data() -> None:
    live = {"kind": "Secret", "data": {"token": "aGVsbG8=", "other": "eA==", "bytes": "/w=="}}
    deployed = {"stringData": Secret({"token": "hello", "gone": "x", "bytes": "y"})}
    seen = with_string_data(live, deployed)
    assert seen["stringData"] == {"token": "hello", "bytes": "/w=="}
    assert with_string_data(live, {"data": {}}) == live


def test_a_secrets_data_is_marked_whatever_the_program_did() -> None:
    marked = with_secret_data({"kind": "Secret", "data": {"a": "b"}, "stringData": {"c": Secret("d")}})
    assert marked == {"kind": "Secret", "data": Secret({"a": "b"}), "stringData": Secret({"c": "d"})}


@pytest.mark.parametrize(
    ("value", "like", "marked"),
    [
        ({"a": 1, "b": 2}, {"a": Secret(0)}, {"a": Secret(1), "b": 2}),
        ({"a": [1, 2]}, {"a": [Secret(1), 2]}, {"a": [Secret(1), 2]}),
        ({"a": [1, 2, 3]}, {"a": [Secret(1), 2]}, {"a": Secret([1, 2, 3])}),
        ({"a": "text"}, {"a": {"b": Secret(1)}}, {"a": Secret("text")}),
        ({"a": Secret(1)}, {}, {"a": Secret(1)}),
        ({"a": {"b": Secret(1)}}, {"a": Secret({"b": 1})}, {"a": Secret({"b": 1})}),
    ],
)
def test_secret_marks_follow_the_places(value: Any, like: Any, marked: Any) -> None:
    assert mark_secrets(value, like) == marked
