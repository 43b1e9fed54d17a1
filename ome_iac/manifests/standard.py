"""Pattern standard: one pod per replica, all its GPUs on one node. Deployment, Service, ServiceAccount, PDB."""

from __future__ import annotations

from typing import Any

from ome_iac.hardware import GIB
from ome_iac.planning.plan import Plan, ServicePlan

Manifest = dict[str, Any]

SCRATCH_MOUNT = "/scratch"
PROBE_SECONDS = 10


def service_objects(plan: Plan, service: ServicePlan) -> list[Manifest]:
    """The objects of one service, in the order in which they have to exist."""
    return [
        _service_account(plan, service),
        _deployment(plan, service),
        _service(plan, service),
        _disruption_budget(plan, service),
    ]


def _metadata(plan: Plan, service: ServicePlan) -> Manifest:
    return {
        "name": service.name,
        "namespace": service.namespace,
        "labels": {
            **service.labels,
            **_selector(service),
            "app.kubernetes.io/managed-by": "ome-iac",
            "app.kubernetes.io/part-of": plan.stack,
        },
    }


def _selector(service: ServicePlan) -> dict[str, str]:
    return {"app.kubernetes.io/name": service.name, "app.kubernetes.io/component": "engine"}


def _service_account(plan: Plan, service: ServicePlan) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(plan, service),
        "automountServiceAccountToken": False,
    }


def _deployment(plan: Plan, service: ServicePlan) -> Manifest:
    metadata = _metadata(plan, service)
    pod_metadata: Manifest = {"labels": metadata["labels"]}
    if service.annotations:
        pod_metadata["annotations"] = service.annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": service.replicas,
            "selector": {"matchLabels": _selector(service)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": service.max_surge, "maxUnavailable": 0 if service.max_surge else 1},
            },
            "progressDeadlineSeconds": service.startup.budget_seconds + 600,
            "template": {"metadata": pod_metadata, "spec": _pod(plan, service)},
        },
    }


def _pod(plan: Plan, service: ServicePlan) -> Manifest:
    volumes, mounts, environment = _storage(service)
    pool = plan.pool(service.pool)
    memory = f"{service.host.memory_bytes // GIB}Gi"
    fixed = {"memory": memory, pool.gpu_resource: str(service.tensor_parallel)}
    requests = {
        "cpu": str(service.host.cpus),
        "ephemeral-storage": f"{-(-service.host.scratch_bytes // GIB)}Gi",
        **fixed,
    }
    return {
        "serviceAccountName": service.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": pool.labels,
        "tolerations": [{"key": key, "operator": "Exists", "effect": effect} for key, _, effect in pool.taints],
        "terminationGracePeriodSeconds": 60,
        "containers": [
            {
                "name": "engine",
                "image": service.image,
                "command": [service.command[0]],
                "args": list(service.command[1:]),
                "env": environment,
                "ports": [{"name": "http", "containerPort": service.port, "protocol": "TCP"}],
                "resources": {"requests": requests, "limits": fixed},
                "startupProbe": _probe(service, -(-service.startup.budget_seconds // PROBE_SECONDS)),
                "readinessProbe": _probe(service, 3),
                "livenessProbe": _probe(service, 6),
                "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, *mounts],
            }
        ],
        "volumes": [
            {
                "name": "shm",
                "emptyDir": {"medium": "Memory", "sizeLimit": f"{service.host.shared_memory_bytes // GIB}Gi"},
            },
            *volumes,
        ],
    }


def _probe(service: ServicePlan, failures: int) -> Manifest:
    return {
        "httpGet": {"path": service.health_path, "port": "http"},
        "periodSeconds": PROBE_SECONDS,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _storage(service: ServicePlan) -> tuple[list[Manifest], list[Manifest], list[Manifest]]:
    """Volumes, mounts and environment through which the engine finds the weights."""
    volume = service.volume
    scratch = {"name": "scratch", "emptyDir": {}}
    scratch_mount = {"name": "scratch", "mountPath": SCRATCH_MOUNT}
    environment: list[Manifest] = [{"name": "HOME", "value": SCRATCH_MOUNT}]
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


def _service(plan: Plan, service: ServicePlan) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan, service),
        "spec": {
            "type": "ClusterIP",
            "selector": _selector(service),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}],
        },
    }


def _disruption_budget(plan: Plan, service: ServicePlan) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(plan, service),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": _selector(service)}},
    }
