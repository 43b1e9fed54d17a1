"""Pods onto nodes of one flavor: every gang whole, and in one network block where it must be.

A gang goes into the fullest block that holds it, as Kueue's topology-aware scheduling picks the domain with least left,
and each pod onto the fullest node. Where that fails all gangs are arranged anew: the largest first, then every
arrangement of those that must stay in one block, up to `STEPS` of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import add, ge, sub

from ome_iac.planning.admission.model import Block, Flavor, Gang

STEPS = 20_000
"""Arrangements that are tried; beyond it a packing counts as impossible, which can only keep a gang waiting."""

Free = tuple[int, ...]
"""What a node has left of each resource, in the order of their names."""
State = tuple[tuple[Free, ...], ...]
"""What the nodes of each block have left."""
Spot = tuple[int, int]
"""Block and node, by their places in a state."""


@dataclass(frozen=True)
class Floor:
    """The nodes of a flavor, block by block in the order of their names, and the gangs that stand on them."""

    flavor: Flavor
    state: State
    spots: Mapping[str, tuple[Spot, ...]] = field(default_factory=dict)
    """Where the pods of each gang are."""

    @classmethod
    def empty(cls, flavor: Flavor) -> Floor:
        """Nobody on it."""
        node = tuple(flavor.node[name] for name in sorted(flavor.node))
        return cls(flavor, tuple((node,) * block.nodes for block in _blocks(flavor)))

    def with_gang(self, gang: Gang) -> Floor | None:
        """The gang beside those that stand where they stand; None where it has no place so."""
        return next(iter(self.options(gang)), None)

    def without(self, gang: Gang) -> Floor:
        """The gang gone, the others where they stand."""
        rest = {name: spots for name, spots in self.spots.items() if name != gang.name}
        return Floor(self.flavor, _given_back(self.state, self.spots[gang.name], self._need(gang)), rest)

    def blocks_of(self, gang: Gang) -> tuple[tuple[str, int], ...]:
        """Block and pods in it."""
        counts = Counter(block for block, _ in self.spots[gang.name])
        return tuple((_blocks(self.flavor)[block].name, counts[block]) for block in sorted(counts))

    def options(self, gang: Gang) -> list[Floor]:
        """Ways to place the gang, the tightest first; ways that differ only in which of equal blocks it is are one."""
        if set(gang.requests) - set(self.flavor.node):
            return []
        everywhere = range(len(self.state))
        if not gang.one_block:
            spread = self._placed(gang, everywhere)
            return [spread] if spread else []
        found: dict[State, tuple[Free, Floor]] = {}
        for block in everywhere:
            floor = self._placed(gang, [block])
            if floor is not None:
                found.setdefault(canonical(floor.state), (_sum(floor.state[block]), floor))
        return [floor for _, floor in sorted(found.values(), key=lambda option: option[0])]

    def _placed(self, gang: Gang, blocks: Iterable[int]) -> Floor | None:
        """Each pod on the fullest node of these blocks that holds it."""
        need, left, spots = self._need(gang), [list(nodes) for nodes in self.state], []
        allowed = [(block, node) for block in blocks for node in range(len(left[block]))]
        for _ in range(gang.pods):
            fitting = [(left[b][n], (b, n)) for b, n in allowed if all(map(ge, left[b][n], need))]
            if not fitting:
                return None
            free, (block, node) = min(fitting)
            left[block][node] = tuple(map(sub, free, need))
            spots.append((block, node))
        return Floor(self.flavor, tuple(map(tuple, left)), {**self.spots, gang.name: tuple(spots)})

    def _need(self, gang: Gang) -> Free:
        return tuple(gang.requests.get(name, 0) for name in sorted(self.flavor.node))


def pack(gangs: Sequence[Gang], flavor: Flavor) -> Floor | None:
    """All gangs on empty nodes; None where they have no place together."""
    if any(sum(gang.total(name) for gang in gangs) > have * flavor.nodes for name, have in flavor.node.items()):
        return None
    ordered = sorted(gangs, key=lambda gang: _order(gang, flavor))
    return _greedily(ordered, flavor) or _exhaustively(ordered, flavor)


def canonical(state: State) -> State:
    """States that are the same up to the order of blocks, and of nodes in a block, are equal."""
    return tuple(sorted(tuple(sorted(nodes)) for nodes in state))


def _greedily(gangs: Sequence[Gang], flavor: Flavor) -> Floor | None:
    floor: Floor | None = Floor.empty(flavor)
    for gang in gangs:
        floor = floor and floor.with_gang(gang)
    return floor


def _exhaustively(gangs: Sequence[Gang], flavor: Flavor) -> Floor | None:
    """Depth first; a state that was left without success is not entered again."""
    if not gangs:
        return Floor.empty(flavor)
    floors = [Floor.empty(flavor)]
    branches = [iter(floors[0].options(gangs[0]))]
    dead: set[tuple[int, State]] = set()
    for _ in range(STEPS):
        if not branches:
            return None
        floor = next(branches[-1], None)
        if floor is None:
            dead.add((len(branches) - 1, canonical(floors.pop().state)))
            branches.pop()
        elif len(branches) == len(gangs):
            return floor
        elif (len(branches), canonical(floor.state)) not in dead:
            floors.append(floor)
            branches.append(iter(floor.options(gangs[len(branches)])))
    return None


def _order(gang: Gang, flavor: Flavor) -> tuple[bool, float, float, str]:
    """What must stay together first, the largest of it first; the rest by the size of a pod."""
    pod = max((gang.requests.get(name, 0) / have for name, have in flavor.node.items() if have), default=0.0)
    return (not gang.one_block, -pod * gang.pods if gang.one_block else 0.0, -pod, gang.name)


def _blocks(flavor: Flavor) -> list[Block]:
    return sorted(flavor.blocks, key=lambda block: block.name)


def _given_back(state: State, spots: Iterable[Spot], need: Free) -> State:
    left = [list(nodes) for nodes in state]
    for block, node in spots:
        left[block][node] = tuple(map(add, left[block][node], need))
    return tuple(map(tuple, left))


def _sum(nodes: tuple[Free, ...]) -> Free:
    return tuple(map(sum, zip(*nodes, strict=True)))
