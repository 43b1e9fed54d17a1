"""The rehearsed kubernetes package behind the real engine, on a folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pulumi_oci as oci
import pytest
import yaml

from ome_iac.rehearsal.engine import Engine
from tests.engine.harness import Deployment, EngineError, deployment, files

pytestmark = pytest.mark.engine


@pytest.fixture
def stack(tmp_path: Path, engine: Engine) -> Iterator[Deployment]:
    with deployment(tmp_path, engine) as made:
        yield made


def objects(stack: Deployment, cluster: str = "default") -> dict[str, Any]:
    """The objects in a cluster's folder, by `namespace/Kind.group/name`."""
    folder = stack.rehearsal.kubernetes_folder / cluster
    return {name.removesuffix(".yaml"): yaml.safe_load((folder / name).read_text()) for name in files(folder)}


def rewrite(stack: Deployment, name: str, change: Callable[[Any], None]) -> None:
    """Somebody changes an object behind Pulumi's back."""
    path = stack.rehearsal.kubernetes_folder / "default" / f"{name}.yaml"
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))


def web(image: str = "web:1", app: str = "web", **more: Any) -> k8s.apps.v1.Deployment:
    return k8s.apps.v1.Deployment(
        "web",
        metadata={"name": "web", "labels": {"app": app}},
        spec={
            "replicas": 2,
            "selector": {"matchLabels": {"app": app}},
            "template": {
                "metadata": {"labels": {"app": app}},
                "spec": {"containers": [{"name": "web", "image": image, **more}]},
            },
        },
    )


def test_a_stack_lives_from_preview_to_destroy(stack: Deployment) -> None:
    def program(image: str = "web:1") -> Callable[[], None]:
        def build() -> None:
            space = k8s.core.v1.Namespace("apps", metadata={"name": "apps"})
            k8s.core.v1.ConfigMap("settings", metadata={"namespace": space.metadata["name"]}, data={"a": "b"})
            made = web(image)
            pulumi.export("uid", made.metadata["uid"])
            pulumi.export("space", space.metadata["name"])

        return build

    planned = stack.preview(program())
    assert planned.changes == {"create": 4}
    assert planned.diagnostics == []
    assert 'space: "apps"' in planned.text  # names are known beforehand, what the server gives is not
    assert "uid  : [unknown]" in planned.text
    assert objects(stack) == {}

    made = stack.up(program())
    assert made.changes == {"create": 4}
    assert made.diagnostics == []
    settings = next(name for name in objects(stack) if "ConfigMap" in name)
    assert settings.startswith("apps/ConfigMap/settings-")
    assert objects(stack)["default/Deployment.apps/web"]["spec"]["replicas"] == 2
    assert made.outputs["uid"] == objects(stack)["default/Deployment.apps/web"]["metadata"]["uid"]

    stack.preview(program(), expect_no_changes=True)
    stack.refresh(expect_no_changes=True)
    stack.preview(program(), expect_no_changes=True)

    planned = stack.preview(program("web:2"))
    assert planned.changes["update"] == 1
    assert set(planned.steps["web"].detailed_diff or {}) == {"spec.template.spec.containers[0].image"}
    stack.up(program("web:2"))
    web_now = objects(stack)["default/Deployment.apps/web"]
    assert web_now["spec"]["template"]["spec"]["containers"][0]["image"] == "web:2"
    assert web_now["metadata"]["generation"] == 2

    stack.destroy()
    assert files(stack.rehearsal.kubernetes_folder) == []
    assert not stack.rehearsal.kubernetes_folder.exists() or not any(stack.rehearsal.kubernetes_folder.iterdir())


def test_an_immutable_field_replaces_a_fixed_name_delete_first(stack: Deployment) -> None:
    stack.up(lambda: web() and None)
    planned = stack.preview(lambda: web(app="other") and None)
    assert planned.changes["replace"] == 1
    kinds = {path: diff.diff_kind.value for path, diff in (planned.steps["web"].detailed_diff or {}).items()}
    assert kinds["spec.selector.matchLabels.app"] == "update-replace"
    assert kinds["spec.template.metadata.labels.app"] == "update"
    stack.up(lambda: web(app="other") and None)
    assert objects(stack)["default/Deployment.apps/web"]["spec"]["selector"]["matchLabels"] == {"app": "other"}
    stack.preview(lambda: web(app="other") and None, expect_no_changes=True)


def test_an_automatic_name_is_kept_and_changes_with_a_replacement(stack: Deployment) -> None:
    def settings(value: str) -> Callable[[], None]:
        return lambda: k8s.core.v1.ConfigMap("settings", data={"a": value}) and None

    stack.up(settings("1"))
    (first,) = objects(stack)
    stack.preview(settings("1"), expect_no_changes=True)
    stack.up(settings("2"))
    (second,) = objects(stack)
    assert first != second
    assert objects(stack)[second]["data"] == {"a": "2"}
    stack.up(settings("1"))
    (third,) = objects(stack)
    assert third not in (first, second)


