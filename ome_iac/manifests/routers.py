"""The router of a service: SGLang's, which finds pods by their labels, or llm-d's picker, which a gateway asks.

The picker watches the resources of its own release (InferenceObjective, InferenceModelRewrite) beside InferencePool:
the Platform's `inference-extension` stands for their definitions too.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath
from typing import Any

from ome_iac.hardware import GIB
from ome_iac.manifests.names import labels, metadata, selector
from ome_iac.manifests.pods import DRAIN_SECONDS, GRACE_SECONDS, USER, Manifest
from ome_iac.planning.names import NAME, object_name
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.planning.pools import SHAPE_LABEL
from ome_iac.planning.serving.decisions import Router
from ome_iac.planning.serving.handover import POD_ADDRESS
from ome_iac.planning.serving.picker import CONFIGURATION, HEALTH_PORT, TOKENIZER_PORT
from ome_iac.planning.serving.routing import LEADER, PICKER, ROUTER

ANSWERS = "ome-iac/answers"
"""Label of the pods of a prefill-decode service that take requests: it joins two roles, which no other label does."""
ENGINE = "llm-d.ai/engine-type"
"""Label by which llm-d's picker knows how an engine calls its metrics."""
PROXY_PORT = "proxy"
HEALTH_SERVICE = "inference-extension"


def router_objects(plan: Plan, service: ServicePlan) -> list[Manifest]:
    """Everything of the service's router, in the order in which it has to exist; empty without one."""
    router = service.router
    if router is None:
        return []
    made = [_account(plan, service, router), _role(plan, service, router), _binding(plan, service, router)]
    if router.kind == "endpoint-picker":
        made += [_configuration(plan, service, router), _deployment(plan, service, router)]
        made += [_picker_address(plan, service, router), _pool(plan, service, router)]
    else:
        made.append(_deployment(plan, service, router))
    if router.replicas > 1:
        made.append(_budget(plan, service, router))
    return [*made, *([_monitor(plan, service, router)] if service.monitored else [])]


def behind_picker(service: ServicePlan, role: RolePlan, made: list[Manifest]) -> list[Manifest]:
    """The objects of a role that does both prefill and decode, with what a picker wants to know of its pods."""
    for manifest in made:
        if manifest["kind"] == "Deployment":
            templates = [manifest["spec"]["template"]]
        elif manifest["kind"] == "LeaderWorkerSet":
            group = manifest["spec"]["leaderWorkerTemplate"]
            templates = [group["leaderTemplate"], group["workerTemplate"]]
        else:
            continue
        for template in templates:
            template["metadata"]["labels"][ENGINE] = role.runtime.split()[0]
            with_address(template)
    return made


def with_address(template: Manifest) -> None:
    """POD_IP before every other variable, where a container mentions it."""
    for container in template["spec"]["containers"]:
        words = [*container.get("args", []), *(str(each.get("value")) for each in container.get("env", []))]
        if any(POD_ADDRESS in word for word in words):
            address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
            container["env"] = [address, *container["env"]]


def _component(router: Router) -> str:
    return PICKER if router.kind == "endpoint-picker" else ROUTER


def _metadata(plan: Plan, service: ServicePlan, router: Router) -> dict[str, object]:
    component = _component(router)
    return metadata(plan, service, component, object_name(service.name, component))


def _account(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(plan, service, router)}


def _role(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    """It may look at the pods of its namespace; a picker also at what tells it how to treat requests."""
    look = ["get", "list", "watch"]
    rules: list[dict[str, Any]] = [{"apiGroups": [""], "resources": ["pods"], "verbs": look}]
    if router.kind == "endpoint-picker":
        rewrites = ["inferenceobjectives", "inferencemodelrewrites"]
        rules += [
            {"apiGroups": ["inference.networking.k8s.io"], "resources": ["inferencepools"], "verbs": look},
            {"apiGroups": ["inference.networking.x-k8s.io", "llm-d.ai"], "resources": rewrites, "verbs": look},
        ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": _metadata(plan, service, router),
        "rules": rules,
    }


def _binding(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    body = _metadata(plan, service, router)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": body,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": body["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": body["name"], "namespace": service.namespace}],
    }


def _deployment(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    """A picker is never two at a time: each would know only half of the requests."""
    body = _metadata(plan, service, router)
    picking = router.kind == "endpoint-picker"
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": body,
        "spec": {
            "replicas": router.replicas,
            "selector": {"matchLabels": selector(service, _component(router))},
            "strategy": {"type": "Recreate"} if picking else rolling,
            "progressDeadlineSeconds": router.startup_seconds + 600,
            "template": {
                "metadata": {
                    "labels": labels(plan, service, _component(router)) | {ANSWERS: "false"},
                    **_read_at_start(router),
                },
                "spec": {
                    "serviceAccountName": body["name"],
                    "automountServiceAccountToken": True,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": USER,
                        "fsGroup": USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    **_anywhere(plan),
                    "terminationGracePeriodSeconds": GRACE_SECONDS,
                    "containers": _containers(service, router),
                    "volumes": _volumes(service, router),
                },
            },
        },
    }


