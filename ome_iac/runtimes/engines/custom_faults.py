"""Containers of a runtime document that Kubernetes would not take; what a container may hold, its document's schema
leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ome_iac.problems import Problem
from ome_iac.runtimes.engines.custom_container import GPU_RESOURCES
from ome_iac.spec.runtimes import RuntimeDocument

COMPONENTS = ("engineConfig", "decoderConfig", "routerConfig")


def container_faults(document: RuntimeDocument) -> Iterator[Problem]:
    """One problem for each value of the wrong type in image, command, args, env and GPU counts."""
    spec = document.spec.model_dump(by_alias=True, exclude_unset=True, mode="json")
    for path, container in _containers(spec, "spec", 0):
        for where, what, remedy in _faults(container):
            yield document.problem(f"{path}.{where}", what, remedy)


def _containers(part: dict[str, Any], path: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Containers and runners of the spec, of its components, of their leaders and workers."""
    runner = part.get("runner")
    if isinstance(runner, dict):
        yield f"{path}.runner", runner
    for index, container in enumerate(part.get("containers") or ()):
        if isinstance(container, dict):
            yield f"{path}.containers.{index}", container
    below = COMPONENTS if depth == 0 else ("leader", "worker") if depth == 1 else ()
    for name in below:
        if isinstance(part.get(name), dict):
            yield from _containers(part[name], f"{path}.{name}", depth + 1)


def _faults(container: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    image = container.get("image")
    if image is not None and not isinstance(image, str):
        yield "image", f"{image} is no text", "write registry/name:tag"
    for field in ("command", "args"):
        words = container.get(field)
        if isinstance(words, str):
            yield field, "is text, a list is wanted", "write each word as an item of its own"
        elif words is not None and not isinstance(words, list):
            yield field, "is no list", "write each word as an item of its own"
        else:
            for index, word in enumerate(words or ()):
                if not isinstance(word, str):
                    yield f"{field}.{index}", f"{_shown(word)} is no text", f'write "{_shown(word)}"'
    variables = container.get("env")
    if variables is not None and not isinstance(variables, list):
        yield "env", "is no list", "write a list of name and value"
        variables = None
    for index, variable in enumerate(variables or ()):
        if not isinstance(variable, dict) or not isinstance(variable.get("name"), str):
            yield f"env.{index}", "has no name", "write name and value"
        elif "value" in variable and not isinstance(variable["value"], str):
            yield (
                f"env.{index}.value",
                f"{_shown(variable['value'])} is no text",
                f'write "{_shown(variable["value"])}"',
            )
    yield from _resource_faults(container.get("resources"))


def _resource_faults(resources: Any) -> Iterator[tuple[str, str, str]]:
    if resources is None:
        return
    if not isinstance(resources, dict):
        yield "resources", "is no mapping", "write limits and requests"
        return
    counts: dict[str, str] = {}
    for part in ("limits", "requests"):
        amounts = resources.get(part) or {}
        if not isinstance(amounts, dict):
            yield f"resources.{part}", "is no mapping", "write nvidia.com/gpu: 1"
            continue
        for name in GPU_RESOURCES:
            if name in amounts and not str(amounts[name]).isdigit():
                yield f"resources.{part}", f"{name}: {_shown(amounts[name])} is no whole number", f"write {name}: 1"
            elif name in amounts and counts.setdefault(name, str(amounts[name])) != str(amounts[name]):
                what = f"{name}: {amounts[name]} differs from the limit of {counts[name]}"
                yield f"resources.{part}", what, f"write {counts[name]}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
