"""What `describe` gathers on its way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ome_iac.models.metadata import Evidence


@dataclass
class Findings:
    """What is gathered on the way: fields of `Description`, and what to say beside them."""

    facts: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Evidence] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    in_headers: set[str] = field(default_factory=set)
    """Config keys whose value the headers' shapes tell as well."""

    def add(self, name: str, value: Any, evidence: Evidence | None) -> None:
        """Keep a fact under the field's name, its evidence under the JSON key; None is not a fact."""
        if value is not None:
            self.facts[name] = value
            if evidence is not None:
                head, *rest = name.split("_")
                self.provenance[head + "".join(map(str.capitalize, rest))] = evidence
