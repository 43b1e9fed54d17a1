"""Which runtimes a service may be served with: the one it names, or all that are open to selection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.plan import Rejection
from ome_iac.problems import Problem, ProblemsError, did_you_mean
from ome_iac.runtimes.engines import Engine, all_engines, automatic_engines, engine
from ome_iac.runtimes.engines.custom import Custom, custom_engines
from ome_iac.runtimes.engines.custom_declared import Subject, declared
from ome_iac.spec.runtimes import ClusterServingRuntime, RuntimeDocument, ServingRuntime
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import AnyModel, Stack

NAME = "spec.runtime.name"
_CONTAINERS = {"runner", "leader", "worker", "containers"}
APART = "runs prefill and decode apart, which cannot be planned from a document yet"


@dataclass(frozen=True)
class Choice:
    """The engines to look among, in the order that breaks ties, and the documents that serve no such model."""

    engines: tuple[Engine, ...] = ()
    refused: tuple[Rejection, ...] = ()


@dataclass
class Runtimes:
    """The stack's own runtime documents, by namespace (None: of the cluster) and name, beside our engines.

    What a document says is held against each model once, however many services serve it, unless its command asks for
    the service's own name or labels.
    """

    documents: Mapping[tuple[str | None, str], RuntimeDocument]
    unusable: frozenset[str]
    _matches: dict[tuple[str, int], tuple[tuple[RuntimeDocument, ...], tuple[Rejection, ...]]] = field(
        default_factory=dict
    )
    _engines: dict[tuple[int, int], tuple[Custom, ...]] = field(default_factory=dict)
    _templated: dict[int, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, stack: Stack) -> Runtimes:
        """The runtimes of a stack."""
        documents: dict[tuple[str | None, str], RuntimeDocument] = {
            (document.metadata.namespace or "default", document.name): document for document in stack.of(ServingRuntime)
        }
        documents |= {(None, document.name): document for document in stack.of(ClusterServingRuntime)}
        kinds = (ServingRuntime.KIND, ClusterServingRuntime.KIND)
        return cls(documents, frozenset(name for kind, name in stack.unusable if kind in kinds))

    def for_service(
        self, service: InferenceService, model: AnyModel, facts: ModelMetadata, problems: list[Problem]
    ) -> Choice:
        """By the service's name for it, or all; no engine, and a problem, where the name is wrong.

        A name is looked up as OME does, in the namespace and then in the cluster, and then among our engines, which may
        carry a version: `vllm==0.19.0`. Without a name the documents go first whose matching entry says `autoSelect`.
        """
        named = service.spec.runtime
        if named is None and (writes := sorted(_CONTAINERS & service.spec.engine.model_fields_set)):
            what = "writes a container, and names no ServingRuntime that it belongs to"
            problems.append(service.problem(f"spec.engine.{writes[0]}", what, "name it: spec.runtime.name"))
        if named is None:
            return self._all(service, model, facts)
        document = self._document(service, named.kind)
        if document is not None:
            return self._declared(service, document, model, problems)
        name, _, version = named.name.partition("==")
        if named.kind is None and name in all_engines():
            for field_ in sorted(_CONTAINERS & service.spec.engine.model_fields_set):
                what = f"{name} brings its own containers: these would replace what was proven to fit"
                remedy = "leave it out, or name a ServingRuntime of the stack"
                problems.append(service.problem(f"spec.engine.{field_}", what, remedy))
            try:
                return Choice((engine(name, version or None, NAME),))
            except ProblemsError as error:
                problems += (service.problem(NAME, item.what, item.remedy) for item in error.problems)
                return Choice()
        if named.name not in self.unusable:
            visible = {document.name for document in self._visible(service.namespace)}
            known = visible | (set(all_engines()) if named.kind is None else set())
            problems.append(service.problem(NAME, f"there is no runtime {named.name}", did_you_mean(name, known)))
        return Choice()

    def _visible(self, namespace: str) -> Iterator[RuntimeDocument]:
        """The namespace's, then the cluster's that it does not hide, by name."""
        own = sorted(name for where, name in self.documents if where == namespace)
        shared = sorted(name for where, name in self.documents if where is None)
        yield from (self.documents[namespace, name] for name in own)
        yield from (self.documents[None, name] for name in shared if (namespace, name) not in self.documents)

    def document(self, namespace: str, name: str) -> RuntimeDocument | None:
        """What a service of the namespace means by the name."""
        return self.documents.get((namespace, name)) or self.documents.get((None, name))

    def _document(self, service: InferenceService, kind: str | None) -> RuntimeDocument | None:
        assert service.spec.runtime is not None
        name = service.spec.runtime.name
        local = self.documents.get((service.namespace, name)) if kind != ClusterServingRuntime.KIND else None
        return local or (self.documents.get((None, name)) if kind != ServingRuntime.KIND else None)

    def _declared(
        self, service: InferenceService, document: RuntimeDocument, model: AnyModel, problems: list[Problem]
    ) -> Choice:
        if document.spec.disabled:
            remedy = "enable it, or name another"
            problems.append(service.problem(NAME, f"the runtime {document.name} is disabled", remedy))
            return Choice()
        found = self._custom(document, model, service)
        if not found:
            remedy = "name a runtime of one role, or leave the choice to the planner"
            problems.append(service.problem(NAME, f"{document.name} {APART}", remedy))
        return Choice(found)

    def _all(self, service: InferenceService, model: AnyModel, facts: ModelMetadata) -> Choice:
        key = (service.namespace, id(model))
        if key not in self._matches:
            self._matches[key] = self._matching(service.namespace, model, facts)
        documents, refused = self._matches[key]
        own = [each for document in documents for each in self._custom(document, model, service)]
        return Choice((*own, *automatic_engines().values()), refused)

    def _matching(
        self, namespace: str, model: AnyModel, facts: ModelMetadata
    ) -> tuple[tuple[RuntimeDocument, ...], tuple[Rejection, ...]]:
        """The documents that say they serve the model and may be selected, and what speaks against the others."""
        subject = Subject.of(model, facts)
        matching, refused = [], []
        for document in self._visible(namespace):
            found = declared(document.spec, subject)
            reasons = (*found.reasons, *found.unknown)
            if not reasons and not (found.entry and found.entry.auto_select):
                reasons = ("its entry for the model does not say autoSelect: true",)
            if not reasons and not self._custom(document, model, None):
                reasons = (APART,)
            if reasons:
                refused.append(Rejection(runtime=document.name, pool="any", split=None, fits=False, reasons=reasons))
            else:
                matching.append(document)
        return tuple(matching), tuple(refused)

    def _custom(
        self, document: RuntimeDocument, model: AnyModel, service: InferenceService | None
    ) -> tuple[Custom, ...]:
        """The document as an engine; none where it has two roles. A service may write over its containers."""
        if id(document) not in self._templated:
            self._templated[id(document)] = "{{" in document.model_dump_json()
        key = (id(document), id(model))
        writes = service is not None and bool(_CONTAINERS & service.spec.engine.model_fields_set)
        if writes or self._templated[id(document)] or key not in self._engines:
            named = service.metadata if service else document.metadata
            roles = custom_engines(document, model, named, service.spec if service else None)
            if writes:
                return tuple(roles.values()) if list(roles) == ["engine"] else ()
            self._engines[key] = tuple(roles.values()) if list(roles) == ["engine"] else ()
        return self._engines[key]
