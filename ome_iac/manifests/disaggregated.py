"""Pattern prefill-decode: the pods of both roles, told apart and told of each other."""

from __future__ import annotations

from typing import Any

from ome_iac.manifests import multi_node, standard
from ome_iac.manifests.names import selector
from ome_iac.manifests.pods import Manifest
from ome_iac.manifests.routers import ANSWERS, ENGINE, PROXY_PORT, with_address
from ome_iac.planning.names import COMPONENT, NAME
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan
from ome_iac.planning.serving.handover import BOOTSTRAP_PORT

ROLE = "llm-d.ai/role"
"""Label by which llm-d's picker tells prefill from decode."""
BOOTSTRAP = "sglang.ai/bootstrap-port"
"""Annotation in which SGLang's router looks for the port of a prefill pod's bootstrap server."""
PROXY_USER = 65532
"""Label that LeaderWorkerSet gives all pods of a group."""


def role_objects(plan: Plan, service: ServicePlan, role: RolePlan) -> list[Manifest]:
    """What the role would be on its own, with what makes it one of a pair."""
    pattern = multi_node.role_objects if role.nodes > 1 else standard.role_objects
    made = pattern(plan, service, role)
    for manifest in made:
        if manifest["kind"] == "Deployment":
            _complete(service, role, manifest["spec"]["template"], answers=True)
        elif manifest["kind"] == "LeaderWorkerSet":
            group = manifest["spec"]["leaderWorkerTemplate"]
            _complete(service, role, group["leaderTemplate"], answers=True)
            _complete(service, role, group["workerTemplate"], answers=False)
    return made


def _complete(service: ServicePlan, role: RolePlan, template: Manifest, *, answers: bool) -> None:
    engine, router = role.runtime.split()[0], service.router
    metadata, spec = template["metadata"], template["spec"]
    metadata["labels"] |= {ROLE: role.role, ENGINE: engine, ANSWERS: str(answers).lower()}
    if engine == "sglang" and role.role == "prefill" and answers:
        metadata["annotations"] = metadata.get("annotations", {}) | {BOOTSTRAP: str(BOOTSTRAP_PORT)}
    if router and router.sidecar_image and role.role == "decode" and answers:
        proxy = _proxy(router.sidecar_image, router.sidecar_command, router.target_port)
        spec["initContainers"] = [*spec.get("initContainers", []), proxy]
    if service.together:
        spec["affinity"] = spec.get("affinity", {}) | {"podAffinity": _beside(service)}
    with_address(template)


def _proxy(image: str, command: tuple[str, ...], port: int) -> Manifest:
    """A sidecar that lives as long as the pod: it fetches the prompt's KV cache before it asks the engine."""
    return {
        "name": "routing-proxy",
        "image": image,
        "args": list(command),
        "restartPolicy": "Always",
        "ports": [{"name": PROXY_PORT, "containerPort": port, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": PROXY_USER,
        },
    }


def _beside(service: ServicePlan) -> dict[str, Any]:
    """On the node of the service's other pods; the first of them goes anywhere."""
    name = selector(service, "")[NAME]
    roles = {"key": COMPONENT, "operator": "In", "values": [role.role for role in service.roles]}
    term = {
        "labelSelector": {"matchLabels": {NAME: name}, "matchExpressions": [roles]},
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
