"""What the components of capacity and tenants register, seen by the engine's own monitor interface."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest

from components.capacity_reservation import CapacityReservation, Queues
from components.dedicated_ai_cluster import DedicatedAICluster
from components.tenant import Tenant
from ome_iac.planning.dedicated import plan_dedicated
from ome_iac.planning.planner import plan_stack
from tests.unit.facts import stack
from tests.unit.test_dedicated import FACTS, LAB, MODELS, hosting
from tests.unit.test_reservations import BLOCKS, chat, managed, oci, reservation, tenant
from tests.unit.test_tenancy import GROUPS, ISTIO

MADE = {
    "apiVersion": "ome-iac/v1",
    "kind": "Cluster",
    "metadata": {"name": "c"},
    "spec": {
        "oke": {
            "clusterId": "ocid1.cluster.oc1.iad.c",
            "compartmentId": "ocid1.compartment.oc1..c",
            "tenancyId": "ocid1.tenancy.oc1..t",
            "kubernetesVersion": "v1.34.1",
            "nodeSubnetId": "ocid1.subnet.oc1.iad.n",
        },
        "tags": {"costCentre": "42"},
    },
}
BLUE = tenant(
    "blue",
    "blue",
    quota={"h100": 8},
    people=GROUPS,
    compartment={"parentId": "ocid1.compartment.oc1..p"},
    ociQuota=["zero compute-core quotas in compartment blue"],
)


class Monitor(pulumi.runtime.Mocks):
    """Remembers what is registered."""

    def __init__(self) -> None:
        self.found: list[pulumi.runtime.MockResourceArgs] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.found.append(args)
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[Any, Any]:
        return {}

    def of(self, kind: str) -> list[pulumi.runtime.MockResourceArgs]:
        return [item for item in self.found if item.typ.rpartition(":")[2] == kind]

    def one(self, kind: str) -> dict[Any, Any]:
        [item] = self.of(kind)
        return dict(item.inputs)


@pytest.fixture
def registered(tmp_path: Path) -> Callable[[Callable[[Path], None]], Monitor]:
    def run(program: Callable[[Path], None]) -> Monitor:
        monitor = Monitor()
        asyncio.set_event_loop(asyncio.new_event_loop())  # another test may have closed the thread's own
        pulumi.runtime.set_mocks(monitor, preview=False)

        @pulumi.runtime.test
        def inside() -> None:
            program(tmp_path)

        inside()
        return monitor

    return run


Run = Callable[[Callable[[Path], None]], Monitor]


def provider() -> kubernetes.Provider:
    return kubernetes.Provider("cluster", cluster_identifier="c")


def capacity(folder: Path) -> None:
    placement = {"hpcIslandId": "island", "blocks": BLOCKS}
    loaded = stack(
        folder,
        MADE,
        *MODELS,
        managed("h100", "BM.GPU.H100.8", 3),
        managed("a10", "VM.GPU.A10.1", 1),
        reservation("kept", ["h100"], oci=oci(4, placement=placement)),
        {**LAB, "spec": {**LAB["spec"], "pool": "a10"}},
        hosting("served", "small", privateEndpoint={"subnetId": "ocid1.subnet.oc1.iad.s", "dnsPrefix": "chat"}),
        BLUE,
        chat("chat", "blue"),
        ISTIO,
    )
    plan, more = plan_stack(loaded, FACTS)
    assert plan, more
    admission, tenants = plan.admission, plan.tenants
    assert admission
    cluster = provider()
    for item in admission.reservations:
        CapacityReservation(item.name, item)
    spaces: dict[str, pulumi.Resource] = {}
    for dedicated in admission.dedicated:
        made = DedicatedAICluster(dedicated.name, dedicated, cluster, token="hf_secret")
        if made.made:
            spaces["lab"] = made.made
    Queues("queues", admission, cluster, spaces, ["blue"])
    for owner in tenants:
        Tenant(owner.name, owner, cluster, admission)


def test_a_reservation_is_made_with_its_blocks_and_tags(registered: Run) -> None:
    monitor = registered(capacity)
    made = monitor.one("ComputeCapacityReservation")
    assert made["availabilityDomain"] == "AD-1"
    assert made["freeformTags"] == {"ome-iac-cost-centre": "42", "ome-iac-stack": "test"}
    [configuration] = made["instanceReservationConfigs"]
    assert configuration["reservedCount"] == "4"
    assert configuration["clusterConfig"] == {
        "hpcIslandId": "island",
        "networkBlockIds": ["ocid1.block.a", "ocid1.block.b"],
    }
    component = monitor.one("CapacityReservation")
    assert component["unusedCostPerHour"] == 68.0


def test_queues_tell_the_verdicts(registered: Run) -> None:
    monitor = registered(capacity)
    component = monitor.one("Queues")
    assert component["admission"] == {"blue/chat/engine/0": "admitted in blue: fits blue on h100"}
    assert {item.name for item in monitor.of("ClusterQueue")} == {
        "queues-clusterqueue-blue",
        "queues-clusterqueue-kept",
        "queues-clusterqueue-lab",
    }
    assert {item.name for item in monitor.of("LocalQueue")} == {
        "queues-localqueue-lab-lab",
        "blue-blue-localqueue-blue",
    }


def test_a_hosting_cluster_has_model_endpoint_and_private_endpoint(registered: Run) -> None:
    monitor = registered(capacity)
    units = monitor.one("DedicatedAiCluster")
    assert (units["type"], units["unitCount"]) == ("HOSTING", 1)
    model = monitor.one("ImportedModel")
    assert model["capabilities"] == ["TEXT_TO_TEXT"]
    assert model["dataSource"]["modelId"] == "example/small"
    assert "accessToken" not in model["dataSource"], "the repository is not gated"
    endpoint = monitor.one("Endpoint")
    assert endpoint["dedicatedAiClusterId"] == "served-units-id"
    assert endpoint["modelId"] == "served-model-id"
    assert endpoint["generativeAiPrivateEndpointId"] == "served-private-id"


def test_a_tenant_is_fenced_at_oci_and_in_the_cluster(registered: Run) -> None:
    monitor = registered(capacity)
    compartment = monitor.one("Compartment")
    assert (compartment["name"], compartment["compartmentId"]) == ("blue", "ocid1.compartment.oc1..p")
    assert compartment["freeformTags"]["ome-iac-tenant"] == "blue"
    policy = monitor.one("Policy")
    assert all("ocid1.cluster.oc1.iad.c" in text for text in policy["statements"])
    quota = monitor.one("Quota")
    assert quota["compartmentId"] == "ocid1.tenancy.oc1..t"
    mapping = monitor.one("ClusterWorkloadMapping")
    assert (mapping["namespace"], mapping["mappedCompartmentId"]) == ("blue", "blue-compartment-id")
    for kind in ("ResourceQuota", "LimitRange", "PeerAuthentication"):
        assert len(monitor.of(kind)) == 1
    assert len(monitor.of("Role")) == 3
    assert len(monitor.of("RoleBinding")) == 2
    assert len(monitor.of("NetworkPolicy")) >= 4


def test_names_are_unique_and_the_same_again(registered: Run) -> None:
    names = [(item.typ, item.name) for item in registered(capacity).found]
    assert len(names) == len(set(names))
    assert sorted(names) == sorted((item.typ, item.name) for item in registered(capacity).found)


def test_a_gated_repository_is_opened_with_a_secret(registered: Run) -> None:
    def program(folder: Path) -> None:
        gated = {**MODELS[0], "spec": {"storage": {**MODELS[0]["spec"]["storage"], "key": "hf-token"}}}
        loaded = stack(folder, MADE, gated, *MODELS[1:], hosting("served", "small"))
        [plan] = plan_dedicated(loaded, FACTS, (), (), [])
        DedicatedAICluster("served", plan, provider(), token="hf_secret")

    source = registered(program).one("ImportedModel")["dataSource"]
    assert source[pulumi.runtime.rpc._special_sig_key] == pulumi.runtime.rpc._special_secret_sig
    assert source["value"]["accessToken"] == "hf_secret"
