"""What engine, decoder and router have in common, in an InferenceService and in a runtime alike (ome.io/v1beta1).

OME writes the fields of Kubernetes' PodSpec directly into a component; what stands below such a field is Kubernetes'
own and is kept as plain data.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ome_iac.spec.document import Part

Plain = dict[str, Any]


def _count_or_share(value: object) -> object:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("count_or_share", "must be a whole number or a percentage")


CountOrShare = Annotated[int | str, BeforeValidator(_count_or_share)]
"""Kubernetes' IntOrString: 2 pods, or "50%" of them."""


class Container(Part):
    """A Kubernetes container; only its name is looked at here."""

    model_config = ConfigDict(extra="allow")

    name: str


class PodFields(Part):
    """The fields of Kubernetes' PodSpec, which OME inlines."""

    active_deadline_seconds: int | None = None
    affinity: Plain | None = None
    automount_service_account_token: bool | None = None
    containers: tuple[Container, ...] = ()
    dns_config: Plain | None = None
    dns_policy: str | None = None
    enable_service_links: bool | None = None
    ephemeral_containers: tuple[Container, ...] = ()
    host_aliases: tuple[Plain, ...] = ()
    host_ipc: bool | None = Field(default=None, alias="hostIPC")
    host_network: bool | None = None
    host_pid: bool | None = Field(default=None, alias="hostPID")
    host_users: bool | None = None
    hostname: str | None = None
    image_pull_secrets: tuple[Plain, ...] = ()
    init_containers: tuple[Container, ...] = ()
    node_name: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    os: Plain | None = None
    overhead: Plain | None = None
    preemption_policy: str | None = None
    priority: int | None = None
    priority_class_name: str | None = None
    readiness_gates: tuple[Plain, ...] = ()
    resource_claims: tuple[Plain, ...] = ()
    restart_policy: str | None = None
    runtime_class_name: str | None = None
    scheduler_name: str | None = None
    scheduling_gates: tuple[Plain, ...] = ()
    security_context: Plain | None = None
    service_account: str | None = None
    service_account_name: str | None = None
    set_hostname_as_fqdn: bool | None = Field(default=None, alias="setHostnameAsFQDN")
    share_process_namespace: bool | None = None
    subdomain: str | None = None
    termination_grace_period_seconds: int | None = None
    tolerations: tuple[Plain, ...] = ()
    topology_spread_constraints: tuple[Plain, ...] = ()
    volumes: tuple[Plain, ...] = ()


class KedaConfig(Part):
    """Scaling by a Prometheus query, through KEDA."""

    enable_keda: bool | None = None
    prom_server_address: str | None = None
    custom_prom_query: str | None = None
    scaling_threshold: str | None = None
    scaling_operator: str | None = None
    authentication_ref: Plain | None = None
    auth_modes: str | None = None


class AcceleratorConstraints(Part):
    """What an accelerator must have; memory in GiB, performance in TFLOPS."""

    min_memory: int | None = None
    max_memory: int | None = None
    min_compute_performance_tflops: int | None = Field(default=None, alias="minComputePerformanceTFLOPS")
    min_architecture_version: str | None = None
    required_features: tuple[str, ...] = ()
    preferred_precisions: tuple[str, ...] = ()
    excluded_classes: tuple[str, ...] = ()
    architecture_families: tuple[str, ...] = ()


class AcceleratorSelector(Part):
    """Which AcceleratorClass is wanted: by name, or the best of those that a runtime lists by a policy."""

    accelerator_class: str | None = None
    policy: Literal["BestFit", "Cheapest", "MostCapable", "FirstAvailable"] | None = None
    constraints: AcceleratorConstraints | None = None


class Component(PodFields):
    """Replicas, scaling, roll-out and pods of one component."""

    min_replicas: int | None = Field(default=None, ge=0)
    max_replicas: int | None = Field(default=None, ge=1)
    scale_target: int | None = None
    scale_metric: Literal["cpu", "memory", "concurrency", "rps"] | None = None
    container_concurrency: int | None = Field(default=None, ge=0)
    timeout_seconds: int | None = None
    canary_traffic_percent: int | None = Field(default=None, ge=0, le=100)
    min_available: CountOrShare | None = None
    max_unavailable: CountOrShare | None = None
    deployment_strategy: Plain | None = None
    keda_config: KedaConfig | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    runner: Container | None = None


class Leader(PodFields):
    """The first pod of a group of nodes."""

    runner: Container | None = None


class Worker(Leader):
    """The other pods of a group of nodes; `size` of them."""

    size: int | None = Field(default=None, ge=0)


class EngineComponent(Component):
    """The component that computes; with leader and worker, one replica stands on several nodes."""

    leader: Leader | None = None
    worker: Worker | None = None
    accelerator_override: AcceleratorSelector | None = None


class RouterComponent(Component):
    """The component that spreads requests; `config` becomes its environment."""

    config: dict[str, str] = Field(default_factory=dict)
