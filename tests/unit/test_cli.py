"""The command line, as far as it needs no engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ome_iac.planning.plan import Plan
from tests.unit.facts import model, pool, service, write

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).parent / "ome-iac")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: ome-iac\nruntime: python\nmain: stacks\n")
    documents = tmp_path / "stacks" / "team"
    uri = "hf://meta-llama/Llama-3.1-8B-Instruct"
    write(documents, model("small", uri), pool("h100", "BM.GPU.H100.8"), service("chat", "small"))
    (documents / "ome.lock").write_text((ROOT / "stacks" / "existing-cluster" / "ome.lock").read_text())
    (tmp_path / "stacks" / "Pulumi.team.yaml").write_text("config: {}\n")
    return tmp_path


def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run([COMMAND, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_plan_prints_a_screen_that_names_every_decision(project: Path) -> None:
    done = run(project, "plan", "-s", "team")
    assert done.returncode == 0, done.stderr
    for part in ("stack team", "$80.00/h list", "chat", "8.03B params", "tensor parallel 1", "weights", "KV", "why"):
        assert part in done.stdout
    assert "--explain chat" in done.stdout


def test_explain_shows_every_way_not_taken(project: Path) -> None:
    short, full = run(project, "plan", "-s", "team"), run(project, "plan", "-s", "team", "--explain", "chat")
    assert len(full.stdout.splitlines()) > len(short.stdout.splitlines())
    assert "--explain" not in full.stdout


def test_plan_as_json_is_the_plan(project: Path) -> None:
    done = run(project, "plan", "-s", "team", "--json")
    plan = Plan.model_validate_json(done.stdout)
    assert json.loads(done.stdout) == plan.model_dump(by_alias=True, mode="json")


def test_the_plan_of_a_rehearsal_is_the_plan(project: Path) -> None:
    rehearsed = run(project, "plan", "-s", "team", "--rehearse", "--cluster", "--json")
    assert rehearsed.stdout == run(project, "plan", "-s", "team", "--json").stdout


def test_plan_works_from_a_folder_below(project: Path) -> None:
    assert run(project / "stacks" / "team", "plan", "-s", "team").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan", "-s", "teem"), 'there is no stack teem; did you mean "team"?'),
        (("plan",), "Missing option"),
        (("up", "-s", "team", "--cluster"), "is for rehearsals; add --rehearse"),
        (("rehearse",), "give the command to run after --"),
        (("nonsense",), "No such command"),
    ],
)
def test_a_wrong_call_is_explained_without_a_traceback(project: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(project, *arguments)
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_every_problem_is_one_line_on_stderr(project: Path) -> None:
    write(project / "stacks/team", service("a", "none"), service("b", "none"), file="more.yaml")
    done = run(project, "plan", "-s", "team")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("error stacks/team/more.yaml:")
    assert lines[2] == "2 problems; nothing was changed"


def test_help_names_every_command() -> None:
    shown = run(ROOT, "--help").stdout
    for command in ("plan", "up", "diff", "destroy", "outputs", "rehearse", "lock", "model", "engine", "cluster"):
        assert command in shown
