"""`ConfigFiles`: the small files beside the weights, parsed, and the names and sizes of all files.

Parsing accepts what publishers really ship (NaN and Infinity, a byte order mark) and refuses what two readers would
read differently (a key given twice) or what costs more than it tells (too large, nested too deep).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import yaml

from ome_iac.models.metadata import ModelFile
from ome_iac.problems import Problem, ProblemsError

MAX_CONFIG_BYTES = 4 * 1024 * 1024
"""Of one JSON or text file. The largest in common use, a tokenizer_config.json, is between one and two megabytes."""

MAX_CARD_BYTES = 64 * 1024
"""What is read of README.md: the front matter is at its head."""

CARD = "README.md"

MAIN = ("config.json", "model_index.json", "adapter_config.json", "modules.json", "params.json")
"""One of these says what the weights beside it are; a GGUF file says it in its own header."""

_BESIDE = {
    *MAIN,
    CARD,
    "chat_template.jinja",
    "chat_template.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "hf_quant_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "quant_config.json",
    "quantize_config.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
}
_PART = re.compile(r"[^/]+/config\.json")  # a pooling layer's, a diffusion model's text encoder's
_MOST_PARTS = 32


@dataclass(frozen=True)
class ConfigFiles:
    """What lies beside the weights.

    `parsed` maps a path relative to the model's folder to a dict or list (JSON), a str (text), or for README.md the
    dict of its front matter. `files` lists every file of the folder, weights included, sorted by path. `gguf` holds
    the keys of the chosen GGUF file's header; an array of more than 64 values (the vocabulary) is replaced by its
    length under `<key>.length`.
    """

    parsed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    files: tuple[ModelFile, ...] = ()
    gguf: Mapping[str, Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The paths of all files."""
        return tuple(file.path for file in self.files)

    def object(self, path: str) -> dict[str, Any] | None:
        """The JSON object at that path; None where there is no such file or it holds something else."""
        value = self.parsed.get(path)
        return value if isinstance(value, dict) else None

    def array(self, path: str) -> list[Any] | None:
        """The JSON array at that path (modules.json); None where there is no such file or it holds something else."""
        value = self.parsed.get(path)
        return value if isinstance(value, list) else None

    def text(self, path: str) -> str | None:
        """The text at that path (chat_template.jinja); None where there is no such file."""
        value = self.parsed.get(path)
        return value if isinstance(value, str) else None

    def size(self, path: str) -> int | None:
        """Bytes of the file at that path; None where there is no such file."""
        return next((file.size for file in self.files if file.path == path), None)


def usual_names() -> tuple[str, ...]:
    """The files to ask for where a source cannot list them."""
    return (*sorted(_BESIDE), "1_Pooling/config.json")


def choose_config_files(files: Iterable[ModelFile]) -> tuple[ModelFile, ...]:
    """Which of a model's files are small, known, and tell something; in the order given."""
    here = list(files)
    parts = [file for file in here if _PART.fullmatch(file.path)][:_MOST_PARTS]
    return tuple(file for file in here if file.path in _BESIDE or file in parts)


def parse_config_file(data: bytes, path: str, where: str) -> Any:
    """What the file at `path` says: JSON by its ending, a model card's front matter, otherwise text.

    `where` is what an error names. Raises ProblemsError with the line for what is no JSON.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise ProblemsError([Problem(where, "", f"{len(data):,} bytes; at most {MAX_CONFIG_BYTES:,} are read")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if path == CARD:  # cut at MAX_CARD_BYTES, perhaps inside a character; nobody depends on a card's spelling
            text = data.decode("utf-8", errors="replace")
        else:
            raise ProblemsError([Problem(where, "", f"not UTF-8 at byte {error.start}")]) from None
    if path == CARD:
        return _front_matter(text)
    if path.endswith(".json"):
        return parse_json(text, where)
    return text


def parse_json(text: str, where: str) -> Any:
    """JSON with NaN and Infinity allowed and no key given twice. Raises ProblemsError naming the line."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg} (column {error.colno})" if text.strip() else "empty"
        raise ProblemsError([Problem(f"{where}:{error.lineno}", "", what)]) from None
    except _RepeatedKeyError as error:
        line = _line_of_repeat(text, error.key)
        raise ProblemsError([Problem(f"{where}:{line}", error.key, "this key is given twice")]) from None
    except RecursionError:
        raise ProblemsError([Problem(where, "", "nested too deep to be a configuration")]) from None
    except ValueError as error:  # Python's limit of digits in an integer
        raise ProblemsError([Problem(where, "", f"not a configuration: {str(error).split(';')[0]}")]) from None


class _RepeatedKeyError(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return made


def _line_of_repeat(text: str, key: str) -> int:
    """The line of the key's second mention; nested objects may hold it too, so this is the first place to look."""
    places = [found.start() for found in re.finditer(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:", text)]
    return text.count("\n", 0, places[1] if len(places) > 1 else 0) + 1


def _front_matter(text: str) -> dict[str, Any]:
    """The YAML between the two `---` lines at the head of a model card; empty where there is none that can be read."""
    found = re.match(r"---\s*\n(.*?)\n---\s*(?:\n|$)", text, re.DOTALL)
    if found is None:
        return {}
    try:
        card = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return {str(key): value for key, value in card.items()} if isinstance(card, dict) else {}
