"""Pools of every mode: what is planned, and what is refused."""

from __future__ import annotations

import random

import pytest

from ome_iac.hardware import shapes
from ome_iac.hardware.cpu_shapes import cpu_shapes
from ome_iac.planning.oci.images import read_image_name
from ome_iac.planning.oci.plan import OciPlan
from tests.engine.oci_stack import PRODUCTION, UBUNTU, plan_of
from tests.unit.oci_problems import problems_of

ARM = UBUNTU.replace("24.04-", "24.04-aarch64-")
AMD = "Canonical-Ubuntu-24.04-2026.02.28-0-6.8-DOCA-OFED-3.2.1-AMD-ROCM-72-2026.05.05-0"
AD = "availabilityDomain: Uocm:US-ASHBURN-AD-1"
HEAD = """---
apiVersion: ome-iac/v1
kind: NodePool
metadata: {name: extra}
spec:
  imageId: ocid1.image.oc1.iad.any
"""


def extra(spec: str) -> str:
    """The production stack with one more pool."""
    return PRODUCTION + HEAD + "".join(f"  {line.strip()}\n" for line in spec.strip().splitlines())


def rdma(shape: str, mode: str = "managed-rdma", image: str = UBUNTU, nodes: int = 2, more: str = "") -> str:
    return extra(f"mode: {mode}\nshape: {shape}\nnodes: {nodes}\nimageName: {image}\n{AD}\n{more}")


def managed(shape: str, more: str = "", domains: str = "[Uocm:US-ASHBURN-AD-1]") -> str:
    return extra(f"mode: managed\nshape: {shape}\nnodes: 2\navailabilityDomains: {domains}\n{more}")


def test_the_cpu_shapes_are_nobodys_gpu_shapes() -> None:
    assert not cpu_shapes().keys() & shapes().keys()
    assert cpu_shapes()["VM.Standard.E5.Flex"].price_per_hour(8, 64) == pytest.approx(0.368)


def test_what_a_pool_of_each_mode_becomes() -> None:
    text = (
        rdma("BM.GPU.GB200.4", "gpu-memory-cluster", ARM, 18)
        + HEAD.replace("extra", "other")
        + (f"  mode: cluster-network\n  shape: BM.GPU.B4.8\n  nodes: 2\n  imageName: {UBUNTU}\n  {AD}\n")
    )
    pools = {pool.name: pool for pool in plan_of(text).pools}
    assert {name: pool.mode for name, pool in pools.items()} == {
        "extra": "gpu-memory-cluster",
        "other": "cluster-network",
        "h100": "managed-rdma",
        "system": "managed",
    }
    for name in ("extra", "other"):
        assert pools[name].self_managed
        assert pools[name].agent_plugins["Compute HPC RDMA Authentication"]
        assert not pools[name].agent_plugins["Bastion"]
        assert pools[name].metadata["oke-initial-node-labels"] == f"ome-iac/pool={name}"
        assert pools[name].metadata["oke-tenancy-id"] == "ocid1.tenancy.oc1..main"
    assert not pools["h100"].self_managed
    assert pools["h100"].metadata == {}
    assert pools["system"].autoscale == (2, 6)
    assert pools["system"].availability_domains == tuple(f"Uocm:US-ASHBURN-AD-{number}" for number in (1, 2, 3))


def test_the_policy_says_what_the_pools_need_and_no_more() -> None:
    policy = plan_of(PRODUCTION).policy
    assert policy is not None
    [statement] = policy.statements
    assert "{COMPUTE_CLUSTER_LAUNCH_INSTANCE}" in statement
    assert policy.joining is None
    with_rack = plan_of(rdma("BM.GPU.GB300.4", "gpu-memory-cluster", ARM)).policy
    assert with_rack is not None
    assert any("{CLUSTER_JOIN}" in statement for statement in with_rack.statements)
    assert with_rack.joining == "ALL {instance.compartment.id = 'ocid1.compartment.oc1..production'}"
    assert not any("manage" in statement for statement in with_rack.statements)
    only_cpu = PRODUCTION[: PRODUCTION.rindex("---")]
    assert plan_of(only_cpu).policy is None


