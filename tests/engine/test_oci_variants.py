"""Clusters with everything switched on, upgrades, and nodes on a reservation of the stack's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pulumi
import pulumi_oci as oci
import pytest

from components.oci import oci_provider, register_oci
from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.providers.oci_records import Record, Records
from tests.engine.harness import Deployment, EngineError, deployment
from tests.engine.oci_stack import COMPARTMENT, EVERY_MODE, PRODUCTION, plan_of, program

pytestmark = pytest.mark.engine

SYSTEM_ONLY = PRODUCTION[: PRODUCTION.rindex("---")]
OPEN = SYSTEM_ONLY.replace(
    "network: {mode: managed, cidr: 10.0.0.0/16}",
    """homeRegion: us-phoenix-1
    api: public
    apiAllowedCidrs: [192.0.2.0/24]
    kmsKeyId: ocid1.key.oc1.iad.secrets
    imagePolicyKeyIds: [ocid1.key.oc1.iad.signing]
    network: {mode: managed, cidr: 10.0.0.0/20, podCidr: 10.64.0.0/16, loadBalancers: public}""",
)
RESERVED = """---
apiVersion: ome-iac/v1
kind: CapacityReservation
metadata: {name: kept}
spec:
  pools: [rdma]
  oci:
    availabilityDomain: Uocm:US-ASHBURN-AD-1
    capacity: [{shape: BM.GPU.H100.8, nodes: 2}]
"""


@pytest.fixture
def stack(tmp_path: Path, engine: Engine) -> Iterator[Deployment]:
    with deployment(tmp_path, engine) as made:
        yield made


def records(stack: Deployment) -> dict[str, Record]:
    return {record.urn.rpartition("::")[2]: record for record in Records(stack.rehearsal.oci_folder)}


def test_a_public_cluster_with_keys(stack: Deployment) -> None:
    made = stack.up(program(OPEN))
    held = records(stack)
    cluster = held["production-oke"].inputs
    assert cluster["kmsKeyId"] == "ocid1.key.oc1.iad.secrets"
    assert cluster["imagePolicyConfig"] == {
        "isPolicyEnabled": True,
        "keyDetails": [{"kmsKeyId": "ocid1.key.oc1.iad.signing"}],
    }
    assert cluster["endpointConfig"]["isPublicIpEnabled"]
    assert cluster["type"] == "ENHANCED_CLUSTER"
    assert cluster["options"]["openIdConnectDiscovery"] == {"isOpenIdConnectDiscoveryEnabled": True}
    assert "https://192.0.2.10:6443" in made.outputs["kubeconfig"]
    assert held["production-vcn"].inputs["cidrBlocks"] == ["10.0.0.0/20", "10.64.0.0/16"]
    public = {name for name, record in held.items() if record.inputs.get("prohibitPublicIpOnVnic") is False}
    assert public == {"production-api", "production-load-balancers"}
    for name in public:
        assert held[name].inputs["routeTableId"] == held["production-public"].id
    closed = held["production-closed-list"].inputs
    assert not closed.get("ingressSecurityRules")
    assert set(stack.up(program(OPEN)).changes) == {"same"}
    stack.destroy()
    assert records(stack) == {}


def test_an_upgrade_takes_the_cluster_first(stack: Deployment) -> None:
    stack.up(program(EVERY_MODE))
    before = records(stack)
    upgraded = EVERY_MODE.replace("kubernetesVersion: v1.34.1", "kubernetesVersion: v1.35.0")
    stack.up(program(upgraded))  # nodes newer than their cluster would be refused
    after = records(stack)
    assert sorted(after) == sorted(before)
    for name in ("every-oke", "cpu-nodes", "rdma-nodes"):
        assert after[name].id == before[name].id
        assert after[name].inputs["kubernetesVersion"] == "v1.35.0"
    assert set(stack.up(program(upgraded)).changes) == {"same"}
    with pytest.raises(EngineError, match="cannot go back"):
        stack.up(program(EVERY_MODE))


def test_nodes_on_a_reservation_of_the_stacks_own(stack: Deployment) -> None:
    plan = plan_of(EVERY_MODE + RESERVED)
    assert {pool.name: pool.reservation for pool in plan.pools if pool.reservation} == {"rdma": "kept"}
    assert plan.policy is not None
    assert any("compute-capacity-reservations" in statement for statement in plan.policy.statements)

    def build() -> None:
        provider = oci_provider(plan)
        kept = oci.core.ComputeCapacityReservation(
            "kept",
            availability_domain="Uocm:US-ASHBURN-AD-1",
            compartment_id=COMPARTMENT,
            instance_reservation_configs=[{"instance_shape": "BM.GPU.H100.8", "reserved_count": "2"}],
            opts=pulumi.ResourceOptions(provider=provider),
        )
        register_oci(plan, provider, reservations={"kept": kept.id.apply(lambda identifier: identifier)})

    stack.up(build)
    held = records(stack)
    [place] = held["rdma-nodes"].inputs["nodeConfigDetails"]["placementConfigs"]
    assert place["capacityReservationId"] == held["kept"].id
    stack.destroy()
    assert records(stack) == {}
