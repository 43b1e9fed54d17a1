"""What a rehearsed Pulumi package does, in Python data; `server.py` puts it on the wire."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ome_iac.rehearsal.providers.diffing import Change, Path, covered
from ome_iac.rehearsal.providers.values import Value

Properties = dict[str, Value]


class ProviderError(Exception):
    """An operation failed for a reason the user can act on; the message is shown as it is, one line."""


class NotReadyError(ProviderError):
    """The resource exists but did not become ready; the engine records it and tries again the next time."""

    def __init__(self, message: str, resource_id: str, outputs: Properties, inputs: Properties) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.outputs = outputs
        self.inputs = inputs


@dataclass
class Connection:
    """One engine that talks to us, for one operation: each provider resource of a program has its own.

    Several providers of one package share a port, so the connection is what tells them apart.
    """

    config: Properties = field(default_factory=dict)
    cancelled: threading.Event = field(default_factory=threading.Event)
    ids_in_state: Callable[[str], frozenset[str]] = lambda urn: frozenset()
    """The ids that the stack's state held for a URN when the operation began: tells a replacement, whose
    predecessor is there, from the rerun of a creation that was cut off before the engine heard of it."""
    tell: Callable[[str, str], None] = lambda urn, message: None
    """Shows a passing message beside a resource."""


@dataclass(frozen=True)
class Resource:
    """Which resource of the program a request is about."""

    urn: str
    type: str
    name: str


@dataclass(frozen=True)
class Failure:
    """One input that is wrong: its property path and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Naming:
    """The `pulumi:autonaming` configuration's word on one resource: a name, and how binding it is."""

    proposed: str
    mode: str


@dataclass(frozen=True)
class Difference:
    """The changes of a resource, those of them that cannot be made in place, and in which order it is replaced."""

    changes: Sequence[Change] = ()
    replacing: frozenset[Path] = frozenset()
    delete_first: bool = False

    def without(self, patterns: Sequence[Path]) -> Difference:
        """The same, with the changes left out that a pattern covers."""
        kept = [change for change in self.changes if not covered(change.path, patterns)]
        return Difference(kept, self.replacing & {change.path for change in kept}, self.delete_first)


@dataclass(frozen=True)
class Existing:
    """A resource as it lives in the cloud."""

    id: str
    outputs: Properties
    inputs: Properties


class Package(ABC):
    """A package's operations, called from many threads at once; every failure is a ProviderError."""

    name: str
    version: str

    def check_config(self, config: Properties) -> Sequence[Failure]:
        """What is wrong with a provider's own inputs."""
        return ()

    def diff_config(self, old: Properties, new: Properties) -> Difference:
        """What a changed provider means: a replacing change moves all its resources."""
        return Difference()

    def configure(self, connection: Connection) -> None:
        """Takes a provider's inputs, already in `connection.config`, before its first resource."""
        return

    @abstractmethod
    def check(
        self, connection: Connection, resource: Resource, old: Properties, new: Properties, naming: Naming | None
    ) -> tuple[Properties, Sequence[Failure]]:
        """The inputs to go on with, defaults added, and what is wrong with them; `old` is empty for a new one."""

    @abstractmethod
    def diff(
        self, connection: Connection, resource: Resource, resource_id: str, old: Properties, new: Properties
    ) -> Difference:
        """How the checked inputs differ from those last deployed."""

    @abstractmethod
    def create(
        self, connection: Connection, resource: Resource, inputs: Properties, timeout: float, preview: bool
    ) -> Existing:
        """Makes the resource; in a preview only finds out whether that would be refused (then the id is "")."""

    @abstractmethod
    def read(
        self, connection: Connection, resource: Resource, resource_id: str, inputs: Properties, outputs: Properties
    ) -> Existing | None:
        """The resource as it is now, None where it is gone; `inputs` is empty when it is being imported."""

    @abstractmethod
    def update(
        self,
        connection: Connection,
        resource: Resource,
        current: Existing,
        inputs: Properties,
        timeout: float,
        preview: bool,
    ) -> Properties:
        """Changes the resource in place; `current` is what was last deployed. Returns the outputs."""

    @abstractmethod
    def delete(self, connection: Connection, resource: Resource, current: Existing, timeout: float) -> None:
        """Removes the resource; one that is gone already is no error."""

    def invoke(self, connection: Connection, token: str, arguments: Properties) -> Mapping[str, Value]:
        """Calls a function of the package."""
        raise ProviderError(f"{token} is not rehearsed: the {self.name} rehearsal provider has no functions")