def test_tags_are_on_everything() -> None:
    plan = plan_of(PRODUCTION, {"h100": ("b/second", "a/first")})
    common = {"ome-iac-stack": "production", "ome-iac-cost-centre": "cc-1234", "team": "inference"}
    pool = next(pool for pool in plan.pools if pool.name == "h100")
    assert pool.tags == {**common, "ome-iac-tenant": "research", "ome-iac-services": "a/first b/second"}
    assert plan.network is not None
    assert plan.cluster is not None
    assert plan.policy is not None
    assert plan.network.tags == plan.cluster.tags == plan.policy.tags == common


def test_many_services_still_fit_into_a_tag() -> None:
    names = tuple(f"team-{number:03}/service" for number in range(40))
    pool = next(pool for pool in plan_of(PRODUCTION, {"h100": names}).pools if pool.name == "h100")
    listed = pool.tags["ome-iac-services"]
    assert len(listed) <= 256
    shown = listed.split(" ")
    assert shown[-1] == f"+{40 - len(shown) + 1}"


def test_protection_follows_the_cluster_for_gpus_alone() -> None:
    plan = plan_of(PRODUCTION.replace("protect: false", "protect: true"))
    assert {pool.name: pool.protect for pool in plan.pools} == {"h100": True, "system": False}
    assert plan.cluster is not None
    assert plan.cluster.protect
    assert not any(pool.protect for pool in plan_of(PRODUCTION).pools)


def test_the_order_of_documents_does_not_matter() -> None:
    documents = PRODUCTION.split("---")
    random.Random(7).shuffle(documents)
    assert plan_of("---".join(documents)) == plan_of(PRODUCTION)


def test_a_plan_is_plain_data() -> None:
    plan = plan_of(PRODUCTION)
    assert OciPlan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan


@pytest.mark.parametrize(
    ("name", "system", "architecture", "vendor", "ofed", "kubernetes"),
    [
        (UBUNTU, "ubuntu", "amd64", "nvidia", True, None),
        (ARM, "ubuntu", "arm64", "nvidia", True, None),
        (AMD, "ubuntu", "amd64", "amd", True, None),
        (
            "Oracle-Linux-8.10-Gen2-GPU-2025.08.31-0-OKE-1.34.1-1191",
            "oracle-linux",
            "amd64",
            "nvidia",
            False,
            "v1.34.1",
        ),
        ("Oracle-Linux-8.10-aarch64-2025.08.31-0-OKE-1.33.1-1191", "oracle-linux", "arm64", None, False, "v1.33.1"),
    ],
)
def test_what_an_images_name_tells(
    name: str, system: str, architecture: str, vendor: str | None, ofed: bool, kubernetes: str | None
) -> None:
    image = read_image_name(name)
    assert image is not None
    assert (image.system, image.architecture, image.gpu_vendor) == (system, architecture, vendor)
    assert (image.ofed, image.kubernetes) == (ofed, kubernetes)


