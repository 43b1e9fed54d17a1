"""All ways to serve one model: engine x pool x split, each with its proof or its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ome_iac.hardware import GIB, Gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.plan import Rejection
from ome_iac.planning.pools import Pool
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine
from ome_iac.runtimes.memory import Ledger, Stage, longest_context, tightest
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning
from ome_iac.spec.services import Intent

SHORTEST_CONTEXT = 2048
"""Where no context is asked for, a plan that holds less than this is no plan."""
MOST_NODES = 8
"""Of one replica: beyond it a plan is a research project."""


@dataclass(frozen=True)
class Candidate:
    """A way that fits."""

    engine: Engine
    pool: Pool
    split: Split
    ledger: Ledger
    tuning: Tuning = DEFAULTS

    @property
    def nodes(self) -> int:
        """Nodes of one replica; where there are several, all GPUs of each."""
        return -(-self.split.gpus // self.pool.shape.gpus)

    @property
    def cost_per_hour(self) -> float:
        """List price of one replica's GPUs."""
        return self.split.gpus * self.pool.shape.price.per_gpu_hour

    def __str__(self) -> str:
        return f"{self.engine.name} on {self.pool.name}, {self.split}"

    def rejection(self, *reasons: str) -> Rejection:
        """The same way, not taken."""
        return Rejection(runtime=self.engine.name, pool=self.pool.name, split=self.split, fits=True, reasons=reasons)


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


@dataclass
class Proofs:
    """What each engine needs of each GPU for each model, computed once for all services."""

    _found: dict[tuple[object, ...], tuple[tuple[Stage, ...], tuple[str, ...]]] = field(default_factory=dict)

    def of(
        self, engine: Engine, model: ModelMetadata, task: Task, gpu: Gpu, split: Split, tuning: Tuning
    ) -> tuple[tuple[Stage, ...], tuple[str, ...]]:
        """The stages, or none and why the split is illegal. Models are told apart by identity."""
        key = (id(model), engine.name, task, gpu.name, split, tuning)
        if key not in self._found:
            illegal = engine.illegal_splits(model, split)
            self._found[key] = ((), illegal) if illegal else (engine.stages(model, task, gpu, split, tuning), ())
        return self._found[key]


def search(
    model: ModelMetadata,
    demand: Demand,
    engines: Iterable[Engine],
    pools: Sequence[Pool],
    proofs: Proofs,
    tuning: Tuning = DEFAULTS,
) -> Search:
    """Every engine on every pool at every split, ranked.

    Several nodes are looked at where one does not do, and only over RDMA: stages across nodes before tensor parallel
    across them. Rank: one node where no context is insisted on; holds the whole asked context; cost (or GPUs, for
    `fewest-gpus`); GPUs (or cost); fewer nodes; less over the network; experts divided like everything else; requests
    at once, more first; the engines' order; the pool's name.
    """
    fitting: list[tuple[tuple[object, ...], Candidate]] = []
    rejected: list[Rejection] = []
    longest = (0, "")
    for order, engine in enumerate(engines):
        refusals = engine.refusals(model, demand.task)
        if refusals:
            rejected.append(Rejection(runtime=engine.name, pool="any", split=None, fits=False, reasons=refusals))
            continue
        for pool in pools:
            unsuited = engine.gpu_refusals(model, pool.shape.gpu, tuning) or _disk_shortage(pool, demand)
            if unsuited:
                rejected.append(_refused(engine, pool, None, unsuited))
                continue
            for splits in _by_nodes(model, pool):
                found = False
                for split in splits:
                    stages, reasons = proofs.of(engine, model, demand.task, pool.shape.gpu, split, tuning)
                    if stages:
                        reachable = longest_context(stages, max(demand.context_length, model.context_length or 0))
                        if reachable > longest[0]:
                            longest = (reachable, f"{engine.name} on {pool.name}, {split}")
                        ledger = tightest(stages, _context(demand, reachable))
                        reasons = _shortcomings(ledger, demand)
                    if reasons:
                        rejected.append(_refused(engine, pool, split, reasons))
                    else:
                        found = True
                        candidate = Candidate(engine, pool, split, ledger, tuning)
                        fitting.append(((*_rank(candidate, demand), order, pool.name), candidate))
                if found:
                    break
    fitting.sort(key=lambda entry: entry[0])
    return Search(tuple(candidate for _, candidate in fitting), tuple(rejected), longest)


def _refused(engine: Engine, pool: Pool, split: Split | None, reasons: tuple[str, ...]) -> Rejection:
    return Rejection(runtime=engine.name, pool=pool.name, split=split, fits=False, reasons=reasons)


def _context(demand: Demand, reachable: int) -> int:
    """What was asked for, or as much of the model's own as there is room for."""
    return demand.context_length if demand.insisted else min(demand.context_length, reachable)


def _by_nodes(model: ModelMetadata, pool: Pool) -> Iterator[list[Split]]:
    """The splits of one node, then of two, and so on as far as the pool has nodes and RDMA between them."""
    gpus = pool.shape.gpus
    sizes = [size for size in (1, 2, 4, 8, 16) if size < gpus] + [gpus]
    yield [split for size in sizes for split in _with_experts(model, Split(tensor=size))]
    for nodes in range(2, min(len(pool.free), MOST_NODES) + 1) if pool.shape.rdma else ():
        staged, across = Split(tensor=gpus, pipeline=nodes), Split(tensor=gpus * nodes)
        yield [split for plain in (staged, across) for split in _with_experts(model, plain)]


def _with_experts(model: ModelMetadata, split: Split) -> list[Split]:
    if model.experts is None or split.stage_gpus == 1:
        return [split]
    return [split, split.model_copy(update={"expert": split.stage_gpus})]


def _rank(candidate: Candidate, demand: Demand) -> tuple[object, ...]:
    split, ledger = candidate.split, candidate.ledger
    money, gpus = candidate.cost_per_hour, split.gpus
    first, second = (gpus, money) if demand.objective == "fewest-gpus" else (money, gpus)
    return (
        candidate.nodes > 1 and not demand.insisted,
        ledger.context_length < demand.context_length,
        first,
        second,
        candidate.nodes,
        split.tensor > candidate.pool.shape.gpus,
        split.expert > 1,
        -(ledger.concurrency or 0.0),
    )


def _disk_shortage(pool: Pool, demand: Demand) -> tuple[str, ...]:
    if pool.disk_bytes is None or pool.disk_bytes >= demand.scratch_bytes:
        return ()
    return (f"a node's disk has {pool.disk_bytes / GIB:.0f} GiB, {demand.scratch_bytes / GIB:.0f} are needed",)


def _shortcomings(ledger: Ledger, demand: Demand) -> tuple[str, ...]:
    context = ledger.context_length
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
