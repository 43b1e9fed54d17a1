"""OME's versions and their comparison: close to semantic versioning, but not the same.

A version is `[v]major[.minor[.patch]]`, and after a patch `.dev`, `-pre` and `+build` may follow, each a list of words
between dots. A pre-release counts as greater than its release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_NUMBER = re.compile(r"0|[1-9][0-9]*")
_LARGEST = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Version:
    """`precision` counts the numbers that were written: 1 for `4`, 3 for `4.51.0`."""

    numbers: tuple[int, int, int]
    pre: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    prefix: str = ""
    precision: int = 3

    @property
    def official(self) -> bool:
        """Neither a development version nor a pre-release nor a build of its own."""
        return not (self.pre or self.build or self.dev)

    @property
    def key(self) -> tuple[object, ...]:
        """What versions are compared by; words are compared as text, a longer list of them is greater."""
        return (self.numbers, self.pre, self.build, self.dev)


@lru_cache(maxsize=4096)
def parse_version(text: str) -> Version | None:
    """The version, or None for what OME cannot read: `4.x`, `4.51.0rc1`, `04.5`, `4.51-rc`."""
    parts = text.split(".", 2)
    prefix = "v" if parts[0].startswith("v") else ""
    minor = parts[1] if len(parts) > 1 else "0"
    rest = parts[2] if len(parts) > 2 else "0"
    rest, build = _words(rest, "+")
    rest, pre = _words(rest, "-")
    patch, dev = _words(rest, ".")
    numbers = (_number(parts[0].removeprefix(prefix)), _number(minor), _number(patch))
    if None in numbers or "" in (*build, *pre, *dev):
        return None
    major, minor_number, patch_number = (number or 0 for number in numbers)
    return Version((major, minor_number, patch_number), pre, build, dev, prefix, len(parts))


def _words(text: str, sign: str) -> tuple[str, tuple[str, ...]]:
    """What stands before the sign, and the words after it."""
    before, found, after = text.partition(sign)
    return before, tuple(after.split(".")) if found else ()


def _number(digits: str) -> int | None:
    if len(digits) > len(str(_LARGEST)) or not _NUMBER.fullmatch(digits):
        return None
    number = int(digits)
    return number if number <= _LARGEST else None


@lru_cache(maxsize=65536)
def accepts(runtime: str, operator: str | None, model: str) -> bool:
    """Whether `runtime OPERATOR model` holds: a runtime with GreaterThanOrEqual 4.51.0 takes models up to 4.51.0.

    An operator that is left out is Equal. Where either version is unofficial only equality counts. Otherwise any
    operator but Equal, an unknown one too, asks for versions written alike: same prefix, same number of parts.
    """
    ours, theirs = parse_version(runtime), parse_version(model)
    if ours is None or theirs is None:
        return False
    equal = ours.key == theirs.key
    if operator in (None, "Equal") or not (ours.official and theirs.official):
        return equal
    if (ours.precision, ours.prefix) != (theirs.precision, theirs.prefix):
        return False
    if operator == "GreaterThan":
        return ours.numbers > theirs.numbers
    if operator == "GreaterThanOrEqual":
        return ours.numbers >= theirs.numbers
    return equal
