"""OME's placeholders: `{{.Name}}` and its like, which stand for the InferenceService's metadata.

OME escapes what it fills in as HTML; here it stays as it is. What is no field of the metadata, such as a chat
template's own braces, stays too.
"""

from __future__ import annotations

import re
from typing import Any

from ome_iac.spec.document import Metadata

_PLACEHOLDER = re.compile(
    r"""\{\{-?\s*(?:\.(?P<field>Name|Namespace|Labels|Annotations)(?:\.(?P<key>\w+))?"""
    r"""|index\s+\.(?P<of>Labels|Annotations)\s+["'](?P<name>[^"']+)["'])\s*-?\}\}"""
)


def fill_in(text: str, service: Metadata | None, unfilled: list[str]) -> str:
    """The text with every placeholder filled in; those that nothing fills are added to `unfilled` and stay."""

    def fill(hit: re.Match[str]) -> str:
        if service is None:
            unfilled.append(hit[0])
            return hit[0]
        field, key = hit["field"] or hit["of"], hit["key"] or hit["name"]
        if field == "Name":
            return service.name
        if field == "Namespace":
            return service.namespace or "default"
        values = service.labels if field == "Labels" else service.annotations
        if key not in values:
            unfilled.append(hit[0])
        return values.get(key, hit[0])

    return _PLACEHOLDER.sub(fill, text)


def fill_in_all(value: Any, service: Metadata) -> Any:
    """The same in every text of plain data."""
    if isinstance(value, dict):
        return {key: fill_in_all(item, service) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_in_all(item, service) for item in value]
    return fill_in(value, service, []) if isinstance(value, str) else value
