"""Why a service is not in the plan, with the numbers, and what would admit it."""

from __future__ import annotations

from collections.abc import Sequence

from ome_iac.planning.candidates import Failure
from ome_iac.planning.flips import ways_to_fit, ways_to_room
from ome_iac.planning.placement import Placed, Waiting, Wanted
from ome_iac.planning.pools import Pool
from ome_iac.planning.speed import fastest_first
from ome_iac.problems import Problem

NEIGHBOURS = 4
"""Of the services in the way, how many are named."""


def refusal(waiting: Waiting, placed: Sequence[Placed]) -> Problem:
    """One problem for the field that asks for too much."""
    item, pools = waiting.item, waiting.item.pools
    service, demand, found = item.service, item.asker.demand, item.found
    if waiting.full:
        reasons = "; ".join(dict.fromkeys(reason for rejection in waiting.full for reason in rejection.reasons))
        remedy = "; ".join(
            ("add nodes, or lower minReplicas", *ways_to_room(item.asker, found.fitting, pools)),
        )
        return service.problem("", f"finds no room: {reasons}{_in_the_way(waiting, placed)}", remedy)
    slow = [failure for failure in found.failed if failure.slow]
    if slow:
        asked = [
            f"{name} {limit}"
            for name, limit in (
                ("timeToFirstToken", service.spec.intent.time_to_first_token),
                ("timePerToken", service.spec.intent.time_per_token),
            )
            if limit
        ]
        nearest = min(slow, key=lambda failure: fastest_first(failure.slow))
        what = f"nothing here is as fast as {' and '.join(asked)} asks; the nearest: {_said(nearest)}"
        field = "timePerToken" if service.spec.intent.time_per_token else "timeToFirstToken"
        return service.problem(f"spec.intent.{field}", what, _or("allow more time, or add faster GPUs", item))
    tokens, where = found.longest_context
    if not any(failure.pool for failure in found.failed):
        path = "spec.runtime.name" if service.spec.runtime else "spec.model.name"
        remedy = (
            "name no runtime: the planner looks at every engine" if service.spec.runtime else "no other engine is known"
        )
        return service.problem(path, f"{item.document.name} fits nowhere: {_nearest_miss(item)}", remedy)
    if not tokens:
        what = f"{item.document.name} fits nowhere: {_nearest_miss(item)}"
        return service.problem("spec.model.name", what, _or(_more_memory(pools), item))
    if demand.context_length > tokens:
        return service.problem(
            "spec.intent.contextLength",
            f"{demand.context_length:,} tokens for one request are more than any plan on this stack holds: "
            f"{tokens:,} ({where})",
            _or(f"{tokens // 1000 * 1000:,} or less here, or a pool with more memory per node", item),
        )
    return service.problem(
        "spec.intent.concurrency",
        f"no plan holds {demand.concurrency} requests of {demand.context_length:,} tokens at once in one replica: "
        f"{_nearest_miss(item)}",
        _or("more replicas (engine.minReplicas), fewer requests, or a pool with more memory per node", item),
    )


def _or(remedy: str, item: Wanted) -> str:
    """The remedy, and what small changes would make the service fit."""
    return "; ".join((remedy, *ways_to_fit(item.asker, item.pools)))


def _in_the_way(waiting: Waiting, placed: Sequence[Placed]) -> str:
    """Who has what the service could have run on, largest first."""
    pools = {rejection.pool for rejection in waiting.full}
    there = [each for each in placed if each.chosen.pool.name in pools]
    there.sort(key=lambda each: (-_gpus(each), *each.item.key))
    if not there:
        return ""
    named = [f"{each.item.service.name} {_gpus(each)} in {each.chosen.pool.name}" for each in there[:NEIGHBOURS]]
    more = f" and {len(there) - NEIGHBOURS} more services" if len(there) > NEIGHBOURS else ""
    return f"; admitted are {', '.join(named)}{more}"


def _gpus(placed: Placed) -> int:
    return placed.item.asker.replicas * placed.chosen.split.gpus


def _nearest_miss(item: Wanted) -> str:
    """The reasons of the last (largest) split of the last pool that was looked at, engine by engine."""
    last: dict[str, Failure] = {failure.engine.name: failure for failure in item.found.failed}
    return "; ".join(_said(failure) for failure in last.values())


def _said(failure: Failure) -> str:
    where = f" on {failure.pool.name}, {failure.proof.split}" if failure.pool and failure.proof else ""
    return f"{failure.engine.name}{where}: {', '.join(failure.reasons)}"


def _more_memory(pools: Sequence[Pool]) -> str:
    largest = max(pools, key=lambda pool: pool.shape.gpus * pool.shape.gpu.memory_gib)
    per_node = largest.shape.gpus * largest.shape.gpu.memory_gib
    return (
        f"the largest node here is {largest.shape.name} with {per_node:.0f} GiB of GPU memory; a larger shape is needed"
    )
