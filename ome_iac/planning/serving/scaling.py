"""Who sets a service's replicas while it runs, and by what figure; OME's fields are mapped to what measures load.

Metric names are the engines' own (vLLM 0.33.0 v1/metrics/loggers.py, SGLang 0.5.23 metrics_collector.py, TGI's and
TEI's metrics pages); pods are found by the labels that the PodMonitor copies, never by the beginning of their names.
"""

from __future__ import annotations

from dataclasses import dataclass

from ome_iac.planning.names import COMPONENT, NAME, object_name
from ome_iac.planning.plan import RolePlan, ServicePlan
from ome_iac.planning.serving.decisions import Scaling, Trigger
from ome_iac.problems import Problem
from ome_iac.spec.components import Component, KedaConfig
from ome_iac.spec.platform import PlatformSpec
from ome_iac.spec.services import InferenceService

AUTOSCALER_CLASS = "ome.io/autoscalerClass"
DEFAULT_UTILIZATION = 80
"""Percent, as OME's default for cpu and memory."""
SHORTEST_COOLDOWN = 300

RUNNING_AND_WAITING = {
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
    "nim": ("num_requests_running", "num_requests_waiting"),
    "tgi": ("tgi_batch_current_size", "tgi_queue_size"),
    "tei": ("te_queue_size",),
}
MEASURED = {
    "concurrency": "requests at once",
    "rps": "requests a second",
    "requests": "requests running or waiting",
    "requests-per-second": "requests a second",
}
"""What a trigger's name means to a reader."""
FINISHED = {"vllm": "vllm:request_success_total", "sglang": "sglang:num_requests_total", "tgi": "tgi_request_success"}


@dataclass(frozen=True)
class Asked:
    """What a component of the document says of its scaling."""

    document: InferenceService
    path: str
    component: Component
    minimum: int

    @property
    def maximum(self) -> int:
        """At most so many; the minimum where nothing is said."""
        return max(1, self.component.max_replicas or self.minimum, self.minimum)

    @property
    def keda(self) -> KedaConfig | None:
        """KEDA's settings: the component's, else the service's."""
        return self.component.keda_config or self.document.spec.keda_config

    def problem(self, field: str, what: str, remedy: str) -> Problem:
        """At one of the component's fields."""
        return self.document.problem(f"{self.path}.{field}", what, remedy)


def scaling_of(
    asked: Asked, service: ServicePlan, role: RolePlan, platform: PlatformSpec
) -> tuple[Scaling | None, list[Problem], tuple[str, ...]]:
    """The owner of the role's replicas, or None; what contradicts itself; and what should be known.

    `minReplicas: 0` is Knative's on one node and KEDA's on several. KEDA goes by requests where a Prometheus is known;
    cpu and memory are Kubernetes' own. Two owners are refused.
    """
    declared = asked.document.metadata.annotations.get(AUTOSCALER_CLASS)
    wants_keda = declared == "keda" or (asked.keda is not None and asked.keda.enable_keda is not False)
    problems = _contradictions(asked, declared, wants_keda, service)
    if problems or declared == "external":
        return None, problems, ()
    if service.pattern == "serverless":
        return _knative(asked, service, role), [], ()
    if asked.maximum == asked.minimum and asked.minimum > 0:
        return None, [], ()
    metric = asked.component.scale_metric
    if metric in ("cpu", "memory") and not wants_keda and asked.minimum > 0:
        return _by_resource(asked, service, role, metric), [], ()
    address = (asked.keda and asked.keda.prom_server_address) or platform.prometheus
    if address is None:
        if asked.minimum == 0 or wants_keda or metric:
            what = "is asked to follow requests, and nothing says where they are counted"
            return None, [asked.problem("minReplicas", what, "name Prometheus: Platform spec.prometheus")], ()
        note = f"stays at {asked.minimum} replicas: to reach maxReplicas, name a Prometheus (Platform spec.prometheus)"
        return None, [], (note,)
    return _by_requests(asked, service, role, platform, address)


