"""The parts of a service's plan beside its replicas: plain data, decided by the modules of this folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ome_iac.planning.decision import Decision

Controller = Literal[
    "leader-worker-set",
    "gateway-api",
    "inference-extension",
    "keda",
    "knative",
    "istio",
    "kueue",
    "prometheus-operator",
]
"""What has to run in the cluster beside Kubernetes itself."""

RoleName = Literal["engine", "prefill", "decode"]


class Fabric(Decision):
    """The network between the GPUs of several pods, and what a pod needs to be on it.

    `rdma-vf`: virtual functions of the shape's RDMA NICs, one network attachment each; `rdma-host`: the node's own
    network; `nvlink-domain`: NVLink across nodes (GB200, GB300), by a ComputeDomain, with RDMA beyond it.
    """

    mode: Literal["rdma-vf", "rdma-host", "nvlink-domain"]
    devices: int = Field(description="virtual functions a pod asks for; 0 outside of that mode")
    network: str = Field(description="namespace/name of the network attachment of a virtual function; else empty")
    environment: tuple[tuple[str, str], ...] = Field(description="NCCL's parameters for the shape")
    block_label: str = Field(description="node label whose value the pods of one replica must share")


class Router(Decision):
    """A process of the service's own that spreads requests over its replicas."""

    kind: Literal["sglang-router", "endpoint-picker"]
    image: str
    command: tuple[str, ...]
    port: int
    metrics_port: int
    replicas: int = 1
    policy: str = Field(description="`cache_aware`, or the scorers' weights, as a person reads it")
    cpus: int
    memory_bytes: int
    configuration: str | None = Field(default=None, description="EndpointPickerConfig, YAML; None for sglang-router")
    sidecar_image: str | None = Field(default=None, description="of the proxy before each decode pod, where one is")
    sidecar_command: tuple[str, ...] = ()
    target_port: int = Field(description="of the pods behind it")
    startup_seconds: int = Field(description="how long it may wait for the first of them")
    tokenizer_image: str | None = Field(default=None, description="of the tokenizer beside a picker that counts tokens")
    tokenizer_command: tuple[str, ...] = ()


class Trigger(Decision):
    """A figure that replicas follow: one replica for each `threshold` of it."""

    name: str
    query: str = Field(description="PromQL; empty where Kubernetes or Knative measures it")
    threshold: str


class Scaling(Decision):
    """Who sets the replicas of a role, between what, by what."""

    role: RoleName
    owner: Literal["hpa", "keda", "knative"]
    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(ge=1)
    triggers: tuple[Trigger, ...]
    prometheus: str | None = Field(default=None, description="address, for KEDA")
    hard_limit: int = Field(default=0, description="requests at once that a pod takes at most, Knative's; 0: no limit")
    cooldown_seconds: int = Field(description="no replica is taken away earlier: longer than one takes to load")
    why: str


class Backend(Decision):
    """Where a route leads."""

    kind: Literal["Service", "InferencePool"]
    name: str
    port: int
    weight: int = 100


class Route(Decision):
    """How requests from outside of the cluster reach a service, or several by weight."""

    name: str
    namespace: str
    kind: Literal["gateway", "istio", "ingress"]
    parent: str = Field(description="gateway as namespace/name, or ingress class")
    hosts: tuple[str, ...]
    tls_secret: str | None = None
    backends: tuple[Backend, ...]


class Adapter(Decision):
    """A fine-tuned weight: a LoRA served beside its base, or merged into it."""

    name: str
    source: str
    path: str = Field(description="in the container")
    rank: int | None
    bytes: int
    merged: bool


class External(Decision):
    """A service that lives elsewhere and takes part in routes."""

    name: str
    namespace: str
    host: str
    port: int
    tls: bool
    model: str
