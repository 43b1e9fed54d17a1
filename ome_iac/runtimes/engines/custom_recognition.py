"""Which engine a command line starts, through a shell or not, and at what version."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

SHELLS = ("sh", "bash", "dash", "zsh")

_SHELL = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
_TAG = re.compile(r"v?(\d+(?:\.\d+)+(?:\.?(?:post|rc)\d+)?)(?![0-9A-Za-z])")

PROGRAMS = {
    "vllm": "vllm",
    "vllm.entrypoints": "vllm",
    "sglang": "sglang",
    "sglang.launch_server": "sglang",
    "sglang.srt": "sglang",
    "trtllm-serve": "tensorrt-llm",
    "trtllm-llmapi-launch": "tensorrt-llm",
    "tensorrt_llm": "tensorrt-llm",
    "text-generation-launcher": "tgi",
    "text-embeddings-router": "tei",
    "tritonserver": "triton",
    "lmdeploy": "lmdeploy",
    "llama-server": "llama.cpp",
    "ollama": "ollama",
}
"""Programs and Python modules that serve models, and what engine each is."""

IMAGES = (
    ("nvcr.io/nim/", "nim"),
    ("text-embeddings-inference", "tei"),
    ("text-generation-inference", "tgi"),
    ("tensorrt-llm", "tensorrt-llm"),
    ("tensorrt_llm", "tensorrt-llm"),
    ("tritonserver", "triton"),
    ("sglang", "sglang"),
    ("vllm", "vllm"),
    ("cohere", "cohere"),
)
"""What an image's name tells where the command tells nothing, first hit first."""


def unwrapped(line: list[str], environment: Mapping[str, str]) -> list[str] | None:
    """The engine's own words of a shell's script; None where there is no shell."""
    names = [PurePosixPath(word).name for word in line]
    shell = next((index for index, name in enumerate(names[:3]) if name in SHELLS), None)
    if shell is None:
        return None
    script = next((line[i + 1] for i in range(shell + 1, len(line) - 1) if re.fullmatch(r"-[a-z]*c", line[i])), None)
    if script is None:
        return None
    filled = _SHELL.sub(lambda hit: environment.get(hit[1] or hit[2], hit[0]), script.replace("\\\n", " "))
    commands = list(_commands(filled))
    return next((command for command in commands if next(programs(command), None)), commands[-1] if commands else [])


def _commands(script: str) -> Iterator[list[str]]:
    """The commands of a script, without assignments and `exec` before them."""
    text = _COMMENT.sub("", script)
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        found = list(lexer)
    except ValueError:  # an open quote: the words are taken as they stand
        found = text.split()
    command: list[str] = []
    for word in (*found, ";"):
        if word and set(word) <= set(";&|\n"):
            if command:
                yield command
            command = []
        elif command or not (word in ("exec", "env", "nohup") or re.fullmatch(r"\w+=.*", word)):
            command.append(word)


def programs(line: Sequence[str]) -> Iterator[str]:
    """The engines whose program or Python module the words name before their flags."""
    for index, word in enumerate(line[:6]):
        module = index > 0 and line[index - 1] == "-m"
        if word.startswith("-") and not module:
            if word == "-m" or word == "-u":
                continue
            return
        name = word if module else PurePosixPath(word).name
        for program, engine in PROGRAMS.items():
            if name == program or (module and name.startswith(f"{program}.")):
                yield engine


def version_of(image: str) -> str | None:
    """As the tag says; None for `latest`, `dev` and no tag."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = _TAG.match(tag)
    return found[1] if found else None
