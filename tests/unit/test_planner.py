"""What the planner decides, refuses, and says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ome_iac.hardware import GIB, gpus
from ome_iac.models.metadata import ModelMetadata, Quantization
from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import all_engines, engine
from ome_iac.runtimes.splits import Split
from tests.unit.facts import decoder, encoder, llama_70b, model, pool, service, stack

SMALL, LARGE, TEXT = "hf://example/small", "hf://example/large", "hf://example/text"
FACTS = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE), TEXT: encoder(TEXT)}
MODELS = (model("small", SMALL), model("large", LARGE), model("text", TEXT))


def decide(folder: Path, *documents: dict[str, Any], facts: dict[str, ModelMetadata] = FACTS) -> Plan:
    plan, problems = plan_stack(stack(folder, *MODELS, *documents), facts)
    assert problems == []
    assert plan is not None
    return plan


def refuse(folder: Path, *documents: dict[str, Any], facts: dict[str, ModelMetadata] = FACTS) -> list[Problem]:
    plan, problems = plan_stack(stack(folder, *MODELS, *documents), facts)
    assert plan is None
    assert problems
    return problems


def one(folder: Path, *documents: dict[str, Any]) -> ServicePlan:
    [decided] = decide(folder, *documents).services
    return decided


def test_the_cheapest_pool_that_fits_is_taken(tmp_path: Path) -> None:
    chat = one(
        tmp_path,
        pool("a10", "VM.GPU.A10.1"),
        pool("h100", "BM.GPU.H100.8"),
        service("chat", "small", intent={"contextLength": 8192}),
    )
    assert (chat.engine.pool, chat.engine.split.tensor, chat.cost_per_hour) == ("a10", 1, 2.0)
    assert chat.why == "cheapest of 9 that fit: $2.00/h a replica"


def test_the_smallest_legal_split_that_fits_is_taken(tmp_path: Path) -> None:
    chat = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "large", intent={"contextLength": 32768}))
    assert chat.engine.split.tensor == 4
    too_small = [
        rejection
        for rejection in chat.rejected
        if rejection.split and rejection.split.tensor in (1, 2) and not rejection.runtime.startswith("tensorrt-llm")
    ]
    assert len(too_small) == 4
    assert all(not rejection.fits and "GiB" in rejection.reasons[0] for rejection in too_small)


def test_seventy_billion_parameters_do_not_fit_one_h100_by_how_much_is_said(tmp_path: Path) -> None:
    [problem] = refuse(tmp_path, pool("a10", "BM.GPU.A10.4"), service("chat", "large"))
    assert "large fits nowhere" in problem.what
    assert "exceed the budget by" in problem.what
    assert "BM.GPU.A10.4 with 88 GiB" in problem.remedy


def test_a_context_that_fits_nowhere_names_the_longest_that_would(tmp_path: Path) -> None:
    documents = (pool("a10", "VM.GPU.A10.1"), service("chat", "small", intent={"contextLength": 65536}))
    [problem] = refuse(tmp_path, *documents)
    assert problem.path == "InferenceService/chat spec.intent.contextLength"
    longest = int(problem.remedy.split(" ")[0].replace(",", ""))
    documents[1]["spec"]["intent"]["contextLength"] = longest
    assert one(tmp_path, *documents).context_length == longest


def test_a_context_beyond_the_models_own_is_refused(tmp_path: Path) -> None:
    documents = (pool("h100", "BM.GPU.H100.8"), service("chat", "small", intent={"contextLength": 200_000}))
    [problem] = refuse(tmp_path, *documents)
    assert "more than small can read" in problem.what
    assert problem.remedy == "131,072 at most"


def test_without_an_asked_context_the_longest_that_fits_is_served_and_said(tmp_path: Path) -> None:
    chat = one(tmp_path, pool("a10", "VM.GPU.A10.1"), service("chat", "small"))
    assert 20_000 < chat.context_length < 131_072
    assert "context reduced from the model's 131,072" in chat.notes[0]
    assert chat.engine.memory.fits


def test_a_pool_that_holds_the_whole_context_is_preferred_to_a_cheaper_one(tmp_path: Path) -> None:
    chat = one(tmp_path, pool("a10", "VM.GPU.A10.1"), pool("h100", "BM.GPU.H100.8"), service("chat", "small"))
    assert (chat.engine.pool, chat.context_length, chat.notes) == ("h100", 131_072, ())


def test_concurrency_takes_more_gpus_or_is_refused(tmp_path: Path) -> None:
    h100 = pool("h100", "BM.GPU.H100.8")
    few = one(tmp_path, h100, service("chat", "small", intent={"contextLength": 32768, "concurrency": 8}))
    many = one(tmp_path, h100, service("chat", "small", intent={"contextLength": 32768, "concurrency": 60}))
    assert few.engine.split.tensor < many.engine.split.tensor
    [problem] = refuse(tmp_path, h100, service("chat", "small", intent={"contextLength": 32768, "concurrency": 9999}))
    assert problem.path.endswith("spec.intent.concurrency")


def test_concurrency_is_shared_by_the_replicas(tmp_path: Path) -> None:
    intent = {"contextLength": 32768, "concurrency": 24}
    chat = one(
        tmp_path,
        pool("h100", "BM.GPU.H100.8"),
        service("chat", "small", intent=intent, engine={"minReplicas": 2}),
    )
    assert (chat.engine.replicas, chat.engine.split.tensor, chat.cost_per_hour) == (2, 1, 20.0)


def test_heads_that_cannot_be_divided_forbid_a_split(tmp_path: Path) -> None:
    embeddings = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("embed", "text"))
    forbidden = [rejection for rejection in embeddings.rejected if rejection.split and rejection.split.tensor == 8]
    assert [rejection.reasons for rejection in forbidden] == [
        *[("12 attention heads are not divisible by 8",)] * 2,
        ("tei 1.9 serves from one GPU: more replicas do the same",),
    ]


@pytest.mark.parametrize(("heads", "kv_heads", "legal"), [(32, 8, True), (24, 3, False), (32, 1, True), (32, 6, False)])
def test_kv_heads_are_divided_or_repeated_or_refused(heads: int, kv_heads: int, legal: bool) -> None:
    facts = decoder(heads=heads, kv_heads=kv_heads)
    assert (all_engines()["vllm"].illegal_splits(facts, Split(tensor=4)) == ()) is legal


def test_an_encoder_keeps_no_kv_cache_and_runs_as_a_pooling_model(tmp_path: Path) -> None:
    embeddings = one(tmp_path, pool("a10", "VM.GPU.A10.1"), service("embed", "text"))
    assert embeddings.task == "embed"
    assert embeddings.engine.memory.kv_bytes_per_request == 0
    assert embeddings.engine.memory.concurrency is None
    assert embeddings.speed
    assert embeddings.speed.time_per_output_token_ms is None
    assert "--runner" in embeddings.engine.command


def test_an_architecture_that_no_engine_has_is_refused_for_each(tmp_path: Path) -> None:
    facts = FACTS | {SMALL: decoder(SMALL, architecture="NobodyKnowsForCausalLM")}
    [problem] = refuse(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small"), facts=facts)
    assert "vllm 0.33.0: vllm 0.33.0 has no NobodyKnowsForCausalLM for generate" in problem.what
    assert "sglang" in problem.what


def test_a_named_runtime_is_the_only_one_considered(tmp_path: Path) -> None:
    chat = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small", runtime={"name": "sglang"}))
    assert chat.engine.runtime.startswith("sglang")
    assert {rejection.runtime for rejection in chat.rejected} == {chat.engine.runtime}


def test_a_runtime_that_does_not_exist_is_named_with_its_nearest(tmp_path: Path) -> None:
    [problem] = refuse(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small", runtime={"name": "vlm"}))
    assert (problem.what, problem.remedy) == ("there is no runtime vlm", 'did you mean "vllm"?')


def test_a_shape_that_does_not_exist_is_named_and_blames_no_service(tmp_path: Path) -> None:
    [problem] = refuse(tmp_path, pool("h100", "BM.GPU.H100.9"), service("chat", "small"))
    assert (problem.what, problem.remedy) == ("there is no GPU shape BM.GPU.H100.9", 'did you mean "BM.GPU.H100.8"?')


def test_a_stack_without_pools_says_so(tmp_path: Path) -> None:
    [problem] = refuse(tmp_path, service("chat", "small"))
    assert problem.what == "has no pool to run on"


def test_services_share_a_pool_until_it_is_full(tmp_path: Path) -> None:
    intent = {"contextLength": 32768}
    pools = (pool("h100", "BM.GPU.H100.8"),)
    two = decide(tmp_path, *pools, *(service(f"chat-{i}", "large", intent=intent) for i in range(2)))
    assert two.pool("h100").gpus_used == 8
    [problem] = refuse(tmp_path, *pools, *(service(f"chat-{i}", "large", intent=intent) for i in range(3)))
    assert "finds no room" in problem.what
    assert "h100 has 0 GPUs left, 1 x 4 are needed" in problem.what


def test_gpus_of_two_nodes_are_not_one_replicas(tmp_path: Path) -> None:
    small = service("small", "small", intent={"contextLength": 8192})
    plan = decide(tmp_path, pool("a10", "VM.GPU.A10.2", nodes=2), small)
    assert all(s.engine.split.tensor <= 2 for s in plan.services)


def test_the_next_best_pool_is_taken_when_the_best_is_full_and_that_is_said(tmp_path: Path) -> None:
    services = [service(f"chat-{i}", "small", intent={"contextLength": 8192}) for i in range(2)]
    plan = decide(tmp_path, pool("a10", "VM.GPU.A10.1"), pool("h100", "BM.GPU.H100.8"), *services)
    assert sorted(s.engine.pool for s in plan.services) == ["a10", "h100"]
    [second] = [s for s in plan.services if s.engine.pool == "h100"]
    assert "a10 has 0 GPUs left" in second.rejected[0].reasons[0]


def test_a_rollout_surges_only_where_there_is_a_gpu_to_spare(tmp_path: Path) -> None:
    alone = one(tmp_path, pool("a10", "VM.GPU.A10.1"), service("chat", "small", intent={"contextLength": 8192}))
    spare = one(tmp_path, pool("a10", "VM.GPU.A10.1", 2), service("chat", "small", intent={"contextLength": 8192}))
    assert (alone.engine.max_surge, spare.engine.max_surge) == (0, 1)


def test_fewest_gpus_is_another_objective(tmp_path: Path) -> None:
    pools = (pool("a10", "VM.GPU.A10.2"), pool("h100", "BM.GPU.H100.8"))
    cheap = one(tmp_path, *pools, service("chat", "small"))
    few = one(tmp_path, *pools, service("chat", "small", intent={"objective": "fewest-gpus"}))
    assert (cheap.engine.pool, cheap.engine.split.tensor) == ("a10", 2)
    assert (few.engine.pool, few.engine.split.tensor) == ("h100", 1)


def test_the_ledger_adds_up_and_every_line_has_a_source(tmp_path: Path) -> None:
    chat = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small"))
    ledger = chat.engine.memory
    assert sum(line.bytes for line in ledger.lines) + ledger.kv_cache == ledger.budget < ledger.total
    assert all(line.formula and line.source for line in ledger.lines)
    # 2 x 32 layers x 8 heads x 128 x 2 B = 128 KiB a token
    assert ledger.kv_bytes_per_request == 131_072 * 128 * 1024
    assert ledger.kv_tokens == ledger.kv_cache // (16 * 128 * 1024) * 16  # whole blocks


@pytest.mark.parametrize(("split", "measured"), [(1, 14.99), (2, 7.51), (4, 3.77)])
def test_measured_weights_of_one_gpu_are_met(split: int, measured: float) -> None:
    """Llama-3.1-8B on vLLM 0.19, H100, in GiB (llm-d-planner's published runs)."""
    ledger = engine("vllm", "0.19.0").ledger(
        FACTS[SMALL], Task.GENERATE, gpus()["H100-80GB"], Split(tensor=split), 8192
    )
    [weights] = [line.bytes for line in ledger.lines if line.name == "weights"]
    assert weights / GIB == pytest.approx(measured, abs=0.02)


def test_every_flag_exists_in_the_engines_version(tmp_path: Path) -> None:
    for name in ("vllm", "sglang"):
        runtime = all_engines()[name]
        for served in ("small", "text"):
            decided = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("s", served, runtime={"name": name}))
            flags = {part for part in decided.engine.command if part.startswith("--")}
            assert flags <= runtime.catalog.flags
            assert decided.engine.command[decided.engine.command.index("--served-model-name") + 1] == served


