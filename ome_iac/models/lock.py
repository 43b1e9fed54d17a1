"""`ome.lock`: what was read of each model, so that a preview reads nothing and two previews say the same.

JSON, one fact a line, entries sorted by URI and each whole in itself, so that two branches that lock different models
merge without a conflict. Each entry carries a digest over itself: what was edited by hand is refused, for the planner
would believe it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, ValidationError

from ome_iac.models.config_files import parse_json
from ome_iac.models.metadata import Facts, ModelMetadata
from ome_iac.problems import Problem, ProblemsError

FILE_NAME = "ome.lock"
SCHEMA = 1
_LINE = 160
_Entry = TypeVar("_Entry", bound=Facts)
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)


class LockEntry(Facts):
    """One model as it was read."""

    metadata: ModelMetadata
    origin: Literal["read", "derived"] = Field(
        description="read: from the weights' headers; derived: counts computed from the published config alone"
    )
    locked_at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", description="UTC")
    locked_from: str = Field(description="the server the files came from, such as https://huggingface.co")

    @classmethod
    def of(cls, metadata: ModelMetadata, locked_from: str, now: datetime, *, derived: bool = False) -> Self:
        """An entry for what was read `now` (any time zone)."""
        return cls(
            metadata=metadata,
            origin="derived" if derived else "read",
            locked_at=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            locked_from=locked_from,
        )


class RecordedEstimate(Facts):
    """An estimator's answer and the exact question, in the words of `ome_iac.planning.speed`."""

    kind: Literal["speed", "pattern"]
    question: dict[str, Any]
    answer: dict[str, Any]

    @property
    def key(self) -> str:
        """Names the question: two branches that ask the same write the same line."""
        return f"{self.kind}-{_digest(self.question).removeprefix('sha256:')[:16]}"


