"""A tenant's objects in the cluster: namespaces, ceilings, roles, and what may talk to what."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from ome_iac.planning.tenancy.plan import End, Flow, NamespacePlan, TenantPlan

Manifest = dict[str, Any]

NAMESPACE_NAME = "kubernetes.io/metadata.name"
TENANT = "ome-iac/tenant"
READ = ["get", "list", "watch"]
WRITE = ["create", "update", "patch", "delete"]
RoleName = Literal["viewer", "deployer", "admin"]
RBAC_API = "rbac.authorization.k8s.io"

SERVING: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("configmaps", "persistentvolumeclaims", "pods", "services")),
    ("apps", ("deployments", "statefulsets")),
    ("autoscaling", ("horizontalpodautoscalers",)),
    ("batch", ("jobs",)),
    ("gateway.networking.k8s.io", ("httproutes",)),
    ("inference.networking.k8s.io", ("inferencepools",)),
    ("jobset.x-k8s.io", ("jobsets",)),
    ("keda.sh", ("scaledobjects",)),
    ("leaderworkerset.x-k8s.io", ("leaderworkersets",)),
    ("monitoring.coreos.com", ("podmonitors",)),
    ("policy", ("poddisruptionbudgets",)),
    ("serving.knative.dev", ("services",)),
    ("trainer.kubeflow.org", ("trainjobs",)),
)
"""What services and jobs are made of: a viewer sees it, a deployer changes it."""
FENCES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("events", "limitranges", "resourcequotas", "serviceaccounts")),
    ("kueue.x-k8s.io", ("localqueues", "workloads")),
    ("networking.k8s.io", ("networkpolicies",)),
    ("security.istio.io", ("authorizationpolicies", "peerauthentications")),
)
"""What holds a tenant in: everybody of it sees it, nobody of it changes it."""
OWN: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("", ("secrets",)),
    (RBAC_API, ("rolebindings",)),
)
"""An admin's: whom else to let in (to no more than the admin may do: the API server sees to it), and secrets."""


def namespace_objects(tenant: TenantPlan, namespace: NamespacePlan) -> list[Manifest]:
    """The objects of one namespace, the namespace first."""
    return [
        _namespace(tenant, namespace),
        *_ceilings(tenant, namespace),
        *_roles(tenant, namespace),
        *network_policies(tenant, namespace),
    ]


def network_policies(tenant: TenantPlan, namespace: NamespacePlan) -> list[Manifest]:
    """Nothing passes, and then what each flow of the tenant names, on both of its sides as far as they are here."""
    found: dict[str, Manifest] = {}
    flows = {flow.model_dump_json(): flow for other in tenant.namespaces for flow in other.flows}
    for text in sorted(flows):
        flow = flows[text]
        if flow.end.namespace == namespace.name:
            body = {"policyTypes": ["Ingress"], "ingress": [{"from": [_peer(flow.origin)], **_ports(flow)}]}
            found[_name("to", flow)] = _policy(tenant, namespace.name, _name("to", flow), flow.end.labels, body)
        if flow.origin.namespace == namespace.name:
            body = {"policyTypes": ["Egress"], "egress": [{"to": [_peer(flow.end)], **_ports(flow)}]}
            found[_name("from", flow)] = _policy(tenant, namespace.name, _name("from", flow), flow.origin.labels, body)
    nothing = _policy(tenant, namespace.name, "default-deny", {}, {"policyTypes": ["Ingress", "Egress"]})
    return [nothing, *(found[name] for name in sorted(found))]


def role_rules(role: RoleName) -> list[Manifest]:
    """RBAC rules of a role; each includes those before it."""
    rules = [*_rules(SERVING, READ), *_rules(FENCES, READ)]
    if role == "viewer":
        return rules
    rules += [*_rules(SERVING, WRITE), {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}]
    if role == "deployer":
        return rules
    attach = {"apiGroups": [""], "resources": ["pods/exec", "pods/portforward"], "verbs": ["create", "get"]}
    return [*rules, *_rules(OWN, [*READ, *WRITE]), attach]


def _namespace(tenant: TenantPlan, namespace: NamespacePlan) -> Manifest:
    labels = {
        **_labels(tenant),
        "pod-security.kubernetes.io/enforce": namespace.pod_security,
        # What would be stricter is said to whoever applies, and written into the audit log.
        "pod-security.kubernetes.io/warn": "restricted",
        "pod-security.kubernetes.io/audit": "restricted",
    }
    if tenant.mesh:
        labels["istio-injection"] = "enabled"
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace.name, "labels": labels}}


def _ceilings(tenant: TenantPlan, namespace: NamespacePlan) -> list[Manifest]:
    """A pod that says nothing of CPU and memory would be refused by the quota: it gets little of both."""
    default = {"type": "Container", "defaultRequest": {"cpu": "100m", "memory": "256Mi"}, "default": {"memory": "1Gi"}}
    return [
        _object(tenant, namespace.name, "v1", "ResourceQuota", "tenant", spec={"hard": dict(namespace.quota)}),
        _object(tenant, namespace.name, "v1", "LimitRange", "tenant", spec={"limits": [default]}),
    ]


def _roles(tenant: TenantPlan, namespace: NamespacePlan) -> list[Manifest]:
    found = []
    roles: tuple[RoleName, ...] = ("viewer", "deployer", "admin")
    for role in roles:
        name = f"tenant-{role}"
        found.append(_object(tenant, namespace.name, f"{RBAC_API}/v1", "Role", name, rules=role_rules(role)))
        groups = tenant.groups.get(role, ())
        if groups:
            subjects = [{"kind": "Group", "apiGroup": RBAC_API, "name": group} for group in groups]
            reference = {"apiGroup": RBAC_API, "kind": "Role", "name": name}
            binding = {"subjects": subjects, "roleRef": reference}
            found.append(_object(tenant, namespace.name, f"{RBAC_API}/v1", "RoleBinding", name, **binding))
    return found


def _rules(table: Iterable[tuple[str, tuple[str, ...]]], verbs: list[str]) -> list[Manifest]:
    return [{"apiGroups": [group], "resources": list(names), "verbs": list(verbs)} for group, names in table]


def _peer(end: End) -> Manifest:
    if end.cidr:
        return {"ipBlock": {"cidr": end.cidr, **({"except": list(end.excepted)} if end.excepted else {})}}
    peer: Manifest = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: end.namespace}}}
    if end.labels:
        peer["podSelector"] = {"matchLabels": dict(end.labels)}
    return peer


def _ports(flow: Flow) -> Manifest:
    if not flow.ports:
        return {}
    return {"ports": [{"protocol": protocol, "port": port} for protocol in flow.protocols for port in flow.ports]}


def _name(side: str, flow: Flow) -> str:
    """A name that stays the same as long as the flow does."""
    text = json.dumps(flow.model_dump(exclude={"why", "http", "paths"}, mode="json"), sort_keys=True)
    return f"flow-{side}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _policy(tenant: TenantPlan, namespace: str, name: str, labels: Mapping[str, str], body: Manifest) -> Manifest:
    spec = {"podSelector": {"matchLabels": dict(labels)} if labels else {}, **body}
    return _object(tenant, namespace, "networking.k8s.io/v1", "NetworkPolicy", name, spec=spec)


def _object(tenant: TenantPlan, namespace: str, version: str, kind: str, name: str, **body: object) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": _labels(tenant)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


def _labels(tenant: TenantPlan) -> dict[str, str]:
    return {"app.kubernetes.io/managed-by": "ome-iac", TENANT: tenant.name}
