"""A runtime's container as it will run: placeholders filled in, shell wrappers taken off, the engine recognised.

Placeholders are Kubernetes' `$(NAME)`, filled from the container's own environment and from what OME injects
(MODEL_PATH, PARALLELISM_SIZE = GPUs of all pods; LeaderWorkerSet adds LWS_GROUP_SIZE), and OME's `{{.Name}}`, which
stand for the InferenceService's metadata. OME escapes what it fills in as HTML; here it stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ome_iac.runtimes.engines.custom_merge import over
from ome_iac.runtimes.engines.custom_recognition import IMAGES, programs, unwrapped, version_of
from ome_iac.spec.components import Container, EngineComponent
from ome_iac.spec.document import Metadata
from ome_iac.spec.runtimes import ServingRuntimeSpec
from ome_iac.spec.services import ServiceDeclaration
from ome_iac.spec.templating import fill_in

GPU_RESOURCES = {"nvidia.com/gpu": "nvidia", "amd.com/gpu": "amd"}
SHAPE_LABELS = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")
RUN_TIME = ("MODEL_PATH", "LWS_LEADER_ADDRESS", "LWS_WORKER_INDEX")
"""Set by OME and LeaderWorkerSet to what only the cluster knows."""

_KUBERNETES = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")


@dataclass(frozen=True)
class Arguments:
    """A command line's flags, `_` read as `-`, with the words after each up to the next flag; the last one counts."""

    flags: Mapping[str, tuple[str, ...]]

    def first(self, *names: str) -> tuple[str, str] | None:
        """The flag as written and its first value ("" for none), by the first of the names that is there."""
        for name in names:
            if name in self.flags:
                values = self.flags[name]
                return name, values[0] if values else ""
        return None

    def has(self, *names: str) -> bool:
        """Whether one of the flags is there and not said to be false."""
        found = self.first(*names)
        return found is not None and found[1].lower() != "false"


@dataclass(frozen=True)
class Process:
    """What one role of a runtime runs. `gpus` are those of one pod, `pods` those of one replica.

    `line` is the command with any `sh -c` around it taken off. `engine` is None where neither command nor image tells,
    `version` where the image's tag does not say. `unfilled` are placeholders that nothing fills.
    """

    image: str
    command: tuple[str, ...]
    line: tuple[str, ...]
    engine: str | None
    version: str | None
    arguments: Arguments
    environment: Mapping[str, str]
    by_entrypoint: bool
    vendor: str | None
    gpus: int
    pods: int
    shapes: tuple[str, ...]
    port: int | None
    health_path: str | None
    unfilled: tuple[str, ...]


def processes(
    spec: ServingRuntimeSpec, service: Metadata | None, written: ServiceDeclaration | None = None
) -> dict[str, Process]:
    """What runs, by role: `engine`, and `decoder` where prefill and decode are apart; empty without containers."""
    found: dict[str, Process] = {}
    engine = over(spec.engine_config, written.engine if written else None)
    decoder = over(spec.decoder_config, written.decoder if written else None)
    for role, component in (("engine", engine), ("decoder", decoder)):
        if component is None:
            continue
        container, pods = _of_component(component)
        if container is not None:
            leader = component.leader or component
            found[role] = _process(container, pods, _shapes(leader.node_selector, leader.affinity), service)
    if not found and spec.containers:
        pods = 1 + ((spec.workers.size or 0) if spec.workers else 0)
        found["engine"] = _process(_main(spec.containers), pods, _shapes(spec.node_selector, spec.affinity), service)
    return found


def _of_component(component: EngineComponent) -> tuple[Container | None, int]:
    pods = 1 + ((component.worker.size or 0) if component.worker else 0)
    for part in (component.leader, component, component.worker):
        if part is not None and part.runner is not None:
            return part.runner, pods
        if part is not None and part.containers:
            return _main(part.containers), pods
    return None, pods


def _main(containers: Sequence[Container]) -> Container:
    """OME's own name for the container that serves, else the first."""
    return next((container for container in containers if container.name == "ome-container"), containers[0])


