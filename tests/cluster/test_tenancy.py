"""Tenants on a real API server: who may do what (by its own authorizer), what it admits, and Kueue's objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ome_iac.manifests import service_objects
from ome_iac.manifests.kueue import cluster_objects, local_queues
from ome_iac.manifests.mesh import mesh_objects
from ome_iac.manifests.tenancy import namespace_objects
from ome_iac.planning.admission.plan import AdmissionPlan
from ome_iac.planning.admission.planner import plan_admission
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.planning.tenancy.plan import TenantPlan
from ome_iac.planning.tenancy.planner import plan_tenants
from ome_iac.rehearsal.control_plane import ControlPlane
from tests.unit.facts import stack
from tests.unit.test_reservations import BLOCKS, CLUSTER, chat, managed, oci, reservation, tenant
from tests.unit.test_tenancy import FACTS, MODELS

pytestmark = pytest.mark.cluster

KUEUE = Path(__file__).parents[3] / "shared" / "data" / "crds" / "kueue"
PATHS = {
    "Deployment": "apis/apps/v1/{}deployments",
    "Namespace": "api/v1/namespaces",
    "ResourceQuota": "api/v1/{}resourcequotas",
    "LimitRange": "api/v1/{}limitranges",
    "Role": "apis/rbac.authorization.k8s.io/v1/{}roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/{}rolebindings",
    "NetworkPolicy": "apis/networking.k8s.io/v1/{}networkpolicies",
    "ServiceAccount": "api/v1/{}serviceaccounts",
    "PeerAuthentication": "apis/security.istio.io/v1/{}peerauthentications",
    "AuthorizationPolicy": "apis/security.istio.io/v1/{}authorizationpolicies",
    "LocalQueue": "apis/kueue.x-k8s.io/v1beta2/{}localqueues",
    "ClusterQueue": "apis/kueue.x-k8s.io/v1beta2/clusterqueues",
    "ResourceFlavor": "apis/kueue.x-k8s.io/v1beta2/resourceflavors",
    "Topology": "apis/kueue.x-k8s.io/v1beta2/topologies",
    "WorkloadPriorityClass": "apis/kueue.x-k8s.io/v1beta2/workloadpriorityclasses",
}
PEOPLE = {role: [f"ocid1.group.oc1..blue-{role}"] for role in ("admin", "deployer", "viewer")}
RED = {role: [f"ocid1.group.oc1..red-{role}"] for role in ("admin", "deployer", "viewer")}


class Two:
    """Two tenants and a reservation, as planned."""

    def __init__(self, folder: Path) -> None:
        placement = {"hpcIslandId": "island", "blocks": BLOCKS}
        loaded = stack(
            folder,
            CLUSTER,
            *MODELS,
            managed("h100", "BM.GPU.H100.8", 4),
            reservation(
                "kept",
                ["h100"],
                oci=oci(4, placement=placement),
                priorities=[{"name": "tenants-high", "value": 100}],
            ),
            tenant("tenant-blue", "tenant-blue", "tenant-blue-dev", quota={"h100": 8}, people=PEOPLE),
            tenant("tenant-red", "tenant-red", quota={"h100": 8}, people=RED),
            chat("chat", "tenant-blue"),
        )
        plan, problems = plan_stack(loaded, FACTS)
        assert plan, problems
        found: list[Any] = []
        admission = plan_admission(loaded, plan.pools, plan.services, FACTS, found)
        tenants = plan_tenants(loaded, plan.pools, plan.services, found)
        assert found == []
        assert admission
        self.plan: Plan = plan
        self.admission: AdmissionPlan = admission
        self.tenants: tuple[TenantPlan, ...] = tenants

    def objects(self) -> Iterator[dict[str, Any]]:
        for owner in self.tenants:
            for space in owner.namespaces:
                yield from namespace_objects(owner, space)


def address(item: dict[str, Any]) -> str:
    namespace = item["metadata"].get("namespace")
    return "/" + PATHS[item["kind"]].format(f"namespaces/{namespace}/" if namespace else "")


def apply(client: httpx.Client, item: dict[str, Any]) -> httpx.Response:
    """Server-side apply: the field manager is ours, unknown fields are errors."""
    query = {"fieldManager": "test", "fieldValidation": "Strict", "force": "true"}
    return client.patch(
        f"{address(item)}/{item['metadata']['name']}",
        params=query,
        content=yaml.safe_dump(item),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )


@pytest.fixture(scope="module")
def client(control_plane: ControlPlane) -> Iterator[httpx.Client]:
    with control_plane.client() as opened:
        yield opened


@pytest.fixture(scope="module")
def two(client: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    made = Two(tmp_path_factory.mktemp("two"))
    for item in made.objects():
        response = apply(client, item)
        assert response.is_success, (item["kind"], response.text)
    yield made
    for owner in made.tenants:
        for space in owner.namespaces:
            client.delete(f"/api/v1/namespaces/{space.name}").raise_for_status()


def may(client: httpx.Client, group: str, verb: str, what: str, namespace: str | None) -> bool:
    """What `kubectl auth can-i --as-group` asks: a SubjectAccessReview, answered by the server's authorizer."""
    resource, _, api_group = what.partition(".")
    resource, _, sub = resource.partition("/")
    attributes = {"verb": verb, "group": api_group, "resource": resource, "subresource": sub}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "ocid1.user.oc1..somebody",
            "groups": [group, "system:authenticated"],
            "resourceAttributes": {**attributes, "namespace": namespace or ""},
        },
    }
    answer = client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=body).raise_for_status().json()
    return bool(answer["status"]["allowed"])


