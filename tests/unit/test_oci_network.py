"""A VCN cut from one CIDR, the rules of its groups, and room for pods."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ome_iac.planning.oci.flows import ANYWHERE, GROUPS, INSIDE, flows, rules
from ome_iac.planning.oci.network import addresses, dns_label, pod_addresses, subnets
from ome_iac.spec.network import ManagedNetwork
from tests.engine.oci_stack import PRODUCTION, plan_of
from tests.unit.oci_problems import problems_of


@given(length=st.integers(16, 23), third=st.integers(0, 255), public=st.booleans())
def test_subnets_fill_no_more_than_the_network_and_never_overlap(length: int, third: int, public: bool) -> None:
    whole = IPv4Network((int(IPv4Network(f"10.7.{third}.0/24").network_address), 24)).supernet(new_prefix=length)
    made = subnets(ManagedNetwork(mode="managed", cidr=str(whole)), public)
    cut = [IPv4Network(subnet.cidr) for subnet in made]
    assert all(part.subnet_of(whole) for part in cut)
    assert not any(one.overlaps(other) for index, one in enumerate(cut) for other in cut[index + 1 :])
    assert {subnet.role for subnet in made} == set(GROUPS)
    assert all(subnet.addresses == addresses(IPv4Network(subnet.cidr)) for subnet in made)
    assert [subnet.role for subnet in made if subnet.public] == (["api"] if public else [])


def test_a_block_for_pods_leaves_the_rest_as_it_is() -> None:
    with_half = subnets(ManagedNetwork(mode="managed", cidr="10.0.0.0/20"), False)
    with_own = subnets(ManagedNetwork(mode="managed", cidr="10.0.0.0/20", pod_cidr="10.64.0.0/16"), False)
    assert with_own[:-1] == with_half[:-1]
    assert (with_half[-1].cidr, with_own[-1].cidr) == ("10.0.8.0/21", "10.64.0.0/16")


@given(callers=st.lists(st.sampled_from(["192.0.2.0/24", "198.51.100.0/24"]), unique=True))
def test_every_flow_between_groups_has_both_its_rules(callers: list[str]) -> None:
    made = rules(flows(callers, ["10.0.0.0/16"]))
    assert len({rule.name for rule in made}) == len(made)
    assert list(made) == sorted(made, key=lambda rule: rule.name)
    sides = {(rule.group, rule.direction, rule.protocol, rule.ports, rule.peer) for rule in made}
    for flow in INSIDE:
        if flow.origin in GROUPS and flow.end in GROUPS:
            assert (flow.origin, "EGRESS", flow.protocol, flow.ports, flow.end) in sides
            assert (flow.end, "INGRESS", flow.protocol, flow.ports, flow.origin) in sides


def test_nobody_outside_gets_in_unless_named() -> None:
    made = rules(flows((), ("10.0.0.0/16",)))
    from_outside = [rule for rule in made if rule.direction == "INGRESS" and rule.peer == ANYWHERE]
    assert {rule.protocol for rule in from_outside} == {"icmp"}
    assert not any(rule.group == "api" and rule.peer_kind == "cidr" and rule.direction == "INGRESS" for rule in made)
    assert not any(rule.group in ("api", "storage") and rule.peer == ANYWHERE for rule in made)


def test_a_private_network_has_no_internet_gateway_and_a_public_one_has() -> None:
    network = plan_of(PRODUCTION).network
    assert network is not None
    assert not network.internet_gateway
    public = plan_of(PRODUCTION.replace("cidr: 10.0.0.0/16}", "cidr: 10.0.0.0/16, loadBalancers: public}")).network
    assert public is not None
    assert public.internet_gateway
    assert [subnet.role for subnet in public.subnets if subnet.public] == ["load-balancers"]


def test_pods_take_an_address_each_and_one_for_every_interface_that_carries_them() -> None:
    assert pod_addresses("a", 2, 31).total == 2 * 32
    assert pod_addresses("a", 2, 32).total == 2 * 34
    assert pod_addresses("a", 1, 110).per_node == 114


def test_a_pod_subnet_too_small_is_refused_with_the_sum_and_the_size_that_would_do() -> None:
    [problem] = problems_of(PRODUCTION.replace("10.0.0.0/16", "10.0.0.0/22"))
    assert problem.path == "Cluster/production spec.create.network.cidr"
    assert "1,140 addresses (h100 4 x 114 + system 6 x 114); the pod subnet 10.0.2.0/23 has 509" in problem.what
    assert problem.remedy == "write podCidr with a /21 of its own, or a cidr of /20"
    assert problem.where.startswith("stack.yaml:")
    assert problems_of(PRODUCTION.replace("cidr: 10.0.0.0/16", "cidr: 10.0.0.0/20")) == []
    with_block = "cidr: 10.0.0.0/22, podCidr: 10.1.0.0/21"
    assert problems_of(PRODUCTION.replace("cidr: 10.0.0.0/16", with_block)) == []


def test_a_pod_subnet_that_no_network_holds() -> None:
    [problem] = problems_of(PRODUCTION.replace("nodes: 4", "nodes: 600"))
    assert "h100 600 x 114" in problem.what
    assert "lower maxPodsPerNode" in problem.remedy


@pytest.mark.parametrize(
    ("network", "services", "what"),
    [
        ("cidr: 10.0.0.0/16", "10.0.128.0/20", "10.0.128.0/20 overlaps 10.0.0.0/16 of spec.create.network.cidr"),
        ("cidr: 10.0.0.0/16, podCidr: 10.0.0.0/17", "10.96.0.0/16", "10.0.0.0/17 overlaps 10.0.0.0/16"),
        ("cidr: 10.0.0.0/12", "172.16.0.0/16", "10.0.0.0/12 is not between /16 and /23"),
        ("cidr: 10.0.0.0/26", "10.96.0.0/16", "10.0.0.0/26 is not between /16 and /23"),
    ],
)
def test_blocks_that_cannot_be(network: str, services: str, what: str) -> None:
    text = PRODUCTION.replace("cidr: 10.0.0.0/16", network).replace(
        "    protect: false", f"    protect: false\n    servicesCidr: {services}"
    )
    [problem] = problems_of(text)
    assert what in problem.what
    assert problem.remedy


def test_a_block_with_host_bits_is_refused_where_it_is_written() -> None:
    [problem] = problems_of(PRODUCTION.replace("cidr: 10.0.0.0/16", "cidr: 10.0.0.1/16"))
    assert "spec.create.network.cidr" in problem.path
    assert "host bits" in problem.what


def test_a_public_api_is_for_somebody() -> None:
    text = PRODUCTION.replace("    protect: false", "    protect: false\n    api: public")
    [problem] = problems_of(text)
    assert problem.path.endswith("apiAllowedCidrs")
    allowed = text.replace("api: public", "api: public\n    apiAllowedCidrs: [192.0.2.0/24]")
    network = plan_of(allowed).network
    assert network is not None
    assert network.subnet("api").public
    assert any(rule.group == "api" and rule.peer == "192.0.2.0/24" for rule in network.rules)


def test_dns_labels() -> None:
    assert dns_label("production") == "production"
    assert dns_label("9-lives-of-a-very-long-name") == "n9livesofaveryl"
