"""Where Kubernetes objects live in a rehearsal: the few operations that a folder and an API server have in common."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef
from ome_iac.rehearsal.providers.package import ProviderError

Document = dict[str, Any]


class StoreError(ProviderError):
    """An operation refused; `reason` is the API's word for it: AlreadyExists, NotFound, Conflict, Invalid…"""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class KindUnknownError(StoreError):
    """No such API in this cluster: a custom resource whose definition is not installed."""

    def __init__(self, kind: ObjectKind) -> None:
        super().__init__(
            "NotFound",
            f'the cluster knows no kind "{kind.kind}" in "{kind.api_version}": install its CustomResourceDefinition '
            "first and let the resource depend on it",
        )


class StillWaitingError(Exception):
    """The time is up, or the operation was cancelled; the message says what was still missing."""


@dataclass(frozen=True)
class Waiting:
    """How long to wait, what ends it early, and whom to tell what is missing meanwhile."""

    seconds: float
    cancelled: threading.Event
    tell: Callable[[str], None]

    def until(self, missing: Callable[[], str | None]) -> None:
        """Asks `missing` again and again until it returns None; StillWaitingError with its last answer."""
        deadline = time.monotonic() + self.seconds
        told, pause = None, 0.1
        while (answer := missing()) is not None:
            if answer != told:
                self.tell(answer)
                told = answer
            if time.monotonic() >= deadline:
                raise StillWaitingError(f"not ready after {self.seconds:.0f} s: {answer}")
            if self.cancelled.wait(min(pause, max(deadline - time.monotonic(), 0.01))):
                raise StillWaitingError(f"cancelled while waiting: {answer}")
            pause = min(pause * 1.5, 2.0)


@dataclass(frozen=True)
class Owner:
    """Who writes an object: the field manager that the API keeps, and the URN for people to read."""

    manager: str
    urn: str


class ObjectStore(ABC):
    """A cluster, or what stands for one. Operations are called from many threads at once."""

    @abstractmethod
    def is_namespaced(self, kind: ObjectKind) -> bool:
        """The scope of a kind; KindUnknownError where that cannot be told."""

    @abstractmethod
    def get(self, ref: ObjectRef) -> Document | None:
        """The object as it is now."""

    @abstractmethod
    def create(self, ref: ObjectRef, document: Document, owner: Owner, dry_run: bool) -> Document:
        """Makes an object that was not there a moment ago."""

    @abstractmethod
    def apply(
        self, ref: ObjectRef, document: Document, previous: Document, owner: Owner, force: bool, dry_run: bool
    ) -> Document:
        """Makes an object say what `document` says; fields of `previous`, the owner's last word, that are no longer
        wanted go, fields of others stay."""

    @abstractmethod
    def delete(self, ref: ObjectRef, propagation: str, waiting: Waiting) -> None:
        """Removes an object and returns when it is gone; none there is no error. StillWaitingError when it stays."""

    @abstractmethod
    def wait_until_ready(self, ref: ObjectRef, waiting: Waiting) -> Document:
        """The object once it does what it is for; StillWaitingError says why it does not."""


def managers(document: Document) -> frozenset[str]:
    """The field managers that have applied the object."""
    entries = document["metadata"].get("managedFields") or []
    return frozenset(entry["manager"] for entry in entries if entry.get("operation") == "Apply")
