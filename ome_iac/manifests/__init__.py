"""From a `Plan` to Kubernetes objects as plain dicts; nothing is decided here."""

from __future__ import annotations

from ome_iac.manifests import common, multi_node, standard
from ome_iac.manifests.names import object_name, role_name
from ome_iac.manifests.pods import Manifest
from ome_iac.planning.plan import Plan, ServicePlan

__all__ = ["Manifest", "namespace_object", "object_name", "service_objects"]


def service_objects(plan: Plan, service: ServicePlan) -> list[Manifest]:
    """The objects of one service, in the order in which they have to exist."""
    made = [common.service_account(plan, service)]
    for role in service.roles:
        made += (multi_node if role.nodes > 1 else standard).role_objects(plan, service, role)
        if service.monitored:
            made.append(common.monitor(plan, service, role, role_name(service, role)))
    return [*made, common.address(plan, service)]


def namespace_object(plan: Plan, name: str) -> Manifest:
    """A namespace of the stack."""
    labels = {"app.kubernetes.io/managed-by": "ome-iac", "app.kubernetes.io/part-of": plan.stack}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
