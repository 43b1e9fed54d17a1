"""Which pods of a service must talk to which: one table, from which NetworkPolicies and Istio's policies follow.

Ports are those of the plan; NCCL's, NIXL's and UCX's own are taken from the ephemeral range, so pods of one replica,
and prefill and decode of one service, may use any between themselves. RDMA does not pass through the pod network.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from ome_iac.planning.names import COMPONENT, NAME, object_name
from ome_iac.planning.plan import ServicePlan
from ome_iac.planning.serving.decisions import Router
from ome_iac.planning.serving.picker import EVENTS_PORT, HEALTH_PORT
from ome_iac.planning.serving.routing import PICKER, ROUTER
from ome_iac.planning.tenancy.plan import End, Flow

PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
"""Not the internet: the VCN's, carrier-grade NAT's and the metadata service's addresses."""
DNS = End(namespace="kube-system", labels={"k8s-app": "kube-dns"})
ISTIO = End(namespace="istio-system", labels={"app": "istiod"})
INTERNET = End(cidr="0.0.0.0/0", excepted=PRIVATE)
API_SERVER = tuple(End(cidr=cidr) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""An address of the VCN, outside of the cluster, which no selector names: pods reach OKE's API server over its private
endpoint. Other pods with such an address have policies of their own."""
KNATIVE = End(namespace="knative-serving")
KNATIVE_PORTS = (8012, 8013, 8022, 9090, 9091)
"""Of Knative's queue-proxy: requests (HTTP/1, HTTP/2), health and metrics."""


def names(namespace: str) -> Flow:
    """Every pod of a namespace may resolve names."""
    return Flow(origin=End(namespace=namespace), end=DNS, ports=(53,), protocols=("TCP", "UDP"), why="names")


def mesh(namespace: str) -> Flow:
    """Every sidecar of a namespace gets its configuration and certificates."""
    return Flow(origin=End(namespace=namespace), end=ISTIO, ports=(15012,), why="Istio's control plane")


def service_flows(
    service: ServicePlan, tenant: tuple[str, ...], gateway: str | None, monitoring: str
) -> Iterator[Flow]:
    """The flows of one service. `tenant` are its tenant's namespaces, `gateway` the gateway's namespace where the
    service has a route, `monitoring` Prometheus' namespace."""
    everything = End(namespace=service.namespace, labels={NAME: object_name(service.name)})
    yield from _requests(service, tenant, gateway)
    if service.router:
        yield from _router(service, service.router, gateway, monitoring)
    if service.monitored:
        for role in service.roles:
            yield _scrape(monitoring, _component(service, role.role), role.port)
    if together(service):
        for origin, end in product(service.roles, repeat=2):
            ends = _component(service, origin.role), _component(service, end.role)
            yield Flow(origin=ends[0], end=ends[1], ports=(), why=_why_together(service))
    if service.volume.kind == "hub":
        yield Flow(origin=everything, end=INTERNET, ports=(443,), why="the weights are downloaded")


def _requests(service: ServicePlan, tenant: tuple[str, ...], gateway: str | None) -> Iterator[Flow]:
    """Who sends requests to which pods. Behind a picker the gateway sends them to the pods themselves; a proxy before
    decode pods believes the gateway's header, so that nobody else may reach it."""
    router = service.router
    if router and router.kind == "sglang-router":
        served = [(_component(service, ROUTER), router.port)]
    elif router:
        served = [(_component(service, role.role), router.target_port) for role in service.roles]
    else:
        served = [(_component(service, service.engine.role), service.engine.port)]
    proxied = router is not None and router.sidecar_image is not None
    for end, port in served:
        for namespace in () if proxied else tenant:
            why = "the tenant's own pods ask"
            yield Flow(origin=End(namespace=namespace), end=end, ports=(port,), http=True, why=why)
        if gateway:
            yield Flow(origin=End(namespace=gateway), end=end, ports=(port,), http=True, why="the gateway's requests")
        if service.pattern == "serverless":
            yield Flow(origin=KNATIVE, end=end, ports=KNATIVE_PORTS, http=True, why="Knative's activator, autoscaler")


def _router(service: ServicePlan, router: Router, gateway: str | None, monitoring: str) -> Iterator[Flow]:
    itself = _component(service, PICKER if router.kind == "endpoint-picker" else ROUTER)
    for role in service.roles:
        end = _component(service, role.role)
        yield Flow(origin=itself, end=end, ports=(role.port,), http=True, why="the router's requests and probes")
        if str(EVENTS_PORT) in (router.configuration or ""):
            yield Flow(origin=itself, end=end, ports=(EVENTS_PORT,), why="what each pod has in its KV cache")
    for end in API_SERVER:
        yield Flow(origin=itself, end=end, ports=(443, 6443), why="the router finds its pods")
    if router.kind == "endpoint-picker" and gateway:
        ports = (router.port, HEALTH_PORT)
        yield Flow(origin=End(namespace=gateway), end=itself, ports=ports, why="the gateway asks which pod")
    if service.monitored:
        yield _scrape(monitoring, itself, router.metrics_port)


def together(service: ServicePlan) -> bool:
    """Whether its pods talk to each other at ports that are chosen when they start."""
    return len(service.roles) > 1 or any(role.nodes > 1 for role in service.roles)


def outside_mesh(service: ServicePlan) -> list[dict[str, str]]:
    """Labels of the pods that are to have no sidecar; a router before them keeps its own."""
    return [_component(service, role.role).labels for role in service.roles] if together(service) else []


def _why_together(service: ServicePlan) -> str:
    if len(service.roles) > 1:
        return "prefill hands KV blocks to decode: bootstrap, NIXL's side channel, NCCL"
    return "the pods of a replica meet, and NCCL sets itself up"


def _scrape(monitoring: str, end: End, port: int) -> Flow:
    origin = End(namespace=monitoring)
    return Flow(origin=origin, end=end, ports=(port,), http=True, paths=("/metrics",), why="Prometheus scrapes")


def _component(service: ServicePlan, component: str) -> End:
    return End(namespace=service.namespace, labels={NAME: object_name(service.name), COMPONENT: component})
