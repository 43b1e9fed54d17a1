"""The objects that every pattern has: an identity, an address, and a monitor."""

from __future__ import annotations

from ome_iac.manifests.names import metadata, selector
from ome_iac.manifests.pods import Manifest
from ome_iac.planning.names import COMPONENT, NAME, object_name
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.planning.serving.routing import LEADER, ROUTER


def service_account(plan: Plan, service: ServicePlan) -> Manifest:
    """The identity of the service's pods; it may do nothing."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(plan, service, service.engine.role, object_name(service.name)),
        "automountServiceAccountToken": False,
    }


def address(plan: Plan, service: ServicePlan) -> Manifest:
    """The Service that clients use: of the router where there is one, else of the pods that answer.

    Past a picker, requests come to the proxy before decode, which then has its own pod do the prompt as well.
    """
    router = service.router
    component = ROUTER if router and router.kind == "sglang-router" else service.engine.role
    port = router.target_port if router and router.sidecar_image else "http"
    if service.engine.written and component != ROUTER:
        port = service.engine.port  # a runtime document calls its port what it likes
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(plan, service, component, object_name(service.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(service, component) | (answering(service.engine) if component != ROUTER else {}),
            "ports": [{"name": "http", "port": 80, "targetPort": port, "protocol": "TCP", "appProtocol": "http"}],
        },
    }


def answering(role: RolePlan) -> dict[str, str]:
    """What tells the pods of a role that answer from those that only compute."""
    return LEADER if role.nodes > 1 else {}


def monitor(plan: Plan, service: ServicePlan, role: RolePlan, name: str) -> Manifest:
    """Prometheus scrapes /metrics of the pods that answer."""
    port: Manifest = {"portNumber": role.port} if role.written else {"port": "http"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(plan, service, role.role, name),
        "spec": {
            "selector": {"matchLabels": selector(service, role.role) | answering(role)},
            "podTargetLabels": [NAME, COMPONENT],
            "podMetricsEndpoints": [port | {"path": "/metrics", "interval": "15s"}],
        },
    }
