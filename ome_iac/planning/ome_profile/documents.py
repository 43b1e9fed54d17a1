"""The documents that OME's selector reads, outside any stack: a model needs no storage there, a service no model."""

from __future__ import annotations

from typing import ClassVar

from ome_iac.spec.document import OME, Document
from ome_iac.spec.models import ModelDeclaration, ModelDocument, Storage
from ome_iac.spec.runtimes import ClusterServingRuntime, ServingRuntime
from ome_iac.spec.services import InferenceService, ModelRef, ServiceDeclaration


class LooseModelSpec(ModelDeclaration):
    """A model that may lie anywhere."""

    storage: Storage | None = None


class LooseBaseModel(ModelDocument):
    """BaseModel, for selection alone."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "BaseModel"
    spec: LooseModelSpec


class LooseClusterBaseModel(ModelDocument):
    """ClusterBaseModel, for selection alone."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "ClusterBaseModel"
    spec: LooseModelSpec


class LooseServiceSpec(ServiceDeclaration):
    """A service of whatever model is being asked about."""

    model: ModelRef | None = None


class LooseService(Document):
    """InferenceService, for selection alone."""

    API_VERSION: ClassVar[str] = OME
    KIND: ClassVar[str] = "InferenceService"
    spec: LooseServiceSpec = LooseServiceSpec()


ServiceDocument = InferenceService | LooseService

MODELS: dict[str, type[Document]] = {kind.KIND: kind for kind in (LooseBaseModel, LooseClusterBaseModel)}
RUNTIMES: dict[str, type[Document]] = {kind.KIND: kind for kind in (ServingRuntime, ClusterServingRuntime)}
SERVICES: dict[str, type[Document]] = {LooseService.KIND: LooseService}
