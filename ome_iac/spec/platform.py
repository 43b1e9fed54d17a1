"""Platform: what the cluster offers beside Kubernetes itself, and how services are reached (ome-iac/v1)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ome_iac.spec.document import OME_IAC, Document, Part

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


class Ingress(Part):
    """The way from outside to every service of the stack."""

    kind: Literal["gateway", "istio", "ingress"]
    parent: str = Field(description="the Gateway as namespace/name, or the ingress class")
    host: str = Field(
        "{service}.{namespace}.example.com", description="of a service; {service} and {namespace} are filled in"
    )
    tls_secret: str | None = Field(None, description="Secret with the certificate; the Gateway's own where left out")


class RdmaNetwork(Part):
    """How pods are put on the cluster network."""

    mode: Literal["vf", "host"] | None = Field(
        None, description="left out: virtual functions where the shape has some, else the node's network"
    )
    network: str = Field("default/rdma-vf", description="NetworkAttachmentDefinition of a virtual function")


class PlatformSpec(Part):
    """What is there."""

    controllers: tuple[Controller, ...] | None = Field(
        None, description="that run in the cluster; left out: whatever the plan needs is taken to be there, and said"
    )
    ingress: Ingress | None = Field(None, description="left out: services are reached within the cluster only")
    prometheus: str | None = Field(None, description="its address, for KEDA: http://prometheus.monitoring:9090")
    rdma: RdmaNetwork = RdmaNetwork()
    queue: str | None = Field(None, description="Kueue's LocalQueue for groups; it then places them in network blocks")


class Platform(Document):
    """The stack's platform; none declared is one with every default."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "Platform"
    spec: PlatformSpec = PlatformSpec()
