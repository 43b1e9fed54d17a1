"""A runtime's component with what a service writes over it, as far as it decides what runs.

OME merges the two as Kubernetes merges a patch, the service over the runtime; the arguments of a runner are joined.
"""

from __future__ import annotations

from typing import Any

from ome_iac.spec.components import EngineComponent
from ome_iac.spec.merging import merged

Plain = dict[str, Any]

DECIDING = ("runner", "leader", "worker", "containers", "nodeSelector", "affinity")
"""Fields of a component that say what runs, and where."""


def over(runtime: EngineComponent | None, service: EngineComponent | None) -> EngineComponent | None:
    """The component that runs; the runtime's own where the service writes nothing of it."""
    written = _plain(service)
    if not written:
        return runtime
    return EngineComponent.model_validate(merged(_plain(runtime), written))


def _plain(component: EngineComponent | None) -> Plain:
    data = component.model_dump(by_alias=True, exclude_unset=True, mode="json") if component else {}
    return {field: data[field] for field in DECIDING if data.get(field) is not None}
