"""`Network`: a VCN with the subnets, gateways, routes and security groups that an OKE cluster needs."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_oci as oci

from ome_iac.planning.oci.plan import NetworkPlan, Role, RulePlan, SubnetPlan

_PROTOCOLS = {"all": "all", "icmp": "1", "tcp": "6", "udp": "17"}
_GROUPS: tuple[Role, ...] = ("api", "workers", "pods", "load-balancers", "storage")


class Network(pulumi.ComponentResource):
    """A VCN. What is needed later is by role: api, workers, pods, load-balancers, storage."""

    vcn_id: pulumi.Output[str]
    subnet_ids: Mapping[Role, pulumi.Output[str]]
    group_ids: Mapping[Role, pulumi.Output[str]]

    def __init__(self, name: str, args: NetworkPlan, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "cidrBlocks": list(args.cidr_blocks),
            "subnets": {subnet.role: subnet.cidr for subnet in args.subnets},
            "podAddresses": {
                "held": args.subnet("pods").addresses,
                "needed": sum(pool.total for pool in args.pods),
            },
        }
        super().__init__("ome-iac:index:Network", name, inputs, opts)
        self._name, self._args = name, args
        vcn = oci.core.Vcn(
            f"{name}-vcn",
            cidr_blocks=list(args.cidr_blocks),
            display_name=args.name,
            dns_label=args.dns_label,
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.vcn_id = vcn.id
        services = oci.core.get_services_output(
            filters=[{"name": "name", "values": ["All .* Services In Oracle Services Network"], "regex": True}],
            opts=pulumi.InvokeOptions(parent=self),
        ).services[0]
        routes = self._routes(services)
        closed = oci.core.SecurityList(
            f"{name}-closed-list",
            vcn_id=self.vcn_id,
            display_name=f"{args.name}-closed",
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=self._child(),
        )
        open_to_services = oci.core.SecurityList(
            f"{name}-services-list",
            vcn_id=self.vcn_id,
            display_name=f"{args.name}-services",
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            # OKE's cloud controller writes the rules of Services of type LoadBalancer here.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["ingressSecurityRules", "egressSecurityRules"]),
        )
        self.subnet_ids = {
            subnet.role: self._subnet(
                subnet, routes, open_to_services if subnet.role in ("workers", "load-balancers") else closed
            )
            for subnet in args.subnets
        }
        groups = {
            role: oci.core.NetworkSecurityGroup(
                f"{name}-{role}-nsg",
                vcn_id=self.vcn_id,
                display_name=f"{args.name}-{role}",
                compartment_id=args.compartment_id,
                freeform_tags=args.tags,
                opts=self._child(),
            )
            for role in _GROUPS
        }
        self.group_ids = {role: group.id for role, group in groups.items()}
        for rule in args.rules:
            self._rule(rule, groups[rule.group], services)
        self.register_outputs(
            {"vcnId": self.vcn_id, "subnetIds": dict(self.subnet_ids), "networkSecurityGroupIds": dict(self.group_ids)}
        )

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _routes(
        self, services: pulumi.Output[oci.core.outputs.GetServicesServiceResult]
    ) -> Mapping[bool, pulumi.Output[str]]:
        """The route tables, of public subnets (if there are any) and of the others."""
        name, args = self._name, self._args
        nat = oci.core.NatGateway(
            f"{name}-nat",
            vcn_id=self.vcn_id,
            display_name=f"{args.name}-nat",
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=self._child(),
        )
        gateway = oci.core.ServiceGateway(
            f"{name}-services",
            vcn_id=self.vcn_id,
            display_name=f"{args.name}-services",
            services=[{"service_id": services.id}],
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=self._child(),
        )
        private = oci.core.RouteTable(
            f"{name}-private",
            vcn_id=self.vcn_id,
            display_name=f"{args.name}-private",
            route_rules=[
                {"destination": "0.0.0.0/0", "destination_type": "CIDR_BLOCK", "network_entity_id": nat.id},
                {
                    "destination": services.cidr_block,
                    "destination_type": "SERVICE_CIDR_BLOCK",
                    "network_entity_id": gateway.id,
                },
            ],
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=self._child(),
        )
        if not args.internet_gateway:
            return {False: private.id}
        internet = oci.core.InternetGateway(
            f"{name}-internet",
            vcn_id=self.vcn_id,
            display_name=f"{args.name}-internet",
            enabled=True,
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=self._child(),
        )
        public = oci.core.RouteTable(
            f"{name}-public",
            vcn_id=self.vcn_id,
            display_name=f"{args.name}-public",
            route_rules=[
                {"destination": "0.0.0.0/0", "destination_type": "CIDR_BLOCK", "network_entity_id": internet.id}
            ],
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=self._child(),
        )
        return {False: private.id, True: public.id}

    def _subnet(
        self, subnet: SubnetPlan, routes: Mapping[bool, pulumi.Output[str]], rules: oci.core.SecurityList
    ) -> pulumi.Output[str]:
        args = self._args
        made = oci.core.Subnet(
            f"{self._name}-{subnet.role}",
            vcn_id=self.vcn_id,
            cidr_block=subnet.cidr,
            display_name=f"{args.name}-{subnet.role}",
            dns_label=subnet.dns_label,
            prohibit_public_ip_on_vnic=not subnet.public,
            route_table_id=routes[subnet.public],
            # Named, since a subnet without one gets the VCN's default list, which lets SSH in from anywhere.
            security_list_ids=[rules.id],
            compartment_id=args.compartment_id,
            freeform_tags=args.tags,
            opts=self._child(),
        )
        return made.id

    def _rule(
        self,
        rule: RulePlan,
        group: oci.core.NetworkSecurityGroup,
        services: pulumi.Output[oci.core.outputs.GetServicesServiceResult],
    ) -> None:
        peers: dict[str, tuple[pulumi.Input[str], str]] = {
            "cidr": (rule.peer, "CIDR_BLOCK"),
            "services": (services.cidr_block, "SERVICE_CIDR_BLOCK"),
        }
        peer, kind = peers.get(rule.peer_kind) or (self._group(rule.peer), "NETWORK_SECURITY_GROUP")
        made = oci.core.NetworkSecurityGroupSecurityRuleArgs(
            network_security_group_id=group.id,
            direction=rule.direction,
            protocol=_PROTOCOLS[rule.protocol],
            description=rule.why,
        )
        if rule.direction == "EGRESS":
            made.destination, made.destination_type = peer, kind
        else:
            made.source, made.source_type = peer, kind
        if rule.icmp:
            made.icmp_options = oci.core.NetworkSecurityGroupSecurityRuleIcmpOptionsArgs(
                type=rule.icmp[0], code=rule.icmp[1]
            )
        if rule.ports and rule.protocol == "tcp":
            made.tcp_options = oci.core.NetworkSecurityGroupSecurityRuleTcpOptionsArgs(
                destination_port_range=oci.core.NetworkSecurityGroupSecurityRuleTcpOptionsDestinationPortRangeArgs(
                    min=rule.ports[0], max=rule.ports[1]
                )
            )
        if rule.ports and rule.protocol == "udp":
            made.udp_options = oci.core.NetworkSecurityGroupSecurityRuleUdpOptionsArgs(
                destination_port_range=oci.core.NetworkSecurityGroupSecurityRuleUdpOptionsDestinationPortRangeArgs(
                    min=rule.ports[0], max=rule.ports[1]
                )
            )
        options = pulumi.ResourceOptions(parent=self, deleted_with=group)
        oci.core.NetworkSecurityGroupSecurityRule(f"{self._name}-{rule.name}", made, options)

    def _group(self, role: str) -> pulumi.Output[str]:
        return next(found for name, found in self.group_ids.items() if name == role)
