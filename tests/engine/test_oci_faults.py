"""The fault table: what OCI may answer, what a person then reads, and that a second `up` loses and doubles nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.providers.oci_errors import ERRORS, fault
from ome_iac.rehearsal.providers.oci_records import Records
from tests.engine.harness import Deployment, EngineError, deployment
from tests.engine.oci_stack import program

pytestmark = pytest.mark.engine

NODE_POOL = "oci:ContainerEngine/nodePool:NodePool"
COMPUTE_CLUSTER = "oci:Core/computeCluster:ComputeCluster"
SMALL = """
apiVersion: ome-iac/v1
kind: Cluster
metadata: {name: small}
spec:
  oke:
    clusterId: ocid1.cluster.oc1.iad.there
    compartmentId: ocid1.compartment.oc1..a
    kubernetesVersion: v1.34.1
    nodeSubnetId: ocid1.subnet.oc1.iad.nodes
    podSubnetId: ocid1.subnet.oc1.iad.pods
---
apiVersion: ome-iac/v1
kind: NodePool
metadata: {name: h100}
spec:
  mode: managed-rdma
  shape: BM.GPU.H100.8
  nodes: 4
  imageId: ocid1.image.oc1.iad.rdma
  imageName: Canonical-Ubuntu-24.04-2026.02.28-0-6.8-DOCA-OFED-3.2.1-GPU-580-OPEN-CUDA-13.0-2026.05.05-0
  availabilityDomain: Uocm:US-ASHBURN-AD-1
"""
EVERYTHING = {"h100-rdma", "h100-nodes", "small-nodes"}
REGION: dict[str, Any] = {
    "key": "IAD",
    "availabilityDomains": 3,
    "kubernetesVersions": ["1.34"],
    "hosts": {"other": [64, 64, 64]},
    "limits": {},
    "quotas": [],
}


def held(stack: Deployment) -> list[str]:
    return sorted(record.urn.rpartition("::")[2] for record in Records(stack.rehearsal.oci_folder))


def complete(stack: Deployment) -> bool:
    return held(stack) == sorted(EVERYTHING)


def refused(stack: Deployment, text: str = SMALL) -> str:
    """What a person reads: one line of the resource's own, never a traceback."""
    with pytest.raises(EngineError) as failed:
        stack.up(program(text))
    lines = [line for line in failed.value.run.diagnostics if "OCI answered" in line]
    assert len(lines) == 1
    assert "\n" not in lines[0].strip()
    assert "Traceback" not in failed.value.run.text
    return lines[0]


@pytest.mark.parametrize("after", [False, True], ids=["before", "answer-lost"])
@pytest.mark.parametrize("name", sorted(ERRORS))
def test_an_error_once_and_the_second_up_finishes(tmp_path: Path, engine: Engine, name: str, after: bool) -> None:
    faults = {NODE_POOL: {"create": fault(name, times=1, after=after)}}
    with deployment(tmp_path, engine, faults=faults) as stack:
        line = refused(stack)
        error = ERRORS[name]
        for part in (f"{error.status}-{error.code}", error.says, error.remedy):
            assert part in line
        assert held(stack) == sorted(EVERYTHING if after else EVERYTHING - {"h100-nodes"})
        assert stack.up(program(SMALL)).changes["create"] == 1
        assert complete(stack)
        stack.refresh(expect_no_changes=True)
        stack.destroy()
        assert held(stack) == []


@pytest.mark.parametrize(
    ("operation", "act"),
    [
        ("update", lambda stack: stack.up(program(SMALL.replace("nodes: 4", "nodes: 5")))),
        ("read", lambda stack: stack.refresh()),
        ("delete", lambda stack: stack.destroy()),
    ],
)
def test_an_error_later_leaves_what_was_there(
    tmp_path: Path, engine: Engine, operation: str, act: Callable[[Deployment], Any]
) -> None:
    faults = {NODE_POOL: {operation: fault("internal-error", times=1)}}
    with deployment(tmp_path, engine, faults=faults) as stack:
        stack.up(program(SMALL))
        with pytest.raises(EngineError, match="500-InternalServerError"):
            act(stack)
        assert "h100-nodes" in held(stack)
        act(stack)
        assert held(stack) == [] if operation == "delete" else complete(stack)


