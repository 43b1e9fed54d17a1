"""The router before a service's replicas: whether there is one, which, and what it is told.

Flags are those of SGLang's router, checked against its real program by tests/routers: smg 1.13.0 (as it is called now)
and sglang-router 0.3.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import yaml

from ome_iac.hardware import GIB
from ome_iac.planning.names import COMPONENT, NAME, object_name
from ome_iac.planning.plan import RolePlan, ServicePlan
from ome_iac.planning.serving import picker
from ome_iac.planning.serving.decisions import Router
from ome_iac.planning.serving.handover import BLOCK_TOKENS, DECODE_PORT, HASH_SEED, POD_ADDRESS, disagreements
from ome_iac.problems import Problem, did_you_mean
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import all_engines
from ome_iac.spec.components import RouterComponent
from ome_iac.spec.platform import PlatformSpec
from ome_iac.spec.services import InferenceService

LEADER = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}
"""LeaderWorkerSet's own label of the first pod of a group: the one that answers."""
ROUTER, PICKER = "router", "epp"
"""The component label of their pods, and the end of their objects' names."""

ROUTER_IMAGE = "docker.io/lightseekorg/smg:1.13.0"
"""What sglang-router became. The last release under that name, 0.3.2, takes the same flags, but sends prefill to random
replicas when told to look at prefixes (measured by tests/routers; sglang's pull request 25184 came after it)."""
ROUTER_PORT, ROUTER_METRICS_PORT = 8000, 29000
REQUEST_SECONDS = 3600
POLICIES = ("cache_aware", "power_of_two", "round_robin", "random")
"""`power_of_two` is least load: the less loaded of two replicas drawn at random."""
KINDS = ("sglang-router", "endpoint-picker")
PREFIXES = ("approximate", "precise")
SETTINGS = ("kind", "policy", "prefix")
"""Of `router.config`; whatever else OME makes environment variables of."""

CHARACTERS_PER_TOKEN = 4
BYTES_PER_CHARACTER = 2
"""Of the router's prefix tree: 1.4 measured (distinct prompts of 20,000 characters), and what comes between two
evictions."""
BASE_BYTES = 2 * GIB
"""Of a router without prompts, measured 52 MiB, and of requests in flight, each of which it holds several times over: a
thousand of 128,000 tokens are half a gigabyte once. 500 MiB in all is known to be too little."""
EVICTION_SECONDS = 30

FAILURES, HEALTH_SECONDS = 2, 10
"""After so many failures a replica is left out. By default it takes 10, after 5 retries and with a look every 60 s: a
request whose prefix a dead replica had was answered with an error (measured, 0.3.2)."""

PICKER_CPUS, PICKER_BYTES = 2, 8 * GIB


def router_of(
    document: InferenceService, service: ServicePlan, platform: PlatformSpec
) -> tuple[ServicePlan, list[Problem]]:
    """The service with its router, and with what its replicas need for it; and what is wrong with the document's.

    Prefill and decode always have one: SGLang's own, or llm-d's picker and proxy for vLLM. Other services have one
    where the document has a `router`, unless there is a single replica: then a note says why there is none.
    """
    asked = document.spec.router
    apart = service.pattern == "prefill-decode"
    if asked is None and not apart:
        return service, []
    asked = asked or RouterComponent()
    problems = _wrong(document, service, asked)
    if problems:
        return service, problems
    if not apart and _most_replicas(service.engine) == 1:
        note = "router left out: one replica, so there is nothing to choose between"
        return service.model_copy(update={"notes": (*service.notes, note)}), []
    kind = asked.config.get("kind") or ("endpoint-picker" if apart and _engine(service) == "vllm" else "sglang-router")
    replicas = max(1, asked.min_replicas or 1)
    if kind == "sglang-router":
        return service.model_copy(update={"router": sglang_router(service, asked.config.get("policy"), replicas)}), []
    if not has_picker(platform):
        remedy = "a Platform with spec.ingress of kind gateway and inference-extension among its controllers"
        return service, [
            document.problem("spec.router", "an endpoint picker is asked by a gateway: there is none", remedy)
        ]
    mode: picker.Mode = "approximate"
    if apart:
        mode = "prefill-decode"
    elif asked.config.get("policy") not in (None, "cache_aware"):
        mode = "least-load"
    elif asked.config.get("prefix") == "precise":
        mode = "precise"
        service = service.model_copy(update={"roles": tuple(_telling(role, service.model) for role in service.roles)})
    routed = service.model_copy(update={"router": endpoint_picker(service, mode)})
    return routed, [document.problem("spec.router", what, "") for what in unequal_blocks(routed)]


