"""What a command line tells an engine: split, limits, quantization, names; each engine's own spelling of them.

Spellings are those of the released argument parsers: vLLM 0.9 to 0.33, SGLang 0.5 (argparse: any unambiguous beginning,
such as `--mem-frac`), `trtllm-serve`, text-generation-inference, text-embeddings-inference. NIM is set by environment
variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ome_iac.runtimes.engines.custom_container import Arguments, Process
from ome_iac.runtimes.splits import DTYPE_BYTES, Split, Tuning

Names = tuple[str, ...]

SPELLINGS: dict[str, dict[str, Names]] = {
    "vllm": {
        "tensor": ("--tensor-parallel-size", "-tp"),
        "pipeline": ("--pipeline-parallel-size", "-pp"),
        "data": ("--data-parallel-size", "-dp"),
        "context": ("--max-model-len",),
        "share": ("--gpu-memory-utilization",),
        "kv": ("--kv-cache-dtype",),
        "dtype": ("--dtype",),
        "quantization": ("--quantization", "-q"),
        "sequences": ("--max-num-seqs",),
        "tokens": ("--max-num-batched-tokens",),
        "served": ("--served-model-name",),
        "weights": ("--model",),
    },
    "sglang": {
        "tensor": ("--tp-size", "--tensor-parallel-size", "--tp"),
        "pipeline": ("--pp-size", "--pipeline-parallel-size", "--pp"),
        "data": ("--dp-size", "--data-parallel-size", "--dp"),
        "attention-data": ("--attn-dp-size", "--attention-data-parallel-size"),
        "expert": ("--ep-size", "--expert-parallel-size", "--ep"),
        "context": ("--context-length",),
        "share": ("--mem-fraction-static",),
        "kv": ("--kv-cache-dtype",),
        "dtype": ("--dtype",),
        "quantization": ("--quantization",),
        "sequences": ("--max-running-requests",),
        "tokens": ("--chunked-prefill-size",),
        "served": ("--served-model-name",),
        "weights": ("--model-path", "--model"),
    },
    "tensorrt-llm": {
        "tensor": ("--tp-size",),
        "pipeline": ("--pp-size",),
        "expert": ("--ep-size",),
        "context": ("--max-seq-len",),
        "share": ("--kv-cache-free-gpu-memory-fraction", "--free-gpu-memory-fraction"),
        "sequences": ("--max-batch-size",),
        "tokens": ("--max-num-tokens",),
        "served": ("--served-model-name",),
    },
    "tgi": {
        "tensor": ("--num-shard",),
        "context": ("--max-total-tokens",),
        "share": ("--cuda-memory-fraction",),
        "kv": ("--kv-cache-dtype",),
        "dtype": ("--dtype",),
        "quantization": ("--quantize",),
        "weights": ("--model-id",),
    },
    "tei": {"dtype": ("--dtype",), "weights": ("--model-id",), "served": ("--served-model-name",)},
}

ENVIRONMENT: dict[str, dict[str, str]] = {
    "nim": {
        "NIM_TENSOR_PARALLEL_SIZE": "tensor",
        "NIM_PIPELINE_PARALLEL_SIZE": "pipeline",
        "NIM_MAX_MODEL_LEN": "context",
        "NIM_KVCACHE_PERCENT": "share",
        "NIM_SERVED_MODEL_NAME": "served",
    }
}

MEMORY_CHANGING = {
    "vllm": (
        "--cpu-offload-gb",
        "--speculative-config",
        "--speculative-model",
        "--kv-cache-memory-bytes",
        "--num-gpu-blocks-override",
        "--enable-lora",
        "--decode-context-parallel-size",
        "--prefill-context-parallel-size",
    ),
    "sglang": (
        "--cpu-offload-gb",
        "--speculative-algorithm",
        "--speculative-draft-model-path",
        "--enable-lora",
        "--lora-paths",
    ),
}
"""Flags that move memory in ways no rule of ours describes: with one of them the fit is unknown."""

DTYPES = {"half": "float16", "float": "float32", "bf16": "bfloat16", "fp16": "float16"}
EXPERTS_WHOLE = ("--enable-deepep-moe", "--enable-ep-moe")
EMBEDS = ("--is-embedding",)
_THOUSANDS = {"k": 1000, "m": 1000**2, "g": 1000**3, "K": 1024, "M": 1024**2, "G": 1024**3}


@dataclass(frozen=True)
class Settings:
    """`wrong` are values that the engine itself would refuse; `unproven` flags whose effect on memory is not known.

    `pools` is True where the command makes the engine embed or classify, False where it makes it generate.
    """

    split: Split
    gpus: int
    tuning: Tuning
    context_length: int | None
    names: Names
    weights: Names
    pools: bool | None
    disaggregated: str | None
    wrong: Names
    unproven: Names


def read_settings(process: Process, known_flags: frozenset[str]) -> Settings:
    """The settings of a recognised process; what its command leaves out is the engine's default."""
    reader = _Reader(process, known_flags)
    engine, arguments = process.engine or "", process.arguments
    tensor, pipeline = reader.count("tensor") or 1, reader.count("pipeline") or 1
    data, expert = reader.count("data") or 1, reader.count("expert") or 1
    gpus = tensor * pipeline * data
    attention = reader.count("attention-data") or (data if arguments.has("--enable-dp-attention") else 1)
    tokens = reader.count("tokens", least=-1)
    if engine == "sglang" and attention > 1:
        # Data parallel attention divides the tensor parallel group; it adds no GPUs.
        gpus = tensor * pipeline
        if tensor % attention:
            reader.wrong.append(f"data parallel attention of {attention} does not divide tensor parallel {tensor}")
        else:
            tensor, data = tensor // attention, attention
        tokens = tokens // attention if tokens and tokens > 0 else tokens
    whole = arguments.first("--moe-a2a-backend")
    if engine == "sglang" and (arguments.has(*EXPERTS_WHOLE) or (whole and whole[1] not in ("", "none"))):
        expert = tensor * data
    if engine == "vllm" and arguments.has("--enable-expert-parallel", "-ep"):
        expert = tensor * data
    tuning = Tuning(
        gpu_memory_utilization=reader.share(),
        kv_cache_dtype=reader.choice("kv"),
        dtype=reader.dtype(),
        quantization=reader.choice("quantization"),
        max_num_seqs=reader.count("sequences"),
        max_num_batched_tokens=tokens if tokens and tokens > 0 else None,
    )
    unproven = [name for name in MEMORY_CHANGING.get(engine, ()) if name in arguments.flags]
    mode = arguments.first("--disaggregation-mode")
    positional = _positional(process) if engine in ("vllm", "tensorrt-llm") else ()
    return Settings(
        split=Split(tensor=tensor, pipeline=pipeline, data=data, expert=expert),
        gpus=gpus,
        tuning=tuning,
        context_length=reader.count("context", least=-1),
        names=reader.all("served"),
        weights=reader.all("weights")[:1] or positional,
        pools=_pools(arguments, engine),
        disaggregated=mode[1] if mode and mode[1] in ("prefill", "decode") else None,
        wrong=tuple(reader.wrong),
        unproven=tuple(unproven),
    )