def test_a_mutable_config_map_is_updated_in_place(stack: Deployment) -> None:
    def program(value: str) -> Callable[[], None]:
        def build() -> None:
            cluster = k8s.Provider("cluster", enable_config_map_mutable=True)
            k8s.core.v1.ConfigMap("s", data={"a": value}, opts=pulumi.ResourceOptions(provider=cluster))

        return build

    stack.up(program("1"))
    assert stack.up(program("2")).changes.get("update") == 1


def test_providers_of_different_clusters_have_different_folders(stack: Deployment) -> None:
    def program(second: str = "second") -> Callable[[], None]:
        def build() -> None:
            for name, arguments in (
                ("a", {"context": "first"}),
                ("b", {"cluster_identifier": second, "context": "first"}),
                ("c", {"kubeconfig": json.dumps({"current-context": "third"}), "namespace": "kube-system"}),
            ):
                provider = k8s.Provider(name, **arguments)
                options = pulumi.ResourceOptions(provider=provider)
                k8s.core.v1.ConfigMap(name, metadata={"name": "same"}, data={"from": name}, opts=options)

        return build

    stack.up(program())
    same = "default/ConfigMap/same"
    assert objects(stack, "first")[same]["data"] == {"from": "a"}
    assert objects(stack, "second")[same]["data"] == {"from": "b"}
    assert objects(stack, "third")["kube-system/ConfigMap/same"]["data"] == {"from": "c"}
    stack.preview(program(), expect_no_changes=True)
    assert stack.preview(program("moved")).changes["replace"] == 2  # the provider and its object
    stack.up(program("moved"))
    assert objects(stack, "second") == {}
    assert same in objects(stack, "moved")


def test_unknown_outputs_flow_from_oci_into_objects(stack: Deployment) -> None:
    def program() -> None:
        cluster = oci.core.ComputeCluster("rdma", availability_domain="AD-1", compartment_id="ocid1.compartment.oc1..a")
        k8s.core.v1.ConfigMap(
            "facts",
            metadata={"name": "facts", "annotations": {"cluster": cluster.id}},
            data={"list": pulumi.Output.json_dumps([cluster.id]), "plain": "x"},
        )
        k8s.apiextensions.CustomResource(
            "pool",
            api_version="example.com/v1",
            kind="Pool",
            metadata={"name": "pool"},
            spec={"clusters": ["known", cluster.id], "nested": [{"id": cluster.id}]},
        )

    planned = stack.preview(program)
    assert planned.changes == {"create": 4}
    assert planned.diagnostics == []
    stack.up(program)
    ocid = objects(stack)["default/ConfigMap/facts"]["metadata"]["annotations"]["cluster"]
    assert ocid.startswith("ocid1.computecluster.oc1.")
    assert objects(stack)["default/Pool.example.com/pool"]["spec"] == {
        "clusters": ["known", ocid],
        "nested": [{"id": ocid}],
    }
    stack.preview(program, expect_no_changes=True)


def test_secrets_never_reach_the_state_in_clear(stack: Deployment) -> None:
    words = ["token-in-a-secret", "password-in-a-pod", "plain-in-a-secret"]

    def program(suffix: str = "") -> Callable[[], None]:
        def build() -> None:
            hidden = pulumi.Output.secret(words[0] + suffix)
            k8s.core.v1.Secret(
                "s", metadata={"name": "s"}, string_data={"token": hidden, "other": words[2]}, type="Opaque"
            )
            value = pulumi.Output.secret(words[1] + suffix)
            pod = web(env=[{"name": "A", "value": "open-value"}, {"name": "B", "value": value}])
            pulumi.export("env", pod.spec["template"]["spec"]["containers"][0]["env"])

        return build

    shown = stack.preview(program(), diff=True).text
    shown += stack.up(program()).text
    shown += stack.preview(program("2"), diff=True).text
    shown += stack.up(program("2")).text
    shown += stack.refresh().text
    state = stack.state_text()
    assert "open-value" in state
    for word in words:
        assert word not in state
        assert word not in shown
    secret = stack.rehearsal.kubernetes_folder / "default/default/Secret/s.yaml"
    assert words[0] in secret.read_text()  # a cluster keeps it as well
    assert secret.stat().st_mode & 0o777 == 0o600
    assert (stack.rehearsal.folder.parent / ".gitignore").read_text() == "*\n"
    stack.preview(program("2"), expect_no_changes=True)