LEAST = {
    ("get", "pods"): "viewer",
    ("list", "deployments.apps"): "viewer",
    ("watch", "leaderworkersets.leaderworkerset.x-k8s.io"): "viewer",
    ("list", "networkpolicies.networking.k8s.io"): "viewer",
    ("list", "localqueues.kueue.x-k8s.io"): "viewer",
    ("get", "resourcequotas"): "viewer",
    ("create", "deployments.apps"): "deployer",
    ("patch", "services"): "deployer",
    ("delete", "jobs.batch"): "deployer",
    ("create", "httproutes.gateway.networking.k8s.io"): "deployer",
    ("get", "pods/log"): "deployer",
    ("get", "secrets"): "admin",
    ("create", "secrets"): "admin",
    ("create", "rolebindings.rbac.authorization.k8s.io"): "admin",
    ("create", "pods/exec"): "admin",
    ("delete", "networkpolicies.networking.k8s.io"): None,
    ("patch", "authorizationpolicies.security.istio.io"): None,
    ("patch", "resourcequotas"): None,
    ("create", "localqueues.kueue.x-k8s.io"): None,
    ("create", "roles.rbac.authorization.k8s.io"): None,
    ("escalate", "roles.rbac.authorization.k8s.io"): None,
    ("impersonate", "serviceaccounts"): None,
    ("create", "serviceaccounts/token"): None,
    ("patch", "namespaces"): None,
}
"""Verb and resource, and the least of the three roles that may; None: nobody of a tenant."""
ROLES = ("viewer", "deployer", "admin")


@pytest.mark.parametrize(("act", "least"), LEAST.items(), ids=["-".join(act) for act in LEAST])
def test_each_role_may_what_it_must_and_no_more(
    client: httpx.Client, two: Two, act: tuple[str, str], least: str | None
) -> None:
    verb, what = act
    for role in ROLES:
        expected = least is not None and ROLES.index(role) >= ROLES.index(least)
        for namespace in ("tenant-blue", "tenant-blue-dev"):
            assert may(client, PEOPLE[role][0], verb, what, namespace) is expected, (role, namespace)


@pytest.mark.parametrize("what", sorted({what for _, what in LEAST}))
def test_nobody_may_anything_in_another_tenants_namespace(client: httpx.Client, two: Two, what: str) -> None:
    for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
        for role in ROLES:
            assert not may(client, PEOPLE[role][0], verb, what, "tenant-red")
            assert not may(client, RED[role][0], verb, what, "tenant-blue")
            assert not may(client, PEOPLE[role][0], verb, what, "kube-system")
            assert not may(client, PEOPLE[role][0], verb, what, None), "in all namespaces"


def test_a_service_account_of_a_service_may_nothing(client: httpx.Client, two: Two) -> None:
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": "system:serviceaccount:tenant-blue:chat",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:tenant-blue", "system:authenticated"],
            "resourceAttributes": {"verb": "get", "resource": "secrets", "namespace": "tenant-blue"},
        },
    }
    answer = client.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", json=body).raise_for_status().json()
    assert not answer["status"]["allowed"]


