"""A VCN from one CIDR: subnets, and whether the pools' pods have room in theirs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network

from ome_iac.planning.oci.flows import ANYWHERE, flows, rules
from ome_iac.planning.oci.plan import NetworkIds, NetworkPlan, PodAddresses, SubnetPlan, Tags
from ome_iac.problems import Problem
from ome_iac.spec.infrastructure import Cluster, NewOke
from ome_iac.spec.network import ExistingNetwork, ManagedNetwork

LARGEST, SMALLEST = 16, 23
"""Prefix lengths that a VCN of ours may have: OCI takes /16 at most, and /23 is the least that six subnets fit in."""
RESERVED = 3
"""Addresses that OCI keeps of every subnet: the first two and the last."""
PODS_PER_VNIC = 31
"""Pods that one secondary VNIC carries beside its own address (OKE, VCN-native pod networking)."""


def addresses(network: IPv4Network) -> int:
    """Addresses of a subnet that resources can have."""
    return max(network.num_addresses - RESERVED, 0)


def pod_addresses(pool: str, nodes: int, max_pods: int) -> PodAddresses:
    """What the pods of a pool may take: an address each, and one for every VNIC that carries them."""
    return PodAddresses(pool=pool, nodes=nodes, per_node=max_pods + -(-max_pods // PODS_PER_VNIC))


def subnets(network: ManagedNetwork, public_api: bool) -> tuple[SubnetPlan, ...]:
    """The subnets of a VCN between /16 and /23, in the order of their addresses.

    Pods take the upper half (or a block of their own), workers a quarter, load balancers and storage a sixteenth each,
    the API endpoint a /28.
    """
    whole = IPv4Network(network.cidr)
    length = whole.prefixlen
    sixteenths = list(whole.subnets(new_prefix=length + 4))
    pods = IPv4Network(network.pod_cidr) if network.pod_cidr else list(whole.subnets(new_prefix=length + 1))[1]
    workers = next(whole.subnets(new_prefix=length + 2))
    balancers, storage, rest = sixteenths[4], sixteenths[5], sixteenths[6]
    api = next(rest.subnets(new_prefix=28))
    return (
        SubnetPlan(role="workers", cidr=str(workers), public=False, dns_label="workers", addresses=addresses(workers)),
        SubnetPlan(
            role="load-balancers",
            cidr=str(balancers),
            public=network.load_balancers == "public",
            dns_label="lb",
            addresses=addresses(balancers),
        ),
        SubnetPlan(role="storage", cidr=str(storage), public=False, dns_label="storage", addresses=addresses(storage)),
        SubnetPlan(role="api", cidr=str(api), public=public_api, dns_label="api", addresses=addresses(api)),
        SubnetPlan(role="pods", cidr=str(pods), public=False, dns_label="pods", addresses=addresses(pods)),
    )


def plan_network(
    document: Cluster, wanted: NewOke, pods: Sequence[PodAddresses], tags: Tags, problems: list[Problem]
) -> NetworkPlan | None:
    """The VCN, whatever else is wrong with it among the problems; None where it cannot be cut up at all."""
    network = wanted.network
    assert isinstance(network, ManagedNetwork)
    wrong_sizes = list(_wrong_sizes(document, network))
    problems.extend([*wrong_sizes, *_overlaps(document, wanted, network)])
    if wanted.api == "public" and not wanted.api_allowed_cidrs:
        problems.append(
            document.problem(
                "spec.create.apiAllowedCidrs",
                "a public API that nobody may reach",
                "name the networks that may, such as your office's, or leave the API private",
            )
        )
    if wrong_sizes:
        return None
    planned = subnets(network, wanted.api == "public")
    pod_subnet, workers = planned[-1], planned[0]
    path = "spec.create.network." + ("podCidr" if network.pod_cidr else "cidr")
    problems.extend(pod_problems(document, path, IPv4Network(pod_subnet.cidr), pods))
    nodes = sum(pool.nodes for pool in pods)
    if nodes > workers.addresses:
        what = f"{nodes} nodes need as many addresses, {workers.cidr} has {workers.addresses}"
        problems.append(document.problem("spec.create.network.cidr", what, "take a larger network"))
    blocks = (network.cidr, network.pod_cidr) if network.pod_cidr else (network.cidr,)
    clients = (ANYWHERE,) if network.load_balancers == "public" else blocks
    return NetworkPlan(
        name=document.name,
        compartment_id=wanted.compartment_id,
        cidr_blocks=blocks,
        dns_label=dns_label(document.name),
        subnets=planned,
        internet_gateway=any(subnet.public for subnet in planned),
        rules=rules(flows(wanted.api_allowed_cidrs, clients)),
        pods=tuple(pods),
        protect=wanted.protect,
        tags=tags,
    )


def existing_network(network: ExistingNetwork) -> NetworkIds:
    """A VCN that is there, by role."""
    ids = {
        "api": network.api_subnet_id,
        "workers": network.worker_subnet_id,
        "pods": network.pod_subnet_id,
        "load-balancers": network.load_balancer_subnet_id,
        "storage": network.storage_subnet_id,
    }
    groups = {
        "api": network.api_nsg_ids,
        "workers": network.worker_nsg_ids,
        "pods": network.pod_nsg_ids,
        "load-balancers": network.load_balancer_nsg_ids,
    }
    return NetworkIds.model_validate(
        {
            "vcn_id": network.vcn_id,
            "subnets": {role: subnet for role, subnet in ids.items() if subnet},
            "groups": {role: found for role, found in groups.items() if found},
        }
    )


def pod_problems(document: Cluster, path: str, subnet: IPv4Network, pods: Sequence[PodAddresses]) -> Iterable[Problem]:
    """A pod subnet that is too small, with the numbers and the size that would do."""
    needed, held = sum(pool.total for pool in pods), addresses(subnet)
    if needed > held:
        parts = " + ".join(f"{pool.pool} {pool.nodes} x {pool.per_node}" for pool in pods)
        length = next(
            (length for length in range(subnet.prefixlen, 7, -1) if 2 ** (32 - length) - RESERVED >= needed), 8
        )
        what = f"the pods may need {needed:,} addresses ({parts}); the pod subnet {subnet} has {held:,}"
        remedy = f"a pod subnet of /{length} would do, or a smaller maxPodsPerNode"
        if length < LARGEST:
            remedy = "no subnet of a VCN is that large: lower maxPodsPerNode, or make fewer nodes"
        elif path.endswith(".cidr"):
            remedy = f"write podCidr with a /{length} of its own" + (
                f", or a cidr of /{length - 1}" if length > LARGEST else ""
            )
        yield document.problem(path, what, remedy)


def _wrong_sizes(document: Cluster, network: ManagedNetwork) -> Iterable[Problem]:
    for field, cidr, smallest in (("cidr", network.cidr, SMALLEST), ("podCidr", network.pod_cidr, 28)):
        if cidr and not LARGEST <= IPv4Network(cidr).prefixlen <= smallest:
            what = f"{cidr} is not between /{LARGEST} and /{smallest}"
            remedy = f"such as {IPv4Network(cidr).network_address}/{LARGEST}"
            yield document.problem(f"spec.create.network.{field}", what, remedy)


def _overlaps(document: Cluster, wanted: NewOke, network: ManagedNetwork) -> Iterable[Problem]:
    blocks = {"network.cidr": network.cidr, "network.podCidr": network.pod_cidr, "servicesCidr": wanted.services_cidr}
    given = {path: IPv4Network(cidr) for path, cidr in blocks.items() if cidr}
    paths = list(given)
    for index, path in enumerate(paths):
        for other in paths[index + 1 :]:
            if given[path].overlaps(given[other]):
                yield document.problem(
                    f"spec.create.{other}",
                    f"{given[other]} overlaps {given[path]} of spec.create.{path}",
                    "give each network addresses of its own",
                )


def dns_label(name: str) -> str:
    """A VCN's DNS label of a document's name: letters and digits, a letter first, 15 at most."""
    label = re.sub(r"[^a-z0-9]", "", name.lower())
    return (label if label[:1].isalpha() else f"n{label}")[:15]
