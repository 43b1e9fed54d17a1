"""Every object of every routed and disaggregated service, held against the real API server's schemas."""

from __future__ import annotations

import httpx
import pytest

from ome_iac.manifests import service_objects
from ome_iac.rehearsal.control_plane import ControlPlane
from tests.property.test_selectors import KINDS, planned

pytestmark = pytest.mark.cluster


def path_of(client: httpx.Client, version: str, kind: str, namespace: str) -> str:
    """Where objects of a kind are created, as the server itself says."""
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    resources = client.get(root).raise_for_status().json()["resources"]
    plural = next(each["name"] for each in resources if each["kind"] == kind and "/" not in each["name"])
    return f"{root}/namespaces/{namespace}/{plural}"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_server_takes_every_object_as_it_stands(control_plane: ControlPlane, kind: str) -> None:
    plan = planned()
    [service] = [each for each in plan.services if each.name == kind]
    strict = {"fieldValidation": "Strict", "dryRun": "All"}
    with control_plane.client() as client:
        for made in service_objects(plan, service):
            path = path_of(client, made["apiVersion"], made["kind"], service.namespace)
            answer = client.post(path, params=strict, json=made)
            assert answer.is_success, (made["kind"], answer.json()["message"])
            assert "Warning" not in answer.headers, (made["kind"], answer.headers["Warning"])
