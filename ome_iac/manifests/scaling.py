"""The objects that set replicas: HorizontalPodAutoscaler, and KEDA's ScaledObject."""

from __future__ import annotations

from ome_iac.manifests.names import metadata, role_name
from ome_iac.manifests.pods import Manifest
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.planning.serving.decisions import Scaling


def scaling_objects(plan: Plan, service: ServicePlan, role: RolePlan) -> list[Manifest]:
    """None, where nothing outside of the pods' own controller scales them."""
    scaling = role.scaling
    if scaling is None or scaling.owner == "knative":
        return []
    return [(_scaled_object if scaling.owner == "keda" else _autoscaler)(plan, service, role, scaling)]


def _target(service: ServicePlan, role: RolePlan) -> Manifest:
    kind = ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet") if role.nodes > 1 else ("apps/v1", "Deployment")
    return {"apiVersion": kind[0], "kind": kind[1], "name": role_name(service, role)}


def _behaviour(scaling: Scaling) -> Manifest:
    """Up at once, down one by one and late: a replica is minutes and gigabytes."""
    return {
        "scaleUp": {"stabilizationWindowSeconds": 0},
        "scaleDown": {
            "stabilizationWindowSeconds": min(3600, scaling.cooldown_seconds),
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
        },
    }


def _autoscaler(plan: Plan, service: ServicePlan, role: RolePlan, scaling: Scaling) -> Manifest:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(plan, service, role.role, role_name(service, role)),
        "spec": {
            "scaleTargetRef": _target(service, role),
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": trigger.name,
                        "target": {"type": "Utilization", "averageUtilization": int(trigger.threshold)},
                    },
                }
                for trigger in scaling.triggers
            ],
            "behavior": _behaviour(scaling),
        },
    }


def _scaled_object(plan: Plan, service: ServicePlan, role: RolePlan, scaling: Scaling) -> Manifest:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata(plan, service, role.role, role_name(service, role)),
        "spec": {
            "scaleTargetRef": _target(service, role),
            "minReplicaCount": scaling.min_replicas,
            "maxReplicaCount": scaling.max_replicas,
            "pollingInterval": 15,
            "cooldownPeriod": scaling.cooldown_seconds,
            "fallback": {"failureThreshold": 3, "replicas": max(1, scaling.min_replicas)},
            "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behaviour(scaling)}},
            "triggers": [
                {
                    "type": "prometheus",
                    "name": trigger.name,
                    "metadata": {
                        "serverAddress": scaling.prometheus,
                        "query": trigger.query,
                        "threshold": trigger.threshold,
                        "activationThreshold": "0",
                    },
                }
                for trigger in scaling.triggers
            ],
        },
    }
