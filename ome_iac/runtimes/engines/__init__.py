"""One module an engine: command line, memory rules, limits."""

from __future__ import annotations

import functools

from ome_iac.runtimes.catalog import newest
from ome_iac.runtimes.engines.base import Engine, Launch, task_of
from ome_iac.runtimes.engines.sglang import Sglang
from ome_iac.runtimes.engines.vllm import Vllm

__all__ = ["Engine", "Launch", "engines", "task_of"]


@functools.cache
def engines() -> dict[str, Engine]:
    """Every engine by name, in the order in which ties are broken."""
    return {"vllm": Vllm(newest("vllm")), "sglang": Sglang(newest("sglang"))}