def _pools(arguments: Arguments, engine: str) -> bool | None:
    if engine == "tei":
        return True
    runner, task = arguments.first("--runner"), arguments.first("--task")
    if arguments.has(*EMBEDS) or (runner and runner[1] == "pooling"):
        return True
    if task and task[1] in ("embed", "embedding", "classify", "score", "reward"):
        return True
    if (runner and runner[1] == "generate") or (task and task[1] == "generate"):
        return False
    return None


def _positional(process: Process) -> Names:
    """`vllm serve MODEL`, `trtllm-serve MODEL`: the first word after the program that is no flag."""
    words = list(process.line)
    for index, word in enumerate(words):
        if word == "serve" or word.endswith("trtllm-serve"):
            rest = words[index + 1 : index + 3]
            return tuple(word for word in rest if not word.startswith("-") and word != "serve")[:1]
    return ()


class _Reader:
    """Values by what they mean; what cannot be read is remembered in `wrong`."""

    def __init__(self, process: Process, known_flags: frozenset[str]) -> None:
        self.process = process
        self.shortened = dict(self._shortened(known_flags))
        self.spellings: Mapping[str, Names] = SPELLINGS.get(process.engine or "", {})
        self.environment = {
            meaning: process.environment[name]
            for name, meaning in ENVIRONMENT.get(process.engine or "", {}).items()
            if name in process.environment
        }
        self.wrong: list[str] = []

    def first(self, meaning: str) -> tuple[str, str] | None:
        """Flag and value."""
        names = self.spellings.get(meaning, ())
        found = self.process.arguments.first(*names)
        if found is None:
            found = self.process.arguments.first(*(flag for flag, whole in self.shortened.items() if whole in names))
        if found is None and meaning in self.environment:
            return meaning, self.environment[meaning]
        return found

    def _shortened(self, known_flags: frozenset[str]) -> Iterator[tuple[str, str]]:
        """Flags that are no flag of the engine but the beginning of exactly one, as argparse takes them, and that."""
        for flag in self.process.arguments.flags:
            if flag.startswith("--") and flag not in known_flags and self.process.engine in ("vllm", "sglang"):
                whole = [known for known in known_flags if known.startswith(flag)]
                if len(whole) == 1:
                    yield flag, whole[0]

    def all(self, meaning: str) -> Names:
        """Every word after the flag."""
        for name in self.spellings.get(meaning, ()):
            if name in self.process.arguments.flags:
                return self.process.arguments.flags[name]
        return (self.environment[meaning],) if meaning in self.environment else ()

    def count(self, meaning: str, least: int = 1) -> int | None:
        """A whole number, `32k` and `32K` included; None where it is left out or less than 1 means "as you like"."""
        found = self.first(meaning)
        if found is None:
            return None
        flag, text = found
        shape = re.fullmatch(r"(-?\d+)(?:\.(\d+))?([kmgKMG])?", text)
        if shape is None or (shape[2] and not shape[3]):
            self.wrong.append(f"{flag} {text or '(nothing)'} is no whole number")
            return None
        number = int(float(text[:-1]) * _THOUSANDS[shape[3]]) if shape[3] else int(text)
        if number < least or number == 0:
            self.wrong.append(f"{flag} {text} is less than 1")
            return None
        return number if number > 0 else None

    def share(self) -> float | None:
        """A part of the GPU's memory."""
        found = self.first("share")
        if found is None:
            return None
        flag, text = found
        try:
            share = float(text)
        except ValueError:
            share = -1.0
        if 0 < share <= 1:
            return share
        self.wrong.append(f"{flag} {text} is no share: above 0, at most 1")
        return None

    def choice(self, meaning: str) -> str | None:
        """A word; `auto`, `none` and left out are None."""
        found = self.first(meaning)
        return None if found is None or found[1].lower() in ("auto", "none", "") else found[1].lower()

    def dtype(self) -> str | None:
        """What is computed in."""
        word = self.choice("dtype")
        word = DTYPES.get(word, word) if word else None
        if word is not None and word not in DTYPE_BYTES:
            self.wrong.append(f"--dtype {word} is not known; {', '.join(sorted(DTYPE_BYTES))} are")
            return None
        return word
