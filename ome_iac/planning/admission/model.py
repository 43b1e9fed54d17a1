"""What admission is decided on: nodes by flavor and block, queues with quotas, gangs; and the verdict on each gang.

The words are Kueue's (kueue.x-k8s.io): a flavor is a kind of node, a ClusterQueue has a quota of each flavor and may
share it with its cohort, a gang (a Kueue Workload) is admitted whole or not at all. Amounts are whole numbers of a
resource's base unit: GPUs, virtual functions, CPUs, bytes.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ome_iac.planning.decision import Decision

Amounts = dict[str, int]
"""Resource name to amount."""


class Block(Decision):
    """Nodes that share a network block; one block of no name where nothing is known of the network."""

    name: str
    nodes: int = Field(ge=0)


class Flavor(Decision):
    """A kind of node: a Kueue ResourceFlavor, one for each pool."""

    name: str
    node: Amounts = Field(description="what one node has for pods")
    blocks: tuple[Block, ...]
    node_labels: dict[str, str] = Field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = Field(default=(), description="key, value, effect; gangs tolerate them")
    dedicated: tuple[str, str, str] | None = Field(
        default=None, description="a taint that keeps others off; Kueue gives its toleration to whom it admits"
    )
    topology: str | None = Field(default=None, description="Kueue Topology of its nodes; None: not topology-aware")

    @property
    def nodes(self) -> int:
        """Nodes of all blocks."""
        return sum(block.nodes for block in self.blocks)


class Topology(Decision):
    """Node labels from the widest to the narrowest level: a Kueue Topology."""

    name: str
    levels: tuple[str, ...]


class Quota(Decision):
    """A queue's share of a flavor; a limit that is None does not limit."""

    flavor: str
    nominal: Amounts
    borrowing: Amounts | None = Field(default=None, description="beyond nominal at most, from the cohort")
    lending: Amounts | None = Field(default=None, description="of nominal at most, to the cohort")


class Preemption(Decision):
    """Whom a gang of the queue may evict; names and values are Kueue's."""

    within_queue: Literal["Never", "LowerPriority"] = "LowerPriority"
    reclaim_within_cohort: Literal["Never", "LowerPriority", "Any"] = "Any"


class Queue(Decision):
    """A ClusterQueue. Queues of one cohort lend each other what they do not use."""

    name: str
    cohort: str | None = None
    quotas: tuple[Quota, ...]
    strategy: Literal["BestEffortFIFO", "StrictFIFO"] = "BestEffortFIFO"
    preemption: Preemption = Preemption()
    namespaces: tuple[str, ...] = Field(default=(), description="each has a LocalQueue of the queue's name")

    def quota(self, flavor: str) -> Quota | None:
        """Its share of a flavor."""
        return next((quota for quota in self.quotas if quota.flavor == flavor), None)

    @property
    def resources(self) -> tuple[str, ...]:
        """Kueue's coveredResources; a gang that asks for anything else is never admitted."""
        return tuple(sorted({name for quota in self.quotas for name in quota.nominal}))


class Gang(Decision):
    """Pods that run together or not at all: a replica on one node or several, or a training job."""

    name: str = Field(description="unique: `namespace/service/role/0`")
    queue: str
    priority: int = 0
    pods: int = Field(ge=1)
    requests: Amounts = Field(description="of one pod")
    flavors: tuple[str, ...] = Field(description="that it may run on, in the order they are tried")
    one_block: bool = Field(default=False, description="topology is required: all pods in one network block")

    def total(self, resource: str) -> int:
        """Of all its pods."""
        return self.pods * self.requests.get(resource, 0)


class Verdict(Decision):
    """What becomes of a gang."""

    gang: str
    queue: str
    state: Literal["admitted", "waiting", "evicted"] = Field(description="evicted: it ran before, and now waits")
    flavor: str | None = None
    blocks: tuple[tuple[str, int], ...] = Field(default=(), description="block and pods in it")
    borrows: Amounts = Field(default_factory=dict, description="what of it is above the queue's nominal quota")
    evicts: tuple[str, ...] = Field(default=(), description="gangs that had to go for it")
    why: str
    helps: tuple[str, ...] = Field(default=(), description="each alone would admit it")
