"""`https://`: a folder behind a web server, which lists nothing: the usual names are asked for one by one."""

from __future__ import annotations

import netrc
from base64 import b64encode
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

from ome_iac.models.config_files import usual_names
from ome_iac.models.headers import all_of
from ome_iac.models.http import HttpReader, Retries
from ome_iac.models.metadata import ModelFile
from ome_iac.models.sources.base import Listing, Report, SourceError, content_revision
from ome_iac.models.weights import INDEX, parse_index

_WEIGHTS = ("model.safetensors", "model" + INDEX, "adapter_model.safetensors")


class HttpsSource:
    """The files below `url`; a netrc entry for the host is used as its password."""

    remote = True

    def __init__(self, url: str, report: Report, retries: Retries | None = None) -> None:
        self.url = url.rstrip("/")
        self._http = HttpReader(report, retries, self._explain)
        self._headers = _password(urlsplit(url).hostname or "")

    @property
    def place(self) -> str:
        """Scheme and host."""
        address = urlsplit(self.url)
        return f"{address.scheme}://{address.netloc}"

    def where(self, path: str) -> str:
        """The address of the file."""
        return f"{self.url}/{path}" if path else self.url

    async def listing(self) -> Listing:
        """The usual files that are there, and the shards that an index names."""
        found = [each for each in await all_of(*map(self._size, (*usual_names(), *_WEIGHTS))) if each]
        index = next((file for file, _ in found if file.path.endswith(INDEX)), None)
        if index is not None:
            weight_map = parse_index(await self.read(index, 0, index.size), self.where(index.path))
            shards = sorted(set(weight_map.values()))
            found += [each for each in await all_of(*map(self._size, shards)) if each]
        if not found:
            what = "none of the usual files is there: config.json, model.safetensors"
            raise SourceError(self.url, what, "give the address of the folder")
        files = tuple(sorted((file for file, _ in found), key=lambda file: file.path))
        tags = {file.path: tag for file, tag in found}
        return Listing(files, content_revision((file.path, file.size, tags[file.path]) for file in files))

    async def read(self, file: ModelFile, start: int, length: int) -> bytes:
        """A range of one file."""
        return await self._http.read(self._address(file.path), start, length, self.where(file.path), self._headers)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    def _address(self, path: str) -> str:
        return f"{self.url}/{quote(path)}"

    async def _size(self, path: str) -> tuple[ModelFile, str] | None:
        """The file with its size and entity tag, from a range of one byte (signed URLs often refuse HEAD)."""
        try:
            _, headers = await self._http.fetch(self._address(path), 0, 1, self.where(path), self._headers)
        except _MissingError:
            return None
        total = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
        if not total.isdigit():
            raise SourceError(self.where(path), "the server does not say how long it is", "use a server that does")
        return ModelFile(path=path, size=int(total)), headers.get("ETag", "")

    def _explain(self, status: int, headers: Mapping[str, str], where: str) -> SourceError | None:
        if status in (404, 410):
            return _MissingError(where, "is not there", "check the address")
        if status in (401, 403):
            remedy = "put the host's user and password into ~/.netrc" if status == 401 else "ask for access"
            return SourceError(where, f"{urlsplit(self.url).hostname} refuses it ({status})", remedy)
        return None


class _MissingError(SourceError):
    """A name that was only tried."""


def _password(host: str) -> dict[str, str]:
    try:
        entry = netrc.netrc().authenticators(host)
    except (FileNotFoundError, netrc.NetrcParseError):
        return {}
    if entry is None:
        return {}
    user, _, password = entry
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}
