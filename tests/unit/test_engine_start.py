"""Start scripts, run: what the server is really given."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ome_iac.hardware import gpus
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import all_engines
from ome_iac.runtimes.engines.base import Launch
from ome_iac.runtimes.engines.triton import FRONT_END
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning
from tests.unit.facts import decoder
from tests.unit.ground_truth import DEEPSEEK_R1

H100 = gpus()["H100-80GB"]


def launch(path: str, split: Split | None = None, tuning: Tuning = DEFAULTS, model_path: str = "") -> Launch:
    model = DEEPSEEK_R1 if split and split.data > 1 else decoder()
    return Launch(model, Task.GENERATE, H100, split or Split(), 8192, "chat", model_path or path, None, tuning)


def run(folder: Path, command: tuple[str, ...], program: str, writes_to: str) -> list[str]:
    """The arguments that `program` gets when the container's command runs, its files under `folder`."""
    fake = folder / "bin" / program
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    here = [part.replace(writes_to, str(folder / "made")).replace(FRONT_END, str(folder)) for part in command]
    path = f"{fake.parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(here, env={"PATH": path}, capture_output=True, text=True, check=True)
    return ran.stdout.splitlines()


def test_tensorrt_llm_serves_a_link_of_the_declared_name(tmp_path: Path) -> None:
    weights = tmp_path / "it's a folder"
    weights.mkdir()
    command = all_engines()["tensorrt-llm"].command(launch(str(weights), tuning=Tuning(kv_cache_dtype="fp8")))
    given = run(tmp_path, command, "trtllm-serve", "/tmp/served")
    served = Path(given[0])
    assert served.name == "chat"
    assert served.resolve() == weights.resolve()
    assert given[1:3] == ["--backend", "pytorch"]
    options = json.loads(Path(given[given.index("--extra_llm_api_options") + 1]).read_text())
    assert options["kv_cache_config"] == {"dtype": "fp8", "free_gpu_memory_fraction": 0.9}


def test_attention_data_parallel_is_an_option_of_tensorrt_llm(tmp_path: Path) -> None:
    command = all_engines()["tensorrt-llm"].command(launch(str(tmp_path), Split(data=8, expert=8)))
    given = run(tmp_path, command, "trtllm-serve", "/tmp/served")
    assert given[given.index("--tp_size") + 1] == "8"
    options = json.loads((tmp_path / "made" / "options.yaml").read_text())
    assert options["enable_attention_dp"] is True
    assert options["enable_chunked_prefill"] is False


def test_triton_finds_a_repository_with_the_declared_model(tmp_path: Path) -> None:
    command = all_engines()["triton-vllm"].command(launch("/mnt/model", Split(tensor=2)))
    given = run(tmp_path, command, "python3", "/tmp/repository")
    assert given[0] == "openai_frontend/main.py"
    assert given[given.index("--tokenizer") + 1] == "/mnt/model"
    repository = Path(given[given.index("--model-repository") + 1])
    arguments = json.loads((repository / "chat" / "1" / "model.json").read_text())
    assert arguments["model"] == "/mnt/model"
    assert arguments["tensor_parallel_size"] == 2
    assert (repository / "chat" / "config.pbtxt").read_text().startswith('backend: "vllm"\n')


def test_triton_serves_a_repository_as_it_is() -> None:
    command = all_engines()["triton"].command(launch("/mnt/repository"))
    assert command[:3] == ("tritonserver", "--model-repository", "/mnt/repository")


def test_nim_is_told_by_its_environment_and_starts_by_itself() -> None:
    nim = all_engines()["nim"]
    asked = launch("/mnt/model", Split(tensor=4), Tuning(gpu_memory_utilization=0.8))
    assert nim.command(asked) == ()
    told = dict(nim.environment(asked))
    assert told["NIM_MODEL_NAME"] == "/mnt/model"
    assert told["NIM_SERVED_MODEL_NAME"] == "chat"
    assert told["NIM_TENSOR_PARALLEL_SIZE"] == "4"
    assert told["NIM_MAX_MODEL_LEN"] == "8192"
    assert told["NIM_KVCACHE_PERCENT"] == "0.8"
    assert "NGC_API_KEY" not in told


@pytest.mark.parametrize("name", ["vllm", "sglang", "tensorrt-llm", "tei", "tgi", "triton", "triton-vllm", "cohere"])
def test_others_need_no_environment(name: str) -> None:
    assert all_engines()[name].environment(launch("/mnt/model")) == ()
