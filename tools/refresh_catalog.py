"""Writes `ome_iac/runtimes/catalog/<engine>-<version>.yaml` from an engine's released wheel.

    python tools/refresh_catalog.py vllm==0.33.0 sglang==0.5.23            # fetch the wheels, write the catalogue
    python tools/refresh_catalog.py vllm==0.33.0 sglang==0.5.23 --check    # exit 1 where the catalogue disagrees

The wheel's modules are read as source with `ast`; nothing of it is installed or imported. Engines that publish no
wheel have a catalogue written by hand from their docs: it says `source`, and `--check` says that it was not checked.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

CATALOG = Path(__file__).parent.parent / "ome_iac" / "runtimes" / "catalog"
HEADER = "# Written by tools/refresh_catalog.py from the released wheel; do not edit.\n"

VLLM_REGISTRY = "vllm/model_executor/models/registry.py"
VLLM_TASKS = {
    "_TEXT_GENERATION_MODELS": "generate",
    "_MULTIMODAL_MODELS": "generate",
    "_TRANSFORMERS_SUPPORTED_MODELS": "generate",
    "_EMBEDDING_MODELS": "embed",
    "_SEQUENCE_CLASSIFICATION_MODELS": "classify",
    "_REWARD_MODELS": "reward",
}
VLLM_CLI = ("vllm/entrypoints/common/cli_args.py", "vllm/entrypoints/openai/cli_args.py")
"""Where the server's own arguments stand, newest place first."""
SGLANG_FIELDS = "sglang/srt/arg_groups/fields/"
SGLANG_ARGUMENTS = "sglang/srt/server_args.py"


def read_vllm(wheel: zipfile.ZipFile) -> dict[str, Any]:
    """Architectures by task from the model registry, flags from the argument parsers."""
    tables: dict[str, dict[str, str]] = {}
    for node in ast.parse(wheel.read(VLLM_REGISTRY)).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict):
            tables[node.targets[0].id] = dict(_registry_rows(node.value, tables))
    tasks: dict[str, set[str]] = {}
    for table, task in VLLM_TASKS.items():
        tasks.setdefault(task, set()).update(tables[table])
    flags = _added_arguments(wheel.read("vllm/engine/arg_utils.py"))
    cli = wheel.read(next(name for name in VLLM_CLI if name in wheel.namelist()))
    flags |= _added_arguments(cli)
    for node in ast.parse(cli).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("FrontendArgs"):
            flags |= {f"--{field.replace('_', '-')}" for field in _fields(node)}
    return {"architectures": tasks, "flags": flags}


def _registry_rows(table: ast.Dict, known: dict[str, dict[str, str]]) -> Iterator[tuple[str, str]]:
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(value, ast.Tuple):
            yield str(key.value), ast.literal_eval(value)[1]
        elif key is None and isinstance(value, ast.Name):
            yield from known[value.id].items()
        elif key is None and isinstance(value, ast.DictComp):
            # {k: row for k, row in OTHER.items() if arch == "Name"}: the rows of OTHER with that class
            [generator] = value.generators
            assert isinstance(generator.iter, ast.Call)
            assert isinstance(generator.iter.func, ast.Attribute)
            assert isinstance(generator.iter.func.value, ast.Name)
            [condition] = generator.ifs
            assert isinstance(condition, ast.Compare)
            wanted = ast.literal_eval(condition.comparators[0])
            yield from ((k, arch) for k, arch in known[generator.iter.func.value.id].items() if arch == wanted)
        elif not isinstance(key, ast.Constant):
            raise SystemExit(f"{VLLM_REGISTRY}:{value.lineno}: a registry row of a form this tool does not know")


def _added_arguments(source: bytes) -> set[str]:
    return {
        argument.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str) and argument.value.startswith("--")
    }


def _fields(node: ast.ClassDef) -> list[str]:
    return [
        item.target.id for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    ]


