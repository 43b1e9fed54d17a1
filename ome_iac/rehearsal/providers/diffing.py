"""What changed between two sets of properties, as the property paths that `pulumi preview --diff` shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ome_iac.rehearsal.providers.values import Secret, Value, plain

Path: TypeAlias = tuple[str | int, ...]
"""Keys and list indexes from the resource's root; `"*"` stands for any one of them in a pattern."""

_TOKEN = re.compile(r'\[(?P<index>\d+|\*)\]|\["(?P<quoted>(?:[^"\\]|\\.)*)"\]|\.?(?P<name>[^.\[\]"]+)')
_PLAIN_KEY = re.compile(r'[^.\[\]"]+')


@dataclass(frozen=True)
class Change:
    """One place that differs: `path`, and whether it was added, deleted or updated."""

    path: Path
    kind: Literal["add", "delete", "update"]


def changes(old: Value, new: Value) -> list[Change]:
    """Every smallest place in which the two differ, in the order of the keys.

    A secret is compared by its value but never entered: what changed inside it would tell about it. A value that is
    not known yet differs from every known one.
    """
    return list(_changes(old, new, ()))


def _changes(old: Value, new: Value, path: Path) -> Iterator[Change]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                yield Change((*path, key), "delete")
            elif key not in old:
                yield Change((*path, key), "add")
            else:
                yield from _changes(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from _changes(before, after, (*path, index))
        yield from (Change((*path, index), "delete") for index in range(len(new), len(old)))
        yield from (Change((*path, index), "add") for index in range(len(old), len(new)))
    elif not _same(old, new):
        yield Change(path, "update")


def _same(old: Value, new: Value) -> bool:
    if isinstance(old, Secret) or isinstance(new, Secret):
        old, new = plain(old), plain(new)
    # True == 1 in Python, but not in a document.
    return type(old) is type(new) and bool(old == new)


def render(path: Path) -> str:
    """The path as Pulumi writes it: `spec.containers[0].env`, `metadata.labels["app.kubernetes.io/name"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part):
            text += f".{part}" if text else part
        else:
            escaped = part.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def parse(text: str) -> Path:
    """The parts of a path or pattern written as in `ignoreChanges`; `ValueError` where it is none."""
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"{text!r} is not a property path")
        index, quoted, name = match.group("index", "quoted", "name")
        if index is not None:
            parts.append(index if index == "*" else int(index))
        elif quoted is not None:
            parts.append(re.sub(r"\\(.)", r"\1", quoted))
        else:
            parts.append(name)
        position = match.end()
    return tuple(parts)


def covered(path: Path, patterns: Iterable[Sequence[str | int]]) -> bool:
    """Whether a pattern names the path itself or something it lies in."""
    return any(
        len(pattern) <= len(path) and all(want in ("*", have) for want, have in zip(pattern, path, strict=False))
        for pattern in patterns
    )


def touches(path: Path, patterns: Iterable[Sequence[str | int]]) -> bool:
    """Whether the change of `path` reaches a pattern: it lies in it, is it, or holds it."""
    return any(all(want in ("*", have) for want, have in zip(pattern, path, strict=False)) for pattern in patterns)
