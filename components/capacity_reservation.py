"""`CapacityReservation`: compute capacity kept at OCI; `Queues`: who may use which GPUs of the cluster, by Kueue."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pulumi

from components.kubernetes_object import KubernetesObject
from ome_iac.manifests.kueue import cluster_objects, local_queues
from ome_iac.planning.admission.plan import AdmissionPlan, OciReservationPlan, ReservationPlan


class CapacityReservation(pulumi.ComponentResource):
    """A reservation. Where nothing is reserved at OCI it has no child: `reservation_id` is None."""

    reservation_id: pulumi.Output[str | None]

    def __init__(self, name: str, args: ReservationPlan, opts: pulumi.ResourceOptions | None = None) -> None:
        inputs = {
            "pools": list(args.pools),
            "cohort": args.cohort,
            "gpus": args.gpus,
            "gpusUsed": args.gpus_used,
            "unusedCostPerHour": args.unused_cost_per_hour,
            "idleCostPerHour": args.idle_cost_per_hour,
            "notes": list(args.notes),
        }
        super().__init__("ome-iac:index:CapacityReservation", name, inputs, opts)
        self.reservation_id = pulumi.Output.from_input(None)
        if args.oci:
            self.reservation_id = self._make(name, args.oci)
        self.register_outputs({"reservationId": self.reservation_id, "unusedCostPerHour": args.unused_cost_per_hour})

    def _make(self, name: str, oci: OciReservationPlan) -> pulumi.Output[str | None]:
        # Imported here because queues on an existing cluster need no OCI at all.
        import pulumi_oci.core as core

        configurations = []
        for item in oci.capacity:
            placement = None
            if item.hpc_island_id:
                blocks = [block.name for block in item.network_blocks]
                placement = core.ComputeCapacityReservationInstanceReservationConfigClusterConfigArgs(
                    hpc_island_id=item.hpc_island_id, network_block_ids=blocks or None
                )
            configurations.append(
                core.ComputeCapacityReservationInstanceReservationConfigArgs(
                    instance_shape=item.shape,
                    reserved_count=str(item.nodes),
                    fault_domain=item.fault_domain,
                    cluster_config=placement,
                )
            )
        made = core.ComputeCapacityReservation(
            f"{name}-capacity",
            availability_domain=oci.availability_domain,
            compartment_id=oci.compartment_id,
            display_name=name,
            instance_reservation_configs=configurations,
            freeform_tags=oci.tags,
            opts=pulumi.ResourceOptions(parent=self, protect=oci.protect),
        )
        return made.id.apply(lambda identifier: identifier)


class Queues(pulumi.ComponentResource):
    """Kueue's objects, and in its inputs what Kueue will do with every gang of the stack.

    `after` are namespaces that this stack makes, by name; tenants make theirs with their queues, and are left out
    (`tenants`).
    """

    def __init__(
        self,
        name: str,
        args: AdmissionPlan,
        provider: pulumi.ProviderResource,
        after: Mapping[str, pulumi.Resource],
        tenants: Collection[str] = (),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        verdicts = {
            verdict.gang: f"{verdict.state} in {verdict.queue}: {verdict.why}" for verdict in args.admission.verdicts
        }
        super().__init__("ome-iac:index:Queues", name, {"admission": verdicts}, opts)
        earlier: list[pulumi.Resource] = []
        for manifest in cluster_objects(args):
            label = f"{name}-{str(manifest['kind']).lower()}-{manifest['metadata']['name']}"
            # A queue names its flavors, a flavor its topology: Kueue holds one that names what is not there inactive.
            options = pulumi.ResourceOptions(parent=self, provider=provider, depends_on=list(earlier))
            made = KubernetesObject(label, manifest, options)
            if manifest["kind"] in ("Topology", "ResourceFlavor"):
                earlier.append(made)
        spaces = {space for queue in args.queues for space in queue.namespaces} - set(tenants)
        for space in sorted(spaces):
            there = pulumi.ResourceOptions(
                parent=self, provider=provider, depends_on=[after[space]] if space in after else None
            )
            for manifest in local_queues(args, space):
                KubernetesObject(f"{name}-localqueue-{space}-{manifest['metadata']['name']}", manifest, there)
        self.register_outputs({"waiting": [verdict.gang for verdict in args.admission.waiting]})
