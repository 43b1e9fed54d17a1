"""What speaks against a pool as it was written: its mode, shape, image, version, size and placement."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ome_iac.hardware import Shape, shapes
from ome_iac.hardware.cpu_shapes import CpuShape, cpu_shapes
from ome_iac.planning.oci.images import image_faults, read_image_name, version_faults
from ome_iac.planning.oci.network import PODS_PER_VNIC
from ome_iac.planning.oci.tenancy import TenancyFacts, pool_answers
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.infrastructure import (
    LABEL_KEY,
    LABEL_VALUE,
    GpuMemoryClusterPool,
    MadePool,
    ManagedPool,
    NodePool,
    RdmaPool,
)
from ome_iac.spec.stack import Stack

AnyShape = Shape | CpuShape
KUBELETS_OWN = ("kubelet.kubernetes.io", "node.kubernetes.io")
"""Domains within Kubernetes' own in which a kubelet may label its node."""
MOST_PODS = 110
MOST_VNICS = 24


def find_shape(name: str) -> AnyShape | None:
    """A shape of either table, by its whole name."""
    return shapes().get(name) or cpu_shapes().get(name)


def unknown_shapes(stack: Stack) -> bool:
    """Whether a pool names a shape that does not exist: what would fit on it, nobody can say."""
    return any(find_shape(pool.spec.shape) is None for pool in stack.of(NodePool))


def shape_problem(pool: NodePool) -> Problem:
    """Why a name is no shape. Variants of one GPU differ in NICs and drives: none is taken for another."""
    name = pool.spec.shape
    known = {**shapes(), **cpu_shapes()}
    what = f"there is no {'GPU ' if '.GPU' in name else ''}shape {name}"
    variants = sorted(shape for shape in known if shape.startswith(name.rstrip("*")) or name.startswith(shape))
    if variants:
        return pool.problem(
            "spec.shape",
            f"{what}, but {', '.join(variants)}",
            "write one in full: they differ in network and drives" if len(variants) > 1 else f"write {variants[0]}",
        )
    return pool.problem("spec.shape", what, did_you_mean(name, known))


def pool_problems(
    pool: NodePool,
    shape: AnyShape,
    cluster_version: str | None,
    reservation: str | None,
    tenancy: TenancyFacts | None = None,
) -> Iterator[Problem]:
    """Everything that is wrong with a pool this stack makes. `cluster_version` is None where the cluster is unknown;
    `reservation` is the stack's own that covers the pool, `tenancy` what a real one answered."""
    spec = pool.spec
    if not isinstance(spec, MadePool):
        return
    for what, remedy in _mode_faults(pool, shape):
        yield pool.problem("spec.mode", what, remedy)
    version = spec.kubernetes_version or cluster_version
    if version and cluster_version:
        for what, remedy in version_faults(version, cluster_version, shape):
            yield pool.problem("spec.kubernetesVersion", what, remedy)
    if tenancy:
        yield from pool_answers(pool, tenancy)
    image_name = spec.image_name or (tenancy.image_name(spec.image_id) if tenancy else None)
    if image_name is not None:
        image = read_image_name(image_name)
        if image is None:
            remedy = "Oracle-Linux-8.10-...-OKE-1.34.1-1191, Canonical-Ubuntu-24.04-..."
            yield pool.problem("spec.imageName", "is no image name that can be read", remedy)
        else:
            for what, remedy in image_faults(image, shape, spec.mode, version):
                yield pool.problem("spec.imageName", what, remedy)
    if reservation and spec.capacity_reservation_id:
        what = f"beside CapacityReservation/{reservation}, which covers the pool"
        yield pool.problem("spec.capacityReservationId", what, "keep one: nodes come from one reservation")
    yield from _label_problems(pool)
    yield from _size_problems(pool, shape)
    if isinstance(spec, ManagedPool):
        yield from _placement_problems(pool, spec)


def most_pods(spec: MadePool, shape: AnyShape) -> int:
    """Pods that a node can have by its VNICs, of which one is its own; a virtual machine has as many as OCPUs (OKE)."""
    if isinstance(shape, Shape):
        vnics = MOST_VNICS if shape.bare_metal else min(max(2, shape.ocpus), MOST_VNICS)
    else:
        vnics = min(max(2, getattr(spec, "ocpus", None) or 1), MOST_VNICS)
    return min(MOST_PODS, (vnics - 1) * PODS_PER_VNIC)


def fabric_problems(pools: Mapping[str, NodePool]) -> Iterator[Problem]:
    """Two pools in one rack's memory fabric: a fabric carries one GPU memory cluster."""
    taken: dict[str, str] = {}
    for name, pool in pools.items():
        fabric = pool.spec.gpu_memory_fabric_id if isinstance(pool.spec, GpuMemoryClusterPool) else None
        if fabric and fabric in taken:
            what = f"the fabric is NodePool/{taken[fabric]}'s"
            yield pool.problem("spec.gpuMemoryFabricId", what, "leave it out, or name another")
        elif fabric:
            taken[fabric] = name


