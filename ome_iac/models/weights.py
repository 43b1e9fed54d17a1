"""Which of a folder's files are the model's weights, and whether they are all there.

A repository may hold the same weights several times: as safetensors and pickle, sharded and consolidated, in FP16 and
FP32, in a dozen GGUF quantizations. What the serving engines load is what is chosen here; a folder that leaves the
choice open is an error that names the choices.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from ome_iac.models.config_files import parse_json
from ome_iac.models.metadata import ModelFile
from ome_iac.problems import Problem, ProblemsError

INDEX = ".safetensors.index.json"
MAX_INDEX_BYTES = 64 * 1024 * 1024
"""Of one index. DeepSeek-V3's is 9 MB."""

Where = Callable[[str], str]
"""A path in the model's folder to what an error calls it."""

PICKLES = (".bin", ".pt", ".pth", ".ckpt")

# In the order in which the engines look for them.
_STEMS = ("model", "adapter_model", "diffusion_pytorch_model", "consolidated", "pytorch_model")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5,6})-of-(?P<count>\d{5,6})(?P<ending>\.safetensors|\.gguf)")
_MOST_BRACKETS = 1000  # an index has three objects; a hostile one of 64 MB could hold 20 million
_NO_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|rng_state|random_states)[^/]*$")


@dataclass(frozen=True)
class Weights:
    """The chosen weight files of one folder, in their order; `index` is the one that must agree with them.

    No files but an index: only the index knows their names.
    """

    format: str
    files: tuple[ModelFile, ...]
    index: ModelFile | None = None


def choose_weights(files: Iterable[ModelFile], folder: str, where: Where, wanted: str = "") -> Weights | None:
    """The weights in `folder` itself ("" for the top); None where there are none.

    Safetensors are preferred to GGUF, GGUF to pickle; `wanted`, the name of one weight file, overrules that. `where`
    says what an error calls a file. Raises ProblemsError for a shard that is missing, and for several sets of weights
    of which none is the usual one.
    """
    here = [file for file in files if _parent(file.path) == folder]
    if wanted:
        here = [file for file in here if _set_name(file.path) == _set_name(wanted)]
        if not any(_name(file.path) == wanted for file in here):
            raise ProblemsError([Problem(where(wanted), "", "no such file in the model's folder")])
    for choose in (_safetensors, _gguf, _pickle):
        chosen = choose(here, where)
        if chosen is not None:
            return chosen
    return None


