"""`oci://`: objects of an OCI bucket, through the `oci` SDK.

Credentials and endpoint come from where the OCI command line takes them: OCI_CLI_AUTH (api_key, security_token,
instance_principal, resource_principal, oke_workload_identity), OCI_CLI_CONFIG_FILE or OCI_CONFIG_FILE, OCI_CLI_PROFILE,
OCI_CLI_REGION or OCI_REGION, OCI_CLI_ENDPOINT.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import oci  # type: ignore[import-untyped]
from oci.object_storage import ObjectStorageClient  # type: ignore[import-untyped]

from ome_iac.models.http import MAX_SKIPPED, Retries, unreachable
from ome_iac.models.metadata import ModelFile
from ome_iac.models.sources.base import Listing, Report, SourceError, content_revision
from ome_iac.models.uri import ObjectStorageUri

Answer = TypeVar("Answer")

CONNECTIONS = 32
_TIMEOUT = (15, 60)  # seconds to connect, between bytes


class ObjectStorageSource:
    """The objects below a prefix."""

    remote = True

    def __init__(self, uri: ObjectStorageUri, report: Report, retries: Retries | None = None) -> None:
        self.uri = uri
        self.report = report
        self.retries = retries or Retries()
        self._etags: dict[str, str] = {}

    @property
    def place(self) -> str:
        """The endpoint of the region."""
        return str(self._client.base_client.endpoint)

    def where(self, path: str) -> str:
        """The URI of the object."""
        uri = self.uri
        parts = (f"oci://n/{uri.namespace}/b/{uri.bucket}/o", uri.prefix, path)
        return "/".join(part for part in parts if part)

    async def listing(self) -> Listing:
        """All objects below the prefix; the revision is a digest over their entity tags."""
        prefix = f"{self.uri.prefix}/" if self.uri.prefix else ""
        files: list[ModelFile] = []
        start: str | None = None
        while True:
            page = await self._call(
                self.where(""),
                partial(
                    self._client.list_objects,
                    self.uri.namespace,
                    self.uri.bucket,
                    prefix=prefix,
                    start=start,
                    fields="name,size,etag,md5",
                ),
            )
            for item in page.data.objects:
                path = item.name.removeprefix(prefix)
                if path and not path.endswith("/") and not path.startswith("."):
                    files.append(ModelFile(path=path, size=item.size or 0))
                    self._etags[path] = item.etag or item.md5 or ""
            start = page.data.next_start_with
            if not start:
                break
        if not files:
            raise SourceError(self.where(""), "no object has this prefix", "check the path inside the bucket")
        files.sort(key=lambda file: file.path)
        revision = content_revision((file.path, file.size, self._etags[file.path]) for file in files)
        return Listing(tuple(files), revision)

    async def read(self, file: ModelFile, start: int, length: int) -> bytes:
        """A range of one object, of the very content that was listed."""
        if length == 0:
            return b""
        where, name = self.where(file.path), "/".join(part for part in (self.uri.prefix, file.path) if part)

        def get() -> bytes:
            answer = self._client.get_object(
                self.uri.namespace,
                self.uri.bucket,
                name,
                range=f"bytes={start}-{start + length - 1}",
                if_match=self._etags.get(file.path) or None,
            )
            ignored = answer.status == 200
            if ignored and start + length > MAX_SKIPPED:
                what = f"the server ignores ranges, and sending all before byte {start + length:,} is too much"
                raise SourceError(where, what, "a proxy in between breaks ranges; go around it")
            skip = start if ignored else 0
            data: bytes = answer.data.raw.read(skip + length)
            answer.data.close()
            if len(data) < min(skip + length, (0 if ignored else -start) + file.size):
                raise ConnectionError("the answer was cut short")
            return data[skip : skip + length]

        return await self._call(where, get)

    async def __aenter__(self) -> Self:
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="object-storage")
        self._client = await asyncio.to_thread(_client, self.uri, self.where(""))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, where: str, call: Callable[[], Answer]) -> Answer:
        """Run a call of the SDK beside the loop, again after what may pass."""
        loop = asyncio.get_running_loop()
        for attempt in range(self.retries.attempts):
            asked = 0.0
            try:
                return await loop.run_in_executor(self._threads, call)
            except oci.exceptions.ServiceError as error:
                failure = _explain(error, where)
                if error.status != 429 and error.status < 500:
                    raise failure from None
                asked = float((error.headers or {}).get("retry-after") or 0)
                if asked > self.retries.longest_asked:
                    raise failure from None
            except (oci.exceptions.RequestException, OSError) as error:
                failure = unreachable(f"Object Storage ({self.place})", where, _reason(error))
            except oci.exceptions.ClientError as error:
                raise SourceError(where, f"no credentials that work: {error}", _CREDENTIALS) from None
            if attempt + 1 < self.retries.attempts:
                delay = asked + self.retries.delay(attempt)
                self.report(f"{failure.problems[0].what}; trying again in {delay:.0f} s")
                await asyncio.sleep(delay)
        raise failure


_CREDENTIALS = "run oci setup config, or set OCI_CLI_AUTH to instance_principal or oke_workload_identity"


def _client(uri: ObjectStorageUri, where: str) -> ObjectStorageClient:
    """A client with the environment's credentials."""
    kind = os.environ.get("OCI_CLI_AUTH", "api_key")
    region = uri.region or os.environ.get("OCI_CLI_REGION") or os.environ.get("OCI_REGION")
    options: dict[str, Any] = {"timeout": _TIMEOUT, "retry_strategy": oci.retry.NoneRetryStrategy()}
    if os.environ.get("OCI_CLI_ENDPOINT"):
        options["service_endpoint"] = os.environ["OCI_CLI_ENDPOINT"]
    try:
        if kind in _SIGNERS:
            signer = _SIGNERS[kind]()
            config = {"region": region or getattr(signer, "region", None)}
            return ObjectStorageClient(config, signer=signer, **options)
        if kind not in ("api_key", "security_token"):
            raise SourceError(
                where, f'OCI_CLI_AUTH is "{kind}"', "one of api_key, security_token, " + ", ".join(_SIGNERS)
            )
        path = os.environ.get("OCI_CLI_CONFIG_FILE") or os.environ.get("OCI_CONFIG_FILE") or oci.config.DEFAULT_LOCATION
        config = oci.config.from_file(path, os.environ.get("OCI_CLI_PROFILE", oci.config.DEFAULT_PROFILE))
        config.update({"region": region} if region else {})
        if kind == "security_token":
            key = oci.signer.load_private_key_from_file(config["key_file"], config.get("pass_phrase"))
            token = Path(config["security_token_file"]).expanduser().read_text().strip()
            options["signer"] = oci.auth.signers.SecurityTokenSigner(token, key)
        return ObjectStorageClient(config, **options)
    except SourceError:
        raise
    except oci.exceptions.ConfigFileNotFound:
        raise SourceError(where, f"no OCI configuration at {path}", _CREDENTIALS) from None
    except Exception as error:  # the SDK's signers raise whatever they meet: requests', ssl's, KeyError, ValueError
        raise SourceError(where, f"no credentials by {kind}: {_reason(error)}", _CREDENTIALS) from None


