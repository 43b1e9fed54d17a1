"""The rehearsed kubernetes package behind the real engine, on a real API server with its controllers and no nodes."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from ome_iac.rehearsal.control_plane import ControlPlane
from ome_iac.rehearsal.engine import Engine
from ome_iac.rehearsal.providers.api_client import ApiClient
from ome_iac.rehearsal.providers.kubernetes_kinds import ObjectKind, ObjectRef
from tests.engine.harness import Deployment, EngineError, deployment, files

pytestmark = pytest.mark.cluster

NAMESPACE = ObjectKind("v1", "Namespace")
CONFIG_MAP = ObjectKind("v1", "ConfigMap")
DEPLOYMENT = ObjectKind("apps/v1", "Deployment")
Program = Callable[[], None]


@pytest.fixture
def api(control_plane: ControlPlane) -> Iterator[ApiClient]:
    client = ApiClient(control_plane.kubeconfig)
    yield client
    client.close()


@pytest.fixture
def space(api: ApiClient) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    ref = ObjectRef(NAMESPACE, None, name)
    api.request("POST", api.collection(NAMESPACE, None), body=document)
    yield name
    api.request("DELETE", api.path(ref))


@pytest.fixture
def stack(tmp_path: Path, engine: Engine, control_plane: ControlPlane) -> Iterator[Deployment]:
    with deployment(tmp_path, engine, control_plane.kubeconfig) as made:
        yield made


def config_map(space: str, **data: str) -> Program:
    return lambda: k8s.core.v1.ConfigMap("c", metadata={"name": "c", "namespace": space}, data=data) and None


def web(space: str, image: str = "web:1", annotations: dict[str, str] | None = None, **container: Any) -> Program:
    def build() -> None:
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "namespace": space, "annotations": {"pulumi.com/skipAwait": "true"}}
            if annotations is None
            else {"name": "web", "namespace": space, "annotations": annotations},
            spec={
                "replicas": 1,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": image, **container}], "hostNetwork": False},
                },
            },
        )

    return build


def test_a_stack_lives_from_preview_to_destroy(stack: Deployment, api: ApiClient) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"

    def program(image: str = "web:1", app: str = "web") -> Program:
        def build() -> None:
            made = k8s.core.v1.Namespace("space", metadata={"name": name})
            inside = pulumi.ResourceOptions(depends_on=[made])
            k8s.core.v1.ConfigMap("auto", metadata={"namespace": made.metadata["name"]}, data={"a": "b"})
            k8s.core.v1.ServiceAccount("sa", metadata={"name": "sa", "namespace": name}, opts=inside)
            k8s.core.v1.Service(
                "headless",
                metadata={"name": "headless", "namespace": name},
                spec={"clusterIP": "None", "selector": {"app": app}, "ports": [{"port": 80}]},
                opts=inside,
            )
            k8s.apps.v1.Deployment(
                "web",
                metadata={"name": "web", "namespace": name},
                spec={
                    "replicas": 0,
                    "selector": {"matchLabels": {"app": app}},
                    "template": {
                        "metadata": {"labels": {"app": app}},
                        "spec": {
                            "nodeSelector": {},
                            "containers": [
                                {
                                    "name": "web",
                                    "image": image,
                                    "env": [{"name": "EMPTY", "value": ""}],
                                    "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}},
                                    "ports": [{"containerPort": 80}],
                                }
                            ],
                            "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}}],
                        },
                    },
                },
                opts=inside,
            )

        return build

    planned = stack.preview(program())
    assert planned.changes == {"create": 6}
    assert planned.diagnostics == []
    assert api.get(ObjectRef(NAMESPACE, None, name)) is None

    made = stack.up(program())
    assert made.changes == {"create": 6}
    assert made.diagnostics == []
    stack.preview(program(), expect_no_changes=True)
    stack.refresh()
    stack.preview(program(), expect_no_changes=True)

    planned = stack.preview(program("web:2"))
    assert planned.changes["update"] == 1
    assert set(planned.steps["web"].detailed_diff or {}) == {"spec.template.spec.containers[0].image"}
    stack.up(program("web:2"))
    stack.preview(program("web:2"), expect_no_changes=True)

    assert stack.up(program("web:2", app="other")).changes["replace"] == 1
    live = api.get(ObjectRef(DEPLOYMENT, name, "web"))
    assert live is not None
    assert live["spec"]["selector"]["matchLabels"] == {"app": "other"}
    managers = {entry["manager"]: entry["operation"] for entry in live["metadata"]["managedFields"]}
    assert [op for manager, op in managers.items() if manager.startswith("pulumi-")] == ["Apply"]

    stack.destroy()
    assert api.get(ObjectRef(NAMESPACE, None, name)) is None
    assert files(stack.rehearsal.kubernetes_folder) == []


def test_whatever_kubeconfig_a_program_names_the_session_decides(stack: Deployment, api: ApiClient, space: str) -> None:
    def program() -> None:
        production = k8s.Provider("production", kubeconfig="/somewhere/production", context="production")
        options = pulumi.ResourceOptions(provider=production)
        k8s.core.v1.ConfigMap("c", metadata={"name": "c", "namespace": space}, data={"a": "b"}, opts=options)

    stack.up(program)
    assert api.get(ObjectRef(CONFIG_MAP, space, "c")) is not None
    assert "kubeconfig" in stack.rehearsal.where


def test_a_preview_shows_what_the_server_refuses(stack: Deployment, space: str) -> None:
    with pytest.raises(EngineError, match=r"imagePolicy: field not declared in schema") as failed:
        stack.preview(web(space, imagePolicy="Always"))
    (line,) = [line for line in failed.value.run.diagnostics if "imagePolicy" in line]
    assert "\n" not in line
    stack.up(web(space))
    with pytest.raises(EngineError, match="imagePolicy"):
        stack.preview(web(space, imagePolicy="Always"))


def test_a_kind_without_definition_is_planned_but_not_made(stack: Deployment, space: str) -> None:
    def program() -> None:
        k8s.apiextensions.CustomResource(
            "x", api_version="nothing.example.com/v1", kind="Thing", metadata={"name": "x", "namespace": space}, spec={}
        )

    assert stack.preview(program).changes["create"] == 2
    with pytest.raises(EngineError, match=r'knows no kind "Thing" in "nothing\.example\.com/v1"'):
        stack.up(program)


def definition(group: str) -> k8s.apiextensions.v1.CustomResourceDefinition:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return k8s.apiextensions.v1.CustomResourceDefinition(
        "definition",
        metadata={"name": f"things.{group}"},
        spec={
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
            ],
        },
    )


def test_a_definition_and_its_object_in_one_run(stack: Deployment) -> None:
    group = f"t{uuid.uuid4().hex[:8]}.example.com"

    def program() -> None:
        k8s.apiextensions.CustomResource(
            "thing",
            api_version=f"{group}/v1",
            kind="Thing",
            metadata={"name": "thing"},
            spec={"n": 3, "f": 0.5},
            opts=pulumi.ResourceOptions(depends_on=[definition(group)]),
        )

    assert stack.preview(program).diagnostics == []
    stack.up(program)
    stack.preview(program, expect_no_changes=True)
    stack.refresh()
    stack.preview(program, expect_no_changes=True)
    stack.destroy()


def test_waiting_for_a_condition_of_a_custom_resource(stack: Deployment, api: ApiClient) -> None:
    group = f"t{uuid.uuid4().hex[:8]}.example.com"

    def program() -> None:
        k8s.apiextensions.CustomResource(
            "thing",
            api_version=f"{group}/v1",
            kind="Thing",
            metadata={
                "name": "thing",
                "annotations": {"pulumi.com/waitFor": '["condition=Ready", "jsonpath={.status.items[0].url}"]'},
            },
            spec={},
            opts=pulumi.ResourceOptions(
                depends_on=[definition(group)], custom_timeouts=pulumi.CustomTimeouts(create="60s")
            ),
        )

    ref = ObjectRef(ObjectKind(f"{group}/v1", "Thing"), "default", "thing")

    def make_ready() -> None:
        while True:
            try:
                live = api.get(ref)
            except Exception:
                live = None
            if live is not None:
                break
            time.sleep(0.1)
        status = {"conditions": [{"type": "Ready", "status": "True"}], "items": [{"url": "http://x"}]}
        document = {"apiVersion": live["apiVersion"], "kind": "Thing", "status": status}
        api.request("PATCH", api.path(ref), {"fieldManager": "controller"}, document)

    helper = threading.Thread(target=make_ready)
    helper.start()
    made = stack.up(program)
    helper.join()
    assert made.changes["create"] == 3
    stack.destroy()


def test_a_timeout_tells_why_and_the_next_up_tries_again(stack: Deployment, space: str) -> None:
    annotations = {"pulumi.com/timeoutSeconds": "3"}
    with pytest.raises(EngineError, match=r"web in namespace \S+ is not ready after 3 s: 0 of 1 replicas") as failed:
        stack.up(web(space, annotations=annotations))
    assert "is not scheduled: no nodes available" in str(failed.value)
    assert [found["id"] for found in stack.state() if "Deployment" in found["type"]] == [f"{space}/web"]
    done = stack.up(web(space, annotations={**annotations, "pulumi.com/skipAwait": "true"}))
    assert done.changes["update"] == 1
    stack.destroy()


def test_cancelling_ends_the_waiting(stack: Deployment, space: str, api: ApiClient) -> None:
    def cancel() -> None:
        while api.get(ObjectRef(DEPLOYMENT, space, "web")) is None:
            time.sleep(0.1)
        stack.cancel()

    helper = threading.Thread(target=cancel)
    helper.start()
    begun = time.monotonic()
    with pytest.raises(EngineError, match="cancel"):
        stack.up(web(space, annotations={}))
    helper.join()
    assert time.monotonic() - begun < 300  # far below the ten minutes it would wait


def test_jobs_services_and_claims_are_waited_for(stack: Deployment, space: str) -> None:
    short = pulumi.CustomTimeouts(create="2s")
    options = pulumi.ResourceOptions(custom_timeouts=short)
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}

    def program() -> None:
        metadata = {"namespace": space}
        k8s.batch.v1.Job("job", metadata={**metadata, "name": "job"}, spec={"template": {"spec": pod}}, opts=options)
        k8s.batch.v1.Job(
            "queued", metadata={**metadata, "name": "queued"}, spec={"suspend": True, "template": {"spec": pod}}
        )
        k8s.core.v1.Service(
            "svc",
            metadata={**metadata, "name": "svc"},
            spec={"selector": {"app": "none"}, "ports": [{"port": 80}]},
            opts=options,
        )
        k8s.core.v1.Service("bare", metadata={**metadata, "name": "bare"}, spec={"ports": [{"port": 80}]})
        k8s.core.v1.PersistentVolumeClaim(
            "claim",
            metadata={**metadata, "name": "claim"},
            spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            opts=options,
        )

    with pytest.raises(EngineError) as failed:
        stack.up(program, continue_on_error=True)
    text = "\n".join(failed.value.run.diagnostics)
    assert "Job.batch job" in text
    assert "0 of 1 completions; pod job-" in text
    assert "no ready pod stands behind its selector; there is no pod yet" in text
    assert "the claim is not bound" in text
    assert "queued" not in text
    assert "bare" not in text
    stack.destroy()


def test_somebody_elses_object_is_not_taken_over(stack: Deployment, api: ApiClient, space: str) -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"mine": "yes"}}
    api.request("POST", api.collection(CONFIG_MAP, space), body=document)
    for operation in (stack.preview, stack.up):
        with pytest.raises(EngineError, match="already exists and is not this resource's"):
            operation(config_map(space, a="b"))
    live = api.get(ObjectRef(CONFIG_MAP, space, "c"))
    assert live is not None
    assert live["data"] == {"mine": "yes"}


def test_an_answer_lost_after_creation_is_made_good_by_the_next_up(
    tmp_path: Path, engine: Engine, control_plane: ControlPlane, space: str
) -> None:
    faults = {"kubernetes:core/v1:ConfigMap": {"create": {"error": "connection reset", "times": 1, "after": True}}}
    with deployment(tmp_path, engine, control_plane.kubeconfig, faults) as stack:
        with pytest.raises(EngineError, match="connection reset"):
            stack.up(config_map(space, a="b"))
        assert stack.up(config_map(space, a="b")).changes["create"] == 1
        stack.preview(config_map(space, a="b"), expect_no_changes=True)
        stack.destroy()


def test_a_field_that_somebody_took_is_a_conflict_unless_forced(stack: Deployment, api: ApiClient, space: str) -> None:
    def program(replicas: int, force: bool) -> Program:
        def build() -> None:
            annotations = {"pulumi.com/skipAwait": "true"} | ({"pulumi.com/patchForce": "true"} if force else {})
            k8s.apps.v1.Deployment(
                "web",
                metadata={"name": "web", "namespace": space, "annotations": annotations},
                spec={
                    "replicas": replicas,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "c", "image": "i"}]},
                    },
                },
            )

        return build

    stack.up(program(1, False))
    ref = ObjectRef(DEPLOYMENT, space, "web")
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}
    api.request("PATCH", api.path(ref), {"fieldManager": "autoscaler", "force": "true"}, theirs)
    stack.refresh()
    with pytest.raises(EngineError, match=r'conflict with "autoscaler".*\.spec\.replicas'):
        stack.preview(program(2, False))
    stack.up(program(2, True))
    live = api.get(ref)
    assert live is not None
    assert live["spec"]["replicas"] == 2


def test_refresh_sees_a_deleted_object(stack: Deployment, api: ApiClient, space: str) -> None:
    stack.up(config_map(space, a="b"))
    api.request("DELETE", api.path(ObjectRef(CONFIG_MAP, space, "c")))
    assert stack.refresh().changes["delete"] == 1
    assert stack.up(config_map(space, a="b")).changes["create"] == 1


def test_secrets_never_reach_the_state_in_clear(stack: Deployment, space: str) -> None:
    def program(token: str) -> Program:
        def build() -> None:
            k8s.core.v1.Secret(
                "s", metadata={"name": "s", "namespace": space}, string_data={"token": pulumi.Output.secret(token)}
            )

        return build

    stack.up(program("hidden-token-1"))
    stack.refresh()
    stack.preview(program("hidden-token-1"), expect_no_changes=True)
    stack.up(program("hidden-token-2"))
    state = stack.state_text()
    assert f"{space}/s" in state
    for text in ("hidden-token", "aGlkZGVuLXRva2Vu"):  # and base64, as the server gives it back
        assert text not in state
    stack.destroy()


def test_an_object_can_be_imported(stack: Deployment, api: ApiClient, space: str) -> None:
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}
    api.request("POST", api.collection(CONFIG_MAP, space), body=document)

    def program() -> None:
        k8s.core.v1.ConfigMap(
            "c",
            metadata={"name": "c", "namespace": space},
            data={"a": "b"},
            opts=pulumi.ResourceOptions(import_=f"{space}/c"),
        )

    assert stack.up(program).changes["import"] == 1
    stack.preview(program, expect_no_changes=True)
    stack.destroy()
    assert api.get(ObjectRef(CONFIG_MAP, space, "c")) is None
