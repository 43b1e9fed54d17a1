"""CapacityReservation and DedicatedAICluster: GPUs that are kept for somebody (ome-iac/v1)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ome_iac.spec.document import OME_IAC, DnsLabel, Document, Part
from ome_iac.spec.infrastructure import Ocid


class NetworkBlock(Part):
    """Nodes that share a network block of OCI's RDMA network."""

    id: str = Field(min_length=1, description="the block's OCID, as OCI's compute capacity topology lists it")
    nodes: int = Field(ge=1)


class ClusterPlacement(Part):
    """Where in the RDMA network the reserved nodes are."""

    hpc_island_id: str = Field(min_length=1)
    blocks: tuple[NetworkBlock, ...] = Field(default=(), description="left out: OCI chooses, and they are not known")


class Reserved(Part):
    """Nodes of one shape."""

    shape: str
    nodes: int = Field(ge=1)
    fault_domain: str | None = None
    placement: ClusterPlacement | None = None


class OciReservation(Part):
    """A compute capacity reservation: what is reserved and not used is billed too."""

    availability_domain: str = Field(min_length=1, description="one: a reservation does not span two")
    compartment_id: Ocid | None = Field(default=None, description="left out: the cluster's")
    capacity: tuple[Reserved, ...] = Field(min_length=1)
    protect: bool = Field(default=True, description="what was given up may not be had again: not deleted or replaced")


class Share(Part):
    """A queue's part of a pool, in GPUs; CPUs, memory and virtual functions go along in proportion."""

    pool: DnsLabel
    gpus: int = Field(ge=0)
    borrow: int | None = Field(default=None, ge=0, description="GPUs of others at most; left out: any that are free")
    lend: int | None = Field(default=None, ge=0, description="of its own at most; left out: all that it does not use")


class QueueSpec(Part):
    """A ClusterQueue, and a LocalQueue of its name in each of the namespaces."""

    name: DnsLabel
    namespaces: tuple[DnsLabel, ...] = Field(min_length=1)
    shares: tuple[Share, ...] = Field(min_length=1)
    strategy: Literal["BestEffortFIFO", "StrictFIFO"] = "BestEffortFIFO"
    within_queue: Literal["Never", "LowerPriority"] = "LowerPriority"
    reclaim_within_cohort: Literal["Never", "LowerPriority", "Any"] = "Any"


class Priority(Part):
    """A Kueue WorkloadPriorityClass; services name it with the label kueue.x-k8s.io/priority-class."""

    name: DnsLabel
    value: int


class CapacityReservationSpec(Part):
    """Without `oci` nothing is reserved at OCI: only the queues are made, on nodes that are there."""

    pools: tuple[DnsLabel, ...] = Field(min_length=1, description="node pools that the reservation covers")
    oci: OciReservation | None = None
    cohort: DnsLabel | None = Field(default=None, description="queues lend each other in it; left out: the name")
    queues: tuple[QueueSpec, ...] = Field(
        default=(), description="left out: one queue for all namespaces, with all GPUs that tenants have no quota of"
    )
    priorities: tuple[Priority, ...] = ()


class CapacityReservation(Document):
    """Node pools whose GPUs are reserved at OCI, and shared out by queues in the cluster."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "CapacityReservation"
    spec: CapacityReservationSpec


class PrivateEndpoint(Part):
    """The endpoints are reachable from this subnet only."""

    subnet_id: Ocid
    dns_prefix: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    nsg_ids: tuple[Ocid, ...] = ()


class TrainingData(Part):
    """A JSONL file in Object Storage."""

    namespace: str
    bucket: str
    object: str


class ClusterBackend(Part):
    """Nodes of our own: a whole pool, for one namespace, behind a taint, a quota and a queue."""

    backend: Literal["cluster"]
    pool: DnsLabel = Field(description="all of its nodes; nothing else of the stack runs there")
    namespace: DnsLabel = Field(description="who may use it; services there are placed on it")


class OciBackend(Part):
    """OCI Generative AI's dedicated cluster for one imported model; Oracle runs it."""

    backend: Literal["oci"]
    type: Literal["HOSTING", "FINE_TUNING"] = "HOSTING"
    model: str | None = Field(
        default=None,
        description="HOSTING: a BaseModel or ClusterBaseModel of the stack, on the Hub or in Object Storage",
    )
    context_length: int | None = Field(default=None, gt=0, description="tokens; left out: the model's own")
    concurrency: int = Field(default=1, gt=0, description="requests of that length in flight at once, all units")
    unit_shape: str | None = Field(default=None, description="left out: the cheapest that holds the model")
    unit_count: int | None = Field(default=None, ge=1, description="left out: as many as the concurrency needs")
    compartment_id: Ocid | None = Field(default=None, description="left out: the cluster's")
    capacity_reservation_id: Ocid | None = None
    private_endpoint: PrivateEndpoint | None = None
    base_model_id: Ocid | None = Field(default=None, description="FINE_TUNING: OCI's own base model")
    training_data: TrainingData | None = Field(default=None, description="FINE_TUNING: what it is tuned on")


class DedicatedAICluster(Document):
    """GPUs that serve nobody else: OCI's own kind of it, or nodes of the stack."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "DedicatedAICluster"
    spec: Annotated[ClusterBackend | OciBackend, Field(discriminator="backend")]