def test_a_model_from_the_hub_is_pinned_to_its_revision(tmp_path: Path) -> None:
    chat = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small"))
    assert chat.engine.command[chat.engine.command.index("--revision") + 1] == "0" * 40
    assert chat.volume.kind == "hub"


@pytest.mark.parametrize("uri", ["oci://n/ns/b/bucket/o/llama", "vendor://x", "https://host/model"])
def test_a_place_that_nothing_can_mount_yet_is_refused_with_the_ones_that_can(tmp_path: Path, uri: str) -> None:
    documents = (model("m", uri), pool("h100", "BM.GPU.H100.8"), service("chat", "m"))
    [problem] = refuse(tmp_path, *documents, facts={uri: decoder(uri)})
    assert problem.remedy == "serve it from hf://, pvc:// or local://"


def test_a_relative_local_model_needs_its_place_on_the_nodes(tmp_path: Path) -> None:
    uri = "local://weights/m"
    documents = (model("m", uri), pool("h100", "BM.GPU.H100.8"), service("chat", "m"))
    [problem] = refuse(tmp_path, *documents, facts={uri: decoder(uri)})
    assert problem.path == "ClusterBaseModel/m spec.storage.path"


def test_weights_that_a_nodes_disk_cannot_hold_are_not_downloaded_there(tmp_path: Path) -> None:
    cluster = {
        "apiVersion": "ome-iac/v1",
        "kind": "Cluster",
        "metadata": {"name": "c"},
        "spec": {
            "oke": {
                "clusterId": "ocid1.cluster.oc1.r.c",
                "compartmentId": "ocid1.compartment.oc1..c",
                "kubernetesVersion": "v1.34.1",
                "nodeSubnetId": "ocid1.subnet.oc1.r.s",
            }
        },
    }
    a10 = pool("a10", "VM.GPU.A10.1")
    a10["spec"] |= {
        "mode": "managed",
        "imageId": "ocid1.image.oc1.r.i",
        "availabilityDomains": ["AD-1"],
        "bootVolumeGB": 60,
    }
    [problem] = refuse(tmp_path, cluster, a10, service("chat", "small", intent={"contextLength": 8192}))
    assert "a node's disk has 6 GiB, 25 are needed" in problem.what


