"""The rehearsed oci package behind the real engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_oci as oci
import pytest

from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.providers.oci_records import Record, Records
from tests.engine.harness import Deployment, EngineError, deployment, files

pytestmark = pytest.mark.engine

POOL = "oci:ContainerEngine/nodePool:NodePool"


@pytest.fixture
def stack(tmp_path: Path, engine: Engine) -> Iterator[Deployment]:
    with deployment(tmp_path, engine) as made:
        yield made


def records(stack: Deployment) -> dict[str, Record]:
    return {record.urn.rpartition("::")[2]: record for record in Records(stack.rehearsal.oci_folder)}


def details(size: Any = 2, **more: Any) -> dict[str, Any]:
    return {"size": size, "placement_configs": [{"availability_domain": "AD-1", "subnet_id": "ocid1.subnet.a"}], **more}


def pool(size: Any = 2, cluster: Any = "ocid1.cluster.a", **more: Any) -> oci.containerengine.NodePool:
    return oci.containerengine.NodePool(
        "pool",
        cluster_id=cluster,
        compartment_id="ocid1.compartment.a",
        node_shape="BM.GPU.H100.8",
        node_config_details=details(size, **more),
    )


def test_a_stack_lives_from_preview_to_destroy(stack: Deployment) -> None:
    def program(size: int = 2, compute_cluster: str = "ocid1.computecluster.first") -> Callable[[], None]:
        def build() -> None:
            network = oci.core.Vcn("net", compartment_id="ocid1.compartment.a", cidr_blocks=["10.0.0.0/16"])
            cluster = oci.containerengine.Cluster(
                "oke", compartment_id="ocid1.compartment.a", kubernetes_version="v1.34.1", vcn_id=network.id
            )
            made = pool(size, cluster.id, compute_cluster_id=compute_cluster)
            pulumi.export("pool", made.id)
            pulumi.export("state", made.state)
            pulumi.export("network", network.state)
            pulumi.export("route_table", network.default_route_table_id)
            pulumi.export("endpoint", cluster.endpoints[0].private_endpoint)

        return build

    planned = stack.preview(program())
    assert planned.changes == {"create": 4}
    assert planned.diagnostics == []
    assert records(stack) == {}

    made = stack.up(program())
    assert made.outputs["pool"].startswith("ocid1.nodepool.oc1.us-ashburn-1.")
    assert (made.outputs["state"], made.outputs["network"]) == ("ACTIVE", "AVAILABLE")
    assert made.outputs["route_table"].startswith("ocid1.defaultroutetable.")
    assert made.outputs["endpoint"] == "10.0.0.10:6443"
    assert records(stack)["pool"].inputs["clusterId"] == records(stack)["oke"].id
    stack.preview(program(), expect_no_changes=True)
    stack.refresh(expect_no_changes=True)
    stack.preview(program(), expect_no_changes=True)

    planned = stack.preview(program(3))
    assert planned.changes["update"] == 1
    assert set(planned.steps["pool"].detailed_diff or {}) == {"nodeConfigDetails.size"}
    assert stack.up(program(3)).outputs["pool"] == made.outputs["pool"]
    assert records(stack)["pool"].inputs["nodeConfigDetails"]["size"] == 3

    planned = stack.preview(program(3, "ocid1.computecluster.second"))
    assert planned.changes["replace"] == 1
    (diff,) = (planned.steps["pool"].detailed_diff or {}).items()
    assert (diff[0], diff[1].diff_kind.value) == ("nodeConfigDetails.computeClusterId", "update-replace")
    replaced = stack.up(program(3, "ocid1.computecluster.second"))
    assert replaced.outputs["pool"] != made.outputs["pool"]
    assert records(stack)["pool"].id == replaced.outputs["pool"]

    stack.destroy()
    assert not stack.rehearsal.oci_folder.exists() or files(stack.rehearsal.oci_folder) == []


def test_the_same_program_gets_the_same_ids(stack: Deployment) -> None:
    def program() -> None:
        pulumi.export("id", pool().id)

    first = stack.up(program).outputs["id"]
    stack.destroy()
    assert stack.up(program).outputs["id"] == first


def test_a_targeted_replacement_is_another_resource(stack: Deployment) -> None:
    def program() -> None:
        pulumi.export("id", pool().id)

    first = stack.up(program).outputs["id"]
    second = stack.up(program, replace=["urn:pulumi:dev::demo::" + POOL + "::pool"]).outputs["id"]
    assert second != first
    assert records(stack)["pool"].id == second


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        (
            lambda: pool(boot_volume="x", isPvEncryptionInTransitEnabled="perhaps"),
            [
                'nodeConfigDetails.boot_volume: "boot_volume" is no property of NodePoolNodeConfigDetails; known: ',
                "nodeConfigDetails.isPvEncryptionInTransitEnabled: must be a boolean, not the string",
            ],
        ),
        (
            lambda: pool(placement_config=[]),
            ['"placement_config" is no property of NodePoolNodeConfigDetails; did you mean "placementConfigs"?'],
        ),
        (lambda: pool(size="two"), ['nodeConfigDetails.size: must be an integer, not the string "two"']),
        (lambda: pool(size=2.5), ["nodeConfigDetails.size: must be an integer, not the number 2.5"]),
        (
            lambda: oci.containerengine.NodePool(
                "p",
                cluster_id="ocid1.cluster.a",
                compartment_id="ocid1.compartment.a",
                node_shape="s",
                node_config_details={"size": 1},
            ),
            ['"placementConfigs" is missing: NodePoolNodeConfigDetails requires it'],
        ),
        (
            lambda: pulumi.CustomResource("oci:Core/vnc:Vnc", "x", {}),
            ["oci:Core/vnc:Vnc is no resource type of pulumi_oci"],
        ),
    ],
)
def test_wrong_inputs_are_one_line_each(stack: Deployment, program: Callable[[], Any], wanted: list[str]) -> None:
    with pytest.raises(EngineError) as failed:
        stack.preview(lambda: program() and None)
    for fragment in wanted:
        (line,) = [line for line in failed.value.run.diagnostics if fragment in line]
        assert "\n" not in line
        assert line.startswith("oci:")
    assert records(stack) == {}


def test_drift_deletion_and_import(stack: Deployment) -> None:
    def program(import_id: str | None = None) -> Callable[[], None]:
        def build() -> None:
            oci.core.ComputeCluster(
                "rdma",
                availability_domain="AD-1",
                compartment_id="ocid1.compartment.a",
                display_name="rdma",
                opts=pulumi.ResourceOptions(import_=import_id),
            )

        return build

    stack.up(program())
    (name,) = files(stack.rehearsal.oci_folder)
    path = stack.rehearsal.oci_folder / name
    original = path.read_text()

    document = json.loads(original)
    document["inputs"]["displayName"] = "renamed"
    path.write_text(json.dumps(document))
    stack.refresh()
    planned = stack.preview(program())
    assert set(planned.steps["rdma"].detailed_diff or {}) == {"displayName"}
    stack.up(program())
    assert records(stack)["rdma"].inputs["displayName"] == "rdma"

    path.unlink()
    assert stack.refresh().changes["delete"] == 1
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(original)
    assert stack.up(program(path.stem)).changes["import"] == 1
    stack.preview(program(), expect_no_changes=True)
    stack.destroy()
    assert records(stack) == {}


def test_secrets_are_neither_in_the_state_nor_on_disk(stack: Deployment) -> None:
    def program(size: int) -> Callable[[], None]:
        def build() -> None:
            made = oci.containerengine.NodePool(
                "pool",
                cluster_id="ocid1.cluster.a",
                compartment_id="ocid1.compartment.a",
                node_shape="s",
                node_config_details=details(size),
                ssh_public_key=pulumi.Output.secret("hidden-key"),
                node_metadata={"user_data": pulumi.Output.secret("hidden-script"), "open": "seen"},
            )
            pulumi.export("metadata", made.node_metadata)

        return build

    shown = stack.up(program(1)).text
    stack.preview(program(1), expect_no_changes=True)
    stack.refresh(expect_no_changes=True)
    shown += stack.up(program(2)).text
    stack.preview(program(2), expect_no_changes=True)
    (name,) = files(stack.rehearsal.oci_folder)
    disk = (stack.rehearsal.oci_folder / name).read_text()
    assert "seen" in disk
    for text in (shown, stack.state_text(), disk):
        assert "hidden-" not in text


def test_the_lookups_that_programs_begin_with(stack: Deployment) -> None:
    def program() -> None:
        region = oci.Provider("region", region="eu-frankfurt-1")
        options = pulumi.InvokeOptions(provider=region)
        domains = oci.identity.get_availability_domains_output(compartment_id="ocid1.tenancy.a", opts=options)
        space = oci.objectstorage.get_namespace_output(compartment_id="ocid1.tenancy.a")
        pulumi.export("domains", domains.availability_domains.apply(lambda found: [domain.name for domain in found]))
        pulumi.export("space", space.namespace)

    outputs = stack.up(program).outputs
    assert outputs["domains"] == [f"Rhrs:EU-FRANKFURT-1-AD-{number}" for number in (1, 2, 3)]
    assert outputs["space"] == "rehearsal"


def test_other_lookups_are_refused_by_name(stack: Deployment) -> None:
    with pytest.raises(EngineError, match=r"getImages.* is not rehearsed"):
        stack.preview(lambda: oci.core.get_images(compartment_id="ocid1.compartment.a") and None)


def test_faults_strike_as_often_as_they_are_told(tmp_path: Path, engine: Engine) -> None:
    faults = {
        POOL: {"create": {"error": "Out of host capacity.", "times": 1}, "update": {"error": "500", "times": 1}},
        "oci:Core/computeCluster:ComputeCluster": {"create": {"error": "timed out", "times": 1, "after": True}},
    }

    def program(size: int = 1) -> Callable[[], None]:
        def build() -> None:
            oci.core.ComputeCluster("rdma", availability_domain="AD-1", compartment_id="ocid1.compartment.a")
            pool(size)

        return build

    with deployment(tmp_path, engine, faults=faults) as stack:
        with pytest.raises(EngineError) as failed:
            stack.up(program(), continue_on_error=True)
        assert "Out of host capacity." in str(failed.value)
        (left,) = records(stack)
        assert left == "rdma"  # it was made, though its answer was lost
        before = records(stack)["rdma"]
        assert stack.up(program()).changes["create"] == 2
        assert records(stack)["rdma"] == before
        with pytest.raises(EngineError, match="500"):
            stack.up(program(2))
        assert records(stack)["pool"].inputs["nodeConfigDetails"]["size"] == 1
        stack.up(program(2))
        stack.destroy()
        assert records(stack) == {}
