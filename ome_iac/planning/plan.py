"""`Plan`: everything decided for a stack, as plain data.

It is what `ome-iac plan` prints, what manifests are rendered from and components register, and what two previews are
compared by. `Plan.model_validate_json(plan.model_dump_json(by_alias=True))` is the plan again. Memory is bytes, time
seconds, money USD list price per hour unless a name says otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.admission.plan import AdmissionPlan
from ome_iac.planning.cost import ServiceCost
from ome_iac.planning.decision import Decision
from ome_iac.planning.oci.plan import OciPlan
from ome_iac.planning.serving.decisions import Adapter, Controller, External, Fabric, RoleName, Route, Router, Scaling
from ome_iac.planning.speed import Speed
from ome_iac.planning.tenancy.plan import NamespacePlan, TenantPlan
from ome_iac.runtimes.memory import Ledger
from ome_iac.runtimes.splits import Split, Tuning
from ome_iac.spec.services import Intent

Pattern = Literal["standard", "multi-node", "prefill-decode", "serverless"]
"""What a service is made of: pods; groups of pods; two kinds of either; pods that come and go with requests."""


class CapacityPlan(Decision):
    """What a pool's nodes have for pods, all together, and what pods took of it; bytes where not said."""

    empty_nodes: int
    cpus: int
    cpus_used: int
    memory_bytes: int
    memory_used: int
    disk_bytes: int | None = Field(description="local drives, or the boot volumes' rest; None: not known")
    disk_used: int = Field(description="scratch of every pod, and weights that lie on a node once for all its pods")


class PoolPlan(Decision):
    """Nodes of one shape and what runs on them."""

    name: str
    shape: str
    gpu: str
    gpu_resource: str = Field(description="the device plugin's resource: nvidia.com/gpu")
    nodes: int
    gpus_per_node: int
    gpus_used: int
    capacity: CapacityPlan
    labels: dict[str, str] = Field(description="labels every node of the pool carries; pods select by them")
    taints: tuple[tuple[str, str, str], ...] = Field(description="key, value, effect")
    cost_per_hour: float
    idle_per_hour: float = Field(description="of GPUs that no replica has, paid all the same")
    made: bool = Field(description="by this stack: how, is in the OCI plan; False: the nodes are there already")

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


class Written(Decision):
    """The pods of a role as a runtime document writes them: PodSpecs, the engine's container first."""

    pod: dict[str, Any] = Field(description="of the pod, or of the first pod of a replica on several nodes")
    worker: dict[str, Any] | None = Field(default=None, description="of the other pods of such a replica")
    labels: dict[str, str]
    annotations: dict[str, str]


class RolePlan(Decision):
    """The replicas that do one job of a service: all of it (`engine`), or only prefill or decode."""

    role: RoleName
    runtime: str = Field(description="`vllm 0.33.0`")
    image: str
    command: tuple[str, ...] = Field(description="of the pod, or of the first pod of a replica on several nodes")
    worker_command: tuple[str, ...] = Field(default=(), description="of the other pods of such a replica")
    environment: tuple[tuple[str, str], ...] = Field(default=(), description="name and value, in the order they need")
    secrets: tuple[str, ...] = Field(
        default=(), description="variables that a Secret of the same name, in lower case with dashes, has the values of"
    )
    port: int
    health_path: str
    pool: str
    gpu: str
    split: Split = Field(description="of one replica")
    nodes: int = Field(description="of one replica")
    queue: str | None = Field(default=None, description="Kueue's LocalQueue that admits the replica; None: none does")
    fabric: Fabric | None = Field(
        default=None, description="how pods reach each other's GPUs; None: not over a network"
    )
    tuning: Tuning = Field(description="what the engine is told beyond its defaults")
    replicas: int
    max_surge: int = Field(description="pods above `replicas` during a roll-out: 0 where the pool has no GPU to spare")
    memory: Ledger = Field(description="of each GPU of the pipeline stage with least room")
    startup: Startup
    host: HostResources
    cost_per_hour: float
    scaling: Scaling | None = Field(default=None, description="who sets `replicas` once it runs; None: nobody")
    pod: dict[str, Any] = Field(
        default_factory=dict, description="fields of PodSpec that the service's document sets, merged over ours"
    )
    written: Written | None = Field(default=None, description="pods that a runtime document writes, instead of ours")

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        return self.replicas * self.split.gpus

    @property
    def gpus_per_node(self) -> int:
        """GPUs of one replica on one node: what a pod asks for."""
        return self.split.gpus // self.nodes


