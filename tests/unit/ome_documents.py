"""Documents for tests of OME's profile, as their API server would take them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES, SERVICES, LooseService
from ome_iac.problems import Problem
from ome_iac.spec.document import Document
from ome_iac.spec.models import ModelDeclaration, ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument
from ome_iac.spec.validation import parse_as_written
from ome_iac.spec.yaml_documents import Origin, RawDocument, read_documents

SHARED = Path(__file__).parents[3] / "shared" / "data"
D = TypeVar("D", bound=Document)


def shared(path: str) -> Path:
    """A file or folder of ../shared/data; the test is skipped where it is absent."""
    if not (SHARED / path).exists():
        pytest.skip(f"../shared/data/{path} is absent")
    return SHARED / path


def read(data: dict[str, Any], kinds: Mapping[str, type[Document]], wanted: type[D]) -> D:
    problems: list[Problem] = []
    document = parse_as_written(
        RawDocument({"apiVersion": "ome.io/v1beta1", **data}, Origin("test.yaml", Path(), {})), problems, kinds
    )
    assert problems == []
    assert isinstance(document, wanted)
    return document


def model(**spec: Any) -> ModelDeclaration:
    body = {"kind": "ClusterBaseModel", "metadata": {"name": "m"}, "spec": spec}
    return read(body, MODELS, ModelDocument).spec


def runtime(name: str, spec: dict[str, Any], namespace: str | None = None) -> RuntimeDocument:
    """Of the cluster where no namespace is given."""
    kind = "ServingRuntime" if namespace else "ClusterServingRuntime"
    return read(
        {"kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}, RUNTIMES, RuntimeDocument
    )


def service(spec: dict[str, Any], annotations: dict[str, str] | None = None, namespace: str = "ns") -> LooseService:
    metadata = {"name": "s", "namespace": namespace, "annotations": annotations or {}}
    return read({"kind": "InferenceService", "metadata": metadata, "spec": spec}, SERVICES, LooseService)


def entry(name: str = "safetensors", **fields: Any) -> dict[str, Any]:
    """A supported format that is open to auto-selection."""
    return {"modelFormat": {"name": name}, "autoSelect": True, **fields}


def documents(folder: Path, kinds: Mapping[str, type[Document]], wanted: type[D]) -> list[D]:
    """Those of these kinds in the files below the folder, in the order of their paths."""
    problems: list[Problem] = []
    found = [
        parse_as_written(raw, problems, kinds)
        for path in sorted(folder.rglob("*.yaml"))
        for raw in read_documents(path, path.name, problems)
        if raw.data.get("kind") in kinds
    ]
    assert problems == []
    return [document for document in found if isinstance(document, wanted)]
