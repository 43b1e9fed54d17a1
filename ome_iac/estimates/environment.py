"""aiconfigurator's own Python environment in the user's cache folder, from requirements locked by hash.

NVIDIA aiconfigurator, Apache-2.0, 850 MB with its measurements, Linux on x86-64 and Python 3.11 to 3.13. It is no
dependency of ours: nothing but `ome-iac estimate` needs it. Its successor's wheels (AISimulate) are not on the package
index yet, only a placeholder that fetches them elsewhere, and pre-releases.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from ome_iac.problems import Problem, ProblemsError
from ome_iac.report.progress import step

NAME = "aiconfigurator"
PYTHONS = ((3, 11), (3, 12), (3, 13))


def requirements() -> bytes:
    """The locked requirements; `aiconfigurator.in` beside it is what they were locked from."""
    return resources.files(__package__).joinpath("aiconfigurator.txt").read_bytes()


def version() -> str:
    """The locked version of aiconfigurator, such as `0.12.0`."""
    first = requirements().decode().partition(" ")[0]
    return first.partition("==")[2]


def source() -> str:
    """What a recorded answer names as its source: `aiconfigurator 0.12.0`."""
    return f"{NAME} {version()}"


def folder() -> Path:
    """Where the environment is, or would be: one for each set of requirements and Python."""
    digest = hashlib.sha256(requirements()).hexdigest()[:12]
    tag = f"{NAME}-{version()}-py{sys.version_info.major}{sys.version_info.minor}-{digest}"
    return user_cache_path("ome-iac") / "estimators" / tag


def python() -> Path:
    """The environment's interpreter; raises ProblemsError where it is not installed."""
    found = folder() / "bin" / "python"
    if not found.exists():
        raise ProblemsError([Problem("", "", f"{source()} is not installed", "run ome-iac estimate install (850 MB)")])
    return found


def installed() -> bool:
    """Whether `python` would find one."""
    return (folder() / "bin" / "python").exists()


def install() -> Path:
    """Make the environment where there is none, and say where it is; a half-made one is never found."""
    _check_platform()
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if installed():
            return target
        made = Path(tempfile.mkdtemp(dir=target.parent, prefix=".making-"))
        try:
            with step(f"installing {source()}", "850 MB once; it measured what we would only bound"):
                _fill(made)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(made, target)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
    return target


def _check_platform() -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64") or sys.version_info[:2] not in PYTHONS:
        here = f"{platform.system()} {platform.machine()}, Python {sys.version_info.major}.{sys.version_info.minor}"
        remedy = "it needs Linux on x86_64 and Python 3.11 to 3.13; answers in ome.lock are used anywhere"
        raise ProblemsError([Problem("", "", f"{source()} has no build for {here}", remedy)])


def _fill(made: Path) -> None:
    """An environment is started by its own bin/python, which finds itself: it may be moved as long as no script is."""
    with resources.as_file(resources.files(__package__).joinpath(f"{NAME}.txt")) as file:
        _run([sys.executable, "-m", "venv", str(made)])
        uv = shutil.which("uv")
        target = str(made / "bin" / "python")
        tool = [uv, "pip", "install", "--python", target] if uv else [target, "-m", "pip", "install"]
        _run([*tool, "-q", "--require-hashes", "-r", str(file)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())[-600:]
        what = f"{Path(command[0]).name} failed while installing {source()}: {said}"
        raise ProblemsError([Problem("", "", what, "check the network and the disk, then run it again")])
