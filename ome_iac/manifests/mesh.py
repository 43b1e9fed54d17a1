"""A tenant's objects for Istio: mutual TLS, and which callers a service has (security.istio.io/v1).

Istio lets through what no policy is about; a namespace with an ALLOW policy without rules lets nothing through, and
each flow then adds its callers (istio.io, Authorization Policy). Pods that meet at ports chosen when they start have no
sidecar: for them the NetworkPolicies hold alone.
"""

from __future__ import annotations

from typing import Any

from ome_iac.manifests.tenancy import TENANT
from ome_iac.planning.tenancy.plan import Flow, NamespacePlan, TenantPlan

Manifest = dict[str, Any]

API_VERSION = "security.istio.io/v1"
INJECT = "sidecar.istio.io/inject"


def mesh_objects(tenant: TenantPlan, namespace: NamespacePlan) -> list[Manifest]:
    """The objects of one namespace; none where the platform has no Istio."""
    if not tenant.mesh:
        return []
    return [
        _object(tenant, namespace.name, "PeerAuthentication", "default", {"mtls": {"mode": "STRICT"}}),
        _object(tenant, namespace.name, "AuthorizationPolicy", "default-deny", {}),
        *_callers(tenant, namespace),
    ]


def sidecar_label(namespace: NamespacePlan, pod_labels: dict[str, str]) -> dict[str, str]:
    """The label that keeps the sidecar out of a pod, for those of `outside_mesh`."""
    outside = any(labels.items() <= pod_labels.items() for labels in namespace.outside_mesh)
    return {INJECT: "false"} if outside else {}


def _callers(tenant: TenantPlan, namespace: NamespacePlan) -> list[Manifest]:
    """One policy for each set of pods that is called."""
    by_end: dict[tuple[tuple[str, str], ...], dict[str, Flow]] = {}
    for other in tenant.namespaces:
        for flow in other.flows:
            if flow.end.namespace == namespace.name and not _outside(namespace, flow):
                by_end.setdefault(tuple(sorted(flow.end.labels.items())), {})[flow.model_dump_json()] = flow
    return [
        _object(
            tenant,
            namespace.name,
            "AuthorizationPolicy",
            "callers-" + "-".join(value for _, value in labels),
            {
                "action": "ALLOW",
                "selector": {"matchLabels": dict(labels)},
                "rules": [_rule(flows[text]) for text in sorted(flows)],
            },
        )
        for labels, flows in sorted(by_end.items())
    ]


def _rule(flow: Flow) -> Manifest:
    operation: Manifest = {}
    if flow.ports:
        operation["ports"] = [str(port) for port in flow.ports]
    if flow.http and flow.paths:
        operation["paths"] = list(flow.paths)
    rule: Manifest = {"from": [{"source": {"namespaces": [flow.origin.namespace]}}]}
    return {**rule, "to": [{"operation": operation}]} if operation else rule


def _outside(namespace: NamespacePlan, flow: Flow) -> bool:
    return any(labels.items() <= flow.end.labels.items() for labels in namespace.outside_mesh)


def _object(tenant: TenantPlan, namespace: str, kind: str, name: str, spec: Manifest) -> Manifest:
    labels = {"app.kubernetes.io/managed-by": "ome-iac", TENANT: tenant.name}
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }
