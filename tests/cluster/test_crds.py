"""The API server knows the kinds that stacks use, from the projects' own definitions, and is strict about them."""

import copy
from pathlib import Path
from typing import Any

import httpx
import pytest

from ome_iac.problems import ProblemsError
from ome_iac.rehearsal import crds
from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.module_manifests import ensure

pytestmark = pytest.mark.cluster

KUEUE = Path("../shared/data/crds/kueue")
POD_TEMPLATE: dict[str, Any] = {"spec": {"containers": [{"name": "c", "image": "example.test/c"}]}}
JOB_TEMPLATE = {"spec": {"template": {"spec": {**POD_TEMPLATE["spec"], "restartPolicy": "Never"}}}}
PARENTS = [{"name": "gateway"}]
BACKENDS = [{"name": "backend", "port": 80}]
ISSUER: dict[str, Any] = {"selfSigned": {}}
RUNTIME = {
    "template": {"spec": {"replicatedJobs": [{"name": "node", "template": JOB_TEMPLATE}]}},
    "mlPolicy": {"numNodes": 2},
}

# Of each kind the least that is valid: group/version, kind, and the object beside its metadata.
MINIMAL: list[tuple[str, str, dict[str, Any]]] = [
    (
        "leaderworkerset.x-k8s.io/v1",
        "LeaderWorkerSet",
        {"spec": {"leaderWorkerTemplate": {"size": 2, "workerTemplate": POD_TEMPLATE}}},
    ),
    ("jobset.x-k8s.io/v1alpha2", "JobSet", {"spec": {"replicatedJobs": [{"name": "j", "template": JOB_TEMPLATE}]}}),
    ("gateway.networking.k8s.io/v1", "GatewayClass", {"spec": {"controllerName": "example.test/controller"}}),
    (
        "gateway.networking.k8s.io/v1",
        "Gateway",
        {
            "spec": {
                "gatewayClassName": "class",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
            }
        },
    ),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", {"spec": {"parentRefs": PARENTS}}),
    ("gateway.networking.k8s.io/v1", "GRPCRoute", {"spec": {"parentRefs": PARENTS}}),
    ("gateway.networking.k8s.io/v1alpha2", "TCPRoute", {"spec": {"rules": [{"backendRefs": BACKENDS}]}}),
    (
        "gateway.networking.k8s.io/v1alpha3",
        "TLSRoute",
        {"spec": {"hostnames": ["a.example.test"], "rules": [{"backendRefs": BACKENDS}]}},
    ),
    (
        "gateway.networking.k8s.io/v1beta1",
        "ReferenceGrant",
        {
            "spec": {
                "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "a"}],
                "to": [{"group": "", "kind": "Service"}],
            }
        },
    ),
    (
        "gateway.networking.k8s.io/v1",
        "BackendTLSPolicy",
        {
            "spec": {
                "targetRefs": [{"group": "", "kind": "Service", "name": "s"}],
                "validation": {"hostname": "a.example.test", "wellKnownCACertificates": "System"},
            }
        },
    ),
    (
        "inference.networking.k8s.io/v1",
        "InferencePool",
        {
            "spec": {
                "selector": {"matchLabels": {"app": "engine"}},
                "targetPorts": [{"number": 8000}],
                "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
            }
        },
    ),
    (
        "inference.networking.x-k8s.io/v1alpha2",
        "InferenceObjective",
        {"spec": {"priority": 1, "poolRef": {"group": "inference.networking.k8s.io", "name": "pool"}}},
    ),
    (
        "keda.sh/v1alpha1",
        "ScaledObject",
        {"spec": {"scaleTargetRef": {"name": "engine"}, "triggers": [{"type": "cron", "metadata": {"a": "b"}}]}},
    ),
    (
        "keda.sh/v1alpha1",
        "ScaledJob",
        {
            "spec": {
                "jobTargetRef": {"template": JOB_TEMPLATE["spec"]["template"]},
                "triggers": [{"type": "cron", "metadata": {"a": "b"}}],
            }
        },
    ),
    ("keda.sh/v1alpha1", "TriggerAuthentication", {"spec": {"podIdentity": {"provider": "none"}}}),
    ("keda.sh/v1alpha1", "ClusterTriggerAuthentication", {"spec": {"podIdentity": {"provider": "none"}}}),
    ("serving.knative.dev/v1", "Service", {"spec": {"template": POD_TEMPLATE}}),
    ("serving.knative.dev/v1", "Configuration", {"spec": {"template": POD_TEMPLATE}}),
    ("serving.knative.dev/v1", "Revision", POD_TEMPLATE),
    (
        "serving.knative.dev/v1",
        "Route",
        {"spec": {"traffic": [{"configurationName": "engine", "percent": 100}]}},
    ),
    (
        "serving.knative.dev/v1beta1",
        "DomainMapping",
        {"spec": {"ref": {"kind": "Service", "name": "s", "apiVersion": "serving.knative.dev/v1"}}},
    ),
    (
        "trainer.kubeflow.org/v1alpha1",
        "TrainJob",
        {"spec": {"runtimeRef": {"name": "torch-distributed"}}},
    ),
    ("trainer.kubeflow.org/v1alpha1", "TrainingRuntime", {"spec": RUNTIME}),
    ("trainer.kubeflow.org/v1alpha1", "ClusterTrainingRuntime", {"spec": RUNTIME}),
    (
        "monitoring.coreos.com/v1",
        "PodMonitor",
        {"spec": {"selector": {"matchLabels": {"app": "engine"}}, "podMetricsEndpoints": [{"port": "http"}]}},
    ),
    (
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        {"spec": {"selector": {"matchLabels": {"app": "engine"}}, "endpoints": [{"port": "http"}]}},
    ),
    (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        {"spec": {"groups": [{"name": "g", "rules": [{"alert": "Down", "expr": "up == 0"}]}]}},
    ),
    (
        "networking.istio.io/v1",
        "VirtualService",
        {
            "spec": {
                "hosts": ["a.example.test"],
                "http": [{"route": [{"destination": {"host": "engine"}}]}],
            }
        },
    ),
    ("networking.istio.io/v1", "DestinationRule", {"spec": {"host": "engine"}}),
    (
        "networking.istio.io/v1",
        "Gateway",
        {"spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}},
    ),
    (
        "networking.istio.io/v1",
        "ServiceEntry",
        {"spec": {"hosts": ["a.example.test"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}]}},
    ),
    ("security.istio.io/v1", "PeerAuthentication", {"spec": {"mtls": {"mode": "STRICT"}}}),
    ("security.istio.io/v1", "AuthorizationPolicy", {"spec": {"action": "ALLOW"}}),
    (
        "security.istio.io/v1",
        "RequestAuthentication",
        {"spec": {"jwtRules": [{"issuer": "https://issuer.example.test"}]}},
    ),
    (
        "cert-manager.io/v1",
        "Certificate",
        {"spec": {"secretName": "tls", "dnsNames": ["a.example.test"], "issuerRef": {"name": "issuer"}}},
    ),
    ("cert-manager.io/v1", "Issuer", {"spec": ISSUER}),
    ("cert-manager.io/v1", "ClusterIssuer", {"spec": ISSUER}),
]


