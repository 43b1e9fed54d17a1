"""Pattern serverless: a Knative Service, whose pods come with requests and go without them.

What Knative lets a pod have is read in serving v0.51.0 (pkg/apis/serving/fieldmask.go, k8s_validation.go): no life
cycle hooks, no grace period, one port called http1.
"""

from __future__ import annotations

from ome_iac.manifests.names import metadata
from ome_iac.manifests.pods import Manifest, pod_template
from ome_iac.planning.names import object_name
from ome_iac.planning.plan import Plan, RolePlan, ServicePlan

PREFIX = "autoscaling.knative.dev"
NOT_KNATIVES = ("terminationGracePeriodSeconds", "topologySpreadConstraints")


def role_objects(plan: Plan, service: ServicePlan, role: RolePlan) -> list[Manifest]:
    """The Knative Service; it makes the Kubernetes Services of its name and its revisions itself."""
    template = pod_template(plan, service, role)
    [engine] = template["spec"]["containers"]
    engine.pop("lifecycle")
    engine["ports"] = [{"name": "http1", "containerPort": role.port, "protocol": "TCP"}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        engine[probe]["httpGet"]["port"] = role.port
    spec = {key: value for key, value in template["spec"].items() if key not in NOT_KNATIVES}
    annotations = template["metadata"].get("annotations", {}) | _annotations(role)
    return [
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": metadata(plan, service, role.role, object_name(service.name)),
            "spec": {
                "template": {
                    "metadata": {"labels": template["metadata"]["labels"], "annotations": annotations},
                    "spec": {
                        **spec,
                        "timeoutSeconds": REQUEST_SECONDS,
                        "responseStartTimeoutSeconds": REQUEST_SECONDS,
                        **({"containerConcurrency": role.scaling.hard_limit} if role.scaling else {}),
                    },
                }
            },
        }
    ]


REQUEST_SECONDS = 600
"""Knative's own upper bound of a request, as installed (max-revision-timeout-seconds)."""


def _annotations(role: RolePlan) -> dict[str, str]:
    scaling = role.scaling
    assert scaling is not None, role.role
    [trigger] = scaling.triggers
    return {
        f"{PREFIX}/metric": trigger.name,
        f"{PREFIX}/target": trigger.threshold,
        f"{PREFIX}/min-scale": str(scaling.min_replicas),
        f"{PREFIX}/max-scale": str(scaling.max_replicas),
        f"{PREFIX}/scale-down-delay": f"{min(3600, scaling.cooldown_seconds)}s",
        f"{PREFIX}/scale-to-zero-pod-retention-period": f"{scaling.cooldown_seconds}s",
        "serving.knative.dev/progress-deadline": f"{role.startup.budget_seconds + 600}s",
    }
