"""All ways to serve one model: engine x pool x split, each with its proof or its reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ome_iac.hardware import GIB
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.cost import full_batch
from ome_iac.planning.demand import SHORTEST_CONTEXT, Demand
from ome_iac.planning.plan import Rejection
from ome_iac.planning.pools import Pool
from ome_iac.planning.proofs import Proof, Proofs
from ome_iac.planning.roofline import roofline
from ome_iac.planning.speed import (
    NO_ESTIMATES,
    Estimates,
    Question,
    Speed,
    best_known,
    fastest_first,
    shortfalls,
)
from ome_iac.runtimes.engines import Engine
from ome_iac.runtimes.engines.custom import Custom
from ome_iac.runtimes.memory import Ledger, tightest
from ome_iac.runtimes.splits import Split, Tuning

MOST_NODES = 8
"""Of one replica: beyond it a plan is a research project."""


@dataclass
class Rejections:
    """Rejections by what they say: services of one model are told the same of most ways, and it is kept once."""

    _known: dict[tuple[object, ...], Rejection] = field(default_factory=dict)

    def way(self, way: Candidate, *reasons: str) -> Rejection:
        """A way that fits and is not taken."""
        return self._of(way.engine, way.pool, way.proof, True, reasons)

    def failure(self, failure: Failure) -> Rejection:
        """A way that does not fit; of any split without a proof, on any pool without a pool."""
        return self._of(failure.engine, failure.pool, failure.proof, False, failure.reasons)

    def _of(
        self, engine: Engine, pool: Pool | None, proof: Proof | None, fits: bool, reasons: tuple[str, ...]
    ) -> Rejection:
        key = (engine, pool and pool.name, proof and id(proof), fits, reasons)
        found = self._known.get(key)
        if found is None:
            where, split = pool.name if pool else "any", proof.split if proof else None
            found = Rejection(runtime=engine.name, pool=where, split=split, fits=fits, reasons=reasons)
            self._known[key] = found
        return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way that fits."""

    engine: Engine
    pool: Pool
    proof: Proof
    nodes: int
    """Of one replica; where there are several, all GPUs of each."""
    context_length: int
    concurrency: float | None
    tuning: Tuning
    speed: Speed | None = None
    """Where the choice hangs on it."""

    @property
    def split(self) -> Split:
        """How one replica is divided."""
        return self.proof.split

    @property
    def ledger(self) -> Ledger:
        """The memory of the stage with least room."""
        return tightest(self.proof.stages, self.context_length)

    @property
    def gpus_per_node(self) -> int:
        """GPUs of one pod."""
        return self.split.gpus // self.nodes

    @property
    def declared(self) -> bool:
        """Whether it is a runtime document of the stack's own."""
        return isinstance(self.engine, Custom)

    @property
    def standing(self) -> int:
        """What goes before all else: the stack's own runtimes, then engines whose release was read, then those known
        from their documentation only."""
        return 0 if self.declared else 1 if self.engine.catalog.source is None else 2

    @property
    def cost_per_hour(self) -> float:
        """List price of one replica's GPUs."""
        return self.split.gpus * self.pool.shape.price.per_gpu_hour

    def __str__(self) -> str:
        return f"{self.engine.name} on {self.pool.name}, {self.split}"

    def rejection(self, *reasons: str) -> Rejection:
        """The same way, not taken."""
        return Rejections().way(self, *reasons)


def full_speed_of(model: ModelMetadata, demand: Demand, way: Candidate, estimates: Estimates) -> Speed | None:
    """The same of a replica with as many requests of usual length as it holds."""
    lengths = demand.lengths
    most = way.engine.most_requests(way.pool.shape.gpu, way.split, way.tuning)
    held = full_batch(way.concurrency, way.context_length, lengths.input_tokens + lengths.output_tokens, most)
    return speed_of(model, replace(demand, concurrency=held), way, estimates)


