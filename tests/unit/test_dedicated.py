"""DedicatedAICluster: units computed from a model's memory, and pools that serve one namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.admission.checks import check_capacity
from ome_iac.planning.admission.plan import AdmissionPlan, DedicatedNodesPlan, DedicatedUnitsPlan
from ome_iac.planning.admission.planner import plan_admission
from ome_iac.planning.admission.units import price_of, units_for
from ome_iac.planning.dedicated import allowed_pools, plan_dedicated
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from tests.unit.facts import decoder, encoder, llama_70b, model, pool, stack
from tests.unit.test_reservations import CLUSTER, chat

SMALL, LARGE, HUGE, TEXT, STORED, LOCAL = (
    "hf://example/small",
    "hf://example/large",
    "hf://example/huge",
    "hf://example/text",
    "oci://n/space/b/models/o/llama/8b",
    "local:///mnt/model",
)
FACTS: dict[str, ModelMetadata] = {
    SMALL: decoder(SMALL),
    LARGE: llama_70b(LARGE),
    HUGE: decoder(HUGE, parameters=2_000_000_000_000),
    TEXT: encoder(TEXT),
    STORED: decoder(STORED),
    LOCAL: decoder(LOCAL),
}
MODELS = tuple(
    model(name, uri)
    for name, uri in (
        ("small", SMALL),
        ("large", LARGE),
        ("huge", HUGE),
        ("text", TEXT),
        ("stored", STORED),
        ("local", LOCAL),
    )
)


def dedicated(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "ome-iac/v1", "kind": "DedicatedAICluster", "metadata": {"name": name}, "spec": spec}


def hosting(name: str, model_name: str, **spec: Any) -> dict[str, Any]:
    return dedicated(name, backend="oci", model=model_name, **spec)


def decide(folder: Path, *documents: dict[str, Any]) -> tuple[tuple[Any, ...], list[Problem]]:
    loaded = stack(folder, CLUSTER, *MODELS, *documents)
    problems = list(check_capacity(loaded))
    return plan_dedicated(loaded, FACTS, (), (), problems), problems


def units(folder: Path, *documents: dict[str, Any]) -> DedicatedUnitsPlan:
    [plan], problems = decide(folder, *documents)
    assert problems == []
    assert isinstance(plan, DedicatedUnitsPlan)
    return plan


def smallest(facts: ModelMetadata, prefix: str, context: int | None = None) -> str:
    """The smallest unit of a GPU that holds the model."""
    units = units_for(facts, context or facts.context_length)
    return next(unit.name for unit in units if unit.fit.fits and unit.name.startswith(prefix))


@pytest.mark.parametrize(
    ("facts", "oracle"),
    [
        (decoder(), "A100_80G_X1"),
        (llama_70b(), "A100_80G_X4"),
        (decoder(parameters=1_235_814_400, layers=16, hidden=2048, intermediate=8192), "A100_80G_X1"),
        (
            decoder(
                parameters=405_853_388_800,
                layers=126,
                heads=128,
                hidden=16384,
                intermediate=53248,
                bytes_per_parameter=1.0,
            ),
            "H100_X8",
        ),
    ],
    ids=["Llama-3.1-8B", "Llama-3.3-70B", "Llama-3.2-1B", "Llama-3.1-405B-FP8"],
)
def test_what_oracle_recommends_is_what_the_memory_says(facts: ModelMetadata, oracle: str) -> None:
    """Oracle's pages of imported Meta models name a unit for each; of its GPU it is the smallest that holds the model
    at its own context length."""
    assert smallest(facts, oracle.rpartition("_X")[0]) == oracle


def test_the_cheapest_unit_that_holds_the_model_is_taken(tmp_path: Path) -> None:
    plan = units(tmp_path, hosting("d", "large"))
    fitting = [item for item in plan.considered if item.count]
    assert plan.cost_per_hour == min(item.cost_per_hour for item in fitting)
    assert plan.unit_shape in {item.unit_shape for item in fitting}
    assert plan.unit_count == 1
    assert plan.context_length == 131072
    too_small = next(item for item in plan.considered if item.unit_shape == "H100_X1")
    assert too_small.count == 0
    assert "exceed the budget" in too_small.why
    assert any(note.startswith("assumed: OCI does not say which engine") for note in plan.notes)
    assert DedicatedUnitsPlan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_more_requests_at_once_take_more_units(tmp_path: Path) -> None:
    few = units(tmp_path / "few", hosting("d", "small", contextLength=8192, unitShape="H100_X1"))
    assert few.unit_count == 1
    assert few.concurrency_per_unit
    wanted = int(few.concurrency_per_unit) * 2 + 1
    many = units(tmp_path / "many", hosting("d", "small", contextLength=8192, unitShape="H100_X1", concurrency=wanted))
    assert many.unit_count == 3
    assert many.cost_per_hour == 3 * 10.0
    assert f"{wanted} wanted: 3 x H100_X1" in many.why


def test_what_does_not_fit_is_refused_with_numbers_all_together(tmp_path: Path) -> None:
    plans, problems = decide(
        tmp_path,
        hosting("huge", "huge"),
        hosting("named", "large", unitShape="A10_X1"),
        hosting("misspelt", "large", unitShape="H100_X3"),
        hosting("few", "small", contextLength=8192, unitShape="A10_X1", unitCount=1, concurrency=500),
        hosting("local", "local"),
        hosting("nobody", "smal"),
        dedicated("tuned", backend="oci", type="FINE_TUNING", model="small"),
        hosting("data", "small", trainingData={"namespace": "n", "bucket": "b", "object": "o"}),
    )
    found = {problem.path: problem for problem in problems}
    d = "DedicatedAICluster/"
    assert "huge fits no unit shape: the largest, H200_X8: weights and overhead exceed the budget by" in (
        found[f"{d}huge spec.model"].what
    )
    assert "A10_X1 does not hold large" in found[f"{d}named spec.unitShape"].what
    assert "the cheapest that does is" in found[f"{d}named spec.unitShape"].remedy
    assert "H100_X" in found[f"{d}misspelt spec.unitShape"].remedy
    assert "500 are wanted" in found[f"{d}few spec.unitCount"].what
    assert found[f"{d}local spec.model"].what == "OCI imports no model from local://"
    assert found[f"{d}nobody spec.model"].remedy == 'did you mean "small"?'
    assert found[f"{d}tuned spec.model"].what == "has no meaning for FINE_TUNING"
    assert found[f"{d}tuned spec.baseModelId"].what == "is missing"
    assert found[f"{d}data spec.trainingData"].what == "has no meaning for HOSTING"
    assert [plan.name for plan in plans] == ["data"]


def test_a_context_that_no_unit_holds_names_one_that_does(tmp_path: Path) -> None:
    facts = decoder(context=8_000_000)
    loaded = stack(tmp_path, CLUSTER, *MODELS, hosting("d", "small"))
    problems: list[Problem] = []
    assert plan_dedicated(loaded, {SMALL: facts}, (), (), problems) == ()
    [problem] = problems
    assert "fits no unit shape" in problem.what
    tokens = int(problem.remedy.removeprefix("a contextLength of ").removesuffix(" or less").replace(",", ""))
    again = stack(tmp_path / "again", CLUSTER, *MODELS, hosting("d", "small", contextLength=tokens))
    [plan] = plan_dedicated(again, {SMALL: facts}, (), (), [])
    assert isinstance(plan, DedicatedUnitsPlan)


def test_where_the_model_is_imported_from(tmp_path: Path) -> None:
    hub = units(tmp_path / "hub", hosting("d", "small")).source
    assert hub
    assert (hub.source_type, hub.model_id, hub.commit) == ("HUGGING_FACE_MODEL", "example/small", "0" * 40)
    stored = units(tmp_path / "stored", hosting("d", "stored")).source
    assert stored
    assert (stored.source_type, stored.namespace, stored.bucket, stored.prefix_name) == (
        "OBJECT_STORAGE_OBJECT",
        "space",
        "models",
        "llama/8b",
    )


def test_an_embedding_model_holds_nothing_between_requests(tmp_path: Path) -> None:
    plan = units(tmp_path, hosting("d", "text", concurrency=1000))
    assert plan.capabilities == ("EMBEDDING",)
    assert plan.unit_count == 1
    assert plan.concurrency_per_unit is None
    assert plan.cost_per_hour == price_of_a10()


def price_of_a10() -> float:
    from ome_iac.hardware import gpus

    return price_of(gpus()["A10"])


def test_fine_tuning_is_made_as_asked_for(tmp_path: Path) -> None:
    data = {"namespace": "n", "bucket": "b", "object": "o.jsonl"}
    plan = units(
        tmp_path,
        dedicated(
            "tuned",
            backend="oci",
            type="FINE_TUNING",
            baseModelId="ocid1.generativeaimodel.oc1.ord.m",
            trainingData=data,
            unitShape="LARGE_GENERIC",
            unitCount=2,
        ),
    )
    assert (plan.type, plan.unit_shape, plan.unit_count) == ("FINE_TUNING", "LARGE_GENERIC", 2)
    assert plan.cost_per_hour is None
    assert plan.tuning
    assert plan.tuning.object == "o.jsonl"


LAB = dedicated("lab", backend="cluster", pool="h100", namespace="lab")
POOLS = (pool("h100", "BM.GPU.H100.8", 2), pool("a10", "VM.GPU.A10.1", 2))


def test_a_pool_is_one_namespaces_alone(tmp_path: Path) -> None:
    loaded = stack(tmp_path, CLUSTER, *MODELS, *POOLS, LAB, chat("chat", "lab"))
    assert allowed_pools(loaded, "lab") == {"h100"}
    assert allowed_pools(loaded, "default") == {"a10"}


def test_nodes_are_reserved_by_taint_quota_queue_and_namespace(tmp_path: Path) -> None:
    documents = (POOLS[0], LAB, chat("chat", "lab"))
    loaded = stack(tmp_path, CLUSTER, *MODELS, *documents)
    plan, more = plan_stack(loaded, FACTS)
    assert plan, more
    problems: list[Problem] = []
    admission = plan_admission(loaded, plan.pools, plan.services, FACTS, problems)
    assert problems == []
    assert admission
    [nodes] = admission.dedicated
    assert isinstance(nodes, DedicatedNodesPlan)
    assert (nodes.unit_shape, nodes.unit_count, nodes.units_needed) == ("BM.GPU.H100.8", 2, 1)
    assert nodes.taint == ("ome-iac/dedicated", "lab", "NoSchedule")
    assert nodes.services == ("lab/chat",)
    assert nodes.makes_namespace
    assert nodes.notes == (
        "1 of 2 nodes serve nobody",
        "its nodes are there already: taint them ome-iac/dedicated=lab:NoSchedule and label them alike",
    )
    assert AdmissionPlan.model_validate_json(admission.model_dump_json(by_alias=True)) == admission
    [queue] = admission.queues
    assert (queue.name, queue.cohort, queue.namespaces) == ("lab", None, ("lab",))
    assert queue.quotas[0].nominal["nvidia.com/gpu"] == 16


def test_what_is_wrong_with_dedicated_pools(tmp_path: Path) -> None:
    loaded = stack(
        tmp_path,
        CLUSTER,
        *MODELS,
        *POOLS,
        LAB,
        dedicated("other", backend="cluster", pool="h100", namespace="lab"),
        dedicated("lost", backend="cluster", pool="h10", namespace="lost"),
        chat("chat"),
    )
    found = sorted((problem.path, problem.what) for problem in check_capacity(loaded))
    assert found == [
        ("DedicatedAICluster/lost spec.pool", "there is no NodePool h10"),
        ("DedicatedAICluster/other spec.namespace", "lab is DedicatedAICluster/lab's already"),
        ("DedicatedAICluster/other spec.pool", "h100 is DedicatedAICluster/lab's already"),
    ]


def test_a_service_of_another_namespace_on_a_dedicated_pool_is_refused(tmp_path: Path) -> None:
    """The planner places none there; what was placed before the pool was dedicated is told."""
    plan, more = plan_stack(stack(tmp_path / "before", CLUSTER, *MODELS, POOLS[0], chat("chat")), FACTS)
    assert plan, more
    loaded = stack(tmp_path, CLUSTER, *MODELS, POOLS[0], LAB, chat("chat"))
    problems: list[Problem] = []
    plan_admission(loaded, plan.pools, plan.services, FACTS, problems)
    assert "h100 is lab's alone, but default/chat is placed on it" in [problem.what for problem in problems]
