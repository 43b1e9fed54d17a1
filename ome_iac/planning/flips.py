"""The nearest flip: which small change would make a service cheaper, or make it fit, or give it room.

Found by searching again with one thing changed. For a service that is placed or fits nowhere, occupancy is left out:
the flip says what would fit, not what is free. For one that only finds no room, what the others took counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.candidates import Candidate, Search, search
from ome_iac.planning.capacity import Pod
from ome_iac.planning.demand import FP8_KV, Demand
from ome_iac.planning.pools import Pool
from ome_iac.planning.proofs import Proofs
from ome_iac.planning.speed import Estimates, Lengths, PatternEstimates, pattern_question
from ome_iac.planning.workload import pod_of
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine
from ome_iac.runtimes.engines.custom import Custom
from ome_iac.spec.services import Intent, milliseconds

WAYS = 4
"""Of the changes that would do, how many are said."""

BOTH = "FP8 weights with an FP8 KV cache"
"""Told only where neither alone does as much."""

Change = tuple[str, Demand]


@dataclass(frozen=True, slots=True)
class Asker:
    """A service, as far as searching for it goes."""

    model: ModelMetadata
    demand: Demand
    engines: Sequence[Engine]
    replicas: int
    shared: tuple[str, int] | None
    """Weights that lie on the nodes themselves."""
    proofs: Proofs
    estimates: Estimates

    def search(
        self, pools: Sequence[Pool], demand: Demand | None = None, engines: Sequence[Engine] | None = None
    ) -> Search:
        """All ways, with another demand or fewer engines where those are given."""
        return search(self.model, demand or self.demand, engines or self.engines, pools, self.proofs, self.estimates)

    def pod(self, way: Candidate) -> Pod:
        """One pod of a way to serve it."""
        return pod_of(way.pool.shape, way.gpus_per_node, self.demand.scratch_bytes, self.shared)


def cheaper_ways(
    asker: Asker, chosen: Candidate, fitting: Sequence[Candidate], pools: Sequence[Pool]
) -> tuple[str, ...]:
    """Changes with which the chosen engine would cost less (or take fewer GPUs, where those are counted), best first.

    A change that only brings what costs less already (`fitting`), because its pool was full, is none. Whoever asks for
    the fastest does not ask for this.
    """
    if asker.demand.objective == "fastest":
        return ()
    fewest = asker.demand.objective == "fewest-gpus"
    cheaper = [pool for pool in pools if pool.shape.price.per_gpu_hour < chosen.cost_per_hour]
    same = [way for way in fitting if way.engine is chosen.engine and way.context_length >= chosen.context_length]
    least = min(_measure(way, fewest) for way in same)
    if chosen.split.gpus == 1 and (fewest or not cheaper):
        return ()
    found: dict[str, tuple[float, str]] = {}
    for text, changed in _changes(asker):
        wanted = changed.context_length if changed.insisted else 0
        ways = asker.search(pools if fewest else cheaper, changed, (chosen.engine,)).fitting
        long_enough = [way for way in ways if way.context_length >= min(chosen.context_length, wanted)]
        best = min(long_enough, key=lambda way: _measure(way, fewest), default=None)
        if best is None or _measure(best, fewest) >= least:
            continue
        if text == BOTH and any(measure <= _measure(best, fewest) for measure, _ in found.values()):
            continue
        held = "" if changed.insisted else f" with {best.context_length:,} tokens"
        gain = _gain(asker, chosen, best, fewest)
        found[text] = _measure(best, fewest), f"{text} would fit {best.split} on {best.pool.name}{held}: {gain}"
    return tuple(text for _, text in sorted(found.values()))


def _gain(asker: Asker, chosen: Candidate, best: Candidate, gpus: bool) -> str:
    """`-$20.00/h`, and before it `-2 GPUs` where those are counted."""
    saved = asker.replicas * (chosen.cost_per_hour - best.cost_per_hour)
    fewer = asker.replicas * (chosen.split.gpus - best.split.gpus)
    parts = [f"{-fewer:+d} GPU{'s' * (abs(fewer) != 1)}"] if gpus else []
    parts += [f"{'-' if saved > 0 else '+'}${abs(saved):.2f}/h"] if saved else []
    return ", ".join(parts)


def _measure(way: Candidate, fewest: bool) -> float:
    return way.split.gpus if fewest else way.cost_per_hour


def ways_to_fit(asker: Asker, pools: Sequence[Pool]) -> tuple[str, ...]:
    """Changes with which something would fit that does not; with what it would cost."""
    ways: list[str] = []
    for text, changed in _changes(asker):
        found = () if text == BOTH and ways else asker.search(pools, changed).fitting
        if found:
            ways.append(f"{text} would fit {_priced(found[0], changed)}")
    for pool in pools:
        if pool.shape.rdma:
            larger = Pool.empty(pool.document, pool.shape, pool.nodes + 1, pool.dedicated)
            found = asker.search([larger]).fitting
            if found:
                ways.append(f"one node more in {pool.name} would fit {_priced(found[0], asker.demand)}")
    return tuple(ways[:WAYS])


def ways_to_room(asker: Asker, fitting: Sequence[Candidate], pools: Sequence[Pool]) -> tuple[str, ...]:
    """Changes that would admit a service for which there is no room beside the others, cheapest addition first."""
    ways: list[str] = []
    grown = []
    for pool in pools:
        more = pool.capacity.with_more(1)
        way = next(
            (w for w in fitting if w.pool is pool and more.has_room(asker.pod(w), asker.replicas * w.nodes)), None
        )
        if way:
            price = pool.shape.price_per_hour
            grown.append((price, f"one {pool.shape.name} node more in {pool.name} admits it (+${price:.2f}/h)"))
    ways += [text for _, text in sorted(grown)[:2]]
    # Fewer replicas share the same requests, so each must hold more.
    for replicas in range(asker.replicas - 1, 0, -1):
        shared = -(-asker.demand.concurrency * asker.replicas // replicas)
        placed = _roomy(asker, replace(asker.demand, concurrency=shared), replicas, pools)
        if placed:
            ways.append(f"{replicas} of {asker.replicas} replicas would find room: {placed}")
            break
    lighter = False
    for text, changed in _changes(asker):
        if text == BOTH and lighter:
            continue
        placed = _roomy(asker, changed, asker.replicas, pools)
        if placed:
            ways.append(f"{text} would find room: {_priced(placed, changed)}")
            lighter = lighter or changed.tuning != asker.demand.tuning
    return tuple(ways[:WAYS])


def _roomy(asker: Asker, demand: Demand, replicas: int, pools: Sequence[Pool]) -> Candidate | None:
    """The best way that finds its nodes in what is left."""
    found = asker.search(pools, demand).fitting
    return next((way for way in found if way.pool.capacity.has_room(asker.pod(way), replicas * way.nodes)), None)


def _priced(way: Candidate, demand: Demand) -> str:
    held = f" with {way.context_length:,} tokens" if way.context_length < demand.context_length else ""
    return f"{way}{held}: ${way.cost_per_hour:.2f}/h a replica"


def _changes(asker: Asker) -> Iterator[Change]:
    """One thing changed at a time."""
    model, demand = asker.model, asker.demand
    yield from _lighter(asker)
    if demand.tensor is not None:
        yield f"without tensorParallel {demand.tensor} it", replace(demand, tensor=None)
    if demand.insisted and demand.context_length > 1:
        half = demand.context_length // 2
        yield f"{half:,} tokens of context", replace(demand, context_length=half)
        if model.context_length:
            free = replace(demand, context_length=model.context_length, insisted=False)
            yield f"without contextLength {demand.context_length:,} it", free
    if demand.concurrency > 1:
        half = demand.concurrency // 2
        yield f"{half} requests at once a replica", replace(demand, concurrency=half)


def _lighter(asker: Asker) -> Iterator[Change]:
    """Fewer bits, where an engine takes them: of the KV cache, of the weights, of both."""
    demand, tuning = asker.demand, asker.demand.tuning
    if all(isinstance(engine, Custom) for engine in asker.engines):
        return
    cache = demand.task is Task.GENERATE and tuning.kv_cache_dtype is None
    weights = asker.model.quantization is None and tuning.quantization is None
    if cache:
        yield "an FP8 KV cache", replace(demand, tuning=tuning.model_copy(update={"kv_cache_dtype": FP8_KV}))
    if weights:
        yield "FP8 weights", replace(demand, tuning=tuning.model_copy(update={"quantization": "fp8"}))
    if cache and weights:
        both = tuning.model_copy(update={"kv_cache_dtype": FP8_KV, "quantization": "fp8"})
        yield BOTH, replace(demand, tuning=both)


def roles_apart(
    model: ModelMetadata, intent: Intent, chosen: Candidate, lengths: Lengths, recorded: PatternEstimates
) -> Iterator[str]:
    """What a recorded answer says of prefill and decode apart, on all GPUs of the chosen pool, for the stated times."""
    pool = chosen.pool
    question = pattern_question(
        model,
        chosen.engine.name,
        pool.shape.gpu.name,
        pool.nodes * pool.shape.gpus,
        lengths,
        milliseconds(intent.time_to_first_token) if intent.time_to_first_token else None,
        milliseconds(intent.time_per_token) if intent.time_per_token else None,
    )
    answer = recorded.get(question) if question and intent.pattern == "auto" else None
    apart = answer.prefill_decode if answer and answer.pattern == "prefill-decode" else None
    if answer is None or apart is None or apart.prefill is None or apart.decode is None:
        return
    together = f" against {answer.standard.tokens_per_second_per_gpu:.0f}" if answer.standard else ""
    parts = f"{apart.prefill.replicas} x {apart.prefill.split} and {apart.decode.replicas} x {apart.decode.split}"
    yield (
        f"pattern: prefill-decode ({parts}, {apart.units} times) would give "
        f"{apart.tokens_per_second_per_gpu:.0f}{together} tokens/s per GPU ({answer.source})"
    )
