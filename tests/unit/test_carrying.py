"""What stands around a service's pods: fabric, scaling, routes, monitors; and what is refused."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from ome_iac.manifests import service_objects, stack_objects
from ome_iac.planning.plan import Plan
from ome_iac.planning.planner import plan_stack
from ome_iac.problems import Problem
from tests.unit.facts import decoder, encoder, model, pool, service, stack

SMALL, HUGE, TEXT = "hf://example/small", "hf://example/huge", "hf://example/text"
FACTS = {
    SMALL: decoder(SMALL),
    HUGE: decoder(HUGE, parameters=400_000_000_000, layers=126, heads=128, kv_heads=8, hidden=16384),
    TEXT: encoder(TEXT),
}
MODELS = (model("small", SMALL), model("huge", HUGE), model("text", TEXT))
PROMETHEUS = "http://prometheus.monitoring:9090"


def platform(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "ome-iac/v1", "kind": "Platform", "metadata": {"name": "cluster"}, "spec": spec}


def document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "ome-iac/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def decide(*documents: dict[str, Any], nodes: int = 4) -> tuple[Plan | None, list[Problem]]:
    with tempfile.TemporaryDirectory() as folder:
        wanted = stack(Path(folder), *MODELS, pool("h100", "BM.GPU.H100.8", nodes), *documents)
    return plan_stack(wanted, FACTS)


def planned(*documents: dict[str, Any], nodes: int = 4) -> Plan:
    plan, problems = decide(*documents, nodes=nodes)
    assert plan is not None, problems
    return plan


def made(plan: Plan, name: str = "chat") -> dict[str, Any]:
    [decided] = [item for item in plan.services if item.name == name]
    return {item["kind"]: item for item in service_objects(plan, decided)}


def refusal(*documents: dict[str, Any], nodes: int = 4) -> str:
    plan, problems = decide(*documents, nodes=nodes)
    assert plan is None
    return "\n".join(map(str, problems))


def test_a_group_is_whole_in_one_block_on_the_fabric() -> None:
    objects = made(planned(service("chat", "huge", intent={"contextLength": 8192})))
    group = objects["LeaderWorkerSet"]
    assert (group["metadata"]["name"], objects["Service"]["metadata"]["name"]) == ("chat-engine", "chat")
    spec = group["spec"]["leaderWorkerTemplate"]
    assert spec["size"] == 2
    for template in (spec["leaderTemplate"], spec["workerTemplate"]):
        [container] = template["spec"]["containers"]
        [near] = template["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert near["topologyKey"] == "oci.oraclecloud.com/rdma.local_block_id"
        assert near["matchLabelKeys"] == ["leaderworkerset.sigs.k8s.io/group-index"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "8"
        assert container["resources"]["limits"]["nvidia.com/rdma-vf"] == "16"
        assert template["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] == ",".join(["default/rdma-vf"] * 16)
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK"]}
        assert {"name": "NCCL_IB_HCA", "value": "mlx5"} in container["env"]
    [leader], [worker] = spec["leaderTemplate"]["spec"]["containers"], spec["workerTemplate"]["spec"]["containers"]
    assert "readinessProbe" in leader
    assert "readinessProbe" not in worker
    assert "--headless" in worker["args"]
    assert "--headless" not in leader["args"]
    assert objects["Service"]["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
    assert "PodDisruptionBudget" not in objects


def test_with_a_queue_kueue_places_the_group_and_nobody_else() -> None:
    group = made(planned(platform(queue="research"), service("chat", "huge", intent={"contextLength": 8192})))[
        "LeaderWorkerSet"
    ]
    assert group["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"
    assert "annotations" not in group["metadata"]
    for template in ("leaderTemplate", "workerTemplate"):
        annotations = group["spec"]["leaderWorkerTemplate"][template]["metadata"]["annotations"]
        assert "affinity" not in group["spec"]["leaderWorkerTemplate"][template]["spec"]
        assert annotations["kueue.x-k8s.io/podset-required-topology"] == "oci.oraclecloud.com/rdma.local_block_id"


def test_the_nodes_own_network_is_used_where_it_is_asked_for() -> None:
    wanted = service("chat", "huge", intent={"contextLength": 8192})
    spec = made(planned(platform(rdma={"mode": "host"}), wanted))["LeaderWorkerSet"]["spec"]["leaderWorkerTemplate"]
    pod = spec["workerTemplate"]["spec"]
    assert (pod["hostNetwork"], pod["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert "nvidia.com/rdma-vf" not in pod["containers"][0]["resources"]["limits"]


def test_ray_joins_the_nodes_where_the_document_asks_for_omes_mode() -> None:
    wanted = service("chat", "huge", runtime={"name": "vllm"}, intent={"contextLength": 8192})
    wanted["metadata"]["annotations"] = {"ome.io/deploymentMode": "MultiNodeRayVLLM"}
    spec = made(planned(wanted))["LeaderWorkerSet"]["spec"]["leaderWorkerTemplate"]
    leader = spec["leaderTemplate"]["spec"]["containers"][0]
    assert leader["command"] == ["/bin/sh"]
    assert "ray start --head" in leader["args"][1]
    assert "--distributed-executor-backend ray" in leader["args"][1]
    assert "ray start --address" in spec["workerTemplate"]["spec"]["containers"][0]["args"][1]


def test_a_fixed_number_of_replicas_has_no_scaler() -> None:
    objects = made(planned(service("chat", "small", engine={"minReplicas": 2})))
    assert objects["Deployment"]["spec"]["replicas"] == 2
    assert not {"ScaledObject", "HorizontalPodAutoscaler"} & objects.keys()


def test_keda_follows_requests_by_labels_and_owns_the_replicas() -> None:
    plan = planned(
        platform(prometheus=PROMETHEUS), service("chat", "small", engine={"minReplicas": 1, "maxReplicas": 3})
    )
    objects = made(plan)
    assert "replicas" not in objects["Deployment"]["spec"]
    scaled = objects["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "chat"}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (1, 3)
    [trigger] = scaled["triggers"]
    assert trigger["metadata"]["serverAddress"] == PROMETHEUS
    assert 'app_kubernetes_io_name="chat"' in trigger["metadata"]["query"]
    assert "vllm:num_requests_waiting" in trigger["metadata"]["query"]
    assert scaled["cooldownPeriod"] >= plan.services[0].engine.startup.expected_seconds
    assert "app.kubernetes.io/name" in objects["PodMonitor"]["spec"]["podTargetLabels"]
    assert plan.controllers == ("keda", "prometheus-operator")


def test_without_a_prometheus_the_replicas_stay_and_that_is_said() -> None:
    plan = planned(service("chat", "small", engine={"minReplicas": 1, "maxReplicas": 3}))
    [decided] = plan.services
    assert decided.engine.scaling is None
    assert any("stays at 1 replicas" in note for note in decided.notes)


def test_omes_cpu_metric_is_kubernetes_own_autoscaler() -> None:
    engine = {"minReplicas": 1, "maxReplicas": 2, "scaleMetric": "cpu", "scaleTarget": 70}
    objects = made(planned(service("chat", "small", engine=engine)))
    [metric] = objects["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    assert "replicas" not in objects["Deployment"]["spec"]


def test_omes_keda_settings_are_taken_as_they_are() -> None:
    keda = {
        "enableKeda": True,
        "promServerAddress": "http://elsewhere:9090",
        "customPromQuery": "sum(rate(asked[1m]))",
        "scalingThreshold": "7",
    }
    objects = made(planned(service("chat", "small", engine={"minReplicas": 1, "maxReplicas": 2}, kedaConfig=keda)))
    [trigger] = objects["ScaledObject"]["spec"]["triggers"]
    assert trigger["metadata"]["query"] == "sum(rate(asked[1m]))"
    assert trigger["metadata"]["threshold"] == "7"


def test_no_replica_on_one_node_is_knatives() -> None:
    plan = planned(service("chat", "small", engine={"minReplicas": 0, "maxReplicas": 2}))
    objects = made(plan)
    assert set(objects) == {"ServiceAccount", "Service"}
    assert plan.services[0].pattern == "serverless"
    assert plan.controllers == ("knative",)
    assert objects["Service"]["apiVersion"] == "serving.knative.dev/v1"
    template = objects["Service"]["spec"]["template"]
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"] == "0"
    assert template["metadata"]["annotations"]["autoscaling.knative.dev/max-scale"] == "2"
    [container] = template["spec"]["containers"]
    assert "lifecycle" not in container
    assert container["ports"][0]["name"] == "http1"
    assert plan.pool("h100").gpus_used == 1


def test_no_replica_on_several_nodes_is_kedas_and_needs_somebody_who_counts() -> None:
    wanted = service("chat", "huge", intent={"contextLength": 8192}, engine={"minReplicas": 0})
    gateway = {"kind": "gateway", "parent": "gateways/public"}
    objects = made(planned(platform(prometheus=PROMETHEUS, ingress=gateway), wanted))
    assert "replicas" not in objects["LeaderWorkerSet"]["spec"]
    scaled = objects["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"]["kind"] == "LeaderWorkerSet"
    assert scaled["minReplicaCount"] == 0
    assert any("istio_requests_total" in trigger["metadata"]["query"] for trigger in scaled["triggers"])
    assert "nothing counts requests while no replica runs" in refusal(platform(prometheus=PROMETHEUS), wanted)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (service("chat", "huge", intent={"contextLength": 8192, "pattern": "serverless"}), "cannot be serverless"),
        (
            service("chat", "small", engine={"minReplicas": 0, "scaleMetric": "cpu"}),
            "cpu cannot bring a service back from zero",
        ),
        (
            service("chat", "small", engine={"minReplicas": 0}, kedaConfig={"enableKeda": True}),
            "Knative sets its replicas",
        ),
    ],
)
def test_what_cannot_scale_is_refused_with_the_remedy(wanted: dict[str, Any], words: str) -> None:
    assert words in refusal(platform(prometheus=PROMETHEUS), wanted)


def test_two_owners_of_replicas_are_refused() -> None:
    wanted = service("chat", "small", engine={"minReplicas": 1, "maxReplicas": 2}, kedaConfig={"enableKeda": True})
    wanted["metadata"]["annotations"] = {"ome.io/autoscalerClass": "hpa"}
    assert "two would set the replicas" in refusal(platform(prometheus=PROMETHEUS), wanted)


def test_a_controller_that_the_platform_lacks_is_named() -> None:
    wanted = service("chat", "huge", intent={"contextLength": 8192})
    text = refusal(platform(controllers=["keda"]), wanted)
    assert "needs leader-worker-set, which the Platform does not list" in text


@pytest.mark.parametrize(
    ("kind", "made_kind", "controllers"),
    [
        ("gateway", "HTTPRoute", ("gateway-api",)),
        ("istio", "VirtualService", ("istio",)),
        ("ingress", "Ingress", ()),
    ],
)
def test_every_kind_of_ingress_leads_to_the_service(kind: str, made_kind: str, controllers: tuple[str, ...]) -> None:
    ingress = {"kind": kind, "parent": "gateways/public", "host": "{service}.{namespace}.models.example"}
    plan = planned(platform(ingress=ingress), service("chat", "small"))
    route = made(plan)[made_kind]
    assert "chat.default.models.example" in str(route)
    assert plan.controllers == controllers


def test_an_answer_has_no_time_limit_on_its_way() -> None:
    ingress = {"kind": "gateway", "parent": "gateways/public"}
    route = made(planned(platform(ingress=ingress), service("chat", "small")))["HTTPRoute"]
    [rule] = route["spec"]["rules"]
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}


def test_requests_are_divided_by_weight_between_here_and_elsewhere() -> None:
    split = document(
        "TrafficSplit", "public", services=[{"service": "chat", "weight": 95}, {"service": "cloud", "weight": 5}]
    )
    elsewhere = document("ExternalService", "cloud", host="inference.example.com", model="small")
    ingress = {"kind": "gateway", "parent": "gateways/public"}
    plan = planned(platform(ingress=ingress), service("chat", "small"), split, elsewhere)
    alias, policy, route = stack_objects(plan)
    assert alias["spec"]["externalName"] == "inference.example.com"
    assert policy["spec"]["targetRefs"] == [{"group": "", "kind": "Service", "name": "cloud"}]
    assert policy["spec"]["validation"]["hostname"] == "inference.example.com"
    [rule] = route["spec"]["rules"]
    assert [(item["name"], item["weight"]) for item in rule["backendRefs"]] == [("chat", 95), ("cloud", 5)]
    here, there = rule["backendRefs"]
    assert "filters" not in here
    assert there["filters"] == [{"type": "URLRewrite", "urlRewrite": {"hostname": "inference.example.com"}}]


def test_no_tls_is_spoken_to_a_service_elsewhere_that_has_none() -> None:
    split = document(
        "TrafficSplit", "public", services=[{"service": "chat", "weight": 95}, {"service": "cloud", "weight": 5}]
    )
    elsewhere = document("ExternalService", "cloud", host="inference.example.com", port=80, tls=False, model="small")
    ingress = {"kind": "gateway", "parent": "gateways/public"}
    objects = stack_objects(planned(platform(ingress=ingress), service("chat", "small"), split, elsewhere))
    assert [item["kind"] for item in objects] == ["Service", "HTTPRoute"]


def test_a_split_that_leads_nowhere_is_refused_with_all_its_faults() -> None:
    split = document(
        "TrafficSplit", "public", services=[{"service": "caht", "weight": 95}, {"service": "chat", "weight": 10}]
    )
    text = refusal(service("chat", "small"), split)
    assert "weights sum up to 105" in text
    assert "there is no service caht in default" in text
    assert "no gateway that could divide requests" in text


def test_pods_run_without_rights_and_drain_before_they_stop() -> None:
    pod = made(planned(service("chat", "small")))["Deployment"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] < pod["terminationGracePeriodSeconds"]
    [spread] = pod["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"


RUNTIME = {
    "apiVersion": "ome.io/v1beta1",
    "kind": "ClusterServingRuntime",
    "metadata": {"name": "own"},
    "spec": {
        "supportedModelFormats": [{"modelFormat": {"name": "safetensors"}, "modelArchitecture": "LlamaForCausalLM"}],
        "engineConfig": {
            "labels": {"logging": "on"},
            "volumes": [{"name": "dshm", "emptyDir": {"medium": "Memory"}}],
            "runner": {
                "name": "ome-container",
                "image": "docker.io/vllm/vllm-openai:v0.19.0",
                "command": ["vllm", "serve", "$(MODEL_PATH)"],
                "args": ["--tensor-parallel-size", "2", "--max-model-len", "8192", "--served-model-name", "{{.Name}}"],
                "ports": [{"containerPort": 8080, "name": "http1"}],
                "volumeMounts": [{"name": "dshm", "mountPath": "/dev/shm"}],
                "resources": {"limits": {"nvidia.com/gpu": 2}},
            },
        },
    },
}


def test_a_runtime_document_writes_its_pods_itself() -> None:
    plan = planned(RUNTIME, service("chat", "small", runtime={"name": "own"}))
    [role] = plan.services[0].roles
    assert (role.runtime, role.split.tensor, plan.services[0].context_length) == ("own", 2, 8192)
    pod = made(plan)["Deployment"]["spec"]["template"]
    [container] = pod["spec"]["containers"]
    assert container["name"] == "ome-container"
    assert container["command"] == ["vllm", "serve", "$(MODEL_PATH)"]
    assert container["args"][-1] == "chat"
    assert {"name": "MODEL_PATH", "value": "example/small"} in container["env"]
    assert {"name": "PARALLELISM_SIZE", "value": "2"} in container["env"]
    assert pod["metadata"]["labels"]["logging"] == "on"
    assert pod["spec"]["nodeSelector"] == plan.pool("h100").labels
    assert made(plan)["Service"]["spec"]["ports"][0]["targetPort"] == 8080


def test_a_service_writes_over_the_runtimes_container_and_its_arguments_are_joined() -> None:
    runner = {"name": "ome-container", "args": ["--max-num-seqs", "8"], "env": [{"name": "LOG", "value": "debug"}]}
    wanted = service("chat", "small", runtime={"name": "own"}, engine={"runner": runner})
    [container] = made(planned(RUNTIME, wanted))["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][:2] == ["--tensor-parallel-size", "2"]
    assert container["args"][-2:] == ["--max-num-seqs", "8"]
    assert {"name": "LOG", "value": "debug"} in container["env"]


@pytest.mark.parametrize("runtime", [None, {"name": "vllm"}])
def test_a_container_without_its_runtime_document_is_refused(runtime: dict[str, str] | None) -> None:
    wanted = service("chat", "small", engine={"runner": {"name": "ome-container", "image": "x"}})
    if runtime:
        wanted["spec"]["runtime"] = runtime
    assert "spec.engine.runner" in refusal(wanted)


def test_what_the_document_says_of_its_pods_goes_over_ours() -> None:
    engine = {"priorityClassName": "gold", "tolerations": [{"key": "team", "operator": "Exists"}]}
    pod = made(planned(service("chat", "small", engine=engine)))["Deployment"]["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "gold"
    assert [item["key"] for item in pod["tolerations"]] == ["nvidia.com/gpu", "team"]


def test_a_pattern_that_is_asked_for_is_taken_or_refused() -> None:
    several = planned(service("chat", "small", intent={"pattern": "multi-node"}))
    assert several.services[0].pattern == "multi-node"
    assert several.services[0].engine.nodes == 2
    text = refusal(service("chat", "huge", intent={"pattern": "standard", "contextLength": 8192}))
    assert "fits nowhere" in text
    alone = refusal(service("chat", "small", intent={"pattern": "multi-node"}), nodes=1)
    assert "it has 1 node" in alone


def test_a_group_beside_smaller_pods_says_that_they_may_be_spread_over_its_nodes() -> None:
    wanted = service("chat", "huge", intent={"contextLength": 8192})
    mixed = planned(wanted, service("small", "small"))
    notes = {item.name: " ".join(item.notes) for item in mixed.services}
    assert "a pool of their own" in notes["chat"]
    assert "a pool of their own" not in notes["small"]
    assert "a pool of their own" not in " ".join(planned(wanted).services[0].notes)
