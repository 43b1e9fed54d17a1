"""A stack: documents by kind, checked against each other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.document import Document
from ome_iac.spec.infrastructure import Cluster, MadePool, NodePool
from ome_iac.spec.models import BaseModel, ClusterBaseModel
from ome_iac.spec.platform import Platform
from ome_iac.spec.services import InferenceService
from ome_iac.spec.validation import parse
from ome_iac.spec.yaml_documents import RawDocument, read_documents

D = TypeVar("D", bound=Document)
AnyModel = BaseModel | ClusterBaseModel


@dataclass(frozen=True)
class Stack:
    """What is wanted.

    `unusable` names documents (kind, name) that were declared but are wrong, so that a reference to one of them is not
    reported as a second problem.
    """

    name: str
    documents: tuple[Document, ...]
    unusable: frozenset[tuple[str, str]] = frozenset()

    def of(self, kind: type[D]) -> tuple[D, ...]:
        """The documents of a kind, sorted by namespace and name."""
        found = [document for document in self.documents if isinstance(document, kind)]
        return tuple(sorted(found, key=lambda document: (document.metadata.namespace or "", document.name)))

    @property
    def cluster(self) -> Cluster:
        """The declared cluster; none declared is an empty one: the kubeconfig's."""
        declared = self.of(Cluster)
        return declared[0] if declared else Cluster.model_validate({"metadata": {"name": "cluster"}})

    @property
    def models(self) -> tuple[AnyModel, ...]:
        """Models of both kinds."""
        return (*self.of(BaseModel), *self.of(ClusterBaseModel))

    def model_of(self, service: InferenceService) -> AnyModel | None:
        """The model a service names: of its namespace first, then of the cluster, as OME looks it up."""
        wanted = service.spec.model
        for model in self.models:
            local = isinstance(model, BaseModel)
            if model.name != wanted.name or (wanted.kind and wanted.kind != model.KIND):
                continue
            if not local or (model.metadata.namespace or "default") == service.namespace:
                return model
        return None


def load_stack(name: str, folder: Path, shown_as: str | None = None) -> tuple[Stack, list[Problem]]:
    """Every `*.yaml` of the folder, in the order of their names, as one stack, and every problem found.

    `shown_as` is the folder as messages show it. A folder that is not there is a problem too.
    """
    shown = shown_as or str(folder)
    problems: list[Problem] = []
    raws: list[RawDocument] = []
    if not folder.is_dir():
        problems.append(Problem(shown, "", "is not a folder of documents", "make it, with *.yaml files in it"))
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        raws.extend(read_documents(path, f"{shown}/{path.name}", problems))
    documents: list[Document] = []
    unusable: set[tuple[str, str]] = set()
    for raw in raws:
        document = parse(raw, problems)
        if document:
            documents.append(document)
        elif isinstance(raw.data, dict) and isinstance(raw.data.get("metadata"), dict):
            unusable.add((str(raw.data.get("kind")), str(raw.data["metadata"].get("name"))))
    stack = Stack(name, tuple(documents), frozenset(unusable))
    return stack, [*problems, *check_references(stack)]


def check_references(stack: Stack) -> Iterable[Problem]:
    """What is wrong between documents: repeats, names that lead nowhere."""
    seen: dict[tuple[str, str, str], Document] = {}
    for document in stack.documents:
        key = (document.KIND, document.metadata.namespace or "", document.name)
        if key in seen:
            first = seen[key].problem("metadata.name", "").where
            yield document.problem("metadata.name", f"the name is taken by the one at {first}", "rename one of them")
        seen.setdefault(key, document)
    for extra in stack.of(Cluster)[1:]:
        yield extra.problem("", "is a second Cluster", "a stack stands on one cluster; make two stacks")
    for another in stack.of(Platform)[1:]:
        yield another.problem("", "is a second Platform", "a cluster has one; write both as one document")
    for pool in stack.of(NodePool):
        unusable_cluster = any(kind == "Cluster" for kind, _ in stack.unusable)
        cluster = stack.cluster.spec
        if isinstance(pool.spec, MadePool) and not (cluster.oke or cluster.create or unusable_cluster):
            yield pool.problem(
                "spec.mode",
                "a managed pool needs an OKE cluster",
                "give Cluster spec.create or spec.oke, or write mode: existing",
            )
    for service in stack.of(InferenceService):
        yield from _check_service(stack, service)


def _check_service(stack: Stack, service: InferenceService) -> Iterable[Problem]:
    engine, model = service.spec.engine, stack.model_of(service)
    if engine.max_replicas is not None and engine.max_replicas < engine.min_replicas:
        yield service.problem(
            "spec.engine.maxReplicas",
            f"{engine.max_replicas} is less than minReplicas {engine.min_replicas}",
            "raise it or lower minReplicas",
        )
    broken = {name for kind, name in stack.unusable if kind in ("BaseModel", "ClusterBaseModel")}
    if model is None and service.spec.model.name not in broken:
        names = sorted({candidate.name for candidate in stack.models})
        yield service.problem(
            "spec.model.name",
            f"there is no model {service.spec.model.name}",
            did_you_mean(service.spec.model.name, names),
        )
    elif model is not None and model.spec.disabled:
        yield service.problem("spec.model.name", f"the model {model.name} is disabled", "serve another, or enable it")
