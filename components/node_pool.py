"""`NodePool`: nodes of one shape that the stack makes, in whichever of OCI's ways its mode says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_oci as oci

from components.oke_cluster import Place
from ome_iac.planning.oci.plan import NodePoolPlan
from ome_iac.planning.oci.tags import SERVICES
from ome_iac.planning.plan import PoolPlan

# A bare metal GPU node takes the better part of an hour to come and to go.
_TIMEOUTS = pulumi.CustomTimeouts(create="2h", update="2h", delete="2h")


@dataclass(frozen=True)
class Joining:
    """The cluster that nodes join: its id, and what self-managed nodes need to find it."""

    cluster_id: pulumi.Input[str]
    api_host: pulumi.Input[str]
    certificate: pulumi.Input[str]
    vcn_native: bool


@dataclass(frozen=True)
class Launch:
    """How a pool's nodes are made, where, and into which cluster.

    `reservation_id` is that of the capacity reservation of this stack which the plan names, if any.
    """

    args: NodePoolPlan
    place: Place
    joining: Joining
    reservation_id: pulumi.Output[str | None] | None = None


class NodePool(pulumi.ComponentResource):
    """A pool: `use` says what its GPUs are for (None: it has none), `launch` how it is made (None: it is there).

    `pool_id` is what a size is changed on: an OKE node pool, a cluster network or a GPU memory cluster.
    """

    pool_id: pulumi.Output[str | None]

    def __init__(
        self, name: str, use: PoolPlan | None, launch: Launch | None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        inputs = {**(_use(use) if use else {}), **(_making(launch.args) if launch else {})}
        # GPU pools were a type of their own; their nodes are not to be replaced because a name changed.
        renamed = pulumi.ResourceOptions(aliases=[pulumi.Alias(type_="ome-iac:index:GpuNodePool")])
        super().__init__("ome-iac:index:NodePool", name, inputs, pulumi.ResourceOptions.merge(opts, renamed))
        self.pool_id = pulumi.Output.from_input(None)
        if launch:
            self._name, self._args, self._place, self._joining = name, launch.args, launch.place, launch.joining
            given = pulumi.Output.from_input(launch.args.capacity_reservation_id)
            self._reservation_id = given if launch.reservation_id is None else launch.reservation_id
            self.pool_id = self._make().id.apply(lambda identifier: identifier)
        self.register_outputs({"poolId": self.pool_id, "labels": inputs.get("labels")})

    def _make(self) -> pulumi.CustomResource:
        mode = self._args.mode
        if mode == "managed":
            return self._managed(None)
        if mode == "managed-rdma":
            return self._managed(self._args.compute_cluster_id or self._compute_cluster())
        return self._cluster_network() if mode == "cluster-network" else self._gpu_memory_cluster()

    def _expensive(self, ignore: str) -> pulumi.ResourceOptions:
        """What the nodes hang on; `ignore` is where the size stands, which is the autoscaler's where there is one."""
        return pulumi.ResourceOptions(
            parent=self,
            protect=self._args.protect,
            custom_timeouts=_TIMEOUTS,
            ignore_changes=[ignore] if self._args.autoscale else None,
        )

    def _compute_cluster(self) -> pulumi.Output[str]:
        made = oci.core.ComputeCluster(
            f"{self._name}-rdma",
            availability_domain=self._args.availability_domains[0],
            compartment_id=self._args.compartment_id,
            display_name=self._args.name,
            freeform_tags=self._args.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=self._args.protect),
        )
        return made.id

    def _managed(self, compute_cluster: pulumi.Input[str] | None) -> oci.containerengine.NodePool:
        args, place = self._args, self._place
        pods: oci.containerengine.NodePoolNodeConfigDetailsNodePoolPodNetworkOptionDetailsArgsDict
        pods = {"cni_type": "FLANNEL_OVERLAY"}
        if self._joining.vcn_native:
            pods = {
                "cni_type": "OCI_VCN_IP_NATIVE",
                "pod_subnet_ids": [place.subnets["pods"]],
                "pod_nsg_ids": place.group_ids("pods"),
                "max_pods_per_node": args.max_pods,
            }
        return oci.containerengine.NodePool(
            f"{self._name}-nodes",
            cluster_id=self._joining.cluster_id,
            compartment_id=args.compartment_id,
            name=args.name,
            node_shape=args.shape,
            node_shape_config={"ocpus": args.ocpus, "memory_in_gbs": args.memory_gb} if args.ocpus else None,
            kubernetes_version=args.kubernetes_version,
            ssh_public_key=args.ssh_public_key,
            initial_node_labels=[{"key": key, "value": value} for key, value in args.labels.items()],
            node_metadata={"user_data": args.user_data, "areLegacyImdsEndpointsDisabled": "true"},
            node_source_details={
                "image_id": args.image_id,
                "source_type": "IMAGE",
                "boot_volume_size_in_gbs": str(args.boot_volume_gb),
            },
            node_config_details={
                "size": args.nodes,
                "compute_cluster_id": compute_cluster,
                "nsg_ids": place.group_ids("workers"),
                "placement_configs": [
                    {
                        "availability_domain": domain,
                        "subnet_id": place.subnets["workers"],
                        "capacity_reservation_id": self._reservation_id,
                        "host_group_id": args.host_group_id,
                    }
                    for domain in args.availability_domains
                ],
                "node_pool_pod_network_option_details": pods,
                "freeform_tags": _lasting(args.tags),
            },
            node_pool_cycling_details={
                "is_node_cycling_enabled": True,
                "cycle_modes": [args.cycling[0]],
                "maximum_surge": str(args.cycling[1]),
                "maximum_unavailable": str(args.cycling[2]),
            }
            if args.cycling
            else None,
            freeform_tags=args.tags,
            opts=self._expensive("nodeConfigDetails.size"),
        )

    def _instances(self) -> pulumi.Output[str]:
        """How a self-managed node is launched; a change makes another configuration, since OCI changes none."""
        args, place, joining = self._args, self._place, self._joining
        made = oci.core.InstanceConfiguration(
            f"{self._name}-node",
            compartment_id=args.compartment_id,
            display_name=args.name,
            instance_details={
                "instance_type": "compute",
                "launch_details": {
                    "availability_domain": args.availability_domains[0],
                    "compartment_id": args.compartment_id,
                    "display_name": args.name,
                    "shape": args.shape,
                    "capacity_reservation_id": self._reservation_id,
                    "agent_config": {
                        "are_all_plugins_disabled": False,
                        "is_management_disabled": False,
                        "is_monitoring_disabled": False,
                        "plugins_configs": [
                            {"name": plugin, "desired_state": "ENABLED" if on else "DISABLED"}
                            for plugin, on in sorted(args.agent_plugins.items())
                        ],
                    },
                    "create_vnic_details": {
                        "subnet_id": place.subnets["workers"],
                        "nsg_ids": place.group_ids("workers"),
                        "assign_public_ip": False,
                    },
                    "instance_options": {"are_legacy_imds_endpoints_disabled": True},
                    "metadata": {
                        **args.metadata,
                        "apiserver_host": joining.api_host,
                        "cluster_ca_cert": joining.certificate,
                        "pod-subnets": place.subnets["pods"],
                        "pod-nsgids": pulumi.Output.all(*place.group_ids("pods")).apply(",".join),
                        "user_data": args.user_data,
                        **({"ssh_authorized_keys": args.ssh_public_key} if args.ssh_public_key else {}),
                    },
                    "source_details": {
                        "source_type": "image",
                        "image_id": args.image_id,
                        "boot_volume_size_in_gbs": str(args.boot_volume_gb),
                    },
                    "freeform_tags": _lasting(args.tags),
                },
            },
            freeform_tags=args.tags,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return made.id

    def _cluster_network(self) -> oci.core.ClusterNetwork:
        args = self._args
        return oci.core.ClusterNetwork(
            f"{self._name}-nodes",
            compartment_id=args.compartment_id,
            display_name=args.name,
            cluster_configuration={
                "hpc_island_id": args.hpc_island_id,
                "network_block_ids": list(args.network_block_ids),
            }
            if args.hpc_island_id
            else None,
            instance_pools=[
                {"instance_configuration_id": self._instances(), "size": args.nodes, "display_name": args.name}
            ],
            placement_configuration={
                "availability_domain": args.availability_domains[0],
                "primary_subnet_id": self._place.subnets["workers"],
            },
            freeform_tags=args.tags,
            opts=self._expensive("instancePools"),
        )

    def _gpu_memory_cluster(self) -> oci.core.ComputeGpuMemoryCluster:
        args = self._args
        return oci.core.ComputeGpuMemoryCluster(
            f"{self._name}-nodes",
            availability_domain=args.availability_domains[0],
            compartment_id=args.compartment_id,
            compute_cluster_id=args.compute_cluster_id or self._compute_cluster(),
            display_name=args.name,
            gpu_memory_fabric_id=args.gpu_memory_fabric_id,
            instance_configuration_id=self._instances(),
            size=str(args.nodes),
            freeform_tags=args.tags,
            opts=self._expensive("size"),
        )


def _use(pool: PoolPlan) -> dict[str, Any]:
    return {
        "shape": pool.shape,
        "nodes": pool.nodes,
        "gpus": pool.gpus,
        "gpusUsed": pool.gpus_used,
        "labels": pool.labels,
        "costPerHour": pool.cost_per_hour,
    }


def _making(args: NodePoolPlan) -> dict[str, Any]:
    return {
        "mode": args.mode,
        "shape": args.shape,
        "nodes": args.nodes,
        "autoscale": list(args.autoscale) if args.autoscale else None,
        "availabilityDomains": list(args.availability_domains),
        "kubernetesVersion": args.kubernetes_version,
        "labels": args.labels,
        "taints": list(args.taints),
        "maxPods": args.max_pods,
        "costPerHour": args.cost_per_hour,
        "notes": list(args.notes),
    }


def _lasting(tags: dict[str, str]) -> dict[str, str]:
    """Tags of nodes: without those that change from day to day, which would have nodes replaced."""
    return {key: value for key, value in tags.items() if key != SERVICES}
