"""A project's stack inside a rehearsal, without a trace of it in the project's own files.

Pulumi writes a salt for the stack's secrets into Pulumi.<stack>.yaml, which belongs to the user and to the real stack.
A rehearsal therefore gives Pulumi a copy of that file, made anew each time, with a salt of its own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ome_iac.problems import Problem, ProblemsError

SALT = "encryptionsalt"


def prepare_stack(folder: Path, project_name: str, stack: str, settings: Path, environment: Mapping[str, str]) -> Path:
    """Make the stack in the rehearsal's backend where it is not there yet; returns the settings file to use instead of
    `settings`, for `PULUMI_OPTION_CONFIG_FILE`.

    `folder` is the rehearsal's, `environment` attaches to it. Raises ProblemsError with Pulumi's own words.
    """
    here = folder / "projects" / project_name
    copy = here / f"Pulumi.{stack}.yaml"
    here.mkdir(parents=True, exist_ok=True)
    (here / "Pulumi.yaml").write_text(yaml.safe_dump({"name": project_name, "runtime": "python"}))
    command = ["pulumi", "stack", "select", "--create", "--stack", stack, "--non-interactive"]
    done = subprocess.run(command, cwd=here, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        raise ProblemsError([Problem(f"pulumi stack select {stack}", "", done.stderr.strip() or done.stdout.strip())])
    wanted = {key: value for key, value in _load(settings).items() if key != SALT}
    copy.write_text(yaml.safe_dump(wanted | {key: value for key, value in _load(copy).items() if key == SALT}))
    return copy


def _load(path: Path) -> dict[str, Any]:
    loaded = yaml.load(path.read_text(), Loader=yaml.CSafeLoader) if path.exists() else None
    return loaded if isinstance(loaded, dict) else {}
