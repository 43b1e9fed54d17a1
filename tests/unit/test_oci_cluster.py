"""The cluster: made or there already, its kubeconfig, and what is refused."""

from __future__ import annotations

import json

import pytest

from ome_iac.planning.oci.cluster import kubeconfig
from tests.engine.oci_stack import COMPARTMENT, EVERY_MODE, PRODUCTION, UBUNTU, plan_of
from tests.unit.oci_problems import problems_of

EXISTING = f"""
apiVersion: ome-iac/v1
kind: Cluster
metadata: {{name: there}}
spec:
  oke:
    clusterId: ocid1.cluster.oc1.iad.there
    compartmentId: {COMPARTMENT}
    kubernetesVersion: v1.34.1
    nodeSubnetId: ocid1.subnet.oc1.iad.nodes
"""
POOL = f"""---
apiVersion: ome-iac/v1
kind: NodePool
metadata: {{name: b4}}
spec:
  mode: cluster-network
  shape: BM.GPU.B4.8
  nodes: 2
  imageId: ocid1.image.oc1.iad.rdma
  imageName: {UBUNTU}
  availabilityDomain: AD-1
"""


def test_the_kubeconfig_holds_nothing_that_changes() -> None:
    text = kubeconfig("production", "ocid1.cluster.a", "us-ashburn-1", "https://10.0.0.10:6443", "Q0E=")
    assert kubeconfig("production", "ocid1.cluster.a", "us-ashburn-1", "https://10.0.0.10:6443", "Q0E=") == text
    document = json.loads(text)
    [user] = document["users"]
    assert user["user"]["exec"]["command"] == "oci"
    assert user["user"]["exec"]["args"] == [
        "ce", "cluster", "generate-token", "--cluster-id", "ocid1.cluster.a", "--region", "us-ashburn-1"
    ]  # fmt: skip
    assert "token" not in user["user"]
    [cluster] = document["clusters"]
    assert cluster["cluster"] == {"server": "https://10.0.0.10:6443", "certificate-authority-data": "Q0E="}
    assert document["current-context"] == document["contexts"][0]["name"]


def test_a_made_cluster_is_private_and_its_add_ons_are_pinned() -> None:
    cluster = plan_of(PRODUCTION).cluster
    assert cluster is not None
    assert not cluster.public_endpoint
    assert [(add_on.name, add_on.version) for add_on in cluster.add_ons] == [
        ("CoreDNS", "v1.11.1"),
        ("NvidiaGpuPlugin", "v0.17.3"),
    ]
    assert cluster.network is None  # made by the stack
    given = plan_of(EVERY_MODE).cluster
    assert given is not None
    assert given.network is not None
    assert given.network.subnets["pods"] == "ocid1.subnet.oc1.iad.pods"
    assert given.network.groups == {"pods": ("ocid1.networksecuritygroup.oc1.iad.pods",)}


def test_an_existing_pod_subnet_is_checked_where_its_size_is_said() -> None:
    [problem] = problems_of(EVERY_MODE.replace("10.0.0.0/18", "10.0.0.0/22"))
    assert problem.path.endswith("spec.create.network.podSubnetCidr")
    assert "the pod subnet 10.0.0.0/22 has 1,021" in problem.what
    assert problem.remedy.startswith("a pod subnet of /20 would do")
    assert problems_of(EVERY_MODE.replace(", podSubnetCidr: 10.0.0.0/18", "")) == []


def test_a_cluster_that_is_there_gets_pools_and_nothing_else() -> None:
    managed = POOL.replace("cluster-network", "managed-rdma")
    plan = plan_of(EXISTING + managed)
    assert (plan.network, plan.cluster) == (None, None)
    assert plan.existing is not None
    assert not plan.existing.vcn_native
    assert [pool.name for pool in plan.pools] == ["b4"]
    assert plan_of(EXISTING).empty


def test_a_stack_without_a_cluster_document_makes_nothing() -> None:
    pool = "apiVersion: ome-iac/v1\nkind: NodePool\nmetadata: {name: a}\n"
    pool += "spec: {mode: existing, shape: BM.GPU.H100.8, nodes: 1}\n"
    assert plan_of(pool).empty
    [problem] = problems_of(POOL.removeprefix("---\n"))
    assert "needs an OKE cluster" in problem.what


def test_self_managed_nodes_must_be_told_of_an_existing_cluster() -> None:
    found = problems_of(EXISTING + POOL)
    assert {problem.path.rpartition(".")[2] for problem in found} == {
        "tenancyId",
        "apiHost",
        "caCertificate",
        "podSubnetId",
    }
    told = EXISTING + (
        "    podSubnetId: ocid1.subnet.oc1.iad.pods\n    tenancyId: ocid1.tenancy.oc1..a\n"
        "    apiHost: 10.0.0.10\n    caCertificate: Q0E=\n"
    )
    assert problems_of(told + POOL) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("region: us-ashburn-1", "region: Ashburn", "has the wrong form"),
        ("kubernetesVersion: v1.34.1", "kubernetesVersion: 1.34.1", "has the wrong form"),
        ("name: CoreDNS", "name: KubeProxi", 'did you mean "KubeProxy"'),
        ("name: NvidiaGpuPlugin", "name: CoreDNS", "is there twice"),
        ("compartmentId: ocid1", "compartmentId: ocid2", "has the wrong form"),
        ("mode: managed, cidr", "mode: made, cidr", "mode is made"),
    ],
)
def test_clusters_that_cannot_be(old: str, new: str, what: str) -> None:
    [problem] = problems_of(PRODUCTION.replace(old, new, 1))
    assert what in str(problem)


def test_a_cluster_is_there_or_is_made() -> None:
    both = EVERY_MODE.replace("spec:\n", "spec:\n" + EXISTING[EXISTING.index("  oke:") :], 1)
    assert any("the cluster is there, or it is made" in problem.what for problem in problems_of(both))


def test_an_add_on_that_is_new_to_us_is_oracles_to_judge() -> None:
    assert problems_of(PRODUCTION.replace("name: CoreDNS", "name: SomethingEntirelyNew")) == []
