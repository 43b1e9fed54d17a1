"""Tenants: what is refused, what they are given, and what it takes for their services to be admitted."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from ome_iac.manifests.mesh import mesh_objects, sidecar_label
from ome_iac.manifests.tenancy import namespace_objects, role_rules
from ome_iac.planning.dedicated import allowed_pools
from ome_iac.planning.iam import parse
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.planning.serving.decisions import Fabric
from ome_iac.planning.tenancy.plan import TenantPlan
from ome_iac.planning.tenancy.planner import check_tenants, plan_tenants
from ome_iac.problems import Problem
from ome_iac.spec.services import InferenceService
from ome_iac.spec.stack import load_stack
from tests.unit.facts import decoder, model, pool, stack, write
from tests.unit.test_reservations import CLUSTER, SMALL, chat, tenant

LOCAL = "local:///mnt/model"
FACTS = {SMALL: decoder(SMALL), LOCAL: decoder(LOCAL)}
MODELS = (model("small", SMALL), model("local", LOCAL))
H100 = pool("h100", "BM.GPU.H100.8", 2)


ISTIO = {
    "apiVersion": "ome-iac/v1",
    "kind": "Platform",
    "metadata": {"name": "platform"},
    "spec": {"controllers": ["istio", "kueue", "prometheus-operator", "gateway-api"]},
}
GROUPS = {"admin": ["ocid1.group.oc1..admins"], "viewer": ["ocid1.group.oc1..readers"]}


def decide(folder: Path, *documents: dict[str, Any]) -> tuple[Plan | None, tuple[TenantPlan, ...], list[Problem]]:
    plan, problems = plan_stack(stack(folder, CLUSTER, *MODELS, *documents), FACTS)
    return plan, plan.tenants if plan else (), problems


def one(folder: Path, *documents: dict[str, Any]) -> TenantPlan:
    _, tenants, problems = decide(folder, *documents)
    assert problems == []
    return tenants[0]


def objects(plan: TenantPlan, kind: str) -> list[dict[str, Any]]:
    return [item for space in plan.namespaces for item in namespace_objects(plan, space) if item["kind"] == kind]


def test_all_that_is_wrong_with_tenants_is_said_together(tmp_path: Path) -> None:
    loaded = stack(
        tmp_path,
        CLUSTER,
        *MODELS,
        H100,
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue"}},
        tenant("blue", "blue", "shared", quota={"h100": 4}, ociQuota=["no compute for them"]),
        tenant("red", "shared", "kube-system", "red", "red"),
        tenant(
            "green",
            "green",
            quota={"h100": 1},
            compartment={"parentId": "ocid1.compartment.oc1..p"},
            compartmentId="ocid1.compartment.oc1..c",
        ),
    )
    found = {f"{problem.path}: {problem.what}" for problem in check_tenants(loaded)}
    assert found == {
        "Namespace/blue metadata.name: namespace blue is Tenant/blue's, which makes it",
        'Tenant/blue spec.ociQuota.0: "no compute for them" is no quota policy',
        "Tenant/blue spec.ociQuota: OCI keeps quotas in the tenancy, and the cluster does not say which",
        "Tenant/green spec.compartmentId: stands beside spec.compartment",
        "Tenant/red spec.quota: is missing",
        "Tenant/red spec.namespaces.0: namespace shared is Tenant/blue's already",
        "Tenant/red spec.namespaces.1: namespace kube-system is the cluster's own",
        "Tenant/red spec.namespaces.3: red is there twice",
    }


def test_a_misspelt_field_and_a_wrong_backend_are_said_with_their_lines(tmp_path: Path) -> None:
    wrong = tenant("blue", "blue", quota={"h100": 4}, peoples={})
    cluster = {
        "apiVersion": "ome-iac/v1",
        "kind": "DedicatedAICluster",
        "metadata": {"name": "d"},
        "spec": {"backend": "aws"},
    }
    write(tmp_path, wrong, cluster)
    _, problems = load_stack("test", tmp_path)
    assert sorted((problem.path, problem.what) for problem in problems) == [
        ("DedicatedAICluster/d spec", "backend is aws"),
        ("Tenant/blue spec.peoples", "is not a known field"),
    ]
    assert any("people" in problem.remedy for problem in problems)


def test_a_service_stays_on_the_pools_of_its_tenant(tmp_path: Path) -> None:
    a10 = pool("a10", "VM.GPU.A10.1", 1)
    documents = (H100, a10, tenant("blue", "blue", quota={"h100": 4}), chat("chat", "blue"))
    loaded = stack(tmp_path, CLUSTER, *MODELS, *documents)
    assert allowed_pools(loaded, "blue") == {"h100"}
    assert allowed_pools(loaded, "default") == {"a10", "h100"}
    plan, _ = plan_stack(loaded, FACTS)
    assert plan
    moved = [
        service.model_copy(update={"roles": tuple(role.model_copy(update={"pool": "a10"}) for role in service.roles)})
        for service in plan.services
    ]
    problems: list[Problem] = []
    plan_tenants(loaded, plan.pools, moved, problems)
    assert [problem.what for problem in problems] == ["blue/chat is placed on a10, of which blue has no quota"]


def test_the_namespace_is_as_strict_as_its_services_allow(tmp_path: Path) -> None:
    plan = one(tmp_path, H100, tenant("blue", "blue", quota={"h100": 4}), chat("chat", "blue"))
    [space] = plan.namespaces
    assert space.pod_security == "restricted"
    [made] = objects(plan, "Namespace")
    assert made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_weights_on_the_node_take_a_privileged_namespace_and_it_is_said(tmp_path: Path) -> None:
    reading = chat("chat", "blue")
    reading["spec"]["model"]["name"] = "local"
    documents = (H100, tenant("blue", "blue", quota={"h100": 4}), reading)
    plan = one(tmp_path, *documents)
    [space] = plan.namespaces
    assert (space.pod_security, space.pod_security_why) == (
        "privileged",
        "chat reads weights from a folder of the node",
    )
    assert any("who may deploy there can reach the nodes" in note for note in plan.notes)

    documents[1]["spec"]["podSecurity"] = "baseline"
    _, _, problems = decide(tmp_path / "strict", *documents)
    [problem] = problems
    assert problem.path == "Tenant/blue spec.podSecurity"
    assert "chat reads weights" in problem.what
    assert problem.remedy == "privileged"


def test_what_holds_the_fences_up_is_said(tmp_path: Path) -> None:
    """On OKE neither CNI enforces NetworkPolicies by itself; pods on the node's network are beyond them."""
    documents = (H100, tenant("blue", "blue", quota={"h100": 4}), chat("chat", "blue"))
    assert any("Calico" in note for note in one(tmp_path, *documents).notes)
    loaded = stack(tmp_path / "host", CLUSTER, *MODELS, *documents)
    plan, _ = plan_stack(loaded, FACTS)
    assert plan
    fabric = Fabric(mode="rdma-host", devices=0, network="", environment=(), block_label="block")
    [service] = plan.services
    roles = tuple(role.model_copy(update={"fabric": fabric}) for role in service.roles)
    [owner] = plan_tenants(loaded, plan.pools, [service.model_copy(update={"roles": roles})], [])
    assert "the pods of chat are on their nodes' network, where no NetworkPolicy holds them" in owner.notes
    assert owner.namespaces[0].pod_security == "privileged"


