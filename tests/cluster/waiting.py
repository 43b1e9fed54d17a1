"""Waiting for what controllers do, without a time limit: a component that ends fails the test."""

import time
from collections.abc import Callable
from typing import Any

import httpx

from ome_iac.rehearsal.control_plane import ControlPlane


def wait_until(condition: Callable[[], bool], plane: ControlPlane) -> None:
    while not condition():
        assert plane.status().running, plane.deaths()
        time.sleep(0.05)


def pods_of(client: httpx.Client, namespace: str) -> list[dict[str, Any]]:
    pods: list[dict[str, Any]] = client.get(f"/api/v1/namespaces/{namespace}/pods").raise_for_status().json()["items"]
    return pods


def pods_by_phase(client: httpx.Client, namespace: str) -> dict[str, list[dict[str, Any]]]:
    phases: dict[str, list[dict[str, Any]]] = {}
    for pod in pods_of(client, namespace):
        phases.setdefault(pod["status"]["phase"], []).append(pod)
    return phases


def refusals(pod: dict[str, Any]) -> str:
    return " ".join(condition.get("message", "") for condition in pod["status"].get("conditions", []))
