"""Runs in aiconfigurator's own environment, as a file: questions as JSON on standard input, answers on standard output.

It imports nothing of ome-iac. In: `{"speeds": [...], "patterns": [...]}`; out: `{"version": ..., "speeds": [...],
"patterns": [...]}` in the same order, each answer either `{"answer": {...}}` or `{"uncovered": "why"}`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

WHY_LENGTH = 240


def main() -> None:
    """Answer one batch; whatever aiconfigurator prints goes to standard error."""
    answers_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.environ["HF_HUB_OFFLINE"] = "1"  # what it does not have is not covered; it must not wait for a network
    logging.disable(logging.ERROR)
    batch = json.load(sys.stdin)
    api = importlib.import_module("aiconfigurator.cli.api")
    core = Path(importlib.import_module("aiconfigurator_core").__path__[0])
    answers = {
        "version": importlib.metadata.version("aiconfigurator"),
        "speeds": [_tried(_speed, api, core, asked) for asked in batch["speeds"]],
        "patterns": [_tried(_pattern, api, core, asked) for asked in batch["patterns"]],
    }
    json.dump(answers, answers_to)
    answers_to.close()


def _tried(answer: Any, api: Any, core: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """One question that fails must not take the others with it; aiconfigurator raises many kinds of errors."""
    try:
        return {"answer": answer(api, core, asked)}
    except _UncoveredError as error:
        return {"uncovered": str(error)}
    except Exception as error:
        why = " ".join(str(error).split())[:WHY_LENGTH] or type(error).__name__
        return {"uncovered": f"aiconfigurator: {why}"}


class _UncoveredError(Exception):
    """Nothing that aiconfigurator has measured."""


def _speed(api: Any, core: Path, asked: dict[str, Any]) -> dict[str, Any]:
    system, (path, stand_in) = _system(core, asked), _model(core, asked)
    found = api.cli_estimate(path, system, **asked["arguments"])
    raw = found.raw
    measured = [name for step in (found.per_ops_source or {}).values() for name in step.values()]
    notes = [f"kernels measured with {found.backend_name} {found.backend_version} on {system}"]
    if measured:
        notes.append(f"{measured.count('silicon')} of {len(measured)} operations measured, the others modelled")
    notes += [stand_in] if stand_in else []
    notes += [found.kv_cache_warning] if found.kv_cache_warning else []
    wanted, batched = asked["concurrency"], int(raw["concurrency"])
    if wanted != batched:
        notes.append(f"its times are those of {batched} requests, which every rank and stage shares evenly")
    return {
        "ttft": float(found.ttft),
        "tpot": float(found.tpot),
        "tokensPerSecond": float(raw["tokens/s"]) * wanted / batched,
        "requestsPerSecond": float(raw["seq/s"]) * wanted / batched,
        "detail": notes,
    }


def _pattern(api: Any, core: Path, asked: dict[str, Any]) -> dict[str, Any]:
    system, (path, stand_in) = _system(core, asked), _model(core, asked)
    found = api.cli_default(path, asked["gpus"], system, top_n=1, **asked["arguments"])
    best = {name: table.iloc[0].to_dict() for name, table in found.best_configs.items() if len(table)}
    if not best:
        raise _UncoveredError("no configuration of that many GPUs meets the times")
    plain, split = best.get("agg"), best.get("disagg")
    version = (plain or {}).get("version") or (split or {}).get("(d)version")
    return {
        "chosen": "disagg" if found.chosen_exp.startswith("disagg") else "agg",
        "agg": plain and {**_latencies(plain), "workers": _workers(plain, "", asked["gpus"])},
        "disagg": split
        and {**_latencies(split), "prefill": _workers(split, "(p)", 0), "decode": _workers(split, "(d)", 0)},
        "detail": [f"kernels measured with {asked['arguments']['backend']} {version} on {system}"]
        + ([stand_in] if stand_in else []),
    }


def _latencies(row: dict[str, Any]) -> dict[str, float]:
    """Milliseconds, and output tokens per second and GPU of the budget."""
    return {
        "ttft": float(row["ttft"]),
        "tpot": float(row["tpot"]),
        "tokensPerSecondPerGpu": float(row["tokens/s/gpu_cluster"]),
        "concurrency": int(row["concurrency"]),
    }


def _workers(row: dict[str, Any], prefix: str, budget: int) -> dict[str, int]:
    sizes = {name: int(row[f"{prefix}{name}"]) for name in ("tp", "pp", "dp", "moe_tp", "moe_ep", "bs")}
    gpus = sizes["tp"] * sizes["pp"] * sizes["dp"]
    return {**sizes, "workers": int(row[f"{prefix}workers"]) if prefix else max(1, budget // gpus)}


def _system(core: Path, asked: dict[str, Any]) -> str:
    known = {file.stem for file in (core / "systems").glob("*.yaml")}
    for name in asked["systems"]:
        if name in known:
            return str(name)
    raise _UncoveredError(f"no kernel was measured on {asked['gpu']}")


def _model(core: Path, asked: dict[str, Any]) -> tuple[str, str]:
    """What aiconfigurator calls the model, and a note where another of the very same shape stands for it."""
    if asked["folder"]:
        return str(asked["folder"]), ""
    shipped = {_name(file): file for file in sorted((core / "model_configs").glob("*_config.json"))}
    shipped = {name: file for name, file in shipped.items() if not name.endswith("_hf_quant")}
    if asked["name"] in shipped:
        return str(asked["name"]), ""
    for name, file in shipped.items():
        if _geometry(json.loads(file.read_text(encoding="utf-8"))) == asked["geometry"]:
            return name, f"{name} stands for it: the same architecture, sizes and quantization"
    raise _UncoveredError(f"its shape is none of the {len(shipped)} models that aiconfigurator ships")


def _name(file: Path) -> str:
    return file.name.removesuffix("_config.json").replace("--", "/")


def _geometry(config: dict[str, Any]) -> dict[str, Any]:
    """The same keys as `ome_iac.estimates.questions.geometry`."""
    text = config.get("text_config", config)
    return {
        "architecture": next(iter(config.get("architectures") or [None])),
        "layers": text.get("num_hidden_layers"),
        "hidden": text.get("hidden_size"),
        "intermediate": text.get("intermediate_size"),
        "vocabulary": text.get("vocab_size"),
        "heads": text.get("num_attention_heads"),
        "kvHeads": text.get("num_key_value_heads"),
        "experts": text.get("num_local_experts") or text.get("num_experts") or text.get("n_routed_experts"),
        "activeExperts": text.get("num_experts_per_tok"),
        "quantization": (config.get("quantization_config") or {}).get("quant_method"),
    }


if __name__ == "__main__":
    main()
