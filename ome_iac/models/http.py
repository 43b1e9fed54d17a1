"""Byte ranges over HTTP: one connection pool for a model's reading, bounded retries, errors that name the remedy.

aiohttp, because it answers a few hundred small ranged requests with a quarter of the CPU time of httpx (and reading
DeepSeek-V3's 163 headers is that); it comes with the `oci` package anyway. A signed URL is as good as a password, so no
message holds more of a URL than its host.
"""

from __future__ import annotations

import asyncio
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp

from ome_iac.models.sources.base import SourceError

CONNECTIONS = 96
CONNECTIONS_TO_A_HOST = 64
MAX_SKIPPED = 16 * 1024 * 1024
"""Bytes read in vain when a server answers a range with the whole file; beyond, the range is refused."""

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Retries:
    """How often and how patiently to try again; seconds."""

    attempts: int = 6
    first: float = 0.5
    longest: float = 20.0
    longest_asked: float = 120.0
    """A server that asks for more patience than this is reported instead."""

    def delay(self, attempt: int) -> float:
        """After the `attempt`-th failure (from 0): doubling, with jitter so that many readers spread out."""
        return random.uniform(0.5, 1.0) * min(self.longest, self.first * float(2**attempt))


Explain = Callable[[int, Mapping[str, str], str], SourceError | None]
"""Status, headers and what is read, to the error that a source makes of them; None for the general one."""


class HttpReader:
    """An async context manager. `report` is told of every wait."""

    def __init__(
        self, report: Callable[[str], None], retries: Retries | None = None, explain: Explain = lambda *_: None
    ) -> None:
        self.report = report
        self.retries = retries or Retries()
        self.explain = explain
        self._resume_at = 0.0
        self._routes: dict[tuple[str, str], dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, limit_per_host=CONNECTIONS_TO_A_HOST)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=30)
        # Not trust_env: it would send a netrc password beside a token. Proxies are looked up below.
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def read(
        self, url: str, start: int, length: int, where: str, headers: Mapping[str, str] | None = None
    ) -> bytes:
        """`length` bytes from `start`, fewer only at the file's end. `headers` go to the URL's own host alone."""
        if length == 0:
            return b""
        data, _ = await self.fetch(url, start, length, where, headers)
        return data

    async def fetch(
        self, url: str, start: int, length: int, where: str, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        """As `read`, with the answer's headers too."""
        for attempt in range(self.retries.attempts):
            await self._wait_until_resumed()
            try:
                return await self._once(url, start, length, where, headers)
            except _Transient as failure:
                if attempt + 1 == self.retries.attempts:
                    raise failure.error from None
                await self._back_off(failure, attempt)
        raise AssertionError("unreachable")

    async def _once(
        self, url: str, start: int, length: int, where: str, headers: Mapping[str, str] | None
    ) -> tuple[bytes, Mapping[str, str]]:
        asked = {**(headers or {}), "Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        host = urlsplit(url).hostname or url
        try:
            async with self._session.get(url, headers=asked, **self._route(url)) as response:
                if response.status in (200, 206):
                    return await _body(response, start, length, where), response.headers
                raise self._failed(response.status, response.headers, where, response.url.host or host)
        except aiohttp.TooManyRedirects:
            raise SourceError(where, f"{host} redirects in a circle", "the server is misconfigured") from None
        except aiohttp.ClientConnectorCertificateError:
            remedy = "set SSL_CERT_FILE to the certificate of your proxy"
            raise SourceError(where, f"{host} shows a certificate that is not trusted", remedy) from None
        except aiohttp.ClientConnectionError as error:
            raise _Transient(unreachable(host, where, _reason(error))) from None
        except (aiohttp.ClientPayloadError, TimeoutError) as error:
            what = "stopped answering" if isinstance(error, TimeoutError) else "cut the answer short"
            raise _Transient(SourceError(where, f"{host} {what}", "try again later")) from None
        except aiohttp.ClientError as error:
            raise SourceError(where, f"{host} gave an answer that is no HTTP: {_reason(error)}", "try again") from None

    def _failed(self, status: int, headers: Mapping[str, str], where: str, host: str) -> Exception:
        explained = self.explain(status, headers, where)
        if status in _TRANSIENT:
            asked = retry_after(headers)
            error = explained or busy(status, host, where, asked)
            return _Transient(error, asked) if (asked or 0) <= self.retries.longest_asked else error
        if status == 416:
            return SourceError(where, "is shorter than its listing says", "it changed while it was read; try again")
        remedies = {401: "give credentials", 403: "ask for access", 404: "check the path", 410: "check the path"}
        return explained or SourceError(where, f"{host} answered {status}", remedies.get(status, "try again later"))

    async def _back_off(self, failure: _Transient, attempt: int) -> None:
        delay = self.retries.delay(attempt)
        if failure.asked is not None:
            delay += failure.asked
            # Whoever is rate-limited is so for all requests: none is worth sending before.
            self._resume_at = max(self._resume_at, time.monotonic() + failure.asked)
        turn = f"{attempt + 2} of {self.retries.attempts}"
        self.report(f"{failure.error.problems[0].what}; trying again in {delay:.0f} s ({turn})")
        await asyncio.sleep(delay)

    async def _wait_until_resumed(self) -> None:
        wait = self._resume_at - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)

    def _route(self, url: str) -> dict[str, Any]:
        """TLS trust as the machine has it, and the proxy of the environment."""
        address = urlsplit(url)
        key = (address.scheme, address.hostname or "")
        if key not in self._routes:
            route = self._routes[key] = {}
            if address.scheme == "https":
                import truststore

                route["ssl"] = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            proxy = getproxies().get(address.scheme)
            if proxy and not proxy_bypass(key[1]):
                route["proxy"] = proxy
        return self._routes[key]


class _Transient(Exception):  # noqa: N818 - a signal
    """Worth trying again, after `asked` seconds where the server said so."""

    def __init__(self, error: SourceError, asked: float | None = None) -> None:
        self.error = error
        self.asked = asked


async def _body(response: aiohttp.ClientResponse, start: int, length: int, where: str) -> bytes:
    """The asked bytes of the answer, whether the server kept to the range (206) or ignored it (200)."""
    skip = 0
    if response.status == 206:
        said = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if said is None or int(said[1]) != start:
            what = f"asked for bytes from {start}, got {response.headers.get('Content-Range', 'no Content-Range')}"
            raise SourceError(where, what, "a proxy in between breaks ranges; go around it")
    elif start + length > MAX_SKIPPED:
        what = f"the server ignores ranges, and sending all before byte {start + length:,} is too much"
        raise SourceError(where, what, "a proxy in between breaks ranges; go around it")
    else:
        skip = start
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) >= skip + length:
            break
    return bytes(data[skip : skip + length])


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, given as seconds or as a date."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def busy(status: int, host: str, where: str, asked: float | None) -> SourceError:
    """What to say when the server goes on refusing for now."""
    if status == 429:
        when = f"in {asked:.0f} s" if asked else "later"
        return SourceError(where, f"{host} limits the rate of requests (429)", f"try again {when}, or authenticate")
    return SourceError(where, f"{host} answered {status}", "it has a problem of its own; try again later")


def unreachable(host: str, where: str, reason: str) -> SourceError:
    """What to say when there is no connection."""
    remedy = "check the network and the proxy settings; a locked model needs no network"
    return SourceError(where, f"{host} cannot be reached ({reason})", remedy)


def _reason(error: Exception) -> str:
    """The operating system's own words; aiohttp's would repeat the URL."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientOSError) and error.strerror:
        return error.strerror.lower()
    return type(error).__name__
