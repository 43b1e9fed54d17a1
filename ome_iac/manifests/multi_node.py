"""Pattern multi-node: one replica is a group of pods on several nodes, made and remade as one (LeaderWorkerSet)."""

from __future__ import annotations

from ome_iac.manifests.names import metadata, queued_metadata, role_name, selector
from ome_iac.manifests.pods import Manifest, pod_template
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan

REQUIRED_TOPOLOGY = "kueue.x-k8s.io/podset-required-topology"
GROUP_INDEX = "leaderworkerset.sigs.k8s.io/group-index"
DOMAIN_CLAIM = "nvlink-domain"


def role_objects(plan: Plan, service: ServicePlan, role: RolePlan) -> list[Manifest]:
    """The LeaderWorkerSet of a role, and the NVLink domain its pods share where there is one.

    A group has no disruption budget: one pod less is the group less, whatever a budget says.
    """
    domain = [_compute_domain(plan, service, role)] if _in_domain(role) else []
    return [*domain, _group(plan, service, role)]


def _group(plan: Plan, service: ServicePlan, role: RolePlan) -> Manifest:
    """Whoever places the group keeps it in one network block: Kueue where the service has a queue, else the scheduler,
    to which the pods of one group belong together; both at once would contradict each other.

    LeaderWorkerSet's own exclusive-topology is not used: it gives every group a block of its own, and the second group
    of a pool with one block would wait for ever.
    """
    templates = {
        "leaderTemplate": pod_template(plan, service, role),
        "workerTemplate": pod_template(plan, service, role, command=role.worker_command, serving=False),
    }
    assert role.fabric is not None, role.role
    if role.queue:
        for template in templates.values():
            template["metadata"].setdefault("annotations", {})[REQUIRED_TOPOLOGY] = role.fabric.block_label
    else:
        for template in templates.values():
            _keep_together(template["spec"], selector(service, role.role), role.fabric.block_label)
    if _in_domain(role):
        for template in templates.values():
            _claim_domain(template["spec"], role_name(service, role))
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": queued_metadata(plan, service, role),
        "spec": {
            **({} if role.scaling else {"replicas": role.replicas}),
            "startupPolicy": "LeaderCreated",
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 0},
            },
            "leaderWorkerTemplate": {
                "size": role.nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                **templates,
            },
        },
    }


def _keep_together(pod: Manifest, matching: dict[str, str], block_label: str) -> None:
    """Pods of one group share the value of the label; several groups may."""
    term = {
        "labelSelector": {"matchLabels": matching},
        "matchLabelKeys": [GROUP_INDEX],
        "topologyKey": block_label,
    }
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    pod["affinity"] = pod.get("affinity", {}) | {"podAffinity": required}


def _in_domain(role: RolePlan) -> bool:
    return role.fabric is not None and role.fabric.mode == "nvlink-domain"


def _compute_domain(plan: Plan, service: ServicePlan, role: RolePlan) -> Manifest:
    """NVIDIA's DRA driver joins the nodes of the pods that claim it (numNodes 0: however many do)."""
    name = role_name(service, role)
    return {
        "apiVersion": "resource.nvidia.com/v1beta1",
        "kind": "ComputeDomain",
        "metadata": metadata(plan, service, role.role, name),
        "spec": {"numNodes": 0, "channel": {"resourceClaimTemplate": {"name": name}}},
    }


def _claim_domain(pod: Manifest, template: str) -> None:
    pod["resourceClaims"] = [{"name": DOMAIN_CLAIM, "resourceClaimTemplateName": template}]
    pod["containers"][0]["resources"]["claims"] = [{"name": DOMAIN_CLAIM}]
