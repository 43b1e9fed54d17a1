"""The Pulumi engine: the `pulumi` program that everything is deployed with.

It is looked for in this order, and the first that does is taken:
1. `pulumi` on PATH, of a fitting version and with a Python language host;
2. what an earlier call put into the user's cache folder;
3. the SDK's own installer (`pulumi.automation.PulumiCommand.install`), which downloads Pulumi's release;
4. `go build` of the module pinned in tools/engine, with our own language host (host.py) beside it.

A version fits from the pinned one up to, not including, 4: an engine runs programs of an older SDK of its major
version, not of a newer one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.version import InvalidVersion, Version

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal import toolchain
from ome_iac.rehearsal.toolchain import GoTool
from ome_iac.report.progress import step

PULUMI = GoTool(
    name="pulumi",
    module="engine",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    versioned_by="github.com/pulumi/pulumi/pkg/v3",
    stamps=("github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={version}",),
)
LANGUAGE_HOST = "pulumi-language-python"
HOST_FILES = ("host.py", "host_program.py", "host_launcher.sh")
DOWNLOAD_SECONDS = 600.0
WHY = "it previews and deploys your stacks; once per version, for all your projects"

# The download runs in its own process, so that it can be ended: nothing in it has a time limit. A connection that says
# nothing for 20 seconds is given up.
INSTALLER = """
import socket, sys
socket.setdefaulttimeout(20)
from semver import VersionInfo
from pulumi.automation import PulumiCommand
try:
    PulumiCommand.install(root=sys.argv[1], version=VersionInfo.parse(sys.argv[2]))
except Exception as error:
    output = getattr(error, "output", None)
    sys.exit(f"{type(error).__name__}: {error}" + (f": {output.decode(errors='replace').strip()}" if output else ""))
"""


@dataclass(frozen=True)
class Engine:
    """A `pulumi` ready to run: `root` is what `pulumi.automation.PulumiCommand(root)` takes, `pulumi` the program."""

    pulumi: Path
    root: Path
    version: str
    origin: Literal["path", "installed", "built"]


def find_engine() -> Engine | None:
    """The engine of PATH or of the cache; None where `ensure_engine` would have to download or build one.

    Raises ProblemsError where the pinned version cannot be read.
    """
    return _on_path() or _built() or _installed()


def ensure_engine() -> Engine:
    """The engine, after downloading or building it where there is none yet.

    Raises ProblemsError, one problem that names the three ways and why each fails here.
    """
    found = find_engine()
    if found is not None:
        return found
    with toolchain.locked(f"engine-{PULUMI.version}", f"pulumi {PULUMI.version} is being installed by another process"):
        found = find_engine()
        if found is not None:
            return found
        try:
            _download()
        except _DownloadError as error:
            if problem := toolchain.go_problem(PULUMI):
                raise ProblemsError([_no_way(error, problem)]) from None
            toolchain.ensure(PULUMI, WHY)
        made = find_engine()
    assert made is not None, "both ways either leave an engine or raise"
    return made


def _no_way(no_download: _DownloadError, no_go: Problem) -> Problem:
    return Problem(
        "",
        "pulumi",
        f"none of version {PULUMI.version} or newer on PATH; the download failed ({no_download}); "
        f"it cannot be built: {no_go.where or no_go.path} {no_go.what}",
        f"either put pulumi {PULUMI.version} or newer on PATH, or allow the download from get.pulumi.com, "
        "or install Go with access to a module proxy",
    )


def _on_path() -> Engine | None:
    found = shutil.which("pulumi")
    if found is None:
        return None
    program = Path(found)
    if program.resolve() == PULUMI.path.resolve():
        return _built()
    version = _version_of(program)
    if version is None or not Version(PULUMI.version) <= version < Version("4"):
        return None
    # The engine itself looks for the host on PATH, then beside itself with links resolved.
    beside = program.resolve().parent / LANGUAGE_HOST
    if not beside.exists() and shutil.which(LANGUAGE_HOST) is None:
        return None
    # PulumiCommand takes a root with bin/pulumi in it; a program kept elsewhere gets one that links to it.
    root = program.parent.parent if program.parent.name == "bin" else _linked_root(program)
    return Engine(root / "bin" / "pulumi", root, str(version), "path")


def _linked_root(program: Path) -> Path:
    root = toolchain.cache_folder() / "engine" / f"path-{hashlib.sha256(bytes(program)).hexdigest()[:12]}"
    link = root / "bin" / "pulumi"
    if not (link.is_symlink() and link.readlink() == program):
        link.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=root)) / "pulumi"
        draft.symlink_to(program)
        draft.replace(link)
        draft.parent.rmdir()
    return root


def _version_of(program: Path) -> Version | None:
    try:
        answer = subprocess.run(
            [program, "version"],
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Version(answer.stdout.strip())
    except (OSError, subprocess.TimeoutExpired, InvalidVersion):
        return None


def _built() -> Engine | None:
    program = PULUMI.path
    if not program.exists():
        return None
    place_language_host(program.parent)
    return Engine(program, program.parent.parent, PULUMI.version, "built")


def _installed() -> Engine | None:
    root = _download_root()
    program = root / "bin" / "pulumi"
    return Engine(program, root, PULUMI.version, "installed") if program.exists() else None


def _download_root() -> Path:
    return toolchain.cache_folder() / "engine" / f"pulumi-{PULUMI.version}"


class _DownloadError(Exception):
    """Why there is no downloaded engine."""


def _download() -> None:
    """Put an engine in place with the SDK's installer, or raise _DownloadError."""
    with (
        step(f"downloading pulumi {PULUMI.version}", WHY),
        toolchain.put_in_place(_download_root()) as draft,
        tempfile.TemporaryFile("w+") as said,
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", INSTALLER, str(draft), PULUMI.version],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            start_new_session=True,
        )
        try:
            status = process.wait(DOWNLOAD_SECONDS)
        except subprocess.TimeoutExpired:
            raise _DownloadError(f"not done after {DOWNLOAD_SECONDS:.0f} s") from None
        finally:
            # The installer runs a shell script that runs curl: end all of them.
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        said.seek(0)
        if status != 0:
            raise _DownloadError(" ".join(said.read().split()) or f"status {status}")
        if not (draft / "bin" / "pulumi").exists():
            raise _DownloadError("the installer left no program")


def place_language_host(folder: Path) -> None:
    """Put our Python language host beside a built engine, or renew it there when its source has changed.

    The files go to a folder named by their digest, and the launcher that names it is replaced by one rename: a program
    that runs meanwhile keeps the files it was started with.
    """
    sources = {name: Path(__file__).with_name(name).read_bytes() for name in HOST_FILES}
    digest = hashlib.sha256(b"\0".join(sources[name] for name in HOST_FILES)).hexdigest()[:12]
    launcher = folder / LANGUAGE_HOST
    text = sources.pop("host_launcher.sh").replace(b"@DIGEST@", digest.encode())
    if launcher.exists() and launcher.read_bytes() == text:
        return
    with toolchain.locked(f"language-host-{digest}", "the Python language host is being installed by another process"):
        files = folder / f"language-host-{digest}"
        if not files.exists():
            with toolchain.put_in_place(files) as draft:
                for name, content in sources.items():
                    (draft / name).write_bytes(content)
        draft_launcher = files / LANGUAGE_HOST
        draft_launcher.write_bytes(text)
        draft_launcher.chmod(0o755)
        draft_launcher.replace(launcher)
