"""BaseModel and ClusterBaseModel, with OME's field names (ome.io/v1beta1)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from ome_iac.spec.document import OME, Document, Part


class Versioned(Part):
    """A format or framework with its version."""

    name: str
    version: str | None = None
    operator: Literal["Equal", "GreaterThan", "GreaterThanOrEqual"] = "Equal"
    weight: int | None = None


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


class BaseModelSpec(Part):
    """OME's BaseModelSpec. What the weights say wins over what is declared here; a contradiction is reported."""

    storage: Storage
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
    diffusion_pipeline: dict[str, Any] | None = None
    max_tokens: int | None = Field(default=None, gt=0)
    serving_mode: tuple[str, ...] = ()
    compartment_id: str | None = Field(default=None, alias="compartmentID")
    additional_metadata: dict[str, str] = Field(default_factory=dict)


class BaseModel(Document):
    """A model for the services of one namespace."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "BaseModel"
    spec: BaseModelSpec


class ClusterBaseModel(Document):
    """A model for the services of every namespace."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "ClusterBaseModel"
    spec: BaseModelSpec