def test_the_plan_is_plain_data(tmp_path: Path) -> None:
    plan = decide(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small"), service("embed", "text"))
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_only_used_runtimes_and_read_models_are_in_the_plan(tmp_path: Path) -> None:
    plan = decide(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small"), facts=FACTS)
    assert [runtime.engine for runtime in plan.runtimes] == ["vllm"]
    assert plan.cost_per_hour == 80.0


def test_a_contradiction_between_document_and_weights_stands_in_the_plan(tmp_path: Path) -> None:
    wrong = model("wrong", SMALL)
    wrong["spec"]["modelParameterSize"] = "70B"
    plan = decide(tmp_path, wrong, pool("h100", "BM.GPU.H100.8"), service("chat", "wrong"))
    assert "declares modelParameterSize 70B, the weights say 8.03B" in plan.model("wrong").notes[0]


def test_a_runtime_may_be_an_engine_at_a_version(tmp_path: Path) -> None:
    documents = (pool("h100", "BM.GPU.H100.8"), service("chat", "small", runtime={"name": "vllm==0.19.0"}))
    plan = decide(tmp_path, *documents)
    assert plan.services[0].engine.runtime == "vllm 0.19.0"
    assert [(runtime.engine, runtime.version) for runtime in plan.runtimes] == [("vllm", "0.19.0")]


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("vllm==99.0", "how vllm 99.0 uses memory is not known", "the nearest is vllm==0.33.0"),
        ("vllm==new", '"new" is no version of vllm', "such as vllm==0.33.0"),
        ("vlm==0.19.0", "there is no runtime vlm==0.19.0", 'did you mean "vllm"?'),
    ],
)
def test_a_version_that_is_not_known_is_refused_with_the_nearest(
    tmp_path: Path, name: str, what: str, remedy: str
) -> None:
    [problem] = refuse(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small", runtime={"name": name}))
    assert problem.path == "InferenceService/chat spec.runtime.name"
    assert what in problem.what
    assert problem.remedy == remedy


def test_a_tensor_parallel_that_the_heads_forbid_is_refused_with_the_nearest_legal(tmp_path: Path) -> None:
    documents = (pool("h100", "BM.GPU.H100.8"), service("chat", "small", intent={"tensorParallel": 3}))
    [problem] = refuse(tmp_path, *documents)
    assert problem.path == "InferenceService/chat spec.intent.tensorParallel"
    assert "32 attention heads are not divisible by 3" in problem.what
    assert problem.remedy == "the nearest is TP 2"


def test_a_tensor_parallel_that_no_node_has_is_refused(tmp_path: Path) -> None:
    documents = (pool("a10", "VM.GPU.A10.2"), service("chat", "small", intent={"tensorParallel": 8}))
    [problem] = refuse(tmp_path, *documents)
    assert "TP 8 is no split of its nodes of 2 GPUs" in problem.what
    assert "without tensorParallel 8 it would fit vllm 0.33.0 on a10" in problem.remedy


def test_an_asked_tensor_parallel_and_tuning_are_taken(tmp_path: Path) -> None:
    intent = {"contextLength": 8192, "tensorParallel": 4, "quantization": "fp8", "kvCacheDtype": "fp8"}
    chat = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small", intent=intent))
    assert chat.engine.split.tensor == 4
    plain = one(
        tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small", intent=intent | {"quantization": None})
    )
    assert chat.engine.memory.lines[0].bytes < plain.engine.memory.lines[0].bytes
    for flag, value in (("--quantization", "fp8"), ("--kv-cache-dtype", "fp8_e4m3")):
        assert chat.engine.command[chat.engine.command.index(flag) + 1] == value


def test_quantizing_what_is_quantized_already_contradicts(tmp_path: Path) -> None:
    stored = decoder(SMALL).model_copy(update={"quantization": Quantization(method="awq", bits=4)})
    documents = (pool("h100", "BM.GPU.H100.8"), service("chat", "small", intent={"quantization": "fp8"}))
    [problem] = refuse(tmp_path, *documents, facts=FACTS | {SMALL: stored})
    assert problem.path.endswith("spec.intent.quantization")
    assert problem.what == "the weights are stored as awq already"


def test_a_usual_request_longer_than_the_longest_contradicts(tmp_path: Path) -> None:
    intent = {"contextLength": 2048, "inputTokens": 2000, "outputTokens": 500}
    [problem] = refuse(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "small", intent=intent))
    assert "2,500 tokens is longer than the longest, 2,048" in problem.what


