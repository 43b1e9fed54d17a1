"""A plain web server of one folder, with ranges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from tests.servers.loopback import LoopbackServer, ranged


@dataclass
class FileServer(LoopbackServer):
    folder: Path = Path()

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/{path:.+}", self._get)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        path = self.folder / request.match_info["path"]
        if not path.is_file():
            return web.Response(status=404)
        return await ranged(request, path, {"ETag": f'"{path.stat().st_size:x}"'})