def _read_at_start(router: Router) -> dict[str, Any]:
    """A changed configuration is a changed pod: a picker reads it once."""
    if router.configuration is None:
        return {}
    digest = hashlib.sha256(router.configuration.encode()).hexdigest()[:12]
    return {"annotations": {"ome-iac/configuration": digest}}


def _anywhere(plan: Plan) -> dict[str, Any]:
    """Rather not on a GPU node; but there, where the cluster has no other."""
    pools = [pool for pool in plan.pools if pool.gpus_per_node]
    taints = sorted({(key, effect) for pool in pools for key, _, effect in pool.taints})
    shapes = {"key": SHAPE_LABEL, "operator": "NotIn", "values": sorted({pool.shape for pool in pools})}
    preferred = [{"weight": 100, "preference": {"matchExpressions": [shapes]}}]
    return {
        "tolerations": [{"key": key, "operator": "Exists", "effect": effect} for key, effect in taints],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}},
    }


def _containers(service: ServicePlan, router: Router) -> list[Manifest]:
    memory = f"{router.memory_bytes // GIB}Gi"
    picking = router.kind == "endpoint-picker"
    main: Manifest = {
        "name": _component(router),
        "image": router.image,
        **({"args": list(router.command)} if picking else _split(router.command)),
        "env": [{"name": "HOME", "value": "/tmp"}],
        "ports": [
            {"name": "grpc" if picking else "http", "containerPort": router.port, "protocol": "TCP"},
            {"name": "metrics", "containerPort": router.metrics_port, "protocol": "TCP"},
        ],
        "resources": {"requests": {"cpu": str(router.cpus), "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}},
    }
    if picking:
        healthy = {"grpc": {"port": HEALTH_PORT, "service": HEALTH_SERVICE}, "periodSeconds": 10}
        main |= {"livenessProbe": healthy | {"initialDelaySeconds": 5}, "readinessProbe": healthy}
        main["volumeMounts"].append({"name": "configuration", "mountPath": str(PurePosixPath(CONFIGURATION).parent)})
    else:
        main["livenessProbe"] = {"httpGet": {"path": "/liveness", "port": "http"}, "periodSeconds": 10}
        main["readinessProbe"] = {"httpGet": {"path": "/readiness", "port": "http"}, "periodSeconds": 10}
    return [main, *([_tokenizer(service, router)] if router.tokenizer_image else [])]


def _tokenizer(service: ServicePlan, router: Router) -> Manifest:
    """vLLM without weights, which renders prompts to tokens exactly as the engine does."""
    environment: list[Manifest] = [{"name": "HOME", "value": "/tmp"}]
    if service.volume.token_secret:
        reference = {"name": service.volume.token_secret, "key": "token"}
        environment.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return {
        "name": "tokenizer",
        "image": router.tokenizer_image,
        **_split(router.tokenizer_command),
        "env": environment,
        "readinessProbe": {"httpGet": {"path": "/health", "port": TOKENIZER_PORT}, "periodSeconds": 10},
        "resources": {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }


def _split(command: tuple[str, ...]) -> Manifest:
    return {"command": list(command[:1]), "args": list(command[1:])}


def _volumes(service: ServicePlan, router: Router) -> list[Manifest]:
    volumes: list[Manifest] = [{"name": "tmp", "emptyDir": {}}]
    if router.configuration:
        name = object_name(service.name, _component(router))
        volumes.append({"name": "configuration", "configMap": {"name": name}})
    return volumes


def _configuration(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(plan, service, router),
        "data": {PurePosixPath(CONFIGURATION).name: router.configuration},
    }


def _picker_address(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    port = {"name": "grpc", "port": router.port, "targetPort": "grpc", "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(plan, service, router),
        "spec": {"type": "ClusterIP", "selector": selector(service, PICKER), "ports": [port]},
    }


def _pool(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    """The pods among which the picker chooses: those that answer, of both roles where there are two."""
    if len(service.roles) > 1:
        matching = {NAME: selector(service, "")[NAME], ANSWERS: "true"}
    else:
        matching = selector(service, service.engine.role) | (LEADER if service.engine.nodes > 1 else {})
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": metadata(plan, service, PICKER, object_name(service.name)),
        "spec": {
            "selector": {"matchLabels": matching},
            "targetPorts": [{"number": router.target_port}],
            "endpointPickerRef": {
                "name": object_name(service.name, PICKER),
                "port": {"number": router.port},
                "failureMode": "FailOpen",
            },
        },
    }


def _budget(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(plan, service, router),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(service, _component(router))}},
    }


def _monitor(plan: Plan, service: ServicePlan, router: Router) -> Manifest:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": _metadata(plan, service, router),
        "spec": {
            "selector": {"matchLabels": selector(service, _component(router))},
            "podMetricsEndpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
        },
    }
