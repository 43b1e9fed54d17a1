"""What changed between two plans, and why: pure comparison, and the command over git and recorded plans."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ome_iac.cli.app import app
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.plan import Plan
from ome_iac.planning.plan_diff import ItemDiff, PlanDiff, Side, compare
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from ome_iac.project import Project
from ome_iac.revisions import project_at
from tests.unit.facts import decoder, llama_70b, model, pool, service, stack, write

SMALL, LARGE = "hf://example/small", "hf://example/large"
FACTS: dict[str, ModelMetadata] = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE)}
MODELS = (model("small", SMALL), model("large", LARGE))
H100, A10 = pool("h100", "BM.GPU.H100.8"), pool("a10", "VM.GPU.A10.2")
CHAT = service("chat", "small", intent={"contextLength": 8192})
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def decide(folder: Path, *documents: dict[str, Any], facts: dict[str, ModelMetadata] = FACTS) -> Plan:
    plan, problems = plan_stack(stack(folder, *MODELS, *documents), facts)
    assert plan is not None, problems
    return plan


def between(before: Plan, after: Plan) -> PlanDiff:
    return compare("s", Side("before", before), Side("after", after))


def only_service(diff: PlanDiff) -> ItemDiff:
    [item] = diff.services
    return item


def fields(item: ItemDiff) -> dict[str, tuple[str, str]]:
    return {change.field: (change.before, change.after) for change in item.changes}


def test_the_same_plan_twice_has_no_difference(folder: Path) -> None:
    plan = decide(folder, H100, CHAT)
    assert between(plan, plan).empty


def test_a_longer_context_is_named_as_the_reason(folder: Path) -> None:
    longer = service("chat", "small", intent={"contextLength": 65536})
    found = only_service(between(decide(folder, A10, H100, CHAT), decide(folder, A10, H100, longer)))
    assert fields(found)["context"] == ("8,192 tokens", "65,536 tokens")
    assert found.why[0] == "intent.contextLength 8,192 -> 65,536"
    assert "KV cache a GPU" in fields(found)


def test_a_pool_that_went_moves_the_service_and_the_cost(folder: Path) -> None:
    diff = between(decide(folder, A10, H100, CHAT), decide(folder, H100, CHAT))
    found = only_service(diff)
    assert fields(found)["place"] == ("a10 (A10)", "h100 (H100-80GB)")
    assert fields(found)["cost"] == ("$2.00/h", "$10.00/h")
    assert "pool a10 was removed" in found.why
    assert diff.cost_per_hour
    assert (diff.cost_per_hour.before, diff.cost_per_hour.after) == ("$84.00/h", "$80.00/h")
    assert [(item.name, item.state) for item in diff.pools] == [("a10", "removed"), ("h100", "changed")]


def test_a_pool_that_shrank_is_the_reason_and_the_old_ways_own_reason_is_told(folder: Path) -> None:
    two = [service(f"c{i}", "small", intent={"contextLength": 8192}, engine={"minReplicas": 2}) for i in range(2)]
    diff = between(
        decide(folder, pool("a10", "VM.GPU.A10.2", 2), H100, *two),
        decide(folder, pool("a10", "VM.GPU.A10.2", 1), H100, *two),
    )
    found = only_service(diff)
    assert "pool a10 shrank: 2 -> 1 nodes" in found.why
    assert any("is no longer taken: a10 has 0 GPUs left" in reason for reason in found.why)


def test_a_model_that_moved_is_the_reason(folder: Path) -> None:
    moved = FACTS | {SMALL: decoder(SMALL, parameters=9_000_000_000).model_copy(update={"revision": "1" * 40})}
    diff = between(decide(folder, H100, CHAT), decide(folder, H100, CHAT, facts=moved))
    assert "the model moved: revision 0000000000 -> 1111111111" in only_service(diff).why
    assert "weights a GPU" in fields(only_service(diff))
    assert [item.name for item in diff.models] == ["small"]


def test_another_version_of_the_engine_is_the_reason(folder: Path) -> None:
    pinned = {**CHAT, "spec": {**CHAT["spec"], "runtime": {"name": "vllm==0.19.0"}}}
    found = only_service(between(decide(folder, H100, pinned), decide(folder, H100, CHAT)))
    assert "the engine's version: vllm 0.19.0 -> vllm 0.33.0" in found.why
    assert fields(found)["runtime"] == ("vllm 0.19.0", "vllm 0.33.0")


def test_another_price_is_the_reason(folder: Path) -> None:
    plan = decide(folder, H100, CHAT)
    [h100], [chat] = plan.pools, plan.services
    dearer = plan.model_copy(
        update={
            "pools": (h100.model_copy(update={"cost_per_hour": 96.0}),),
            "services": (chat.model_copy(update={"cost_per_hour": 12.0}),),
        }
    )
    found = only_service(between(plan, dearer))
    assert found.why == ("the price of BM.GPU.H100.8: $10.00/h -> $12.00/h a GPU",)


def test_services_that_came_and_went_are_said(folder: Path) -> None:
    other = service("other", "small", intent={"contextLength": 8192})
    diff = between(decide(folder, H100, CHAT), decide(folder, H100, other))
    assert [(item.name, item.state) for item in diff.services] == [
        ("default/chat", "removed"),
        ("default/other", "added"),
    ]


def test_a_neighbour_that_took_the_room_is_named(folder: Path) -> None:
    big = service("big", "small", intent={"contextLength": 8192}, engine={"minReplicas": 2})
    diff = between(decide(folder, A10, H100, CHAT), decide(folder, A10, H100, CHAT, big))
    assert {item.name: item.state for item in diff.services} == {"default/big": "added", "default/chat": "changed"}
    [_, chat] = diff.services
    assert chat.why == (
        "vllm 0.33.0 on a10, TP 1 is no longer taken: a10 has 0 GPUs left, 1 x 1 are needed",
        "other services on its pools: default/big came",
    )


def test_a_refused_side_shows_its_problems_and_compares_nothing(folder: Path) -> None:
    problem = Problem("stack.yaml:1", "InferenceService/chat", "finds no room")
    diff = compare("s", Side("before", decide(folder, H100, CHAT)), Side("after", None, [problem]))
    assert diff.refused_after == ("stack.yaml:1 InferenceService/chat: finds no room",)
    assert (diff.services, diff.pools, diff.empty) == ((), (), False)


# The command, in a repository of its own.

LLAMA = "hf://meta-llama/Llama-3.1-8B-Instruct"


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a subfolder of a repository, with one committed stack."""
    root = tmp_path / "deep" / "project"
    documents = root / "stacks" / "team"
    write(documents, model("small", LLAMA), H100, service("chat", "small", intent={"contextLength": 8192}))
    (root / "Pulumi.yaml").write_text("name: ome-iac\nruntime: python\nmain: stacks\n")
    (documents / "ome.lock").write_text((ROOT / "stacks" / "existing-cluster" / "ome.lock").read_text())
    (root / "stacks" / "Pulumi.team.yaml").write_text("config: {}\n")
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "first")
    monkeypatch.chdir(root)
    return root


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["plan", "-s", "team", *arguments])
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def test_a_commit_is_compared_with_the_working_tree_which_stays_as_it_is(repository: Path) -> None:
    assert "nothing changed" in run("--diff", "HEAD")[1]
    write(repository / "stacks/team", model("small", LLAMA), H100, service("chat", "small", intent={"concurrency": 4}))
    before = {path: path.read_bytes() for path in (repository / "stacks").rglob("*") if path.is_file()}
    code, text = run("--diff", "HEAD")
    assert code == 0
    assert "intent.concurrency 1 -> 4" in text
    assert "intent.contextLength 8,192 -> unset" in text
    assert {path: path.read_bytes() for path in (repository / "stacks").rglob("*") if path.is_file()} == before


