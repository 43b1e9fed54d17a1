"""How requests reach services from outside, and how they are spread over several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ome_iac.planning.names import object_name
from ome_iac.planning.plan import ServicePlan
from ome_iac.planning.serving.decisions import Backend, External, Route
from ome_iac.problems import Problem, did_you_mean
from ome_iac.spec.platform import Ingress, PlatformSpec
from ome_iac.spec.routes import ExternalService, TrafficSplit
from ome_iac.spec.stack import Stack

PORT = 80
"""Of every Service we make."""

Name = tuple[str, str]
"""Namespace and name."""


def externals_of(stack: Stack) -> tuple[External, ...]:
    """The services that live elsewhere."""
    return tuple(
        External(
            name=document.name,
            namespace=document.namespace,
            host=document.spec.host,
            port=document.spec.port,
            tls=document.spec.tls,
            model=document.spec.model,
        )
        for document in stack.of(ExternalService)
    )


def route_of(service: ServicePlan, platform: PlatformSpec) -> Route | None:
    """The service's own route; None where nothing leads into the cluster, or Knative makes its own."""
    if platform.ingress is None or service.pattern == "serverless":
        return None
    return _route(service.name, service.namespace, platform.ingress, None, (backend_of(service),))


def backend_of(service: ServicePlan) -> Backend:
    """Where the service is reached: its pool of endpoints where a picker chooses among them, else its Service."""
    picked = service.router is not None and service.router.kind == "endpoint-picker"
    if picked:
        return Backend(kind="InferencePool", name=object_name(service.name), port=service.engine.port)
    return Backend(kind="Service", name=object_name(service.name), port=PORT)


def splits_of(
    stack: Stack, services: Sequence[ServicePlan], platform: PlatformSpec, problems: list[Problem]
) -> tuple[Route, ...]:
    """One route for each TrafficSplit; everything wrong with one becomes a problem."""
    planned: dict[Name, ServicePlan] = {(service.namespace, service.name): service for service in services}
    elsewhere = {(external.namespace, external.name): external for external in externals_of(stack)}
    routes = []
    for split in stack.of(TrafficSplit):
        found = _backends(split, planned, elsewhere, problems)
        if platform.ingress is None or platform.ingress.kind == "ingress":
            remedy = "a Platform with spec.ingress of kind gateway or istio"
            problems.append(split.problem("", "has no gateway that could divide requests by weight", remedy))
        elif found:
            routes.append(_route(split.name, split.namespace, platform.ingress, split.spec.host, found))
    return tuple(routes)


def _backends(
    split: TrafficSplit,
    planned: Mapping[Name, ServicePlan],
    elsewhere: Mapping[Name, External],
    problems: list[Problem],
) -> tuple[Backend, ...]:
    total = sum(part.weight for part in split.spec.services)
    if total != 100:
        problems.append(split.problem("spec.services", f"weights sum up to {total}", "100"))
    backends = []
    for index, part in enumerate(split.spec.services):
        key = (split.namespace, part.service)
        if key in elsewhere:
            external = elsewhere[key]
            backends.append(
                Backend(kind="Service", name=object_name(external.name), port=external.port, weight=part.weight)
            )
        elif key in planned and planned[key].pattern == "serverless":
            what = f"{part.service} is serverless: Knative routes to its pods"
            problems.append(split.problem(f"spec.services.{index}.service", what, "minReplicas of 1 or more"))
        elif key in planned:
            backends.append(backend_of(planned[key]).model_copy(update={"weight": part.weight}))
        else:
            known = [name for namespace, name in (*planned, *elsewhere) if namespace == split.namespace]
            what = f"there is no service {part.service} in {split.namespace}"
            remedy = did_you_mean(part.service, sorted(known))
            problems.append(split.problem(f"spec.services.{index}.service", what, remedy))
    return tuple(backends) if len(backends) == len(split.spec.services) and total == 100 else ()


def _route(name: str, namespace: str, ingress: Ingress, host: str | None, backends: tuple[Backend, ...]) -> Route:
    shown = host or ingress.host.format(service=object_name(name), namespace=namespace)
    return Route(
        name=name,
        namespace=namespace,
        kind=ingress.kind,
        parent=ingress.parent,
        hosts=(shown,),
        tls_secret=ingress.tls_secret,
        backends=backends,
    )
