"""InferenceService, with OME's field names and our one extension, `spec.intent`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from ome_iac.spec.components import (
    AcceleratorSelector,
    EngineComponent,
    KedaConfig,
    Plain,
    PodFields,
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


Duration = Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?(ms|s)$")]
"""A time with its unit, `300ms` or `1.5s`."""


def milliseconds(duration: str) -> float:
    """A `Duration` as a number."""
    return float(duration.removesuffix("ms")) if duration.endswith("ms") else 1000 * float(duration.removesuffix("s"))


class Intent(Part):
    """What the service is for, in the user's terms; everything is optional."""

    context_length: int | None = Field(default=None, gt=0, description="tokens of the longest request, answer included")
    concurrency: int = Field(default=1, gt=0, description="requests of that length in flight at once, all replicas")
    pattern: Literal["auto", "standard", "multi-node", "prefill-decode", "serverless"] = Field(
        default="auto", description="what the service is made of; auto: the planner decides"
    )
    objective: Literal["cheapest", "fewest-gpus", "fastest"] = "cheapest"
    input_tokens: int | None = Field(default=None, gt=0, description="of a usual request, to tell times and prices by")
    output_tokens: int | None = Field(default=None, gt=0, description="of a usual answer")
    time_to_first_token: Duration | None = Field(default=None, description="at most: 300ms, 1.5s")
    time_per_token: Duration | None = Field(default=None, description="at most, of one request's answer: 25ms")
    tensor_parallel: int | None = Field(default=None, gt=0, description="insisted on; left out, the planner chooses")
    quantization: Literal["fp8"] | None = Field(default=None, description="quantize plain weights while loading them")
    kv_cache_dtype: Literal["fp8"] | None = Field(default=None, description="left out: as the model computes")


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

    @property
    def replicas(self) -> int:
        """Replicas there is to be room for: one where it may scale to zero, so that it can come back."""
        return max(1, self.spec.engine.min_replicas)


HONOURED: dict[str, set[str]] = {
    "model": {"name", "kind", "apiGroup"},
    "runtime": {"name", "kind", "apiGroup"},
    "engine": {
        *("minReplicas", "maxReplicas", "labels", "annotations"),
        *("scaleMetric", "scaleTarget", "kedaConfig", "containerConcurrency"),
        *("runner", "leader", "worker"),
        *(field.alias or name for name, field in PodFields.model_fields.items()),
    },
    "decoder": {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "kedaConfig"},
    "router": {"minReplicas", "maxReplicas", "config"},
    "kedaConfig": {field.alias or name for name, field in KedaConfig.model_fields.items()},
    "intent": {field.alias or name for name, field in Intent.model_fields.items()},
}
"""Of a service's fields, those that the planner acts on."""

HONOURED_ANNOTATIONS = {
    "ome.io/deploymentMode": {"RawDeployment", "Serverless", "MultiNode", "MultiNodeRayVLLM", "PDDisaggregated"},
    "ome.io/autoscalerClass": {"hpa", "keda", "external"},
}
"""Of OME's annotations, each of which changes what OME does, those with these values; how many nodes a replica takes is
decided by what fits, whatever the mode says."""


def unsupported(service: InferenceService) -> list[str]:
    """Dotted paths, sorted, of what the document sets and the planner cannot honour yet; OME's annotations count."""
    paths = []
    for field, value in service.to_yaml_data()["spec"].items():
        if field not in HONOURED:
            paths.append(f"spec.{field}")
        else:
            paths.extend(f"spec.{field}.{key}" for key in value if key not in HONOURED[field])
    domains = {
        key: key.partition("/")[0]
        for key, value in service.metadata.annotations.items()
        if value not in HONOURED_ANNOTATIONS.get(key, ())
    }
    paths.extend(
        f"metadata.annotations.{key}"
        for key, domain in domains.items()
        if domain == "ome.io" or domain.endswith(".ome.io")
    )
    return sorted(paths)
