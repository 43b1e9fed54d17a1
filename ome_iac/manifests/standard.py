"""Pattern standard: one pod per replica, all its GPUs on one node."""

from __future__ import annotations

from ome_iac.manifests.names import metadata, queued_metadata, role_name, selector
from ome_iac.manifests.pods import Manifest, pod_template
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan


def role_objects(plan: Plan, service: ServicePlan, role: RolePlan) -> list[Manifest]:
    """The Deployment of a role, and its disruption budget."""
    return [deployment(plan, service, role), disruption_budget(plan, service, role)]


def deployment(plan: Plan, service: ServicePlan, role: RolePlan) -> Manifest:
    """`replicas` is left out where something else sets it."""
    matching = {"matchLabels": selector(service, role.role)}
    template = pod_template(plan, service, role)
    template["spec"].setdefault(
        "topologySpreadConstraints",
        [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": matching,
            }
        ],
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": queued_metadata(plan, service, role),
        "spec": {
            **({} if role.scaling else {"replicas": role.replicas}),
            "selector": matching,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": role.max_surge, "maxUnavailable": 0 if role.max_surge else 1},
            },
            "progressDeadlineSeconds": role.startup.budget_seconds + 600,
            "template": template,
        },
    }


def disruption_budget(plan: Plan, service: ServicePlan, role: RolePlan) -> Manifest:
    """A drained node takes one pod at a time with it."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(plan, service, role.role, role_name(service, role)),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(service, role.role)}},
    }
