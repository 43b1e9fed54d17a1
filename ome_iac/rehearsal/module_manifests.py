"""Kubernetes manifests that Go modules ship, taken out of them once per version into the cache folder.

No file of another project is copied into this one: the modules' versions and checksums are pinned below `tools/`, their
YAML is read from the downloaded module and kept as JSON, which the API server and Python read many times faster.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ome_iac.problems import Problem, ProblemsError
from ome_iac.rehearsal import toolchain
from ome_iac.report.progress import step

WHY = "the local API server is to know what real clusters know; once per version, for all your projects"


@dataclass(frozen=True)
class ModuleManifests:
    """Files of the Go module `source`, whose version the go.mod in the folder `module` below `tools/` pins.

    `files` are globs inside the module. `name` is the project's, for people and for the cache.
    """

    name: str
    module: str
    source: str
    files: tuple[str, ...]

    @property
    def version(self) -> str:
        """The pinned version without its leading "v"."""
        return toolchain.required_version(toolchain.module_folder(self.module) / "go.mod", self.source)

    @property
    def path(self) -> Path:
        """Where they are kept, or would be: `<cache>/manifests/<name>-<version>-<digest>/objects.json`.

        The digest is of the module's checksum and of the globs.
        """
        line = f"{self.source} v{self.version} "
        sums = (toolchain.module_folder(self.module) / "go.sum").read_text().splitlines()
        checksum = next((found for found in sums if found.startswith(line)), "")
        digest = hashlib.sha256("\0".join((line, checksum, *self.files)).encode()).hexdigest()[:12]
        return toolchain.cache_folder() / "manifests" / f"{self.name}-{self.version}-{digest}" / "objects.json"

    def load(self) -> dict[str, list[Any]]:
        """The YAML documents of each file, by its path in the module. They must have been ensured before."""
        loaded: dict[str, list[Any]] = json.loads(self.path.read_bytes())
        return loaded


def ensure(wanted: Iterable[ModuleManifests]) -> None:
    """Take out what is not in the cache yet.

    Raises ProblemsError where Go is missing or too old, the module cannot be had, its checksum is not the pinned one,
    or it has no file for a glob.
    """
    missing = [manifests for manifests in wanted if not manifests.path.exists()]
    if not missing:
        return
    with step("fetching the resource definitions of other projects", WHY) as progress:
        for manifests in missing:
            progress.detail(f"{manifests.name} {manifests.version}")
            folder = manifests.path.parent
            with toolchain.locked(folder.name, f"{manifests.name} is being fetched by another process"):
                if not folder.exists():
                    _take_out(manifests, folder)


def _take_out(manifests: ModuleManifests, destination: Path) -> None:
    module = _download(manifests)
    documents: dict[str, list[Any]] = {}
    for pattern in manifests.files:
        found = sorted(module.glob(pattern))
        if not found:
            problem = f"version {manifests.version} has no file {pattern}"
            raise ProblemsError([Problem(manifests.source, "", problem, "change the pattern with the pinned version")])
        for file in found:
            loaded = yaml.load_all(file.read_text("utf-8"), Loader=yaml.CSafeLoader)
            documents[str(file.relative_to(module))] = [document for document in loaded if document]
    with toolchain.put_in_place(destination) as draft:
        (draft / "objects.json").write_text(json.dumps(documents), "utf-8")


def _download(manifests: ModuleManifests) -> Path:
    """The module's folder in Go's own cache. Go holds it against go.sum."""
    folder = toolchain.module_folder(manifests.module)
    if unfit := toolchain.go_problem(manifests):
        raise ProblemsError([unfit])
    command = ["go", "mod", "download", "-json", f"{manifests.source}@v{manifests.version}"]
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout) if done.stdout.lstrip().startswith("{") else {}
    if done.returncode != 0 or "Dir" not in answer:
        said = answer.get("Error") or done.stderr.strip() or done.stdout.strip()
        problem = f"{manifests.source} {manifests.version} cannot be had: {said}"
        raise ProblemsError([Problem(str(folder), "", problem, "the Go module proxy must be reachable")])
    return Path(answer["Dir"])
