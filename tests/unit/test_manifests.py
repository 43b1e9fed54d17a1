"""The objects of the standard pattern."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ome_iac.hardware import GIB
from ome_iac.manifests import namespace_object, service_objects
from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.planning.planner import plan_stack
from tests.unit.facts import decoder, encoder, llama_70b, model, pool, service, stack

SMALL, LARGE, TEXT = "hf://example/small", "local:///models/large", "pvc://weights/text/v1"
FACTS = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE), TEXT: encoder(TEXT)}
HUB = model("small", SMALL)
HUB["spec"]["storage"]["key"] = "hf-token"
MODELS = (HUB, model("large", LARGE), model("text", TEXT))


def planned(folder: Path, name: str, **spec: Any) -> tuple[Plan, ServicePlan]:
    documents = (*MODELS, pool("h100", "BM.GPU.H100.8"), service("chat", name, **spec))
    plan, problems = plan_stack(stack(folder, *documents), FACTS)
    assert plan is not None, problems
    return plan, plan.services[0]


def objects(folder: Path, name: str, **spec: Any) -> dict[str, Any]:
    return {made["kind"]: made for made in service_objects(*planned(folder, name, **spec))}


def pod(folder: Path, name: str, **spec: Any) -> dict[str, Any]:
    made: dict[str, Any] = objects(folder, name, **spec)["Deployment"]["spec"]["template"]["spec"]
    return made


def test_a_service_is_four_objects_with_one_name(tmp_path: Path) -> None:
    made = objects(tmp_path, "small")
    assert list(made) == ["ServiceAccount", "Deployment", "PodDisruptionBudget", "Service"]
    assert {item["metadata"]["name"] for item in made.values()} == {"chat"}
    assert {item["metadata"]["namespace"] for item in made.values()} == {"default"}


def test_selectors_find_the_pods_and_nothing_a_user_may_change(tmp_path: Path) -> None:
    made = objects(tmp_path, "small", engine={"labels": {"team": "search"}, "annotations": {"note": "x"}})
    template = made["Deployment"]["spec"]["template"]["metadata"]
    selectors = (
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["Service"]["spec"]["selector"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    )
    for selector in selectors:
        assert selector.items() <= template["labels"].items()
        assert "team" not in selector
    assert (template["labels"]["team"], template["annotations"]) == ("search", {"note": "x"})


def test_a_users_label_never_breaks_a_selector(tmp_path: Path) -> None:
    made = objects(tmp_path, "small", engine={"labels": {"app.kubernetes.io/name": "other"}})
    template = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert template["app.kubernetes.io/name"] == "chat"


def test_gpus_are_requested_and_limited_alike_and_the_node_is_the_pools(tmp_path: Path) -> None:
    spec = pod(tmp_path, "large")
    [container] = spec["containers"]
    resources = container["resources"]
    assert resources["requests"]["nvidia.com/gpu"] == resources["limits"]["nvidia.com/gpu"] == "4"
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert "cpu" not in resources["limits"]
    assert spec["nodeSelector"] == {"node.kubernetes.io/instance-type": "BM.GPU.H100.8"}
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]


def test_the_startup_probe_waits_twice_as_long_as_the_weights_take(tmp_path: Path) -> None:
    _, decided = planned(tmp_path, "large")
    assert decided.engine.startup.load_bytes == 141_107_412_992
    seconds = 141_107_412_992 / decided.engine.startup.bandwidth
    [container] = pod(tmp_path, "large")["containers"]
    probe = container["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 2 * seconds
    assert container["readinessProbe"]["httpGet"] == probe["httpGet"] == {"path": "/health", "port": "http"}


def test_shared_memory_grows_with_the_split(tmp_path: Path) -> None:
    def size(name: str) -> int:
        [volume] = [volume for volume in pod(tmp_path, name)["volumes"] if volume["name"] == "shm"]
        assert volume["emptyDir"]["medium"] == "Memory"
        return int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi"))

    assert (size("small"), size("large")) == (1, 9)
    [container] = pod(tmp_path, "large")["containers"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]


def test_a_hub_model_is_downloaded_to_scratch_with_the_token_from_its_secret(tmp_path: Path) -> None:
    [container] = pod(tmp_path, "small")["containers"]
    environment = {item["name"]: item for item in container["env"]}
    assert environment["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hf-token", "key": "token"}}
    assert environment["HF_HOME"]["value"].startswith("/scratch")
    assert "HF_HUB_OFFLINE" not in environment
    scratch = int(container["resources"]["requests"]["ephemeral-storage"].removesuffix("Gi"))
    assert scratch * GIB > 16_060_522_496


def test_a_node_folder_is_mounted_read_only_and_nothing_is_downloaded(tmp_path: Path) -> None:
    spec = pod(tmp_path, "large")
    [container] = spec["containers"]
    assert {"name": "model", "hostPath": {"path": "/models/large", "type": "Directory"}} in spec["volumes"]
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in container["volumeMounts"]
    assert {"name": "HF_HUB_OFFLINE", "value": "1"} in container["env"]
    assert container["args"][1] == "/models"


def test_a_claim_is_mounted_at_its_path(tmp_path: Path) -> None:
    spec = pod(tmp_path, "text")
    [container] = spec["containers"]
    claim = {"name": "model", "persistentVolumeClaim": {"claimName": "weights", "readOnly": True}}
    assert claim in spec["volumes"]
    mount = {"name": "model", "mountPath": "/models", "readOnly": True, "subPath": "text/v1"}
    assert mount in container["volumeMounts"]


def test_nothing_is_automounted_or_privileged(tmp_path: Path) -> None:
    made = objects(tmp_path, "small")
    spec = made["Deployment"]["spec"]["template"]["spec"]
    assert made["ServiceAccount"]["automountServiceAccountToken"] is False
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostIPC", "hostPID"} & spec.keys()
    assert "privileged" not in str(spec)


def test_a_namespace_is_labelled_as_the_stacks(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, "small")
    assert namespace_object(plan, "team")["metadata"] == {
        "name": "team",
        "labels": {"app.kubernetes.io/managed-by": "ome-iac", "app.kubernetes.io/part-of": "test"},
    }