def test_slow_is_not_broken(tmp_path: Path, engine: Engine) -> None:
    slow = {"delaySeconds": 2}
    with deployment(tmp_path, engine, faults={NODE_POOL: {"create": slow}, COMPUTE_CLUSTER: {"create": slow}}) as stack:
        assert set(stack.up(program(SMALL)).changes) == {"create"}
        assert complete(stack)


def test_flaky_everywhere_ends_well_after_as_many_tries(tmp_path: Path, engine: Engine) -> None:
    flaky = {"create": fault("unavailable", times=1)}
    with deployment(tmp_path, engine, faults={NODE_POOL: flaky, COMPUTE_CLUSTER: flaky}) as stack:
        assert "503" in refused(stack)
        assert "503" in refused(stack)
        stack.up(program(SMALL))
        assert complete(stack)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"hosts": {"other": [64, 64, 64], "BM.GPU.H100.8": [3, 64, 64]}},
            "Out of host capacity (Uocm:US-ASHBURN-AD-1 has 3 BM.GPU.H100.8 left, 4 are wanted",
        ),
        (
            {"limits": {"BM.GPU.H100.8": 2}},
            "LimitExceeded: Oracle's service limit of the tenancy would be exceeded (2 BM.GPU.H100.8",
        ),
        (
            {"quotas": [{"compartment": "ocid1.compartment.oc1..a", "of": "BM.GPU.H100.8", "most": 3}]},
            "the compartment would be exceeded (3 BM.GPU.H100.8 are allowed, 0 are there, 4 more are wanted",
        ),
    ],
)
def test_a_region_without_room_says_how_much_there_is(
    tmp_path: Path, engine: Engine, change: dict[str, Any], says: str
) -> None:
    region = tmp_path / "rehearsal" / "region.yaml"
    region.parent.mkdir()
    region.write_text(yaml.safe_dump({**REGION, **change}))
    with deployment(tmp_path, engine) as stack:
        assert says in refused(stack)
    region.write_text(yaml.safe_dump(REGION))  # there is room now
    with deployment(tmp_path, engine) as stack:
        stack.up(program(SMALL))
        assert complete(stack)


def test_what_is_taken_stays_taken_after_a_restart(tmp_path: Path, engine: Engine) -> None:
    region = tmp_path / "rehearsal" / "region.yaml"
    region.parent.mkdir()
    region.write_text(yaml.safe_dump({**REGION, "hosts": {"other": [6, 64, 64]}}))
    with deployment(tmp_path, engine) as stack:
        stack.up(program(SMALL))
    second = SMALL + SMALL[SMALL.rindex("---") :].replace("h100", "more").replace("nodes: 4", "nodes: 3")
    with deployment(tmp_path, engine) as stack:
        assert "has 2 BM.GPU.H100.8 left, 3 are wanted" in refused(stack, second)
        grown = SMALL.replace("nodes: 4", "nodes: 6")
        stack.up(program(grown))  # its own four count once
        assert "has 6" in refused(stack, SMALL.replace("nodes: 4", "nodes: 7"))
        stack.up(program(SMALL.replace("nodes: 4", "nodes: 1")))
        stack.up(program(second.replace("nodes: 4", "nodes: 1")))


def test_tags_that_the_tenancy_adds_are_no_drift(tmp_path: Path, engine: Engine) -> None:
    region = tmp_path / "rehearsal" / "region.yaml"
    region.parent.mkdir()
    region.write_text(yaml.safe_dump({**REGION, "tagDefaults": {"Oracle-Tags.CreatedBy": "me", "Team.Name": "x"}}))
    ignoring = "spec:\n  ignoreDefinedTags: [Oracle-Tags.CreatedBy, Team.Name]\n  oke:"
    with deployment(tmp_path, engine) as stack:
        stack.up(program(SMALL.replace("spec:\n  oke:", ignoring, 1)))
        stack.refresh(expect_no_changes=True)
        stack.up(program(SMALL))  # Team.Name is no longer ignored
        stack.refresh()
        planned = stack.preview(program(SMALL))
        assert set(planned.steps["h100-nodes"].detailed_diff or {}) == {"definedTags"}