def resources(client: httpx.Client) -> dict[tuple[str, str], tuple[str, bool]]:
    """By group/version and kind: the plural, and whether it is in namespaces; of what `crds` defines."""
    found = {}
    for definition in crds.definitions():
        spec = definition["spec"]
        for version in spec["versions"]:
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            found[key] = (spec["names"]["plural"], spec["scope"] == "Namespaced")
    return found


def post(
    client: httpx.Client, api_version: str, kind: str, content: dict[str, Any], namespace: str = "default"
) -> httpx.Response:
    """A create that leaves nothing behind: a dry run, which passes validation and admission like any other."""
    plural, namespaced = resources(client)[api_version, kind]
    path = f"/apis/{api_version}/" + (f"namespaces/{namespace}/" if namespaced else "") + plural
    body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "least"}, **content}
    return client.post(path, params={"fieldValidation": "Strict", "dryRun": "All"}, json=body)


@pytest.mark.parametrize(("api_version", "kind", "content"), MINIMAL, ids=[f"{k}.{v}" for v, k, _ in MINIMAL])
def test_the_least_valid_object_is_taken_and_an_unknown_field_refused(
    client: httpx.Client, api_version: str, kind: str, content: dict[str, Any]
) -> None:
    answer = post(client, api_version, kind, content)
    assert answer.is_success, answer.json()["message"]
    wrong = copy.deepcopy(content)
    wrong["spec"]["notAField"] = "x"
    refusal = post(client, api_version, kind, wrong)
    assert refusal.status_code == httpx.codes.BAD_REQUEST, refusal.text
    assert 'unknown field "spec.notAField"' in refusal.json()["message"]