def test_limits_that_keep_a_service_out_are_refused_with_the_number(tmp_path: Path) -> None:
    documents = (H100, tenant("blue", "blue", quota={"h100": 4}, limits={"cpus": 2, "pods": 50}), chat("chat", "blue"))
    _, _, problems = decide(tmp_path, *documents)
    [problem] = problems
    assert problem.path == "Tenant/blue spec.limits.cpus"
    assert "2 CPUs are less than the" in problem.what


def test_the_quota_of_a_namespace_lets_its_services_run(tmp_path: Path) -> None:
    blue = tenant("blue", "blue", quota={"h100": 4}, dedicated=True)
    plan = one(tmp_path, H100, blue, chat("chat", "blue", engine={"minReplicas": 2}))
    [quota] = objects(plan, "ResourceQuota")
    hard = quota["spec"]["hard"]
    assert hard["requests.nvidia.com/gpu"] == "4"
    assert int(hard["requests.cpu"]) >= 2 * 23
    [limits] = objects(plan, "LimitRange")
    [default] = limits["spec"]["limits"]
    assert "cpu" not in default["default"], "a default CPU limit would throttle the engine"


def test_a_queue_that_may_borrow_is_not_stopped_by_the_namespace(tmp_path: Path) -> None:
    blue = tenant("blue", "blue")
    for borrow, gpus in ((None, "16"), (3, "7"), (0, "4")):
        blue["spec"]["quota"] = [{"pool": "h100", "gpus": 4, **({} if borrow is None else {"borrow": borrow})}]
        plan = one(tmp_path / str(borrow), H100, blue)
        [quota] = objects(plan, "ResourceQuota")
        assert quota["spec"]["hard"]["requests.nvidia.com/gpu"] == gpus


