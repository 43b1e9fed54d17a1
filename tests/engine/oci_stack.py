"""A stack that makes everything below Kubernetes, as documents, and its program."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pulumi

from components.oci import oci_provider, register_oci
from ome_iac.planning.oci.plan import OciPlan
from ome_iac.planning.oci.planner import plan_oci
from ome_iac.problems import Problem, ProblemsError
from ome_iac.spec.stack import Stack
from ome_iac.spec.validation import parse
from ome_iac.spec.yaml_documents import read_documents

COMPARTMENT = "ocid1.compartment.oc1..production"
UBUNTU = "Canonical-Ubuntu-24.04-2026.02.28-0-6.8-DOCA-OFED-3.2.1-GPU-580-OPEN-CUDA-13.0-2026.05.05-0"
ORACLE_LINUX = "Oracle-Linux-8.10-2026.06.30-0-OKE-1.34.1-760"
PRODUCTION = f"""
apiVersion: ome-iac/v1
kind: Cluster
metadata: {{name: production}}
spec:
  tags: {{costCentre: cc-1234, freeform: {{team: inference}}}}
  create:
    compartmentId: {COMPARTMENT}
    tenancyId: ocid1.tenancy.oc1..main
    region: us-ashburn-1
    kubernetesVersion: v1.34.1
    protect: false
    network: {{mode: managed, cidr: 10.0.0.0/16}}
    addOns:
      - {{name: CoreDNS, version: v1.11.1}}
      - {{name: NvidiaGpuPlugin, version: v0.17.3, configuration: {{numOfReplicas: "1"}}}}
---
apiVersion: ome-iac/v1
kind: NodePool
metadata: {{name: system}}
spec:
  mode: managed
  shape: VM.Standard.E5.Flex
  nodes: 3
  ocpus: 8
  memoryGB: 64
  imageId: ocid1.image.oc1.iad.cpu
  imageName: {ORACLE_LINUX}
  availabilityDomains: [Uocm:US-ASHBURN-AD-1, Uocm:US-ASHBURN-AD-2, Uocm:US-ASHBURN-AD-3]
  autoscale: {{minNodes: 2, maxNodes: 6}}
---
apiVersion: ome-iac/v1
kind: NodePool
metadata: {{name: h100}}
spec:
  mode: managed-rdma
  shape: BM.GPU.H100.8
  nodes: 4
  imageId: ocid1.image.oc1.iad.rdma
  imageName: {UBUNTU}
  availabilityDomain: Uocm:US-ASHBURN-AD-1
  taints: [{{key: reserved, value: training}}]
  tenant: research
"""


def stack_of(text: str, name: str = "production") -> tuple[Stack, list[Problem]]:
    """The documents of a text, and what is wrong with each by itself."""
    problems: list[Problem] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stack.yaml"
        path.write_text(text)
        documents = [parse(raw, problems) for raw in read_documents(path, "stack.yaml", problems)]
    return Stack(name, tuple(document for document in documents if document)), problems


def plan_of(text: str, services: dict[str, tuple[str, ...]] | None = None) -> OciPlan:
    """The plan of a text; ProblemsError where there is none."""
    stack, problems = stack_of(text)
    plan = plan_oci(stack, problems, services)
    if plan is None or problems:
        raise ProblemsError(problems)
    return plan


def program(text: str) -> Callable[[], None]:
    """The Pulumi program of a text."""
    plan = plan_of(text)

    def build() -> None:
        made = register_oci(plan, oci_provider(plan))
        if made.kubeconfig is not None:
            pulumi.export("kubeconfig", made.kubeconfig)
        pulumi.export("pools", {name: pool.pool_id for name, pool in made.pools.items()})

    return build


ARM = UBUNTU.replace("24.04-", "24.04-aarch64-")
_POOL = "---\napiVersion: ome-iac/v1\nkind: NodePool\nmetadata: {{name: {0}}}\nspec:\n  mode: {1}\n  shape: {2}\n"
EVERY_MODE = f"""
apiVersion: ome-iac/v1
kind: Cluster
metadata: {{name: every}}
spec:
  tags: {{costCentre: one}}
  create:
    compartmentId: {COMPARTMENT}
    tenancyId: ocid1.tenancy.oc1..main
    region: us-ashburn-1
    kubernetesVersion: v1.34.1
    protect: false
    network: {{mode: existing, vcnId: ocid1.vcn.oc1.iad.a, apiSubnetId: ocid1.subnet.oc1.iad.api,
      workerSubnetId: ocid1.subnet.oc1.iad.workers, podSubnetId: ocid1.subnet.oc1.iad.pods,
      loadBalancerSubnetId: ocid1.subnet.oc1.iad.lb, podSubnetCidr: 10.0.0.0/18,
      podNsgIds: [ocid1.networksecuritygroup.oc1.iad.pods]}}
{_POOL.format("cpu", "managed", "VM.Standard.E5.Flex")}
  nodes: 3
  ocpus: 8
  memoryGB: 64
  bootVolumeGB: 100
  imageId: ocid1.image.oc1.iad.cpu
  availabilityDomains: [Uocm:US-ASHBURN-AD-1, Uocm:US-ASHBURN-AD-2]
  autoscale: {{minNodes: 2, maxNodes: 6}}
  cycling: {{maxSurge: 1}}
{_POOL.format("rdma", "managed-rdma", "BM.GPU.H100.8")}
  nodes: 2  # rdma
  imageId: ocid1.image.oc1.iad.rdma
  imageName: {UBUNTU}
  taints: []  # rdma
  availabilityDomain: Uocm:US-ASHBURN-AD-1  # rdma
{_POOL.format("b4", "cluster-network", "BM.GPU.B4.8")}
  nodes: 2
  imageId: ocid1.image.oc1.iad.other
  imageName: {UBUNTU}
  availabilityDomain: Uocm:US-ASHBURN-AD-1  # b4
{_POOL.format("gb200", "gpu-memory-cluster", "BM.GPU.GB200.4")}
  nodes: 18
  imageId: ocid1.image.oc1.iad.arm
  imageName: {ARM}
  availabilityDomain: Uocm:US-ASHBURN-AD-1
"""
"""Pools of every mode on a new cluster, in a network that is there."""