def pod(**container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "example.test/image", **container}]}
    return {"metadata": {"generateName": "test-"}, "spec": spec}


def dry_run(client: httpx.Client, namespace: str, body: dict[str, Any]) -> httpx.Response:
    return client.post(f"/api/v1/namespaces/{namespace}/pods", params={"dryRun": "All"}, json=body)


HARMLESS = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_pods_beyond_the_namespaces_level_are_refused(client: httpx.Client, two: Two) -> None:
    assert two.tenants[0].namespaces[0].pod_security == "restricted"
    refused = dry_run(client, "tenant-blue", pod(securityContext={"privileged": True}))
    assert refused.status_code == 403
    assert 'violates PodSecurity "restricted' in refused.json()["message"]


def test_the_pods_that_we_render_are_admitted(client: httpx.Client, two: Two) -> None:
    [service] = two.plan.services
    [deployment] = [item for item in service_objects(two.plan, service) if item["kind"] == "Deployment"]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "chat", "namespace": "tenant-blue"}}
    assert apply(client, account).is_success
    response = dry_run(client, "tenant-blue", {**deployment["spec"]["template"], "metadata": {"generateName": "test-"}})
    assert response.is_success, response.text


def test_more_gpus_than_the_quota_and_what_may_be_borrowed_are_refused(client: httpx.Client, two: Two) -> None:
    limits = {"nvidia.com/gpu": "33", "memory": "1Gi"}
    refused = dry_run(client, "tenant-blue", pod(securityContext=HARMLESS, resources={"limits": limits}))
    assert refused.status_code == 403
    assert "exceeded quota: tenant" in refused.text


def test_a_pod_that_asks_for_nothing_is_given_little(client: httpx.Client, two: Two) -> None:
    made = dry_run(client, "tenant-blue-dev", pod(securityContext=HARMLESS))
    assert made.is_success, made.text
    assert made.json()["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"memory": "1Gi"},
    }


def test_applying_twice_changes_nothing(client: httpx.Client, two: Two) -> None:
    for item in two.objects():
        before = client.get(f"{address(item)}/{item['metadata']['name']}").raise_for_status().json()
        assert apply(client, item).json()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_istios_definitions_take_our_policies(client: httpx.Client, two: Two) -> None:
    blue = two.tenants[0].model_copy(update={"mesh": True})
    objects = mesh_objects(blue, blue.namespaces[0])
    assert [item["kind"] for item in objects] == ["PeerAuthentication", *["AuthorizationPolicy"] * 2]
    for item in objects:
        response = apply(client, item)
        assert response.is_success, response.text
    unknown = {**objects[0], "spec": {"mtls": {"mode": "SOMETIMES"}}}
    assert apply(client, unknown).status_code == 422


def test_kueues_own_validation_takes_our_queues(control_plane: ControlPlane, client: httpx.Client, two: Two) -> None:
    """Kueue's CustomResourceDefinitions carry its rules (CEL): the API server evaluates them."""
    if not KUEUE.is_dir():
        pytest.skip("../shared/data/crds/kueue is absent")
    names = ("topologies", "resourceflavors", "clusterqueues", "localqueues", "workloadpriorityclasses")
    control_plane.add_crds(
        yaml.load((KUEUE / f"kueue.x-k8s.io_{name}.yaml").read_text(), Loader=yaml.CSafeLoader) for name in names
    )
    objects = [*cluster_objects(two.admission), *local_queues(two.admission, "tenant-blue")]
    assert {item["kind"] for item in objects} == {
        "Topology",
        "ResourceFlavor",
        "WorkloadPriorityClass",
        "ClusterQueue",
        "LocalQueue",
    }
    try:
        for item in objects:
            response = apply(client, item)
            assert response.is_success, (item["kind"], response.text)
        queue = next(item for item in objects if item["kind"] == "ClusterQueue")
        alone = {key: value for key, value in queue["spec"].items() if key != "cohortName"}
        for group in alone["resourceGroups"]:
            group["flavors"][0]["resources"][0]["borrowingLimit"] = "1"
        refused = apply(client, {**queue, "metadata": {"name": "alone"}, "spec": alone})
        assert refused.status_code == 422
        assert "borrowingLimit must be nil when cohort is empty" in refused.text
    finally:
        for item in reversed(objects):
            client.delete(f"{address(item)}/{item['metadata']['name']}")
