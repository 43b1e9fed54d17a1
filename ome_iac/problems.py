"""What is wrong with the user's input, all of it at once, each with the place and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One line for the person who made the mistake.

    `where` is `file:line` (or what stands for it: a URI, a command's flag), `path` the dotted field inside the
    document, `what` is wrong with it, `remedy` what would be right.
    """

    where: str
    path: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        place = " ".join(part for part in (self.where, self.path) if part)
        text = f"{place}: {self.what}" if place else self.what
        return f"{text}; {self.remedy}" if self.remedy else text


class ProblemsError(Exception):
    """Raised once, with every problem found; `problems` is sorted and free of repeats."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest of the known names, or all of them where none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return "known: " + ", ".join(names) if names else ""
