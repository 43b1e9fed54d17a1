"""`local://`: a folder of this machine, or one file of it."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from ome_iac.models.metadata import ModelFile
from ome_iac.models.sources.base import Listing, SourceError

MAX_FILES = 10_000
"""More than any model has; a home folder named by mistake has more."""


class LocalSource:
    """Files below `folder`; hidden files and folders (.git, .cache) are not part of a model."""

    remote = False
    place = "local"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def where(self, path: str) -> str:
        """The file's path on this machine."""
        return str(self.folder / path)

    async def listing(self) -> Listing:
        """All files below the folder."""
        if not self.folder.exists():
            raise SourceError(str(self.folder), "no such folder", "give the folder that holds the model's config.json")
        if not self.folder.is_dir():
            raise SourceError(str(self.folder), "is a file, not a folder", f"give the folder: {self.folder.parent}")
        files: list[ModelFile] = []
        try:
            for parent, folders, names in os.walk(self.folder, onerror=_raise, followlinks=False):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                for name in names:
                    path = Path(parent, name)
                    if not name.startswith(".") and path.is_file():
                        relative = path.relative_to(self.folder).as_posix()
                        files.append(ModelFile(path=relative, size=path.stat().st_size))
                if len(files) > MAX_FILES:
                    raise SourceError(
                        str(self.folder), f"holds more than {MAX_FILES:,} files", "give the folder of one model"
                    )
        except OSError as error:
            raise self._unreadable(error) from None
        return Listing(tuple(sorted(files, key=lambda file: file.path)))

    async def read(self, file: ModelFile, start: int, length: int) -> bytes:
        """A range of one file."""
        try:
            with (self.folder / file.path).open("rb") as opened:
                return os.pread(opened.fileno(), length, start)
        except OSError as error:
            raise self._unreadable(error) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _unreadable(self, error: OSError) -> SourceError:
        what = f"cannot be read: {(error.strerror or str(error)).lower()}"
        return SourceError(str(error.filename or self.folder), what, "allow this user to read it")


def _raise(error: OSError) -> None:
    raise error
