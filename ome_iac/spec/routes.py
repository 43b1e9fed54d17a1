"""TrafficSplit and ExternalService (ome-iac/v1): requests over several services, and services that live elsewhere."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ome_iac.spec.document import OME_IAC, Document, Part


class Weighted(Part):
    """A service and its part of the requests."""

    service: str = Field(description="an InferenceService or ExternalService of the same namespace")
    weight: int = Field(ge=0, le=100, description="percent")


class TrafficSplitSpec(Part):
    """Two versions, engines or revisions behind one address: canary (95 and 5), blue-green (100 and 0)."""

    host: str | None = Field(None, description="left out: the Platform's, filled in with this document's name")
    services: tuple[Weighted, ...] = Field(min_length=2)


class TrafficSplit(Document):
    """One address for several services. Rolling back is writing the weights of before."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "TrafficSplit"
    spec: TrafficSplitSpec

    @property
    def namespace(self) -> str:
        """Where its route lives."""
        return self.metadata.namespace or "default"


class ExternalServiceSpec(Part):
    """Where it is."""

    host: str = Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", description="a DNS name")
    port: int = Field(443, ge=1, le=65535)
    tls: bool = True
    model: str = Field(description="the name that requests to it carry")


class ExternalService(Document):
    """A model that is served elsewhere, such as on an OCI Generative AI endpoint, and takes part in routes."""

    API_VERSION: ClassVar[str] = OME_IAC
    KIND: ClassVar[str] = "ExternalService"
    spec: ExternalServiceSpec

    @property
    def namespace(self) -> str:
        """Where its address lives."""
        return self.metadata.namespace or "default"
