"""The objects of routed services, and of services with prefill and decode apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ome_iac.manifests import Manifest, service_objects
from ome_iac.planning.plan import ServicePlan
from ome_iac.planning.planner import plan_stack
from tests.unit.facts import decoder, llama_70b, model, pool, service, stack

SMALL, LARGE = "hf://example/small", "hf://example/large"
FACTS = {SMALL: decoder(SMALL), LARGE: llama_70b(LARGE)}
MODELS = (model("small", SMALL), model("large", LARGE))
GATEWAY = {
    "apiVersion": "ome-iac/v1",
    "kind": "Platform",
    "metadata": {"name": "platform"},
    "spec": {"ingress": {"kind": "gateway", "parent": "edge/public"}},
}
PICKER = {"config": {"kind": "endpoint-picker"}}
APART = {"pattern": "prefill-decode", "contextLength": 8192}


def rendered(
    folder: Path, *documents: dict[str, Any], of: str = "small", shape: str = "BM.GPU.H100.8", **spec: Any
) -> tuple[ServicePlan, dict[tuple[str, str], Manifest]]:
    documents = (*MODELS, pool("gpus", shape, 4), *documents, service("chat", of, **spec))
    plan, problems = plan_stack(stack(folder, *documents), FACTS)
    assert plan is not None, problems
    made = service_objects(plan, plan.services[0])
    return plan.services[0], {(each["kind"], each["metadata"]["name"]): each for each in made}


def pod(manifest: Manifest) -> Manifest:
    spec: Manifest = manifest["spec"]["template"]["spec"]
    return spec


def test_sglang_apart_is_two_deployments_and_a_router_with_rights_to_look_at_pods(tmp_path: Path) -> None:
    chat, made = rendered(tmp_path, intent=APART)
    assert list(made) == [
        ("ServiceAccount", "chat"),
        ("Deployment", "chat-prefill"),
        ("PodDisruptionBudget", "chat-prefill"),
        ("Deployment", "chat-decode"),
        ("PodDisruptionBudget", "chat-decode"),
        ("ServiceAccount", "chat-router"),
        ("Role", "chat-router"),
        ("RoleBinding", "chat-router"),
        ("Deployment", "chat-router"),
        ("Service", "chat"),
    ]
    assert made["Role", "chat-router"]["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]
    binding = made["RoleBinding", "chat-router"]
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "chat-router"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "chat-router", "namespace": "default"}]
    address = made["Service", "chat"]["spec"]
    assert address["selector"]["app.kubernetes.io/component"] == "router"
    router = made["Deployment", "chat-router"]
    assert pod(router)["automountServiceAccountToken"] is True
    [container] = pod(router)["containers"]
    assert [*container["command"], *container["args"]] == list(chat.router.command if chat.router else ())
    assert container["resources"]["limits"]["memory"] == "3Gi"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readiness"


def test_only_prefill_pods_say_where_their_bootstrap_server_listens(tmp_path: Path) -> None:
    _, made = rendered(tmp_path, intent=APART)
    prefill, decode = (
        made["Deployment", f"chat-{role}"]["spec"]["template"]["metadata"] for role in ("prefill", "decode")
    )
    assert prefill["annotations"]["sglang.ai/bootstrap-port"] == "8998"
    assert "sglang.ai/bootstrap-port" not in decode["annotations"]
    assert (prefill["labels"]["llm-d.ai/role"], decode["labels"]["llm-d.ai/role"]) == ("prefill", "decode")


def test_vllm_apart_is_a_pool_with_a_picker_and_a_proxy_before_decode(tmp_path: Path) -> None:
    chat, made = rendered(tmp_path, GATEWAY, intent=APART, runtime={"name": "vllm"})
    assert made["InferencePool", "chat"]["spec"] == {
        "selector": {"matchLabels": {"app.kubernetes.io/name": "chat", "ome-iac/answers": "true"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": "chat-epp", "port": {"number": 9002}, "failureMode": "FailOpen"},
    }
    assert made["InferencePool", "chat"]["apiVersion"] == "inference.networking.k8s.io/v1"
    prefill, decode = (pod(made["Deployment", f"chat-{role}"]) for role in ("prefill", "decode"))
    assert "initContainers" not in prefill
    [proxy] = decode["initContainers"]
    assert proxy["restartPolicy"] == "Always"
    assert proxy["image"].startswith("ghcr.io/llm-d/llm-d-router-disagg-sidecar:v")
    assert proxy["args"] == ["--port=8000", "--vllm-port=8200", "--kv-connector=nixlv2", "--secure-proxy=false"]
    assert [each["ports"][0]["containerPort"] for each in (prefill["containers"][0], proxy)] == [8000, 8000]
    assert decode["containers"][0]["ports"][0]["containerPort"] == 8200
    # Kubernetes fills in only what was defined before.
    assert decode["containers"][0]["env"][0]["name"] == "POD_IP"
    assert made["Service", "chat"]["spec"]["ports"][0]["targetPort"] == 8000
    labels = made["Deployment", "chat-epp"]["spec"]["template"]["metadata"]["labels"]
    assert labels["ome-iac/answers"] == "false"
    assert chat.engine.port == 8200


def test_the_picker_reads_its_configuration_and_rolls_with_it(tmp_path: Path) -> None:
    chat, made = rendered(tmp_path, GATEWAY, engine={"minReplicas": 2}, router=PICKER)
    assert chat.router is not None
    assert made["ConfigMap", "chat-epp"]["data"] == {"picker.yaml": chat.router.configuration}
    deployment = made["Deployment", "chat-epp"]
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment["spec"]["replicas"] == 1
    [container] = pod(deployment)["containers"]
    assert container["args"][container["args"].index("--config-file") + 1] == "/config/picker.yaml"
    assert {"name": "configuration", "mountPath": "/config"} in container["volumeMounts"]
    other, changed = rendered(
        tmp_path / "b",
        GATEWAY,
        engine={"minReplicas": 2},
        router={"config": {**PICKER["config"], "policy": "power_of_two"}},
    )
    annotations = [
        each["Deployment", "chat-epp"]["spec"]["template"]["metadata"]["annotations"] for each in (made, changed)
    ]
    assert annotations[0] != annotations[1]
    rules = made["Role", "chat-epp"]["rules"]
    assert {"inferencepools", "pods"} <= {resource for rule in rules for resource in rule["resources"]}
    assert all(rule["verbs"] == ["get", "list", "watch"] for rule in rules)
    assert other.router is not None


def test_a_picker_over_plain_replicas_selects_the_one_role(tmp_path: Path) -> None:
    _, made = rendered(tmp_path, GATEWAY, engine={"minReplicas": 2}, router=PICKER)
    selector = made["InferencePool", "chat"]["spec"]["selector"]["matchLabels"]
    assert selector == {"app.kubernetes.io/name": "chat", "app.kubernetes.io/component": "engine"}
    template = made["Deployment", "chat"]["spec"]["template"]
    assert template["metadata"]["labels"]["llm-d.ai/engine-type"] in ("vllm", "sglang")


def test_a_precise_picker_has_a_tokenizer_beside_it(tmp_path: Path) -> None:
    router = {"config": {"kind": "endpoint-picker", "prefix": "precise"}}
    _, made = rendered(tmp_path, GATEWAY, engine={"minReplicas": 2}, router=router, runtime={"name": "vllm"})
    picker, tokenizer = pod(made["Deployment", "chat-epp"])["containers"]
    assert [*tokenizer["command"], *tokenizer["args"]][:4] == ["vllm", "launch", "render", "example/small"]
    parameters = {
        each["type"]: each.get("parameters")
        for each in yaml.safe_load(made["ConfigMap", "chat-epp"]["data"]["picker.yaml"])["plugins"]
    }
    port = tokenizer["args"][tokenizer["args"].index("--port") + 1]
    assert parameters["token-producer"]["vllm"]["url"] == f"http://localhost:{port}"
    assert picker["name"] == "epp"


def test_groups_are_found_by_their_leader_only(tmp_path: Path) -> None:
    chat, made = rendered(tmp_path, of="large", intent={**APART, "tensorParallel": 16})
    assert [role.nodes for role in chat.roles] == [2, 2]
    for role in ("prefill", "decode"):
        group = made["LeaderWorkerSet", f"chat-{role}"]["spec"]["leaderWorkerTemplate"]
        leader, worker = (
            group[name]["metadata"]["labels"]["ome-iac/answers"] for name in ("leaderTemplate", "workerTemplate")
        )
        assert (leader, worker) == ("true", "false")
    assert chat.router is not None
    assert chat.router.command.count("leaderworkerset.sigs.k8s.io/worker-index=0") == 2


def test_pods_without_rdma_between_them_are_kept_on_one_node(tmp_path: Path) -> None:
    _, made = rendered(tmp_path, shape="BM.GPU.A10.4", intent={**APART, "contextLength": 4096})
    for role in ("prefill", "decode"):
        spec = pod(made["Deployment", f"chat-{role}"])
        [term] = spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["labelSelector"]["matchLabels"] == {"app.kubernetes.io/name": "chat"}
        assert term["labelSelector"]["matchExpressions"][0]["values"] == ["prefill", "decode"]


def test_a_router_stays_off_gpu_nodes_where_there_are_others(tmp_path: Path) -> None:
    _, made = rendered(tmp_path, engine={"minReplicas": 2}, router={})
    spec = pod(made["Deployment", "chat-router"])
    [preferred] = spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    [rule] = preferred["preference"]["matchExpressions"]
    assert (rule["operator"], rule["values"]) == ("NotIn", ["BM.GPU.H100.8"])
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["securityContext"]["runAsNonRoot"] is True


def test_two_routers_keep_one_through_a_drain_and_are_scraped(tmp_path: Path) -> None:
    platform = {**GATEWAY, "spec": {"controllers": ["prometheus-operator"]}}
    _, made = rendered(tmp_path, platform, engine={"minReplicas": 2}, router={"minReplicas": 2})
    assert made["PodDisruptionBudget", "chat-router"]["spec"]["maxUnavailable"] == 1
    endpoints = made["PodMonitor", "chat-router"]["spec"]["podMetricsEndpoints"]
    assert endpoints == [{"port": "metrics", "path": "/metrics", "interval": "15s"}]