def _process(container: Container, pods: int, shapes: tuple[str, ...], service: Metadata | None) -> Process:
    raw: dict[str, Any] = container.model_extra or {}
    vendor, gpus = _gpus(raw)
    unfilled: list[str] = []
    known = {"PARALLELISM_SIZE": str(gpus * pods), "LWS_GROUP_SIZE": str(pods)}
    variables = [variable for variable in _items(raw, "env") if isinstance(variable, dict)]
    for variable in variables:
        if "value" in variable:
            text = fill_in(str(variable["value"]), service, unfilled)
            known[str(variable.get("name"))] = _KUBERNETES.sub(lambda hit: known.get(hit[1] or "", hit[0]), text)
    sourced = {str(variable.get("name")) for variable in variables if "valueFrom" in variable}

    def fill(hit: re.Match[str]) -> str:
        if hit[0] == "$$":
            return "$"
        if hit[1] not in known and hit[1] not in sourced and hit[1] not in RUN_TIME:
            unfilled.append(hit[0])
        return known.get(hit[1], hit[0])

    written = (str(word) for word in (*_items(raw, "command"), *_items(raw, "args")))
    command = tuple(_KUBERNETES.sub(fill, fill_in(word, service, unfilled)) for word in written)
    line = unwrapped(list(command), known) or list(command)
    image = str(raw.get("image") or "")
    engine = next(programs(line), None) or next((name for part, name in IMAGES if part in image.lower()), None)
    if engine == "triton" and "-vllm-" in image:
        engine = "triton-vllm"
    return Process(
        image=image,
        command=command,
        line=tuple(line),
        engine=engine,
        version=version_of(image),
        arguments=Arguments(_flags(line)),
        environment=known,
        by_entrypoint=not raw.get("command"),
        vendor=vendor,
        gpus=gpus,
        pods=pods,
        shapes=shapes,
        port=_port(raw),
        health_path=_health_path(raw),
        unfilled=tuple(dict.fromkeys(unfilled)),
    )


def _flags(line: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for word in line:
        if re.match(r"--?[A-Za-z]", word):
            name, equals, value = word.partition("=")
            current = found[name.replace("_", "-")] = [value] if equals else []
        elif current is not None:
            current.append(word)
    return {name: tuple(values) for name, values in found.items()}


def _gpus(raw: Mapping[str, Any]) -> tuple[str | None, int]:
    resources = _mapping(raw, "resources")
    for part in ("limits", "requests"):
        for name, vendor in GPU_RESOURCES.items():
            asked = _mapping(resources, part).get(name)
            if asked is not None and str(asked).isdigit():
                return vendor, int(asked)
    return None, 0


def _shapes(selector: Mapping[str, str], affinity: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The shapes that the pods' nodes must have; empty where any will do."""
    named = [selector[label] for label in SHAPE_LABELS if label in selector]
    required = _mapping(_mapping(affinity or {}, "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution")
    for term in filter(_is_mapping, _items(required, "nodeSelectorTerms")):
        for rule in filter(_is_mapping, _items(term, "matchExpressions")):
            if rule.get("key") in SHAPE_LABELS and rule.get("operator") == "In":
                named += [str(value) for value in _items(rule, "values")]
    return tuple(sorted(set(named)))


def _port(raw: Mapping[str, Any]) -> int | None:
    ports = [port.get("containerPort") for port in _items(raw, "ports") if isinstance(port, dict)]
    return next((port for port in ports if isinstance(port, int)), None)


def _health_path(raw: Mapping[str, Any]) -> str | None:
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        path = _mapping(_mapping(raw, probe), "httpGet").get("path")
        if path:
            return str(path)
    return None


def _items(raw: Mapping[str, Any], name: str) -> list[Any]:
    """A list of a container's; what is none is read as empty, and is `container_faults`' to report."""
    value = raw.get(name)
    return value if isinstance(value, list) else []


def _mapping(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)
