"""`OkeCluster`: an enhanced OKE cluster with its add-ons, and a kubeconfig that outlives every token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_oci as oci
import yaml

from components.network import Network
from ome_iac.planning.oci.cluster import kubeconfig
from ome_iac.planning.oci.plan import ClusterPlan, NetworkIds, Role


@dataclass(frozen=True)
class Place:
    """Where a cluster and its nodes are: subnets and security groups by role, made or there already."""

    vcn_id: pulumi.Input[str] | None
    subnets: Mapping[Role, pulumi.Input[str]]
    groups: Mapping[Role, Sequence[pulumi.Input[str]]]

    @classmethod
    def of(cls, network: Network | NetworkIds) -> Place:
        """Of a network of either origin."""
        if isinstance(network, Network):
            groups = {role: [group] for role, group in network.group_ids.items()}
            return cls(network.vcn_id, network.subnet_ids, groups)
        return cls(network.vcn_id, network.subnets, network.groups)

    def group_ids(self, role: Role) -> list[pulumi.Input[str]]:
        """The groups of a role; none in a VCN whose rules are in security lists."""
        return list(self.groups.get(role, ()))


class OkeCluster(pulumi.ComponentResource):
    """A cluster. `endpoint` is `address:port`, private unless the API is public; `certificate` its CA in base64."""

    cluster_id: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    certificate: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    oidc_issuer: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterPlan, place: Place, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "kubernetesVersion": args.kubernetes_version,
            "publicEndpoint": args.public_endpoint,
            "addOns": {add_on.name: add_on.version for add_on in args.add_ons},
        }
        super().__init__("ome-iac:index:OkeCluster", name, inputs, opts)
        keys = args.image_policy_key_ids
        self.cluster = oci.containerengine.Cluster(
            f"{name}-oke",
            name=args.name,
            compartment_id=args.compartment_id,
            vcn_id=place.vcn_id or "",
            kubernetes_version=args.kubernetes_version,
            type="ENHANCED_CLUSTER",
            cluster_pod_network_options=[{"cni_type": "OCI_VCN_IP_NATIVE"}],
            endpoint_config={
                "subnet_id": place.subnets["api"],
                "is_public_ip_enabled": args.public_endpoint,
                "nsg_ids": place.group_ids("api"),
            },
            image_policy_config={"is_policy_enabled": True, "key_details": [{"kms_key_id": key} for key in keys]}
            if keys
            else None,
            kms_key_id=args.kms_key_id,
            options={
                "service_lb_subnet_ids": [place.subnets["load-balancers"]],
                "service_lb_config": {"backend_nsg_ids": place.group_ids("workers"), "freeform_tags": args.tags},
                "persistent_volume_config": {"freeform_tags": args.tags},
                "kubernetes_network_config": {"services_cidr": args.services_cidr},
                "open_id_connect_discovery": {"is_open_id_connect_discovery_enabled": True},
            },
            freeform_tags=args.tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=args.protect,
                custom_timeouts=pulumi.CustomTimeouts(create="1h", update="2h", delete="1h"),
            ),
        )
        for add_on in args.add_ons:
            oci.containerengine.Addon(
                f"{name}-{add_on.name.lower()}",
                cluster_id=self.cluster.id,
                addon_name=add_on.name,
                version=add_on.version,
                configurations=[{"key": key, "value": value} for key, value in add_on.configuration.items()],
                # Installed with the cluster; ours is the version and the configuration.
                override_existing=True,
                remove_addon_resources_on_delete=True,
                opts=pulumi.ResourceOptions(parent=self, deleted_with=self.cluster),
            )
        self.cluster_id = self.cluster.id
        public = args.public_endpoint
        self.endpoint = self.cluster.endpoints.apply(
            lambda found: (found[0].public_endpoint if public else found[0].private_endpoint) or ""
        )
        self.certificate = oci.containerengine.get_cluster_kube_config_output(
            cluster_id=self.cluster.id,
            endpoint="PUBLIC_ENDPOINT" if public else "PRIVATE_ENDPOINT",
            token_version="2.0.0",
            opts=pulumi.InvokeOptions(parent=self),
        ).content.apply(_certificate)
        self.kubeconfig = pulumi.Output.all(self.cluster_id, self.endpoint, self.certificate).apply(
            lambda parts: kubeconfig(args.name, parts[0], args.region, f"https://{parts[1]}", parts[2])
        )
        self.oidc_issuer = self.cluster.open_id_connect_discovery_endpoint
        self.register_outputs(
            {
                "clusterId": self.cluster_id,
                "endpoint": self.endpoint,
                "kubeconfig": self.kubeconfig,
                "oidcIssuer": self.oidc_issuer,
            }
        )


def _certificate(content: str) -> str:
    """The CA's certificate, base64, of the kubeconfig that OKE hands out."""
    document = yaml.safe_load(content)
    return str(document["clusters"][0]["cluster"]["certificate-authority-data"])
