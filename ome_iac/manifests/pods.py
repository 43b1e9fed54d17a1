"""The pods of a role: one container with an engine, on the nodes of its pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ome_iac.hardware import GIB
from ome_iac.manifests.mesh import sidecar_label
from ome_iac.manifests.names import labels
from ome_iac.planning.names import object_name
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan, Written
from ome_iac.spec.merging import merged

Manifest = dict[str, Any]

SCRATCH_MOUNT = "/scratch"
PROBE_SECONDS = 10
USER = 1000
DRAIN_SECONDS = 15
"""Before it is asked to stop, a pod is still sent requests for as long as its removal takes to be known everywhere."""
GRACE_SECONDS = 120
"""Drain, and the answers that are being written."""


def pod_template(
    plan: Plan,
    service: ServicePlan,
    role: RolePlan,
    *,
    command: Sequence[str] | None = None,
    serving: bool = True,
    environment: Sequence[Manifest] = (),
    before: Sequence[Manifest] = (),
) -> Manifest:
    """Metadata and spec of a pod.

    `command` replaces the role's own; `serving`: whether requests come to this pod, so that it has a port and probes;
    `environment` stands before ours; `before` are init containers and sidecars.
    """
    if role.written:
        return _written(plan, service, role, role.written, serving)
    metadata: Manifest = {"labels": _labels(plan, service, role)}
    annotations = {**service.annotations, **_network_annotation(role)}
    if annotations:
        metadata["annotations"] = annotations
    volumes, mounts, found = _storage(service)
    engine: Manifest = {
        "name": "engine",
        "image": role.image,
        **_command(role.command if command is None else command),
        "env": [*environment, *found, *_plain(role), *(_secret(name) for name in role.secrets)],
        "resources": _resources(plan, role),
        "securityContext": _container_security(role),
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, *mounts],
    }
    if serving:
        engine |= {
            "ports": [{"name": "http", "containerPort": role.port, "protocol": "TCP"}],
            "startupProbe": _probe(role, -(-role.startup.budget_seconds // PROBE_SECONDS)),
            "readinessProbe": _probe(role, 3),
            "livenessProbe": _probe(role, 6),
            "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
        }
    pool = plan.pool(role.pool)
    shared = {"medium": "Memory", "sizeLimit": f"{role.host.shared_memory_bytes // GIB}Gi"}
    spec: Manifest = {
        "serviceAccountName": object_name(service.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(role),
        "nodeSelector": pool.labels,
        "tolerations": [{"key": key, "operator": "Exists", "effect": effect} for key, _, effect in pool.taints],
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        **({"initContainers": list(before)} if before else {}),
        "containers": [engine],
        "volumes": [{"name": "shm", "emptyDir": shared}, *volumes],
    }
    if role.fabric and role.fabric.mode == "rdma-host":
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
        spec["volumes"].append({"name": "infiniband", "hostPath": {"path": "/dev/infiniband", "type": "Directory"}})
        engine["volumeMounts"].append({"name": "infiniband", "mountPath": "/dev/infiniband"})
    return {"metadata": metadata, "spec": merged(spec, role.pod)}


def _written(plan: Plan, service: ServicePlan, role: RolePlan, written: Written, leading: bool) -> Manifest:
    """The document's own pod, with the labels that find it and the place it was given."""
    pod = written.pod if leading or written.worker is None else written.worker
    pool = plan.pool(role.pool)
    ours = {
        "serviceAccountName": object_name(service.name),
        "nodeSelector": pool.labels,
        "tolerations": [{"key": key, "operator": "Exists", "effect": effect} for key, _, effect in pool.taints],
    }
    metadata: Manifest = {"labels": {**written.labels, **_labels(plan, service, role)}}
    annotations = {**written.annotations, **service.annotations}
    return {"metadata": metadata | ({"annotations": annotations} if annotations else {}), "spec": merged(ours, pod)}


def _labels(plan: Plan, service: ServicePlan, role: RolePlan) -> dict[str, str]:
    """Those of every object; in a tenant's mesh also the one that keeps the sidecar out of pods it would cut off."""
    found = labels(plan, service, role.role)
    owner = plan.tenant_of(service.namespace)
    if owner is None or not owner[0].mesh:
        return found
    return found | sidecar_label(owner[1], found)