def speed_of(model: ModelMetadata, demand: Demand, way: Candidate, estimates: Estimates) -> Speed | None:
    """A recorded estimate of one replica with its share of the requests, else the bound."""
    shape, split = way.pool.shape, way.split
    question = Question(
        model=model.source,
        revision=model.revision,
        engine=way.engine.name,
        gpu=shape.gpu.name,
        nodes=way.nodes,
        split=split,
        tuning=way.tuning,
        lengths=demand.lengths,
        concurrency=demand.concurrency,
    )
    bound = roofline(
        model,
        shape.gpu,
        split,
        demand.lengths,
        demand.concurrency,
        way.tuning,
        task=demand.task,
        nodes=way.nodes,
        network_gbps=shape.rdma.gbps if shape.rdma else 0.0,
    )
    return best_known(question, bound, estimates)


@dataclass(frozen=True, slots=True)
class Failure:
    """A way that does not fit: any split of an engine on a pool (or on any pool), or one of them."""

    engine: Engine
    pool: Pool | None
    proof: Proof | None
    reasons: tuple[str, ...]
    slow: Speed | None = None
    """Of a way that would fit and is slower than asked."""


@dataclass(frozen=True, slots=True)
class Search:
    """What was found: candidates, best first, and everything else with its reasons."""

    fitting: tuple[Candidate, ...]
    failed: tuple[Failure, ...]
    most: int
    """Tokens beyond which no request was looked at."""

    @property
    def longest_context(self) -> tuple[int, str]:
        """Tokens of the longest request that any legal split could hold, and where; 0 where no weights fit."""
        best = (0, "")
        for failure in self.failed:
            if failure.proof and failure.proof.stages and failure.pool:
                reach = failure.proof.longest(self.most)
                if reach > best[0]:
                    best = (reach, f"{failure.engine.name} on {failure.pool.name}, {failure.proof.split}")
        return best


def search(
    model: ModelMetadata,
    demand: Demand,
    engines: Iterable[Engine],
    pools: Sequence[Pool],
    proofs: Proofs,
    estimates: Estimates = NO_ESTIMATES,
) -> Search:
    """Every engine on every pool at every split, ranked.

    Several nodes are looked at where one does not do, and only over RDMA: stages across nodes before tensor parallel
    across them. Rank: the stack's own runtimes, then engines whose release was read, then those known from their
    documentation; one node where no context is insisted on; holds the whole asked context; cost, then GPUs (GPUs,
    then cost for `fewest-gpus`; time per token, time to the first, then cost for `fastest`); fewer nodes; less over the
    network; experts divided like everything else; requests at once, more first; the engines' order; the pool's name.
    """
    ranked: list[tuple[tuple[object, ...], Candidate]] = []
    failed: list[Failure] = []
    most = max(demand.context_length, model.context_length or 0)
    for order, engine in enumerate(engines):
        for found in _ways(model, demand, engine, pools, proofs, most, estimates):
            if isinstance(found, Failure):
                failed.append(found)
            else:
                ranked.append(((*_rank(found, demand), order, found.pool.name), found))
    ranked.sort(key=lambda entry: entry[0])
    return Search(tuple(candidate for _, candidate in ranked), tuple(failed), most)


def _ways(
    model: ModelMetadata,
    demand: Demand,
    engine: Engine,
    pools: Sequence[Pool],
    proofs: Proofs,
    most: int,
    estimates: Estimates,
) -> Iterator[Candidate | Failure]:
    tuning = engine.tuning(model) if isinstance(engine, Custom) else demand.tuning
    own = proofs.of(engine, model, demand.task, tuning, demand.tensor)
    if own.refusals:
        yield Failure(engine, None, None, own.refusals)
        return
    for pool in pools:
        unsuited = (*own.shape_refusals(pool.shape), *_disk_shortage(pool, demand))
        if unsuited:
            yield Failure(engine, pool, None, unsuited)
            continue
        found = looked = False
        for nodes in filter(demand.allows, node_counts(engine, pool)):
            for proof in own.on_nodes(pool.shape, nodes):
                looked = True
                if proof.illegal:
                    yield Failure(engine, pool, proof, proof.illegal)
                    continue
                context = _context(engine, model, demand, proof, most)
                reasons = _shortcomings(proof, context, demand)
                way = Candidate(engine, pool, proof, nodes, context, proof.concurrency(context), tuning)
                slow = None
                if not reasons and demand.timed:
                    way = replace(way, speed=speed_of(model, demand, way, estimates))
                    reasons = shortfalls(way.speed, demand.first_token_ms, demand.per_token_ms)
                    slow = way.speed if reasons else None
                found = found or not reasons
                yield Failure(engine, pool, proof, reasons, slow) if reasons else way
            if found:
                break
        if not looked:
            yield Failure(engine, pool, None, (_no_split(engine, pool, demand),))


