"""`ModelSource`: the one interface to wherever a model's files are. A new source is one small module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from ome_iac.models.metadata import ModelFile
from ome_iac.problems import Problem, ProblemsError

Report = Callable[[str], None]
"""Told in a few words what a source is waiting for."""


@dataclass(frozen=True)
class Listing:
    """All files of the model's folder, sorted by path, and what the source itself says of the model.

    `revision` is the commit, or None where only the content can tell one; `licence` and `gated` None where the source
    has no such idea.
    """

    files: tuple[ModelFile, ...]
    revision: str | None = None
    licence: str | None = None
    gated: bool | None = None

    def find(self, path: str) -> ModelFile | None:
        """The file at that path, or None."""
        return next((file for file in self.files if file.path == path), None)


class SourceError(ProblemsError):
    """The source cannot be read at all (network, credentials, no such model): nothing else need be tried."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__([Problem(where, "", what, remedy)])


class ModelSource(Protocol):
    """An async context manager; what it raises is SourceError, naming the remedy and never a credential."""

    remote: bool
    """Whether reading takes the network, and so time."""

    @property
    def place(self) -> str:
        """The server the files come from, as a lock names it."""

    def where(self, path: str) -> str:
        """What an error calls the file."""

    async def listing(self) -> Listing:
        """The files, with sizes, and their hashes where the source knows them."""

    async def read(self, file: ModelFile, start: int, length: int) -> bytes:
        """`length` bytes of the file from `start`, fewer only at its end."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def content_revision(facts: Iterable[tuple[str, int, str]]) -> str:
    """A revision for a source that keeps none: a digest over each file's path, size and whatever tells its content."""
    digest = hashlib.sha256()
    for path, size, content in sorted(facts):
        digest.update(f"{path}\0{size}\0{content}\n".encode())
    return "sha256:" + digest.hexdigest()
