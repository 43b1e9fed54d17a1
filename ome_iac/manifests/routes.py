"""Routes from outside: HTTPRoute (Gateway API), VirtualService (Istio) or Ingress; and services that live elsewhere."""

from __future__ import annotations

from typing import Any

from ome_iac.manifests.pods import Manifest
from ome_iac.planning.names import NAME, object_name
from ome_iac.planning.plan import Plan
from ome_iac.planning.serving.decisions import Backend, External, Route

STREAM = "0s"
"""No time limit: an answer is a stream, and lasts as long as it is written."""


def route_object(plan: Plan, route: Route) -> Manifest:
    """The one object of a route."""
    return {"gateway": _http_route, "istio": _virtual_service, "ingress": _ingress}[route.kind](plan, route)


def external_objects(plan: Plan, external: External) -> list[Manifest]:
    """A Service that is an alias of the name elsewhere, and that a gateway speaks TLS to it where it does."""
    name = object_name(external.name)
    by_gateway = any(
        split.kind == "gateway" and split.namespace == external.namespace and name in {b.name for b in split.backends}
        for split in plan.splits
    )
    policy = [_tls_policy(plan, external)] if external.tls and by_gateway else []
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(plan, external.name, external.namespace),
            "spec": {
                "type": "ExternalName",
                "externalName": external.host,
                "ports": [
                    {
                        "name": "https" if external.tls else "http",
                        "port": external.port,
                        "targetPort": external.port,
                        "protocol": "TCP",
                        "appProtocol": "https" if external.tls else "http",
                    }
                ],
            },
        },
        *policy,
    ]


def _tls_policy(plan: Plan, external: External) -> Manifest:
    """Gateway API's, in its standard channel since v1.4.0: without it a gateway speaks plain HTTP to any Service."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "BackendTLSPolicy",
        "metadata": _metadata(plan, external.name, external.namespace),
        "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": object_name(external.name)}],
            "validation": {"hostname": external.host, "wellKnownCACertificates": "System"},
        },
    }


def _metadata(plan: Plan, name: str, namespace: str) -> Manifest:
    labels = {
        NAME: object_name(name),
        "app.kubernetes.io/managed-by": "ome-iac",
        "app.kubernetes.io/part-of": plan.stack,
    }
    return {"name": object_name(name), "namespace": namespace, "labels": labels}


def _http_route(plan: Plan, route: Route) -> Manifest:
    namespace, _, gateway = route.parent.partition("/")
    hosts = {
        object_name(external.name): external.host
        for external in plan.externals
        if external.namespace == route.namespace
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(plan, route.name, route.namespace),
        "spec": {
            "parentRefs": [{"name": gateway, "namespace": namespace}],
            "hostnames": list(route.hosts),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "timeouts": {"request": STREAM, "backendRequest": STREAM},
                    "backendRefs": [_reference(backend, hosts.get(backend.name)) for backend in route.backends],
                }
            ],
        },
    }


def _reference(backend: Backend, host: str | None) -> Manifest:
    """`host`: what a server elsewhere is called by; it knows nothing of the name that the request was sent to."""
    if backend.kind == "InferencePool":
        group: Manifest = {"group": "inference.networking.k8s.io", "kind": "InferencePool"}
    else:
        group = {"kind": "Service"}
    rewritten = [{"type": "URLRewrite", "urlRewrite": {"hostname": host}}]
    filters = {"filters": rewritten} if host and backend.kind == "Service" else {}
    return {**group, "name": backend.name, "port": backend.port, "weight": backend.weight, **filters}


def _virtual_service(plan: Plan, route: Route) -> Manifest:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": _metadata(plan, route.name, route.namespace),
        "spec": {
            "hosts": list(route.hosts),
            "gateways": [route.parent],
            "http": [
                {
                    "match": [{"uri": {"prefix": "/"}}],  # no timeout: none is Istio's own default
                    "route": [
                        {
                            "destination": {
                                "host": f"{backend.name}.{route.namespace}.svc.cluster.local",
                                "port": {"number": backend.port},
                            },
                            "weight": backend.weight,
                        }
                        for backend in route.backends
                    ],
                }
            ],
        },
    }


def _ingress(plan: Plan, route: Route) -> Manifest:
    [backend] = route.backends
    service = {"service": {"name": backend.name, "port": {"number": backend.port}}}
    paths: list[dict[str, Any]] = [{"path": "/", "pathType": "Prefix", "backend": service}]
    secret = {"tls": [{"hosts": list(route.hosts), "secretName": route.tls_secret}]} if route.tls_secret else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": _metadata(plan, route.name, route.namespace)
        | {
            # An answer is a stream: nothing of it is held back or cut off.
            "annotations": {
                "nginx.ingress.kubernetes.io/proxy-buffering": "off",
                "nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
                "nginx.ingress.kubernetes.io/proxy-send-timeout": "3600",
            }
        },
        "spec": {
            "ingressClassName": route.parent,
            **secret,
            "rules": [{"host": host, "http": {"paths": paths}} for host in route.hosts],
        },
    }
