"""What a killed engine leaves behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ome_iac.rehearsal.state_repair import repair


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for folder in ("locks/organization/demo/dev", "stacks/demo"):
        (tmp_path / ".pulumi" / folder).mkdir(parents=True)
    return tmp_path


def lock(state: Path, text: str) -> Path:
    path = state / ".pulumi/locks/organization/demo/dev/one.json"
    path.write_text(text)
    return path


def held_by(pid: int, host: str = "") -> str:
    return json.dumps({"pid": pid, "hostname": host or socket.gethostname()})


def ended() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_dead_engines_lock_goes(state: Path) -> None:
    path = lock(state, held_by(ended()))
    repair(state)
    assert not path.exists()


@pytest.mark.parametrize("text", ["", '{"pid": 12', "{}", "[]"])
def test_a_half_written_lock_goes(state: Path, text: str) -> None:
    path = lock(state, text)
    repair(state)
    assert not path.exists()


def test_a_living_engines_and_another_machines_lock_stay(state: Path) -> None:
    path = lock(state, held_by(os.getpid()))
    repair(state)
    assert path.exists()
    path.write_text(held_by(ended(), "elsewhere"))
    repair(state)
    assert path.exists()


def test_half_written_attributes_go_and_nothing_else_does(state: Path) -> None:
    folder = state / ".pulumi/stacks/demo"
    for name, text in {"dev.json": "", "dev.json.attrs": "", "b.json.attrs": '{"a', "c.json.attrs": "{}"}.items():
        (folder / name).write_text(text)
    repair(state)
    assert sorted(path.name for path in folder.iterdir()) == ["c.json.attrs", "dev.json"]


def test_a_state_that_was_never_used_is_fine(tmp_path: Path) -> None:
    repair(tmp_path)
