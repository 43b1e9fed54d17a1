"""InferenceService, with OME's field names and our one extension, `spec.intent`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ome_iac.spec.components import (
    AcceleratorSelector,
    EngineComponent,
    KedaConfig,
    Plain,
    RouterComponent,
)
from ome_iac.spec.document import OME, Document, Part


class ModelRef(Part):
    """The model a service serves."""

    name: str
    kind: Literal["BaseModel", "ClusterBaseModel"] | None = Field(
        default=None, description="left out: BaseModel of the namespace first, then ClusterBaseModel"
    )
    api_group: str | None = None
    fine_tuned_weights: tuple[str, ...] = ()


class RuntimeRef(Part):
    """The runtime a service insists on; left out, the planner chooses."""

    name: str
    kind: Literal["ServingRuntime", "ClusterServingRuntime"] | None = None
    api_group: str | None = None


class Engine(EngineComponent):
    """The component that computes."""

    min_replicas: int = Field(default=1, ge=0)


class Intent(Part):
    """What the service is for, in the user's terms; everything is optional."""

    context_length: int | None = Field(default=None, gt=0, description="tokens of the longest request, answer included")
    concurrency: int = Field(default=1, gt=0, description="requests of that length in flight at once, all replicas")
    objective: Literal["cheapest", "fewest-gpus"] = "cheapest"


class ServiceDeclaration(Part):
    """What a service says beside its model; `predictor` is OME's old form, which it rewrites itself."""

    runtime: RuntimeRef | None = None
    engine: Engine = Engine()
    decoder: EngineComponent | None = None
    router: RouterComponent | None = None
    accelerator_selector: AcceleratorSelector | None = None
    keda_config: KedaConfig | None = None
    predictor: Plain | None = None
    intent: Intent = Intent()


class InferenceServiceSpec(ServiceDeclaration):
    """OME's InferenceServiceSpec and `intent`."""

    model: ModelRef


class InferenceService(Document):
    """A model being served."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "InferenceService"
    spec: InferenceServiceSpec

    @property
    def namespace(self) -> str:
        """Where its objects live."""
        return self.metadata.namespace or "default"


HONOURED: dict[str, set[str]] = {
    "model": {"name", "kind", "apiGroup"},
    "runtime": {"name", "apiGroup"},
    "engine": {"minReplicas", "maxReplicas", "labels", "annotations"},
    "intent": {"contextLength", "concurrency", "objective"},
}
"""Of a service's fields, those that the planner acts on."""


def unsupported(service: InferenceService) -> list[str]:
    """Dotted paths, sorted, of what the document sets and the planner cannot honour yet.

    OME's own annotations count: each changes what OME does. So does `minReplicas: 0`, which asks for scale-to-zero.
    """
    paths = []
    for field, value in service.to_yaml_data()["spec"].items():
        if field not in HONOURED:
            paths.append(f"spec.{field}")
        else:
            paths.extend(f"spec.{field}.{key}" for key in value if key not in HONOURED[field])
    if service.spec.engine.min_replicas == 0:
        paths.append("spec.engine.minReplicas")
    domains = {key: key.partition("/")[0] for key in service.metadata.annotations}
    paths.extend(
        f"metadata.annotations.{key}"
        for key, domain in domains.items()
        if domain == "ome.io" or domain.endswith(".ome.io")
    )
    return sorted(paths)
