"""How models are divided: which layers stand where, which splits are legal, and what goes over several nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ome_iac.hardware import gpus
from ome_iac.manifests import service_objects
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import all_engines, engine, nearest_legal
from ome_iac.runtimes.splits import Split, extra_before_last, extra_last
from tests.unit.facts import decoder, model, pool, service, stack
from tests.unit.ground_truth import DEEPSEEK_R1, GPT_OSS_LARGE, LLAMA_70B_FP8, MIXTRAL_8X7B, QWEN3_14B

H100 = gpus()["H100-80GB"]


def decide(
    folder: Path, facts: ModelMetadata, *pools: dict[str, Any], **spec: Any
) -> tuple[Plan | None, list[Problem]]:
    documents = (model("m", "hf://m"), *pools, service("s", "m", **spec))
    return plan_stack(stack(folder, *documents), {"hf://m": facts})


def test_layers_that_do_not_divide_go_where_each_engine_puts_them() -> None:
    assert [len(held) for held in extra_before_last(61, 4)] == [15, 15, 16, 15]
    assert [len(held) for held in extra_before_last(62, 4)] == [15, 16, 16, 15]
    assert [len(held) for held in extra_last(61, 4)] == [15, 15, 15, 16]
    assert [list(held) for held in extra_last(3, 2)] == [[0], [1, 2]]


@pytest.mark.parametrize("name", ["sglang", "vllm"])
@pytest.mark.parametrize("stages", [1, 2, 3, 4, 7])
def test_stages_together_hold_the_whole_model(name: str, stages: int) -> None:
    found = all_engines()[name].stages(DEEPSEEK_R1, Task.GENERATE, H100, Split(pipeline=stages))
    held = sum(stage.lines[0].bytes for stage in found)
    [whole] = all_engines()[name].stages(DEEPSEEK_R1, Task.GENERATE, H100, Split())
    tables = 163_840 * 64 * 2  # the rotary table is on every stage
    assert held == pytest.approx(whole.lines[0].bytes + (stages - 1) * tables, abs=stages)


def test_a_tied_embedding_stands_on_both_ends() -> None:
    facts = decoder(parameters=1_000_000_000)
    assert facts.weights is not None
    tied = facts.model_copy(
        update={
            "weights": facts.weights.model_copy(update={"by_role": {"embedding": 500_000_000, "mlp": 1_500_000_000}})
        }
    )
    [whole] = all_engines()["vllm"].stages(tied, Task.GENERATE, H100, Split())
    first, last = all_engines()["vllm"].stages(tied, Task.GENERATE, H100, Split(pipeline=2))
    assert first.lines[0].bytes == pytest.approx(last.lines[0].bytes, rel=0.01)
    assert first.lines[0].bytes > 0.6 * whole.lines[0].bytes


def test_kv_heads_are_repeated_beyond_their_number() -> None:
    narrow = decoder(kv_heads=2)
    per_request = {
        tensor: all_engines()["vllm"]
        .ledger(narrow, Task.GENERATE, H100, Split(tensor=tensor), 4096)
        .kv_bytes_per_request
        for tensor in (1, 2, 4, 8)
    }
    assert per_request[1] == 2 * per_request[2] == 2 * per_request[4] == 2 * per_request[8]


def test_a_latent_cache_is_on_every_gpu_of_a_stage_and_divided_by_stages() -> None:
    def cache(**sizes: int) -> int:
        return all_engines()["vllm"].ledger(DEEPSEEK_R1, Task.GENERATE, H100, Split(**sizes), 16).kv_bytes_per_request

    assert cache(tensor=8) == cache() == 61 * 16 * (512 + 64) * 2
    assert cache(tensor=8, pipeline=2) <= 31 * 16 * (512 + 64) * 2


def test_data_parallel_repeats_attention_divides_experts_and_has_a_cache_each() -> None:
    apart = all_engines()["vllm"].ledger(MIXTRAL_8X7B, Task.GENERATE, H100, Split(tensor=4), 8192)
    beside = all_engines()["vllm"].ledger(MIXTRAL_8X7B, Task.GENERATE, H100, Split(tensor=2, data=2), 8192)
    assert apart.lines[0].bytes < beside.lines[0].bytes < 1.1 * apart.lines[0].bytes
    assert beside.copies == 2


@pytest.mark.parametrize(
    ("name", "facts", "split", "reason"),
    [
        ("vllm", QWEN3_14B, Split(tensor=5), "the vocabulary, padded to 151936, is not divisible by 5"),
        ("vllm", QWEN3_14B, Split(tensor=3), "40 attention heads are not divisible by 3"),
        ("vllm", QWEN3_14B, Split(pipeline=41), "40 layers do not make 41 pipeline stages"),
        ("vllm", QWEN3_14B, Split(tensor=2, expert=2), "the model has no experts to divide"),
        ("vllm", MIXTRAL_8X7B, Split(tensor=4, expert=2), "is not the 4 GPUs of a stage"),
        ("sglang", MIXTRAL_8X7B, Split(tensor=16, expert=16), "8 experts are not divisible by 16"),
        ("vllm", DEEPSEEK_R1, Split(tensor=32), "an expert's 2048 rows over 32 GPUs are no multiple"),
    ],
)
def test_an_illegal_split_says_why_and_has_a_legal_neighbour(
    name: str, facts: ModelMetadata, split: Split, reason: str
) -> None:
    assert reason in "; ".join(all_engines()[name].illegal_splits(facts, split))
    nearest = nearest_legal(all_engines()[name], facts, split)
    assert nearest is not None
    assert not all_engines()[name].illegal_splits(facts, nearest)


def test_whole_experts_keep_fp8_blocks_whole() -> None:
    assert all_engines()["vllm"].illegal_splits(DEEPSEEK_R1, Split(tensor=32))
    assert not all_engines()["vllm"].illegal_splits(DEEPSEEK_R1, Split(tensor=16, expert=16))


def test_deepseek_is_refused_on_one_h100_node_and_the_second_node_is_named(tmp_path: Path) -> None:
    plan, [problem] = decide(tmp_path, DEEPSEEK_R1, pool("h100", "BM.GPU.H100.8"))
    assert plan is None
    assert "exceed the budget by" in problem.what
    assert "one node more in h100 would fit vllm 0.33.0 on h100, TP 8 x PP 2: $160.00/h" in problem.remedy


@pytest.mark.parametrize("shape", ["BM.GPU.H200.8", "BM.GPU.MI300X.8"])
def test_deepseek_fits_one_node_of_larger_gpus(tmp_path: Path, shape: str) -> None:
    plan, problems = decide(tmp_path, DEEPSEEK_R1, pool("large", shape, 2), intent={"contextLength": 32768})
    assert problems == []
    assert plan is not None
    [served] = plan.services
    assert (served.engine.nodes, served.pattern) == (1, "standard")
    assert ("rocm" in served.engine.image) is ("MI300X" in shape)


def test_deepseek_takes_two_h100_nodes_stage_by_stage_in_one_group(tmp_path: Path) -> None:
    plan, problems = decide(tmp_path, DEEPSEEK_R1, pool("h100", "BM.GPU.H100.8", 2), intent={"contextLength": 32768})
    assert problems == []
    assert plan is not None
    [served] = plan.services
    assert (served.engine.split, served.engine.nodes, served.pattern) == (Split(tensor=8, pipeline=2), 2, "multi-node")
    assert plan.pool("h100").gpus_used == 16
    assert served.engine.command[served.engine.command.index("--pipeline-parallel-size") + 1] == "2"
    assert [made["kind"] for made in service_objects(plan, served)] == ["ServiceAccount", "LeaderWorkerSet", "Service"]
    assert plan.controllers == ("leader-worker-set",)
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_nodes_without_rdma_are_not_joined(tmp_path: Path) -> None:
    plan, [problem] = decide(tmp_path, DEEPSEEK_R1, pool("l40s", "BM.GPU.A10.4", 8))
    assert plan is None
    assert "PP" not in problem.what + problem.remedy


def test_one_node_is_taken_where_it_holds_a_shorter_context_that_nobody_insisted_on(tmp_path: Path) -> None:
    facts = decoder(parameters=275_000_000_000, layers=88, heads=96, kv_heads=8, hidden=12288, intermediate=28672)
    plan, problems = decide(tmp_path, facts, pool("h100", "BM.GPU.H100.8", 4))
    assert problems == []
    assert plan is not None
    [served] = plan.services
    assert served.engine.nodes == 1
    assert served.context_length < 131072


def test_what_the_field_knows_of_two_models() -> None:
    """gpt-oss-120b runs on one H100-80, Llama-3.3-70B in FP8 needs two."""
    runtime = engine("vllm", "0.33.0")
    assert runtime.ledger(GPT_OSS_LARGE, Task.GENERATE, H100, Split(), 32768).fits
    assert not runtime.ledger(LLAMA_70B_FP8, Task.GENERATE, H100, Split(), 32768).fits
    assert runtime.ledger(LLAMA_70B_FP8, Task.GENERATE, H100, Split(tensor=2), 32768).fits


def test_flips_name_the_saving_and_are_true(tmp_path: Path) -> None:
    facts = decoder(parameters=70_553_706_496, layers=80, heads=64, hidden=8192, intermediate=28672)
    plan, _ = decide(tmp_path, facts, pool("h100", "BM.GPU.H100.8"), intent={"contextLength": 32768})
    assert plan is not None
    [served] = plan.services
    assert served.engine.split.tensor == 4
    assert "FP8 weights would fit TP 2 on h100: -$20.00/h" in served.flips


def test_more_requests_at_once_put_attention_apart_from_the_experts(tmp_path: Path) -> None:
    """A latent cache stands on every GPU of a tensor parallel group; attention apart keeps eight times as many."""
    few = {"contextLength": 16384, "concurrency": 8}
    plan, _ = decide(tmp_path, DEEPSEEK_R1, pool("h200", "BM.GPU.H200.8"), intent=few)
    assert plan is not None
    assert plan.services[0].engine.split == Split(tensor=8)
    many = few | {"concurrency": 100}
    plan, _ = decide(tmp_path, DEEPSEEK_R1, pool("h200", "BM.GPU.H200.8"), intent=many)
    assert plan is not None
    role = plan.services[0].engine
    assert role.split == Split(data=8, expert=8)
    assert (role.memory.concurrency or 0) >= 100
    assert "--data-parallel-size" in role.command
    assert "--enable-expert-parallel" in role.command
