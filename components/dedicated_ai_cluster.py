"""`DedicatedAICluster`: OCI Generative AI's units with an imported model and its endpoint, or a pool of our own."""

from __future__ import annotations

import pulumi

from components.kubernetes_object import KubernetesObject
from ome_iac.manifests.kueue import namespace_object
from ome_iac.planning.admission.plan import DedicatedNodesPlan, DedicatedPlan, DedicatedUnitsPlan, ImportSource


class DedicatedAICluster(pulumi.ComponentResource):
    """A dedicated cluster. On nodes of our own its child is the namespace, where nobody else makes it: the taint is the
    pool's, queue and quota are Kueue's. `made` is that namespace.

    `token` opens a gated repository of the Hub to OCI.
    """

    cluster_id: pulumi.Output[str | None]
    endpoint_id: pulumi.Output[str | None]

    def __init__(
        self,
        name: str,
        args: DedicatedPlan,
        provider: pulumi.ProviderResource,
        token: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "backend": args.backend,
            "unitShape": args.unit_shape,
            "unitCount": args.unit_count,
            "costPerHour": args.cost_per_hour,
            "notes": list(args.notes),
            **(_of_nodes(args) if isinstance(args, DedicatedNodesPlan) else _of_units(args)),
        }
        super().__init__("ome-iac:index:DedicatedAICluster", name, inputs, opts)
        self._name, self._token = name, token
        self.cluster_id = pulumi.Output.from_input(None)
        self.endpoint_id = pulumi.Output.from_input(None)
        self.made: KubernetesObject | None = None
        if isinstance(args, DedicatedUnitsPlan):
            self._make(args)
        elif args.makes_namespace:
            manifest = namespace_object(args)
            self.made = KubernetesObject(
                f"{name}-namespace", manifest, pulumi.ResourceOptions(parent=self, provider=provider)
            )
        self.register_outputs({"clusterId": self.cluster_id, "endpointId": self.endpoint_id})

    def _make(self, args: DedicatedUnitsPlan) -> None:
        # Imported here because a pool of our own needs no OCI at all.
        import pulumi_oci.generativeai as generativeai

        parent = pulumi.ResourceOptions(parent=self)
        waiting = pulumi.ResourceOptions(
            parent=self, custom_timeouts=pulumi.CustomTimeouts(create="2h", update="2h", delete="2h")
        )
        cluster = generativeai.DedicatedAiCluster(
            f"{self._name}-units",
            compartment_id=args.compartment_id,
            type=args.type,
            unit_shape=args.unit_shape,
            unit_count=args.unit_count,
            capacity_reservation_id=args.capacity_reservation_id,
            display_name=args.name,
            freeform_tags=args.tags,
            opts=waiting,
        )
        self.cluster_id = cluster.id.apply(lambda identifier: identifier)
        if args.tuning:
            generativeai.Model(
                f"{self._name}-tuned",
                base_model_id=args.tuning.base_model_id,
                compartment_id=args.compartment_id,
                display_name=args.name,
                fine_tune_details=generativeai.ModelFineTuneDetailsArgs(
                    dedicated_ai_cluster_id=cluster.id,
                    training_dataset=generativeai.ModelFineTuneDetailsTrainingDatasetArgs(
                        dataset_type="OBJECT_STORAGE",
                        namespace=args.tuning.namespace,
                        bucket=args.tuning.bucket,
                        object=args.tuning.object,
                    ),
                ),
                freeform_tags=args.tags,
                opts=waiting,
            )
        if args.source is None:
            return
        model = generativeai.ImportedModel(
            f"{self._name}-model",
            compartment_id=args.compartment_id,
            data_source=generativeai.ImportedModelDataSourceArgs(**self._source(args.source)),
            capabilities=list(args.capabilities),
            display_name=args.model,
            freeform_tags=args.tags,
            opts=waiting,
        )
        private = None
        if args.private_endpoint:
            private = generativeai.GenerativeAiPrivateEndpoint(
                f"{self._name}-private",
                compartment_id=args.compartment_id,
                dns_prefix=args.private_endpoint.dns_prefix,
                subnet_id=args.private_endpoint.subnet_id,
                nsg_ids=list(args.private_endpoint.nsg_ids) or None,
                display_name=args.name,
                freeform_tags=args.tags,
                opts=parent,
            )
        endpoint = generativeai.Endpoint(
            f"{self._name}-endpoint",
            compartment_id=args.compartment_id,
            dedicated_ai_cluster_id=cluster.id,
            model_id=model.id,
            generative_ai_private_endpoint_id=private.id if private else None,
            display_name=args.name,
            freeform_tags=args.tags,
            opts=waiting,
        )
        self.endpoint_id = endpoint.id.apply(lambda identifier: identifier)

    def _source(self, source: ImportSource) -> dict[str, pulumi.Input[str] | None]:
        given: dict[str, pulumi.Input[str] | None] = dict(source.model_dump(exclude={"needs_token"}, exclude_none=True))
        if source.needs_token and self._token is not None:
            given["access_token"] = pulumi.Output.secret(self._token)
        return given


def _of_nodes(args: DedicatedNodesPlan) -> dict[str, object]:
    return {
        "pool": args.pool,
        "namespace": args.namespace,
        "taint": list(args.taint),
        "unitsNeeded": args.units_needed,
        "services": list(args.services),
    }


def _of_units(args: DedicatedUnitsPlan) -> dict[str, object]:
    return {
        "type": args.type,
        "model": args.model,
        "contextLength": args.context_length,
        "reason": args.why,
        "considered": {item.unit_shape: item.why for item in args.considered},
    }