def test_a_recorded_plan_is_compared_too_and_json_is_the_same_comparison(repository: Path) -> None:
    (repository / "plan.json").write_text(run("--json")[1])
    assert "nothing changed" in run("--diff", "plan.json")[1]
    write(repository / "stacks/team", service("second", "small", intent={"contextLength": 8192}), file="more.yaml")
    found = json.loads(run("--diff", "plan.json", "--json")[1])
    assert [(item["name"], item["state"]) for item in found["services"]] == [("default/second", "added")]


def test_a_refusal_on_either_side_is_shown(repository: Path) -> None:
    unfit = service("chat", "small", intent={"contextLength": 8192}, runtime={"name": "nope"})
    write(repository / "stacks/team", model("small", LLAMA), H100, unfit)
    code, text = run("--diff", "HEAD")
    assert code == 1
    assert "there is no runtime nope" in text
    git(repository, "commit", "-q", "-a", "-m", "broken")
    write(repository / "stacks/team", model("small", LLAMA), H100, service("chat", "small"))
    code, text = run("--diff", "HEAD")
    assert code == 0
    assert "refused HEAD" in text


def test_what_is_no_commit_and_no_plan_is_said(repository: Path) -> None:
    assert "nope is neither a plan's file nor a commit" in run("--diff", "nope")[1]
    (repository / "other.json").write_text("{}")
    assert "is no plan of this version" in run("--diff", "other.json")[1]
    assert "is neither a plan's file" in run("--diff", "--output=x")[1]


def test_a_stack_that_was_not_there_yet_is_a_refusal_of_that_side(repository: Path) -> None:
    (repository / "stacks" / "Pulumi.new.yaml").write_text("config:\n  ome-iac:documents: team\n")
    result = CliRunner().invoke(app, ["plan", "-s", "new", "--diff", "HEAD"])
    assert result.exit_code == 0
    assert "there is no stack new" in result.output


def test_weights_that_git_does_not_keep_are_those_that_lie_here(repository: Path) -> None:
    weights = repository / "stacks" / "team" / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    with project_at(Project(repository), "HEAD", "--diff") as earlier:
        assert (earlier.stacks / "team" / "weights" / "config.json").read_text() == "{}"
        assert earlier.root != repository
    assert not earlier.root.exists()
    assert weights.is_dir()
