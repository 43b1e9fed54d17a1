"""Labels and metadata of objects."""

from __future__ import annotations

from ome_iac.planning.names import COMPONENT, GROUP_LIMIT, LIMIT, NAME, object_name
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan

QUEUE = "kueue.x-k8s.io/queue-name"
"""Label by which Kueue takes what makes pods into a LocalQueue."""


def role_name(service: ServicePlan, role: RolePlan) -> str:
    """What the objects of a role are called: as the service, where it has one role of single pods.

    LeaderWorkerSet makes a headless Service of its own name, which must not be the service's address.
    """
    limit = GROUP_LIMIT if role.nodes > 1 else LIMIT - 2  # a Deployment's pods are no labels, a role's Service is one
    alone = len(service.roles) == 1 and role.nodes == 1
    return object_name(service.name, "" if alone else role.role, limit)


def selector(service: ServicePlan, component: str) -> dict[str, str]:
    """Labels that the pods of one component of one service have, and no other pod of the namespace."""
    return {NAME: object_name(service.name), COMPONENT: component}


def labels(plan: Plan, service: ServicePlan, component: str) -> dict[str, str]:
    """Labels of every object; the user's first, so that none of them breaks a selector."""
    return {
        **service.labels,
        **selector(service, component),
        "app.kubernetes.io/managed-by": "ome-iac",
        "app.kubernetes.io/part-of": plan.stack,
    }


def metadata(plan: Plan, service: ServicePlan, component: str, name: str) -> dict[str, object]:
    """Name, namespace and labels of an object."""
    return {"name": name, "namespace": service.namespace, "labels": labels(plan, service, component)}


def queued_metadata(plan: Plan, service: ServicePlan, role: RolePlan) -> dict[str, object]:
    """The same of what makes a role's pods, which Kueue has to admit where the role has a queue."""
    queue = {QUEUE: role.queue} if role.queue else {}
    found = labels(plan, service, role.role) | queue
    return {"name": role_name(service, role), "namespace": service.namespace, "labels": found}