def test_the_fastest_takes_what_the_cheapest_leaves(tmp_path: Path) -> None:
    pools = (pool("a10", "VM.GPU.A10.2"), pool("h100", "BM.GPU.H100.8"))
    cheap, fast = (
        one(tmp_path, *pools, service("chat", "small", intent={"contextLength": 8192, "objective": objective}))
        for objective in ("cheapest", "fastest")
    )
    assert cheap.speed
    assert fast.speed
    assert (cheap.engine.pool, fast.engine.pool) == ("a10", "h100")
    assert (fast.speed.time_per_output_token_ms or 0) < (cheap.speed.time_per_output_token_ms or 0)
    assert fast.why.startswith("fastest of")


def test_a_time_that_a_gpu_cannot_keep_rules_it_out_and_one_that_none_can_is_refused(tmp_path: Path) -> None:
    pools = (pool("a10", "VM.GPU.A10.2"), pool("h100", "BM.GPU.H100.8"))
    quick = one(tmp_path, *pools, service("chat", "small", intent={"contextLength": 8192, "timePerToken": "10ms"}))
    assert quick.engine.pool == "h100"
    slow = [rejection for rejection in quick.rejected if rejection.pool == "a10" and rejection.split]
    assert any("10 ms are asked" in reason for rejection in slow for reason in rejection.reasons)
    [problem] = refuse(tmp_path, *pools, service("chat", "small", intent={"timePerToken": "0.01ms"}))
    assert problem.path.endswith("spec.intent.timePerToken")
    assert "nothing here is as fast as timePerToken 0.01ms asks" in problem.what
    assert "h100" in problem.what


