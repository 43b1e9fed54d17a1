"""YAML files to plain data that remembers its lines.

PyYAML's C parser gives the node tree with positions; the data is built here, so that a repeated key, a custom tag or an
alias that multiplies itself is an error with a line instead of a surprise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ome_iac.problems import Problem

MAX_NODES = 1_000_000
"""Nodes a file may have after its aliases are followed: a guard against alias bombs."""


@dataclass(frozen=True)
class Origin:
    """Where a document stands: `file` as shown to the user, `lines` from a field's path to its line (1-based), and the
    folder on disk against which its relative paths are resolved."""

    file: str
    folder: Path
    lines: dict[tuple[str | int, ...], int] = field(repr=False, hash=False, compare=False)

    def where(self, path: tuple[str | int, ...] = ()) -> str:
        """`file:line` of the field, or of the nearest enclosing one that is written down."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return f"{self.file}:{line}"
        return self.file


@dataclass(frozen=True)
class RawDocument:
    """One YAML document."""

    data: Any
    origin: Origin


def read_documents(path: Path, shown_as: str, problems: list[Problem]) -> Iterator[RawDocument]:
    """Yield every non-empty document of the file; what cannot be parsed becomes a problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(shown_as, "", f"cannot be read: {error}", "a UTF-8 text file is wanted"))
        return
    try:
        for node in yaml.compose_all(text, Loader=yaml.CSafeLoader):
            builder = _Builder(shown_as, problems)
            data = builder.build(node, ())
            if data is not None:
                yield RawDocument(data, Origin(shown_as, path.parent, builder.lines))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        problems.append(Problem(f"{shown_as}{line}", "", f"is not valid YAML: {what}", "check indentation and quotes"))


class _Builder:
    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        self.lines: dict[tuple[str | int, ...], int] = {}
        self._nodes = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node | None, path: tuple[str | int, ...]) -> Any:
        if node is None:
            return None
        self._nodes += 1
        line = node.start_mark.line + 1
        if self._nodes > MAX_NODES:
            raise yaml.composer.ComposerError(None, None, "too many nodes (an alias bomb?)", node.start_mark)
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in result:
                self._problem(line, (*path, key), "is given twice", "keep one of the two")
                continue
            self.lines[(*path, key)] = line
            result[key] = self.build(value_node, (*path, key))
        return result

    def _scalar(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        if node.tag == "tag:yaml.org,2002:timestamp":
            return str(node.value)
        try:
            return self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            what = str(getattr(error, "problem", None) or error)
            self._problem(node.start_mark.line + 1, path, f"has a value YAML cannot take: {what}", "write it in quotes")
            return None

    def _problem(self, line: int, path: tuple[str | int, ...], what: str, remedy: str) -> None:
        self.problems.append(Problem(f"{self.file}:{line}", ".".join(map(str, path)), what, remedy))