def read_sglang(wheel: zipfile.ZipFile) -> dict[str, Any]:
    """Architectures from each model module's EntryClass, flags from the argument parser or its dataclasses."""
    every: set[str] = set()
    for name in wheel.namelist():
        if name.startswith("sglang/srt/models/") and name.endswith(".py"):
            for node in ast.parse(wheel.read(name)).body:
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EntryClass":
                    every |= {item.id for item in ast.walk(node.value) if isinstance(item, ast.Name)}
    config = ast.parse(wheel.read("sglang/srt/configs/model_config.py"))
    [decides] = [n for n in config.body if isinstance(n, ast.FunctionDef) and n.name == "is_generation_model"]
    pooling = every & {
        node.left.value
        for node in ast.walk(decides)
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str)
    }
    classify = {name for name in pooling if "Classification" in name}
    reward = {name for name in pooling if "Reward" in name}
    groups = [name for name in wheel.namelist() if name.startswith(SGLANG_FIELDS) and name.endswith(".py")]
    flags = set().union(*(_declared_arguments(wheel.read(name), "") for name in groups))
    if not groups:  # one class in one module; before 0.5.15, plain calls of `add_argument`
        source = wheel.read(SGLANG_ARGUMENTS)
        flags = _added_arguments(source)
        if b"from sglang.srt.arg_groups.arg_utils import" in source:
            flags |= _declared_arguments(source, "ServerArgs")
    return {
        "architectures": {
            "generate": every - pooling,
            "embed": pooling - classify - reward,
            "classify": classify,
            "reward": reward,
        },
        "flags": flags,
    }


def _declared_arguments(source: bytes, only: str) -> set[str]:
    """Flags of the annotated fields of argument dataclasses, with their other names; of one class if it is named."""
    flags: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef) or (only and node.name != only):
            continue
        flags |= {f"--{field.replace('_', '-')}" for field in _fields(node) if not field.startswith("_")}
        for inner in ast.walk(node):
            if isinstance(inner, ast.keyword) and inner.arg in ("aliases", "cli_name"):
                literal = ast.literal_eval(inner.value)
                flags |= {literal} if isinstance(literal, str) else set(literal)
    return flags


READERS: dict[str, tuple[Callable[[zipfile.ZipFile], dict[str, Any]], str]] = {
    "vllm": (read_vllm, "docker.io/vllm/vllm-openai:v{version}"),
    "sglang": (read_sglang, "docker.io/lmsysorg/sglang:v{version}"),
}


def catalogue(engine: str, version: str, wheel: Path) -> str:
    """The catalogue's text, sorted; same wheel, same bytes."""
    read, image = READERS[engine]
    with zipfile.ZipFile(wheel) as archive:
        facts = read(archive)
    return HEADER + yaml.safe_dump(
        {
            "engine": engine,
            "version": version,
            "image": image.format(version=version),
            "architectures": {task: sorted(names) for task, names in sorted(facts["architectures"].items())},
            "flags": sorted(facts["flags"]),
        },
        sort_keys=False,
        width=120,
    )


def fetch(requirement: str, folder: Path) -> Path:
    """Download the wheel, without its dependencies."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder, requirement],
        check=True,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engines", nargs="+", metavar="ENGINE==VERSION")
    parser.add_argument("--wheels", type=Path, help="a folder that already holds the wheels")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    arguments = parser.parse_args()
    differs = False
    for requirement in arguments.engines:
        engine, _, version = requirement.partition("==")
        path = CATALOG / f"{engine}-{version}.yaml"
        if engine not in READERS:
            if not arguments.check:
                parser.error(f"{engine} publishes no wheel to read: write {path.name} from its docs, with a source")
            source = yaml.safe_load(path.read_text())["source"]
            print(f"{path.name} is written by hand and NOT checked; from {source}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            if arguments.wheels:
                [wheel] = arguments.wheels.glob(f"{engine}-{version}-*.whl")
            else:
                wheel = fetch(requirement, Path(folder))
            text = catalogue(engine, version, wheel)
        if not arguments.check:
            path.write_text(text)
            print(f"wrote {path.relative_to(CATALOG.parent.parent.parent)}")
        elif not path.exists() or path.read_text() != text:
            differs = True
            print(f"{path.name} disagrees with the wheel: run tools/refresh_catalog.py {requirement}", file=sys.stderr)
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
