"""BaseModel and ClusterBaseModel, with OME's field names (ome.io/v1beta1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.document import OME, Document, Part
from ome_iac.spec.sizes import nearest_size, parameters

OPERATORS = ("Equal", "GreaterThan", "GreaterThanOrEqual")


class Versioned(Part):
    """A format or framework with its version.

    `operator` (of a runtime's entry) says which models' versions it takes: runtime OP model, left out: Equal. `weight`
    counts in OME's score.
    """

    name: str
    version: str | None = None
    operator: str | None = None
    weight: int | None = None


def operator_faults(
    document: Document, path: str, format_: Versioned | None, framework: Versioned | None
) -> Iterator[Problem]:
    """Operators that OME does not know; it takes them for Equal without a word."""
    for field, versioned in (("modelFormat", format_), ("modelFramework", framework)):
        if versioned and versioned.operator is not None and versioned.operator not in OPERATORS:
            what = f"{versioned.operator} is no operator: OME takes it for Equal"
            yield document.problem(f"{path}.{field}.operator", what, did_you_mean(versioned.operator, OPERATORS))


class DiffusionComponent(Part):
    """A part of a pipeline: the library and the class that load it."""

    library: str | None = None
    type: str | None = None


class DiffusionPipeline(Part):
    """A diffusion pipeline's class and its parts."""

    class_name: str | None = None
    scheduler: DiffusionComponent | None = None
    text_encoder: DiffusionComponent | None = None
    tokenizer: DiffusionComponent | None = None
    transformer: DiffusionComponent | None = None
    vae: DiffusionComponent | None = None
    additional_components: dict[str, DiffusionComponent] = Field(default_factory=dict)


class Storage(Part):
    """Where the weights are read from, and where they lie on a node."""

    storage_uri: str = Field(description="hf://, oci://, pvc://, local://, vendor:// or https://")
    path: str | None = Field(default=None, description="folder on the node")
    key: str | None = Field(default=None, description="Secret whose key `token` holds the Hub's token")
    parameters: dict[str, str] = Field(default_factory=dict)
    schema_path: str | None = None
    node_selector: dict[str, str] = Field(default_factory=dict)
    node_affinity: dict[str, Any] | None = None
    download_policy: Literal["AlwaysDownload", "ReuseIfExists"] = "AlwaysDownload"


class ModelDeclaration(Part):
    """What a BaseModel says of itself. What the weights say wins over it; a contradiction is reported."""

    display_name: str | None = None
    vendor: str | None = None
    version: str | None = None
    disabled: bool = False
    model_format: Versioned | None = None
    model_framework: Versioned | None = None
    model_type: str | None = None
    model_architecture: str | None = None
    quantization: str | None = None
    model_parameter_size: str | None = None
    model_capabilities: tuple[str, ...] = ()
    api_capabilities: tuple[str, ...] = ()
    model_configuration: dict[str, Any] | None = None
    diffusion_pipeline: DiffusionPipeline | None = None
    max_tokens: int | None = Field(default=None, gt=0)
    serving_mode: tuple[str, ...] = ()
    compartment_id: str | None = Field(default=None, alias="compartmentID")
    additional_metadata: dict[str, str] = Field(default_factory=dict)


class BaseModelSpec(ModelDeclaration):
    """OME's BaseModelSpec."""

    storage: Storage


class ModelDocument(Document):
    """What both kinds have."""

    spec: ModelDeclaration

    def faults(self) -> Iterator[Problem]:
        """Values that have a legal type and that OME misreads."""
        spec, size = self.spec, self.spec.model_parameter_size
        if size is not None and parameters(size) is None:
            yield self.problem("spec.modelParameterSize", f'"{size}" is not a size: OME reads 0', nearest_size(size))
        yield from operator_faults(self, "spec", spec.model_format, spec.model_framework)


class BaseModel(ModelDocument):
    """A model for the services of one namespace."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "BaseModel"
    spec: BaseModelSpec


class ClusterBaseModel(ModelDocument):
    """A model for the services of every namespace."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "ClusterBaseModel"
    spec: BaseModelSpec
