"""What the profile answers."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any


@dataclass(frozen=True)
class Fit:
    """Where a runtime runs: the cheapest shape that holds it, or why that is unknown, or why it runs nowhere."""

    shape: str = ""
    split: str = ""
    gpus: int = 0
    context_length: int = 0
    whole_context: bool = True
    concurrency: float | None = None
    cost_per_hour: float = inf
    derived: bool = False
    unknown: str = ""
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.unknown:
            return f"fit unknown: {self.unknown}"
        context = f"{'' if self.whole_context else 'shortened to '}{self.context_length:,} tokens"
        held = "" if self.concurrency is None else f" x {self.concurrency:.1f} at once"
        gpus = f"{self.gpus} GPU{'s' if self.gpus > 1 else ''} of {self.shape}"
        derived = " (bytes derived from the configuration)" if self.derived else ""
        return f"fits {gpus} ({self.split}), {context}{held}, ${self.cost_per_hour:.2f}/h{derived}"


@dataclass(frozen=True)
class Candidate:
    """A runtime that may be selected. Compared by, in this order, the smaller first:

    fit proven before unknown; declared before our own engines; of these, what was read from a release before what is
    known from documentation; priority, the higher first; the model's whole context before a shortened one; cost per
    hour; GPUs; an entry that names the architecture before one that takes any; the narrower size range, none last;
    namespace before cluster; requests at once, more first; our engines in the planner's order; name.
    """

    name: str
    fit: Fit
    declared: bool = True
    priority: int = 1
    architecture: str | None = None
    sizes: str = ""
    width: float = inf
    cluster: bool = True
    from_docs: bool = False
    order: int = 0
    notes: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[object, ...]:
        """What candidates are sorted by."""
        return (
            bool(self.fit.unknown),
            not self.declared,
            self.from_docs,
            -self.priority,
            not self.fit.whole_context,
            self.fit.cost_per_hour,
            self.fit.gpus,
            self.architecture is None,
            self.width,
            self.cluster,
            -(self.fit.concurrency or 0.0),
            self.order,
            self.name,
        )

    @property
    def score(self) -> str:
        """The rank, written out."""
        if not self.declared:
            return f"{self.fit}; an engine of ome-iac{', known from its documentation' if self.from_docs else ''}"
        scope = "cluster" if self.cluster else "namespace"
        serves = f"for {self.architecture or 'any architecture'}{self.sizes and f' of {self.sizes}'}"
        return f"{self.fit}; declared, priority {self.priority}, {serves}, {scope}-scoped"


@dataclass(frozen=True)
class Rejection:
    """A runtime that may not be selected, and all that speaks against it."""

    name: str
    reasons: tuple[str, ...]
    declared: bool = True
    cluster: bool = True


@dataclass(frozen=True)
class Selection:
    """`candidates` best first; `rejected`: our own engines, then who has fewest reasons against it, then by name."""

    selected: str | None
    candidates: tuple[Candidate, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """What `ome-iac select --json` prints."""
        return {
            "selected": self.selected,
            "candidates": [{"name": found.name, "score": found.score} for found in self.candidates],
            "rejected": [{"name": found.name, "reasons": list(found.reasons)} for found in self.rejected],
            "error": self.error,
        }


@dataclass(frozen=True)
class Check:
    """Whether a named runtime may serve the model. `valid` with a `fit` that is unknown: nothing known speaks
    against it."""

    valid: bool
    reasons: tuple[str, ...] = ()
    error: str | None = None
    fit: str | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What `ome-iac select --runtime NAME --json` prints."""
        return {
            "valid": self.valid,
            "reasons": list(self.reasons),
            "error": self.error,
            "fit": self.fit,
            "notes": list(self.notes),
        }
