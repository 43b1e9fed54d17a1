"""The nearest flip: which small change would make a service cheaper, or make it fit at all.

Found by searching again with one thing changed. Occupancy is left out: a flip says what would fit, not what is free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.candidates import Candidate, Demand, Proofs, search
from ome_iac.planning.pools import Pool
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import Engine
from ome_iac.runtimes.splits import DEFAULTS, Tuning

FP8_KV = Tuning(kv_cache_dtype="fp8")
FP8_WEIGHTS = Tuning(quantization="fp8")

Change = tuple[str, Demand, Tuning]


def cheaper_ways(
    model: ModelMetadata, demand: Demand, chosen: Candidate, replicas: int, pools: Sequence[Pool], proofs: Proofs
) -> tuple[str, ...]:
    """Changes with which the chosen engine would cost less, the largest saving first.

    A change that only brings what costs less already, because its pool was full, is none.
    """
    flips = []
    cheaper = [pool for pool in pools if pool.shape.price.per_gpu_hour < chosen.cost_per_hour]
    for text, changed, tuning in _changes(model, demand) if cheaper else ():
        found = search(model, changed, (chosen.engine,), cheaper, proofs, tuning).fitting
        best = min(found, key=lambda candidate: candidate.cost_per_hour, default=None)
        if best is None or best.cost_per_hour >= chosen.cost_per_hour:
            continue
        if best.ledger.context_length < min(chosen.ledger.context_length, changed.context_length):
            continue
        saved = replicas * (chosen.cost_per_hour - best.cost_per_hour)
        flips.append((-saved, f"{text} would fit {best.split} on {best.pool.name}: -${saved:.2f}/h"))
    return tuple(text for _, text in sorted(flips))


def ways_to_fit(
    model: ModelMetadata, demand: Demand, engines: Sequence[Engine], pools: Sequence[Pool], proofs: Proofs
) -> tuple[str, ...]:
    """Changes with which something would fit that does not; with what it would cost."""
    ways = []
    for text, changed, tuning in _changes(model, demand):
        found = search(model, changed, engines, pools, proofs, tuning).fitting
        if found:
            ways.append(f"{text} would fit {found[0]}: ${found[0].cost_per_hour:.2f}/h a replica")
    for pool in pools:
        if pool.shape.rdma:
            larger = Pool(pool.document, pool.shape, [pool.shape.gpus] * (len(pool.free) + 1))
            found = search(model, demand, engines, [larger], proofs).fitting
            if found:
                more = f"one node more in {pool.name} would fit {found[0]}"
                ways.append(f"{more}: ${found[0].cost_per_hour:.2f}/h a replica")
    return tuple(ways)


def _changes(model: ModelMetadata, demand: Demand) -> Iterator[Change]:
    """One thing changed at a time."""
    if demand.task is Task.GENERATE:
        yield "an FP8 KV cache", demand, FP8_KV
    if model.quantization is None:
        yield "FP8 weights", demand, FP8_WEIGHTS
    if demand.insisted and demand.context_length > 1:
        half = demand.context_length // 2
        yield f"{half:,} tokens of context", replace(demand, context_length=half), DEFAULTS
