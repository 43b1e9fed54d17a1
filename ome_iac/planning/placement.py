"""Who gets which nodes: one ledger a pool over all services, largest first, else in another order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.candidates import Candidate, Rejections, Search
from ome_iac.planning.capacity import Capacity
from ome_iac.planning.flips import Asker
from ome_iac.planning.plan import Rejection, Volume
from ome_iac.planning.pools import Pool
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import AnyModel

PATIENCE = 3
"""Orders that are tried after one another without more services finding room, before the best so far is taken."""


@dataclass(frozen=True)
class Wanted:
    """A service that can be planned: what it serves, and all ways to do so."""

    service: InferenceService
    document: AnyModel
    metadata: ModelMetadata
    volume: Volume
    asker: Asker
    found: Search
    pools: Sequence[Pool]
    """Those that the service's namespace may be placed on, by name."""
    refused: tuple[Rejection, ...]
    """Runtime documents that serve no such model."""

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.service.namespace, self.service.name


@dataclass(frozen=True)
class Placed:
    """A service and the way taken; `full` are the better ways whose pools had no room."""

    item: Wanted
    index: int
    full: tuple[Rejection, ...]

    @property
    def chosen(self) -> Candidate:
        """The way taken."""
        return self.item.found.fitting[self.index]


@dataclass(frozen=True)
class Waiting:
    """A service for which no way was left: none fits anywhere (`full` is empty), or every pool is too full."""

    item: Wanted
    full: tuple[Rejection, ...]


def place_all(
    wanted: Sequence[Wanted], pools: Sequence[Pool], rejections: Rejections
) -> tuple[list[Placed], list[Waiting]]:
    """Whoever needs most GPUs is placed first: small services fit into what is left, not the reverse.

    Where that leaves a service without room, it is placed before all others in another round. Where none of these
    rounds has room for all, each service takes the way with the fewest GPUs, whatever it would rather have. The round
    that leaves the fewest waiting counts, the first of several. The pools are left as that round leaves them.
    """
    usual = sorted(wanted, key=_largest_first)
    hopeless = [Waiting(item, ()) for item in usual if not item.found.fitting]
    usual = [item for item in usual if item.found.fitting]
    before = {pool.name: pool.capacity for pool in pools}
    first: list[Wanted] = []
    best: tuple[list[Placed], list[Waiting], dict[str, Capacity]] | None = None
    idle = 0
    while idle < PATIENCE:
        early = {item.key for item in first}
        placed, waiting = _round(
            [*first, *(item for item in usual if item.key not in early)], pools, before, rejections
        )
        idle += 1
        if best is None or len(waiting) < len(best[1]):
            idle = 0
            best = placed, waiting, {pool.name: pool.capacity for pool in pools}
        late = [each.item for each in waiting if each.item.key not in early]
        if not late:
            break
        first = [*late, *first]
    assert best is not None
    if best[1]:
        placed, waiting = _round(sorted(usual, key=_thriftiest), pools, before, rejections, thrifty=True)
        if len(waiting) < len(best[1]):
            best = placed, waiting, {pool.name: pool.capacity for pool in pools}
    for pool in pools:
        pool.capacity = best[2][pool.name]
    return best[0], [*hopeless, *best[1]]


def _largest_first(item: Wanted) -> tuple[int, str, str]:
    return (-item.found.fitting[0].split.gpus if item.found.fitting else 0, *item.key)


def _thriftiest(item: Wanted) -> tuple[int, str, str]:
    return (-min(way.split.gpus for way in item.found.fitting), *item.key)


def _round(
    order: Sequence[Wanted],
    pools: Sequence[Pool],
    before: Mapping[str, Capacity],
    rejections: Rejections,
    thrifty: bool = False,
) -> tuple[list[Placed], list[Waiting]]:
    for pool in pools:
        pool.capacity = before[pool.name].with_more(0)
    placed, waiting = [], []
    for item in order:
        found = _place(item, rejections, thrifty)
        if isinstance(found, Placed):
            placed.append(found)
        else:
            waiting.append(found)
    return placed, waiting


def _place(item: Wanted, rejections: Rejections, thrifty: bool) -> Placed | Waiting:
    full: list[Rejection] = []
    tried: dict[tuple[str, int, int], str] = {}
    ways = list(enumerate(item.found.fitting))
    if thrifty:
        ways.sort(key=lambda each: each[1].split.gpus)
    for index, way in ways:
        pods = item.asker.replicas * way.nodes
        key = (way.pool.name, way.gpus_per_node, pods)
        if key not in tried:
            pod, capacity = item.asker.pod(way), way.pool.capacity
            if capacity.place(pod, pods):
                return Placed(item, index, tuple(full))
            tried[key] = capacity.shortage(way.pool.name, pod, pods)
        full.append(rejections.way(way, tried[key]))
    return Waiting(item, tuple(full))
