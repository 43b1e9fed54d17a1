"""Faults to rehearse: which operation on which type of resource fails or stalls, how often, before or after the fact.

A faults file is JSON: `{"oci:ContainerEngine/nodePool:NodePool": {"create": {"error": "Out of host capacity.",
"times": 1}}}`. Counts are kept for one session.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal.providers.package import ProviderError

Operation = Literal["check", "create", "read", "update", "delete"]
_Result = TypeVar("_Result")


class Fault(BaseModel):
    """One fault: an `error` to report, a delay, or both."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    error: str | None = None
    """What the cloud answers; none: the operation succeeds, late."""
    times: int | None = Field(default=None, ge=1)
    """How many times it strikes in a session; every time if left out."""
    delaySeconds: float = Field(default=0.0, ge=0)  # noqa: N815 - the file's own spelling
    after: bool = False
    """Whether it strikes after the operation is done: an answer that got lost on its way."""


class _FaultsFile(RootModel[dict[str, dict[Operation, Fault]]]):
    pass


class Faults:
    """The faults of a session, by resource type and operation."""

    def __init__(self, faults: Mapping[str, Mapping[Operation, Fault]] | None = None) -> None:
        self._faults = {
            (resource_type, operation): fault
            for resource_type, operations in (faults or {}).items()
            for operation, fault in operations.items()
        }
        self._struck: dict[tuple[str, Operation], int] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path) -> Faults:
        """The faults of a file; ProblemsError with every mistake in it."""
        try:
            return cls(_FaultsFile.model_validate(json.loads(path.read_text("utf-8"))).root)
        except OSError as error:
            raise ProblemsError([Problem(str(path), "", f"cannot be read: {error.strerror}")]) from error
        except ValidationError as error:
            raise ProblemsError(
                Problem(str(path), ".".join(map(str, mistake["loc"])), mistake["msg"]) for mistake in error.errors()
            ) from error
        except ValueError as error:
            raise ProblemsError([Problem(str(path), "", f"is not JSON: {error}")]) from error

    def around(
        self, resource_type: str, operation: Operation, cancelled: threading.Event, act: Callable[[], _Result]
    ) -> _Result:
        """Runs an operation with the fault that is due for it, if any; ProviderError for an injected error."""
        fault = self._due(resource_type, operation)
        if fault is None:
            return act()
        if not fault.after:
            _strike(fault, cancelled)
        result = act()
        if fault.after:
            _strike(fault, cancelled)
        return result

    def _due(self, resource_type: str, operation: Operation) -> Fault | None:
        key = (resource_type, operation)
        fault = self._faults.get(key)
        if fault is None:
            return None
        with self._lock:
            struck = self._struck.get(key, 0)
            if fault.times is not None and struck >= fault.times:
                return None
            self._struck[key] = struck + 1
        return fault


def _strike(fault: Fault, cancelled: threading.Event) -> None:
    cancelled.wait(fault.delaySeconds)
    if fault.error is not None:
        raise ProviderError(fault.error)