def node_counts(engine: Engine, pool: Pool) -> Iterable[int]:
    """Nodes that one replica may stand on, fewest first: several only over RDMA; a runtime document says how many."""
    if isinstance(engine, Custom):
        return (engine.pods,) if engine.pods <= pool.nodes else ()
    most = min(pool.nodes, MOST_NODES) if pool.shape.rdma and engine.multi_node else 1
    return range(1, most + 1)


def _no_split(engine: Engine, pool: Pool, demand: Demand) -> str:
    if isinstance(engine, Custom):
        return f"a replica is {engine.pods} pods on {engine.pods} nodes, {pool.name} has {pool.nodes}"
    if demand.pattern == "multi-node":
        lack = "no RDMA joins its nodes" if not pool.shape.rdma else f"it has {pool.nodes} node"
        return lack if engine.multi_node else f"{engine.name} does not run on several nodes"
    return f"TP {demand.tensor} is no split of its nodes of {pool.shape.gpus} GPUs"


def _context(engine: Engine, model: ModelMetadata, demand: Demand, proof: Proof, most: int) -> int:
    """What was asked for, or as much of the model's own as there is room for; a runtime document's is fixed."""
    if isinstance(engine, Custom):
        return (engine.settings and engine.settings.context_length) or model.context_length or demand.context_length
    return demand.context_length if demand.insisted else min(demand.context_length, proof.longest(most))


def _rank(candidate: Candidate, demand: Demand) -> tuple[object, ...]:
    split = candidate.proof.split
    money, gpus, nodes = candidate.cost_per_hour, split.gpus, candidate.nodes
    by_objective: dict[str, tuple[object, ...]] = {
        "cheapest": (money, gpus),
        "fewest-gpus": (gpus, money),
        "fastest": (fastest_first(candidate.speed), money, gpus),
    }
    return (
        candidate.standing,
        nodes > 1 and not demand.insisted,
        candidate.context_length < demand.context_length,
        *by_objective[demand.objective],
        nodes,
        split.tensor > candidate.pool.shape.gpus,
        split.expert > 1,
        -(candidate.concurrency or 0.0),
    )


def _disk_shortage(pool: Pool, demand: Demand) -> tuple[str, ...]:
    if pool.disk_bytes is None or pool.disk_bytes >= demand.scratch_bytes:
        return ()
    return (f"a node's disk has {pool.disk_bytes / GIB:.0f} GiB, {demand.scratch_bytes / GIB:.0f} are needed",)


def _shortcomings(proof: Proof, context: int, demand: Demand) -> tuple[str, ...]:
    """Why the split does not do; empty if it does."""
    if demand.insisted and context < demand.context_length:
        return (f"its command ends at {context:,} tokens, {demand.context_length:,} are asked",)
    if proof.room < 0:
        return (f"weights and overhead exceed the budget by {-proof.room / GIB:.1f} GiB per GPU",)
    if not demand.insisted and context < min(SHORTEST_CONTEXT, demand.context_length):
        return (f"leaves {proof.room / GIB:.1f} GiB for KV: {context:,} tokens at most",)
    if not proof.fits(context):
        return (
            f"{context:,} tokens need {proof.request_bytes(context) / GIB:.1f} GiB of KV per GPU, "
            f"{proof.room / GIB:.1f} are left",
        )
    held = proof.concurrency(context)
    if held is not None and held < demand.concurrency:
        return (f"holds {int(held)} of {demand.concurrency} requests of {context:,} tokens",)
    return ()
