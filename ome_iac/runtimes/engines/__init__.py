"""One module an engine: command line, memory rules, limits."""

from __future__ import annotations

import functools

from packaging.version import InvalidVersion, Version

from ome_iac.problems import Problem, ProblemsError, did_you_mean
from ome_iac.runtimes.catalog import nearest, newest
from ome_iac.runtimes.engines.base import Engine, Launch, nearest_legal, task_of
from ome_iac.runtimes.engines.cohere import Cohere
from ome_iac.runtimes.engines.nim import Nim
from ome_iac.runtimes.engines.sglang import Sglang
from ome_iac.runtimes.engines.tei import Tei
from ome_iac.runtimes.engines.tensorrt_llm import TensorRtLlm
from ome_iac.runtimes.engines.tgi import Tgi
from ome_iac.runtimes.engines.triton import Triton, TritonVllm
from ome_iac.runtimes.engines.vllm import Vllm

__all__ = [
    "Engine",
    "Launch",
    "all_engines",
    "automatic_engines",
    "engine",
    "nearest_legal",
    "task_of",
]

KINDS: dict[str, type[Engine]] = {
    "vllm": Vllm,
    "sglang": Sglang,
    "tensorrt-llm": TensorRtLlm,
    "tei": Tei,
    "tgi": Tgi,
    "nim": Nim,
    "triton": Triton,
    "triton-vllm": TritonVllm,
    "cohere": Cohere,
}
"""In the order in which ties are broken."""

OLDEST_RULES = {
    "vllm": "0.8.0",
    "sglang": "0.5.0",
    "tensorrt-llm": "1.0.0",
    "tei": "1.8",
    "tgi": "3.0.0",
    "nim": "1.12.0",
    "triton": "25.06",
    "triton-vllm": "25.06",
    "cohere": "0.8.0",
}
"""The first version whose memory the rules describe: vLLM's V1 engine, SGLang's heuristic for `mem_fraction_static`,
TensorRT-LLM's PyTorch backend by default, TGI's chunked prefill; of the others the flags that we emit."""


@functools.cache
def all_engines() -> dict[str, Engine]:
    """Every engine by name, at the newest version in the catalogue."""
    return {name: kind(newest(kind.catalogued_as or name)) for name, kind in KINDS.items()}


@functools.cache
def automatic_engines() -> dict[str, Engine]:
    """Those that are looked at for every service: free, developed, and serving models as they are published."""
    return {name: found for name, found in all_engines().items() if found.only_when_named is None}


@functools.cache
def engine(name: str, version: str | None = None, where: str = "--engine") -> Engine:
    """The engine at a version, the newest in the catalogue by default.

    Flags and architectures are that version's or, where the catalogue lacks it, the nearest one's: `notes` says so.
    Raises ProblemsError for an engine that is not known and for a version outside of the memory rules' range.
    """
    if name not in KINDS:
        raise ProblemsError([Problem(where, "", f"there is no engine {name}", did_you_mean(name, KINDS))])
    if version is None:
        return all_engines()[name]
    kind = KINDS[name]
    released = kind.catalogued_as or name
    first, last = OLDEST_RULES[name], newest(released).version
    try:
        wanted = Version(version)
    except InvalidVersion:
        what = f'"{version}" is no version of {name}'
        raise ProblemsError([Problem(where, "", what, f"such as {name}=={last}")]) from None
    if not Version(first) <= wanted <= Version(last):
        closest = first if wanted < Version(first) else last
        what = f"how {name} {version} uses memory is not known; {first} to {last} are"
        raise ProblemsError([Problem(where, "", what, f"the nearest is {name}=={closest}")])
    catalog = nearest(released, wanted)
    notes: tuple[str, ...] = ()
    if Version(catalog.version) != wanted:
        notes = (f"flags and architectures are those of {catalog.name}, the nearest version in the catalogue",)
        tag = version.strip().removeprefix("v")  # as it was written: 26.04 is not 26.4
        image = catalog.image.replace(catalog.version, tag)
        catalog = catalog.model_copy(update={"version": tag, "image": image})
    return kind(catalog, notes)
