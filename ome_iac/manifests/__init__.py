"""From a `Plan` to Kubernetes objects as plain dicts; nothing is decided here."""

from __future__ import annotations

from ome_iac.manifests import standard
from ome_iac.manifests.standard import Manifest
from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.problems import Problem, ProblemsError

__all__ = ["Manifest", "namespace_object", "service_objects", "unrenderable"]


def service_objects(plan: Plan, service: ServicePlan) -> list[Manifest]:
    """The objects of one service, in the order in which they have to exist.

    Raises ProblemsError for a pattern that has none; `unrenderable` tells it of a whole plan beforehand.
    """
    problems = _missing(service)
    if problems:
        raise ProblemsError(problems)
    return standard.service_objects(plan, service)


def unrenderable(plan: Plan) -> list[Problem]:
    """What is decided but has no objects yet; to be asked before anything is registered."""
    return [problem for service in plan.services for problem in _missing(service)]


def _missing(service: ServicePlan) -> list[Problem]:
    if service.pattern == "standard":
        return []
    where = f"InferenceService/{service.name}"
    placed = f"{service.split} on {service.nodes} nodes of {service.pool}"
    what = f"is planned as {placed}: {service.pattern} has no objects yet"
    return [Problem(where, "", what, "a pool of which one node holds it, or a shorter intent.contextLength")]


def namespace_object(plan: Plan, name: str) -> Manifest:
    """A namespace of the stack."""
    labels = {"app.kubernetes.io/managed-by": "ome-iac", "app.kubernetes.io/part-of": plan.stack}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
