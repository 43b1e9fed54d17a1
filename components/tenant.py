"""`Tenant`: a team's compartment and policies at OCI, and its namespaces in the cluster."""

from __future__ import annotations

import pulumi

from components.kubernetes_object import KubernetesObject
from ome_iac.manifests.kueue import local_queues
from ome_iac.manifests.mesh import mesh_objects
from ome_iac.manifests.tenancy import namespace_objects
from ome_iac.planning.admission.plan import AdmissionPlan
from ome_iac.planning.tenancy.access import THIS_CLUSTER
from ome_iac.planning.tenancy.plan import NamespacePlan, TenantPlan


class Tenant(pulumi.ComponentResource):
    """A tenant; `made` are its namespaces, which its services wait for. `cluster_id` is that of the cluster this stack
    makes.

    `home` is the provider of the tenancy's home region, where IAM is written; left out, it is the stack's own.
    """

    compartment_id: pulumi.Output[str | None]

    def __init__(
        self,
        name: str,
        args: TenantPlan,
        provider: pulumi.ProviderResource,
        admission: AdmissionPlan | None = None,
        cluster_id: pulumi.Input[str] | None = None,
        home: pulumi.ProviderResource | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "namespaces": [namespace.name for namespace in args.namespaces],
            "queue": args.queue,
            "gpus": args.gpus,
            "groups": {role: list(groups) for role, groups in args.groups.items()},
            "podSecurity": {space.name: f"{space.pod_security}: {space.pod_security_why}" for space in args.namespaces},
            "flows": sorted({flow.why for space in args.namespaces for flow in space.flows}),
            "costPerHour": args.cost_per_hour,
            "notes": list(args.notes),
        }
        super().__init__("ome-iac:index:Tenant", name, inputs, opts)
        self._name, self._args, self._provider = name, args, provider
        self._written = pulumi.ResourceOptions(parent=self, provider=home)
        self._first: list[pulumi.Resource] = []
        self.compartment_id = self._compartment()
        cluster = cluster_id if cluster_id is not None else args.cluster_id
        if cluster is not None:
            self._policies(cluster)
        self.made = {space.name: self._namespace(space, admission) for space in args.namespaces}
        if cluster is not None and args.compartment:
            self._mappings(cluster)
        self.register_outputs({"compartmentId": self.compartment_id, "namespaces": sorted(self.made)})

    def _compartment(self) -> pulumi.Output[str | None]:
        wanted = self._args.compartment
        if wanted is None or wanted.compartment_id:
            return pulumi.Output.from_input(wanted.compartment_id if wanted else None)
        # Imported here because a tenant of an existing cluster may need no OCI at all.
        import pulumi_oci.identity as identity

        made = identity.Compartment(
            f"{self._name}-compartment",
            compartment_id=wanted.parent_id,
            name=wanted.name,
            description=f"tenant {self._args.name}",
            enable_delete=True,
            freeform_tags=self._args.tags,
            opts=self._written,
        )
        self._first.append(made)
        return made.id.apply(lambda identifier: identifier)

    def _policies(self, cluster: pulumi.Input[str]) -> None:
        args = self._args
        for policy in args.policies:
            import pulumi_oci.identity as identity

            identity.Policy(
                f"{self._name}-{policy.name}-policy",
                compartment_id=policy.compartment_id,
                name=f"tenant-{args.name}-{policy.name}",
                description=f"what tenant {args.name} may do",
                statements=[
                    pulumi.Output.concat(*_joined(text.split(THIS_CLUSTER), cluster)) for text in policy.statements
                ],
                freeform_tags=args.tags,
                opts=self._written,
            )
        if args.oci_quota and args.tenancy_id:
            import pulumi_oci.limits as limits

            limits.Quota(
                f"{self._name}-quota",
                compartment_id=args.tenancy_id,
                name=f"tenant-{args.name}",
                description=f"what tenant {args.name} may have",
                statements=list(args.oci_quota),
                freeform_tags=args.tags,
                # The statements name the compartment.
                opts=pulumi.ResourceOptions.merge(self._written, pulumi.ResourceOptions(depends_on=self._first)),
            )

    def _mappings(self, cluster: pulumi.Input[str]) -> None:
        import pulumi_oci.containerengine as containerengine

        for space in self._args.namespaces:
            containerengine.ClusterWorkloadMapping(
                f"{self._name}-{space.name}-mapping",
                cluster_id=cluster,
                mapped_compartment_id=self.compartment_id.apply(lambda found: found or ""),
                namespace=space.name,
                freeform_tags=self._args.tags,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[self.made[space.name]]),
            )

    def _namespace(self, space: NamespacePlan, admission: AdmissionPlan | None) -> KubernetesObject:
        """The namespace, and then everything in it: fences first, so that no pod ever starts without them."""
        first, *rest = namespace_objects(self._args, space)
        made = KubernetesObject(
            f"{self._name}-{space.name}", first, pulumi.ResourceOptions(parent=self, provider=self._provider)
        )
        inside = pulumi.ResourceOptions(parent=self, provider=self._provider, depends_on=[made])
        rest += mesh_objects(self._args, space)
        rest += local_queues(admission, space.name) if admission else []
        for manifest in rest:
            label = f"{self._name}-{space.name}-{str(manifest['kind']).lower()}-{manifest['metadata']['name']}"
            KubernetesObject(label, manifest, inside)
        return made


def _joined(parts: list[str], cluster: pulumi.Input[str]) -> list[pulumi.Input[str]]:
    """The parts of a statement with the cluster's OCID between them."""
    found: list[pulumi.Input[str]] = [parts[0]]
    for part in parts[1:]:
        found += [cluster, part]
    return found