def _mode_faults(pool: NodePool, shape: AnyShape) -> Iterator[tuple[str, str]]:
    """A shape that cannot be had in that mode."""
    mode, spec = pool.spec.mode, pool.spec
    if isinstance(shape, CpuShape):
        if mode != "managed":
            yield f"{mode} is for GPUs on a cluster network, {shape.name} has neither", "write mode: managed"
        return
    if shape.gpu_memory_cluster != isinstance(spec, GpuMemoryClusterPool):
        if shape.gpu_memory_cluster:
            yield f"{shape.name} comes only in a GPU memory cluster", "write mode: gpu-memory-cluster"
        else:
            others = ", ".join(sorted(name for name, known in shapes().items() if known.gpu_memory_cluster))
            yield f"{shape.name} comes in no GPU memory cluster", f"managed-rdma; shapes that do: {others}"
    elif isinstance(spec, RdmaPool) and shape.rdma is None:
        twin = next((known for known in shapes().values() if known.gpu == shape.gpu and known.rdma), None)
        remedy = f"mode: managed, or {twin.name}, which has one" if twin else "write mode: managed"
        yield f"{shape.name} has no cluster network", remedy


def _label_problems(pool: NodePool) -> Iterator[Problem]:
    """Labels that Kubernetes does not take, or that a kubelet may not give its own node (kubelet, --node-labels)."""
    for key, value in pool.spec.node_selector.items():
        path = f"spec.nodeSelector.{key}"
        if not re.fullmatch(LABEL_KEY, key) or not re.fullmatch(LABEL_VALUE, value):
            yield pool.problem(path, f"{key}={value} is no label", "letters, digits, - _ . and a domain before a slash")
        domain = key.rpartition("/")[0]
        reserved = any(domain == root or domain.endswith(f".{root}") for root in ("kubernetes.io", "k8s.io"))
        if reserved and not any(domain == own or domain.endswith(f".{own}") for own in KUBELETS_OWN):
            own = " or ".join(KUBELETS_OWN)
            yield pool.problem(path, f"a kubelet may not set {key}", f"a domain of your own, {own}")


def _size_problems(pool: NodePool, shape: AnyShape) -> Iterator[Problem]:
    spec = pool.spec
    assert isinstance(spec, MadePool)
    pods = most_pods(spec, shape)
    if spec.max_pods_per_node is not None and spec.max_pods_per_node > pods:
        what = f"{shape.name} carries {pods} pods at most, by its network interfaces"
        yield pool.problem("spec.maxPodsPerNode", what, f"{pods} or less, or more ocpus")
    if isinstance(spec, ManagedPool):
        yield from _flexible_problems(pool, spec, shape)
    autoscale = getattr(spec, "autoscale", None)
    if autoscale and not autoscale.min_nodes <= spec.nodes <= autoscale.max_nodes:
        what = f"{spec.nodes} nodes are not between {autoscale.min_nodes} and {autoscale.max_nodes}"
        yield pool.problem("spec.nodes", what, "begin within the bounds of autoscale")
    if isinstance(spec, GpuMemoryClusterPool) and isinstance(shape, Shape):
        most = shape.scale_up_gpus // shape.gpus
        nodes = autoscale.max_nodes if autoscale else spec.nodes
        if nodes > most:
            what = f"{nodes} nodes are more than a rack of {shape.name} has ({most})"
            yield pool.problem("spec.nodes", what, "make a pool for each rack")


def _flexible_problems(pool: NodePool, spec: ManagedPool, shape: AnyShape) -> Iterator[Problem]:
    """OCPUs and memory: of flexible shapes both, of others neither."""
    given = {"ocpus": spec.ocpus, "memoryGB": spec.memory_gb}
    if isinstance(shape, Shape):
        for field, value in given.items():
            if value is not None:
                yield pool.problem(f"spec.{field}", f"{shape.name} is not flexible", "leave it out")
        return
    for field, value in given.items():
        if value is None:
            example = "4" if field == "ocpus" else "64"
            yield pool.problem(f"spec.{field}", f"is missing: {shape.name} is flexible", f"such as {example}")
    if spec.ocpus and spec.ocpus > shape.max_ocpus:
        yield pool.problem("spec.ocpus", f"{spec.ocpus} are more than {shape.name} has", f"{shape.max_ocpus} at most")
    if spec.ocpus and spec.memory_gb:
        most = min(shape.max_memory_gb, spec.ocpus * shape.max_memory_per_ocpu_gb)
        if not spec.ocpus <= spec.memory_gb <= most:
            what = f"{spec.memory_gb} GB do not go with {spec.ocpus} OCPUs of {shape.name}"
            yield pool.problem("spec.memoryGB", what, f"{spec.ocpus} to {most}")


def _placement_problems(pool: NodePool, spec: ManagedPool) -> Iterator[Problem]:
    domains = spec.availability_domains
    if len(set(domains)) < len(domains):
        yield pool.problem("spec.availabilityDomains", "one is named twice", "name each once")
    if spec.capacity_reservation_id and len(set(domains)) > 1:
        what = f"{len(set(domains))} domains on one capacity reservation, which is in one"
        yield pool.problem("spec.availabilityDomains", what, "name the reservation's, and make a pool for each other")
    if spec.cycling and spec.cycling.max_surge == 0 and spec.cycling.max_unavailable == 0:
        yield pool.problem(
            "spec.cycling", "no node may be missing and none added: nothing can move", "raise one of them"
        )


def carries_system_pods(pool: NodePool) -> bool:
    """Whether CoreDNS, which tolerates no GPU taint, finds a place on the pool's nodes."""
    blocking = {"NoSchedule", "NoExecute"}
    taints = pool.spec.taints if isinstance(pool.spec, MadePool) else ()
    return pool.spec.shape in cpu_shapes() and not any(taint.effect in blocking for taint in taints)
