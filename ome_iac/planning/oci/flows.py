"""Who may talk to whom in a cluster's VCN: one table of flows, from which each group's rules follow.

Every flow becomes an egress rule of its origin and an ingress rule of its end, so that neither can be forgotten. Ports
are Oracle's (Network Resource Configuration for Cluster Creation, VCN-native pods; File Storage security rules),
checked against terraform-oci-oke's modules/network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ome_iac.planning.oci.plan import Role, RulePlan

ANYWHERE = "0.0.0.0/0"
Protocol = Literal["all", "tcp", "udp", "icmp"]
PATH_DISCOVERY = (3, 4)
"""ICMP type and code of "fragmentation needed"."""


@dataclass(frozen=True)
class Flow:
    """Traffic that must pass. An end that is no role is a CIDR, or `services`: Oracle's own."""

    origin: str
    end: str
    protocol: Protocol
    ports: tuple[int, int] | None
    why: str


GROUPS: tuple[Role, ...] = ("api", "workers", "pods", "load-balancers", "storage")

INSIDE: tuple[Flow, ...] = (
    Flow("api", "api", "tcp", (6443, 6443), "the control plane among itself"),
    Flow("workers", "api", "tcp", (6443, 6443), "kubelet to the Kubernetes API"),
    Flow("workers", "api", "tcp", (12250, 12250), "nodes to OKE's control plane"),
    Flow("workers", "api", "icmp", None, "path discovery"),
    Flow("pods", "api", "tcp", (6443, 6443), "pods to the Kubernetes API"),
    Flow("pods", "api", "tcp", (12250, 12250), "pods to OKE's control plane"),
    Flow("api", "workers", "tcp", (10250, 10250), "the Kubernetes API to kubelets"),
    Flow("api", "workers", "tcp", (12250, 12250), "OKE's control plane to nodes"),
    Flow("api", "workers", "icmp", None, "path discovery"),
    Flow("api", "pods", "all", None, "webhooks and extension APIs served by pods"),
    Flow("workers", "workers", "all", None, "node to node, and pods on the host's network"),
    Flow("workers", "pods", "all", None, "kubelet probes, node ports"),
    Flow("pods", "workers", "all", None, "pods to node ports and to the host's network"),
    Flow("pods", "pods", "all", None, "pod to pod"),
    Flow("load-balancers", "workers", "tcp", (30000, 32767), "load balancers to node ports"),
    Flow("load-balancers", "workers", "tcp", (10256, 10256), "load balancers' health checks of kube-proxy"),
    Flow("workers", "storage", "tcp", (111, 111), "NFS port mapper of File Storage"),
    Flow("workers", "storage", "udp", (111, 111), "NFS port mapper of File Storage"),
    Flow("workers", "storage", "tcp", (2048, 2050), "NFS of File Storage"),
    Flow("workers", "storage", "udp", (2048, 2048), "NFS of File Storage"),
    Flow("api", "services", "tcp", None, "OKE to other Oracle services"),
    Flow("workers", "services", "tcp", None, "Object Storage and registry without the internet"),
    Flow("pods", "services", "tcp", None, "Object Storage and registry without the internet"),
    Flow("workers", ANYWHERE, "tcp", None, "images from public registries, through NAT"),
    Flow("pods", ANYWHERE, "tcp", None, "model hubs, through NAT"),
    Flow(ANYWHERE, "workers", "icmp", None, "path discovery"),
    Flow(ANYWHERE, "pods", "icmp", None, "path discovery"),
)
"""What every cluster needs."""


def flows(api_callers: Sequence[str], clients: Sequence[str]) -> tuple[Flow, ...]:
    """The flows of a cluster whose API `api_callers` may reach, and whose load balancers `clients` may; both CIDRs."""
    to_api = tuple(
        Flow(cidr, "api", "tcp", (6443, 6443), "people and tools to the Kubernetes API") for cidr in api_callers
    )
    to_services = tuple(
        Flow(cidr, "load-balancers", "tcp", (port, port), "clients to services")
        for cidr in clients
        for port in (80, 443)
    )
    return (*INSIDE, *to_api, *to_services)


def rules(of: Sequence[Flow]) -> tuple[RulePlan, ...]:
    """The rules that let the flows pass, sorted by name."""
    return tuple(sorted((rule for flow in of for rule in _sides(flow)), key=lambda rule: rule.name))


def _sides(flow: Flow) -> Iterator[RulePlan]:
    for group in GROUPS:
        if flow.origin == group:
            yield _rule(flow, group, "EGRESS", flow.end)
        if flow.end == group:
            yield _rule(flow, group, "INGRESS", flow.origin)


def _rule(flow: Flow, group: Role, direction: Literal["INGRESS", "EGRESS"], peer: str) -> RulePlan:
    kind: Literal["group", "cidr", "services"]
    kind = "group" if peer in GROUPS else "services" if peer == "services" else "cidr"
    toward = "to" if direction == "EGRESS" else "from"
    ports = "-".join(str(port) for port in dict.fromkeys(flow.ports)) if flow.ports else ""
    spelt = "anywhere" if peer == ANYWHERE else peer.replace("/", "-").replace(".", "-")
    return RulePlan(
        name="-".join(part for part in (group, toward, spelt, flow.protocol, ports) if part),
        group=group,
        direction=direction,
        protocol=flow.protocol,
        ports=flow.ports,
        icmp=PATH_DISCOVERY if flow.protocol == "icmp" else None,
        peer_kind=kind,
        peer=peer if kind != "services" else "",
        why=flow.why,
    )
