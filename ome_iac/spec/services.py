"""InferenceService, with OME's field names and our one extension, `spec.intent`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ome_iac.spec.document import OME, Document, Part


class ModelRef(Part):
    """The model a service serves."""

    name: str
    kind: Literal["BaseModel", "ClusterBaseModel"] | None = Field(
        default=None, description="left out: BaseModel of the namespace first, then ClusterBaseModel"
    )


class RuntimeRef(Part):
    """The runtime a service insists on; left out, the planner chooses."""

    name: str


class Engine(Part):
    """The component that computes."""

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int | None = Field(default=None, ge=1)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Intent(Part):
    """What the service is for, in the user's terms; everything is optional."""

    context_length: int | None = Field(default=None, gt=0, description="tokens of the longest request, answer included")
    concurrency: int = Field(default=1, gt=0, description="requests of that length in flight at once, all replicas")
    objective: Literal["cheapest", "fewest-gpus"] = "cheapest"


class InferenceServiceSpec(Part):
    """OME's InferenceServiceSpec, as far as this version goes, and `intent`."""

    model: ModelRef
    runtime: RuntimeRef | None = None
    engine: Engine = Engine()
    intent: Intent = Intent()


class InferenceService(Document):
    """A model being served."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "InferenceService"
    spec: InferenceServiceSpec

    @property
    def namespace(self) -> str:
        """Where its objects live."""
        return self.metadata.namespace or "default"
