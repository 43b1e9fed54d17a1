"""`GpuNodePool`: nodes of one GPU shape; an OKE node pool where the plan makes one."""

from __future__ import annotations

import pulumi

from ome_iac.planning.plan import OkePlacement, PoolPlan


class GpuNodePool(pulumi.ComponentResource):
    """A pool. Nodes that are there already have no child."""

    node_pool_id: pulumi.Output[str | None]

    def __init__(self, name: str, args: PoolPlan, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "shape": args.shape,
            "nodes": args.nodes,
            "gpus": args.gpus,
            "gpusUsed": args.gpus_used,
            "labels": args.labels,
            "costPerHour": args.cost_per_hour,
        }
        super().__init__("ome-iac:index:GpuNodePool", name, inputs, opts)
        self.node_pool_id = pulumi.Output.from_input(None)
        if args.oke:
            self.node_pool_id = self._make(name, args, args.oke)
        self.register_outputs({"nodePoolId": self.node_pool_id, "labels": args.labels})

    def _make(self, name: str, args: PoolPlan, oke: OkePlacement) -> pulumi.Output[str | None]:
        # Imported here because a stack on an existing cluster needs no OCI at all.
        import pulumi_oci.containerengine as containerengine

        pod_network = (
            containerengine.NodePoolNodeConfigDetailsNodePoolPodNetworkOptionDetailsArgs(
                cni_type="OCI_VCN_IP_NATIVE", pod_subnet_ids=[oke.pod_subnet_id]
            )
            if oke.pod_subnet_id
            else containerengine.NodePoolNodeConfigDetailsNodePoolPodNetworkOptionDetailsArgs(
                cni_type="FLANNEL_OVERLAY"
            )
        )
        pool = containerengine.NodePool(
            f"{name}-nodes",
            cluster_id=oke.cluster_id,
            compartment_id=oke.compartment_id,
            name=name,
            node_shape=args.shape,
            kubernetes_version=oke.kubernetes_version,
            ssh_public_key=oke.ssh_public_key,
            initial_node_labels=[
                containerengine.NodePoolInitialNodeLabelArgs(key=key, value=value)
                for key, value in args.labels.items()
                if key != "node.kubernetes.io/instance-type"  # the kubelet's own
            ],
            node_source_details=containerengine.NodePoolNodeSourceDetailsArgs(
                image_id=oke.image_id, source_type="IMAGE", boot_volume_size_in_gbs=str(oke.boot_volume_gb)
            ),
            node_config_details=containerengine.NodePoolNodeConfigDetailsArgs(
                size=args.nodes,
                placement_configs=[
                    containerengine.NodePoolNodeConfigDetailsPlacementConfigArgs(
                        availability_domain=domain, subnet_id=oke.node_subnet_id
                    )
                    for domain in oke.availability_domains
                ],
                node_pool_pod_network_option_details=pod_network,
            ),
            # A GPU bare-metal node takes the better part of an hour to come and to go.
            opts=pulumi.ResourceOptions(
                parent=self, custom_timeouts=pulumi.CustomTimeouts(create="2h", update="2h", delete="2h")
            ),
        )
        return pool.id.apply(lambda identifier: identifier)