def test_a_value_of_the_wrong_type_is_refused(client: httpx.Client) -> None:
    wanted = {"spec": {"parentRefs": PARENTS, "rules": [{"backendRefs": [{"name": "a", "port": "http"}]}]}}
    answer = post(client, "gateway.networking.k8s.io/v1", "HTTPRoute", wanted)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert "spec.rules[0].backendRefs[0].port" in answer.json()["message"]


def test_no_timeout_is_0s_in_gateway_api_and_left_out_in_istio(client: httpx.Client) -> None:
    rule = {"backendRefs": BACKENDS, "timeouts": {"request": "0s"}}
    route = {"spec": {"parentRefs": PARENTS, "rules": [rule]}}
    assert post(client, "gateway.networking.k8s.io/v1", "HTTPRoute", route).is_success
    hop = {"route": [{"destination": {"host": "engine"}}], "timeout": "0s"}
    refusal = post(
        client, "networking.istio.io/v1", "VirtualService", {"spec": {"hosts": ["a.example.test"], "http": [hop]}}
    )
    assert "must be a valid duration greater than 1ms" in refusal.json()["message"]


def test_every_kind_that_stacks_use_is_among_the_minimal_objects() -> None:
    ensure(crds.SOURCES)
    internal = {"Metric", "PodAutoscaler", "InferenceModelRewrite", "InferencePoolImport", "CertificateRequest"}
    defined = {(found["spec"]["group"], found["spec"]["names"]["kind"]) for found in crds.definitions()}
    tested = {(version.partition("/")[0], kind) for version, kind, _ in MINIMAL}
    # The Inference Extension's first InferencePool lives on beside the one that replaced it.
    old = {("inference.networking.x-k8s.io", "InferencePool")}
    assert {(group, kind) for group, kind in defined - tested if kind not in internal} == old
    assert not tested - defined


@pytest.mark.skipif(not KUEUE.is_dir(), reason="no Kueue definitions beside the project")
def test_definitions_of_ones_own_are_added(control_plane: ControlPlane, client: httpx.Client) -> None:
    control_plane.add_crds(crds.read_definitions(KUEUE))
    path = "/apis/kueue.x-k8s.io/v1beta1/resourceflavors"
    body = {"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ResourceFlavor", "metadata": {"name": "h100"}}
    strict = {"fieldValidation": "Strict", "dryRun": "All"}
    assert client.post(path, params=strict, json=body | {"spec": {"nodeLabels": {"a": "b"}}}).is_success
    refusal = client.post(path, params=strict, json=body | {"spec": {"nodeLabel": {"a": "b"}}})
    assert 'unknown field "spec.nodeLabel"' in refusal.json()["message"]


def test_files_that_are_no_definitions_are_all_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [")
    (tmp_path / "b.yaml").write_text("b: }")
    with pytest.raises(ProblemsError) as raised:
        crds.read_definitions(tmp_path)
    assert [Path(problem.where).name for problem in raised.value.problems] == ["a.yaml", "b.yaml"]
    with pytest.raises(ProblemsError, match=r"none\.yaml"):
        crds.read_definitions(tmp_path / "none.yaml")
    (tmp_path / "c.yaml").write_text("kind: ConfigMap\n")
    with pytest.raises(ProblemsError, match="no CustomResourceDefinition"):
        crds.read_definitions(tmp_path / "c.yaml")


def test_a_definition_that_the_server_refuses_is_a_problem(control_plane: ControlPlane) -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "wrong.example.test"},
        "spec": {"group": "example.test"},
    }
    with pytest.raises(ProblemsError, match=r"wrong\.example\.test.*refused"):
        control_plane.add_crds([definition])
