"""`hf://`: the Hugging Face Hub, or whatever HF_ENDPOINT says speaks its protocol.

`huggingface_hub` lists the files and knows tokens, endpoints, revisions and gating; headers are read in ranges over our
own connections, for its reader opens six at a time and always takes 100 kB.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from huggingface_hub import HfApi, errors, hf_hub_url
from huggingface_hub.utils._headers import build_hf_headers

from ome_iac.models.http import HttpReader, Retries, busy, retry_after, unreachable
from ome_iac.models.metadata import ModelFile
from ome_iac.models.sources.base import Listing, Report, SourceError
from ome_iac.models.uri import HubUri

_LISTING_SECONDS = 30.0


class HubSource:
    """A repository at the commit its revision pointed to when it was listed."""

    remote = True

    def __init__(self, uri: HubUri, report: Report, retries: Retries | None = None) -> None:
        self.uri = uri
        self.report = report
        self.retries = retries or Retries()
        self.api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
        self.host = urlsplit(self.api.endpoint).netloc
        self.headers = build_hf_headers(library_name="ome-iac")
        self.commit = uri.revision
        self._http = HttpReader(report, self.retries, self._explain)

    @property
    def place(self) -> str:
        """The Hub's address."""
        return str(self.api.endpoint)

    def where(self, path: str) -> str:
        """The URI of the file."""
        revision = "" if self.uri.revision == "main" else f"@{self.uri.revision}"
        return "/".join(part for part in (f"hf://{self.uri.repository}{revision}", self.uri.subfolder, path) if part)

    async def listing(self) -> Listing:
        """All files at one commit, those of the subfolder only, with the SHA-256 of those in LFS."""
        info = await self._model_info()
        self.commit = info.sha or self.uri.revision
        prefix = f"{self.uri.subfolder}/" if self.uri.subfolder else ""
        files = [
            ModelFile(
                path=sibling.rfilename.removeprefix(prefix),
                size=sibling.size or 0,
                sha256=sibling.lfs.sha256 if sibling.lfs else None,
            )
            for sibling in info.siblings or ()
            if sibling.rfilename.startswith(prefix) and not sibling.rfilename.startswith(".")
        ]
        if not files:
            what = f"no folder {self.uri.subfolder}" if prefix else "the repository is empty"
            raise SourceError(self.where(""), what, "look at its files on the Hub")
        card: Mapping[str, Any] = info.card_data.to_dict() if info.card_data else {}
        licence = card.get("license_name") or card.get("license")
        return Listing(
            files=tuple(sorted(files, key=lambda file: file.path)),
            revision=info.sha,
            licence=licence if isinstance(licence, str) else None,
            gated=bool(info.gated),
        )

    async def read(self, file: ModelFile, start: int, length: int) -> bytes:
        """A range of one file at the listed commit; the token goes to the Hub, not to where it redirects."""
        url = hf_hub_url(
            self.uri.repository,
            file.path,
            subfolder=self.uri.subfolder or None,
            revision=self.commit,
            endpoint=self.api.endpoint,
        )
        return await self._http.read(url, start, length, self.where(file.path), self.headers)

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def _model_info(self) -> Any:
        import httpx2

        where = self.where("")
        for attempt in range(self.retries.attempts):
            try:
                return await asyncio.to_thread(
                    self.api.model_info,
                    self.uri.repository,
                    revision=self.uri.revision,
                    files_metadata=True,
                    timeout=_LISTING_SECONDS,
                )
            except errors.OfflineModeIsEnabled:
                remedy = "unset HF_HUB_OFFLINE, or lock the model on a machine with a network"
                raise SourceError(where, "HF_HUB_OFFLINE forbids the network", remedy) from None
            except errors.HfHubHTTPError as error:
                status, headers = error.response.status_code, error.response.headers
                asked = retry_after(headers)
                failure = self._explain(status, headers, where) or busy(status, self.host, where, asked)
                if (status != 429 and status < 500) or (asked or 0) > self.retries.longest_asked:
                    raise failure from None
            except httpx2.TransportError as error:
                asked = None
                failure = unreachable(self.host, where, type(error).__name__)
            if attempt + 1 < self.retries.attempts:
                delay = (asked or 0) + self.retries.delay(attempt)
                self.report(f"{failure.problems[0].what}; trying again in {delay:.0f} s")
                await asyncio.sleep(delay)
        raise failure

    def _explain(self, status: int, headers: Mapping[str, str], where: str) -> SourceError | None:
        """The Hub's own error codes, in what the reader of a plan can do about them."""
        code, token = headers.get("X-Error-Code", ""), "authorization" in self.headers
        page = f"{self.api.endpoint}/{self.uri.repository}"
        if code == "GatedRepo":
            if token:
                return SourceError(where, "is gated, and HF_TOKEN's account has no access", f"ask for it at {page}")
            return SourceError(where, "is gated, and there is no token", f"accept its terms at {page} and set HF_TOKEN")
        if code == "RevisionNotFound":
            what = f"has no revision {self.uri.revision}"
            return SourceError(where, what, f"it was moved or removed upstream; see {page}/commits")
        if code == "EntryNotFound":
            return SourceError(where, "was removed upstream since it was listed", "try again")
        if status == 401 and "credential" in headers.get("X-Error-Message", "").lower():
            return SourceError(where, "the Hub does not accept HF_TOKEN", "it is mistyped or expired; make a new one")
        if code == "RepoNotFound" or status == 401:
            remedy = "check the name; for a private model HF_TOKEN must be of an account that may read it"
            return SourceError(where, f"{self.host} has no such model, or hides it", remedy)
        if status == 403:
            return SourceError(where, "access is forbidden", "HF_TOKEN must have the right to read this repository")
        return None
