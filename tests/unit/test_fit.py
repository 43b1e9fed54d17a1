"""`ome-iac fit`, from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.published_models import llama_config

COMMAND = str(Path(sys.executable).parent / "ome-iac")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(llama_config()))
    return path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160"}
    return subprocess.run([COMMAND, "fit", *map(str, arguments)], env=environment, capture_output=True, text=True)


def asked(model: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    done = run("--model", model, "--gpu", "H100-80GB", *arguments, "--json")
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_a_measured_run_as_json(config: Path) -> None:
    share = ("--gpu-memory-utilization", "0.95", "--max-model-len", "8192")
    code, found = asked(config, "--engine", "vllm==0.19.0", *share)
    assert code == 0
    assert found["fits"] is True
    assert found["limitedBy"] is None
    assert set(found["perGpu"]) == {"weights", "activation", "nonTorch", "cudaGraph", "kvCache", "total", "free"}
    assert found["perGpu"]["weights"] == 14.99
    assert found["perGpu"]["kvCache"] == pytest.approx(58.11, abs=0.5)
    assert found["kvTokens"] == pytest.approx(476_016, rel=0.02)
    assert found["maxConcurrency"] == pytest.approx(58.11, abs=0.5)
    assert (found["engine"], found["version"]) == ("vllm", "0.19.0")
    assert any("derived from the configuration" in note for note in found["notes"])


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_uses_of_the_gpu_add_up(config: Path, engine: str) -> None:
    _, found = asked(config, "--engine", engine)
    per_gpu = found["perGpu"]
    assert sum(amount for name, amount in per_gpu.items() if name != "total") == pytest.approx(
        per_gpu["total"], abs=0.05
    )


def test_a_folder_with_only_a_config_is_read_like_the_config(config: Path) -> None:
    assert asked(config.parent) == asked(config)


def test_what_does_not_fit_exits_1_with_its_json_and_by_how_much(tmp_path: Path) -> None:
    large = tmp_path / "config.json"
    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
    large.write_text(json.dumps(llama_config(**sizes)))
    code, found = asked(large)
    assert (code, found["fits"], found["kvTokens"]) == (1, False, 0)
    assert "exceed the budget by" in found["limitedBy"]
    code, found = asked(large, "--tp", "2", "--max-model-len", "131072")
    assert code == 1
    assert "KV cache: 131,072 tokens need" in found["limitedBy"]
    assert asked(large, "--tp", "4")[0] == 0


def test_an_illegal_split_is_a_reason_with_the_nearest_legal_one(config: Path) -> None:
    code, found = asked(config, "--tp", "3")
    assert code == 1
    assert found["illegal"][0] == "32 attention heads are not divisible by 3"
    assert "the nearest legal split is TP 2" in found["limitedBy"]


def test_pipeline_reports_the_stage_with_least_room(config: Path) -> None:
    _, found = asked(config, "--pp", "2")
    assert found["stage"] == 1  # the head, and the sampler's logits
    _, over = asked(config, "--pp", "16")
    assert any("2 nodes" in note for note in over["notes"])


def test_every_option_counts(config: Path) -> None:
    _, plain = asked(config)
    _, cache = asked(config, "--kv-cache-dtype", "fp8")
    _, weights = asked(config, "--quantization", "fp8")
    _, wide = asked(config, "--dtype", "float32")
    _, few = asked(config, "--max-num-seqs", "32")
    assert cache["kvTokens"] == pytest.approx(2 * plain["kvTokens"], rel=0.001)
    assert weights["perGpu"]["weights"] == pytest.approx(8.49, abs=0.01)
    assert wide["perGpu"]["weights"] == pytest.approx(29.98, abs=0.01)
    assert few["perGpu"]["activation"] < plain["perGpu"]["activation"]


def test_the_screen_shows_each_line_with_a_bar_and_its_formula(config: Path) -> None:
    done = run("--model", config, "--gpu", "h100 80gb hbm3", "--tp", "2")
    assert done.returncode == 0, done.stderr
    for part in ("fits", "weights", "activation", "nonTorch", "kvCache", "####", "GiB", "TP 2", "KV tokens"):
        assert part in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--gpu", "H10"), 'no GPU is called "H10"'),
        (("--gpu", "H100-80GB", "--engine", "vllm==9.9"), "the nearest is vllm==0.33.0"),
        (("--gpu", "H100-80GB", "--dtype", "fp12"), "one of auto, bfloat16, float16, float32"),
        (("--gpu", "H100-80GB", "--gpu-memory-utilization", "1.5"), "above 0, at most 1"),
    ],
)
def test_a_wrong_value_is_one_line_and_no_traceback(config: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run("--model", config, *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