def test_roles_grow_and_none_opens_the_fences() -> None:
    rules = {role: role_rules(role) for role in ("viewer", "deployer", "admin")}
    assert all(rule in rules["deployer"] for rule in rules["viewer"])
    assert all(rule in rules["admin"] for rule in rules["deployer"])
    fences = {"networkpolicies", "resourcequotas", "limitranges", "localqueues", "authorizationpolicies"}
    for role in rules.values():
        for rule in role:
            if fences & set(rule["resources"]):
                assert set(rule["verbs"]) == {"get", "list", "watch"}
            assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_groups_are_bound_by_their_ocid(tmp_path: Path) -> None:
    plan = one(tmp_path, H100, tenant("blue", "blue", "blue-dev", quota={"h100": 4}, people=GROUPS))
    bindings = objects(plan, "RoleBinding")
    assert [(item["metadata"]["namespace"], item["roleRef"]["name"]) for item in bindings] == [
        ("blue", "tenant-viewer"),
        ("blue", "tenant-admin"),
        ("blue-dev", "tenant-viewer"),
        ("blue-dev", "tenant-admin"),
    ]
    assert bindings[0]["subjects"][0]["name"] == "ocid1.group.oc1..readers"


def test_iam_says_who_reaches_the_cluster(tmp_path: Path) -> None:
    plan = one(tmp_path, H100, tenant("blue", "blue", quota={"h100": 4}, people=GROUPS))
    [policy] = plan.policies
    assert [str(parse(text)) for text in policy.statements] == list(policy.statements)
    assert [parse(text).subject for text in policy.statements] == [
        "group id ocid1.group.oc1..admins",
        "group id ocid1.group.oc1..readers",
    ]
    assert policy.compartment_id == "ocid1.compartment.oc1..c"


