"""Network, cluster and pools of a stack on the real engine, from preview to nothing left."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.providers.oci_records import Record, Records
from tests.engine.harness import Deployment, EngineError, deployment, files
from tests.engine.oci_stack import EVERY_MODE, PRODUCTION, program

pytestmark = pytest.mark.engine


@pytest.fixture
def stack(tmp_path: Path, engine: Engine) -> Iterator[Deployment]:
    with deployment(tmp_path, engine) as made:
        yield made


def records(stack: Deployment) -> dict[str, Record]:
    return {record.urn.rpartition("::")[2]: record for record in Records(stack.rehearsal.oci_folder)}


def nothing_left(stack: Deployment) -> bool:
    return not stack.rehearsal.oci_folder.exists() or files(stack.rehearsal.oci_folder) == []


def test_a_production_stack_from_nothing_to_nothing(stack: Deployment) -> None:
    planned = stack.preview(program(PRODUCTION))
    assert set(planned.changes) == {"create"}
    assert planned.diagnostics == []
    assert records(stack) == {}

    made = stack.up(program(PRODUCTION))
    assert made.changes == planned.changes
    held = records(stack)
    pool: dict[str, Any] = held["h100-nodes"].inputs
    assert pool["nodeConfigDetails"]["computeClusterId"] == held["h100-rdma"].id
    assert pool["clusterId"] == held["production-oke"].id
    assert made.outputs["pools"] == {"h100": held["h100-nodes"].id, "system": held["system-nodes"].id}
    config = json.loads(made.outputs["kubeconfig"])
    assert config["clusters"][0]["cluster"]["server"] == "https://10.0.0.10:6443"
    assert config["users"][0]["user"]["exec"]["args"][-3:] == [held["production-oke"].id, "--region", "us-ashburn-1"]
    untagged = ("Addon", "NetworkSecurityGroupSecurityRule")  # types that carry no tags in OCI
    for name, record in held.items():
        if not record.type.endswith(untagged):
            assert record.inputs["freeformTags"]["ome-iac-stack"] == "production", name

    assert set(stack.up(program(PRODUCTION)).changes) == {"same"}
    stack.refresh(expect_no_changes=True)
    stack.preview(program(PRODUCTION), expect_no_changes=True)

    gone = stack.destroy()
    assert gone.changes == {"delete": made.changes["create"]}
    assert nothing_left(stack)


def test_every_mode_in_a_network_that_is_there(stack: Deployment) -> None:
    stack.up(program(EVERY_MODE))
    held = records(stack)
    kinds = {record.type.rpartition(":")[2] for record in held.values()}
    assert kinds == {
        "Cluster",
        "ClusterNetwork",
        "ComputeCluster",
        "ComputeGpuMemoryCluster",
        "DynamicGroup",
        "InstanceConfiguration",
        "NodePool",
        "Policy",
    }
    launch = held["b4-node"].inputs["instanceDetails"]["launchDetails"]
    assert launch["metadata"]["apiserver_host"] == "10.0.0.10"
    assert launch["metadata"]["oke-initial-node-labels"] == "ome-iac/pool=b4"
    assert base64.b64decode(launch["metadata"]["user_data"]).startswith(b"#cloud-config")
    assert held["gb200-nodes"].inputs["computeClusterId"] == held["gb200-rdma"].id
    assert held["gb200-nodes"].inputs["size"] == "18"
    assert held["b4-nodes"].inputs["instancePools"][0]["instanceConfigurationId"] == held["b4-node"].id
    assert set(stack.up(program(EVERY_MODE)).changes) == {"same"}
    stack.refresh(expect_no_changes=True)
    stack.destroy()
    assert nothing_left(stack)


def test_what_is_protected_is_neither_destroyed_nor_replaced(stack: Deployment) -> None:
    protected = EVERY_MODE.replace("protect: false", "protect: true")
    stack.up(program(protected))
    before = {name: record.id for name, record in records(stack).items()}
    with pytest.raises(EngineError, match="protect"):
        stack.destroy()
    with pytest.raises(EngineError, match="protect"):
        stack.up(program(protected.replace("AD-1  # rdma", "AD-2")))
    kept = {name: record.id for name, record in records(stack).items()}
    lasting = [name for name in before if name.endswith(("-oke", "-nodes")) and name != "cpu-nodes"]
    assert {name: kept.get(name) for name in lasting} == {name: before[name] for name in lasting}
    stack.up(program(EVERY_MODE))
    stack.destroy()
    assert nothing_left(stack)


def test_an_autoscaled_pools_size_is_the_autoscalers(stack: Deployment) -> None:
    stack.up(program(EVERY_MODE))
    held = records(stack)
    for name, change in (("cpu-nodes", 5), ("rdma-nodes", 1)):
        record = held[name]
        details = {**record.inputs["nodeConfigDetails"], "size": change}
        Records(stack.rehearsal.oci_folder).write(
            Record(
                record.id,
                record.type,
                record.urn,
                record.time_created,
                {**record.inputs, "nodeConfigDetails": details},
                record.computed,
            )
        )
    stack.refresh()
    planned = stack.preview(program(EVERY_MODE))
    assert planned.changes["update"] == 1  # the fixed pool is brought back to its size
    assert set(planned.steps["rdma-nodes"].detailed_diff or {}) == {"nodeConfigDetails.size"}
    stack.up(program(EVERY_MODE.replace("bootVolumeGB: 100", "bootVolumeGB: 200")))
    held = records(stack)
    assert held["cpu-nodes"].inputs["nodeConfigDetails"]["size"] == 5
    assert held["cpu-nodes"].inputs["nodeSourceDetails"]["bootVolumeSizeInGbs"] == "200"
    assert held["rdma-nodes"].inputs["nodeConfigDetails"]["size"] == 2


@pytest.mark.parametrize(
    ("old", "new", "updated", "replaced"),
    [
        ("nodes: 2  # rdma", "nodes: 3", {"rdma-nodes"}, set()),
        ("kubernetesVersion: v1.34.1", "kubernetesVersion: v1.35.0", {"every-oke"}, set()),
        ("imageId: ocid1.image.oc1.iad.rdma", "imageId: ocid1.image.oc1.iad.newer", {"rdma-nodes"}, set()),
        ("shape: VM.Standard.E5.Flex", "shape: VM.Standard.E6.Flex", {"cpu-nodes"}, set()),
        ("taints: []  # rdma", "taints: [{key: a}]", {"rdma-nodes"}, set()),
        ("AD-1  # rdma", "AD-2", set(), {"rdma-rdma", "rdma-nodes"}),
        ("AD-1  # b4", "AD-2", set(), {"b4-nodes", "b4-node"}),
        ("costCentre: one", "costCentre: two", {"every-oke", "rdma-nodes", "cpu-nodes", "b4-nodes"}, set()),
        ("network: {mode: existing", "kmsKeyId: ocid1.key.oc1..k\n    network: {mode: existing", set(), {"every-oke"}),
    ],
)
def test_the_preview_says_what_a_change_costs(
    stack_up: Deployment, old: str, new: str, updated: set[str], replaced: set[str]
) -> None:
    assert old in EVERY_MODE
    planned = stack_up.preview(program(EVERY_MODE.replace(old, new)))
    kinds = {
        name: {str(diff.diff_kind.value) for diff in (step.detailed_diff or {}).values()}
        for name, step in planned.steps.items()
    }
    assert replaced <= {name for name, found in kinds.items() if any("replace" in kind for kind in found)}
    assert updated <= {name for name, found in kinds.items() if found and not any("replace" in kind for kind in found)}


@pytest.fixture(scope="module")
def stack_up(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[Deployment]:
    """A stack of every mode that is deployed; tests only preview on it."""
    with deployment(tmp_path_factory.mktemp("every-mode"), engine) as made:
        made.up(program(EVERY_MODE))
        yield made


def test_a_new_image_of_self_managed_nodes_is_a_new_configuration_on_the_same_pool(stack: Deployment) -> None:
    stack.up(program(EVERY_MODE))
    before = records(stack)
    stack.up(program(EVERY_MODE.replace("imageId: ocid1.image.oc1.iad.other", "imageId: ocid1.image.oc1.iad.newer")))
    after = records(stack)
    assert after["b4-nodes"].id == before["b4-nodes"].id
    assert after["b4-node"].id != before["b4-node"].id
    assert after["b4-nodes"].inputs["instancePools"][0]["instanceConfigurationId"] == after["b4-node"].id
    assert sorted(after) == sorted(before)


def test_a_change_that_cannot_be_made_in_place_makes_one_new_pool(stack: Deployment) -> None:
    stack.up(program(EVERY_MODE))
    before = records(stack)
    stack.up(program(EVERY_MODE.replace("AD-1  # rdma", "AD-2")))
    after = records(stack)
    assert sorted(after) == sorted(before)
    changed = {name for name in after if after[name].id != before[name].id}
    assert changed == {"rdma-rdma", "rdma-nodes"}
