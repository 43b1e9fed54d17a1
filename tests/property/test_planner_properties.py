"""What must hold for every model and every stack."""

from __future__ import annotations

import json
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ome_iac.hardware import gpus, shapes
from ome_iac.manifests import service_objects
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.planner import plan_stack
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import engines
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
engine_names = st.sampled_from(sorted(engines()))
gpu_names = st.sampled_from(sorted(gpus()))


@given(decoders, engine_names, gpu_names, splits, st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_longer_context_never_needs_less(
    facts: ModelMetadata, engine: str, gpu: str, split: Split, context: int, more: int
) -> None:
    short = engines()[engine].ledger(facts, Task.GENERATE, gpus()[gpu], split, context)
    long = engines()[engine].ledger(facts, Task.GENERATE, gpus()[gpu], split, context + more)
    assert short.kv_bytes_per_request <= long.kv_bytes_per_request
    assert short.fits or not long.fits


@given(decoders, engine_names, gpu_names, splits, st.integers(0, 10**11))
def test_a_bigger_model_never_needs_less(facts: ModelMetadata, engine: str, gpu: str, split: Split, more: int) -> None:
    assert facts.parameters is not None
    bigger = facts.model_copy(
        update={"weights": decoder(parameters=facts.parameters.total + more).weights},
    )
    smaller_left = engines()[engine].ledger(facts, Task.GENERATE, gpus()[gpu], split, 1).kv_cache
    assert engines()[engine].ledger(bigger, Task.GENERATE, gpus()[gpu], split, 1).kv_cache <= smaller_left


@given(decoders, engine_names, splits, st.floats(0, 100))
def test_more_memory_never_turns_a_yes_into_a_no(facts: ModelMetadata, engine: str, split: Split, more: float) -> None:
    small = gpus()["H100-80GB"]
    large = small.model_copy(update={"memory_gib": small.memory_gib + more})
    before = engines()[engine].ledger(facts, Task.GENERATE, small, split, 2048)
    after = engines()[engine].ledger(facts, Task.GENERATE, large, split, 2048)
    assert after.fits or not before.fits


@given(decoders, engine_names, splits)
def test_a_legal_split_divides_heads_and_padded_vocabulary(facts: ModelMetadata, engine: str, split: Split) -> None:
    if not engines()[engine].illegal_splits(facts, split):
        assert all(group.heads % split.tensor == 0 for group in facts.attention)
        assert -(-(facts.vocabulary_size or 0) // 64) * 64 % split.tensor == 0


@given(decoders, engine_names, gpu_names, splits)
def test_the_longest_context_fits_and_one_block_more_does_not(
    facts: ModelMetadata, engine: str, gpu: str, split: Split
) -> None:
    stages = engines()[engine].stages(facts, Task.GENERATE, gpus()[gpu], split)
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
    services = [
        service(f"s{i}", f"m{draw(st.integers(0, len(models) - 1))}", engine={"minReplicas": draw(st.integers(1, 3))})
        for i in range(draw(st.integers(1, 6)))
    ]
    return [*models, *pools, *services], facts


@settings(max_examples=60, deadline=None)
@given(stacks(), st.randoms(use_true_random=False))
def test_order_never_matters(
    made: tuple[list[dict[str, Any]], dict[str, ModelMetadata]], shuffler: random.Random
) -> None:
    documents, facts = made
    with TemporaryDirectory() as folder:
        first = plan_stack(stack(Path(folder) / "a", *documents), facts)
        shuffled = [*documents]
        shuffler.shuffle(shuffled)
        reversed_facts = dict(reversed(facts.items()))
        second = plan_stack(stack(Path(folder) / "b", *shuffled), reversed_facts)
    assert first[0] == second[0]
    assert [(p.path, p.what, p.remedy) for p in sorted(first[1], key=lambda p: (p.path, p.what))] == [
        (p.path, p.what, p.remedy) for p in sorted(second[1], key=lambda p: (p.path, p.what))
    ]


@settings(max_examples=60, deadline=None)
@given(stacks())
def test_no_pool_is_overbooked_and_every_service_fits_its_gpus(
    made: tuple[list[dict[str, Any]], dict[str, ModelMetadata]],
) -> None:
    documents, facts = made
    with TemporaryDirectory() as folder:
        plan, _ = plan_stack(stack(Path(folder), *documents), facts)
    if plan is None:
        return
    for decided in plan.pools:
        used = sum(role.gpus for item in plan.services for role in item.roles if role.pool == decided.name)
        assert used == decided.gpus_used <= decided.gpus
    for item in plan.services:
        [role] = item.roles
        assert role.memory.fits
        assert role.gpus_per_node <= plan.pool(role.pool).gpus_per_node
        objects = service_objects(plan, item)
        assert json.dumps(objects) == json.dumps(service_objects(plan, item))
        [pods] = [made for made in objects if made["kind"] in ("Deployment", "LeaderWorkerSet")]
        templates = pods["spec"].get("leaderWorkerTemplate", pods["spec"])
        for template in ("template", "leaderTemplate", "workerTemplate"):
            if template in templates:
                [container] = templates[template]["spec"]["containers"]
                asked = container["resources"]["limits"][plan.pool(role.pool).gpu_resource]
                assert asked == str(role.gpus_per_node)
