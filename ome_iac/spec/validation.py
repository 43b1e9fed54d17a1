"""Raw YAML to typed documents; what pydantic says becomes one line a person can act on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, get_args

import pydantic
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.accelerators import AcceleratorClass
from ome_iac.spec.capacity import CapacityReservation, DedicatedAICluster
from ome_iac.spec.document import Document
from ome_iac.spec.infrastructure import Cluster, Namespace, NodePool
from ome_iac.spec.models import BaseModel, ClusterBaseModel, ModelDocument
from ome_iac.spec.platform import Platform
from ome_iac.spec.routes import ExternalService, TrafficSplit
from ome_iac.spec.runtimes import ClusterServingRuntime, RuntimeDocument, ServingRuntime
from ome_iac.spec.services import InferenceService
from ome_iac.spec.tenancy import Tenant
from ome_iac.spec.yaml_documents import RawDocument

KINDS: dict[str, type[Document]] = {
    kind.KIND: kind
    for kind in (
        BaseModel,
        ClusterBaseModel,
        ServingRuntime,
        ClusterServingRuntime,
        AcceleratorClass,
        InferenceService,
        Cluster,
        NodePool,
        Namespace,
        Platform,
        CapacityReservation,
        DedicatedAICluster,
        Tenant,
        TrafficSplit,
        ExternalService,
    )
}

_EXPECTED = {
    "string_type": "text (in quotes)",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}


def parse(raw: RawDocument, problems: list[Problem]) -> Document | None:
    """The typed document, or None and what is wrong with it, values that OME misreads included."""
    document = parse_as_written(raw, problems)
    faults = (
        tuple(document.faults()) if isinstance(document, ModelDocument | RuntimeDocument | AcceleratorClass) else ()
    )
    problems.extend(faults)
    return None if faults else document


def parse_as_written(
    raw: RawDocument, problems: list[Problem], kinds: Mapping[str, type[Document]] = KINDS
) -> Document | None:
    """The typed document as OME's API server would take it: fields and types are checked, values are not."""
    data, origin = raw.data, raw.origin
    if not isinstance(data, dict):
        problems.append(Problem(origin.where(), "", "is not a document", "a mapping with apiVersion, kind, metadata"))
        return None
    kind = kinds.get(str(data.get("kind")))
    if kind is None:
        what = f"kind {data['kind']} is not known" if data.get("kind") else "kind is missing"
        problems.append(Problem(origin.where(("kind",)), "", what, did_you_mean(str(data.get("kind", "")), kinds)))
        return None
    if data.get("apiVersion") != kind.API_VERSION:
        what = f"apiVersion of {kind.KIND} is {data.get('apiVersion')}"
        problems.append(Problem(origin.where(("apiVersion",)), kind.KIND, what, f'write "{kind.API_VERSION}"'))
    body = {key: value for key, value in data.items() if key not in ("apiVersion", "kind") and value is not None}
    try:
        # Through JSON: pydantic is then strict about types and still takes lists for tuples.
        document = kind.model_validate_json(json.dumps(body), strict=True)
    except pydantic.ValidationError as error:
        label = (
            f"{kind.KIND}/{(data.get('metadata') or {}).get('name', '?')}"
            if isinstance(data.get("metadata"), dict | None)
            else kind.KIND
        )
        for detail in error.errors(include_url=False):
            path = _written_path(detail["loc"], body)
            what, remedy = _describe(kind, detail)
            problems.append(Problem(origin.where(path), f"{label} {'.'.join(map(str, path))}", what, remedy))
        return None
    return document.placed(origin)


def _written_path(loc: tuple[int | str, ...], data: Any) -> tuple[int | str, ...]:
    """pydantic's location without the discriminator values it puts between the keys."""
    path: list[int | str] = []
    for index, key in enumerate(loc):
        last = index == len(loc) - 1
        present = (isinstance(data, dict) and key in data) or (isinstance(data, list) and isinstance(key, int))
        if present or last:
            path.append(key)
            data = data[key] if present else None
    return tuple(path)


def _describe(kind: type[Document], detail: ErrorDetails) -> tuple[str, str]:
    """What is wrong and what would be right."""
    problem, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    model, field = _field_at(kind, detail["loc"])
    meaning = field.description if field and field.description else ""
    if problem == "missing":
        return "is missing", meaning
    if problem == "extra_forbidden":
        return "is not a known field", did_you_mean(str(detail["loc"][-1]), _written_names(model) if model else ())
    if problem in _EXPECTED:
        return f"must be {_EXPECTED[problem]}, not {json.dumps(value)[:60]}", meaning
    if problem in ("literal_error", "enum"):
        return f"must be {context['expected']}, not {json.dumps(value)[:60]}", ""
    if problem == "union_tag_not_found":
        return f"{str(context['discriminator']).strip(chr(39))} is missing", _tags(field)
    if problem == "union_tag_invalid":
        return (
            f"{str(context['discriminator']).strip(chr(39))} is {context['tag']}",
            f"known: {context['expected_tags']}",
        )
    if problem == "string_pattern_mismatch":
        return f"{json.dumps(value)[:60]} has the wrong form", meaning or f"it must match {context['pattern']}"
    text = detail["msg"]
    return text[0].lower() + text[1:] + f", not {json.dumps(value)[:60]}", meaning


def _field_at(kind: type[pydantic.BaseModel], loc: tuple[int | str, ...]) -> tuple[Any, FieldInfo | None]:
    """The innermost model on the way to `loc` and, where it has one, the field that `loc` names."""
    model: type[pydantic.BaseModel] | None = kind
    field: FieldInfo | None = None
    for index, key in enumerate(loc):
        if model is None:
            return None, None
        if isinstance(key, int):
            continue
        by_alias = {info.alias or name: info for name, info in model.model_fields.items()}
        if key not in by_alias:
            if field is not None and index < len(loc) - 1:  # a discriminator's value
                chosen = [m for m in _models_in(field.annotation) if _tag_of(m) == key]
                model = chosen[0] if chosen else None
                continue
            return model, None
        field = by_alias[str(key)]
        inner = _models_in(field.annotation)
        if index < len(loc) - 1 and len(inner) == 1:
            model = inner[0]
    return model, field


def _models_in(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _tag_of(model: type[pydantic.BaseModel]) -> str | None:
    field = model.model_fields.get("mode") or model.model_fields.get("backend")
    return get_args(field.annotation)[0] if field else None


def _tags(field: FieldInfo | None) -> str:
    tags = [tag for model in _models_in(field.annotation) if (tag := _tag_of(model))] if field else []
    return "known: " + ", ".join(tags)


def _written_names(model: type[pydantic.BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]
