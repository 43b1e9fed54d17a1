"""When an object does what it is for, by the generic rules of the official provider, and what is missing until then.

Load balancer addresses are not waited for: a rehearsal has no cloud that would give them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from ome_iac.rehearsal.providers.api_client import ApiClient
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef
from ome_iac.rehearsal.providers.object_store import Document, StillWaitingError, StoreError, Waiting

_WAIT_FOR: Final = "pulumi.com/waitFor"
_POD: Final = ObjectKind("v1", "Pod")
_EVENT: Final = ObjectKind("v1", "Event")
_ENDPOINT_SLICE: Final = ObjectKind("discovery.k8s.io/v1", "EndpointSlice")
_STORAGE_CLASS: Final = ObjectKind("storage.k8s.io/v1", "StorageClass")
_JSONPATH: Final = re.compile(r"jsonpath=\{(?P<path>[^}]+)\}(=(?P<value>.*))?")
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


class Readiness:
    """Asks a cluster about its objects."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._rules: dict[tuple[str, str], Callable[[Document], str | None]] = {
            ("apps", "Deployment"): self._deployment,
            ("apps", "StatefulSet"): self._stateful_set,
            ("apps", "DaemonSet"): self._daemon_set,
            ("batch", "Job"): self._job,
            ("", "Pod"): self._pod,
            ("", "Service"): self._service,
            ("", "Namespace"): lambda live: _phase(live, "Active"),
            ("", "PersistentVolume"): lambda live: _phase(live, "Available", "Bound"),
            ("", "PersistentVolumeClaim"): self._claim,
            ("apiextensions.k8s.io", "CustomResourceDefinition"): lambda live: _condition(live, "Established"),
        }

    def wait(self, ref: ObjectRef, waiting: Waiting) -> Document:
        """The object once it is ready; StillWaitingError says what it lacks, StoreError that it is gone."""
        live: Document = {}

        def missing() -> str | None:
            nonlocal live
            found = self._client.get(ref)
            if found is None:
                raise StoreError("NotFound", "gone: somebody deleted it meanwhile")
            live = found
            return self._missing(ref, live)

        waiting.until(missing)
        return live

    def _missing(self, ref: ObjectRef, live: Document) -> str | None:
        if live["metadata"].get("deletionTimestamp"):
            return "it is being deleted"
        conditions = (live["metadata"].get("annotations") or {}).get(_WAIT_FOR)
        if conditions:
            unmet = [answer for text in _expressions(conditions) if (answer := _expression(live, text))]
            return "; ".join(unmet) or None
        rule = self._rules.get((ref.kind.group, ref.kind.kind))
        return rule(live) if rule else None

    def _deployment(self, live: Document) -> str | None:
        status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
        lag = _not_observed(live)
        if lag:
            return lag
        updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
        if updated >= wanted and available >= wanted and status.get("replicas", 0) <= updated:
            return None
        return f"{available} of {wanted} replicas are available{self._why(live)}"

    def _stateful_set(self, live: Document) -> str | None:
        status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
        lag = _not_observed(live)
        if lag:
            return lag
        ready = status.get("readyReplicas", 0)
        strategy = live["spec"].get("updateStrategy", {})
        partition = strategy.get("rollingUpdate", {}).get("partition", 0)
        rolled = strategy.get("type") == "OnDelete" or status.get("updatedReplicas", 0) >= wanted - partition
        return None if ready >= wanted and rolled else f"{ready} of {wanted} replicas are ready{self._why(live)}"

    def _daemon_set(self, live: Document) -> str | None:
        status = live.get("status", {})
        wanted = status.get("desiredNumberScheduled", 0)
        ready, updated = status.get("numberReady", 0), status.get("updatedNumberScheduled", 0)
        rolled = live["spec"].get("updateStrategy", {}).get("type") == "OnDelete" or updated >= wanted
        lag = _not_observed(live)
        return lag or (None if ready >= wanted and rolled else f"{ready} of {wanted} pods are ready{self._why(live)}")

    def _job(self, live: Document) -> str | None:
        if live["spec"].get("suspend") or _is_true(live, "Complete"):
            return None  # a suspended job waits for its queue, which is what it is for
        failed = _found(live, "Failed")
        if failed.get("status") == "True":
            raise StillWaitingError(f"failed: {failed.get('message', failed.get('reason', 'no reason given'))}")
        status = live.get("status", {})
        done, wanted = status.get("succeeded", 0), live["spec"].get("completions", 1)
        return f"{done} of {wanted} completions{self._why(live)}"

    def _pod(self, live: Document) -> str | None:
        if live.get("status", {}).get("phase") == "Succeeded" or _is_true(live, "Ready"):
            return None
        return _pod_trouble(live) or "the pod is not ready"

    def _service(self, live: Document) -> str | None:
        spec = live["spec"]
        if spec.get("type") == "ExternalName" or not spec.get("selector") or spec.get("clusterIP") == "None":
            return None
        metadata = live["metadata"]
        slices = self._client.list(
            _ENDPOINT_SLICE, metadata["namespace"], {"labelSelector": f"kubernetes.io/service-name={metadata['name']}"}
        )
        for endpoint in (endpoint for found in slices for endpoint in found.get("endpoints") or []):
            if endpoint.get("conditions", {}).get("ready", True):
                return None
        return f"no ready pod stands behind its selector{self._why_pods(metadata['namespace'], spec['selector'])}"

    def _claim(self, live: Document) -> str | None:
        if live.get("status", {}).get("phase") == "Bound":
            return None
        spec, name = live["spec"], live["metadata"]["name"]
        classes = self._client.list(_STORAGE_CLASS, None)
        if "storageClassName" in spec:
            matching = [found for found in classes if found["metadata"]["name"] == spec["storageClassName"]]
        else:
            matching = [
                found for found in classes if (found["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
            ]
        if any(found.get("volumeBindingMode") == "WaitForFirstConsumer" for found in matching):
            return None
        return f"the claim is not bound{self._event('PersistentVolumeClaim', name, live['metadata']['namespace'])}"

    def _why(self, live: Document) -> str:
        selector = (live["spec"].get("selector") or {}).get("matchLabels") or {}
        return self._why_pods(live["metadata"]["namespace"], selector)

    def _why_pods(self, namespace: str, labels: dict[str, str]) -> str:
        """What holds up the first of the pods that is held up: the scheduler, an image, a crash."""
        if not labels:
            return ""
        selector = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
        pods = self._client.list(_POD, namespace, {"labelSelector": selector})
        if not pods:
            return "; there is no pod yet"
        for pod in sorted(pods, key=lambda found: str(found["metadata"]["name"])):
            trouble = None if _is_true(pod, "Ready") else _pod_trouble(pod)
            if trouble:
                return f"; {trouble}"
        return ""

    def _event(self, kind: str, name: str, namespace: str) -> str:
        events = self._client.list(
            _EVENT, namespace, {"fieldSelector": f"involvedObject.kind={kind},involvedObject.name={name}"}
        )
        newest = max(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime")), default={})
        return f": {newest['message']}" if newest.get("message") else ""


def _not_observed(live: Document) -> str | None:
    observed = live.get("status", {}).get("observedGeneration", 0)
    return None if observed >= live["metadata"].get("generation", 0) else "its controller has not taken it up yet"


def _phase(live: Document, *good: str) -> str | None:
    phase = live.get("status", {}).get("phase", "unknown")
    return None if phase in good else f"its phase is {phase}"


def _found(live: Document, condition: str) -> dict[str, Any]:
    entries = live.get("status", {}).get("conditions") or []
    return next((entry for entry in entries if entry.get("type") == condition), {})


def _is_true(live: Document, condition: str) -> bool:
    return bool(_found(live, condition).get("status") == "True")


def _condition(live: Document, condition: str, wanted: str = "True") -> str | None:
    entry = _found(live, condition)
    if str(entry.get("status")).lower() == wanted.lower():
        return None
    message = entry.get("message") or entry.get("reason")
    return f"condition {condition} is {entry.get('status', 'not there')}" + (f": {message}" if message else "")


def _pod_trouble(pod: Document) -> str | None:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    scheduled = _found(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"pod {name} is not scheduled: {scheduled.get('message', scheduled.get('reason', ''))}"
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"container {container['name']} of pod {name}: {waiting['reason']}: {waiting.get('message', '')}"
    if status.get("phase") == "Failed":
        return f"pod {name} failed: {status.get('message') or status.get('reason', '')}"
    return f"pod {name} is {status.get('phase', 'unknown')}"


def _expressions(annotation: str) -> list[str]:
    """One expression, or a JSON list of them that must all hold."""
    if annotation.lstrip().startswith("["):
        try:
            return [str(text) for text in json.loads(annotation)]
        except ValueError:
            return [annotation]
    return [annotation]


def _expression(live: Document, text: str) -> str | None:
    """What is missing for `condition=Ready[=value]` or `jsonpath={.path}[=value]`."""
    if text.startswith("condition="):
        condition, _, wanted = text.removeprefix("condition=").partition("=")
        return _condition(live, condition, wanted or "True")
    match = _JSONPATH.fullmatch(text)
    if match is None:
        raise StillWaitingError(f"annotated with a {_WAIT_FOR} that cannot be read: {text}")
    values = list(_values([live], match["path"]))
    if match["value"] is None:
        return None if values else f"{match['path']} is not there"
    if any(_text(value) == match["value"] for value in values):
        return None
    return f"{match['path']} is {', '.join(map(_text, values)) or 'not there'}, not {match['value']}"


def _values(documents: list[Any], path: str) -> Iterator[Any]:
    """The plain part of JSONPath: `.a.b`, `[0]`, `[*]`."""
    for name, index in re.findall(r"\.?([^.\[\]]+)|\[(\d+|\*)\]", path):
        if name:
            documents = [found[name] for found in documents if isinstance(found, dict) and name in found]
        elif index == "*":
            documents = [item for found in documents if isinstance(found, list) for item in found]
        else:
            at = int(index)
            documents = [found[at] for found in documents if isinstance(found, list) and at < len(found)]
    yield from documents


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
