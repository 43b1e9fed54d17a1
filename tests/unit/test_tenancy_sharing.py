"""Capacity and tenants in one: refused together, decided together, read together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ome_iac.planning.admission import Gang
from ome_iac.planning.admission.sharing import check_sharing, dedicated_models, plan_sharing, queued
from ome_iac.planning.admission.summary import admission_lines, tenant_lines
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from tests.unit.facts import decoder, model, stack
from tests.unit.test_dedicated import hosting
from tests.unit.test_reservations import CLUSTER, chat, managed, oci, reservation, tenant
from tests.unit.test_tenancy import FACTS, H100, MODELS


def test_capacity_tenants_and_units_are_refused_together(tmp_path: Path) -> None:
    """A reservation smaller than its pools and in another domain, a tenant without quota, a namespace of two tenants,
    and a model that no unit shape holds: one list, each with its line."""
    huge = "hf://example/huge"
    loaded = stack(
        tmp_path,
        CLUSTER,
        *MODELS,
        model("huge", huge),
        managed("h100", "BM.GPU.H100.8", 4, "AD-1", "AD-2"),
        reservation("kept", ["h100"], oci=oci(3)),
        tenant("blue", "shared", quota={"h100": 8}),
        tenant("red", "shared"),
        hosting("served", "huge"),
    )
    facts = {**FACTS, huge: decoder(huge, parameters=2_000_000_000_000)}
    problems = sorted(check_sharing(loaded, facts))
    assert [problem.path for problem in problems] == [
        "CapacityReservation/kept spec.oci.availabilityDomain",
        "CapacityReservation/kept spec.oci.capacity",
        "Tenant/red spec.quota",
        "Tenant/red spec.namespaces.0",
        "DedicatedAICluster/served spec.model",
    ]
    assert all(problem.remedy for problem in problems)
    assert len({problem.where for problem in problems}) == 5


def test_services_are_told_the_queue_that_admits_them(tmp_path: Path) -> None:
    documents = (H100, tenant("blue", "blue", quota={"h100": 4}), chat("chat", "blue"))
    loaded = stack(tmp_path, CLUSTER, *MODELS, *documents)
    plan, _ = plan_stack(loaded, FACTS)
    assert plan
    problems: list[Problem] = []
    admission, tenants = plan_sharing(loaded, plan.pools, plan.services, FACTS, problems)
    assert problems == []
    assert [owner.queue for owner in tenants] == ["blue"]
    [service] = queued(plan.services, admission)
    assert [role.queue for role in service.roles] == ["blue"]
    assert queued(plan.services, None) == list(plan.services)


def test_jobs_are_admitted_beside_services(tmp_path: Path) -> None:
    documents = (H100, tenant("blue", "blue", quota={"h100": 16}, dedicated=True), chat("chat", "blue"))
    loaded = stack(tmp_path, CLUSTER, *MODELS, *documents)
    plan, _ = plan_stack(loaded, FACTS)
    assert plan
    job = Gang(name="blue/train", queue="", pods=2, requests={"nvidia.com/gpu": 8}, flavors=("h100",), priority=1)
    elsewhere = job.model_copy(update={"name": "default/train"})
    admission, _ = plan_sharing(loaded, plan.pools, plan.services, FACTS, [], jobs=[job, elsewhere])
    assert admission
    assert {v.gang: v.state for v in admission.admission.verdicts} == {
        "blue/chat/engine/0": "waiting",
        "blue/train": "admitted",
    }


def test_what_a_change_would_evict_is_told(tmp_path: Path) -> None:
    """Two replicas run; a service of higher priority comes to the same quota."""
    kept = reservation("kept", ["h100"], priorities=[{"name": "high", "value": 10}])
    common = (H100, kept, tenant("blue", "blue", quota={"h100": 2}, dedicated=True))
    old = chat("old", "blue", engine={"minReplicas": 2})
    urgent = chat("urgent", "blue", engine={"labels": {"kueue.x-k8s.io/priority-class": "high"}})
    before = stack(tmp_path / "before", CLUSTER, *MODELS, *common, old)
    after = stack(tmp_path / "after", CLUSTER, *MODELS, *common, old, urgent)
    first, _ = plan_stack(before, FACTS)
    second, _ = plan_stack(after, FACTS)
    assert first
    assert second
    deployed, _ = plan_sharing(before, first.pools, first.services, FACTS, [])
    changed, _ = plan_sharing(after, second.pools, second.services, FACTS, [], before=deployed)
    assert changed
    assert {v.gang: v.state for v in changed.admission.verdicts} == {
        "blue/old/engine/0": "admitted",
        "blue/old/engine/1": "evicted",
        "blue/urgent/engine/0": "admitted",
    }
    assert any("evicts blue/old/engine/1" in line for line in admission_lines(changed))


def test_capacity_and_tenants_as_a_person_reads_them(tmp_path: Path) -> None:
    documents = (
        managed("h100", "BM.GPU.H100.8", 2),
        reservation("kept", ["h100"], oci=oci(3)),
        tenant("blue", "blue", quota={"h100": 2}, dedicated=True),
        hosting("served", "small"),
        chat("chat", "blue", engine={"minReplicas": 4}),
    )
    loaded = stack(tmp_path, CLUSTER, *MODELS, *documents)
    plan, _ = plan_stack(loaded, FACTS)
    assert plan
    admission, tenants = plan_sharing(loaded, plan.pools, plan.services, FACTS, [])
    assert admission
    lines = [*admission_lines(admission), *tenant_lines(tenants)]
    text = "\n".join(lines)
    assert lines[0] == "reservation kept   h100 in AD-1: 4 of 16 GPUs used, $120.00/h idle"
    assert "1 of 3 BM.GPU.H100.8 are reserved and not launched: $68.00/h at 85% of the list price" in lines[1]
    assert "dedicated served   1 x " in text
    assert "queue blue   2 GPUs of h100, for blue: 2 admitted, 2 waiting" in text
    assert "queue kept   14 GPUs of h100, cohort kept, for nobody: nothing asks" in text
    assert "blue/chat/engine/2 and 1 more like it   waiting: blue lacks " in text
    assert "    would do: " in text
    assert "tenant blue   2 GPUs of h100; blue (restricted); $40.00/h used" in text


def test_models_that_only_a_dedicated_cluster_names_are_told(tmp_path: Path) -> None:
    loaded = stack(tmp_path, CLUSTER, *MODELS, hosting("served", "local"))
    assert [item.name for item in dedicated_models(loaded)] == ["local"]


def test_the_plans_are_data_that_plan_can_hold() -> None:
    """`Plan` is to have them as fields: they must not need it themselves."""
    program = (
        "import sys, ome_iac.planning.admission.plan, ome_iac.planning.tenancy.plan;"
        "sys.exit('ome_iac.planning.plan' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
