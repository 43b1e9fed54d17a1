"""From a `Plan` to Kubernetes objects as plain dicts; nothing is decided here."""

from __future__ import annotations

from ome_iac.manifests import common, disaggregated, multi_node, routers, serverless, standard
from ome_iac.manifests.names import role_name
from ome_iac.manifests.pods import Manifest
from ome_iac.manifests.routes import external_objects, route_object
from ome_iac.manifests.scaling import scaling_objects
from ome_iac.planning.names import object_name
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan

__all__ = ["Manifest", "namespace_object", "object_name", "service_objects", "stack_objects"]


def service_objects(plan: Plan, service: ServicePlan) -> list[Manifest]:
    """The objects of one service, in the order in which they have to exist."""
    made = [common.service_account(plan, service)]
    serverless_pods = service.pattern == "serverless"
    for role in service.roles:
        made += [*_role_objects(plan, service, role), *scaling_objects(plan, service, role)]
        if service.monitored and not serverless_pods:
            made.append(common.monitor(plan, service, role, role_name(service, role)))
    made += routers.router_objects(plan, service)
    made += [] if serverless_pods else [common.address(plan, service)]
    return [*made, *([route_object(plan, service.route)] if service.route else [])]


def _role_objects(plan: Plan, service: ServicePlan, role: RolePlan) -> list[Manifest]:
    if service.pattern == "serverless":
        return serverless.role_objects(plan, service, role)
    if service.pattern == "prefill-decode":
        return disaggregated.role_objects(plan, service, role)
    made = (multi_node if role.nodes > 1 else standard).role_objects(plan, service, role)
    picked = service.router is not None and service.router.kind == "endpoint-picker"
    return routers.behind_picker(service, role, made) if picked else made


def stack_objects(plan: Plan) -> list[Manifest]:
    """What belongs to no single service: addresses of services elsewhere, and routes over several."""
    elsewhere = [made for external in plan.externals for made in external_objects(plan, external)]
    return [*elsewhere, *(route_object(plan, route) for route in plan.splits)]


def namespace_object(plan: Plan, name: str) -> Manifest:
    """A namespace of the stack."""
    labels = {"app.kubernetes.io/managed-by": "ome-iac", "app.kubernetes.io/part-of": plan.stack}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
