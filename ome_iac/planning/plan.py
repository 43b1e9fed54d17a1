"""`Plan`: everything decided for a stack, as plain data.

It is what `ome-iac plan` prints, what manifests are rendered from and components register, and what two previews are
compared by. `Plan.model_validate_json(plan.model_dump_json(by_alias=True))` is the plan again. Memory is bytes, time
seconds, money USD list price per hour unless a name says otherwise.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from ome_iac.models.metadata import ModelMetadata
from ome_iac.runtimes.memory import Ledger
from ome_iac.runtimes.splits import Split, Tuning


class Decision(BaseModel):
    """A part of the plan: frozen, camelCase in JSON."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, protected_namespaces=()
    )


class OkePlacement(Decision):
    """What an OKE node pool is made with."""

    cluster_id: str
    compartment_id: str
    kubernetes_version: str
    node_subnet_id: str
    pod_subnet_id: str | None
    image_id: str
    availability_domains: tuple[str, ...]
    boot_volume_gb: int
    ssh_public_key: str | None


class PoolPlan(Decision):
    """Nodes of one shape and what runs on them."""

    name: str
    shape: str
    gpu: str
    gpu_resource: str = Field(description="the device plugin's resource: nvidia.com/gpu")
    nodes: int
    gpus_per_node: int
    gpus_used: int
    labels: dict[str, str] = Field(description="labels every node of the pool carries; pods select by them")
    taints: tuple[tuple[str, str, str], ...] = Field(description="key, value, effect")
    cost_per_hour: float
    oke: OkePlacement | None = Field(description="None: the nodes are there already")

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return self.nodes * self.gpus_per_node


class ModelPlan(Decision):
    """A model and what was read of it."""

    name: str
    kind: str
    namespace: str | None
    metadata: ModelMetadata
    notes: tuple[str, ...] = Field(description="what was found wrong with it, and what its document contradicts")


class RuntimePlan(Decision):
    """An engine at one version, used by at least one service."""

    name: str
    engine: str
    version: str
    image: str


class Volume(Decision):
    """Where a replica finds the weights.

    `hub`: the engine downloads them at start into the node's scratch space; `hostPath`: a folder of the node;
    `claim`: a PersistentVolumeClaim of the service's namespace.
    """

    kind: Literal["hub", "hostPath", "claim"]
    source: str = Field(description="repository, folder on the node, or name of the claim")
    mount: str = Field(description="where it stands in the container; empty for the hub")
    sub_path: str = ""
    token_secret: str | None = Field(default=None, description="Secret with key `token`, for the hub")


class Startup(Decision):
    """How long a replica may take until it is ready."""

    load_bytes: int
    bandwidth: int = Field(description="bytes per second the weights are read with")
    bandwidth_source: str
    expected_seconds: int
    budget_seconds: int = Field(description="twice the expected time: what the startup probe allows")


class HostResources(Decision):
    """What a pod asks of its node."""

    cpus: int
    memory_bytes: int
    shared_memory_bytes: int = Field(description="/dev/shm; part of memory_bytes")
    scratch_bytes: int = Field(description="ephemeral storage of the node: downloaded weights and compiled kernels")


class Rejection(Decision):
    """A way to serve the model that was not taken."""

    runtime: str
    pool: str
    split: Split | None = Field(description="None: whatever the split")
    fits: bool = Field(description="it would run, but something else is better")
    reasons: tuple[str, ...]


class ServicePlan(Decision):
    """How a model is served, and why so."""

    name: str
    namespace: str
    model: str
    task: str
    runtime: str = Field(description="`vllm 0.33.0`")
    image: str
    command: tuple[str, ...]
    port: int
    health_path: str
    pool: str
    gpu: str
    split: Split = Field(description="of one replica")
    nodes: int = Field(description="of one replica")
    pattern: Literal["standard", "multi-node"] = Field(description="what the replica is made of: a pod, or several")
    tuning: Tuning = Field(description="what the engine is told beyond its defaults")
    replicas: int
    max_surge: int = Field(description="pods above `replicas` during a roll-out: 0 where the pool has no GPU to spare")
    memory: Ledger = Field(description="of each GPU of the pipeline stage with least room")
    context_length: int
    volume: Volume
    startup: Startup
    host: HostResources
    labels: dict[str, str]
    annotations: dict[str, str]
    cost_per_hour: float
    milliseconds_per_token_bound: float | None = Field(
        description="no faster than this: bytes read per token over memory bandwidth; None for tasks without tokens"
    )
    why: str
    rejected: tuple[Rejection, ...]
    flips: tuple[str, ...] = Field(description="what small change would make it cheaper, and by how much")
    notes: tuple[str, ...] = ()

    @property
    def tensor_parallel(self) -> int:
        """GPUs that each layer is divided over."""
        return self.split.tensor

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.split.gpus

    @property
    def gpus_per_node(self) -> int:
        """GPUs of one replica on one node: what a pod asks for."""
        return self.split.gpus // self.nodes


class Plan(Decision):
    """A stack, decided."""

    stack: str
    namespaces: tuple[str, ...] = Field(description="namespaces this stack makes")
    pools: tuple[PoolPlan, ...]
    models: tuple[ModelPlan, ...]
    runtimes: tuple[RuntimePlan, ...]
    services: tuple[ServicePlan, ...]

    @property
    def cost_per_hour(self) -> float:
        """List price of all pools: what is paid whether or not a GPU is used."""
        return sum(pool.cost_per_hour for pool in self.pools)

    def pool(self, name: str) -> PoolPlan:
        """The pool of that name."""
        return next(pool for pool in self.pools if pool.name == name)

    def model(self, name: str) -> ModelPlan:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)