def parse_index(data: bytes, where: str) -> dict[str, str]:
    """The index's map of tensor to file (relative to the index). Raises ProblemsError for an index of another form."""
    if len(data) - len(data.translate(None, b"{[")) > _MOST_BRACKETS:
        raise ProblemsError([Problem(where, "", "is no index: it nests objects, where an index maps names to names")])
    try:
        index = parse_json(data.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise ProblemsError([Problem(where, "", f"not UTF-8 at byte {error.start}")]) from None
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise ProblemsError([Problem(where, "weight_map", "must map each tensor's name to its file")])
    return weight_map


def check_index(weight_map: Mapping[str, str], weights: Weights, where: str) -> None:
    """Raises ProblemsError for a shard that the index names and that is not there, and for one it does not name."""
    named = set(weight_map.values())
    there = {_name(file.path) for file in weights.files}
    problems = [
        Problem(
            where, "weight_map", f"names {name}, which is not in the folder", "download it, or the whole model again"
        )
        for name in sorted(named - there)
    ]
    problems += [
        Problem(
            where, "weight_map", f"names no tensor of {name}, which lies beside it", "remove the file of another model"
        )
        for name in sorted(there - named)
    ]
    if problems:
        raise ProblemsError(problems)


def disagreements(weight_map: Mapping[str, str], found: Mapping[str, str]) -> str:
    """A warning where index and headers differ on a tensor, else "". `found` maps each tensor read to its shard's name.

    No error: engines read whole shards, and published indexes do name buffers that were left out of the shards.
    """
    if weight_map == found:
        return ""
    differing = sorted(name for name in weight_map.keys() | found.keys() if weight_map.get(name) != found.get(name))
    name = differing[0]
    places = f"{weight_map.get(name, 'nowhere')} by the index, {found.get(name, 'nowhere')} by the headers"
    return f"index and headers differ on {len(differing)} tensors, the headers count; the first is {name}: {places}"


def _safetensors(here: list[ModelFile], where: Where) -> Weights | None:
    files = [file for file in here if file.path.endswith(".safetensors")]
    indexes = {_set_name(file.path): file for file in here if file.path.endswith(INDEX)}
    sets = _sets(files)
    if not sets:
        if indexes:
            index = indexes[sorted(indexes)[0]]
            what = "names the shards of a model, and none of them is there"
            raise ProblemsError([Problem(where(index.path), "", what, "download the shards too")])
        return None
    if len(indexes) == 1 and not indexes.keys() & sets.keys():
        return Weights("safetensors", (), next(iter(indexes.values())))
    stem = _choose_stem(sets, indexes, where)
    if stem not in indexes:
        _require_all_shards(sets[stem], where)
    return Weights("safetensors", tuple(sets[stem]), indexes.get(stem))


def _gguf(here: list[ModelFile], where: Where) -> Weights | None:
    sets = _sets([file for file in here if file.path.endswith(".gguf")])
    sets = {stem: files for stem, files in sets.items() if not re.search(r"(^|[-_./])mmproj", stem)}
    if not sets:
        return None
    chosen = sets[_choose_stem(sets, {}, where)]
    _require_all_shards(chosen, where)
    return Weights("gguf", tuple(chosen))


def _pickle(here: list[ModelFile], where: Where) -> Weights | None:
    files = [file for file in here if file.path.endswith(PICKLES) and not _NO_WEIGHTS.search(file.path)]
    return Weights("pickle", tuple(files)) if files else None


def _sets(files: list[ModelFile]) -> dict[str, list[ModelFile]]:
    sets: dict[str, list[ModelFile]] = {}
    for file in files:
        sets.setdefault(_set_name(file.path), []).append(file)
    return sets


def _set_name(path: str) -> str:
    """What a weight file or an index is called without shard number and ending."""
    shard = _SHARD.fullmatch(path)
    if shard:
        return _name(shard["stem"])
    name = _name(path)
    return name.removesuffix(INDEX) if name.endswith(INDEX) else PurePosixPath(name).stem


def _choose_stem(sets: Mapping[str, list[ModelFile]], indexes: Mapping[str, ModelFile], where: Where) -> str:
    if len(sets) == 1:
        return next(iter(sets))
    for stem in _STEMS:
        if stem in sets:
            return stem
    indexed = sorted(stem for stem in sets if stem in indexes)
    if len(indexed) == 1:
        return indexed[0]
    names = ", ".join(sorted(file.path for files in sets.values() for file in files[:1])[:12])
    what = f"{len(sets)} sets of weights lie side by side and none has the usual name: {names}"
    raise ProblemsError([Problem(where(""), "", what, "add the wanted file to the end of the URI")])


def _require_all_shards(files: list[ModelFile], where: Where) -> None:
    """Without an index the names themselves say how many shards there must be, counted from 0 or from 1."""
    shards = [found for found in (_SHARD.fullmatch(file.path) for file in files) if found]
    if not shards:
        return
    problems = []
    counts = {int(shard["count"]) for shard in shards}
    if len(counts) > 1 or len(shards) != len(files):
        names = ", ".join(file.path for file in files[:6])
        problems.append(Problem(where(""), "", f"shards of different splits of one model: {names}", "keep one split"))
    else:
        count = counts.pop()
        there = {int(shard["number"]) for shard in shards}
        from_zero = range(count) if there == set(range(count)) else range(count + 1)
        wanted = from_zero if 0 in there else range(1, count + 1)
        first = shards[0]
        for number in sorted(set(wanted) - there)[:20]:
            name = f"{first['stem']}-{number:0{len(first['number'])}d}-of-{first['count']}{first['ending']}"
            problems.append(Problem(where(name), "", "this shard is missing", "download it"))
    if problems:
        raise ProblemsError(problems)


def _parent(path: str) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return "" if parent == "." else parent


def _name(path: str) -> str:
    return PurePosixPath(path).name
