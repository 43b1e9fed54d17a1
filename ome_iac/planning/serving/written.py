"""Pods that a runtime document writes itself: OME's merge of runtime and service, its placeholders and its injections.

The service's component goes over the runtime's as a strategic merge; a runner's arguments are joined. OME then fills in
`{{.Name}}` and its like from the service's metadata, sets MODEL_PATH and PARALLELISM_SIZE, and mounts the model's
folder (pkg/controller/v1beta1/inferenceservice, 2026-05).
"""

from __future__ import annotations

from typing import Any

from ome_iac.planning.plan import Volume, Written
from ome_iac.spec.components import Component, PodFields
from ome_iac.spec.document import Metadata
from ome_iac.spec.merging import merged
from ome_iac.spec.runtimes import RuntimeDocument
from ome_iac.spec.services import InferenceService
from ome_iac.spec.templating import fill_in_all

Pod = dict[str, Any]

MODEL_VOLUME = "model"
NOT_OF_A_POD = {
    *("minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "containerConcurrency", "timeoutSeconds"),
    *("canaryTrafficPercent", "minAvailable", "maxUnavailable", "deploymentStrategy", "kedaConfig", "labels"),
    *("annotations", "runner", "leader", "worker", "acceleratorOverride", "size", "config"),
}
"""Fields of a component that are not PodSpec's."""


def written(runtime: RuntimeDocument, service: InferenceService, volume: Volume, gpus: int) -> Written | None:
    """The pods of the service's engine as runtime and service write them; None where neither writes a container.

    `gpus` are those of one replica, over all its pods.
    """
    theirs, own = runtime.spec.engine_config, service.spec.engine
    leader = (theirs.leader if theirs else None, own.leader)
    grouped = any(leader)
    parts = [leader, (theirs.worker if theirs else None, own.worker)] if grouped else [(theirs, own)]
    pods = [_pod(first, second, service.metadata) for first, second in parts]
    if not pods[0].get("containers"):
        return None
    pods = [_with_model(pod, volume, gpus) for pod in pods if pod.get("containers")]
    labels, annotations = _labels(theirs, own)
    return Written(pod=pods[0], worker=pods[1] if len(pods) > 1 else None, labels=labels, annotations=annotations)


def _pod(runtime: PodFields | None, service: PodFields | None, metadata: Metadata) -> Pod:
    """The PodSpec of a component, of a leader or of a worker; empty where neither writes a container."""
    both = merged(_fields(runtime), _fields(service))
    runner = both.pop("runner", None)
    pod = {key: value for key, value in both.items() if key not in NOT_OF_A_POD}
    if runner:
        others = [container for container in pod.get("containers", []) if container["name"] != runner["name"]]
        pod["containers"] = [runner, *others]
    filled: Pod = fill_in_all(pod, metadata)
    return filled


def pod_fields(service: InferenceService) -> Pod:
    """What the service says of its pods beside containers, for pods that we write."""
    return {key: value for key, value in _fields(service.spec.engine).items() if key not in NOT_OF_A_POD}


def _labels(runtime: Component | None, service: Component | None) -> tuple[dict[str, str], dict[str, str]]:
    """Labels and annotations of the pods: the service's over the runtime's."""
    labels = {**(runtime.labels if runtime else {}), **(service.labels if service else {})}
    annotations = {**(runtime.annotations if runtime else {}), **(service.annotations if service else {})}
    return labels, annotations


def _with_model(pod: Pod, volume: Volume, gpus: int) -> Pod:
    """The pod with what OME puts into it: the model's place, and how many GPUs the replica has over all its pods."""
    place = volume.mount or volume.source
    injected: list[Pod] = [{"name": "MODEL_PATH", "value": place}, {"name": "PARALLELISM_SIZE", "value": str(gpus)}]
    mounts: list[Pod] = []
    if volume.token_secret:
        reference = {"name": volume.token_secret, "key": "token"}
        injected.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    if volume.kind != "hub":
        mounts.append({"name": MODEL_VOLUME, "mountPath": place, "readOnly": True})
        source: Pod = (
            {"hostPath": {"path": volume.source, "type": "Directory"}}
            if volume.kind == "hostPath"
            else {"persistentVolumeClaim": {"claimName": volume.source, "readOnly": True}}
        )
        if volume.sub_path:
            mounts[0]["subPath"] = volume.sub_path
        pod = merged(pod, {"volumes": [*pod.get("volumes", []), {"name": MODEL_VOLUME, **source}]})
    first, *others = pod["containers"]
    known = {item["name"] for item in first.get("env", [])}
    environment = [*(item for item in injected if item["name"] not in known), *first.get("env", [])]
    first = {**first, "env": environment, "volumeMounts": [*first.get("volumeMounts", []), *mounts]}
    return {**pod, "containers": [first, *others]}


def _fields(component: PodFields | None) -> Pod:
    if component is None:
        return {}
    return component.model_dump(by_alias=True, exclude_unset=True, mode="json")
