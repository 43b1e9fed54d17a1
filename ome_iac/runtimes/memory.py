"""The memory ledger of one GPU: what is used, by what formula, and what is left for the KV cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ome_iac.hardware import GIB
from ome_iac.runtimes.kv_cache import Layout, longest


class LedgerLine(BaseModel):
    """One use of a GPU's memory: bytes, how they were computed, and who says so."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    name: str
    bytes: int = Field(ge=0)
    formula: str
    source: str


class Ledger(BaseModel):
    """The memory of one GPU of a replica, on the pipeline stage that has least room; all figures are bytes.

    `budget` is what the engine may use, `lines` what it uses of it before the KV cache, `kv_cache` what is left for it
    (negative: the model does not fit, by that much), `beside` what is used outside of the budget.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    total: int
    budget: int
    budget_formula: str
    lines: tuple[LedgerLine, ...]
    beside: tuple[LedgerLine, ...] = ()
    kv_block_bytes: int = Field(ge=0, description="the cache is handed out in these; 0: nothing is kept")
    kv_bytes_per_request: int = Field(ge=0, description="KV bytes of one request of `contextLength` tokens")
    context_length: int
    stage: int = Field(0, description="pipeline stage, from 0")
    copies: int = Field(1, description="data parallel ranks, each with a cache of its own")

    @property
    def kv_cache(self) -> int:
        """What the budget leaves for the KV cache."""
        return self.budget - sum(line.bytes for line in self.lines)

    @property
    def free(self) -> int:
        """What nobody uses: the part of the GPU outside of the budget, less what stands there."""
        return self.total - max(self.budget, self.budget - self.kv_cache) - sum(line.bytes for line in self.beside)

    @property
    def fits(self) -> bool:
        """Whether the weights and at least one request of the context length fit."""
        return self._usable >= self.kv_bytes_per_request and self.kv_cache >= 0

    @property
    def concurrency(self) -> float | None:
        """Requests of full length at once in the replica; None where requests keep nothing (encoders)."""
        if not self.kv_bytes_per_request:
            return None
        return self.copies * max(0.0, self._usable / self.kv_bytes_per_request)

    @property
    def kv_tokens(self) -> int | None:
        """Tokens the KV cache holds, counted as the engines do: concurrency times context length."""
        return None if self.concurrency is None else int(self.concurrency * self.context_length)

    @property
    def _usable(self) -> int:
        """Whole blocks of the cache."""
        return self.kv_cache // self.kv_block_bytes * self.kv_block_bytes if self.kv_block_bytes else self.kv_cache


@dataclass(frozen=True)
class Stage:
    """One pipeline stage before a context length is chosen."""

    number: int
    total: int
    budget: int
    budget_formula: str
    lines: tuple[LedgerLine, ...]
    beside: tuple[LedgerLine, ...]
    layout: Layout
    copies: int

    @property
    def room(self) -> int:
        """Bytes left for the KV cache; negative where the weights do not fit."""
        return self.budget - sum(line.bytes for line in self.lines)

    @property
    def usable(self) -> int:
        """Whole blocks of the room."""
        block = self.layout.block_bytes or 1
        return self.room // block * block

    def ledger(self, context_length: int) -> Ledger:
        """The stage's ledger for requests of that length."""
        return Ledger(
            total=self.total,
            budget=self.budget,
            budget_formula=self.budget_formula,
            lines=self.lines,
            beside=self.beside,
            kv_block_bytes=self.layout.block_bytes,
            kv_bytes_per_request=self.layout.request_bytes(context_length),
            context_length=context_length,
            stage=self.number,
            copies=self.copies,
        )


def tightest(stages: Sequence[Stage], context_length: int) -> Ledger:
    """The ledger of the stage that decides: fewest requests at once, then least room."""
    ledgers = [stage.ledger(context_length) for stage in stages]
    return min(ledgers, key=_room)


def _room(ledger: Ledger) -> tuple[bool, float, int]:
    held = ledger.concurrency
    return ledger.fits, inf if held is None else held, ledger.kv_cache


def longest_context(stages: Sequence[Stage], most: int) -> int:
    """Tokens of the longest single request that every stage holds, at most `most`; 0 where weights do not fit."""
    if any(stage.room < 0 for stage in stages):
        return 0
    return min(longest(stage.layout, stage.usable, most) for stage in stages)


def line(name: str, amount: float, formula: str, source: str) -> LedgerLine:
    """A line of `amount` bytes."""
    return LedgerLine(name=name, bytes=round(amount), formula=formula, source=source)


def gib(amount: float) -> str:
    """`1.96 GiB`."""
    return f"{amount / GIB:.2f} GiB"
