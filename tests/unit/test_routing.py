"""Which router a service has, what it is told, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ome_iac.hardware import GIB
from ome_iac.planning.plan import ServicePlan
from ome_iac.planning.planner import plan_stack
from ome_iac.planning.serving.picker import configuration, schema_of
from ome_iac.planning.serving.routes import backend_of
from ome_iac.planning.serving.routing import sglang_router, unequal_blocks
from ome_iac.problems import Problem, ProblemsError
from tests.unit.facts import decoder, encoder, model, pool, service, stack

SMALL, TEXT = "hf://example/small", "hf://example/text"
FACTS = {SMALL: decoder(SMALL), TEXT: encoder(TEXT)}
MODELS = (model("small", SMALL), model("text", TEXT))
GATEWAY: dict[str, Any] = {
    "apiVersion": "ome-iac/v1",
    "kind": "Platform",
    "metadata": {"name": "platform"},
    "spec": {"ingress": {"kind": "gateway", "parent": "edge/public"}},
}
PICKER = {"kind": "endpoint-picker"}


def decide(folder: Path, *documents: dict[str, Any]) -> tuple[list[ServicePlan], list[Problem]]:
    documents = (*MODELS, pool("h100", "BM.GPU.H100.8"), *documents)
    plan, problems = plan_stack(stack(folder, *documents), FACTS)
    return list(plan.services) if plan else [], problems


def one(folder: Path, *documents: dict[str, Any], replicas: int = 3, **spec: Any) -> ServicePlan:
    [decided], problems = decide(folder, *documents, service("chat", "small", engine={"minReplicas": replicas}, **spec))
    assert problems == []
    return decided


def refuse(folder: Path, *documents: dict[str, Any], replicas: int = 3, **spec: Any) -> Problem:
    chat = service("chat", spec.pop("of", "small"), engine={"minReplicas": replicas}, **spec)
    _, [problem] = decide(folder, *documents, chat)
    return problem


def flag(chat: ServicePlan, name: str) -> str:
    assert chat.router is not None
    return chat.router.command[chat.router.command.index(name) + 1]


def test_no_router_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    chat = one(tmp_path)
    assert chat.router is None
    assert backend_of(chat).kind == "Service"


def test_one_replica_has_no_router_and_the_reason_is_said(tmp_path: Path) -> None:
    chat = one(tmp_path, replicas=1, router={"minReplicas": 1, "maxReplicas": 1})
    assert chat.router is None
    assert any("one replica" in note for note in chat.notes)


def test_a_service_that_scales_up_from_one_has_its_router(tmp_path: Path) -> None:
    engine = {"minReplicas": 1, "maxReplicas": 4}
    platform = {**GATEWAY, "spec": {"prometheus": "http://prometheus.monitoring:9090"}}
    [chat], problems = decide(tmp_path, platform, service("chat", "small", engine=engine, router={}))
    assert problems == []
    assert chat.router is not None


def test_the_router_looks_for_its_own_pods_in_its_own_namespace_only(tmp_path: Path) -> None:
    chat = one(tmp_path, router={})
    assert chat.router is not None
    words = chat.router.command
    assert flag(chat, "--service-discovery-namespace") == "default"
    assert flag(chat, "--service-discovery-port") == str(chat.engine.port)
    at = words.index("--selector")
    assert words[at + 1 : at + 3] == ("app.kubernetes.io/name=chat", "app.kubernetes.io/component=engine")
    assert flag(chat, "--policy") == "cache_aware"


@pytest.mark.parametrize("policy", ["power_of_two", "round_robin", "random"])
def test_another_policy_is_taken_as_asked(tmp_path: Path, policy: str) -> None:
    assert flag(one(tmp_path, router={"config": {"policy": policy}}), "--policy") == policy


def test_memory_is_as_large_as_the_prefix_trees_and_more_than_half_a_gibibyte(tmp_path: Path) -> None:
    few = one(tmp_path, router={})
    assert few.router is not None
    tree = int(flag(few, "--max-tree-size"))
    assert tree == 3 * 4 * (few.engine.memory.kv_tokens or 0)
    assert few.router.memory_bytes >= tree * 2 + 2 * GIB
    crowd = few.model_copy(update={"roles": (few.engine.model_copy(update={"replicas": 1000}),)})
    assert sglang_router(crowd, None).memory_bytes > few.router.memory_bytes
    # What people ask may not pile up in the router.
    assert flag(few, "--history-backend") == "none"


def test_a_picker_needs_a_gateway(tmp_path: Path) -> None:
    problem = refuse(tmp_path, router={"config": PICKER})
    assert "there is none" in problem.what
    assert "kind gateway" in problem.remedy
    listed = {**GATEWAY, "spec": {**GATEWAY["spec"], "controllers": ["gateway-api"]}}
    assert "inference-extension" in refuse(tmp_path, listed, router={"config": PICKER}).remedy


def test_a_picker_weighs_prefixes_and_load_and_is_the_backend(tmp_path: Path) -> None:
    chat = one(tmp_path, GATEWAY, router={"config": PICKER})
    assert chat.router is not None
    assert chat.router.configuration is not None
    document = yaml.safe_load(chat.router.configuration)
    assert (document["apiVersion"], document["kind"]) == ("llm-d.ai/v1alpha1", "EndpointPickerConfig")
    [profile] = document["schedulingProfiles"]
    weights = {each["pluginRef"]: each.get("weight") for each in profile["plugins"]}
    assert weights["prefix-cache-scorer"] > weights["queue-scorer"]
    declared = {each["type"] for each in document["plugins"]}
    assert set(weights) <= declared
    assert backend_of(chat).kind == "InferencePool"


def test_precise_prefixes_are_hashed_alike_on_both_sides(tmp_path: Path) -> None:
    chat = one(tmp_path, GATEWAY, runtime={"name": "vllm"}, router={"config": {**PICKER, "prefix": "precise"}})
    command, environment = chat.engine.command, dict(chat.engine.environment)
    assert command[command.index("--prefix-caching-hash-algo") + 1] == "sha256_cbor"
    assert environment["PYTHONHASHSEED"] == "42"
    assert "$(POD_IP)" in command[command.index("--kv-events-config") + 1]
    assert chat.router is not None
    assert chat.router.tokenizer_image is not None
    assert unequal_blocks(chat) == ()


def test_unequal_blocks_and_seeds_are_found(tmp_path: Path) -> None:
    chat = one(tmp_path, GATEWAY, runtime={"name": "vllm"}, router={"config": {**PICKER, "prefix": "precise"}})
    role = chat.engine
    at = role.command.index("--block-size") + 1
    other = role.model_copy(
        update={
            "command": (*role.command[:at], "16", *role.command[at + 1 :]),
            "environment": tuple(each for each in role.environment if each[0] != "PYTHONHASHSEED"),
        }
    )
    reasons = unequal_blocks(chat.model_copy(update={"roles": (other,)}))
    assert reasons == (
        "the picker hashes blocks of 128 tokens, engine of 16",
        "the picker's hash seed is 42, that of engine None",
    )


@pytest.mark.parametrize(
    ("config", "path", "what"),
    [
        ({"polcy": "random"}, "spec.router.config.polcy", "there is no setting polcy"),
        ({"policy": "cacheaware"}, "spec.router.config.policy", "there is no policy cacheaware"),
        ({"kind": "envoy"}, "spec.router.config.kind", "there is no kind envoy"),
        ({"prefix": "precise"}, "spec.router.config.prefix", "known precisely from vLLM's events"),
        ({**PICKER, "prefix": "approximate", "policy": "random"}, "spec.router.config.prefix", "does not look at"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, config: dict[str, str], path: str, what: str) -> None:
    problem = refuse(tmp_path, GATEWAY, router={"config": config})
    assert problem.path == f"InferenceService/chat {path}"
    assert what in problem.what


def test_a_picker_for_embeddings_or_twice_is_refused(tmp_path: Path) -> None:
    embeddings = refuse(tmp_path, GATEWAY, of="text", router={"config": PICKER})
    assert "does not keep" in embeddings.what
    twice = refuse(tmp_path, GATEWAY, router={"config": PICKER, "minReplicas": 2})
    assert twice.path == "InferenceService/chat spec.router.minReplicas"


def test_a_service_called_as_anothers_router_is_refused(tmp_path: Path) -> None:
    chat = service("chat", "small", engine={"minReplicas": 2}, router={})
    _, [problem] = decide(tmp_path, chat, service("chat-router", "small"))
    assert problem.path == "InferenceService/chat-router metadata.name"
    assert "of the service chat" in problem.what


def test_the_schema_is_the_releases_and_another_release_is_refused() -> None:
    assert schema_of("v0.9.0") == schema_of("v0.10.0") == "llm-d.ai/v1alpha1"
    with pytest.raises(ProblemsError, match="are not known"):
        configuration("approximate", 16, 100, 8192, release="v0.8.0")


def test_the_picker_of_a_pair_prefills_where_the_prefix_is_and_decodes_where_load_is_low() -> None:
    document = yaml.safe_load(configuration("prefill-decode", 128, 100, 8192))
    prefill, decode = document["schedulingProfiles"]
    assert [each["pluginRef"] for each in (prefill["plugins"][0], decode["plugins"][0])] == [
        "prefill-filter",
        "decode-filter",
    ]
    declared = {each["type"] for each in document["plugins"]}
    assert {each["pluginRef"] for profile in (prefill, decode) for each in profile["plugins"]} <= declared


def test_the_same_service_gives_the_same_router(tmp_path: Path) -> None:
    chat = one(tmp_path, router={})
    assert sglang_router(chat, None) == chat.router
