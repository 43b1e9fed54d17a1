from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from ome_iac.rehearsal.providers.api_client import ApiClient
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef
from ome_iac.rehearsal.providers.object_store import StillWaitingError, StoreError, Waiting
from ome_iac.rehearsal.providers.readiness import Readiness


class Cluster:
    """A cluster with one object and what stands beside it."""

    def __init__(self, live: dict[str, Any] | None, **others: list[dict[str, Any]]) -> None:
        self.live = live
        self.others = others

    def get(self, ref: ObjectRef) -> dict[str, Any] | None:
        return self.live

    def list(self, kind: ObjectKind, namespace: str | None, parameters: Any = None) -> list[dict[str, Any]]:
        return self.others.get(kind.kind, [])


def missing(api_version: str, kind: str, live: dict[str, Any] | None, **others: list[dict[str, Any]]) -> str | None:
    """What it still waits for; None when it is ready."""
    if live is not None:
        live = {"metadata": {"name": "x", "namespace": "n", "generation": 1} | live.pop("metadata", {}), **live}
    cluster = cast(ApiClient, Cluster(live, **others))
    waiting = Waiting(0, threading.Event(), lambda message: None)
    try:
        Readiness(cluster).wait(ObjectRef(ObjectKind(api_version, kind), "n", "x"), waiting)
    except StillWaitingError as error:
        return str(error).removeprefix("not ready after 0 s: ")
    return None


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "x-1", "namespace": "n"}, "status": status}


def condition(kind: str, status: str, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "message": message}


SELECTOR = {"selector": {"matchLabels": {"app": "x"}}}
UNSCHEDULED = pod(phase="Pending", conditions=[condition("PodScheduled", "False", "0/2 nodes: no nvidia.com/gpu")])
CRASHING = pod(
    phase="Running",
    containerStatuses=[{"name": "c", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}}],
)
GOOD = {"observedGeneration": 1}


@pytest.mark.parametrize(
    ("kind", "live", "wanted"),
    [
        ("Deployment", {"spec": SELECTOR, "status": {}}, "its controller has not taken it up yet"),
        ("Deployment", {"spec": {**SELECTOR, "replicas": 0}, "status": GOOD}, None),
        ("Deployment", {"spec": SELECTOR, "status": {**GOOD, "updatedReplicas": 1, "availableReplicas": 1}}, None),
        (
            "Deployment",
            {"spec": SELECTOR, "status": {**GOOD, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 2}},
            "1 of 1 replicas are available; pod x-1 is not scheduled: 0/2 nodes: no nvidia.com/gpu",
        ),
        ("StatefulSet", {"spec": SELECTOR, "status": {**GOOD, "readyReplicas": 1, "updatedReplicas": 1}}, None),
        (
            "StatefulSet",
            {"spec": {**SELECTOR, "replicas": 2}, "status": {**GOOD, "readyReplicas": 1}},
            "1 of 2 replicas are ready; pod x-1 is not scheduled: 0/2 nodes: no nvidia.com/gpu",
        ),
        (
            "StatefulSet",
            {
                "spec": {
                    **SELECTOR,
                    "replicas": 2,
                    "updateStrategy": {"rollingUpdate": {"partition": 2}},
                },
                "status": {**GOOD, "readyReplicas": 2},
            },
            None,
        ),
        ("DaemonSet", {"spec": SELECTOR, "status": GOOD}, None),
        (
            "DaemonSet",
            {"spec": SELECTOR, "status": {**GOOD, "desiredNumberScheduled": 2, "numberReady": 1}},
            "1 of 2 pods are ready; pod x-1 is not scheduled: 0/2 nodes: no nvidia.com/gpu",
        ),
    ],
)
def test_workloads(kind: str, live: dict[str, Any], wanted: str | None) -> None:
    assert missing("apps/v1", kind, live, Pod=[UNSCHEDULED]) == wanted


def test_a_crashing_container_is_named() -> None:
    answer = missing("apps/v1", "Deployment", {"spec": SELECTOR, "status": GOOD}, Pod=[CRASHING])
    assert answer == "0 of 1 replicas are available; container c of pod x-1: CrashLoopBackOff: back-off 10s"