@pytest.mark.parametrize(
    ("text", "path", "what", "remedy"),
    [
        (rdma("BM.GPU.H100-NC.8"), "spec.mode", "BM.GPU.H100-NC.8 has no cluster network", "BM.GPU.H100.8"),
        (managed("BM.GPU.GB200.4"), "spec.mode", "comes only in a GPU memory cluster", "mode: gpu-memory-cluster"),
        (rdma("BM.GPU.GB200-v3.4", image=ARM), "spec.mode", "comes only in a GPU memory cluster", "gpu-memory-cluster"),
        (rdma("BM.GPU.H200.8", "gpu-memory-cluster"), "spec.mode", "comes in no GPU memory cluster", "managed-rdma"),
        (rdma("VM.Standard.E5.Flex"), "spec.mode", "has neither", "mode: managed"),
        (rdma("BM.GPU.GB200"), "spec.shape", "BM.GPU.GB200-v2.4, BM.GPU.GB200-v3.4, BM.GPU.GB200.4", "in full"),
        (managed("BM.GPU.H100.80"), "spec.shape", "there is no GPU shape BM.GPU.H100.80, but BM.GPU.H100.8", "write"),
        (managed("VM.GPU.A11.1"), "spec.shape", "there is no GPU shape VM.GPU.A11.1", 'did you mean "VM.GPU.A10.1"?'),
        (
            rdma("BM.GPU.H100.8", image="Oracle-Linux-8.10-Gen2-GPU-2025.08.31-0-OKE-1.34.1-1191"),
            "spec.imageName",
            "is Oracle Linux: it cannot use a cluster network",
            "DOCA-OFED",
        ),
        (rdma("BM.GPU.H100.8", image=AMD), "spec.imageName", "has amd drivers", "GPU in its name"),
        (rdma("BM.GPU.MI300X.8"), "spec.imageName", "has nvidia drivers", "AMD-ROCM"),
        (rdma("BM.GPU.GB200.4", "gpu-memory-cluster"), "spec.imageName", "is for amd64", "aarch64"),
        (rdma("BM.GPU.H100.8", image="my-image"), "spec.imageName", "no image name that can be read", "Canonical"),
        (
            managed("VM.GPU.A10.1", "imageName: Oracle-Linux-8.10-Gen2-GPU-2025.08.31-0-OKE-1.33.1-1191"),
            "spec.imageName",
            "has Kubernetes v1.33.1, the pool is to run v1.34.1",
            "OKE-1.34.1",
        ),
        (managed("VM.GPU.A10.1", "kubernetesVersion: v1.35.0"), "spec.kubernetesVersion", "newer than", "upgrade"),
        (managed("VM.GPU.A10.1", "kubernetesVersion: v1.30.1"), "spec.kubernetesVersion", "too old", "v1.31"),
        (
            managed("VM.GPU.A10.1", "capacityReservationId: ocid1.x.oc1..r", "[A:US-ASHBURN-AD-1, A:US-ASHBURN-AD-2]"),
            "spec.availabilityDomains",
            "2 domains on one capacity reservation",
            "a pool for each other",
        ),
        (managed("VM.GPU.A10.1", "ocpus: 4"), "spec.ocpus", "is not flexible", "leave it out"),
        (managed("VM.Standard.E5.Flex", "ocpus: 4"), "spec.memoryGB", "is missing", "such as 64"),
        (managed("VM.Standard.E5.Flex", "ocpus: 2\nmemoryGB: 500"), "spec.memoryGB", "do not go with", "2 to 128"),
        (managed("VM.Standard.E5.Flex", "ocpus: 200\nmemoryGB: 500"), "spec.ocpus", "are more than", "126 at most"),
        (
            managed("VM.Standard.E5.Flex", "ocpus: 2\nmemoryGB: 32\nmaxPodsPerNode: 100"),
            "spec.maxPodsPerNode",
            "carries 31 pods at most",
            "more ocpus",
        ),
        (
            managed("VM.GPU.A10.1", "autoscale: {minNodes: 3, maxNodes: 5}"),
            "spec.nodes",
            "not between 3 and 5",
            "begin",
        ),
        (
            managed("VM.GPU.A10.1", "cycling: {maxSurge: 0, maxUnavailable: 0}"),
            "spec.cycling",
            "nothing can move",
            "raise",
        ),
        (
            rdma("BM.GPU.GB200.4", "gpu-memory-cluster", ARM, 19),
            "spec.nodes",
            "19 nodes are more than a rack of BM.GPU.GB200.4 has (18)",
            "a pool for each rack",
        ),
    ],
)
def test_pools_that_cannot_be(text: str, path: str, what: str, remedy: str) -> None:
    found = [problem for problem in problems_of(text) if problem.path == f"NodePool/extra {path}"]
    assert any(what in problem.what and remedy in problem.remedy for problem in found), problems_of(text)