def runtime(name: str, *arguments: str, architecture: str = "LlamaForCausalLM", **spec: Any) -> dict[str, Any]:
    """A ServingRuntime document with a container of its own."""
    runner = {
        "name": "ome-container",
        "image": "docker.io/vllm/vllm-openai:v0.33.0",
        "command": ["vllm", "serve", "$(MODEL_PATH)", *arguments],
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
    }
    entry = {"modelFormat": {"name": "safetensors"}, "modelArchitecture": architecture}
    body = {"supportedModelFormats": [entry], "engineConfig": {"runner": runner}, **spec}
    return {"apiVersion": "ome.io/v1beta1", "kind": "ClusterServingRuntime", "metadata": {"name": name}, "spec": body}


def test_a_runtime_document_of_the_stack_is_planned_with_its_own_command(tmp_path: Path) -> None:
    mine = runtime("mine", "--tensor-parallel-size", "2", "--max-model-len", "16384")
    asks = service("chat", "small", runtime={"name": "mine"}, intent={"contextLength": 8192})
    plan = decide(tmp_path, pool("h100", "BM.GPU.H100.8"), mine, asks)
    [chat] = plan.services
    assert (chat.engine.runtime, chat.engine.split.tensor, chat.context_length) == ("mine", 2, 16384)
    assert chat.engine.command[:3] == ("vllm", "serve", "$(MODEL_PATH)")
    assert ("MODEL_PATH", "example/small") in chat.engine.environment
    assert [(item.name, item.engine, item.version) for item in plan.runtimes] == [("mine", "vllm", "0.33.0")]


