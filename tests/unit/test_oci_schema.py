from __future__ import annotations

import sys
from typing import Any

import pytest

from ome_iac.rehearsal.providers import oci_schema
from ome_iac.rehearsal.providers.diffing import parse, render
from ome_iac.rehearsal.providers.oci_schema import Type, UnknownTypeError
from ome_iac.rehearsal.providers.oci_validation import problems, replaces
from ome_iac.rehearsal.providers.values import UNKNOWN, Secret

POOL = "oci:ContainerEngine/nodePool:NodePool"
CLUSTER = "oci:ContainerEngine/cluster:Cluster"
PLACE = {"availabilityDomain": "AD-1", "subnetId": "s"}
VALID = {
    "clusterId": "c",
    "compartmentId": "c",
    "nodeShape": "BM.GPU.H100.8",
    "nodeConfigDetails": {"size": 2, "placementConfigs": [PLACE]},
}


@pytest.mark.parametrize(
    ("token", "required"),
    [
        (POOL, {"clusterId", "compartmentId", "nodeShape"}),
        (CLUSTER, {"compartmentId", "kubernetesVersion", "vcnId"}),
        ("oci:Core/computeCluster:ComputeCluster", {"availabilityDomain", "compartmentId"}),
        (
            "oci:Core/computeCapacityReservation:ComputeCapacityReservation",
            {"availabilityDomain", "compartmentId", "instanceReservationConfigs"},
        ),
        (
            "oci:GenerativeAi/dedicatedAiCluster:DedicatedAiCluster",
            {"compartmentId", "type", "unitCount", "unitShape"},
        ),
        ("oci:ObjectStorage/bucket:Bucket", {"compartmentId", "namespace"}),
        ("oci:Dns/resolverEndpoint:ResolverEndpoint", {"isForwarding", "isListening", "resolverId", "subnetId"}),
    ],
)
def test_required_properties(token: str, required: set[str]) -> None:
    found = oci_schema.resource(token)
    assert {known.name for known in found.inputs.values() if known.required} == required


def test_types_and_nested_properties() -> None:
    pool = oci_schema.resource(POOL)
    assert pool.inputs["freeformTags"].type == Type("map", Type("string"))
    assert pool.inputs["subnetIds"].type == Type("list", Type("string"))
    assert pool.inputs["nodeConfigDetails"].type == Type("object", name="NodePoolNodeConfigDetailsArgs")
    details = oci_schema.nested(pool.module, "NodePoolNodeConfigDetailsArgs")
    assert details["size"].type == Type("integer")
    assert details["placementConfigs"].type.item == Type("object", name="NodePoolNodeConfigDetailsPlacementConfigArgs")
    assert details["isPvEncryptionInTransitEnabled"].type == Type("boolean")
    assert {"state", "nodes", "nodeSources"} <= pool.outputs.keys() - pool.inputs.keys()


@pytest.mark.parametrize("token", ["oci:Core/vnc:Vnc", "oci:Nothing/x:X", "kubernetes:core/v1:Pod", "oci:Core/vcn:Vnc"])
def test_what_the_sdk_does_not_have(token: str) -> None:
    with pytest.raises(UnknownTypeError):
        oci_schema.resource(token)


@pytest.mark.parametrize(
    ("token", "path", "replacing"),
    [
        (POOL, "nodeShape", False),
        (POOL, "clusterId", True),
        (POOL, "compartmentId", True),
        (POOL, "nodeImageId", True),
        (POOL, "nodeConfigDetails", False),
        (POOL, "nodeConfigDetails.size", False),
        (POOL, "nodeConfigDetails.computeClusterId", True),
        (POOL, "nodeConfigDetails.placementConfigs[0].capacityReservationId", False),
        (POOL, "nodeConfigDetails.placementConfigs[1]", False),
        (POOL, "freeformTags.team", False),
        (CLUSTER, "type", False),
        (CLUSTER, "vcnId", True),
        (CLUSTER, "endpointConfig.subnetId", True),
        (CLUSTER, "clusterPodNetworkOptions[0].cniType", True),
        (CLUSTER, "kmsKeyId", True),
        ("oci:Core/computeCluster:ComputeCluster", "availabilityDomain", True),
        ("oci:Core/computeCluster:ComputeCluster", "displayName", False),
        ("oci:Core/computeCapacityReservation:ComputeCapacityReservation", "availabilityDomain", True),
        (
            "oci:Core/computeCapacityReservation:ComputeCapacityReservation",
            "instanceReservationConfigs[0].reservedCount",
            False,
        ),
        ("oci:GenerativeAi/dedicatedAiCluster:DedicatedAiCluster", "unitCount", False),
        ("oci:GenerativeAi/dedicatedAiCluster:DedicatedAiCluster", "unitShape", True),
        ("oci:ObjectStorage/bucket:Bucket", "name", True),
    ],
)
def test_what_a_change_replaces(token: str, path: str, replacing: bool) -> None:
    assert replaces(oci_schema.resource(token), parse(path)) is replacing


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, []),
        ({"nodeShape": None}, ["nodeShape"]),
        ({"nodeshape": "x"}, ["nodeshape"]),
        ({"nodeShape": UNKNOWN, "freeformTags": Secret({"a": UNKNOWN})}, []),
        ({"nodeConfigDetails": UNKNOWN}, []),
        ({"nodeConfigDetails": {"size": UNKNOWN, "placementConfigs": [UNKNOWN, PLACE]}}, []),
        ({"nodeConfigDetails": {"size": "3", "placementConfigs": [PLACE]}}, []),
        ({"nodeConfigDetails": {"size": True, "placementConfigs": [PLACE]}}, ["nodeConfigDetails.size"]),
        ({"nodeConfigDetails": {"size": 1, "placementConfigs": PLACE}}, ["nodeConfigDetails.placementConfigs"]),
        (
            {"nodeConfigDetails": {"size": 1, "placementConfigs": [{"subnetId": {}, "x": 1}]}},
            [
                "nodeConfigDetails.placementConfigs[0].x",
                "nodeConfigDetails.placementConfigs[0].availabilityDomain",
                "nodeConfigDetails.placementConfigs[0].subnetId",
            ],
        ),
        ({"freeformTags": {"count": 3, "bad": []}}, ["freeformTags.bad"]),
        ({"quantityPerSubnet": 1.5}, ["quantityPerSubnet"]),
        ({"subnetIds": "one"}, ["subnetIds"]),
    ],
)
def test_every_wrong_property_is_found(change: dict[str, Any], wanted: list[str]) -> None:
    found = problems(oci_schema.resource(POOL), VALID | change)
    assert [render(failure.path) for failure in found] == wanted


def test_a_wrong_secret_is_not_repeated() -> None:
    (failure,) = problems(oci_schema.resource(POOL), VALID | {"quantityPerSubnet": Secret("hidden")})
    assert failure.reason == "must be an integer"


def test_the_sdk_is_not_imported() -> None:
    oci_schema.resource.cache_clear()
    before = set(sys.modules)
    oci_schema.resource(POOL)
    assert not any(name.startswith("pulumi_oci") for name in set(sys.modules) - before)
