"""Names and labels of objects: legal whatever the service is called, unique, the same in every run."""

from __future__ import annotations

import hashlib
import re

from ome_iac.planning.plan import Plan, RolePlan, ServicePlan

LIMIT = 63
"""Characters of a DNS label: what a Service's name and a label's value may have."""
GROUP_LIMIT = 48
"""Of a LeaderWorkerSet: its pods are called <name>-<group>-<worker>, and their names are labels and hostnames too."""
HASH = 8

NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"


def object_name(service: str, suffix: str = "", limit: int = LIMIT) -> str:
    """A DNS-1035 label: the name itself where it is one, else what is left of it and a hash of the whole."""
    ending = f"-{suffix}" if suffix else ""
    if len(service) + len(ending) <= limit and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", service):
        return service + ending
    digest = hashlib.sha256(service.encode()).hexdigest()[:HASH]
    plain = re.sub(r"[^-a-z0-9]+", "-", service.lower()).strip("-")
    plain = plain if plain[:1].isalpha() else f"s-{plain}"
    room = limit - len(ending) - HASH - 1
    return f"{plain[:room].rstrip('-')}-{digest}{ending}"


def role_name(service: ServicePlan, role: RolePlan) -> str:
    """What the objects of a role are called: as the service, where it has one role."""
    limit = GROUP_LIMIT if role.nodes > 1 else LIMIT - 2  # a Deployment's pods are no labels, a role's Service is one
    return object_name(service.name, "" if len(service.roles) == 1 else role.role, limit)


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