def test_each_service_account_reads_its_own_models_and_no_other(tmp_path: Path) -> None:
    """Shown by what the statements allow, each service account asking for each prefix."""
    blue = tenant("blue", "blue", quota={"h100": 4}, modelsCompartmentId="ocid1.compartment.oc1..m")
    red = tenant("red", "red", quota={"h100": 4})
    stored = {name: f"oci://n/space/b/models/o/{name}/weights" for name in ("one", "two")}
    services = {("blue", "a"): "one", ("blue", "b"): "two", ("red", "a"): "two"}
    loaded = stack(
        tmp_path,
        CLUSTER,
        *MODELS,
        *(model(name, uri) for name, uri in stored.items()),
        H100,
        blue,
        red,
        *(chat(name, space) for space, name in services),
    )
    plan, _ = plan_stack(loaded, FACTS)
    assert plan
    for document in loaded.of(InferenceService):
        object.__setattr__(document.spec.model, "name", services[document.namespace, document.name])
    problems: list[Problem] = []
    tenants = plan_tenants(loaded, plan.pools, plan.services, problems)
    assert problems == []
    statements = [(p.compartment_id, parse(text)) for t in tenants for p in t.policies for text in p.statements]
    assert len(statements) == 3
    for (space, account), (name, _) in product(services, stored.items()):
        request = {
            "request.principal.type": "workload",
            "request.principal.namespace": space,
            "request.principal.service_account": account,
            "request.principal.cluster_id": "ocid1.cluster.oc1.iad.c",
            "target.bucket.name": "models",
            "target.object.name": f"{name}/weights/model.safetensors",
        }
        where = "compartment id " + ("ocid1.compartment.oc1..m" if space == "blue" else "ocid1.compartment.oc1..c")
        allowed = any(statement.allows("read", "objects", where, request) for _, statement in statements)
        assert allowed is (services[space, account] == name), (space, account, name)
        assert not any(statement.allows("use", "objects", where, request) for _, statement in statements)


def test_without_istio_there_is_no_mesh_and_it_is_said(tmp_path: Path) -> None:
    plan = one(tmp_path, H100, tenant("blue", "blue", quota={"h100": 4}))
    assert mesh_objects(plan, plan.namespaces[0]) == []
    assert any("no Istio" in note for note in plan.notes)
    [made] = objects(plan, "Namespace")
    assert "istio-injection" not in made["metadata"]["labels"]


def test_with_istio_tls_is_mutual_and_callers_are_named(tmp_path: Path) -> None:
    plan = one(tmp_path, H100, ISTIO, tenant("blue", "blue", quota={"h100": 4}), chat("chat", "blue"))
    found = {item["metadata"]["name"]: item for item in mesh_objects(plan, plan.namespaces[0])}
    assert found["default"]["spec"] == {"mtls": {"mode": "STRICT"}}
    assert found["default-deny"]["spec"] == {}
    assert sidecar_label(plan.namespaces[0], {"app.kubernetes.io/name": "chat"}) == {}


def test_the_plan_is_plain_data_and_does_not_depend_on_order(tmp_path: Path) -> None:
    documents = [H100, ISTIO, tenant("blue", "blue", "dev", quota={"h100": 4}, people=GROUPS), chat("chat", "blue")]
    plan = one(tmp_path / "a", *documents)
    assert TenantPlan.model_validate_json(plan.model_dump_json(by_alias=True)) == plan
    documents[2]["spec"]["namespaces"].reverse()
    assert one(tmp_path / "b", *reversed(documents)) == plan
    assert yaml.safe_dump(objects(plan, "NetworkPolicy")) == yaml.safe_dump(objects(plan, "NetworkPolicy"))


@pytest.mark.parametrize("prefix", ["it's", "a,b", "a*"])
def test_a_prefix_that_no_policy_can_tell_is_refused(tmp_path: Path, prefix: str) -> None:
    uri = f"oci://n/ns/b/models/o/{prefix}"
    loaded = stack(
        tmp_path,
        CLUSTER,
        *MODELS,
        model("stored", uri),
        H100,
        tenant("blue", "blue", quota={"h100": 4}),
        chat("chat", "blue"),
    )
    plan, _ = plan_stack(loaded, FACTS)
    assert plan
    [document] = [item for item in loaded.documents if item.label == "InferenceService/chat"]
    object.__setattr__(document.spec.model, "name", "stored")  # type: ignore[attr-defined]
    problems: list[Problem] = []
    plan_tenants(loaded, plan.pools, plan.services, problems)
    assert len(problems) == 1
    assert "cannot be told in an IAM policy" in problems[0].what
