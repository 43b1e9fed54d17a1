"""One module an engine: command line, memory rules, limits."""

from __future__ import annotations

import functools

from packaging.version import InvalidVersion, Version

from ome_iac.problems import Problem, ProblemsError, did_you_mean
from ome_iac.runtimes.catalog import Catalog, catalogs, newest
from ome_iac.runtimes.engines.base import Engine, Launch, nearest_legal, task_of
from ome_iac.runtimes.engines.sglang import Sglang
from ome_iac.runtimes.engines.vllm import Vllm

__all__ = ["Engine", "Launch", "engine", "engines", "nearest_legal", "task_of"]

KINDS: dict[str, type[Engine]] = {"vllm": Vllm, "sglang": Sglang}
"""In the order in which ties are broken."""

OLDEST_RULES = {"vllm": Version("0.8.0"), "sglang": Version("0.5.0")}
"""The first version whose memory the rules describe: vLLM's V1 engine, SGLang's heuristic for `mem_fraction_static`."""


@functools.cache
def engines() -> dict[str, Engine]:
    """Every engine by name, at the newest version in the catalogue."""
    return {name: kind(newest(name)) for name, kind in KINDS.items()}


@functools.cache
def engine(name: str, version: str | None = None, where: str = "--engine") -> Engine:
    """The engine at a version, the newest in the catalogue by default.

    Flags and architectures are that version's or, where the catalogue lacks it, the nearest one's: `notes` says so.
    Raises ProblemsError for an engine that is not known and for a version outside of the memory rules' range.
    """
    if name not in KINDS:
        raise ProblemsError([Problem(where, "", f"there is no engine {name}", did_you_mean(name, KINDS))])
    if version is None:
        return engines()[name]
    first, last = OLDEST_RULES[name], Version(newest(name).version)
    try:
        wanted = Version(version)
    except InvalidVersion:
        what = f'"{version}" is no version of {name}'
        raise ProblemsError([Problem(where, "", what, f"such as {name}=={last}")]) from None
    if not first <= wanted <= last:
        nearest = first if wanted < first else last
        what = f"how {name} {wanted} uses memory is not known; {first} to {last} are"
        raise ProblemsError([Problem(where, "", what, f"the nearest is {name}=={nearest}")])
    catalog = _nearest(name, wanted)
    notes: tuple[str, ...] = ()
    if Version(catalog.version) != wanted:
        notes = (f"flags and architectures are those of {catalog.name}, the nearest version in the catalogue",)
        image = catalog.image.replace(catalog.version, str(wanted))
        catalog = catalog.model_copy(update={"version": str(wanted), "image": image})
    return KINDS[name](catalog, notes)


def _nearest(name: str, wanted: Version) -> Catalog:
    """The catalogue of the smallest difference in release numbers, the newer of two."""

    def distance(catalog: Catalog) -> tuple[int, ...]:
        ours, theirs = Version(catalog.version).release, wanted.release
        return tuple(abs(a - b) for a, b in zip(ours, theirs, strict=False))

    return min((catalog for catalog in catalogs() if catalog.engine == name), key=distance)
