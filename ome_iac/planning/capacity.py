"""The ledger of a pool: what its nodes have, what was taken of them by whom, and what is missing for one more.

A node gives GPUs, CPUs, host memory and disk. A pod's share of the disk is its own; weights that lie on the node itself
are counted once for all pods of the node that read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ome_iac.hardware import GIB


@dataclass(frozen=True, slots=True)
class Pod:
    """What one pod takes of its node; disk and memory in bytes."""

    gpus: int
    cpus: int
    memory: int
    disk: int
    shared: tuple[str, int] | None = None
    """Weights on the node itself: where they lie, and their bytes."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a node has for pods, or has left; `disk` is None where nothing says how large it is."""

    gpus: int
    cpus: int
    memory: int
    disk: int | None


@dataclass(slots=True)
class Node:
    """A node that pods run on."""

    free: Room
    shared: set[str] = field(default_factory=set)

    def misses(self, pod: Pod) -> dict[str, int]:
        """By how much the node falls short of a pod; empty where it has room."""
        free = self.free
        wanted = {"GPUs": pod.gpus - free.gpus, "CPUs": pod.cpus - free.cpus, "memory": pod.memory - free.memory}
        if free.disk is not None:
            wanted["disk"] = self._disk(pod) - free.disk
        return {name: short for name, short in wanted.items() if short > 0}

    def take(self, pod: Pod) -> Node:
        """The node with the pod on it."""
        free = self.free
        disk = None if free.disk is None else free.disk - self._disk(pod)
        left = Room(free.gpus - pod.gpus, free.cpus - pod.cpus, free.memory - pod.memory, disk)
        return Node(left, self.shared | {pod.shared[0]} if pod.shared else self.shared)

    def _disk(self, pod: Pod) -> int:
        again = pod.shared is None or pod.shared[0] in self.shared
        return pod.disk + (0 if again or pod.shared is None else pod.shared[1])


@dataclass
class Capacity:
    """The nodes of a pool while services are placed.

    Untouched nodes are all alike and only counted; of the others those without a GPU left are put aside, so that a
    placement looks at the few nodes that are partly full.
    """

    size: Room
    nodes: int
    untouched: int = -1
    partly: list[Node] = field(default_factory=list)
    full: int = 0
    taken: list[Pod] = field(default_factory=list)
    weights: int = 0
    """Bytes of weights that lie on nodes themselves."""

    def __post_init__(self) -> None:
        if self.untouched < 0:
            self.untouched = self.nodes

    @property
    def free_gpus(self) -> int:
        """GPUs left on all nodes."""
        return self.untouched * self.size.gpus + sum(node.free.gpus for node in self.partly)

    def with_more(self, nodes: int) -> Capacity:
        """The same pool and all that runs on it, with more nodes."""
        return Capacity(
            self.size,
            self.nodes + nodes,
            self.untouched + nodes,
            [*self.partly],
            self.full,
            [*self.taken],
            self.weights,
        )

    def place(self, pod: Pod, pods: int) -> bool:
        """Take room for so many pods, each on the fullest node that has it; all or nothing."""
        found = self._placed(pod, pods)
        if found is None:
            return False
        before = sum(pod.shared[0] in node.shared for node in self.partly) if pod.shared else 0
        self.untouched, nodes = found
        if pod.shared:
            self.weights += pod.shared[1] * (sum(pod.shared[0] in node.shared for node in nodes) - before)
        self.partly = [node for node in nodes if node.free.gpus]
        self.full += len(nodes) - len(self.partly)
        self.taken += [pod] * pods
        return True

    def has_room(self, pod: Pod, pods: int = 1) -> bool:
        """Whether so many more would find their nodes."""
        return self._placed(pod, pods) is not None

    def placeable(self, pod: Pod, most: int) -> int:
        """How many of `most` pods would find a node."""
        return max((number for number in range(most + 1) if self.has_room(pod, number)), default=0)

    def shortage(self, name: str, pod: Pod, pods: int) -> str:
        """What is missing for so many pods, in numbers; `name` is the pool's."""
        wanted = f"{pods} x {pod.gpus} are needed"
        if self.free_gpus < pods * pod.gpus or all(node.free.gpus < pod.gpus for node in self._kinds()):
            return f"{name} has {self.free_gpus} GPUs left, {wanted}"
        short: dict[str, int] = {}
        for node in self._kinds():
            if node.free.gpus >= pod.gpus:
                short = node.misses(pod) or short
        if not short:
            return f"{name} has {self.free_gpus} GPUs left, on {self.placeable(pod, pods)} nodes as they are: {wanted}"
        lacking = ", ".join(f"{_amount(kind, missing)} too little {kind}" for kind, missing in sorted(short.items()))
        return f"{name} has {self.free_gpus} GPUs left, and {lacking} on a node that has {pod.gpus}"

    def _kinds(self) -> Iterator[Node]:
        if self.untouched:
            yield Node(self.size)
        yield from self.partly

    def _placed(self, pod: Pod, pods: int) -> tuple[int, list[Node]] | None:
        """Untouched nodes and the others, once the pods are placed; None where there is no room."""
        untouched, nodes = self.untouched, list(self.partly)
        for _ in range(pods):
            fitting = [index for index, node in enumerate(nodes) if not node.misses(pod)]
            if fitting:
                chosen = min(fitting, key=lambda index: (nodes[index].free.gpus, index))
                nodes[chosen] = nodes[chosen].take(pod)
            elif untouched and not (fresh := Node(self.size)).misses(pod):
                untouched -= 1
                nodes.append(fresh.take(pod))
            else:
                return None
        return untouched, nodes


def _amount(kind: str, missing: int) -> str:
    return str(missing) if kind == "CPUs" else f"{-(-missing // GIB)} GiB"