def test_a_new_cluster_needs_a_place_for_core_dns() -> None:
    cluster, system, gpu = PRODUCTION.split("---")
    [problem] = problems_of(cluster + "---" + gpu)
    assert "CoreDNS" in problem.what
    assert "VM.Standard.E5.Flex" in problem.remedy
    tainted = system.rstrip() + "\n  taints: [{key: only, value: mine}]\n"
    assert [item.what for item in problems_of("---".join([cluster, tainted, gpu]))] == [problem.what]
    preferred = tainted.replace("value: mine", "value: mine, effect: PreferNoSchedule")
    assert problems_of("---".join([cluster, preferred, gpu])) == []


def test_self_managed_nodes_must_be_told_their_tenancy() -> None:
    text = rdma("BM.GPU.GB300.4", "gpu-memory-cluster", ARM).replace("    tenancyId: ocid1.tenancy.oc1..main\n", "")
    [problem] = problems_of(text)
    assert problem.path == "Cluster/production spec.create.tenancyId"
    assert "extra" in problem.what


def test_one_fabric_carries_one_gpu_memory_cluster() -> None:
    fabric = "gpuMemoryFabricId: ocid1.computegpumemoryfabric.oc1..a"
    one = rdma("BM.GPU.GB200.4", "gpu-memory-cluster", ARM, more=fabric)
    both = one + one[one.rindex("---") :].replace("name: extra", "name: twin")
    [problem] = problems_of(both)
    assert "NodePool/extra's" in problem.what


def test_everything_wrong_is_said_at_once() -> None:
    text = rdma("BM.GPU.H100-NC.8", image=AMD).replace("cidr: 10.0.0.0/16", "cidr: 10.96.0.0/23")
    text = text.replace("name: CoreDNS", "name: CoreDns").replace("team: inference", "the team: inference")
    found = problems_of(text)
    assert {problem.path.partition(" ")[2] for problem in found} == {
        "spec.tags.freeform.the team",
        "spec.create.servicesCidr",
        "spec.create.addOns.0.name",
        "spec.create.network.cidr",
        "spec.imageName",
        "spec.mode",
    }
    assert all(problem.where and problem.remedy for problem in found)


def test_pools_are_checked_even_where_their_cluster_is_wrong_or_missing() -> None:
    pool = rdma("BM.GPU.H100-NC.8", image=AMD)[len(PRODUCTION) :].removeprefix("---\n")
    alone = [problem.path.partition(" ")[2] for problem in problems_of(pool)]
    assert sorted(alone) == ["spec.imageName", "spec.mode", "spec.mode"]


def test_nodes_come_from_one_reservation() -> None:
    both = (
        rdma("BM.GPU.H100.8", more="capacityReservationId: ocid1.capacityreservation.oc1..r")
        + """---
apiVersion: ome-iac/v1
kind: CapacityReservation
metadata: {name: kept}
spec:
  pools: [extra]
  oci: {availabilityDomain: Uocm:US-ASHBURN-AD-1, capacity: [{shape: BM.GPU.H100.8, nodes: 2}]}
"""
    )
    [problem] = problems_of(both)
    assert "beside CapacityReservation/kept" in problem.what


@pytest.mark.parametrize(
    ("more", "path", "what"),
    [
        ("taints: [{key: a, value: \"x' && rm -rf / '\"}]", "spec.taints.0.value", "has the wrong form"),
        ("taints: [{key: \"a b\"}]", "spec.taints.0.key", "has the wrong form"),
        ("nodeSelector: {kubernetes.io/role: gpu}", "spec.nodeSelector.kubernetes.io/role", "a kubelet may not set"),
        ("nodeSelector: {\"a b\": c}", "spec.nodeSelector.a b", "is no label"),
        ("nodeSelector: {a: \"b,c=d\"}", "spec.nodeSelector.a", "is no label"),
    ],
)  # fmt: skip
def test_labels_and_taints_are_what_kubernetes_takes(more: str, path: str, what: str) -> None:
    [problem] = problems_of(rdma("BM.GPU.H100.8", more=more))
    assert problem.path == f"NodePool/extra {path}"
    assert what in problem.what


def test_a_kubelet_may_label_its_node_in_its_own_domains() -> None:
    text = "nodeSelector: {node.kubernetes.io/role: gpu, example.com/team: a, plain: b}"
    assert problems_of(rdma("BM.GPU.H100.8", more=text)) == []
