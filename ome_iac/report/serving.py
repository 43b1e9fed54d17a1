"""Around a service's replicas, as lines for a terminal: who scales them, what spreads requests, the way in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.markup import escape

from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.planning.serving.decisions import Backend, Route

Row = Callable[[str, str], str]
"""A label and a text as one line."""

OWNERS = {"hpa": "Kubernetes", "keda": "KEDA", "knative": "Knative"}


def around(service: ServicePlan, row: Row) -> Iterator[str]:
    """Scaling, router and route of a service; nothing for what it has not."""
    for role in service.roles:
        if role.scaling:
            bounds = f"{role.scaling.min_replicas} to {role.scaling.max_replicas} replicas"
            of = "" if role.role == "engine" else f" of {role.role}"
            yield row("scales", escape(f"{bounds}{of} by {OWNERS[role.scaling.owner]}: {role.scaling.why}"))
    if service.router:
        replicas = f", {service.router.replicas} replicas" if service.router.replicas > 1 else ""
        yield row("router", escape(f"{service.router.kind}, {service.router.policy}{replicas}"))
    if service.route:
        yield row("route", _way_in(service.route))


def across(plan: Plan, row: Row) -> Iterator[str]:
    """Services that live elsewhere, routes over several services, and what must run in the cluster."""
    for external in plan.externals:
        yield ""
        yield f"[bold]{escape(f'{external.namespace}/{external.name}')}[/]   elsewhere: {escape(external.model)}"
        yield row("at", escape(f"{'https' if external.tls else 'http'}://{external.host}:{external.port}"))
    for split in plan.splits:
        yield ""
        yield f"[bold]{escape(f'{split.namespace}/{split.name}')}[/]   traffic split"
        yield row("to", escape(", ".join(map(_share, split.backends))))
        yield row("route", _way_in(split))
    if plan.controllers:
        yield ""
        yield f"[bold]in the cluster[/]   {', '.join(plan.controllers)}"


def _way_in(route: Route) -> str:
    return escape(f"{', '.join(route.hosts)} through {route.kind} {route.parent}")


def _share(backend: Backend) -> str:
    return f"{backend.weight}% {backend.name}"
