"""From a stack's models to its lock: read anew, keep what did not change, say what did."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from ome_iac.models.lock import Lock, LockEntry
from ome_iac.models.metadata import ModelFile, ModelMetadata, Source
from ome_iac.models.read import read_listing, read_model
from ome_iac.problems import Problem, ProblemsError, did_you_mean

NEVER_LOCKED = ("local://", "vendor://")
"""A folder of this machine is read each time, without a network; a vendor's model has nothing to read."""


@dataclass(frozen=True)
class DeclaredModel:
    """A model as a document declares it: `base` is the document's folder, `where` its file:line."""

    uri: str
    base: Path
    where: str = ""


@dataclass(frozen=True)
class Change:
    """What happened to one model; `details` are facts before and after, one a line."""

    uri: str
    kind: Literal["unchanged", "added", "changed", "removed", "moved", "missing", "unused"]
    details: tuple[str, ...] = ()

    @property
    def in_order(self) -> bool:
        """Whether the lock agrees with the stack and with upstream."""
        return self.kind == "unchanged"


def lockable(models: Sequence[DeclaredModel]) -> list[DeclaredModel]:
    """Each model once, by URI, without those that are never locked."""
    found = {model.uri: model for model in models if not model.uri.startswith(NEVER_LOCKED)}
    return [found[uri] for uri in sorted(found)]


def refresh(
    lock: Lock,
    models: Sequence[DeclaredModel],
    now: datetime,
    *,
    only: Collection[str] = (),
    mirrors: Mapping[str, Path] | None = None,
) -> tuple[Lock, list[Change]]:
    """Read all models, or those named in `only`, and what the lock lacks; forget what the stack no longer names.

    An entry whose facts are the same stays as it is, time included. Raises ProblemsError with the problems of all
    models, and then nothing is changed.
    """
    wanted, changes, problems = lockable(models), list[Change](), list[Problem]()
    known = {model.uri for model in wanted}
    problems += [
        Problem(uri, "", "is no model of this stack that is locked", did_you_mean(uri, known))
        for uri in only
        if uri not in known
    ]
    for model in wanted:
        before = lock.models.get(model.uri)
        if only and model.uri not in only and before is not None:
            continue
        mirror = (mirrors or {}).get(model.uri)
        try:
            metadata = read_model(model.uri, model.base, where=model.where, mirror=mirror)
        except ProblemsError as error:
            problems += error.problems
            continue
        if before is not None and before.metadata == metadata:
            changes.append(Change(model.uri, "unchanged"))
            continue
        parameters = metadata.provenance.get("parameters")
        derived = parameters is not None and parameters.source is Source.DERIVED
        lock = lock.with_entry(model.uri, LockEntry.of(metadata, _server(model.uri, mirror), now, derived=derived))
        if before is None:
            changes.append(Change(model.uri, "added"))
        else:
            changes.append(Change(model.uri, "changed", tuple(differences(before.metadata, metadata))))
    if problems:
        raise ProblemsError(problems)
    for uri in sorted(lock.models.keys() - known):
        lock = lock.without(uri)
        changes.append(Change(uri, "removed"))
    return lock, changes


def check(lock: Lock, models: Sequence[DeclaredModel]) -> list[Change]:
    """Whether the lock has what the stack names, and upstream still is what was locked; only files are listed.

    Raises ProblemsError with the problems of all models.
    """
    wanted, changes, problems = lockable(models), list[Change](), list[Problem]()
    for model in wanted:
        entry = lock.models.get(model.uri)
        if entry is None:
            changes.append(Change(model.uri, "missing"))
            continue
        if model.uri.startswith("pvc://"):
            changes.append(Change(model.uri, "unchanged"))
            continue
        try:
            listing = read_listing(model.uri, model.base, where=model.where)
        except ProblemsError as error:
            problems += error.problems
            continue
        before = entry.metadata
        if listing.revision == before.revision:
            changes.append(Change(model.uri, "unchanged"))
        else:
            details = (f"revision: {before.revision} -> {listing.revision}", *_files(before.files, listing.files))
            changes.append(Change(model.uri, "moved", details))
    if problems:
        raise ProblemsError(problems)
    changes += [Change(uri, "unused") for uri in sorted(lock.models.keys() - {model.uri for model in wanted})]
    return changes


def differences(before: ModelMetadata, after: ModelMetadata) -> Iterator[str]:
    """The facts that differ, `name: before -> after`, files last."""
    beside = {"source", "files", "provenance"}
    old, new = (dict(_flat(facts.model_dump(mode="json", by_alias=True, exclude=beside))) for facts in (before, after))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{name}: {_shown(old.get(name))} -> {_shown(new.get(name))}"
    yield from _files(before.files, after.files)


def _files(before: Sequence[ModelFile], after: Sequence[ModelFile]) -> Iterator[str]:
    old, new = ({file.path: file for file in files} for files in (before, after))
    for path in sorted(old.keys() | new.keys()):
        one, other = old.get(path), new.get(path)
        if one is None or other is None:
            yield f"file {path}: {'removed' if other is None else 'added'}"
        elif one.size != other.size or (one.sha256 and other.sha256 and one.sha256 != other.sha256):
            yield f"file {path}: changed"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _shown(value: Any) -> str:
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return "unknown" if value is None else text if len(text) <= 80 else text[:77] + "..."


def _server(uri: str, mirror: Path | None) -> str:
    if mirror is not None:
        return "mirror"
    scheme = uri.partition("://")[0]
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co") if scheme == "hf" else scheme
