"""What an image's name tells, and whether it can run a shape of GPUs, a cluster network and a Kubernetes version.

An OCID says nothing about an image, so names are read: Oracle's OKE images are called
`Oracle-Linux-8.10-Gen2-GPU-2025.08.31-0-OKE-1.34.1-1191`, the images for cluster networks
`Canonical-Ubuntu-24.04-aarch64-2026.02.28-0-6.8-DOCA-OFED-3.2.1-GPU-580-OPEN-CUDA-13.0-2026.05.05-0` or
`...-AMD-ROCM-72-...` (oci-hpc-oke, docs/worker-node-images.json). That Oracle Linux images cannot serve a cluster
network on OKE is oci-hpc-oke's own rule (terraform/validation.tf).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from packaging.version import Version

from ome_iac.hardware import Shape
from ome_iac.hardware.cpu_shapes import CpuShape

_SYSTEM = re.compile(r"^(?P<system>Oracle-Linux|Canonical-Ubuntu)-(?P<version>\d+(\.\d+)?)-", re.IGNORECASE)
_OKE = re.compile(r"-OKE-(?P<version>\d+\.\d+\.\d+)(-|$)", re.IGNORECASE)
_OFED = re.compile(r"-M?OFED-", re.IGNORECASE)
_AMD = re.compile(r"-AMD-ROCM-", re.IGNORECASE)
_NVIDIA = re.compile(r"-GPU-", re.IGNORECASE)
_ARM = re.compile(r"-aarch64-", re.IGNORECASE)

KUBELET_SKEW = 3
"""Minor versions that a kubelet may be older than the API server (Kubernetes' version skew policy)."""
DRA_SINCE = Version("1.32")
"""Kubernetes that GB200 and GB300 need: their NVLink domains are given out by dynamic resource allocation."""

Mode = Literal["existing", "managed", "managed-rdma", "cluster-network", "gpu-memory-cluster"]


@dataclass(frozen=True)
class Image:
    """What a name tells."""

    name: str
    system: Literal["oracle-linux", "ubuntu"]
    architecture: Literal["amd64", "arm64"]
    gpu_vendor: Literal["nvidia", "amd"] | None
    ofed: bool
    kubernetes: str | None
    """The Kubernetes that is installed on it, v1.34.1; None: the name does not say."""


def read_image_name(name: str) -> Image | None:
    """The facts in an image's name; None where it follows no known pattern."""
    system = _SYSTEM.match(name)
    if system is None:
        return None
    oke = _OKE.search(name)
    amd = _AMD.search(name) is not None
    return Image(
        name=name,
        system="ubuntu" if "ubuntu" in system["system"].lower() else "oracle-linux",
        architecture="arm64" if _ARM.search(name) else "amd64",
        gpu_vendor="amd" if amd else "nvidia" if _NVIDIA.search(name) else None,
        ofed=_OFED.search(name) is not None,
        kubernetes=f"v{oke['version']}" if oke else None,
    )


def image_faults(
    image: Image, shape: Shape | CpuShape, mode: Mode, kubernetes: str | None
) -> Iterator[tuple[str, str]]:
    """What speaks against the image on that shape, in that mode, at that version (None: not known): each with
    what would be right."""
    if image.architecture != shape.cpu_architecture:
        right = "an aarch64 image" if shape.cpu_architecture == "arm64" else "an x86 image"
        yield f"is for {image.architecture}, {shape.name} is {shape.cpu_architecture}", right
    if isinstance(shape, Shape) and image.gpu_vendor != shape.gpu.vendor:
        has = f"has {image.gpu_vendor} drivers" if image.gpu_vendor else "has no GPU drivers"
        pattern = "AMD-ROCM" if shape.gpu.vendor == "amd" else "GPU"
        yield f"{has}, {shape.name} has {shape.gpu.vendor} GPUs", f"an image with {pattern} in its name"
    if mode not in ("existing", "managed") and (image.system == "oracle-linux" or not image.ofed):
        lack = "is Oracle Linux" if image.system == "oracle-linux" else "has no OFED drivers"
        yield f"{lack}: it cannot use a cluster network", "an Ubuntu image with DOCA-OFED in its name"
    if image.kubernetes and kubernetes and image.kubernetes != kubernetes:
        yield (
            f"has Kubernetes {image.kubernetes}, the pool is to run {kubernetes}",
            f"an image with OKE-{kubernetes[1:]}",
        )


def version_faults(kubernetes: str, cluster: str, shape: Shape | CpuShape) -> Iterator[tuple[str, str]]:
    """What speaks against nodes of that Kubernetes version in that cluster."""
    node, control = Version(kubernetes), Version(cluster)
    if node > control:
        yield f"{kubernetes} is newer than the cluster's {cluster}", "upgrade the cluster first"
    elif control.minor - node.minor > KUBELET_SKEW or node.major != control.major:
        yield (
            f"{kubernetes} is too old for a cluster of {cluster}",
            f"v{control.major}.{control.minor - KUBELET_SKEW} at least",
        )
    if isinstance(shape, Shape) and shape.gpu_memory_cluster and node < DRA_SINCE:
        yield f"{kubernetes} has no dynamic resource allocation, which {shape.name} needs", f"v{DRA_SINCE}.0 at least"
