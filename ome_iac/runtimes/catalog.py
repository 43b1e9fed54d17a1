"""What a released engine supports, as `tools/refresh_catalog.py` read it from the wheel, or as its docs say."""

from __future__ import annotations

import functools
from enum import StrEnum
from importlib import resources

import yaml
from packaging.version import Version
from pydantic import BaseModel, ConfigDict


class Task(StrEnum):
    """What an engine computes for a model."""

    GENERATE = "generate"
    EMBED = "embed"
    CLASSIFY = "classify"
    REWARD = "reward"


class Catalog(BaseModel):
    """One engine at one version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: str
    version: str
    image: str
    architectures: dict[Task, frozenset[str]]
    flags: frozenset[str]
    environment: frozenset[str] = frozenset()
    """Environment variables that configure it, where it is not configured by flags."""
    source: str | None = None
    """The docs that a catalogue written by hand is from; None: read from the wheel, `make catalog-check` holds it."""

    @property
    def name(self) -> str:
        """`vllm 0.33.0`, as plans show it."""
        return f"{self.engine} {self.version}"


@functools.cache
def catalogs() -> tuple[Catalog, ...]:
    """Every engine and version in the catalogue, by engine, newest version first."""
    found = [
        Catalog.model_validate(yaml.load(file.read_text(), Loader=yaml.CSafeLoader))
        for file in resources.files(__package__).joinpath("catalog").iterdir()
        if file.name.endswith(".yaml")
    ]
    return tuple(sorted(sorted(found, key=lambda c: Version(c.version), reverse=True), key=lambda c: c.engine))


def newest(engine: str) -> Catalog:
    """The newest version of an engine in the catalogue."""
    return next(catalog for catalog in catalogs() if catalog.engine == engine)


def nearest(name: str, wanted: Version) -> Catalog:
    """The catalogue of the smallest difference in release numbers, the newer of two."""

    def distance(catalog: Catalog) -> tuple[int, ...]:
        ours, theirs = Version(catalog.version).release, wanted.release
        return tuple(abs(a - b) for a, b in zip(ours, theirs, strict=False))

    return min((catalog for catalog in catalogs() if catalog.engine == name), key=distance)
