"""What OCI demands of a resource beyond its class: the values of a property, and the resources it names."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from ome_iac.rehearsal.providers.diffing import Path, parse
from ome_iac.rehearsal.providers.package import Failure, Properties
from ome_iac.rehearsal.providers.values import Secret, Unknown, Value

_OCID: Final = re.compile(r"ocid1\.(?P<kind>[a-z0-9]+)\.")
_MADE_HERE: Final = re.compile(r"ocid1\.[a-z0-9]+\.oc1\.[a-z0-9-]*\.[0-9a-f]{60}")


class Reference(BaseModel):
    """Which kinds of resource a property names, and what happens to its owner when that one is deleted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: tuple[str, ...] = Field(alias="is")
    then: Literal["refuse", "follow", "stay"] = "refuse"


class Facts(BaseModel):
    """The facts of a type, by property path; `[*]` stands for any element."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    needs: tuple[tuple[str, ...], ...] = ()
    values: dict[str, tuple[str, ...]] = {}
    references: dict[str, Reference] = {}


@dataclass(frozen=True)
class Named:
    """A resource that another's property names."""

    path: Path
    id: str
    reference: Reference


@functools.cache
def all_facts() -> dict[str, Facts]:
    """The table, by type token."""
    text = resources.files(__package__).joinpath("oci_facts.yaml").read_text(encoding="utf-8")
    rows = yaml.load(text, Loader=yaml.CSafeLoader)
    return {token: Facts.model_validate(row) for token, row in rows.items()}


def facts(token: str) -> Facts:
    """A type's facts; a type that is not in the table has none."""
    return all_facts().get(token, Facts())


def problems(token: str, inputs: Properties) -> Iterator[Failure]:
    """Values that OCI does not know, and names that are no OCID of the right kind; unknown values pass."""
    known = facts(token)
    for group in known.needs:
        if not any(_given(inputs, parse(path)) for path in group):
            yield Failure((), f"one of {', '.join(group)} is needed")
    for pattern, values in known.values.items():
        for path, value in _at(inputs, parse(pattern), ()):
            if str(value) not in values:
                yield Failure(path, f'"{value}" is not one of {", ".join(values)}')
    for named in names(token, inputs):
        match = _OCID.match(named.id)
        if match is None:
            yield Failure(named.path, f'"{named.id}" is no OCID; an ocid1.{named.reference.kinds[0]} is wanted')
        elif match["kind"] not in named.reference.kinds:
            wanted = " or ".join(named.reference.kinds)
            yield Failure(named.path, f"an OCID of a {match['kind']}, where one of a {wanted} is wanted")


def names(token: str, inputs: Properties) -> Iterator[Named]:
    """The resources that a resource names."""
    for pattern, reference in facts(token).references.items():
        for path, value in _at(inputs, parse(pattern), ()):
            yield Named(path, str(value), reference)


def made_here(resource_id: str) -> bool:
    """Whether the rehearsal itself has given out that OCID; any other is the tenancy's own, and taken to exist."""
    return _MADE_HERE.fullmatch(resource_id) is not None


def _given(value: Value, path: Path) -> bool:
    """Whether something stands at a path, known or not."""
    for part in path:
        value = value.value if isinstance(value, Secret) else value
        if isinstance(value, Unknown):
            return True
        value = value.get(part) if isinstance(value, dict) else None
    return value is not None and value != []


def _at(value: Value, pattern: Path, path: Path) -> Iterator[tuple[Path, Value]]:
    """The known values that a pattern leads to."""
    value = value.value if isinstance(value, Secret) else value
    if isinstance(value, Unknown) or value is None:
        return
    if not pattern:
        yield path, value
    elif pattern[0] == "*" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _at(item, pattern[1:], (*path, index))
    elif isinstance(value, dict) and pattern[0] in value:
        yield from _at(value[pattern[0]], pattern[1:], (*path, pattern[0]))
