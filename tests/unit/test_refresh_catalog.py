"""tools/refresh_catalog.py: reads wheels of every layout there has been, and says what it cannot check."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

TOOL = Path(__file__).parents[2] / "tools" / "refresh_catalog.py"

REGISTRY = """
_TEXT_GENERATION_MODELS = {"LlamaForCausalLM": ("llama", "LlamaForCausalLM"), "XForCausalLM": ("x", "LlamaForCausalLM")}
_EMBEDDING_MODELS = {
    "BertModel": ("bert", "BertEmbeddingModel"),
    **{k: (mod, arch) for k, (mod, arch) in _TEXT_GENERATION_MODELS.items() if arch == "LlamaForCausalLM"},
}
_SEQUENCE_CLASSIFICATION_MODELS = {"BertForSequenceClassification": ("bert", "BertForSequenceClassification")}
_REWARD_MODELS = {"Qwen2ForRewardModel": ("qwen2_rm", "Qwen2ForRewardModel")}
_MULTIMODAL_MODELS = {"Gemma3ForConditionalGeneration": ("gemma3_mm", "Gemma3ForConditionalGeneration")}
_TRANSFORMERS_SUPPORTED_MODELS = {"ArceeForCausalLM": ("transformers", "TransformersForCausalLM")}
"""
ENGINE_ARGUMENTS = 'def add(parser):\n    parser.add_argument("--model")\n    parser.add_argument("-tp", "--tp-size")\n'
FRONTEND = "class FrontendArgs:\n    host: str\n    served_model_name: str\n"
GENERATION = """
def is_generation_model(architectures):
    if "BertModel" in architectures or "LlamaForSequenceClassification" in architectures:
        return False
    return True
"""
MODELS = {
    "sglang/srt/models/llama.py": "class LlamaForCausalLM: ...\nEntryClass = [LlamaForCausalLM]\n",
    "sglang/srt/models/bert.py": "class BertModel: ...\nEntryClass = BertModel\n",
    "sglang/srt/models/cls.py": "EntryClass = LlamaForSequenceClassification\n",
    "sglang/srt/configs/model_config.py": GENERATION,
}
DATACLASS = """
from sglang.srt.arg_groups.arg_utils import A, Arg
class ServerArgs:
    model_path: A[str, Arg(help="", aliases=["--model"])]
    tp_size: int = 1
class PortArgs:
    tokenizer_ipc_name: str
"""
PARSER = 'def add_cli_args(parser):\n    parser.add_argument("--model-path", "--model")\n'
FIELDS = 'class Parallel:\n    tp_size: A[int, Arg(cli_name="--tensor-parallel-size")]\n'


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("refresh_catalog", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    path = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def read(tool: ModuleType, engine: str, path: Path) -> dict[str, Any]:
    text = tool.catalogue(engine, "1.2.3", path)
    assert text == tool.catalogue(engine, "1.2.3", path)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.mark.parametrize("cli", ["vllm/entrypoints/common/cli_args.py", "vllm/entrypoints/openai/cli_args.py"])
def test_vllm_is_read_wherever_its_arguments_stand(tool: ModuleType, tmp_path: Path, cli: str) -> None:
    files = {
        "vllm/model_executor/models/registry.py": REGISTRY,
        "vllm/engine/arg_utils.py": ENGINE_ARGUMENTS,
        cli: FRONTEND,
    }
    found = read(tool, "vllm", wheel(tmp_path, "vllm-1.2.3", files))
    assert found["image"] == "docker.io/vllm/vllm-openai:v1.2.3"
    assert found["flags"] == ["--host", "--model", "--served-model-name", "--tp-size"]
    assert found["architectures"]["embed"] == ["BertModel", "LlamaForCausalLM", "XForCausalLM"]
    assert "ArceeForCausalLM" in found["architectures"]["generate"]
    assert found["architectures"]["reward"] == ["Qwen2ForRewardModel"]


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        ({"sglang/srt/server_args.py": PARSER}, ["--model", "--model-path"]),
        ({"sglang/srt/server_args.py": DATACLASS}, ["--model", "--model-path", "--tp-size"]),
        ({"sglang/srt/arg_groups/fields/parallel.py": FIELDS}, ["--tensor-parallel-size", "--tp-size"]),
    ],
    ids=["parser", "one-dataclass", "groups"],
)
def test_sglang_is_read_in_each_of_its_layouts(
    tool: ModuleType, tmp_path: Path, arguments: dict[str, str], flags: list[str]
) -> None:
    found = read(tool, "sglang", wheel(tmp_path, "sglang-1.2.3", {**MODELS, **arguments}))
    assert found["flags"] == flags
    assert found["architectures"] == {
        "classify": ["LlamaForSequenceClassification"],
        "embed": ["BertModel"],
        "generate": ["LlamaForCausalLM"],
        "reward": [],
    }


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False)


def test_a_catalogue_that_disagrees_with_the_wheel_fails_the_check(tmp_path: Path) -> None:
    files = {
        "vllm/model_executor/models/registry.py": REGISTRY,
        "vllm/engine/arg_utils.py": ENGINE_ARGUMENTS,
        "vllm/entrypoints/common/cli_args.py": FRONTEND,
    }
    wheel(tmp_path, "vllm-0.33.0", files)
    ran = run("vllm==0.33.0", "--wheels", tmp_path, "--check")
    assert ran.returncode == 1
    assert "vllm-0.33.0.yaml disagrees with the wheel" in ran.stderr


def test_what_is_from_docs_is_said_not_to_be_checked() -> None:
    ran = run("tensorrt-llm==1.2.1", "tei==1.9", "tgi==3.3.7", "nim==1.13.0", "triton==26.02", "--check")
    assert ran.returncode == 0
    lines = ran.stdout.splitlines()
    assert len(lines) == 5
    assert all("NOT checked; from " in line for line in lines)


def test_what_is_from_docs_is_not_written() -> None:
    ran = run("tei==2.0")
    assert ran.returncode == 2
    assert "tei publishes no wheel to read" in ran.stderr
