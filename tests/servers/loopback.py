"""An aiohttp server on a free loopback port, in a thread of the test or in a process of its own.

It counts requests and bytes of bodies, adds a latency to each answer, and misbehaves where told: `fail` makes the next
answers to matching paths something else. It stops with its `with` block.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Fault:
    """An answer other than the right one, for the next `times` requests whose path matches."""

    path: re.Pattern[str]
    answer: Handler
    times: int


@dataclass
class LoopbackServer:
    """Subclasses add their routes in `routes`."""

    latency: float = 0.0
    """Seconds added before each answer."""
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    bytes_sent: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def routes(self, app: web.Application) -> None:
        raise NotImplementedError

    def fail(self, path: str, answer: Handler | int, times: int = 1, headers: dict[str, str] | None = None) -> None:
        """Answer the next `times` requests matching the regular expression `path` otherwise; an int is a status."""

        async def status(request: web.Request) -> web.StreamResponse:
            assert isinstance(answer, int)
            return web.Response(status=answer, headers=headers)

        self.faults.append(Fault(re.compile(path), status if isinstance(answer, int) else answer, times))

    async def start(self) -> None:
        app = web.Application(middlewares=[self._serve], client_max_size=2**20)
        self.routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def __enter__(self) -> LoopbackServer:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_until_complete(self.start())
            started.set()
            self._loop.run_forever()
            self._loop.run_until_complete(self.stop())
            self._loop.close()

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @web.middleware
    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        self.seen.append(Seen(request.method, request.path, headers.get("Range"), headers.get("Authorization")))
        if self.latency:
            await asyncio.sleep(self.latency)
        for fault in self.faults:
            if fault.times > 0 and fault.path.search(request.path):
                fault.times -= 1
                return await fault.answer(request)
        response = await handler(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes | bytearray):
            self.bytes_sent += len(response.body)
        return response


async def ranged(request: web.Request, path: Path, headers: dict[str, str] | None = None) -> web.Response:
    """The file, or the range of it that is asked for (206), or 416."""
    size = path.stat().st_size
    asked = request.headers.get("Range")
    extra = {"Accept-Ranges": "bytes", **(headers or {})}
    if asked is None:
        first, last, status = 0, size - 1, 200
    else:
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        assert found, f"a range nobody should send: {asked}"
        first, last, status = int(found[1]), min(int(found[2] or size - 1), size - 1), 206
        if first >= size:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{size}"})
        extra["Content-Range"] = f"bytes {first}-{last}/{size}"
    if request.method == "HEAD":
        return web.Response(status=status, headers={**extra, "Content-Length": str(last + 1 - first)})
    with path.open("rb") as file:
        body = os.pread(file.fileno(), last + 1 - first, first)
    return web.Response(status=status, body=body, headers=extra)
