"""Prefill and decode apart: what the planner pairs, sizes, tells both sides, and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ome_iac.hardware import GIB
from ome_iac.models.metadata import Attention, ModelMetadata
from ome_iac.planning.candidates import search
from ome_iac.planning.demand import demand_of
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.planning.planner import plan_stack
from ome_iac.planning.pools import declared_pools
from ome_iac.planning.proofs import Proofs
from ome_iac.planning.serving.disaggregation import Replicas, pair_up
from ome_iac.planning.serving.handover import disagreements, needs_staging
from ome_iac.problems import Problem
from ome_iac.runtimes.catalog import Task, newest
from ome_iac.runtimes.engines import all_engines
from ome_iac.spec.platform import RdmaNetwork
from ome_iac.spec.services import Intent
from tests.unit.facts import decoder, encoder, llama_70b, model, pool, service, stack

SMALL, LARGE, TEXT = "hf://example/small", "hf://example/large", "hf://example/text"
FACTS = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE), TEXT: encoder(TEXT)}
MODELS = (model("small", SMALL), model("large", LARGE), model("text", TEXT))
GATEWAY = {
    "apiVersion": "ome-iac/v1",
    "kind": "Platform",
    "metadata": {"name": "platform"},
    "spec": {"ingress": {"kind": "gateway", "parent": "edge/public"}},
}
H100 = pool("h100", "BM.GPU.H100.8", 2)


def apart(name: str = "chat", model_name: str = "small", **spec: Any) -> dict[str, Any]:
    intent = {"pattern": "prefill-decode", "contextLength": 8192, **spec.pop("intent", {})}
    return service(name, model_name, intent=intent, **spec)


def decide(folder: Path, *documents: dict[str, Any], facts: dict[str, ModelMetadata] = FACTS) -> Plan:
    plan, problems = plan_stack(stack(folder, *MODELS, *documents), facts)
    assert problems == []
    assert plan is not None
    return plan


def one(folder: Path, *documents: dict[str, Any], facts: dict[str, ModelMetadata] = FACTS) -> ServicePlan:
    [decided] = decide(folder, *documents, facts=facts).services
    return decided


def refuse(folder: Path, *documents: dict[str, Any], facts: dict[str, ModelMetadata] = FACTS) -> Problem:
    plan, [problem] = plan_stack(stack(folder, *MODELS, *documents), facts)
    assert plan is None
    return problem


def flag(role: RolePlan, name: str) -> str:
    return role.command[role.command.index(name) + 1]


def test_a_pattern_makes_two_roles_each_with_its_own_ledger(tmp_path: Path) -> None:
    chat = one(tmp_path, H100, apart(engine={"minReplicas": 2}, decoder={"minReplicas": 3}))
    prefill, decode = chat.roles
    assert (chat.pattern, prefill.role, decode.role) == ("prefill-decode", "prefill", "decode")
    assert (prefill.replicas, decode.replicas) == (2, 3)
    assert chat.engine is decode
    assert prefill.memory.context_length == decode.memory.context_length == chat.context_length == 8192
    assert chat.cost_per_hour == prefill.cost_per_hour + decode.cost_per_hour


def test_a_decoder_in_omes_document_is_the_same_as_the_pattern(tmp_path: Path) -> None:
    chat = one(tmp_path, H100, service("chat", "small", decoder={}))
    assert [role.role for role in chat.roles] == ["prefill", "decode"]


def test_decode_is_as_large_as_its_share_of_the_requests_and_prefill_as_one(tmp_path: Path) -> None:
    asked = {"contextLength": 32768, "concurrency": 24}
    chat = one(tmp_path, H100, apart(model_name="large", intent=asked, runtime={"name": "sglang"}))
    prefill, decode = chat.roles
    assert prefill.split.tensor <= decode.split.tensor
    assert decode.memory.concurrency is not None
    assert decode.memory.concurrency >= 24
    two = one(tmp_path, H100, apart(model_name="large", intent=asked, decoder={"minReplicas": 2}))
    assert two.engine.memory.concurrency is not None
    assert two.engine.memory.concurrency >= 12


def test_without_a_gateway_sglang_is_taken_whose_router_needs_none(tmp_path: Path) -> None:
    chat = one(tmp_path, H100, apart())
    assert chat.router is not None
    assert [role.runtime.split()[0] for role in chat.roles] == ["sglang", "sglang"]
    assert chat.router.kind == "sglang-router"
    problem = refuse(tmp_path, H100, apart(runtime={"name": "vllm"}))
    assert problem.path == "InferenceService/chat spec.intent.pattern"
    assert "there is no gateway" in problem.what
    assert "runtime sglang" in problem.remedy


def test_sglang_is_told_its_mode_its_backend_and_where_to_begin(tmp_path: Path) -> None:
    prefill, decode = one(tmp_path, H100, apart()).roles
    for role in (prefill, decode):
        assert flag(role, "--disaggregation-mode") == role.role
        assert flag(role, "--disaggregation-transfer-backend") == "nixl"
        assert flag(role, "--disaggregation-bootstrap-port") == "8998"
        assert flag(role, "--page-size") == "64"


def test_vllm_is_told_who_produces_and_listens_behind_its_proxy(tmp_path: Path) -> None:
    prefill, decode = one(tmp_path, H100, GATEWAY, apart(runtime={"name": "vllm"})).roles
    assert (prefill.port, decode.port) == (8000, 8200) == tuple(int(flag(role, "--port")) for role in (prefill, decode))
    for role, side in ((prefill, "kv_producer"), (decode, "kv_consumer")):
        transfer = json.loads(flag(role, "--kv-transfer-config"))
        assert (transfer["kv_connector"], transfer["kv_role"]) == ("NixlConnector", side)
        assert flag(role, "--block-size") == "128"
        environment = dict(role.environment)
        assert environment["VLLM_NIXL_SIDE_CHANNEL_HOST"] == "$(POD_IP)"
        assert environment["VLLM_NIXL_SIDE_CHANNEL_PORT"] == "5600"
        assert int(environment["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"]) > 90


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_every_flag_exists_in_the_engine_and_both_sides_are_of_one_version(tmp_path: Path, engine: str) -> None:
    prefill, decode = one(tmp_path, H100, GATEWAY, apart(runtime={"name": engine})).roles
    known = newest(engine).flags
    for role in (prefill, decode):
        assert {word for word in role.command if word.startswith("--")} <= {f"--{f.lstrip('-')}" for f in known}
    assert (prefill.runtime, prefill.image) == (decode.runtime, decode.image)


def test_pods_are_on_the_rdma_network_and_ucx_is_told(tmp_path: Path) -> None:
    for role in one(tmp_path, H100, apart()).roles:
        assert role.fabric is not None
        assert (role.fabric.mode, role.fabric.devices) == ("rdma-vf", 2 * role.gpus_per_node)
        environment = dict(role.environment)
        assert environment["UCX_TLS"].split(",")[0] == "rc"
        assert environment["UCX_IB_GID_INDEX"] == "3"
        assert "UCX_NET_DEVICES" not in environment


def test_on_the_nodes_own_network_ucx_is_kept_off_the_front_end(tmp_path: Path) -> None:
    host = {**GATEWAY, "spec": {"rdma": {"mode": "host"}}}
    chat = one(tmp_path, H100, host, apart(model_name="large", intent={"tensorParallel": 8}))
    devices = dict(chat.engine.environment)["UCX_NET_DEVICES"].split(",")
    assert len(devices) == 16
    assert "mlx5_2:1" not in devices


def test_part_of_a_node_on_its_own_network_is_refused(tmp_path: Path) -> None:
    host = {**GATEWAY, "spec": {"rdma": {"mode": "host"}}}
    problem = refuse(tmp_path, H100, host, apart(intent={"tensorParallel": 2}))
    assert "2 of 8 GPUs would share the node's own network and its ports" in problem.what
    assert "virtual functions" in problem.remedy


def test_without_rdma_both_stand_on_one_node_or_not_at_all(tmp_path: Path) -> None:
    chat = one(tmp_path, pool("a10", "BM.GPU.A10.4"), apart(intent={"contextLength": 4096}))
    assert chat.together
    assert all(role.fabric is None for role in chat.roles)
    assert all(dict(role.environment)["UCX_TLS"].startswith("tcp") for role in chat.roles)
    assert any("all pods stand on one node" in note for note in chat.notes)
    many = apart(intent={"contextLength": 4096}, engine={"minReplicas": 3}, decoder={"minReplicas": 3})
    problem = refuse(tmp_path, pool("a10", "BM.GPU.A10.4", 4), many)
    assert "has no RDMA network" in problem.what
    assert "BM.GPU.H100.8" in problem.remedy


def mismatches(folder: Path, facts: ModelMetadata, engine: str, prefill: int, decode: int) -> list[str]:
    """What is wrong with tensor parallel of these sizes, of ways that fit each by itself."""
    pools = declared_pools(stack(folder, H100))
    asked = Intent(context_length=2048)
    before, after = (
        demand_of(facts, Task.GENERATE, asked.model_copy(update={"tensor_parallel": size}), 1, 0)
        for size in (prefill, decode)
    )
    ways = [search(facts, demand, [all_engines()[engine]], pools, Proofs()).fitting for demand in (before, after)]
    assert all(ways)
    found = pair_up(facts, after, ways[0], ways[1], Replicas(1, 1), RdmaNetwork(), picker=True)
    assert bool(found.fitting) != bool(found.mismatches)
    return [each.what for each in found.mismatches]


WIDE = decoder("hf://example/wide", heads=24, kv_heads=24, hidden=3072)


def test_tensor_parallel_sizes_of_which_neither_is_a_multiple_are_refused(tmp_path: Path) -> None:
    for engine in ("vllm", "sglang"):
        [what] = mismatches(tmp_path, WIDE, engine, 2, 3)
        assert "neither is a multiple of the other" in what
        assert mismatches(tmp_path, WIDE, engine, 2, 4) == []


def test_vllm_does_not_undo_heads_that_prefill_repeats(tmp_path: Path) -> None:
    few = decoder("hf://example/few", kv_heads=2)
    [what] = mismatches(tmp_path, few, "vllm", 8, 4)
    assert "prefill repeats its 2 KV heads" in what
    assert mismatches(tmp_path, few, "sglang", 8, 4) == []
    assert mismatches(tmp_path, few, "vllm", 4, 8) == []


def test_sglang_regroups_heads_in_a_buffer_that_the_ledger_leaves_room_for(tmp_path: Path) -> None:
    asked = {"contextLength": 65536, "concurrency": 12}
    chat = one(tmp_path, H100, apart(model_name="large", intent=asked, runtime={"name": "sglang"}))
    prefill, decode = chat.roles
    assert prefill.split.tensor != decode.split.tensor
    for role in chat.roles:
        assert dict(role.environment)["SGLANG_DISAGG_STAGING_BUFFER"] == "1"
        assert role.tuning.gpu_memory_utilization is not None
        assert role.memory.total - role.memory.budget >= 4 * GIB
        assert flag(role, "--mem-fraction-static") == str(role.tuning.gpu_memory_utilization)


def test_a_router_of_the_other_kind_does_not_join_a_pair(tmp_path: Path) -> None:
    problem = refuse(
        tmp_path, H100, GATEWAY, apart(runtime={"name": "vllm"}, router={"config": {"kind": "sglang-router"}})
    )
    assert problem.path == "InferenceService/chat spec.router.config.kind"
    assert problem.remedy == "endpoint-picker"


def test_sides_that_were_told_different_things_are_found(tmp_path: Path) -> None:
    prefill, decode = one(tmp_path, H100, GATEWAY, apart(runtime={"name": "vllm"})).roles
    assert disagreements(prefill, decode) == ()
    at = decode.command.index("--block-size") + 1
    other = decode.model_copy(
        update={
            "command": (*decode.command[:at], "16", *decode.command[at + 1 :], "--kv-cache-dtype", "fp8_e4m3"),
            "runtime": "vllm 0.19.0",
        }
    )
    assert [each.what for each in disagreements(prefill, other)] == [
        "prefill has engine vllm 0.33.0 and decode vllm 0.19.0",
        "prefill has --block-size 128 and decode 16",
        "prefill has --kv-cache-dtype by default and decode fp8_e4m3",
    ]


def test_a_latent_needs_no_buffer(tmp_path: Path) -> None:
    latent = Attention(kind="mla", layers="0-31", heads=32, kv_heads=1, head_dim=192, latent_dim=512, rope_head_dim=64)
    mla = FACTS[SMALL].model_copy(update={"attention": (latent,)})
    assert not needs_staging(mla, 2, 4)
    assert needs_staging(FACTS[SMALL], 2, 4)


def test_an_embedding_model_has_nothing_to_take_apart(tmp_path: Path) -> None:
    problem = refuse(tmp_path, H100, service("text", "text", decoder={}))
    assert problem.path == "InferenceService/text spec.decoder"
    assert "has no decode step" in problem.what


def test_a_decoder_and_a_pattern_without_one_contradict_each_other(tmp_path: Path) -> None:
    problem = refuse(tmp_path, H100, service("chat", "small", decoder={}, intent={"pattern": "standard"}))
    assert problem.path == "InferenceService/chat spec.intent.pattern"
    assert "leave out one of them" in problem.remedy


def test_an_engine_that_hands_no_cache_over_is_refused(tmp_path: Path) -> None:
    problem = refuse(tmp_path, H100, apart(runtime={"name": "tgi"}))
    assert "hands no KV cache to another replica" in problem.what
    assert "vllm or sglang" in problem.remedy


def test_two_pools_are_no_pair_unless_one_compute_cluster_joins_them(tmp_path: Path) -> None:
    # Four GPUs for each side, and two pools of one node: only together in one of them.
    asked = {"tensorParallel": 8, "contextLength": 32768}
    pools = (pool("left", "BM.GPU.H100.8"), pool("right", "BM.GPU.H100.8"))
    problem = refuse(tmp_path, *pools, apart(model_name="large", intent=asked))
    assert "find no room" in problem.what
    assert one(tmp_path, H100, apart(model_name="large", intent=asked)).gpus == 16


def test_the_room_of_both_sides_is_taken_or_none(tmp_path: Path) -> None:
    # The pair needs 16 GPUs and there are 8: the single service beside it still finds its place.
    alone = service("alone", "small", intent={"contextLength": 8192})
    problem = refuse(
        tmp_path, pool("h100", "BM.GPU.H100.8"), apart(model_name="large", intent={"tensorParallel": 8}), alone
    )
    assert problem.path == "InferenceService/chat spec.intent.pattern"


def test_the_order_of_documents_does_not_matter(tmp_path: Path) -> None:
    documents = [H100, GATEWAY, apart("one"), apart("two", "large"), service("three", "small")]
    forward, backward = decide(tmp_path / "a", *documents), decide(tmp_path / "b", *reversed(documents))
    assert forward == backward
    assert Plan.model_validate_json(forward.model_dump_json(by_alias=True)) == forward
