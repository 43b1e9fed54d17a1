"""`InferenceService`: a served model; its inputs are the decision and the reasons, its children the objects."""

from __future__ import annotations

from typing import Any

import pulumi

from components.kubernetes_object import KubernetesObject
from ome_iac.hardware import GIB
from ome_iac.manifests import service_objects
from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.report.terminal import rejection_text


class InferenceService(pulumi.ComponentResource):
    """A model being served."""

    url: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        plan: Plan,
        args: ServicePlan,
        provider: pulumi.ProviderResource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("ome-iac:index:InferenceService", name, _decision(args), opts)
        for manifest in service_objects(plan, args):
            KubernetesObject(
                f"{name}-{str(manifest['kind']).lower()}",
                manifest,
                pulumi.ResourceOptions(
                    parent=self,
                    provider=provider,
                    custom_timeouts=_timeouts(args) if manifest["kind"] == "Deployment" else None,
                ),
            )
        self.url = pulumi.Output.from_input(f"http://{args.name}.{args.namespace}.svc")
        self.register_outputs({"url": self.url, "costPerHour": args.cost_per_hour, "runtime": args.runtime})


def _timeouts(args: ServicePlan) -> pulumi.CustomTimeouts:
    """As long as the replicas may take to load, and ten minutes for their nodes."""
    wait = f"{args.startup.budget_seconds + 600}s"
    return pulumi.CustomTimeouts(create=wait, update=wait)


def _decision(args: ServicePlan) -> dict[str, Any]:
    """What `pulumi preview --diff` shows of the choice."""
    memory = {line.name: f"{line.bytes / GIB:.2f} GiB" for line in args.memory.lines}
    return {
        "model": args.model,
        "task": args.task,
        "runtime": args.runtime,
        "reason": args.why,
        "placement": f"{args.replicas} x {args.split.gpus} {args.gpu} on {args.pool}",
        "split": str(args.split),
        "contextLength": args.context_length,
        "memoryPerGpu": {
            **memory,
            "kvCache": f"{args.memory.kv_cache / GIB:.2f} GiB",
            "budget": args.memory.budget_formula,
        },
        "kvTokens": args.memory.kv_tokens,
        "costPerHour": args.cost_per_hour,
        "rejected": [rejection_text(rejection) for rejection in args.rejected],
        "flips": list(args.flips),
        "notes": list(args.notes),
    }
