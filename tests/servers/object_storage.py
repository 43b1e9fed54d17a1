"""OCI Object Storage on loopback: listing in pages, ranged objects with entity tags; requests must be signed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.servers.loopback import LoopbackServer, ranged


@dataclass
class ObjectStorageServer(LoopbackServer):
    """`buckets` maps (namespace, bucket) to a folder whose files are the objects."""

    buckets: dict[tuple[str, str], Path] = field(default_factory=dict)
    page: int = 3
    """Objects of one answer to a listing."""

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/n/{namespace}/b/{bucket}/o", self._list)
        app.router.add_get("/n/{namespace}/b/{bucket}/o/{name:.+}", self._get)

    def _bucket(self, request: web.Request) -> Path | web.Response:
        if not request.headers.get("Authorization", "").startswith('Signature algorithm="rsa-sha256"'):
            return _error(
                401, "NotAuthenticated", "The required information to complete authentication was not provided."
            )
        key = (request.match_info["namespace"], request.match_info["bucket"])
        if key not in self.buckets:
            return _error(404, "BucketNotFound", "Either the bucket does not exist or you are not authorized")
        return self.buckets[key]

    async def _list(self, request: web.Request) -> web.StreamResponse:
        folder = self._bucket(request)
        if isinstance(folder, web.Response):
            return folder
        prefix, start = request.query.get("prefix", ""), request.query.get("start", "")
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        names = [name for name in names if name.startswith(prefix) and name >= start]
        objects = [
            {"name": name, "size": (folder / name).stat().st_size, "etag": _etag(folder / name)}
            for name in names[: self.page]
        ]
        answer: dict[str, object] = {"objects": objects}
        if len(names) > self.page:
            answer["nextStartWith"] = names[self.page]
        return web.json_response(answer)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        folder = self._bucket(request)
        if isinstance(folder, web.Response):
            return folder
        path = folder / request.match_info["name"]
        if not path.is_file():
            return _error(404, "ObjectNotFound", "The object was not found")
        if request.headers.get("If-Match", _etag(path)) != _etag(path):
            return _error(412, "IfMatchFailed", "The etag does not match")
        return await ranged(request, path, {"ETag": _etag(path)})


def _etag(path: Path) -> str:
    state = path.stat()
    return hashlib.md5(f"{path}{state.st_size}{state.st_mtime_ns}".encode()).hexdigest()


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)
