"""llm-d's endpoint picker: which plugins it is configured with, by the release that its image's tag names.

Read in llm-d's releases v0.8 and v0.9 (router v0.9.0 and v0.10.0): guides/pd-disaggregation,
guides/precise-prefix-cache-routing, deploy/config, docs/disaggregation.md, and KServe's presets for v0.10.0.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import yaml

from ome_iac.problems import Problem, ProblemsError

RELEASE = "v0.10.0"
PICKER_IMAGE = "ghcr.io/llm-d/llm-d-router-endpoint-picker"
SIDECAR_IMAGE = "ghcr.io/llm-d/llm-d-router-disagg-sidecar"
SCHEMAS = {"0.9": "llm-d.ai/v1alpha1", "0.10": "llm-d.ai/v1alpha1"}
"""The configuration's apiVersion; plugins were renamed with every release before, and v1 came after these."""
GRPC_PORT, HEALTH_PORT, METRICS_PORT, EVENTS_PORT, TOKENIZER_PORT = 9002, 9003, 9090, 5556, 8000
CONFIGURATION = "/config/picker.yaml"
EVENT_TOPIC = "kv@"

Mode = Literal["approximate", "precise", "prefill-decode", "least-load"]

WEIGHTS: dict[Mode, dict[str, int]] = {
    "approximate": {"prefix-cache-scorer": 3, "queue-scorer": 2, "kv-cache-utilization-scorer": 2},
    "precise": {"prefix-cache-scorer": 3, "queue-scorer": 2, "kv-cache-utilization-scorer": 2, "no-hit-lru-scorer": 2},
    "least-load": {"queue-scorer": 1, "kv-cache-utilization-scorer": 1},
    "prefill-decode": {"prefix-cache-scorer": 3, "queue-scorer": 2, "kv-cache-utilization-scorer": 2},
}
"""As KServe's presets weigh them; of prefill and decode the prefill profile."""
DECODE_WEIGHTS = {"active-request-scorer": 2, "prefix-cache-scorer": 3}


def configuration(
    mode: Mode, block: int, cache_blocks: int, context: int, model: str = "", seed: str = "", release: str = RELEASE
) -> str:
    """EndpointPickerConfig as YAML.

    `block` is the engine's, in tokens; `cache_blocks` how many of them a replica's cache holds; `context` the longest
    request. `model` and `seed` (of the engine's block hashes) are for `precise`. Raises ProblemsError for a release
    whose plugins are not known.
    """
    prefixes: dict[str, Any] = {
        "blockSizeTokens": block,
        "maxPrefixTokensToMatch": context,
        "lruCapacityPerServer": cache_blocks,
    }
    approximate = _plugin("approx-prefix-cache-producer", prefixes)
    scorers = list(WEIGHTS[mode])
    document: dict[str, Any] = {"apiVersion": schema_of(release), "kind": "EndpointPickerConfig"}
    if mode == "prefill-decode":
        decider = "always-disagg-pd-decider"
        document["plugins"] = [
            _plugin("disagg-headers-handler"),
            _plugin("prefill-filter"),
            _plugin("decode-filter"),
            _plugin(decider),
            _plugin("disagg-profile-handler", {"deciders": {"prefill": decider}}),
            approximate,
            *(_plugin(name) for name in dict.fromkeys([*scorers, *DECODE_WEIGHTS])),
            _plugin("max-score-picker"),
        ]
        document["schedulingProfiles"] = [
            _profile("prefill", ["prefill-filter"], WEIGHTS[mode]),
            _profile("decode", ["decode-filter"], DECODE_WEIGHTS),
        ]
        return _text(document)
    producers = [approximate] if mode == "approximate" else []
    scoring = [_plugin(name) for name in scorers]
    if mode == "precise":
        producers = _precise(model, block, seed)
        named = {"prefixMatchInfoProducerName": "precise-prefix-cache-producer"}
        scoring = [_plugin(name, named if name == "prefix-cache-scorer" else None) for name in scorers]
        extractors = [{"pluginRef": "precise-prefix-cache-producer"}]
        document["dataLayer"] = {
            "sources": [{"pluginRef": "endpoint-notification-source", "extractors": extractors}],
        }
    document["plugins"] = [_plugin("single-profile-handler"), *producers, *scoring, _plugin("max-score-picker")]
    document["schedulingProfiles"] = [_profile("default", [], WEIGHTS[mode])]
    return _text(document)


def _precise(model: str, block: int, seed: str) -> list[dict[str, Any]]:
    """Tokens as the engine makes them, and the engines' own word on what they keep, from each pod's socket."""
    return [
        _plugin("token-producer", {"modelName": model, "vllm": {"url": f"http://localhost:{TOKENIZER_PORT}"}}),
        _plugin("endpoint-notification-source"),
        _plugin(
            "precise-prefix-cache-producer",
            {
                "tokenProcessorConfig": {"blockSizeTokens": block, "hashSeed": seed},
                "kvEventsConfig": {
                    "topicFilter": EVENT_TOPIC,
                    "discoverPods": True,
                    "podDiscoveryConfig": {"socketPort": EVENTS_PORT},
                },
            },
        ),
    ]


def schema_of(release: str) -> str:
    """The apiVersion of the configuration that a release reads."""
    found = re.fullmatch(r"v?(\d+\.\d+)(\.\d+)?", release)
    if found is None or found[1] not in SCHEMAS:
        known = " or ".join(f"v{minor}" for minor in SCHEMAS)
        what = f"the plugins of llm-d's router {release} are not known"
        raise ProblemsError([Problem("", "", what, f"an image of {known}, such as {PICKER_IMAGE}:{RELEASE}")])
    return SCHEMAS[found[1]]


def weights_text(mode: Mode) -> str:
    """The weights as a person reads them: `prefix 3, queue 2, kv-cache-utilization 2`."""
    shown = ", ".join(
        f"{name.removesuffix('-scorer').removesuffix('-cache')} {weight}" for name, weight in WEIGHTS[mode].items()
    )
    return f"{mode}: {shown}"


def _plugin(kind: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": kind, **({"parameters": parameters} if parameters else {})}


def _profile(name: str, filters: list[str], weights: dict[str, int]) -> dict[str, Any]:
    scorers = [{"pluginRef": scorer, "weight": weight} for scorer, weight in weights.items()]
    return {
        "name": name,
        "plugins": [*({"pluginRef": f} for f in filters), *scorers, {"pluginRef": "max-score-picker"}],
    }


def _text(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=yaml.CSafeDumper, sort_keys=False)
