"""What the engine's own state knew when an operation began, read from the file backend's checkpoint.

A provider cannot see from a Create request why the object is there already: it may be left by an `up` that was killed
before the engine wrote it down (to be adopted), or be the predecessor in a replacement (to be kept apart). The
checkpoint tells: its resources are exactly what the engine remembers.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def ids_in_checkpoint(state: Path, provider_urn: str) -> dict[str, frozenset[str]]:
    """The ids recorded for each URN of the stack that `provider_urn` belongs to; empty for a stack not yet deployed.

    `state` is the folder of the `file://` backend; its layout is `.pulumi/stacks/<project>/<stack>.json`, uncompressed.
    An unreadable checkpoint counts as empty: the engine itself refuses to work on one.
    """
    stack, project = _stack_and_project(provider_urn)
    checkpoint = state / ".pulumi" / "stacks" / project / f"{stack}.json"
    try:
        document = json.loads(checkpoint.read_bytes())
        resources: list[dict[str, Any]] = document["checkpoint"]["latest"]["resources"] or []
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    ids: dict[str, set[str]] = {}
    for resource in resources:
        if resource.get("id"):
            ids.setdefault(resource["urn"], set()).add(resource["id"])
    return {urn: frozenset(found) for urn, found in ids.items()}


def _stack_and_project(urn: str) -> tuple[str, str]:
    """From `urn:pulumi:<stack>::<project>::<type>::<name>`; two empty strings where it is none."""
    parts = urn.split("::")
    prefix = "urn:pulumi:"
    return (parts[0].removeprefix(prefix), parts[1]) if urn.startswith(prefix) and len(parts) > 2 else ("", "")
