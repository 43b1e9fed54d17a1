"""The properties of OCI resources, read from the source of the installed pulumi_oci SDK.

The SDK's classes say everything: names, types, what is required, and in their descriptions "(Updatable)" where a change
does not replace the resource. Importing them costs seconds and 150 MB; so the one class in question is cut out of its
file and only that piece is parsed, when it is first needed.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

_TOKEN: Final = re.compile(r"oci:(?P<module>\w+)/(?P<file>\w+):(?P<name>\w+)")
_CLASS: Final = re.compile(r"^(?:@.*\n)*class (?P<name>\w+)[(:]", re.MULTILINE)
_UPDATABLE: Final = re.compile(r"(\([^)]*\)\s*)*\(Updatable\)")
_SCALARS: Final[Mapping[str, Kind]] = {"str": "string", "bool": "boolean", "int": "integer", "float": "number"}

Kind = Literal["string", "boolean", "integer", "number", "list", "map", "object", "any"]


@dataclass(frozen=True)
class Type:
    """A property's type: `item` of a list or map, `name` of an object's class in the module's `_inputs.py`."""

    kind: Kind
    item: Type | None = None
    name: str = ""


@dataclass(frozen=True)
class Property:
    """One property under its wire name (`nodeShape`)."""

    name: str
    type: Type
    required: bool = False
    updatable: bool = False


@dataclass(frozen=True)
class Resource:
    """A resource type: its inputs and what it has besides once it exists, by wire name."""

    token: str
    inputs: Mapping[str, Property]
    outputs: Mapping[str, Property] = field(repr=False)
    module: str = field(repr=False)

    @property
    def class_name(self) -> str:
        """`NodePool`."""
        return self.token.rpartition(":")[2]


class UnknownTypeError(LookupError):
    """The installed SDK has no such resource type."""


@functools.cache
def resource(token: str) -> Resource:
    """The resource of a type token such as `oci:ContainerEngine/nodePool:NodePool`."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise UnknownTypeError(token)
    module, name = match["module"].lower(), match["name"]
    path = _module_folder(module) / f"{_snake(match['file'])}.py"
    source = _classes(path) if path.is_file() else {}
    body = source.get(name, "")
    if f'type_token("{token}")' not in body:
        raise UnknownTypeError(token)
    # Where another class took the plain name, the SDK calls the arguments InitArgs.
    inputs = _properties(source.get(f"{name}Args") or source[f"{name}InitArgs"])
    return Resource(token, inputs, _properties(body), module)


@functools.cache
def nested(module: str, name: str) -> Mapping[str, Property]:
    """The properties of a nested object's class, such as `NodePoolNodeConfigDetailsArgs` of `containerengine`."""
    return _properties(_classes(_module_folder(module) / "_inputs.py")[name])


def _module_folder(module: str) -> Path:
    spec = importlib.util.find_spec("pulumi_oci")
    if spec is None or not spec.submodule_search_locations:
        raise UnknownTypeError("pulumi_oci is not installed")
    return Path(spec.submodule_search_locations[0]) / module


@functools.cache
def _classes(path: Path) -> Mapping[str, str]:
    """The source of each top-level class of a file, its decorators included."""
    text = path.read_text("utf-8")
    starts = list(_CLASS.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return {match["name"]: text[match.start() : end] for match, end in zip(starts, ends, strict=True)}


def _properties(source: str) -> Mapping[str, Property]:
    """From a class's getters; a property is required where the constructor has no default for it."""
    definition = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    functions = [node for node in definition.body if isinstance(node, ast.FunctionDef)]
    required: set[str] = set()
    for constructor in functions:
        arguments = constructor.args
        if constructor.name == "__init__":
            pairs = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            required |= {argument.arg for argument, default in pairs if default is None}
    found = {}
    for function in functions:
        name = _getter_name(function)
        if name is not None and function.returns is not None:
            updatable = _UPDATABLE.match(ast.get_docstring(function) or "") is not None
            found[name] = Property(name, _type(function.returns), function.name in required, updatable)
    return found


def _getter_name(function: ast.FunctionDef) -> str | None:
    """The wire name that `@pulumi.getter` gives a property; None for other functions."""
    for decorator in function.decorator_list:
        text = ast.unparse(decorator)
        if text == "pulumi.getter":
            return function.name
        if isinstance(decorator, ast.Call) and text.startswith("pulumi.getter("):
            return str(ast.literal_eval(decorator.keywords[0].value))
    return None


def _type(annotation: ast.expr) -> Type:
    """From `pulumi.Input[Optional[Sequence[pulumi.Input['XArgs']]]]` to a list of objects of XArgs."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return Type("object", name=annotation.value.removeprefix("outputs."))
    if isinstance(annotation, ast.Attribute):
        return Type(_SCALARS.get(annotation.attr, "any"))
    if isinstance(annotation, ast.Subscript):
        outer = ast.unparse(annotation.value).rpartition(".")[2]
        if outer in ("Input", "Output", "Optional"):
            return _type(annotation.slice)
        if outer == "Sequence":
            return Type("list", _type(annotation.slice))
        if outer == "Mapping" and isinstance(annotation.slice, ast.Tuple):
            return Type("map", _type(annotation.slice.elts[1]))
    return Type("any")


def _snake(camel: str) -> str:
    """The SDK's file name for a wire name: `computeGpuMemoryCluster` is in compute_gpu_memory_cluster.py."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", camel).lower()
