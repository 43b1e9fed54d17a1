"""What must hold for every model and every stack."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ome_iac.hardware import gpus, shapes
from ome_iac.manifests import service_objects
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.plan import Plan
from ome_iac.planning.plan_diff import Side, compare
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import automatic_engines
from ome_iac.runtimes.memory import longest_context
from ome_iac.runtimes.splits import Split
from tests.unit.facts import decoder, model, pool, service, stack

heads = st.sampled_from([8, 12, 16, 24, 32, 40, 64, 96])
decoders = st.builds(
    decoder,
    parameters=st.integers(10**8, 7 * 10**11),
    layers=st.integers(1, 130),
    heads=heads,
    kv_heads=st.sampled_from([1, 2, 4, 8]),
    hidden=st.sampled_from([1536, 4096, 12288]),
    intermediate=st.integers(256, 65536),
    vocabulary=st.integers(1000, 260_000),
    context=st.integers(2048, 1_000_000),
)
splits = st.builds(Split, tensor=st.sampled_from([1, 2, 4, 8]), pipeline=st.sampled_from([1, 2, 3]))
engine_names = st.sampled_from(sorted(automatic_engines()))
gpu_names = st.sampled_from(sorted(gpus()))


@given(decoders, engine_names, gpu_names, splits, st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_longer_context_never_needs_less(
    facts: ModelMetadata, engine: str, gpu: str, split: Split, context: int, more: int
) -> None:
    short = automatic_engines()[engine].ledger(facts, Task.GENERATE, gpus()[gpu], split, context)
    long = automatic_engines()[engine].ledger(facts, Task.GENERATE, gpus()[gpu], split, context + more)
    assert short.kv_bytes_per_request <= long.kv_bytes_per_request
    assert short.fits or not long.fits


@given(decoders, engine_names, gpu_names, splits, st.integers(0, 10**11))
def test_a_bigger_model_never_needs_less(facts: ModelMetadata, engine: str, gpu: str, split: Split, more: int) -> None:
    assert facts.parameters is not None
    bigger = facts.model_copy(
        update={"weights": decoder(parameters=facts.parameters.total + more).weights},
    )
    smaller_left = automatic_engines()[engine].ledger(facts, Task.GENERATE, gpus()[gpu], split, 1).kv_cache
    assert automatic_engines()[engine].ledger(bigger, Task.GENERATE, gpus()[gpu], split, 1).kv_cache <= smaller_left


@given(decoders, engine_names, splits, st.floats(0, 100))
def test_more_memory_never_turns_a_yes_into_a_no(facts: ModelMetadata, engine: str, split: Split, more: float) -> None:
    small = gpus()["H100-80GB"]
    large = small.model_copy(update={"memory_gib": small.memory_gib + more})
    before = automatic_engines()[engine].ledger(facts, Task.GENERATE, small, split, 2048)
    after = automatic_engines()[engine].ledger(facts, Task.GENERATE, large, split, 2048)
    assert after.fits or not before.fits


@given(decoders, engine_names, splits)
def test_a_legal_split_divides_heads_and_padded_vocabulary(facts: ModelMetadata, engine: str, split: Split) -> None:
    if not automatic_engines()[engine].illegal_splits(facts, split):
        assert all(group.heads % split.tensor == 0 for group in facts.attention)
        assert -(-(facts.vocabulary_size or 0) // 64) * 64 % split.tensor == 0


@given(decoders, engine_names, gpu_names, splits)
def test_the_longest_context_fits_and_one_block_more_does_not(
    facts: ModelMetadata, engine: str, gpu: str, split: Split
) -> None:
    stages = automatic_engines()[engine].stages(facts, Task.GENERATE, gpus()[gpu], split)
    most = facts.context_length or 0
    longest = longest_context(stages, most)
    if all(stage.room >= 0 for stage in stages):
        assert all(stage.ledger(longest).fits for stage in stages)
    if longest < most:
        assert not all(stage.ledger(longest + 16).fits for stage in stages)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, ModelMetadata]]:
    """Documents of a stack that has no fault but may not fit."""
    facts = {f"hf://m/{i}": draw(decoders) for i in range(draw(st.integers(1, 3)))}
    models = [model(f"m{i}", uri) for i, uri in enumerate(sorted(facts))]
    shape = st.sampled_from(sorted(shapes()))
    pools = [pool(f"p{i}", draw(shape), draw(st.integers(1, 4))) for i in range(draw(st.integers(1, 3)))]
    intents = st.fixed_dictionaries(
        {},
        optional={
            "contextLength": st.integers(1, 2048),
            "concurrency": st.integers(1, 64),
            "objective": st.sampled_from(["cheapest", "fewest-gpus", "fastest"]),
            "timePerToken": st.sampled_from(["5ms", "1s"]),
        },
    )
    services = [
        service(
            f"s{i}",
            f"m{draw(st.integers(0, len(models) - 1))}",
            engine={"minReplicas": draw(st.integers(1, 3))},
            intent=draw(intents),
        )
        for i in range(draw(st.integers(1, 6)))
    ]
    runtimes = [
        own_runtime(
            f"r{i}", draw(st.sampled_from([1, 2, 3, 4, 8])), draw(st.sampled_from([2048, 8192])), draw(st.booleans())
        )
        for i in range(draw(st.integers(0, 3)))
    ]
    return [*models, *pools, *services, *runtimes], facts


def own_runtime(name: str, tensor: int, context: int, automatic: bool) -> dict[str, Any]:
    """A runtime document that serves any of the models."""
    command = ["vllm", "serve", "$(MODEL_PATH)", "--tensor-parallel-size", str(tensor), "--max-model-len", str(context)]
    runner = {
        "name": "ome-container",
        "image": "docker.io/vllm/vllm-openai:v0.33.0",
        "command": command,
        "resources": {"limits": {"nvidia.com/gpu": str(tensor)}},
    }
    entry = {"modelFormat": {"name": "safetensors"}, "modelArchitecture": "LlamaForCausalLM", "autoSelect": automatic}
    body = {"supportedModelFormats": [entry], "engineConfig": {"runner": runner}}
    return {"apiVersion": "ome.io/v1beta1", "kind": "ClusterServingRuntime", "metadata": {"name": name}, "spec": body}


def decide(
    documents: Sequence[dict[str, Any]], facts: Mapping[str, ModelMetadata]
) -> tuple[Plan | None, list[Problem]]:
    with TemporaryDirectory() as folder:
        return plan_stack(stack(Path(folder), *documents), facts)


def with_nodes(documents: Sequence[dict[str, Any]], more: int) -> list[dict[str, Any]]:
    """The same documents, every pool with more nodes."""
    return [
        {**item, "spec": {**item["spec"], "nodes": item["spec"]["nodes"] + more}}
        if item["kind"] == "NodePool"
        else item
        for item in documents
    ]


def least_gpus(documents: Sequence[dict[str, Any]], facts: Mapping[str, ModelMetadata]) -> float:
    """GPUs of the only service; infinite where it is refused."""
    plan, _ = decide(documents, facts)
    return plan.services[0].gpus if plan else float("inf")


@settings(max_examples=60, deadline=None)
@given(stacks(), st.integers(1, 3))
def test_more_nodes_never_turn_a_yes_into_a_no(
    made: tuple[list[dict[str, Any]], dict[str, ModelMetadata]], more: int
) -> None:
    documents, facts = made
    before, _ = decide(documents, facts)
    after, problems = decide(with_nodes(documents, more), facts)
    assert before is None or after is not None, problems


@settings(max_examples=60, deadline=None)
@given(stacks())
def test_a_model_that_fits_alone_fits_in_a_stack_that_has_room_for_all(
    made: tuple[list[dict[str, Any]], dict[str, ModelMetadata]],
) -> None:
    documents, facts = made
    services = [item for item in documents if item["kind"] == "InferenceService"]
    others = [item for item in documents if item["kind"] != "InferenceService"]
    alone = [decide([*others, item], facts)[0] for item in services]
    if not all(alone):
        return
    pods = sum(role.replicas * role.nodes for plan in alone if plan for item in plan.services for role in item.roles)
    together, problems = decide(with_nodes(documents, pods), facts)
    assert together is not None, problems


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["BM.GPU.A10.4", "BM.GPU.H100.8", "BM.GPU.MI300X.8"]),
    st.integers(10**9, 4 * 10**11),
    st.integers(4, 100),
    st.integers(2048, 65536),
    st.integers(1, 32),
    st.sampled_from(["parameters", "layers", "context", "concurrency"]),
    st.floats(1, 4),
)
def test_asking_for_more_never_takes_fewer_gpus(
    shape: str, parameters: int, layers: int, context: int, concurrency: int, grown: str, factor: float
) -> None:
    def gpus_of(parameters: int, layers: int, context: int, concurrency: int) -> float:
        facts = {"hf://m/m": decoder(parameters=parameters, layers=layers, context=10**6)}
        intent = {"contextLength": context, "concurrency": concurrency, "objective": "fewest-gpus"}
        documents = [model("m", "hf://m/m"), pool("p", shape, 4), service("s", "m", intent=intent)]
        return least_gpus(documents, facts)

    asked = {"parameters": parameters, "layers": layers, "context": context, "concurrency": concurrency}
    assert gpus_of(**asked) <= gpus_of(**{**asked, grown: int(asked[grown] * factor)})


@settings(max_examples=60, deadline=None)
@given(stacks())
def test_a_plan_is_itself_again_after_json(made: tuple[list[dict[str, Any]], dict[str, ModelMetadata]]) -> None:
    plan, _ = decide(*made)
    if plan is not None:
        text = plan.model_dump_json(by_alias=True)
        again = Plan.model_validate_json(text)
        assert again == plan
        assert again.model_dump_json(by_alias=True) == text
        assert compare("s", Side("a", plan), Side("b", again)).empty


@settings(max_examples=60, deadline=None)
@given(stacks(), st.randoms(use_true_random=False))
def test_order_never_matters(
    made: tuple[list[dict[str, Any]], dict[str, ModelMetadata]], shuffler: random.Random
) -> None:
    documents, facts = made
    first, problems = decide(documents, facts)
    shuffled = [*documents]
    shuffler.shuffle(shuffled)
    second, again = decide(shuffled, dict(reversed(facts.items())))
    assert first == second
    if first and second:
        assert first.model_dump_json() == second.model_dump_json()
    assert sorted((p.path, p.what, p.remedy) for p in problems) == sorted((p.path, p.what, p.remedy) for p in again)


@settings(max_examples=60, deadline=None)
@given(stacks())
def test_no_pool_is_overbooked_and_every_service_fits_its_gpus(
    made: tuple[list[dict[str, Any]], dict[str, ModelMetadata]],
) -> None:
    plan, _ = decide(*made)
    if plan is None:
        return
    for decided in plan.pools:
        capacity = decided.capacity
        assert capacity.cpus_used <= capacity.cpus
        assert capacity.memory_used <= capacity.memory_bytes
        assert capacity.disk_bytes is None or capacity.disk_used <= capacity.disk_bytes
        assert 0 <= capacity.empty_nodes <= decided.nodes
        used = sum(role.gpus for item in plan.services for role in item.roles if role.pool == decided.name)
        assert used == decided.gpus_used <= decided.gpus
    for item in plan.services:
        [role] = item.roles
        assert role.memory.fits
        assert role.gpus_per_node <= plan.pool(role.pool).gpus_per_node
        assert role.split.gpus == role.nodes * role.gpus_per_node
        read = plan.model(item.model).metadata
        assert all(group.heads % role.split.tensor == 0 for group in read.attention)
        objects = service_objects(plan, item)
        assert json.dumps(objects) == json.dumps(service_objects(plan, item))
        [pods] = [made for made in objects if made["kind"] in ("Deployment", "LeaderWorkerSet")]
        templates = pods["spec"].get("leaderWorkerTemplate", pods["spec"])
        for template in ("template", "leaderTemplate", "workerTemplate"):
            if template in templates:
                [container] = templates[template]["spec"]["containers"]
                asked = container["resources"]["limits"][plan.pool(role.pool).gpu_resource]
                assert asked == str(role.gpus_per_node)
