"""Inputs of an OCI resource against the SDK's own properties: unknown, missing, of a wrong type; and what replaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ome_iac.problems import did_you_mean
from ome_iac.rehearsal.providers import oci_schema
from ome_iac.rehearsal.providers.diffing import Path
from ome_iac.rehearsal.providers.oci_schema import Property, Resource, Type
from ome_iac.rehearsal.providers.package import Failure
from ome_iac.rehearsal.providers.values import Secret, Unknown, Value

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")


def problems(resource: Resource, inputs: Mapping[str, Value]) -> list[Failure]:
    """Every wrong property, nested ones too; values not known yet are taken to be right."""
    return list(_object(resource, resource.class_name, resource.inputs, inputs, ()))


def replaces(resource: Resource, path: Path) -> bool:
    """Whether a change there needs a new resource: a property on the way to it is not marked "(Updatable)"."""
    properties: Mapping[str, Property] | None = resource.inputs
    kind: Type | None = None
    for part in path:
        if isinstance(part, int) or properties is None:  # an element of a list or map, as updatable as the whole
            kind = kind.item if kind else None
        else:
            found = properties.get(part)
            if found is None or not found.updatable:
                return True
            kind = found.type
        is_object = kind is not None and kind.kind == "object"
        properties = oci_schema.nested(resource.module, kind.name) if kind is not None and is_object else None
    return False


def _object(
    resource: Resource, owner: str, properties: Mapping[str, Property], value: Mapping[str, Value], path: Path
) -> Iterator[Failure]:
    for name in value:
        if name not in properties:
            remedy = did_you_mean(_camel(name), properties)
            yield Failure((*path, name), f'"{name}" is no property of {owner}; {remedy}')
    for name, known in properties.items():
        if value.get(name) is not None:
            yield from _value(resource, known.type, value[name], (*path, name))
        elif known.required:
            yield Failure((*path, name), f'"{name}" is missing: {owner} requires it')


def _value(resource: Resource, kind: Type, value: Value, path: Path) -> Iterator[Failure]:
    hidden = isinstance(value, Secret)
    value = value.value if isinstance(value, Secret) else value
    if isinstance(value, Unknown) or value is None or kind.kind == "any":
        return
    if kind.kind == "object" and isinstance(value, dict):
        owner = kind.name.removesuffix("Args")
        yield from _object(resource, owner, oci_schema.nested(resource.module, kind.name), value, path)
    elif kind.kind == "list" and isinstance(value, list) and kind.item is not None:
        for index, item in enumerate(value):
            yield from _value(resource, kind.item, item, (*path, index))
    elif kind.kind == "map" and isinstance(value, dict) and kind.item is not None:
        for key, item in value.items():
            yield from _value(resource, kind.item, item, (*path, key))
    elif not _fits(kind, value):
        article = "an" if kind.kind in ("object", "integer") else "a"
        yield Failure(path, f"must be {article} {kind.kind}" + ("" if hidden else f", not {_described(value)}"))


def _fits(kind: Type, value: Value) -> bool:
    """Scalars as leniently as the official provider: it writes numbers as strings and reads them back."""
    if isinstance(value, (dict, list)):
        return False
    if kind.kind == "string":
        return True
    if kind.kind == "boolean":
        return isinstance(value, bool) or value in ("true", "false")
    if isinstance(value, bool) or kind.kind not in ("integer", "number"):
        return False
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        return match is not None and (kind.kind == "number" or match[1] is None)
    return kind.kind == "number" or isinstance(value, int)


def _described(value: Value) -> str:
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        return f'the string "{value}"'
    if isinstance(value, (dict, list)):
        return "a map" if isinstance(value, dict) else "a list"
    return f"the number {value}"


def _camel(name: str) -> str:
    """The wire form of a name that may have been written Python's way, which the SDK passes on if it is unknown."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)
