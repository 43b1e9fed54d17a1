"""Kueue's objects: what Kueue's own schemas say of them, and that they carry what the plan decided."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ome_iac.manifests.kueue import cluster_objects, local_queues
from ome_iac.planning.admission.plan import AdmissionPlan
from tests.unit.facts import pool
from tests.unit.test_reservations import BLOCKS, admission, chat, managed, oci, reservation, tenant

CRDS = Path(__file__).parents[3] / "shared" / "data" / "crds" / "kueue"
PRIORITIES = [{"name": "low", "value": 0}, {"name": "high", "value": 100}]


@pytest.fixture
def plan(tmp_path: Path) -> AdmissionPlan:
    placement = {"hpcIslandId": "island", "blocks": BLOCKS}
    shares = [{"pool": "h100", "gpus": 16, "borrow": 8, "lend": 8}, {"pool": "a10", "gpus": 1}]
    dedicated = {
        "apiVersion": "ome-iac/v1",
        "kind": "DedicatedAICluster",
        "metadata": {"name": "lab"},
        "spec": {"backend": "cluster", "pool": "l40s", "namespace": "lab"},
    }
    return admission(
        tmp_path,
        managed("h100", "BM.GPU.H100.8", 4),
        managed("a10", "VM.GPU.A10.1", 2),
        pool("l40s", "BM.GPU.L40S.4", 1),
        reservation(
            "r",
            ["h100", "a10"],
            oci={
                "availabilityDomain": "AD-1",
                "capacity": [*oci(4, placement=placement)["capacity"], {"shape": "VM.GPU.A10.1", "nodes": 2}],
            },
            queues=[{"name": "serving", "namespaces": ["default"], "shares": shares, "strategy": "StrictFIFO"}],
            priorities=PRIORITIES,
        ),
        tenant("blue", "blue", "blue-dev", quota={"h100": 16}),
        dedicated,
        chat("chat", engine={"labels": {"kueue.x-k8s.io/priority-class": "high"}}),
    )


def schemas() -> dict[str, dict[str, Any]]:
    if not CRDS.is_dir():
        pytest.skip("../shared/data/crds/kueue is absent")
    found = {}
    for name in ("clusterqueues", "localqueues", "resourceflavors", "topologies", "workloadpriorityclasses"):
        text = (CRDS / f"kueue.x-k8s.io_{name}.yaml").read_text()
        definition = yaml.load(text, Loader=yaml.CSafeLoader)["spec"]
        for version in definition["versions"]:
            if version["storage"]:
                kind = definition["names"]["kind"]
                found[kind] = {"version": version["name"], "schema": version["schema"]["openAPIV3Schema"]}
    return found


def faults(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """What a structural schema says against a value; unknown fields are faults."""
    types = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or not re.search(schema["pattern"], str(value)):
            yield f"{path}: {value!r} is no quantity"
        return
    if "type" in schema and not isinstance(value, types[schema["type"]]):
        yield f"{path}: {value!r} is no {schema['type']}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{path}: {value!r} is not {schema['pattern']}"
        if len(value) > schema.get("maxLength", len(value)):
            yield f"{path}: {value!r} is too long"
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{path}: {len(value)} items"
        for index, item in enumerate(value):
            yield from faults(item, schema["items"], f"{path}.{index}")
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}.{name} is missing"
        for name, item in value.items():
            known = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if path == "metadata":
                continue
            if known is None:
                yield f"{path}.{name} is not known"
            else:
                yield from faults(item, known, f"{path}.{name}" if path else name)


def by_kind(plan: AdmissionPlan, kind: str) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in cluster_objects(plan) if item["kind"] == kind}


def test_every_object_is_what_kueues_schema_wants(plan: AdmissionPlan) -> None:
    known = schemas()
    objects = [*cluster_objects(plan), *local_queues(plan, "blue"), *local_queues(plan, "default")]
    assert {item["kind"] for item in objects} == {
        "Topology",
        "ResourceFlavor",
        "WorkloadPriorityClass",
        "ClusterQueue",
        "LocalQueue",
    }
    for item in objects:
        assert item["apiVersion"] == f"kueue.x-k8s.io/{known[item['kind']]['version']}"
        assert list(faults(item, known[item["kind"]]["schema"], "")) == []


def test_the_schemas_do_refuse(plan: AdmissionPlan) -> None:
    known = schemas()["ClusterQueue"]["schema"]
    queue = by_kind(plan, "ClusterQueue")["serving"]
    queue["spec"] |= {"queueingStrategy": "Fifo", "cohort": "r"}
    queue["spec"]["resourceGroups"][0]["coveredResources"] = []
    assert len(list(faults(queue, known, ""))) == 3


def test_everything_that_a_pod_asks_for_is_covered(plan: AdmissionPlan) -> None:
    """Kueue never admits a workload that asks for a resource its queue does not cover."""
    [group] = by_kind(plan, "ClusterQueue")["blue"]["spec"]["resourceGroups"]
    assert group["coveredResources"] == ["cpu", "ephemeral-storage", "memory", "nvidia.com/gpu", "nvidia.com/rdma-vf"]
    [flavor] = group["flavors"]
    quotas = {resource["name"]: resource["nominalQuota"] for resource in flavor["resources"]}
    assert (quotas["nvidia.com/gpu"], quotas["nvidia.com/rdma-vf"]) == ("16", "32")
    assert quotas["cpu"] == str(190 * 2)


def test_all_flavors_of_a_queue_cover_the_same_resources(plan: AdmissionPlan) -> None:
    [group] = by_kind(plan, "ClusterQueue")["serving"]["spec"]["resourceGroups"]
    for flavor in group["flavors"]:
        assert [resource["name"] for resource in flavor["resources"]] == group["coveredResources"]
    a10 = {r["name"]: r for f in group["flavors"] if f["name"] == "a10" for r in f["resources"]}
    assert a10["nvidia.com/rdma-vf"]["nominalQuota"] == "0"
    assert "borrowingLimit" not in a10["nvidia.com/gpu"]
    h100 = {r["name"]: r for f in group["flavors"] if f["name"] == "h100" for r in f["resources"]}
    gpu = h100["nvidia.com/gpu"]
    assert (gpu["nominalQuota"], gpu["borrowingLimit"], gpu["lendingLimit"]) == ("16", "8", "8")


def test_topology_goes_from_the_island_to_the_host(plan: AdmissionPlan) -> None:
    [topology] = by_kind(plan, "Topology").values()
    assert [level["nodeLabel"] for level in topology["spec"]["levels"]] == [
        "oci.oraclecloud.com/rdma.hpc_island_id",
        "oci.oraclecloud.com/rdma.network_block_id",
        "oci.oraclecloud.com/rdma.local_block_id",
        "kubernetes.io/hostname",
    ]
    flavors = by_kind(plan, "ResourceFlavor")
    assert flavors["h100"]["spec"]["topologyName"] == topology["metadata"]["name"]
    assert "topologyName" not in flavors["a10"]["spec"]
    assert flavors["h100"]["spec"]["nodeLabels"]["ome-iac/pool"] == "h100"


def test_a_dedicated_cluster_is_closed_and_opens_itself_to_whom_it_admits(plan: AdmissionPlan) -> None:
    flavor = by_kind(plan, "ResourceFlavor")["l40s"]["spec"]
    taint = {"key": "ome-iac/dedicated", "value": "lab", "effect": "NoSchedule"}
    assert taint in flavor["nodeTaints"]
    assert flavor["tolerations"] == [{**taint, "operator": "Equal"}]
    queue = by_kind(plan, "ClusterQueue")["lab"]["spec"]
    assert "cohortName" not in queue
    assert queue["preemption"]["reclaimWithinCohort"] == "Never"
    [only] = queue["namespaceSelector"]["matchExpressions"]
    assert only == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["lab"]}


def test_a_queue_for_nobody_selects_no_namespace(tmp_path: Path) -> None:
    plan = admission(tmp_path, pool("h100", "BM.GPU.H100.8", 1), reservation("r", ["h100"]))
    [expression] = by_kind(plan, "ClusterQueue")["r"]["spec"]["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "DoesNotExist"}


def test_namespaces_have_their_local_queues_and_no_others(plan: AdmissionPlan) -> None:
    assert [queue["metadata"] for queue in local_queues(plan, "blue-dev")] == [
        {"name": "blue", "namespace": "blue-dev"}
    ]
    assert local_queues(plan, "elsewhere") == []