def test_refresh_sees_what_somebody_did_to_managed_fields_only(stack: Deployment) -> None:
    stack.up(lambda: web() and None)

    def edit(document: Any) -> None:
        document["spec"]["replicas"] = 5
        document["metadata"]["labels"]["mine"] = "kept"
        document["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "mesh:1"})

    rewrite(stack, "default/Deployment.apps/web", edit)
    stack.refresh()
    planned = stack.preview(lambda: web() and None)
    assert set(planned.steps["web"].detailed_diff or {}) == {"spec.replicas"}
    stack.up(lambda: web() and None)
    now = objects(stack)["default/Deployment.apps/web"]
    assert now["spec"]["replicas"] == 2
    assert now["metadata"]["labels"] == {"app": "web", "mine": "kept"}


def test_refresh_sees_a_deleted_object_and_up_makes_it_again(stack: Deployment) -> None:
    stack.up(lambda: web() and None)
    (stack.rehearsal.kubernetes_folder / "default/default/Deployment.apps/web.yaml").unlink()
    assert stack.refresh().changes["delete"] == 1
    assert stack.up(lambda: web() and None).changes["create"] == 1
    assert "default/Deployment.apps/web" in objects(stack)


def test_deleting_what_is_gone_is_no_error(stack: Deployment) -> None:
    stack.up(lambda: web() and None)
    (stack.rehearsal.kubernetes_folder / "default/default/Deployment.apps/web.yaml").unlink()
    assert stack.destroy().changes["delete"] == 2


def test_somebody_elses_object_is_not_taken_over(stack: Deployment) -> None:
    def both() -> None:
        web()
        k8s.apps.v1.Deployment(
            "twin",
            metadata={"name": "web"},
            spec={"selector": {"matchLabels": {"a": "b"}}, "template": {}},
            opts=pulumi.ResourceOptions(depends_on=[]),
        )

    stack.up(lambda: web() and None)
    before = objects(stack)
    for operation in (stack.preview, stack.up):
        with pytest.raises(EngineError) as failed:
            operation(both)
        (message,) = [text for text in failed.value.run.diagnostics if "already exists" in text]
        assert "Deployment.apps web in namespace default already exists" in message
        assert "\n" not in message
    assert objects(stack) == before


def test_a_namespace_must_be_there(stack: Deployment) -> None:
    def program() -> None:
        k8s.core.v1.ConfigMap("c", metadata={"name": "c", "namespace": "nowhere"}, data={})

    with pytest.raises(EngineError, match='namespace "nowhere" not found'):
        stack.up(program)


WRONG: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "labels": (
        lambda: k8s.core.v1.ConfigMap(
            "one",
            metadata={"name": "Bad_Name", "labels": {"a": "x" * 64, "b c": "d"}, "annotations": {"/": "x"}},
            data={"n": "1"},
        ),
        [
            'metadata.name: "Bad_Name" is not a DNS-1123 subdomain',
            'metadata.labels.a: "' + "x" * 64 + '" has 64 characters, at most 63',
            'metadata.labels.b c: the name "b c" must be 1 to 63 letters',
            'metadata.annotations./: the name "" must be',
        ],
    ),
    "selectors": (
        lambda: k8s.core.v1.Service("two", metadata={"name": "dotted.name"}, spec={"selector": {"app": "no spaces"}}),
        ['metadata.name: "dotted.name" is not a DNS-1123 label', 'spec.selector.app: "no spaces" is not a label value'],
    ),
    "secret name": (
        lambda: k8s.core.v1.ConfigMap("three", metadata={"name": pulumi.Output.secret("hidden-name")}),
        ["metadata.name: must not be a secret"],
    ),
    "not rehearsed": (
        lambda: k8s.helm.v3.Release("four", chart="nginx"),
        ["kubernetes:helm.sh/v3:Release is not rehearsed: it needs Helm"],
    ),
    "component": (
        lambda: k8s.yaml.v2.ConfigGroup("five", yaml="a: b"),
        ["kubernetes:yaml/v2:ConfigGroup is a component of the official plugin and is not rehearsed"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_inputs_are_one_line_each_and_nothing_is_made(stack: Deployment, what: str) -> None:
    program, wanted = WRONG[what]
    with pytest.raises(EngineError) as failed:
        stack.up(lambda: program() and None)
    shown = failed.value.run.diagnostics
    for fragment in wanted:
        (line,) = [line for line in shown if fragment in line]
        assert "\n" not in line
    assert not any("hidden-name" in line for line in shown)
    assert objects(stack) == {}


def test_objects_can_be_imported(stack: Deployment, engine: Engine) -> None:
    folder = stack.rehearsal.kubernetes_folder / "default/default/ConfigMap"
    folder.mkdir(parents=True)
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "old", "namespace": "default"}}
    (folder / "old.yaml").write_text(yaml.safe_dump({**document, "data": {"a": "b"}}))

    def program(value: str, adopt: bool) -> Callable[[], None]:
        def build() -> None:
            options = pulumi.ResourceOptions(import_="default/old") if adopt else None
            k8s.core.v1.ConfigMap(
                "old", metadata={"name": "old", "namespace": "default"}, data={"a": value}, opts=options
            )

        return build

    with pytest.raises(EngineError, match="import"):
        stack.preview(program("other", adopt=True))
    assert stack.up(program("b", adopt=True)).changes["import"] == 1
    stack.preview(program("b", adopt=False), expect_no_changes=True)
    stack.destroy()
    assert objects(stack) == {}


def test_ignored_changes_stay_ignored(stack: Deployment) -> None:
    def program(image: str, replicas: int) -> Callable[[], None]:
        def build() -> None:
            k8s.apps.v1.Deployment(
                "web",
                metadata={"name": "web"},
                spec={
                    "replicas": replicas,
                    "selector": {"matchLabels": {"app": "web"}},
                    "template": {"spec": {"containers": [{"name": "c", "image": image}]}},
                },
                opts=pulumi.ResourceOptions(ignore_changes=["spec.replicas"]),
            )

        return build

    stack.up(program("web:1", 1))
    stack.preview(program("web:1", 9), expect_no_changes=True)
    stack.up(program("web:2", 9))
    assert objects(stack)["default/Deployment.apps/web"]["spec"]["replicas"] == 1


def test_replace_on_changes_of_a_custom_resource(stack: Deployment) -> None:
    def program(uri: str) -> Callable[[], None]:
        def build() -> None:
            k8s.apiextensions.CustomResource(
                "model",
                api_version="ome.io/v1beta1",
                kind="ClusterBaseModel",
                metadata={"name": "model"},
                spec={"uri": uri},
                opts=pulumi.ResourceOptions(replace_on_changes=["spec.uri"], delete_before_replace=True),
            )

        return build

    stack.up(program("hf://a/b"))
    assert list(objects(stack)) == ["_cluster/ClusterBaseModel.ome.io/model"]
    assert stack.up(program("hf://a/c")).changes["replace"] == 1
    assert objects(stack)["_cluster/ClusterBaseModel.ome.io/model"]["spec"] == {"uri": "hf://a/c"}


def test_an_answer_lost_after_creation_is_made_good_by_the_next_up(tmp_path: Path, engine: Engine) -> None:
    faults = {
        "kubernetes:core/v1:ConfigMap": {"create": {"error": "connection reset", "times": 2, "after": True}},
    }

    def program() -> None:
        k8s.core.v1.ConfigMap("fixed", metadata={"name": "fixed"}, data={"a": "b"})
        k8s.core.v1.ConfigMap("named", data={"a": "b"})

    with deployment(tmp_path, engine, faults=faults) as stack:
        with pytest.raises(EngineError, match="connection reset"):
            stack.up(program, continue_on_error=True)
        left = objects(stack)
        assert len(left) == 2
        assert stack.up(program).changes["create"] == 2
        assert objects(stack).keys() == left.keys()
        stack.preview(program, expect_no_changes=True)
        stack.destroy()
        assert objects(stack) == {}


KILLED = """
    import sys
    from pathlib import Path
    import pulumi, pulumi_kubernetes as k8s
    from ome_iac.rehearsal.engine import Engine
    from tests.engine.harness import deployment

    def program():
        for number in range(12):
            k8s.core.v1.ConfigMap(f"c{number}", metadata={"name": f"c{number}"}, data={})
        k8s.core.v1.Secret("slow", string_data={"a": "b"})

    root, faults = Path(sys.argv[1]), {"kubernetes:core/v1:Secret": {"create": {"delaySeconds": 600, "after": True}}}
    with deployment(root, Engine(Path(sys.argv[2]), Path(sys.argv[3]), "", "built"), faults=faults) as stack:
        stack.up(program)
"""


def test_an_up_that_was_killed_is_finished_by_the_next(tmp_path: Path, engine: Engine) -> None:
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    arguments = [sys.executable, str(script), str(tmp_path), str(engine.pulumi), str(engine.root)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(arguments, env=environment, start_new_session=True, stdout=subprocess.DEVNULL)
    secrets = tmp_path / "rehearsal/on-folder/kubernetes/default/default/Secret"
    while not (secrets.exists() and any(secrets.glob("*.yaml"))):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)  # engine, program and providers at once
    process.wait()
    left = set(secrets.glob("*.yaml"))

    def program() -> None:
        for number in range(12):
            k8s.core.v1.ConfigMap(f"c{number}", metadata={"name": f"c{number}"}, data={})
        k8s.core.v1.Secret("slow", string_data={"a": "b"})

    with deployment(tmp_path, engine) as stack:
        stack.up(program)
        assert set(secrets.glob("*.yaml")) == left
        assert len(objects(stack)) == 13
        stack.preview(program, expect_no_changes=True)
        stack.destroy()
        assert objects(stack) == {}