def test_a_runtime_document_is_checked_as_strictly_as_an_engine(tmp_path: Path) -> None:
    h100 = pool("h100", "BM.GPU.H100.8")
    short = runtime("short", "--tensor-parallel-size", "2", "--max-model-len", "4096")
    other = runtime("other", "--tensor-parallel-size", "2", architecture="Qwen2ForCausalLM")
    off = runtime("off", "--tensor-parallel-size", "2", disabled=True)
    documents = (h100, short, other, off)

    def problem_of(name: str) -> Problem:
        asks = service("chat", "small", runtime={"name": name}, intent={"contextLength": 8192})
        [problem] = refuse(tmp_path, *documents, asks)
        return problem

    assert "its command ends at 4,096 tokens, 8,192 are asked" in problem_of("short").what
    assert "Qwen2ForCausalLM" in problem_of("other").what
    assert problem_of("other").path.endswith("spec.runtime.name")
    assert problem_of("off").what == "the runtime off is disabled"


def test_the_stacks_own_runtime_that_is_open_to_selection_goes_first_and_the_others_say_why_not(tmp_path: Path) -> None:
    own = runtime("own", "--tensor-parallel-size", "2", "--max-model-len", "16384")
    own["spec"]["supportedModelFormats"][0]["autoSelect"] = True
    closed = runtime("closed", "--tensor-parallel-size", "2")
    other = runtime("other", "--tensor-parallel-size", "2", architecture="Qwen2ForCausalLM")
    asks = service("chat", "small", intent={"contextLength": 8192})
    [chat] = decide(tmp_path, pool("h100", "BM.GPU.H100.8"), own, closed, other, asks).services
    assert chat.engine.runtime == "own"
    said = {rejection.runtime: rejection.reasons for rejection in chat.rejected if rejection.pool == "any"}
    assert said["closed"] == ("its entry for the model does not say autoSelect: true",)
    assert "Qwen2ForCausalLM" in said["other"][0]
    cheaper = [rejection for rejection in chat.rejected if rejection.fits and rejection.runtime == "vllm 0.33.0"]
    assert cheaper[0].reasons == ("fits, but own is the stack's own runtime",)


