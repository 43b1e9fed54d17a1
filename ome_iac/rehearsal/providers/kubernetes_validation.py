"""What is refused in any object before an API server sees it: types not rehearsed, names, labels, annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from ome_iac.rehearsal.providers.diffing import Path
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, kind_of_token
from ome_iac.rehearsal.providers.package import Failure, ProviderError
from ome_iac.rehearsal.providers.values import Secret, Unknown, Value

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

_NAMED_BY_A_LABEL: Final = {("", "Namespace"), ("", "Service"), ("batch", "Job")}
_LABEL_MAPS: Final = ("matchLabels", "nodeSelector")


def token_problems(token: str, inputs: Mapping[str, Value]) -> list[Failure]:
    """Why a resource type cannot be rehearsed, or how the object contradicts it."""
    try:
        kind = kind_of_token(token)
    except ProviderError as error:
        return [Failure((), str(error))]
    if kind.group == "helm.sh":
        return [Failure((), f"{token} is not rehearsed: it needs Helm; register its objects one by one")]
    if kind.kind.endswith("Patch") and inputs.get("kind") == kind.kind.removesuffix("Patch"):
        return [Failure((), f"{token} is not rehearsed: it changes another's object")]
    if kind.kind.endswith("List") and "items" in inputs:
        return [Failure((), f"{token} is not rehearsed; register its items one by one")]
    return [
        Failure((field,), f'{inputs.get(field)!r} is not "{wanted}", as the type {token} says')
        for field, wanted in (("apiVersion", kind.api_version), ("kind", kind.kind))
        if inputs.get(field) != wanted
    ]


def problems(kind: ObjectKind, document: dict[str, Value]) -> list[Failure]:
    """Everything wrong with the metadata and label maps of an object; parts not known yet are passed over."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return [] if isinstance(metadata, Unknown) else [Failure(("metadata",), "must be a map")]
    found = list(_names(kind, metadata))
    if kind.kind != "CustomResourceDefinition":  # its schema has properties named like the maps looked for
        found += _maps(document, ())
    if kind == ObjectKind("v1", "ConfigMap"):
        found += _strings(document.get("data", {}), ("data",))
    spec = document.get("spec")
    if kind == ObjectKind("v1", "Service") and isinstance(spec, dict):
        found += _labels(spec.get("selector", {}), ("spec", "selector"))
    return found


def _names(kind: ObjectKind, metadata: dict[str, Value]) -> Iterator[Failure]:
    for field in ("name", "namespace"):
        value = metadata.get(field)
        if value is None or isinstance(value, Unknown):
            continue
        if isinstance(value, Secret):
            yield Failure(("metadata", field), "must not be a secret: it is part of the resource's id")
        elif not isinstance(value, str):
            yield Failure(("metadata", field), f"{value!r} must be a string")
        elif field == "namespace" or (kind.group, kind.kind) in _NAMED_BY_A_LABEL:
            yield from _dns(value, ("metadata", field), _LABEL, "label", 63)
        elif kind.group == "rbac.authorization.k8s.io":
            if value in (".", "..") or "/" in value or "%" in value:
                yield Failure(("metadata", field), f'"{value}" must not be ".", ".." nor contain "/" or "%"')
        else:
            yield from _dns(value, ("metadata", field), _SUBDOMAIN, "subdomain", 253)


def _dns(value: str, path: Path, pattern: re.Pattern[str], what: str, longest: int) -> Iterator[Failure]:
    if len(value) > longest:
        yield Failure(path, f'"{value}" has {len(value)} characters, at most {longest} are allowed')
    if not pattern.fullmatch(value):
        dot = ' and "."' if what == "subdomain" else ""
        yield Failure(
            path,
            f'"{value}" is not a DNS-1123 {what}: lower case letters, digits, "-"{dot}, '
            "beginning and ending with a letter or digit",
        )


def _maps(value: Value, path: Path) -> Iterator[Failure]:
    """The label and annotation maps, wherever they are: in the object, its pod templates, its selectors."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _maps(item, (*path, index))
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        here = (*path, key)
        if key in _LABEL_MAPS and isinstance(item, dict) and "nodeSelectorTerms" not in item:
            yield from _labels(item, here)
        elif key == "metadata" and isinstance(item, dict):
            yield from _labels(item.get("labels", {}), (*here, "labels"))
            yield from _annotations(item.get("annotations", {}), (*here, "annotations"))
        else:
            yield from _maps(item, here)


def _labels(labels: Value, path: Path) -> Iterator[Failure]:
    yield from _strings(labels, path)
    if not isinstance(labels, dict):
        return
    for key, value in labels.items():
        yield from _qualified_key(key, (*path, key))
        if isinstance(value, str) and len(value) > 63:
            yield Failure((*path, key), f'"{value}" has {len(value)} characters, at most 63 are allowed')
        if isinstance(value, str) and value and not _QUALIFIED.fullmatch(value):
            yield Failure(
                (*path, key),
                f'"{value}" is not a label value: letters, digits, "-", "_" and ".", '
                "beginning and ending with a letter or digit",
            )


def _annotations(annotations: Value, path: Path) -> Iterator[Failure]:
    yield from _strings(annotations, path)
    if isinstance(annotations, dict):
        for key in annotations:
            yield from _qualified_key(key.lower(), (*path, key))


def _qualified_key(key: str, path: Path) -> Iterator[Failure]:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _SUBDOMAIN.fullmatch(prefix)):
        yield Failure(path, f'the part "{prefix}" before "/" is not a DNS-1123 subdomain')
    if len(name) > 63 or not _QUALIFIED.fullmatch(name):
        yield Failure(
            path,
            f'the name "{name}" must be 1 to 63 letters, digits, "-", "_" and ".", beginning and ending with one '
            "of the first two",
        )


def _strings(values: Value, path: Path) -> Iterator[Failure]:
    if isinstance(values, (Unknown, Secret)):
        return
    if not isinstance(values, dict):
        yield Failure(path, "must be a map of strings")
        return
    for key, value in values.items():
        if not isinstance(value, (str, Secret, Unknown)):
            yield Failure((*path, key), f"{value!r} must be a string")