class ServicePlan(Decision):
    """How a model is served, and why so."""

    name: str
    namespace: str
    model: str
    task: str
    pattern: Pattern = "standard"
    roles: tuple[RolePlan, ...] = Field(min_length=1, description="one; or prefill and decode, in that order")
    context_length: int
    volume: Volume
    labels: dict[str, str]
    annotations: dict[str, str]
    together: bool = Field(default=False, description="prefill and decode share a node, since no RDMA joins their pods")
    router: Router | None = None
    route: Route | None = None
    adapters: tuple[Adapter, ...] = ()
    monitored: bool = Field(default=False, description="whether the Prometheus operator scrapes it")
    cost_per_hour: float
    speed: Speed | None = Field(description="of one replica under its share of the requests; None: nothing tells")
    price: ServiceCost
    intent: Intent = Field(description="what was asked for, as the document says it")
    why: str
    rejected: tuple[Rejection, ...]
    flips: tuple[str, ...] = Field(description="what small change would make it cheaper, and by how much")
    notes: tuple[str, ...] = ()

    @property
    def engine(self) -> RolePlan:
        """The role that writes the answer: the only one, or decode."""
        return self.roles[-1]

    @property
    def gpus(self) -> int:
        """GPUs of all replicas of all roles."""
        return sum(role.gpus for role in self.roles)


class Plan(Decision):
    """A stack, decided."""

    stack: str
    namespaces: tuple[str, ...] = Field(description="namespaces this stack makes")
    oci: OciPlan = Field(description="what is made below Kubernetes")
    pools: tuple[PoolPlan, ...] = Field(description="of GPUs; pools without are in `oci`")
    models: tuple[ModelPlan, ...]
    runtimes: tuple[RuntimePlan, ...]
    services: tuple[ServicePlan, ...]
    externals: tuple[External, ...] = ()
    splits: tuple[Route, ...] = Field(default=(), description="routes over several services")
    controllers: tuple[Controller, ...] = Field(default=(), description="what must run in the cluster, sorted")
    admission: AdmissionPlan | None = Field(
        default=None,
        exclude_if=lambda value: value is None,
        description="reservations, dedicated clusters and queues; None, and not written: the stack has none of them",
    )
    tenants: tuple[TenantPlan, ...] = Field(default=(), exclude_if=lambda value: not value)

    @property
    def cost_per_hour(self) -> float:
        """List price of all pools, of what is reserved beside them and of OCI's dedicated clusters: what is paid
        whether or not a GPU is used."""
        with_gpus = {pool.name: pool.cost_per_hour for pool in self.pools}
        without = {pool.name: pool.cost_per_hour for pool in self.oci.pools if pool.name not in with_gpus}
        beside = self.admission.cost_per_hour if self.admission else 0
        return sum({**without, **with_gpus}.values()) + beside

    def pool(self, name: str) -> PoolPlan:
        """The pool of that name."""
        return next(pool for pool in self.pools if pool.name == name)

    def model(self, name: str) -> ModelPlan:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)

    def tenant_of(self, namespace: str) -> tuple[TenantPlan, NamespacePlan] | None:
        """Whose namespace it is, and what was decided of it; None: no tenant's."""
        for tenant in self.tenants:
            for space in tenant.namespaces:
                if space.name == namespace:
                    return tenant, space
        return None
