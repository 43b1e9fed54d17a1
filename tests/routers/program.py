"""The real sglang-router in a process of its own, started as its container would be."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ome_iac.planning.serving.routing import ROUTER_IMAGE
from ome_iac.rehearsal import toolchain


@dataclass(frozen=True)
class Release:
    """A release of the router: its package, the version, and the module that starts it."""

    package: str
    version: str
    module: str


CURRENT = Release("smg", ROUTER_IMAGE.rpartition(":")[2], "smg.launch_router")
"""Package and image are released together under one version."""
FORMER = Release("sglang-router", "0.3.2", "sglang_router.launch_router")
"""The last one under its former name: the same flags."""


def packages(release: Release) -> Path:
    """The router and what it needs (130 MB), from the package registry into the user's cache folder, once."""
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    key = f"{release.package}-{release.version}-{platform.system()}-{platform.machine()}-{python}"
    folder = toolchain.cache_folder() / "tools" / key
    with toolchain.locked(key, f"{release.package} {release.version} is being fetched by another process"):
        if not folder.exists():
            with toolchain.put_in_place(folder) as draft:
                command = [
                    sys.executable,
                    "-m",
                    "pip",
                    "install",
                    "-q",
                    "--target",
                    str(draft),
                    f"{release.package}=={release.version}",
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    said = done.stderr.strip().splitlines()[-1:]
                    pytest.skip(f"{release.package} {release.version} cannot be fetched: {said}")
    return folder


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def replaced(command: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """The command with other values of some of its flags; each of them has to be there."""
    words = list(command)
    for flag, value in flags.items():
        words[words.index(flag) + 1] = value
    return words


def without(command: Sequence[str], *flags: str) -> list[str]:
    """The command without flags and their values; each of them has to be there."""
    words = list(command)
    for flag in flags:
        start = words.index(flag)
        end = next((i for i in range(start + 1, len(words)) if words[i].startswith("--")), len(words))
        del words[start:end]
    return words


@dataclass
class Router:
    """A running router."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path

    def healthy_workers(self) -> int:
        """As its readiness probe sees it."""
        try:
            answer = self.client.get("/readiness").json()
        except httpx.TransportError:
            return 0
        return int(answer.get("healthy_workers", 0))

    def wait_for(self, workers: int) -> None:
        while self.healthy_workers() != workers:
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def ask(self, text: str) -> httpx.Response:
        """A chat request of one message."""
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        return self.client.post("/v1/chat/completions", json=body)

    def answered_at_once(self, texts: Sequence[str]) -> list[str]:
        """The workers whose answers came back to requests sent at the same time."""
        with ThreadPoolExecutor(len(texts)) as pool:
            return list(pool.map(self.answered_by, texts))

    def answered_by(self, text: str) -> str:
        """The worker whose answer came back."""
        answer = self.ask(text)
        assert answer.status_code == 200, answer.text
        name: str = answer.json()["choices"][0]["message"]["content"]
        return name


@contextmanager
def running(
    command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None, release: Release = CURRENT
) -> Iterator[Router]:
    """The router of that command on ports of its own; ended with the block."""
    port, metrics = free_port(), free_port()
    words = replaced(
        command,
        {
            "--host": "127.0.0.1",
            "--port": str(port),
            "--prometheus-host": "127.0.0.1",
            "--prometheus-port": str(metrics),
        },
    )
    assert words[:3] == ["python3", "-m", CURRENT.module]
    variables = {**os.environ, "PYTHONPATH": str(packages(release)), **(environment or {})}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", release.module, *words[3:]], env=variables, stdout=output, stderr=output
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=None, trust_env=False) as client:
            yield Router(client, process, log)
    finally:
        process.kill()
        process.wait()
