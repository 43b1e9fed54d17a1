"""Reservations, dedicated clusters and tenants as part of one plan: decided, rendered, registered, read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.stack import deploy
from ome_iac.manifests import service_objects
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from ome_iac.report.terminal import plan_lines
from ome_iac.spec.stack import Stack
from tests.unit.facts import pool, stack
from tests.unit.test_dedicated import FACTS, LAB, MODELS, dedicated, hosting
from tests.unit.test_reservations import CLUSTER, chat, managed, oci, reservation, tenant
from tests.unit.test_tenancy import ISTIO
from tests.unit.test_tenancy_components import MADE, Monitor, Run
from tests.unit.test_tenancy_components import registered as registered

QUEUE = "kueue.x-k8s.io/queue-name"
SHARED = (
    managed("h100", "BM.GPU.H100.8", 2),
    reservation("kept", ["h100"], oci=oci(3)),
    tenant("blue", "blue", quota={"h100": 4}),
    chat("chat", "blue"),
)


def decide(loaded: Stack) -> Plan:
    plan, problems = plan_stack(loaded, FACTS)
    assert plan, problems
    return plan


def planned(folder: Path, *documents: dict[str, Any], cluster: dict[str, Any] = CLUSTER) -> Plan:
    return decide(stack(folder, cluster, *MODELS, *documents))


def refused(folder: Path, *documents: dict[str, Any]) -> list[Problem]:
    plan, problems = plan_stack(stack(folder, CLUSTER, *MODELS, *documents), FACTS)
    assert plan is None
    return problems


def of_kind(plan: Plan, kind: str) -> list[dict[str, Any]]:
    return [item for each in plan.services for item in service_objects(plan, each) if item["kind"] == kind]


def test_a_reservation_a_tenant_and_a_service_are_one_plan(tmp_path: Path) -> None:
    plan = planned(tmp_path, *SHARED)
    assert plan.admission
    assert [verdict.state for verdict in plan.admission.admission.verdicts] == ["admitted"]
    assert [owner.name for owner in plan.tenants] == ["blue"]
    assert [role.queue for role in plan.services[0].roles] == ["blue"]
    assert plan.controllers == ("kueue",)
    assert plan.cost_per_hour == 2 * 80 + 0.85 * 80, "two nodes, and a third that is reserved and not launched"
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_the_pods_of_a_role_are_handed_to_its_queue(tmp_path: Path) -> None:
    [made] = of_kind(planned(tmp_path, *SHARED), "Deployment")
    assert made["metadata"]["labels"][QUEUE] == "blue"
    assert QUEUE not in made["spec"]["selector"]["matchLabels"], "a selector cannot be changed, a queue can"


def test_without_these_kinds_nothing_of_them_is_written(tmp_path: Path) -> None:
    plan = planned(tmp_path, managed("h100", "BM.GPU.H100.8", 2), chat("chat", "blue"))
    written = plan.model_dump(by_alias=True)
    assert not {"admission", "tenants"} & set(written)
    assert plan.controllers == ()
    assert plan.cost_per_hour == 160
    [made] = of_kind(plan, "Deployment")
    assert QUEUE not in made["metadata"]["labels"]
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


def test_a_dedicated_pool_takes_its_namespaces_services_and_no_others(tmp_path: Path) -> None:
    """The dedicated pool would be the cheaper one for everybody."""
    pools = (managed("h100", "BM.GPU.H100.8", 1), managed("a10", "VM.GPU.A10.1", 4))
    documents = (*pools, dedicated("lab", backend="cluster", pool="a10", namespace="lab"))
    services = (chat("own", "lab"), chat("other", "default"))
    free = {item.name: item.engine.pool for item in planned(tmp_path / "free", *pools, *services).services}
    assert free == {"own": "a10", "other": "a10"}
    plan = planned(tmp_path, *documents, *services)
    assert {item.name: item.engine.pool for item in plan.services} == {"own": "a10", "other": "h100"}
    assert all("a10" not in {rejection.pool for rejection in item.rejected} for item in plan.services[:1])
    taint, held = ("ome-iac/dedicated", "lab", "NoSchedule"), plan.pool("a10")
    assert taint in held.taints
    assert held.labels["ome-iac/dedicated"] == "lab"
    assert not any("ome-iac/dedicated" in taint for taint in plan.pool("h100").taints)
    [own, other] = sorted(of_kind(plan, "Deployment"), key=lambda item: item["metadata"]["name"] != "own")
    keys = [{each["key"] for each in item["spec"]["template"]["spec"]["tolerations"]} for item in (own, other)]
    assert ["ome-iac/dedicated" in each for each in keys] == [True, False]
    nodes = {item.name: item for item in plan.oci.pools}
    assert "ome-iac/dedicated=lab:NoSchedule" in nodes["a10"].taints
    assert nodes["a10"].labels["ome-iac/dedicated"] == "lab"
    assert "ome-iac/dedicated=lab:NoSchedule" in nodes["a10"].cloud_init
    assert nodes["h100"].taints == ()


def test_prefill_and_decode_keep_to_their_namespaces_pools(tmp_path: Path) -> None:
    split = chat("split", "lab")
    split["spec"]["intent"]["pattern"] = "prefill-decode"
    documents = (pool("h100", "BM.GPU.H100.8", 2), pool("h200", "BM.GPU.H200.8", 2))
    lab = dedicated("lab", backend="cluster", pool="h200", namespace="lab")
    plan = planned(tmp_path, *documents, lab, split)
    assert {role.pool for role in plan.services[0].roles} == {"h200"}
    assert {role.queue for role in plan.services[0].roles} == {"lab"}


def test_a_service_for_which_every_pool_is_kept_from_it_is_told_so(tmp_path: Path) -> None:
    [problem] = refused(tmp_path, managed("h100", "BM.GPU.H100.8", 2), LAB, chat("chat"))
    assert problem.path == "InferenceService/chat"
    assert problem.what == "has no pool to run on: all with GPUs are kept from namespace default"


def test_what_is_wrong_with_sharing_is_said_once_and_with_the_rest(tmp_path: Path) -> None:
    """A tenant without quota has no pool either: that is no second problem. A model that is too large is one."""
    documents = (managed("h100", "BM.GPU.H100.8", 1), tenant("blue", "blue"), chat("chat", "blue"))
    large = chat("large")
    large["spec"]["model"]["name"] = "huge"
    problems = refused(tmp_path, *documents, large, hosting("served", "local"))
    assert sorted(problem.path for problem in problems) == [
        "DedicatedAICluster/served spec.model",
        "InferenceService/large spec.model.name",
        "Tenant/blue spec.quota",
    ]


def test_queues_take_kueue_where_the_platform_lists_its_controllers(tmp_path: Path) -> None:
    without = {**ISTIO, "spec": {"controllers": ["istio"]}}
    [problem] = refused(tmp_path, *SHARED, without)
    assert (problem.path, problem.remedy) == ("Platform/platform spec.controllers", "install it and add kueue")
    assert "kueue" in planned(tmp_path / "with", *SHARED, ISTIO).controllers


def test_units_of_oci_alone_take_no_kueue(tmp_path: Path) -> None:
    plan = planned(tmp_path, hosting("served", "small"))
    assert plan.controllers == ()
    assert plan.admission
    assert plan.cost_per_hour == plan.admission.cost_per_hour > 0


@pytest.mark.parametrize("mesh", [True, False])
def test_pods_that_meet_at_any_port_have_no_sidecar(tmp_path: Path, mesh: bool) -> None:
    split = chat("split", "blue")
    split["spec"]["intent"]["pattern"] = "prefill-decode"
    documents = (pool("h100", "BM.GPU.H100.8", 2), tenant("blue", "blue", quota={"h100": 16}))
    plan = planned(tmp_path, *documents, split, chat("chat", "blue"), *([ISTIO] if mesh else []))
    inject = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"].get("sidecar.istio.io/inject")
        for item in of_kind(plan, "Deployment")
    }
    expected = "false" if mesh else None
    assert inject == {"chat": None, "split-router": None, "split-prefill": expected, "split-decode": expected}
    assert ("istio" in plan.controllers) is mesh


def test_a_person_reads_reservations_queues_and_tenants(tmp_path: Path) -> None:
    text = "\n".join(plan_lines(planned(tmp_path, *SHARED)))
    assert "reservation kept   h100 in AD-1: 1 of 16 GPUs used" in text
    assert "queue blue   4 GPUs of h100, cohort kept, for blue: 1 admitted" in text
    assert "tenant blue   4 GPUs of h100; blue (restricted)" in text


def test_all_of_it_is_registered(registered: Run) -> None:
    """Everything at OCI by one provider, tenants with their fences, queues, and services in them."""

    def program(folder: Path) -> None:
        documents = (*SHARED[:2], tenant("blue", "blue", quota={"h100": 4}, compartment=PARENT), SHARED[3])
        deploy(planned(folder, *documents, LAB_ON_A10, A10, hosting("served", "small"), cluster=MADE), context="c")

    monitor = registered(program)
    [made] = monitor.of("ComputeCapacityReservation")
    [provider] = [item for item in monitor.found if item.typ == "pulumi:providers:oci"]
    ours = [item for item in monitor.found if item.typ.startswith("oci:")]
    assert {item.provider.rpartition("::")[0].rpartition("::")[2] for item in ours} == {provider.name}
    nodes = {item.name: item.inputs for item in monitor.of("NodePool") if item.typ.startswith("oci:")}
    placement = nodes["h100-nodes"]["nodeConfigDetails"]["placementConfigs"][0]
    assert placement["capacityReservationId"] == f"{made.name}-id"
    assert {"key": "ome-iac/dedicated", "value": "lab"} in nodes["a10-nodes"]["initialNodeLabels"]
    assert {item.inputs["metadata"]["name"] for item in monitor.of("Namespace")} == {"blue", "lab"}
    assert len(monitor.of("ClusterQueue")) == 3
    assert monitor.one("Deployment")["metadata"]["labels"][QUEUE] == "blue"
    assert len(monitor.of("NetworkPolicy")) >= 4
    assert monitor.one("ResourceQuota")["spec"]["hard"]["requests.nvidia.com/gpu"] == "16"
    assert len(monitor.of("ImportedModel")) == len(monitor.of("Compartment")) == 1


def test_a_stack_without_them_registers_no_provider_of_oci(registered: Run) -> None:
    def program(folder: Path) -> None:
        deploy(planned(folder, pool("h100", "BM.GPU.H100.8", 1), chat("chat")), context="c")

    found: Monitor = registered(program)
    assert not [item for item in found.found if "oci" in item.typ]
    assert not found.of("Queues")


PARENT = {"parentId": "ocid1.compartment.oc1..p"}
A10 = managed("a10", "VM.GPU.A10.1", 1)
LAB_ON_A10 = dedicated("lab", backend="cluster", pool="a10", namespace="lab")