def test_a_runtime_of_another_namespace_is_not_seen(tmp_path: Path) -> None:
    foreign = runtime("own", "--tensor-parallel-size", "2")
    foreign |= {"kind": "ServingRuntime", "metadata": {"name": "own", "namespace": "elsewhere"}}
    asks = service("chat", "small", runtime={"name": "own"})
    [problem] = refuse(tmp_path, pool("h100", "BM.GPU.H100.8"), foreign, asks)
    assert problem.what == "there is no runtime own"


def test_a_flip_is_not_what_a_full_pool_would_have_given_anyway(tmp_path: Path) -> None:
    """The cheap GPU is taken: that it would do for the second service too is no merit of a change."""
    asks = [service(f"chat-{i}", "small", intent={"contextLength": 8192}) for i in range(2)]
    plan = decide(tmp_path, pool("a10", "VM.GPU.A10.1"), pool("h100", "BM.GPU.H100.8"), *asks)
    assert [item.engine.pool for item in plan.services] == ["a10", "h100"]
    assert plan.services[1].flips == ()


def test_without_the_insisted_context_fewer_gpus_would_do(tmp_path: Path) -> None:
    intent = {"contextLength": 32768, "objective": "fewest-gpus"}
    chat = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "large", intent=intent))
    [flip] = [text for text in chat.flips if text.startswith("without contextLength 32,768")]
    assert "TP 2 on h100 with" in flip
    assert flip.endswith("-2 GPUs, -$20.00/h")


def test_two_changes_are_told_together_only_where_neither_alone_does(tmp_path: Path) -> None:
    eight = {"contextLength": 32768, "concurrency": 8}
    chat = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "large", intent=eight))
    assert "FP8 weights with an FP8 KV cache would fit TP 2 on h100: -$20.00/h" in chat.flips
    intent = eight | {"quantization": "fp8", "kvCacheDtype": "fp8"}
    assert one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "large", intent=intent)).cost_per_hour == 20.0
    alone = one(tmp_path, pool("h100", "BM.GPU.H100.8"), service("chat", "large", intent={"contextLength": 32768}))
    assert not any("with an FP8 KV cache" in flip for flip in alone.flips)
