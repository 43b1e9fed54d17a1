"""What is fuzzed: each target takes bytes and must return, or raise ProblemsError, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ome_iac.models.config_files import ConfigFiles, parse_config_file
from ome_iac.models.families import describe
from ome_iac.models.gguf import NeedMore, parse_gguf
from ome_iac.models.lock import Lock
from ome_iac.models.safetensors import header_length, parse_header
from ome_iac.models.weights import parse_index
from ome_iac.problems import ProblemsError

CORPUS = Path(__file__).parent / "corpus"


def safetensors(data: bytes) -> None:
    """A whole file."""
    try:
        length = header_length(data, len(data), "f")
        parse_header(data[8 : 8 + length], len(data) - 8 - length, "f", "f")
    except ProblemsError:
        return


def gguf(data: bytes) -> None:
    """A whole file."""
    try:
        keys, table = parse_gguf(data, len(data), "f", "f")
        describe(ConfigFiles(gguf=keys), table)
    except (ProblemsError, NeedMore):
        return


def config(data: bytes) -> None:
    """A config.json, and what the families make of it."""
    try:
        parsed = parse_config_file(data, "config.json", "f")
    except ProblemsError:
        return
    if isinstance(parsed, dict):
        describe(ConfigFiles(parsed={"config.json": parsed}), None)


def card(data: bytes) -> None:
    """A README.md's front matter."""
    parse_config_file(data, "README.md", "f")


def index(data: bytes) -> None:
    """A model.safetensors.index.json."""
    try:
        parse_index(data, "f")
    except ProblemsError:
        return


def lock(data: bytes) -> None:
    """A lock file's text."""
    try:
        Lock.parse(data.decode("utf-8", "replace"), Path("ome.lock"))
    except ProblemsError:
        return


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (safetensors, gguf, config, card, index, lock)
}


def corpus(name: str) -> Iterator[Path]:
    """The inputs kept for a target."""
    return iter(sorted((CORPUS / name).iterdir()))
