"""What is decided of capacity: reservations, dedicated clusters, queues, who is admitted. Plain data of a `Plan`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ome_iac.planning.admission.model import Block, Flavor, Queue, Topology
from ome_iac.planning.admission.simulate import Admission
from ome_iac.planning.decision import Decision


class ReservedNodes(Decision):
    """Nodes of one shape in a reservation."""

    shape: str
    nodes: int
    launched: int = Field(description="by the pools that it covers")
    fault_domain: str | None
    hpc_island_id: str | None
    network_blocks: tuple[Block, ...]
    unused_cost_per_hour: float = Field(description="USD, of what is reserved and does not run")


class OciReservationPlan(Decision):
    """A compute capacity reservation that this stack makes."""

    compartment_id: str
    availability_domain: str
    capacity: tuple[ReservedNodes, ...]
    protect: bool
    tags: dict[str, str]


class ReservationPlan(Decision):
    """A CapacityReservation, decided."""

    name: str
    pools: tuple[str, ...]
    cohort: str
    oci: OciReservationPlan | None
    gpus: int = Field(description="of its pools")
    gpus_used: int
    unused_cost_per_hour: float = Field(description="USD, beside the price of the pools")
    idle_cost_per_hour: float = Field(description="USD, the part of the pools' price whose GPUs serve nobody")
    notes: tuple[str, ...] = ()


class PriorityPlan(Decision):
    """A WorkloadPriorityClass."""

    name: str
    value: int


class ImportSource(Decision):
    """Where OCI Generative AI imports a model from; field names are its API's."""

    source_type: Literal["HUGGING_FACE_MODEL", "OBJECT_STORAGE_OBJECT"]
    model_id: str | None = None
    commit: str | None = None
    namespace: str | None = None
    bucket: str | None = None
    prefix_name: str | None = None
    region: str | None = None
    needs_token: bool = Field(default=False, description="the repository is gated: config ome-iac:huggingFaceToken")


class PrivateEndpointPlan(Decision):
    """A private endpoint of the Generative AI service."""

    subnet_id: str
    dns_prefix: str
    nsg_ids: tuple[str, ...]


class UnitChoice(Decision):
    """A unit shape that was looked at."""

    unit_shape: str
    count: int = Field(description="0: it does not hold the model")
    cost_per_hour: float
    why: str


class TuningPlan(Decision):
    """A fine-tuning run of OCI's own base model."""

    base_model_id: str
    namespace: str
    bucket: str
    object: str


class DedicatedUnitsPlan(Decision):
    """A dedicated cluster of OCI Generative AI."""

    backend: Literal["oci"] = "oci"
    name: str
    compartment_id: str
    type: Literal["HOSTING", "FINE_TUNING"]
    model: str | None
    source: ImportSource | None
    capabilities: tuple[str, ...]
    tuning: TuningPlan | None
    unit_shape: str
    unit_count: int
    concurrency_per_unit: float | None = Field(description="requests of `contextLength`; None: they keep nothing")
    context_length: int | None
    capacity_reservation_id: str | None
    private_endpoint: PrivateEndpointPlan | None
    tags: dict[str, str]
    cost_per_hour: float | None = Field(description="USD; None: Oracle's price list has no GPU for the unit")
    why: str
    considered: tuple[UnitChoice, ...]
    notes: tuple[str, ...]


class DedicatedNodesPlan(Decision):
    """A pool for one namespace alone."""

    backend: Literal["cluster"] = "cluster"
    name: str
    pool: str
    namespace: str
    makes_namespace: bool = Field(description="neither a Namespace nor a Tenant of the stack does")
    unit_shape: str = Field(description="of a node")
    unit_count: int = Field(description="nodes")
    units_needed: int = Field(description="nodes that the services take")
    taint: tuple[str, str, str] = Field(description="key, value, effect, of every node of the pool")
    label: tuple[str, str]
    services: tuple[str, ...] = Field(description="`namespace/name`, placed on it")
    cost_per_hour: float
    notes: tuple[str, ...]


DedicatedPlan = DedicatedUnitsPlan | DedicatedNodesPlan


class AdmissionPlan(Decision):
    """Everything that decides which gangs run: reservations, flavors, queues; and what Kueue will do with them."""

    reservations: tuple[ReservationPlan, ...]
    dedicated: tuple[DedicatedPlan, ...]
    topologies: tuple[Topology, ...]
    flavors: tuple[Flavor, ...]
    queues: tuple[Queue, ...]
    priorities: tuple[PriorityPlan, ...]
    admission: Admission

    @property
    def cost_per_hour(self) -> float:
        """USD beside the price of the pools: reserved capacity on which nothing runs, and OCI's dedicated clusters."""
        units = sum(item.cost_per_hour or 0.0 for item in self.dedicated if item.backend == "oci")
        return units + sum(reservation.unused_cost_per_hour for reservation in self.reservations)

    @property
    def has_queues(self) -> bool:
        """Whether Kueue has anything to do: OCI's dedicated clusters alone take nothing of the cluster."""
        return bool(self.flavors or self.queues or self.priorities)

    @property
    def at_oci(self) -> bool:
        """Whether anything of it is made in OCI."""
        return any(item.oci for item in self.reservations) or any(item.backend == "oci" for item in self.dedicated)

    def queue_of(self, namespace: str, pool: str) -> str | None:
        """The LocalQueue of a namespace for a pool."""
        for queue in self.queues:
            if namespace in queue.namespaces and queue.quota(pool):
                return queue.name
        return None

    def reservation_of(self, pool: str) -> str | None:
        """The reservation that a pool's nodes are launched in."""
        return next((item.name for item in self.reservations if pool in item.pools and item.oci), None)
