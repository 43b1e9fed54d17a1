"""No selector of one service, or of one role, matches a pod of another, whatever services are called."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ome_iac.manifests import Manifest, service_objects
from ome_iac.planning.plan import Plan, ServicePlan
from ome_iac.planning.planner import plan_stack
from ome_iac.planning.serving.routing import LEADER, clashes, endpoint_picker, sglang_router
from tests.unit.facts import decoder, llama_70b, model, pool, service, stack

SMALL, LARGE, HUGE = "hf://example/small", "hf://example/large", "hf://example/huge"
FACTS = {
    SMALL: decoder(SMALL),
    LARGE: llama_70b(LARGE),
    HUGE: decoder(HUGE, parameters=600_000_000_000, layers=126, heads=128, kv_heads=16, hidden=16384),
}
MODELS = (model("small", SMALL), model("large", LARGE), model("huge", HUGE))
PLATFORM = {
    "apiVersion": "ome-iac/v1",
    "kind": "Platform",
    "metadata": {"name": "platform"},
    "spec": {
        "ingress": {"kind": "gateway", "parent": "edge/public"},
        "controllers": ["gateway-api", "inference-extension", "leader-worker-set", "prometheus-operator"],
    },
}
APART = {"pattern": "prefill-decode", "contextLength": 8192}
WHOLE = {**APART, "tensorParallel": 16}
KINDS = {
    "standard": service("standard", "small", engine={"minReplicas": 2}),
    "routed": service("routed", "small", engine={"minReplicas": 2}, router={}),
    "picked": service("picked", "small", engine={"minReplicas": 2}, router={"config": {"kind": "endpoint-picker"}}),
    "groups": service("groups", "huge", intent={"contextLength": 8192}),
    "apart-sglang": service("apart-sglang", "large", intent=APART, runtime={"name": "sglang"}),
    "apart-vllm": service("apart-vllm", "large", intent=APART, runtime={"name": "vllm"}),
    "apart-groups": service("apart-groups", "large", intent=WHOLE, runtime={"name": "sglang"}),
}


@functools.cache
def planned() -> Plan:
    """One service of every kind."""
    with TemporaryDirectory() as folder:
        loaded = stack(Path(folder), *MODELS, PLATFORM, pool("h100", "BM.GPU.H100.8", 16), *KINDS.values())
    plan, problems = plan_stack(loaded, FACTS)
    assert plan is not None, problems
    return plan


def named(kind: str, name: str, labels: Mapping[str, str]) -> ServicePlan:
    """The service of a kind under another name; its router names it too."""
    decided = next(each for each in planned().services if each.name == kind)
    renamed = decided.model_copy(update={"name": name, "labels": dict(labels), "route": None})
    if decided.router is None:
        return renamed
    if decided.router.kind == "sglang-router":
        return renamed.model_copy(update={"router": sglang_router(renamed, None)})
    mode = "prefill-decode" if len(decided.roles) > 1 else "approximate"
    return renamed.model_copy(update={"router": endpoint_picker(renamed, mode)})  # type: ignore[arg-type]


words = st.sampled_from(
    ["chat", "chat-prefill", "chat-decode", "chat-router", "chat-epp", "engine", "a", "1", "prefill"]
)
dotted = st.lists(words, min_size=1, max_size=40).map(".".join).map(lambda name: name[:253].rstrip("-."))
long = st.tuples(st.sampled_from(["x" * 60, "x" * 245]), words).map("-".join).map(lambda name: name[:253].rstrip("-."))
names = st.lists(words | dotted | long, min_size=1, max_size=6, unique=True)
labels = st.dictionaries(
    st.sampled_from(
        [
            "app.kubernetes.io/name",
            "app.kubernetes.io/component",
            "ome-iac/answers",
            "llm-d.ai/role",
            next(iter(LEADER)),
            "team",
        ]
    ),
    st.sampled_from(["chat", "engine", "decode", "true", "0"]),
    max_size=3,
)


def pods(owner: str, made: list[Manifest]) -> Iterator[tuple[str, str, bool, dict[str, str]]]:
    """Service, component, whether it answers, and labels of a pod of each template, with what LeaderWorkerSet adds."""
    [index] = LEADER
    for manifest in made:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Deployment":
            found = spec["template"]["metadata"]["labels"]
            yield owner, found["app.kubernetes.io/component"], True, found
        elif manifest["kind"] == "LeaderWorkerSet":
            group = spec["leaderWorkerTemplate"]
            for template, number in (("leaderTemplate", "0"), ("workerTemplate", "1")):
                found = group[template]["metadata"]["labels"] | {index: number}
                yield owner, found["app.kubernetes.io/component"], number == "0", found


def selectors(made: list[Manifest]) -> Iterator[tuple[Manifest, dict[str, str]]]:
    for manifest in made:
        match manifest["kind"]:
            case "Service":
                yield manifest, manifest["spec"]["selector"]
            case "InferencePool" | "PodDisruptionBudget" | "PodMonitor" | "Deployment":
                yield manifest, manifest["spec"]["selector"]["matchLabels"]


def router_selectors(decided: ServicePlan) -> Iterator[tuple[str, dict[str, str]]]:
    """Role and labels of what a router looks for."""
    command = decided.router.command if decided.router and decided.router.kind == "sglang-router" else ()
    for index, word in enumerate(command):
        if word.endswith("selector"):
            found = {}
            for pair in command[index + 1 :]:
                if pair.startswith("--"):
                    break
                key, _, value = pair.partition("=")
                found[key] = value
            yield word.removeprefix("--").removesuffix("selector").rstrip("-") or "engine", found


@settings(max_examples=60)
@given(names, st.data())
def test_no_selector_reaches_beyond_its_service_and_its_role(called: list[str], data: st.DataObject) -> None:
    services = [
        named(data.draw(st.sampled_from(sorted(KINDS))), name, data.draw(labels, label="labels")) for name in called
    ]
    plan = planned().model_copy(update={"services": tuple(services)})
    made = {each.name: service_objects(plan, each) for each in services}
    everyone = [pod for name, manifests in made.items() for pod in pods(name, manifests)]
    for decided in services:
        roles = {role.role for role in decided.roles}
        for manifest, wanted in selectors(made[decided.name]):
            hit = [pod for pod in everyone if wanted.items() <= pod[3].items()]
            assert hit, (manifest["kind"], wanted)
            assert {owner for owner, *_ in hit} == {decided.name}
            components = {component for _, component, *_ in hit}
            if manifest["kind"] == "InferencePool":
                assert components == roles
                assert all(answers for _, _, answers, _ in hit)
            else:
                assert len(components) == 1
            if manifest["kind"] in ("Service", "PodMonitor"):
                assert all(answers for _, _, answers, _ in hit)
        for role, wanted in router_selectors(decided):
            hit = [pod for pod in everyone if wanted.items() <= pod[3].items()]
            assert {(owner, component) for owner, component, *_ in hit} == {(decided.name, role)}
            assert all(answers for _, _, answers, _ in hit)


@settings(max_examples=60)
@given(names, st.data())
def test_objects_have_names_of_their_own_unless_the_plan_was_refused(called: list[str], data: st.DataObject) -> None:
    services = [named(data.draw(st.sampled_from(sorted(KINDS))), name, {}) for name in called]
    plan = planned().model_copy(update={"services": tuple(services)})
    objects = [
        (each["kind"], each["metadata"]["name"]) for decided in services for each in service_objects(plan, decided)
    ]
    assert all(len(name) <= 63 for _, name in objects)
    refused = bool(list(clashes(services)))
    assert refused or len(set(objects)) == len(objects)


def test_every_kind_of_service_is_there() -> None:
    patterns: dict[str, Any] = {each.name: (each.pattern, each.engine.nodes) for each in planned().services}
    assert patterns["apart-groups"] == ("prefill-decode", 2)
    assert patterns["groups"][1] > 1
    assert {each.router.kind for each in planned().services if each.router} == {"sglang-router", "endpoint-picker"}
