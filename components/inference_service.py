"""`InferenceService`: a served model; its inputs are the decision and the reasons, its children the objects."""

from __future__ import annotations

from typing import Any

import pulumi

from components.kubernetes_object import KubernetesObject
from ome_iac.hardware import GIB
from ome_iac.manifests import object_name, service_objects
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.report.terminal import rejection_text

AWAITED = ("apps/v1", "leaderworkerset.x-k8s.io/v1", "serving.knative.dev/v1")


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
            kind = str(manifest["kind"])
            own = str(manifest["metadata"]["name"]).removeprefix(object_name(args.name))
            KubernetesObject(
                f"{name}{own}-{kind.lower()}",
                manifest,
                pulumi.ResourceOptions(
                    parent=self,
                    provider=provider,
                    custom_timeouts=_timeouts(args) if str(manifest["apiVersion"]) in AWAITED else None,
                ),
            )
        self.url = pulumi.Output.from_input(f"http://{object_name(args.name)}.{args.namespace}.svc")
        self.register_outputs({"url": self.url, "costPerHour": args.cost_per_hour, "runtime": args.engine.runtime})


def _timeouts(args: ServicePlan) -> pulumi.CustomTimeouts:
    """As long as the replicas may take to load, and ten minutes for their nodes."""
    wait = f"{max(role.startup.budget_seconds for role in args.roles) + 600}s"
    return pulumi.CustomTimeouts(create=wait, update=wait)


def _decision(args: ServicePlan) -> dict[str, Any]:
    """What `pulumi preview --diff` shows of the choice."""
    return {
        "model": args.model,
        "task": args.task,
        "pattern": args.pattern,
        "reason": args.why,
        "roles": {role.role: _role(role) for role in args.roles},
        "contextLength": args.context_length,
        "costPerHour": args.cost_per_hour,
        "rejected": [rejection_text(rejection) for rejection in args.rejected],
        "flips": list(args.flips),
        "notes": list(args.notes),
    }


def _role(role: RolePlan) -> dict[str, Any]:
    memory = {line.name: f"{line.bytes / GIB:.2f} GiB" for line in role.memory.lines}
    return {
        "runtime": role.runtime,
        "placement": f"{role.replicas} x {role.split.gpus} {role.gpu} on {role.pool}",
        "split": str(role.split),
        "memoryPerGpu": {
            **memory,
            "kvCache": f"{role.memory.kv_cache / GIB:.2f} GiB",
            "budget": role.memory.budget_formula,
        },
        "kvTokens": role.memory.kv_tokens,
    }
