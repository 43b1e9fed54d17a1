"""The tables, read once, and GPUs by whatever name they go."""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import Any

import yaml

from ome_iac.hardware.rows import Gpu, Shape, Source
from ome_iac.problems import Problem, ProblemsError, did_you_mean


@functools.cache
def gpus() -> dict[str, Gpu]:
    """All GPUs by name."""
    return {name: Gpu(name=name, **row) for name, row in read_table("gpus.yaml").items()}


@functools.cache
def shapes() -> dict[str, Shape]:
    """All shapes by OCI's name."""
    return {
        name: Shape(name=name, **{**row, "gpu": gpus()[row["gpu"]]}) for name, row in read_table("shapes.yaml").items()
    }


@functools.cache
def sources() -> dict[str, Source]:
    """What the rows' `source` fields refer to."""
    return {name: Source(**row) for name, row in read_table("sources.yaml").items()}


def find_gpu(name: str, where: str = "--gpu") -> Gpu:
    """The GPU of that name, in any of the spellings of drivers, node labels and catalogues.

    `where` is the flag or `file:line` that the name stands at. Raises ProblemsError for a name that no GPU has, and for
    one, such as A100, that several sizes share.
    """
    gpu = _gpus_by_spelling().get(_spelling(name))
    if gpu:
        return gpu
    sizes = [known for known in gpus() if known.startswith(f"{name.upper()}-")]
    if len(sizes) > 1:
        problem = Problem(where, "", f'"{name}" is more than one GPU', "say which: " + ", ".join(sorted(sizes)))
    else:
        names = {alias for gpu in gpus().values() for alias in gpu.aliases} | set(gpus())
        near = did_you_mean(name.upper(), names)
        remedy = near if near.startswith("did you mean") else "known: " + ", ".join(sorted(gpus()))
        problem = Problem(where, "", f'no GPU is called "{name}"', remedy)
    raise ProblemsError([problem])


def read_table(file: str) -> dict[str, dict[str, Any]]:
    """The rows of one YAML file beside this module."""
    loaded: dict[str, dict[str, Any]] = yaml.load(
        resources.files(__package__).joinpath(file).read_text(encoding="utf-8"), Loader=yaml.CSafeLoader
    )
    return loaded


@functools.cache
def _gpus_by_spelling() -> dict[str, Gpu]:
    return {_spelling(alias): gpu for gpu in gpus().values() for alias in (gpu.name, *gpu.aliases)}


def _spelling(name: str) -> str:
    """`NVIDIA H100 80GB HBM3`, `nvidia-h100-80gb-hbm3` and `NVIDIA-H100-80GB-HBM3` are one."""
    words = re.split(r"[^a-z0-9]+", name.strip().lower())
    return "-".join(word for word in words if word not in {"nvidia", "amd", "instinct", "tesla", ""})
