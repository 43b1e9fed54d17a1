"""The Go programs that a rehearsal runs, built once per user into the cache folder.

A program is kept under a key of its version and a digest of everything that decides its bytes (the module's go.mod and
go.sum, the package, the flags, the platform), so that every checkout of the project shares it and a change of any of
them builds anew. The modules under `tools/` only pin: versions are read from their go.mod, nowhere else.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from ome_iac.problems import Problem, ProblemsError
from ome_iac.report.progress import step


@dataclass(frozen=True)
class GoTool:
    """A program of a Go module under `tools/`.

    `module` is its folder there, `package` what `go build` is given, `versioned_by` the required module whose version
    is the program's, `stamps` the linker's `-X` variables with `{version}`, `{major}`, `{minor}` filled in: without
    them a program built from the module proxy does not know its own version.
    """

    name: str
    module: str
    package: str
    versioned_by: str
    stamps: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The pinned version without its leading "v", such as `3.259.0`."""
        return required_version(module_folder(self.module) / "go.mod", self.versioned_by)

    @property
    def flags(self) -> tuple[str, ...]:
        """Arguments of `go build` that decide the program's bytes."""
        major, minor, *_ = self.version.split(".")
        stamps = [stamp.format(version=f"v{self.version}", major=major, minor=minor) for stamp in self.stamps]
        return ("-trimpath", "-buildvcs=false", "-ldflags", " ".join(["-s -w", *(f"-X {stamp}" for stamp in stamps)]))

    @property
    def key(self) -> str:
        """The name of its folder in the cache: version and digest."""
        folder = module_folder(self.module)
        digest = hashlib.sha256()
        for part in (
            (folder / "go.mod").read_bytes(),
            (folder / "go.sum").read_bytes(),
            "\0".join((self.package, *self.flags, platform.system(), platform.machine())).encode(),
        ):
            digest.update(len(part).to_bytes(8, "big") + part)
        return f"{self.name}-{self.version}-{digest.hexdigest()[:12]}"

    @property
    def path(self) -> Path:
        """Where the built program is, or would be: `<cache>/tools/<key>/bin/<name>`."""
        return cache_folder() / "tools" / self.key / "bin" / self.name


def cache_folder() -> Path:
    """The user's cache folder for ome-iac (`~/.cache/ome-iac` on Linux)."""
    return user_cache_path("ome-iac")


def module_folder(module: str) -> Path:
    """The folder of a tool module: packaged with ome_iac where it is installed, at the root of a checkout otherwise."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "tools"
    return (packaged if packaged.is_dir() else package.parent / "tools") / module


def required_version(go_mod: Path, module: str) -> str:
    """The version that a go.mod requires of `module`, without its leading "v"."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+v(\S+)", go_mod.read_text(), re.MULTILINE)
    if found is None:
        raise ProblemsError([Problem(str(go_mod), "require", f"{module} is not required", "restore the file from git")])
    return found[1]


def ensure(tool: GoTool, why: str) -> Path:
    """The program's path, after building it unless that was done before; `why` is shown while it builds.

    Raises ProblemsError where Go is missing or too old, or the build fails. A build that is interrupted leaves nothing
    that would be taken for a program: it is put in place by one rename.
    """
    path = tool.path
    if path.exists():
        return path
    with locked(tool.key, f"{tool.name} {tool.version} is being built by another process"):
        if not path.exists():
            _build(tool, why)
    return path


@contextmanager
def locked(key: str, waiting: str) -> Iterator[None]:
    """Hold the cache's lock named `key`, across processes; a wait is shown with the text `waiting`."""
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{key}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        with step(f"waiting: {waiting}"):
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def put_in_place(folder: Path) -> Iterator[Path]:
    """A folder to fill, renamed to `folder` when the block ends well and removed when it does not.

    The caller holds the lock of `folder`: whatever an earlier, killed process left behind is removed first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}."
    for left_behind in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(left_behind)
    draft = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


class Pinned(Protocol):
    """What is had with Go in the version that the go.mod in the folder `module` requires."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def module(self) -> str:
        """The folder below `tools/`."""

    @property
    def version(self) -> str:
        """Without its leading "v"."""


def go_problem(tool: Pinned) -> Problem | None:
    """Why this machine's Go cannot build or fetch the tool, or None when it can."""
    wanted = re.search(r"^go\s+(\d+)\.(\d+)", (module_folder(tool.module) / "go.mod").read_text(), re.MULTILINE)
    assert wanted is not None, "every go.mod has a go directive"
    need = (int(wanted[1]), int(wanted[2]))
    remedy = f"install Go {need[0]}.{need[1]} or newer and put it on PATH"
    go = shutil.which("go")
    if go is None:
        return Problem("", "go", f"not found, and it is needed for {tool.name} {tool.version}", remedy)
    # GOTOOLCHAIN=local: an older Go would otherwise fetch a whole newer one, unasked and unseen.
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    answer = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, env=environment, check=False)
    found = re.match(r"(?:devel )?go(\d+)\.(\d+)", answer.stdout.strip())
    if found is None:
        return Problem(go, "", f"does not tell its version: {(answer.stderr or answer.stdout).strip()}", remedy)
    if (int(found[1]), int(found[2])) < need:
        return Problem(go, "", f"is {answer.stdout.strip()}, too old for {tool.name} {tool.version}", remedy)
    return None


def _build(tool: GoTool, why: str) -> None:
    if problem := go_problem(tool):
        raise ProblemsError([problem])
    destination = tool.path.parent.parent
    with (
        step(f"building {tool.name} {tool.version} with Go", why) as progress,
        put_in_place(destination) as draft,
    ):
        target = draft / "bin" / tool.name
        target.parent.mkdir()
        command = ["go", "build", "-v", *tool.flags, "-o", str(target), tool.package]
        # A user's workspace, flags or toolchain switching would build something that the key does not tell.
        environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
        tail: deque[str] = deque(maxlen=20)
        process = subprocess.Popen(
            command, cwd=module_folder(tool.module), env=environment, stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            for line in process.stderr:
                progress.detail(line)
                # -v names each compiled package, a path without blanks; what is left explains a failure.
                if " " in line.strip():
                    tail.append(line.rstrip())
            process.wait()
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            said = "\n    ".join(tail) or "it said nothing"
            raise ProblemsError(
                [
                    Problem(
                        str(module_folder(tool.module)),
                        "",
                        f"go build of {tool.package} failed with status {process.returncode}:\n    {said}",
                        "the Go module proxy must be reachable, and a gigabyte of disk free",
                    )
                ]
            )