_SIGNERS: dict[str, Callable[[], Any]] = {
    "instance_principal": lambda: oci.auth.signers.InstancePrincipalsSecurityTokenSigner(),
    "resource_principal": lambda: oci.auth.signers.get_resource_principals_signer(),
    "oke_workload_identity": lambda: oci.auth.signers.get_oke_workload_identity_resource_principal_signer(),
}


def _explain(error: oci.exceptions.ServiceError, where: str) -> SourceError:
    if error.status == 401:
        return SourceError(where, "Object Storage does not accept the credentials (401)", _CREDENTIALS)
    if error.status == 404:
        what = f"no such {'bucket' if error.code == 'BucketNotFound' else 'object'}, or it is hidden ({error.code})"
        return SourceError(
            where, what, "check the URI; a policy must allow reading objects in the bucket's compartment"
        )
    if error.status == 412:
        return SourceError(where, "it changed while it was read", "try again")
    if error.status == 416:
        return SourceError(where, "is shorter than its listing says", "it changed while it was read; try again")
    if error.status == 429:
        return SourceError(where, "Object Storage limits the rate of requests (429)", "try again later")
    return SourceError(where, f"Object Storage answered {error.status} {error.code}", "try again later")


def _reason(error: BaseException) -> str:
    """What the SDK wrapped, in one line and without a URL."""
    text = str(error).split("\n")[0].split("http")[0].strip(" (:")
    return text[:120] or type(error).__name__
