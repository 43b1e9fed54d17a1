"""Kubernetes' strategic merge, as far as pods need it: what one document sets, over what another does."""

from __future__ import annotations

from typing import Any

KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "hostAliases": "ip",
}
"""Lists whose items are merged by a key."""
JOINED = ("tolerations", "args")
"""Lists that go on with what the other says; OME joins a container's arguments so. Any other list is replaced."""


def merged(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """`theirs` over `ours`: maps key by key, lists as KEYS and JOINED say, anything else replaced."""
    result = dict(ours)
    for key, value in theirs.items():
        present = result.get(key)
        if isinstance(value, dict) and isinstance(present, dict):
            result[key] = merged(present, value)
        elif isinstance(value, list) and isinstance(present, list) and key in KEYS:
            result[key] = _by_key(present, value, KEYS[key])
        elif isinstance(value, list) and isinstance(present, list) and key in JOINED:
            result[key] = [*present, *(item for item in value if key == "args" or item not in present)]
        else:
            result[key] = value
    return result


def _by_key(ours: list[Any], theirs: list[Any], key: str) -> list[Any]:
    named = {item.get(key): item for item in theirs}
    kept = [merged(item, named.pop(item.get(key))) if item.get(key) in named else item for item in ours]
    return [*kept, *named.values()]
