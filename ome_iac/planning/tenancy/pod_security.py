"""The strictest of Kubernetes' Pod Security Standards under which a service's pods are admitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ome_iac.planning.plan import RolePlan, ServicePlan
from ome_iac.planning.tenancy.plan import LEVELS, PodSecurity

BASELINE_CAPABILITIES = frozenset(
    {
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
        *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }
)
"""That the baseline standard lets a container add (kubernetes.io, Pod Security Standards)."""


def strictest(service: ServicePlan) -> tuple[PodSecurity, str]:
    """The level, and what keeps it from being stricter."""
    found: list[tuple[PodSecurity, str]] = [("restricted", "its pods need nothing beyond it"), *_needs(service)]
    return min(found, key=lambda item: LEVELS.index(item[0]))


def _needs(service: ServicePlan) -> Iterator[tuple[PodSecurity, str]]:
    if service.volume.kind == "hostPath":
        yield "privileged", f"{service.name} reads weights from a folder of the node"
    for role in service.roles:
        if role.fabric and role.fabric.mode == "rdma-host":
            yield "privileged", f"{service.name} uses the node's network and its RDMA devices"
        elif role.fabric:
            yield "privileged", f"{service.name} pins memory for RDMA (IPC_LOCK)"
        for pod in _written(role):
            yield from ((level, f"{service.name} {why}") for level, why in _of_pod(pod))


def _written(role: RolePlan) -> Iterator[dict[str, Any]]:
    """What documents write into the pods, beside ours."""
    yield role.pod
    if role.written:
        yield role.written.pod
        if role.written.worker:
            yield role.written.worker


def _of_pod(pod: dict[str, Any]) -> Iterator[tuple[PodSecurity, str]]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield "privileged", f"sets {field}"
    if any("hostPath" in volume for volume in pod.get("volumes") or ()):
        yield "privileged", "mounts a folder of the node"
    containers = [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]
    for container in containers:
        yield from _of_container(container, pod.get("securityContext") or {})


def _of_container(container: dict[str, Any], of_pod: dict[str, Any]) -> Iterator[tuple[PodSecurity, str]]:
    security = container.get("securityContext") or {}
    name = container.get("name", "a container")
    capabilities = security.get("capabilities") or {}
    if security.get("privileged"):
        yield "privileged", f"runs {name} privileged"
    if set(capabilities.get("add") or ()) - BASELINE_CAPABILITIES:
        yield "privileged", f"gives {name} capabilities"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "privileged", f"gives {name} a port of the node"
    restricted = (
        security.get("allowPrivilegeEscalation") is False
        and "ALL" in (capabilities.get("drop") or ())
        and security.get("runAsNonRoot", of_pod.get("runAsNonRoot"))
        and (security.get("seccompProfile") or of_pod.get("seccompProfile"))
    )
    if container.get("image") and not restricted:
        yield "baseline", f"runs {name} without the restricted standard's security context"
