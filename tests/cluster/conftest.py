"""A client and a namespace of one's own in the session's control plane."""

from collections.abc import Iterator

import httpx
import pytest

from ome_iac.rehearsal.control_plane import ControlPlane
from tests.cluster.waiting import pods_of, wait_until


@pytest.fixture
def client(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    """As administrator. Every node is removed afterwards."""
    with control_plane.client() as opened:
        yield opened
        opened.delete("/api/v1/nodes").raise_for_status()


@pytest.fixture
def namespace(client: httpx.Client, control_plane: ControlPlane) -> Iterator[str]:
    """Ready for pods; removed afterwards with all that is in it."""
    body = {"metadata": {"generateName": "test-"}}
    name: str = client.post("/api/v1/namespaces", json=body).raise_for_status().json()["metadata"]["name"]
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(lambda: client.get(account).is_success, control_plane)
    yield name
    client.delete(f"/api/v1/namespaces/{name}").raise_for_status()
    wait_until(lambda: not pods_of(client, name), control_plane)
