"""Whether one pod reaches another, by the rendered objects: Kubernetes' NetworkPolicies and Istio's policies.

Semantics are kubernetes.io's (Network Policies) and istio.io's (PeerAuthentication, Authorization Policy). A pod that
no policy of a direction selects is open in it; one that is selected lets through what any of them names. A pod on the
node's network is nobody's to select, and is seen by others as an address of no pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Pod:
    """A pod as policies see it."""

    namespace: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.0.0.1"
    sidecar: bool = False
    """It is in the mesh: it has an identity, and its policies hold."""
    host_network: bool = False


@dataclass(frozen=True)
class World:
    """Namespaces with their labels, and every policy object."""

    namespaces: Mapping[str, Mapping[str, str]]
    objects: Sequence[Manifest]

    def refusals(self, origin: Pod, end: Pod, port: int, protocol: str = "TCP", path: str = "/") -> tuple[str, ...]:
        """Who stops a connection from `origin` to a port of `end`; nobody: it passes."""
        found = [
            *self._network(origin, end, port, protocol),
            *(self._mesh(origin, end, port, path) if end.sidecar and protocol == "TCP" else ()),
        ]
        return tuple(found)

    def _network(self, origin: Pod, end: Pod, port: int, protocol: str) -> Iterator[str]:
        if origin.host_network is False:
            policies = list(self._selecting(origin, "Egress"))
            if policies and not self._any_rule(policies, "egress", "to", end, port, protocol):
                yield f"NetworkPolicies of {origin.namespace} let nothing from {origin.name} to {end.name}:{port}"
        if end.host_network is False:
            policies = list(self._selecting(end, "Ingress"))
            if policies and not self._any_rule(policies, "ingress", "from", origin, port, protocol):
                yield f"NetworkPolicies of {end.namespace} let nothing from {origin.name} to {end.name}:{port}"

    def _selecting(self, pod: Pod, direction: str) -> Iterator[Manifest]:
        for item in self._of("NetworkPolicy", pod.namespace):
            spec = item["spec"]
            types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if "egress" in spec else [])]
            if direction in types and matches(spec["podSelector"], pod.labels):
                yield spec

    def _any_rule(
        self, policies: Iterable[Manifest], key: str, side: str, other: Pod, port: int, protocol: str
    ) -> bool:
        for policy in policies:
            for rule in policy.get(key) or ():
                peers, ports = rule.get(side) or (), rule.get("ports") or ()
                named = not ports or any(_port(item, port, protocol) for item in ports)
                if named and (not peers or any(self._peer(peer, policy, other) for peer in peers)):
                    return True
        return False

    def _peer(self, peer: Manifest, policy: Manifest, other: Pod) -> bool:
        if "ipBlock" in peer:
            block, address = peer["ipBlock"], ip_address(other.address)
            inside = address in ip_network(block["cidr"])
            return inside and not any(address in ip_network(net) for net in block.get("except") or ())
        if other.host_network:
            return False
        spaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
        in_space = matches(spaces, self.namespaces[other.namespace]) if spaces is not None else None
        if in_space is None:
            raise ValueError("a peer without namespaceSelector means its policy's own namespace: write it out")
        return in_space and (pods is None or matches(pods, other.labels))

    def _mesh(self, origin: Pod, end: Pod, port: int, path: str) -> Iterator[str]:
        strict = any(
            (item["spec"].get("mtls") or {}).get("mode") == "STRICT" and _selects(item, end)
            for item in self._of("PeerAuthentication", end.namespace)
        )
        if strict and not origin.sidecar:
            yield f"{end.namespace} takes mutual TLS only, and {origin.name} has no sidecar"
        policies = [item["spec"] for item in self._of("AuthorizationPolicy", end.namespace) if _selects(item, end)]
        if any(spec.get("action", "ALLOW") != "ALLOW" for spec in policies):
            raise ValueError("only AuthorizationPolicies that allow are understood")
        rules = [rule for spec in policies for rule in spec.get("rules") or ()]
        if policies and not any(_rule(rule, origin, port, path) for rule in rules):
            yield f"no AuthorizationPolicy of {end.namespace} lets {origin.namespace} ask {end.name}:{port}{path}"

    def _of(self, kind: str, namespace: str) -> Iterator[Manifest]:
        for item in self.objects:
            if item["kind"] == kind and item["metadata"]["namespace"] == namespace:
                yield item


def matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """A label selector; an empty one is everything."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(item, labels) for item in selector.get("matchExpressions") or ())


def _expression(item: Manifest, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(item["key"]), item.get("values") or ()
    operators = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return operators[item["operator"]]


def _port(item: Manifest, port: int, protocol: str) -> bool:
    if item.get("protocol", "TCP") != protocol:
        return False
    first: int = item.get("port", 0)
    last: int = item.get("endPort", first or 65535)
    return first <= port <= last


def _selects(item: Manifest, pod: Pod) -> bool:
    return matches(item["spec"].get("selector") or {}, pod.labels)


def _rule(rule: Manifest, origin: Pod, port: int, path: str) -> bool:
    sources = [source["source"] for source in rule.get("from") or ()]
    # Without mutual TLS a caller has no namespace that could be believed.
    known = not sources or (origin.sidecar and any(origin.namespace in source["namespaces"] for source in sources))
    operations = [operation["operation"] for operation in rule.get("to") or ()]
    meant = not operations or any(
        str(port) in item.get("ports", (str(port),)) and path in item.get("paths", (path,)) for item in operations
    )
    return known and meant
