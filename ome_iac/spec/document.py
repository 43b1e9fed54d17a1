"""What every document has: apiVersion, kind, metadata, and the place it was written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints
from pydantic.alias_generators import to_camel

from ome_iac.problems import Problem
from ome_iac.spec.yaml_documents import Origin

OME = "ome.io/v1beta1"
OME_IAC = "ome-iac/v1"

DnsLabel = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63),
    Field(description="lower-case letters, digits and dashes, 63 at most (an RFC 1123 label)"),
]
"""A name that may become a Kubernetes object's name and a label's value."""


class Part(BaseModel):
    """A part of a document: frozen, camelCase, unknown fields are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        protected_namespaces=(),
        defer_build=True,  # most previews use few of the kinds
    )


class Metadata(Part):
    """The part of Kubernetes' ObjectMeta that a person writes."""

    name: DnsLabel
    namespace: DnsLabel | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Document(Part):
    """A document of any kind; each kind fixes `API_VERSION`, `KIND` and `spec`."""

    API_VERSION: ClassVar[str]
    KIND: ClassVar[str]

    metadata: Metadata
    _origin: Origin | None = PrivateAttr(default=None)

    @property
    def name(self) -> str:
        """The document's name."""
        return self.metadata.name

    @property
    def label(self) -> str:
        """How the document is called in messages: `InferenceService/chat-large`."""
        return f"{self.KIND}/{self.name}"

    def problem(self, path: str, what: str, remedy: str = "") -> Problem:
        """A problem of this document at a dotted path, with the line it was written on."""
        keys: tuple[str | int, ...] = tuple(int(p) if p.isdigit() else p for p in re.split(r"\.", path) if p)
        where = self._origin.where(keys) if self._origin else ""
        return Problem(where, " ".join(part for part in (self.label, path) if part), what, remedy)

    @property
    def folder(self) -> Path | None:
        """The folder its relative paths are resolved against; None for documents made in Python."""
        return self._origin.folder if self._origin else None

    def placed(self, origin: Origin) -> Document:
        """Remember where the document was written; returns itself."""
        self._origin = origin
        return self

    def to_yaml_data(self) -> dict[str, Any]:
        """The document as it would be written: only what was set."""
        body = self.model_dump(by_alias=True, exclude_unset=True, mode="json")
        return {"apiVersion": self.API_VERSION, "kind": self.KIND, **body}