def has_picker(platform: PlatformSpec) -> bool:
    """Whether a gateway can ask an endpoint picker; controllers that nobody lists are taken to be there."""
    known = platform.controllers is None or "inference-extension" in platform.controllers
    return known and platform.ingress is not None and platform.ingress.kind == "gateway"


def sglang_router(service: ServicePlan, policy: str | None, replicas: int = 1) -> Router:
    """SGLang's router, which finds the pods by their labels.

    Requests go where the prefix is, of prefill and decode the prefill; decode goes to the less loaded.
    The prefix tree holds what all replicas' KV caches hold: what is evicted there need not be known here.
    """
    apart = len(service.roles) > 1
    cached = sum(_most_replicas(role) * (role.memory.kv_tokens or 0) for role in service.roles)
    tree = max(1 << 20, cached * CHARACTERS_PER_TOKEN)
    memory = BASE_BYTES + tree * BYTES_PER_CHARACTER
    first, then = policy or "cache_aware", policy or "power_of_two"
    modes: tuple[str, ...] = ("--policy", first)
    if apart:
        modes = ("--pd-disaggregation", "--prefill-policy", first, "--decode-policy", then)
    selectors = [
        word
        for role in service.roles
        for word in (f"--{role.role}-selector" if apart else "--selector", *_selector(service, role))
    ]
    startup = max(role.startup.budget_seconds for role in service.roles)
    command = (
        *("python3", "-m", "smg.launch_router"),
        *("--host", "0.0.0.0"),
        *("--port", str(ROUTER_PORT)),
        *modes,
        "--service-discovery",
        *("--service-discovery-namespace", service.namespace),
        *("--service-discovery-port", str(service.engine.port)),
        *selectors,
        *("--max-tree-size", str(tree)),
        *("--eviction-interval-secs", str(EVICTION_SECONDS)),
        *("--request-timeout-secs", str(REQUEST_SECONDS)),
        *("--cb-failure-threshold", str(FAILURES), "--health-failure-threshold", str(FAILURES)),
        *("--health-check-interval-secs", str(HEALTH_SECONDS)),
        *("--worker-startup-timeout-secs", str(startup)),
        *("--history-backend", "none"),
        *("--prometheus-host", "0.0.0.0"),
        *("--prometheus-port", str(ROUTER_METRICS_PORT)),
        *("--log-level", "warn"),
    )
    return Router(
        kind="sglang-router",
        image=ROUTER_IMAGE,
        command=command,
        port=ROUTER_PORT,
        metrics_port=ROUTER_METRICS_PORT,
        replicas=replicas,
        policy=f"prefill {first}, decode {then}" if apart else first,
        cpus=2,
        memory_bytes=-(-memory // GIB) * GIB,
        target_port=service.engine.port,
        startup_seconds=startup,
    )


def endpoint_picker(service: ServicePlan, mode: picker.Mode, release: str = picker.RELEASE) -> Router:
    """llm-d's picker, asked by the gateway for every request; for prefill and decode also the proxy of decode pods.

    The proxy sends a prompt wherever the picker's header says. Its own check of that needs the Kubernetes API in every
    decode pod and is left off: only the gateway may reach the pods. Raises ProblemsError for an unknown release.
    """
    first = service.roles[0]
    block = BLOCK_TOKENS[_engine(service)] if mode in ("precise", "prefill-decode") else 16
    cached = max((role.memory.kv_tokens or 0) for role in service.roles)
    configuration = picker.configuration(
        mode, block, max(1, cached // block), service.context_length, service.model, HASH_SEED, release
    )
    name = object_name(service.name)
    command = (
        *("--pool-name", name),
        *("--pool-namespace", service.namespace),
        *("--grpc-port", str(picker.GRPC_PORT)),
        *("--grpc-health-port", str(picker.HEALTH_PORT)),
        *("--config-file", picker.CONFIGURATION),
        *("--zap-encoder", "json"),
        "--metrics-endpoint-auth=false",
    )
    proxied = mode == "prefill-decode"
    proxy = (f"--port={first.port}", f"--vllm-port={DECODE_PORT}", "--kv-connector=nixlv2", "--secure-proxy=false")
    counts = mode == "precise"
    return Router(
        kind="endpoint-picker",
        image=f"{picker.PICKER_IMAGE}:{release}",
        command=command,
        port=picker.GRPC_PORT,
        metrics_port=picker.METRICS_PORT,
        policy=picker.weights_text(mode),
        cpus=PICKER_CPUS,
        memory_bytes=PICKER_BYTES,
        configuration=configuration,
        sidecar_image=f"{picker.SIDECAR_IMAGE}:{release}" if proxied else None,
        sidecar_command=proxy if proxied else (),
        target_port=first.port,
        startup_seconds=max(role.startup.budget_seconds for role in service.roles),
        tokenizer_image=first.image.replace("vllm-openai:", "vllm-openai-cpu:") if counts else None,
        tokenizer_command=("vllm", "launch", "render", service.volume.source, "--port", str(picker.TOKENIZER_PORT))
        if counts
        else (),
    )


def unequal_blocks(service: ServicePlan) -> tuple[str, ...]:
    """What of a precise picker's configuration is not as the engines hash blocks; empty where nothing is precise."""
    router = service.router
    if router is None or not router.tokenizer_image:
        return ()
    plugins = yaml.load(router.configuration or "{}", Loader=yaml.CSafeLoader)["plugins"]
    found = [each["parameters"] for each in plugins if each["type"] == "precise-prefix-cache-producer"]
    reasons = []
    for parameters in found:
        tokens = parameters["tokenProcessorConfig"]
        for role in service.roles:
            size, seed = _flag(role.command, "--block-size"), dict(role.environment).get("PYTHONHASHSEED")
            if size != str(tokens["blockSizeTokens"]):
                reasons.append(f"the picker hashes blocks of {tokens['blockSizeTokens']} tokens, {role.role} of {size}")
            if seed != tokens["hashSeed"]:
                reasons.append(f"the picker's hash seed is {tokens['hashSeed']}, that of {role.role} {seed}")
    return tuple(reasons)


def _telling(role: RolePlan, model: str) -> RolePlan:
    """vLLM saying which blocks it keeps, hashed as the picker does, to whoever listens at the pod's socket."""
    topic = f"{picker.EVENT_TOPIC}{POD_ADDRESS}:{role.port}@{model}"
    events = {
        "enable_kv_cache_events": True,
        "publisher": "zmq",
        "endpoint": f"tcp://*:{picker.EVENTS_PORT}",
        "topic": topic,
    }
    command = (
        *role.command,
        *("--block-size", str(BLOCK_TOKENS["vllm"])),
        *("--prefix-caching-hash-algo", "sha256_cbor"),
        *("--kv-events-config", json.dumps(events, separators=(",", ":"))),
    )
    environment = (*role.environment, ("PYTHONHASHSEED", HASH_SEED))
    return role.model_copy(update={"command": command, "environment": environment})


def _wrong(document: InferenceService, service: ServicePlan, asked: RouterComponent) -> list[Problem]:
    """Everything about the document's router that cannot be."""
    engine, apart = _engine(service), service.pattern == "prefill-decode"
    found: list[tuple[str, str, str]] = [
        (f"spec.router.config.{key}", f"there is no setting {key}", did_you_mean(key, SETTINGS))
        for key in sorted(asked.config)
        if key not in SETTINGS
    ]
    for key, known in (("kind", KINDS), ("policy", POLICIES), ("prefix", PREFIXES)):
        value = asked.config.get(key)
        if value is not None and value not in known:
            found.append((f"spec.router.config.{key}", f"there is no {key} {value}", did_you_mean(value, known)))
    kind, prefix = asked.config.get("kind"), asked.config.get("prefix")
    if service.pattern == "serverless":
        found.append(("spec.router", "is left without pods to choose from: Knative routes by itself", "no router"))
    known_engine = all_engines().get(engine)
    if known_engine is not None and known_engine.protocol != "openAI":
        what = f"{known_engine.name} does not speak OpenAI's protocol, which routers read"
        found.append(("spec.router", what, "an engine that does, such as vllm; or no router"))
    own = {"vllm": "endpoint-picker", "sglang": "sglang-router"}.get(engine)
    if apart and kind is not None and kind != own:
        found.append(("spec.router.config.kind", f"{kind} does not join prefill and decode of {engine}", f"{own}"))
    if prefix == "precise" and (kind != "endpoint-picker" or engine != "vllm" or apart):
        what = "prefixes are known precisely from vLLM's events and by an endpoint picker, of replicas that do both"
        found.append(("spec.router.config.prefix", what, "kind: endpoint-picker with runtime vllm; or approximate"))
    if prefix == "precise" and service.volume.kind != "hub":
        what = "the tokenizer beside the picker reads the model from the Hub, and this one lies elsewhere"
        found.append(("spec.router.config.prefix", what, "approximate"))
    if prefix and asked.config.get("policy") not in (None, "cache_aware"):
        what = f"{prefix} is about prefixes, which {asked.config['policy']} does not look at"
        found.append(("spec.router.config.prefix", what, "policy: cache_aware"))
    if kind == "endpoint-picker" and service.task != Task.GENERATE:
        what = f"the picker weighs KV cache, which a model for {service.task} does not keep"
        found.append(("spec.router.config.kind", what, "sglang-router"))
    if kind == "endpoint-picker" and (asked.min_replicas or 1) > 1:
        what = "each picker would know only the requests that it saw itself"
        found.append(("spec.router.minReplicas", what, "1"))
    if apart:
        found += (("spec.decoder", each.what, each.remedy) for each in disagreements(*service.roles))
    return [document.problem(path, what, remedy) for path, what, remedy in found]


def clashes(services: Iterable[ServicePlan]) -> Iterator[tuple[tuple[str, str], str]]:
    """Services, by namespace and name, called as an object of another is: `chat-router` beside a routed `chat`."""
    owners: dict[tuple[str, str], str] = {}
    ordered = sorted(services, key=lambda service: (service.namespace, service.name))
    for service in ordered:
        parts: list[str] = [role.role for role in service.roles if len(service.roles) > 1 or role.nodes > 1]
        if service.router:
            parts.append(PICKER if service.router.kind == "endpoint-picker" else ROUTER)
        owners |= {(service.namespace, object_name(service.name, part)): service.name for part in parts}
    for service in ordered:
        owner = owners.get((service.namespace, object_name(service.name)))
        if owner is not None:
            yield (service.namespace, service.name), f"is what an object of the service {owner} is called"


def _engine(service: ServicePlan) -> str:
    return service.engine.runtime.split()[0]


def _most_replicas(role: RolePlan) -> int:
    return role.scaling.max_replicas if role.scaling else role.replicas


def _selector(service: ServicePlan, role: RolePlan) -> Sequence[str]:
    """Labels of the pods of a role that answer, as the router takes them."""
    labels: Mapping[str, str] = {NAME: object_name(service.name), COMPONENT: role.role} | (
        LEADER if role.nodes > 1 else {}
    )
    return [f"{key}={value}" for key, value in labels.items()]


def _flag(command: Sequence[str], name: str) -> str | None:
    return command[command.index(name) + 1] if name in command else None