def _command(command: Sequence[str]) -> Manifest:
    """Entry point and arguments; an image's own entry point is kept where the command is only arguments."""
    if not command or command[0].startswith("-"):
        return {"args": list(command)} if command else {}
    return {"command": list(command[:1]), "args": list(command[1:])}


def _secret(name: str) -> Manifest:
    """A key that the engine's licence needs, from a Secret of the namespace: NGC_API_KEY from ngc-api-key."""
    reference = {"name": name.lower().replace("_", "-"), "key": name}
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _plain(role: RolePlan) -> list[Manifest]:
    fabric = role.fabric.environment if role.fabric else ()
    return [{"name": name, "value": value} for name, value in (*role.environment, *fabric)]


def _network_annotation(role: RolePlan) -> dict[str, str]:
    """One attachment for each virtual function, in their order."""
    fabric = role.fabric
    if fabric is None or not fabric.devices:
        return {}
    return {"k8s.v1.cni.cncf.io/networks": ",".join([fabric.network] * fabric.devices)}


def _resources(plan: Plan, role: RolePlan) -> Manifest:
    fixed = {
        "memory": f"{role.host.memory_bytes // GIB}Gi",
        plan.pool(role.pool).gpu_resource: str(role.gpus_per_node),
    }
    if role.fabric and role.fabric.devices:
        fixed["nvidia.com/rdma-vf"] = str(role.fabric.devices)
    requests = {
        "cpu": str(role.host.cpus),
        "ephemeral-storage": f"{-(-role.host.scratch_bytes // GIB)}Gi",
        **fixed,
    }
    return {"requests": requests, "limits": fixed}


def _pod_security(role: RolePlan) -> Manifest:
    seccomp = {"type": "RuntimeDefault"}
    if role.fabric:
        return {"seccompProfile": seccomp}
    return {"runAsNonRoot": True, "runAsUser": USER, "fsGroup": USER, "seccompProfile": seccomp}


def _container_security(role: RolePlan) -> Manifest:
    """Nothing that is not needed. RDMA pins memory, which takes IPC_LOCK, and that only works for root; on the node's
    own network the devices are the host's, which takes a privileged container."""
    if role.fabric is None:
        return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    if role.fabric.mode == "rdma-host":
        return {"privileged": True}
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": ["IPC_LOCK"]}}


def _probe(role: RolePlan, failures: int) -> Manifest:
    return {
        "httpGet": {"path": role.health_path, "port": "http"},
        "periodSeconds": PROBE_SECONDS,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _storage(service: ServicePlan) -> tuple[list[Manifest], list[Manifest], list[Manifest]]:
    """Volumes, mounts and environment through which the engine finds the weights."""
    volume = service.volume
    scratch = {"name": "scratch", "emptyDir": {}}
    scratch_mount = {"name": "scratch", "mountPath": SCRATCH_MOUNT}
    # The user has no entry in the image's passwd: PyTorch asks for a name and takes it from here.
    environment: list[Manifest] = [{"name": "HOME", "value": SCRATCH_MOUNT}, {"name": "USER", "value": "engine"}]
    if volume.kind == "hub":
        environment.append({"name": "HF_HOME", "value": f"{SCRATCH_MOUNT}/huggingface"})
        if volume.token_secret:
            reference = {"name": volume.token_secret, "key": "token"}
            environment.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
        return [scratch], [scratch_mount], environment
    environment.append({"name": "HF_HUB_OFFLINE", "value": "1"})
    mount: Manifest = {"name": "model", "mountPath": volume.mount, "readOnly": True}
    if volume.kind == "hostPath":
        source: Manifest = {"hostPath": {"path": volume.source, "type": "Directory"}}
    else:
        source = {"persistentVolumeClaim": {"claimName": volume.source, "readOnly": True}}
        if volume.sub_path:
            mount["subPath"] = volume.sub_path
    return [scratch, {"name": "model", **source}], [scratch_mount, mount], environment
