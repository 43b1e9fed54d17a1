"""A copy of the project with stacks of a test's own, run by the real commands in a rehearsal of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).parent / "ome-iac")


@dataclass
class Result:
    """What a command printed and left with."""

    code: int
    out: str
    error: str

    @property
    def text(self) -> str:
        return self.out + self.error

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class ProjectCopy:
    """The project's program and settings in a temporary folder; its own packages are the ones under test."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, root: Path, *stacks: str) -> ProjectCopy:
        settings = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
        settings["runtime"]["options"]["virtualenv"] = sys.prefix
        (root / "stacks").mkdir(parents=True)
        (root / "Pulumi.yaml").write_text(yaml.safe_dump(settings))
        shutil.copy(ROOT / "stacks" / "__main__.py", root / "stacks")
        for stack in stacks:
            shutil.copytree(ROOT / "stacks" / stack, root / "stacks" / stack, symlinks=True)
            shutil.copy(ROOT / "stacks" / f"Pulumi.{stack}.yaml", root / "stacks")
        return cls(root)

    def run(self, *arguments: str) -> Result:
        """`ome-iac ...`"""
        return self.call(COMMAND, *arguments)

    def pulumi(self, *arguments: str) -> Result:
        """`pulumi ...` with the rehearsal attached."""
        return self.run("rehearse", "--", "pulumi", *arguments)

    def call(self, *command: str) -> Result:
        environment = {**os.environ, **self.environment, "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true"}
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True)
        return Result(done.returncode, done.stdout, done.stderr)

    def edit(self, file: str, change: Callable[[str], str]) -> None:
        """Change one of the stacks' files; a change that changes nothing is a broken test."""
        path = self.root / "stacks" / file
        before = path.read_text()
        after = change(before)
        assert after != before
        path.write_text(after)

    def objects(self) -> list[str]:
        """What the rehearsal's cloud and cluster hold: files below its folders."""
        folder = self.root / ".rehearsal" / "on-folder"
        held = [path for name in ("kubernetes", "oci") for path in (folder / name).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(folder)) for path in held)
