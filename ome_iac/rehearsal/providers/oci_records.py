"""OCI resources on disk: one JSON file each, standing for what the cloud knows.

Secret values are never written: the cloud does not give them back either. Their places hold a marker, and reading a
record takes the values from what the stack's state last knew.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ome_iac.rehearsal.providers.package import Properties, ProviderError
from ome_iac.rehearsal.providers.values import Secret, Value, mark_secrets, without_nulls

_HIDDEN: Final = {"(secret)": "not kept by the rehearsal"}


@dataclass(frozen=True)
class Record:
    """One resource: its OCID, type, the URN that made it, when, and its properties; `inputs` may hold secrets."""

    id: str
    type: str
    urn: str
    time_created: str
    inputs: Properties
    computed: Properties


class Records:
    """The resources below a folder; files are readable by their owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()

    def write(self, record: Record) -> None:
        """Writes a record whole or not at all."""
        text = json.dumps({**vars(record), "inputs": _hidden(record.inputs)}, indent=2, sort_keys=True) + "\n"
        path = self._path(record.id)
        draft = path.with_name(f".{path.name}.draft")
        with self._lock:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            draft.replace(path)

    def read(self, resource_id: str, known: Properties) -> Record | None:
        """A record, None where there is none; `known` gives back the secrets it had."""
        path = self._path(resource_id)
        try:
            record = Record(**json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ProviderError(f"{path} cannot be read: {error}") from error
        inputs = without_nulls(_shown(record.inputs, known))
        return replace(record, inputs=mark_secrets(inputs, known))

    def remove(self, resource_id: str) -> None:
        """Forgets a resource; one not there is no error."""
        path = self._path(resource_id)
        with self._lock:
            path.unlink(missing_ok=True)
            for folder in (path.parent, self.root):
                with contextlib.suppress(OSError):  # not empty, or gone
                    folder.rmdir()

    def __iter__(self) -> Iterator[Record]:
        """Every record, in the order of their ids; secrets are missing."""
        found = (self.read(path.stem, {}) for path in sorted(self.root.glob("*/*.json")))
        return (record for record in found if record is not None)

    def _path(self, resource_id: str) -> Path:
        kind = resource_id.split(".")[1] if resource_id.count(".") >= 3 else "other"
        if "/" in resource_id or not resource_id:
            raise ProviderError(f"{resource_id!r} is no OCID")
        return self.root / kind / f"{resource_id}.json"


def _hidden(value: Value) -> Any:
    if isinstance(value, Secret):
        return _HIDDEN
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    return [_hidden(item) for item in value] if isinstance(value, list) else value


def _shown(stored: Any, known: Value) -> Value:
    if stored == _HIDDEN:
        return known
    inner = known.value if isinstance(known, Secret) else known
    if isinstance(stored, dict):
        places = inner if isinstance(inner, dict) else {}
        return {key: _shown(item, places.get(key)) for key, item in stored.items()}
    if isinstance(stored, list):
        items = inner if isinstance(inner, list) and len(inner) == len(stored) else [None] * len(stored)
        return [_shown(item, other) for item, other in zip(stored, items, strict=True)]
    return stored
