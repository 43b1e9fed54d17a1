"""All ways to serve one model: engine x pool x tensor parallel, each with its proof or its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ome_iac.hardware import GIB
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.plan import Rejection
from ome_iac.planning.pools import Pool
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine
from ome_iac.runtimes.memory import Ledger, longest_context
from ome_iac.spec.services import Intent

TENSOR_PARALLEL = (1, 2, 4, 8)
SHORTEST_CONTEXT = 2048
"""Where no context is asked for, a plan that holds less than this is no plan."""


@dataclass(frozen=True)
class Candidate:
    """A way that fits."""

    engine: Engine
    pool: Pool
    tensor_parallel: int
    ledger: Ledger

    @property
    def cost_per_hour(self) -> float:
        """List price of one replica's GPUs."""
        return self.tensor_parallel * self.pool.shape.price.per_gpu_hour

    def rejection(self, *reasons: str) -> Rejection:
        """The same way, not taken."""
        return Rejection(
            runtime=self.engine.name,
            pool=self.pool.name,
            tensor_parallel=self.tensor_parallel,
            fits=True,
            reasons=reasons,
        )


@dataclass(frozen=True)
class Demand:
    """What a replica has to hold."""

    task: Task
    context_length: int
    insisted: bool
    concurrency: int
    objective: str
    scratch_bytes: int


def demand_of(model: ModelMetadata, task: Task, intent: Intent, replicas: int, scratch_bytes: int) -> Demand:
    """The asked context, or the model's own; the asked concurrency, shared by the replicas."""
    return Demand(
        task=task,
        context_length=intent.context_length or model.context_length or SHORTEST_CONTEXT,
        insisted=intent.context_length is not None,
        concurrency=-(-intent.concurrency // replicas),
        objective=intent.objective,
        scratch_bytes=scratch_bytes,
    )


@dataclass(frozen=True)
class Search:
    """What was found: candidates, best first, and everything else with its reasons."""

    fitting: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]
    longest_context: tuple[int, str]
    """Tokens of the longest request that any legal split could hold, and where; 0 where no weights fit."""


def search(model: ModelMetadata, demand: Demand, engines: Iterable[Engine], pools: Sequence[Pool]) -> Search:
    """Every engine on every pool at every split, ranked.

    Rank: holds the whole asked context; then cost (or GPUs, for `fewest-gpus`); then GPUs (or cost); then requests at
    once, more first; then the engines' order; then the pool's name.
    """
    fitting: list[tuple[tuple[object, ...], Candidate]] = []
    rejected: list[Rejection] = []
    longest = (0, "")
    for order, engine in enumerate(engines):
        refusals = engine.refusals(model, demand.task)
        if refusals:
            rejected.append(
                Rejection(runtime=engine.name, pool="any", tensor_parallel=None, fits=False, reasons=refusals)
            )
            continue
        for pool in pools:
            unsuited = engine.gpu_refusals(model, pool.shape.gpu) or _disk_shortage(pool, demand)
            if unsuited:
                rejected.append(
                    Rejection(runtime=engine.name, pool=pool.name, tensor_parallel=None, fits=False, reasons=unsuited)
                )
                continue
            for split in TENSOR_PARALLEL:
                if split > pool.shape.gpus:
                    break
                reasons = engine.illegal_splits(model, split)
                ledger = None
                if not reasons:
                    empty = engine.ledger(model, demand.task, pool.shape.gpu, split, 1)
                    reachable = longest_context(model, empty.kv_cache, split)
                    if reachable > longest[0]:
                        longest = (reachable, f"{engine.name} on {pool.name}, TP {split}")
                    context = min(demand.context_length, reachable) if not demand.insisted else demand.context_length
                    ledger = engine.ledger(model, demand.task, pool.shape.gpu, split, context)
                    reasons = _shortcomings(ledger, demand, context)
                if reasons or ledger is None:
                    rejected.append(
                        Rejection(
                            runtime=engine.name,
                            pool=pool.name,
                            tensor_parallel=split,
                            fits=False,
                            reasons=tuple(reasons),
                        )
                    )
                    continue
                candidate = Candidate(engine, pool, split, ledger)
                money, gpus = candidate.cost_per_hour, split
                first, second = (gpus, money) if demand.objective == "fewest-gpus" else (money, gpus)
                shorter = ledger.context_length < demand.context_length
                held = -(ledger.concurrency or 0.0)
                fitting.append(((shorter, first, second, held, order, pool.name), candidate))
    fitting.sort(key=lambda entry: entry[0])
    return Search(tuple(candidate for _, candidate in fitting), tuple(rejected), longest)


def _disk_shortage(pool: Pool, demand: Demand) -> tuple[str, ...]:
    if pool.disk_bytes is None or pool.disk_bytes >= demand.scratch_bytes:
        return ()
    return (f"a node's disk has {pool.disk_bytes / GIB:.0f} GiB, {demand.scratch_bytes / GIB:.0f} are needed",)


def _shortcomings(ledger: Ledger, demand: Demand, context: int) -> tuple[str, ...]:
    if ledger.kv_cache < 0:
        return (f"weights and overhead exceed the budget by {-ledger.kv_cache / GIB:.1f} GiB per GPU",)
    if not demand.insisted and context < min(SHORTEST_CONTEXT, demand.context_length):
        return (f"leaves {ledger.kv_cache / GIB:.1f} GiB for KV: {context:,} tokens at most",)
    if not ledger.fits:
        return (
            f"{context:,} tokens need {ledger.kv_bytes_per_request / GIB:.1f} GiB of KV per GPU, "
            f"{ledger.kv_cache / GIB:.1f} are left",
        )
    if ledger.concurrency is not None and ledger.concurrency < demand.concurrency:
        return (f"holds {int(ledger.concurrency)} of {demand.concurrency} requests of {context:,} tokens",)
    return ()
