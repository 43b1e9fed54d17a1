"""A Hugging Face Hub on loopback: model info, resolve with LFS and Xet redirects to a CDN of another origin, gating.

    with HubServer() as hub:
        hub.repositories["org/name"] = Repository(folder)
        ... HF_ENDPOINT=hub.url

As a process of its own (the benchmark): `python -m tests.servers.hub FOLDER --latency 0.03` prints its URL, serves
`org/<name of each subfolder>`, and ends when its standard input closes. `GET /_count` gives requests and bytes since
the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import web

from tests.servers.loopback import LoopbackServer, ranged

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS_BYTES = 10 * 1024 * 1024
"""Files of these endings, or larger than this, are in LFS on the real Hub."""
LFS_ENDINGS = (".safetensors", ".bin", ".gguf", ".pt", ".pth")


@dataclass
class Repository:
    """A model repository whose files are those of `folder`."""

    folder: Path
    commit: str = COMMIT
    revisions: tuple[str, ...] = ("main",)
    gated: str | bool = False
    private: bool = False
    token: str | None = None
    """What a gated or private repository asks for."""
    card: dict[str, Any] = field(default_factory=dict)
    xet: bool = False

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@dataclass
class Cdn(LoopbackServer):
    """What the Hub redirects to: another origin, signed URLs, no token wanted."""

    files: dict[str, Path] = field(default_factory=dict)

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/{key}", self._file)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("signature") != "valid" or "Authorization" in request.headers:
            return web.Response(status=403, text="signature or token refused")
        return await ranged(request, self.files[request.match_info["key"]])


@dataclass
class HubServer(LoopbackServer):
    repositories: dict[str, Repository] = field(default_factory=dict)
    cdn: Cdn = field(default_factory=Cdn)

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/_count", self._count)
        app.router.add_get("/api/models/{org}/{name}", self._info)
        app.router.add_get("/api/models/{org}/{name}/revision/{revision:.+}", self._info)
        app.router.add_get("/api/resolve-cache/models/{org}/{name}/{revision}/{path:.+}", self._cached)
        app.router.add_get("/{org}/{name}/resolve/{revision}/{path:.+}", self._resolve)

    async def start(self) -> None:
        self.cdn.latency = self.latency
        await self.cdn.start()
        await super().start()

    async def stop(self) -> None:
        await super().stop()
        await self.cdn.stop()

    def _find(self, request: web.Request) -> Repository | web.Response:
        repository = self.repositories.get(f"{request.match_info['org']}/{request.match_info['name']}")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository is None or (repository.private and token != repository.token):
            return _error(401 if not token else 404, "RepoNotFound", "Repository not found")
        revision = request.match_info.get("revision", "main")
        if revision != repository.commit and revision not in repository.revisions:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository

    async def _info(self, request: web.Request) -> web.StreamResponse:
        repository = self._find(request)
        if isinstance(repository, web.Response):
            return repository
        siblings = []
        for path in repository.files():
            name, size = path.relative_to(repository.folder).as_posix(), path.stat().st_size
            sibling: dict[str, Any] = {"rfilename": name}
            if "blobs" in request.query:
                sibling |= {"size": size, "blobId": hashlib.sha1(name.encode()).hexdigest()}
                if _in_lfs(path):
                    sibling["lfs"] = {"sha256": _oid(path), "size": size, "pointerSize": 135}
            siblings.append(sibling)
        return web.json_response(
            {
                "_id": "0" * 24,
                "id": f"{request.match_info['org']}/{request.match_info['name']}",
                "sha": repository.commit,
                "private": repository.private,
                "gated": repository.gated,
                "tags": ["transformers", "safetensors"],
                "cardData": repository.card,
                "siblings": siblings,
            }
        )

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repository = self._find(request)
        if isinstance(repository, web.Response):
            return repository
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository.gated and token != repository.token:
            what = "Access to model is restricted. You must have access to it and be authenticated."
            return _error(403 if token else 401, "GatedRepo", what)
        path = repository.folder / request.match_info["path"]
        if not path.is_file():
            return _error(404, "EntryNotFound", "Entry not found")
        headers = {"X-Repo-Commit": repository.commit, "X-Linked-Size": str(path.stat().st_size)}
        if not _in_lfs(path):
            there = request.path.replace("/resolve/", "/", 1)
            return web.Response(status=307, headers={**headers, "Location": f"/api/resolve-cache/models{quote(there)}"})
        key = _oid(path)
        self.cdn.files[key] = path
        headers |= {"X-Linked-ETag": f'"{key}"', "Location": f"{self.cdn.url}/{key}?signature=valid"}
        if repository.xet:
            headers |= {"X-Xet-Hash": key, "Link": f'<{self.url}/api/xet-auth>; rel="xet-auth"'}
        return web.Response(status=302, headers=headers)

    async def _cached(self, request: web.Request) -> web.StreamResponse:
        repository = self._find(request)
        if isinstance(repository, web.Response):
            return repository
        path = repository.folder / request.match_info["path"]
        etag = hashlib.sha1(str(path).encode()).hexdigest()
        return await ranged(request, path, {"ETag": f'"{etag}"', "X-Repo-Commit": repository.commit})

    async def _count(self, request: web.Request) -> web.StreamResponse:
        count = {
            "requests": len(self.seen) - 1 + len(self.cdn.seen),
            "bytes": self.bytes_sent + self.cdn.bytes_sent,
        }
        for server in (self, self.cdn):
            server.seen.clear()
            server.bytes_sent = 0
        return web.json_response(count)


def _in_lfs(path: Path) -> bool:
    return path.suffix in LFS_ENDINGS or path.stat().st_size > LFS_BYTES


def _oid(path: Path) -> str:
    """Stands for the SHA-256 of the content, which nobody wants to compute over holes of many gigabytes."""
    return hashlib.sha256(str(path).encode()).hexdigest()


def _error(status: int, code: str, message: str) -> web.Response:
    return web.json_response(
        {"error": message}, status=status, headers={"X-Error-Code": code, "X-Error-Message": message}
    )


async def _main(folder: Path, latency: float) -> None:
    hub = HubServer(latency=latency)
    hub.repositories = {f"org/{child.name}": Repository(child) for child in sorted(folder.iterdir())}
    await hub.start()
    print(json.dumps({"url": hub.url}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await hub.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency", type=float, default=0.0)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.folder, arguments.latency))
