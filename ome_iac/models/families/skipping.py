"""Which modules a quantization config leaves alone.

Publishers name them in full, by a part of the path (`mlp.gate`), with a glob (`*lm_head*`) or by `re:` and a regular
expression. A config is a stranger's text, so no expression of it is run as it stands: it is cut at `.*` into pieces
without repetition, which are looked for one behind the other, in linear time. One that cannot be cut so skips nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_PATTERNS = 64
"""Expressions and globs that are tried; names in full are not limited."""


class Skipped:
    """Answers whether a module is left unquantized."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._cut: list[list[re.Pattern[str]]] = []
        for pattern in patterns:
            if pattern.startswith("re:"):
                self._add(pattern[3:])
            elif "*" in pattern:
                self._add(re.escape(pattern).replace(r"\*", ".*") + "$")
            else:
                self._names.add(pattern)

    def __bool__(self) -> bool:
        return bool(self._names or self._cut)

    def covers(self, module: str) -> bool:
        """Whether a name covers the module, as whole segments anywhere in its path, or an expression matches it."""
        segments = module.split(".")
        for first in range(len(segments)):
            for last in range(first + 1, len(segments) + 1):
                if ".".join(segments[first:last]) in self._names:
                    return True
        return any(_matches(pieces, module) for pieces in self._cut)

    def _add(self, pattern: str) -> None:
        if len(pattern) > 200 or len(self._cut) >= MOST_PATTERNS:
            return
        pattern = re.sub(r"\\d[+*]|\[0-9\][+*]", "[0-9]|[0-9][0-9]|[0-9][0-9][0-9]", pattern)
        pattern = re.sub(r"(\[0-9\]\|\[0-9\]\[0-9\]\|\[0-9\]\[0-9\]\[0-9\])", r"(?:\1)", pattern)
        pieces = re.split(r"(?<!\\)\.[*+]", pattern)
        if any(re.search(r"(?<!\\)[*+{]|(?<![\\(])\?", piece) for piece in pieces):
            return
        try:
            self._cut.append([re.compile(piece) for piece in pieces])
        except re.error:
            return


def _matches(pieces: list[re.Pattern[str]], module: str) -> bool:
    found = pieces[0].match(module)
    for piece in pieces[1:]:
        if found is None:
            return False
        found = piece.search(module, found.end())
    return found is not None