@dataclass(frozen=True)
class Lock:
    """The entries by model URI as declared, the versions of engines and images used, and recorded estimates by key."""

    path: Path
    models: Mapping[str, LockEntry] = field(default_factory=lambda: MappingProxyType({}))
    runtimes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    estimates: Mapping[str, RecordedEstimate] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def load(cls, path: Path) -> Lock:
        """The lock at `path`, empty where there is none.

        Raises ProblemsError, each problem with its line, for a lock that was edited, cut off or left in conflict.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ProblemsError([Problem(str(path), "", f"cannot be read: {error}")]) from None
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Lock:
        """The lock that the text of `path` is; raises as `load` does."""
        return _parse(text, path)

    def get(self, uri: str) -> ModelMetadata | None:
        """What is locked of the model, or None."""
        entry = self.models.get(uri)
        return entry.metadata if entry else None

    def with_entry(self, uri: str, entry: LockEntry) -> Lock:
        """A lock with the entry added or replaced."""
        return replace(self, models=MappingProxyType({**self.models, uri: entry}))

    def without(self, uri: str) -> Lock:
        """A lock without the model."""
        return replace(self, models=MappingProxyType({key: entry for key, entry in self.models.items() if key != uri}))

    def with_runtimes(self, runtimes: Mapping[str, str]) -> Lock:
        """A lock with these engine and image versions instead."""
        return replace(self, runtimes=MappingProxyType(dict(runtimes)))

    def with_estimates(self, estimates: Iterable[RecordedEstimate]) -> Lock:
        """A lock with these estimates instead."""
        return replace(self, estimates=MappingProxyType({entry.key: entry for entry in estimates}))

    def render(self) -> str:
        """The file's text; the same lock gives the same bytes."""
        models = {uri: _plain(self.models[uri]) for uri in sorted(self.models)}
        whole = {
            "schema": SCHEMA,
            "runtimes": dict(sorted(self.runtimes.items())),
            "models": {uri: {"digest": _digest(entry), **entry} for uri, entry in models.items()},
        }
        if self.estimates:  # a lock without them is the same, byte for byte, as before there were any
            estimates = {key: _plain(self.estimates[key]) for key in sorted(self.estimates)}
            whole["estimates"] = {key: {"digest": _digest(entry), **entry} for key, entry in estimates.items()}
        return _layout(whole, 0) + "\n"

    def write(self) -> None:
        """Replace the file at once: a reader sees the old lock or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self.render())
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise


def _parse(text: str, path: Path) -> Lock:
    conflict = _CONFLICT.search(text)
    if conflict:
        where = f"{path}:{_line(text, conflict.start())}"
        remedy = "keep the entries of both sides, or take one side and run ome-iac lock"
        raise ProblemsError([Problem(where, "", "an unresolved merge conflict", remedy)])
    if not text.endswith("}\n"):
        where = f"{path}:{_line(text, len(text.rstrip()))}"
        raise ProblemsError([Problem(where, "", "the file ends too early", "restore it from git, or run ome-iac lock")])
    content = parse_json(text, str(path))
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        what = f"schema {schema!r}; this ome-iac reads {SCHEMA}"
        raise ProblemsError([Problem(f"{path}:{_line_of(text, 'schema')}", "schema", what, "run ome-iac lock")])
    models, runtimes, estimates = content.get("models"), content.get("runtimes"), content.get("estimates", {})
    problems = [
        Problem(f"{path}:{_line_of(text, key)}", key, "is not part of a lock", "remove it")
        for key in content
        if key not in ("schema", "models", "runtimes", "estimates")
    ]
    if not isinstance(models, dict):
        problems.append(Problem(str(path), "models", "must map each model's URI to what is locked of it"))
    if not isinstance(runtimes, dict) or not all(isinstance(value, str) for value in runtimes.values()):
        problems.append(Problem(str(path), "runtimes", "must map names to versions"))
    if not isinstance(estimates, dict):
        problems.append(Problem(str(path), "estimates", "must map keys to questions and answers"))
    if problems:
        raise ProblemsError(problems)
    entries: dict[str, LockEntry] = {}
    for uri, entry in models.items():
        where = f"{path}:{_line_of(text, uri)}"
        try:
            entries[uri] = _entry(uri, entry)
        except ValueError as error:
            problems.append(Problem(where, f"models.{uri}", str(error), f"run ome-iac lock --update {uri}"))
    answers: dict[str, RecordedEstimate] = {}
    for key, entry in estimates.items():
        where = f"{path}:{_line_of(text, key)}"
        try:
            answers[key] = _estimate(key, entry)
        except ValueError as error:
            problems.append(Problem(where, f"estimates.{key}", str(error), "run ome-iac estimate"))
    if problems:
        raise ProblemsError(problems)
    return Lock(path, MappingProxyType(entries), MappingProxyType(dict(runtimes)), MappingProxyType(answers))


def _entry(uri: str, entry: Any) -> LockEntry:
    parsed = _checked(entry, LockEntry)
    if parsed.metadata.source != uri:
        raise ValueError(f"is the entry of {parsed.metadata.source}")
    return parsed


def _estimate(key: str, entry: Any) -> RecordedEstimate:
    parsed = _checked(entry, RecordedEstimate)
    if parsed.key != key:
        raise ValueError(f"is the answer to {parsed.key}")
    return parsed


def _checked(entry: Any, kind: type[_Entry]) -> _Entry:
    if not isinstance(entry, dict):
        raise ValueError("is no entry")
    facts = {key: value for key, value in entry.items() if key != "digest"}
    if entry.get("digest") != _digest(facts):
        raise ValueError("was changed by hand: it does not match its digest")
    try:
        return kind.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place}: {first['msg']}; it was locked by another version of ome-iac") from None


def _plain(entry: Facts) -> dict[str, Any]:
    return entry.model_dump(mode="json", by_alias=True, exclude_none=True)


def _digest(entry: Mapping[str, Any]) -> str:
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _layout(value: Any, depth: int) -> str:
    """JSON with one line for what holds no further objects and fits, and one line for each member otherwise."""
    if not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    items = list(value.values()) if isinstance(value, dict) else value
    if depth > 1 and not any(isinstance(item, dict | list) for item in items):
        line = json.dumps(value, ensure_ascii=False)
        if len(line) + 2 * depth <= _LINE:
            return line
    if not items:
        return "{}" if isinstance(value, dict) else "[]"
    inner = "  " * (depth + 1)
    if isinstance(value, dict):
        lines = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {_layout(item, depth + 1)}" for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + "\n" + "  " * depth + "}"
    return "[\n" + ",\n".join(inner + _layout(item, depth + 1) for item in value) + "\n" + "  " * depth + "]"


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _line_of(text: str, key: str) -> int:
    found = re.search(rf"^\s*{re.escape(json.dumps(key, ensure_ascii=False))}\s*:", text, re.MULTILINE)
    return _line(text, found.end()) if found else 1