def _contradictions(asked: Asked, declared: str | None, wants_keda: bool, service: ServicePlan) -> list[Problem]:
    problems = []
    if wants_keda and declared == "hpa":
        what = "asks for KEDA where the annotation asks for hpa: two would set the replicas"
        problems.append(asked.problem("kedaConfig", what, f"drop it, or the annotation {AUTOSCALER_CLASS}"))
    if wants_keda and service.pattern == "serverless":
        what = "asks for KEDA on a serverless service: Knative sets its replicas"
        problems.append(asked.problem("kedaConfig", what, "drop it, or set minReplicas to 1"))
    if service.pattern == "serverless" and asked.component.scale_metric in ("cpu", "memory"):
        what = f"{asked.component.scale_metric} cannot bring a service back from zero"
        problems.append(asked.problem("scaleMetric", what, "concurrency or rps"))
    return problems


def cooldown(role: RolePlan) -> int:
    """Seconds before a replica is taken away: no shorter than it takes to get one back."""
    return max(SHORTEST_COOLDOWN, role.startup.expected_seconds)


def target_requests(role: RolePlan) -> int:
    """Requests at once that a replica is proven to hold at full length; at least one."""
    held = role.memory.concurrency
    return max(1, int(held)) if held is not None else 32


def _scaling(asked: Asked, role: RolePlan, owner: str, triggers: tuple[Trigger, ...], why: str) -> Scaling:
    return Scaling.model_validate(
        {
            "role": role.role,
            "owner": owner,
            "min_replicas": asked.minimum,
            "max_replicas": asked.maximum,
            "triggers": triggers,
            "cooldown_seconds": cooldown(role),
            "why": why,
        }
    )


def _knative(asked: Asked, service: ServicePlan, role: RolePlan) -> Scaling:
    metric = asked.component.scale_metric or "concurrency"
    target = asked.component.scale_target or target_requests(role)
    trigger = Trigger(name=metric, query="", threshold=str(target))
    return _scaling(asked, role, "knative", (trigger,), f"one replica for {target} {MEASURED.get(metric, metric)}")


def _by_resource(asked: Asked, service: ServicePlan, role: RolePlan, metric: str) -> Scaling:
    target = asked.component.scale_target or DEFAULT_UTILIZATION
    trigger = Trigger(name=metric, query="", threshold=str(target))
    return _scaling(asked, role, "hpa", (trigger,), f"{metric} at {target}% as asked; it says little of GPUs")


def _by_requests(
    asked: Asked, service: ServicePlan, role: RolePlan, platform: PlatformSpec, address: str
) -> tuple[Scaling | None, list[Problem], tuple[str, ...]]:
    engine = role.runtime.split()[0]
    own = asked.keda.custom_prom_query if asked.keda else None
    matching = f'{{namespace="{service.namespace}",{_label(NAME)}="{object_name(service.name)}",' + (
        f'{_label(COMPONENT)}="{role.role}"}}'
    )
    target = (asked.keda and asked.keda.scaling_threshold) or str(asked.component.scale_target or target_requests(role))
    if own:
        triggers = [Trigger(name="asked", query=own, threshold=target)]
    elif asked.component.scale_metric == "rps" and engine in FINISHED:
        query = f"sum(rate({FINISHED[engine]}{matching}[2m]))"
        triggers = [Trigger(name="requests-per-second", query=query, threshold=target)]
    elif engine in RUNNING_AND_WAITING:
        query = " + ".join(f"sum({name}{matching})" for name in RUNNING_AND_WAITING[engine])
        triggers = [Trigger(name="requests", query=query, threshold=target)]
    else:
        what = f"{role.runtime} publishes no figure that replicas could follow"
        return None, [asked.problem("scaleMetric", what, "cpu, or a kedaConfig with customPromQuery")], ()
    if asked.minimum == 0 and not own:
        if platform.ingress is None or platform.ingress.kind == "ingress":
            what = "nothing counts requests while no replica runs"
            remedy = "an ingress of kind gateway or istio (Platform spec.ingress), or a kedaConfig with customPromQuery"
            return None, [asked.problem("minReplicas", what, remedy)], ()
        arrived = f'destination_service_name="{object_name(service.name)}"'
        there = f'destination_service_namespace="{service.namespace}"'
        query = f"sum(rate(istio_requests_total{{{arrived},{there}}}[1m]))"
        triggers.append(Trigger(name="arrivals", query=query, threshold=target))
    scaling = _scaling(
        asked,
        role,
        "keda",
        tuple(triggers),
        f"one replica for {target} {MEASURED.get(triggers[0].name, 'of the query asked for')}",
    )
    return scaling.model_copy(update={"prometheus": address}), [], ()


def _label(name: str) -> str:
    """A Kubernetes label as Prometheus writes it."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)