@pytest.mark.parametrize(
    ("status", "spec", "wanted"),
    [
        ({"conditions": [condition("Complete", "True")]}, {}, None),
        ({}, {"suspend": True}, None),
        ({"succeeded": 1}, {"completions": 3}, "1 of 3 completions"),
        ({"conditions": [condition("Failed", "True", "BackoffLimitExceeded")]}, {}, "failed: BackoffLimitExceeded"),
    ],
)
def test_jobs(status: dict[str, Any], spec: dict[str, Any], wanted: str | None) -> None:
    assert missing("batch/v1", "Job", {"spec": spec, "status": status}) == wanted


READY_SLICE = {"endpoints": [{"conditions": {"ready": False}}, {"conditions": {"ready": True}}]}


@pytest.mark.parametrize(
    ("spec", "slices", "wanted"),
    [
        ({"selector": {"a": "b"}}, [READY_SLICE], None),
        ({"selector": {"a": "b"}}, [], "no ready pod stands behind its selector; there is no pod yet"),
        ({"selector": {"a": "b"}, "clusterIP": "None"}, [], None),
        ({"selector": {"a": "b"}, "type": "ExternalName"}, [], None),
        ({"type": "LoadBalancer", "selector": {"a": "b"}}, [READY_SLICE], None),
        ({}, [], None),
    ],
)
def test_services(spec: dict[str, Any], slices: list[dict[str, Any]], wanted: str | None) -> None:
    assert missing("v1", "Service", {"spec": spec}, EndpointSlice=slices) == wanted


def storage_class(name: str, mode: str, default: bool = False) -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "volumeBindingMode": mode}


@pytest.mark.parametrize(
    ("spec", "classes", "ready"),
    [
        ({}, [storage_class("late", "WaitForFirstConsumer", default=True)], True),
        ({}, [storage_class("late", "WaitForFirstConsumer")], False),
        ({"storageClassName": "late"}, [storage_class("late", "WaitForFirstConsumer")], True),
        ({"storageClassName": "early"}, [storage_class("early", "Immediate")], False),
    ],
)
def test_claims(spec: dict[str, Any], classes: list[dict[str, Any]], ready: bool) -> None:
    events = [{"message": "old", "lastTimestamp": "1"}, {"message": "no volume plugin", "lastTimestamp": "2"}]
    answer = missing("v1", "PersistentVolumeClaim", {"spec": spec}, StorageClass=classes, Event=events)
    assert answer == (None if ready else "the claim is not bound: no volume plugin")


STATUS = {
    "state": "Ready",
    "count": 3,
    "items": [{"url": "http://x"}],
    "conditions": [condition("Ready", "False", "no")],
}


@pytest.mark.parametrize(
    ("wait_for", "wanted"),
    [
        ("condition=Ready", "condition Ready is False: no"),
        ("condition=Ready=False", None),
        ("condition=Other", "condition Other is not there"),
        ("jsonpath={.status.state}=Ready", None),
        ("jsonpath={.status.state}=Failed", ".status.state is Ready, not Failed"),
        ("jsonpath={.status.count}=3", None),
        ("jsonpath={.status.items[*].url}=http://x", None),
        ("jsonpath={.status.items[0].url}", None),
        ("jsonpath={.status.items[1].url}", ".status.items[1].url is not there"),
        ('["jsonpath={.status.state}=Ready", "condition=Ready"]', "condition Ready is False: no"),
        ("nonsense", "annotated with a pulumi.com/waitFor that cannot be read: nonsense"),
    ],
)
def test_custom_conditions(wait_for: str, wanted: str | None) -> None:
    live = {"metadata": {"annotations": {"pulumi.com/waitFor": wait_for}}, "status": STATUS}
    assert missing("example.com/v1", "Thing", live) == wanted


def test_other_kinds_are_ready_when_they_are_there() -> None:
    assert missing("v1", "ConfigMap", {}) is None
    assert missing("v1", "Namespace", {"status": {"phase": "Terminating"}}) == "its phase is Terminating"
    assert missing("v1", "ConfigMap", {"metadata": {"deletionTimestamp": "now"}}) == "it is being deleted"
    with pytest.raises(StoreError, match="deleted it meanwhile"):
        missing("v1", "ConfigMap", None)


def test_waiting_tells_each_answer_once_and_ends_on_cancel() -> None:
    told: list[str] = []
    cancelled = threading.Event()
    answers = iter(["one", "one", "two"])

    def ask() -> str:
        answer = next(answers)
        if answer == "two":
            cancelled.set()
        return answer

    with pytest.raises(StillWaitingError, match="cancelled while waiting: two"):
        Waiting(600, cancelled, told.append).until(ask)
    assert told == ["one", "two"]
