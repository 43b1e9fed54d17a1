"""From a `Plan` to Kubernetes objects as plain dicts; nothing is decided here."""

from __future__ import annotations

from ome_iac.manifests.standard import Manifest, service_objects
from ome_iac.planning.plan import Plan

__all__ = ["Manifest", "namespace_object", "service_objects"]


def namespace_object(plan: Plan, name: str) -> Manifest:
    """A namespace of the stack."""
    labels = {"app.kubernetes.io/managed-by": "ome-iac", "app.kubernetes.io/part-of": plan.stack}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
