"""`read_model`: from a model's URI to its `ModelMetadata`, reading headers and small files, never weights."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from ome_iac.models.config_files import (
    CARD,
    MAIN,
    MAX_CARD_BYTES,
    MAX_CONFIG_BYTES,
    ConfigFiles,
    choose_config_files,
    parse_config_file,
)
from ome_iac.models.families import Description, describe
from ome_iac.models.headers import all_of, read_headers
from ome_iac.models.metadata import Evidence, ModelFile, ModelMetadata, Source
from ome_iac.models.sources import Listing, ModelSource, ReadableUri, SourceError, open_source, refuse_unreadable
from ome_iac.models.sources.base import Report, content_revision
from ome_iac.models.tensors import TensorTable
from ome_iac.models.uri import HubUri, LocalUri, ModelUri, PvcUri, VendorUri, parse_uri
from ome_iac.models.weights import MAX_INDEX_BYTES, Weights, check_index, choose_weights, disagreements, parse_index
from ome_iac.problems import Problem, ProblemsError

Answer = TypeVar("Answer")


def read_model(uri: str, base: Path, *, where: str = "", mirror: Path | None = None) -> ModelMetadata:
    """Read the model at `uri`; a relative `local://` is meant from `base`, the folder of its document.

    `where` (file:line) leads the error of a malformed URI. `mirror` is a folder with the same files, read instead: the
    only way to read a claim (`pvc://`). Raises ProblemsError, SourceError where the source cannot be reached.
    """
    parsed: ModelUri = LocalUri(mirror.resolve()) if mirror else parse_uri(uri, base, where)
    if isinstance(parsed, VendorUri):
        nothing = "everything: a vendor's model comes in the vendor's own image, and has no files to read"
        return ModelMetadata(source=uri, missing=(nothing,))
    if isinstance(parsed, PvcUri):
        raise refuse_unreadable(parsed, uri)
    folder, wanted = _split_file(parsed)
    if isinstance(folder, LocalUri):
        return _run(open_source(folder, _silent), uri, wanted, _silent)
    from ome_iac.report.progress import step

    with step(f"reading {uri}", why="headers and configuration only, no weights") as shown:
        return _run(open_source(folder, shown.detail), uri, wanted, shown.detail)


def read_listing(uri: str, base: Path, *, where: str = "") -> Listing:
    """The model's files and revision as its source has them now; one request. Raises as `read_model` does."""
    parsed = parse_uri(uri, base, where)
    if isinstance(parsed, PvcUri | VendorUri):
        raise ValueError(f"{uri} has no listing")
    source = open_source(_split_file(parsed)[0], _silent)

    async def read() -> Listing:
        async with source:
            return await source.listing()

    return _in_own_loop(read)


def read_config(path: Path, uri: str = "") -> ModelMetadata:
    """What a config.json alone tells; counts are derived from the family's tensor shapes and marked so."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(
            str(path), f"cannot be read: {(error.strerror or '').lower()}", "name a config.json"
        ) from None
    parsed = parse_config_file(data, "config.json", str(path))
    if not isinstance(parsed, dict):
        raise ProblemsError([Problem(str(path), "", "must be a JSON object")])
    described = describe(ConfigFiles(parsed={"config.json": parsed}), None)
    return _metadata(uri or path.resolve().as_uri(), described, Listing(()), None, ())


async def read_from(source: ModelSource, uri: str, wanted: str, report: Report) -> ModelMetadata:
    """Read a model of an entered source. `wanted` names one weight file where several lie side by side."""
    report("listing files")
    listing = await source.listing()
    if not listing.files:
        raise ProblemsError([Problem(source.where(""), "", "holds no files", "check the path")])
    small, warnings = _small_files(listing, source)
    needed_first = [file for file in small if file.path in ("model_index.json", "modules.json")]
    loaded = dict(await all_of(*(_load(source, file) for file in needed_first)))
    folders = _weight_folders({path: parsed for path, (parsed, _) in loaded.items()}, listing)
    chosen = [weights for folder in folders if (weights := choose_weights(listing.files, folder, source.where, wanted))]
    _require_config(listing, chosen, source)
    rest = (_load(source, file) for file in small if file not in needed_first)
    (tensors, gguf, differing), *others = await all_of(_tensors(source, listing, chosen, report), *rest)
    loaded.update(others)
    warnings += differing
    hashes = {path: digest for path, (_, digest) in loaded.items() if digest}
    files = tuple(_with_hash(file, hashes) for file in listing.files)
    configs = {path: parsed for path, (parsed, _) in sorted(loaded.items())}
    described = describe(ConfigFiles(parsed=configs, files=files, gguf=gguf), tensors)
    listing = Listing(files, listing.revision or _revision(files, tensors), listing.licence, listing.gated)
    weight_format = chosen[0].format if chosen else None
    if weight_format == "pickle":
        names = ", ".join(file.path for weights in chosen for file in weights.files[:3])
        warnings.append(
            f"the weights are pickle files ({names}): loading them runs their publisher's code; "
            "they were not opened, so the counts below are derived from the config"
        )
    return _metadata(uri, described, listing, weight_format, tuple(warnings))


def _run(source: ModelSource, uri: str, wanted: str, report: Report) -> ModelMetadata:
    async def read() -> ModelMetadata:
        async with source:
            return await read_from(source, uri, wanted, report)

    return _in_own_loop(read)


def _in_own_loop(read: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run in an event loop of its own thread: Pulumi runs a program inside one already."""
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal() as portal:
        return portal.call(read)


def _silent(_: str) -> None:
    """Reads of this machine's own files are over before a progress line could be read."""


def _split_file(uri: ReadableUri) -> tuple[ReadableUri, str]:
    """A URI that ends in a weight file means its folder, and that file of it."""
    if isinstance(uri, HubUri) and uri.subfolder.endswith((".gguf", ".safetensors")):
        folder, _, name = uri.subfolder.rpartition("/")
        return HubUri(uri.repository, uri.revision, folder), name
    if isinstance(uri, LocalUri) and uri.path.suffix in (".gguf", ".safetensors") and uri.path.is_file():
        return LocalUri(uri.path.parent), uri.path.name
    return uri, ""


def _small_files(listing: Listing, source: ModelSource) -> tuple[list[ModelFile], list[str]]:
    """The files to parse, and a warning for each that is too large to be what its name says."""
    small, warnings = [], []
    for file in choose_config_files(listing.files):
        if file.size <= MAX_CONFIG_BYTES or file.path == CARD:
            small.append(file)
        elif file.path == "config.json":
            what = f"{file.size:,} bytes; at most {MAX_CONFIG_BYTES:,} are read"
            raise ProblemsError([Problem(source.where(file.path), "", what)])
        else:
            warnings.append(f"{file.path} was not read: {file.size:,} bytes")
    return small, warnings


async def _load(source: ModelSource, file: ModelFile) -> tuple[str, tuple[Any, str]]:
    """The path; what the file says; its hash, unless only the head was read."""
    length = min(file.size, MAX_CARD_BYTES) if file.path == CARD else file.size
    data = await source.read(file, 0, length)
    digest = hashlib.sha256(data).hexdigest() if length == file.size else ""
    parsed = parse_config_file(data, file.path, source.where(file.path))
    if file.path == "config.json" and not isinstance(parsed, dict):
        raise ProblemsError([Problem(source.where(file.path), "", "must be a JSON object")])
    return file.path, (parsed, digest)


def _weight_folders(loaded: Mapping[str, Any], listing: Listing) -> list[str]:
    """The folders with weights: the parts of a diffusion pipeline or of a sentence-transformers stack, or the top."""
    there = {PurePosixPath(file.path).parent.as_posix() for file in listing.files}
    pipeline, modules = loaded.get("model_index.json"), loaded.get("modules.json")
    if isinstance(pipeline, dict):
        parts = [name for name, value in pipeline.items() if isinstance(value, list) and value and value[0]]
        return [name for name in parts if name in there]
    if isinstance(modules, list):
        paths = [str(module.get("path", "")).strip("/") for module in modules if isinstance(module, dict)]
        return [path for path in dict.fromkeys(paths) if not path or path in there]
    return [""]


def _require_config(listing: Listing, chosen: list[Weights], source: ModelSource) -> None:
    if any(weights.format == "gguf" for weights in chosen) or any(listing.find(path) for path in MAIN):
        return
    deeper = sorted(file.path for file in listing.files if file.path.endswith("/config.json"))
    remedy = f"did you mean the folder of {deeper[0]}?" if deeper else "download the model's small files too"
    raise ProblemsError([Problem(source.where(""), "", "no config.json beside the weights", remedy)])


async def _tensors(
    source: ModelSource, listing: Listing, chosen: list[Weights], report: Report
) -> tuple[TensorTable | None, dict[str, Any] | None, list[str]]:
    """The headers of all chosen weights in one table, None where there are none to read; GGUF's keys; warnings."""
    readable = [weights for weights in chosen if weights.format != "pickle"]
    found = await all_of(*(folder_tensors(source, listing, weights, report) for weights in readable))
    table: TensorTable | None = None
    keys: dict[str, Any] | None = None
    warnings: list[str] = []
    for part, part_keys, warning in found:
        table, keys = (part, part_keys) if table is None else (table, keys)
        if part is not table:
            table.extend(part)
        warnings += [warning] if warning else []
    return table, keys, warnings


async def folder_tensors(
    source: ModelSource, listing: Listing, weights: Weights, report: Report
) -> tuple[TensorTable, dict[str, Any] | None, str]:
    """The headers of one folder's weights, checked against its index; GGUF's keys; a warning or ""."""
    if weights.index is None:
        return *await read_headers(source, weights, report), ""
    where = source.where(weights.index.path)
    folder = weights.index.path.rpartition("/")[0]
    prefix = f"{folder}/" if folder else ""
    if weights.files:
        weight_map, (table, keys) = await all_of(
            _weight_map(source, weights.index), read_headers(source, weights, report)
        )
        check_index(weight_map, weights, where)
    else:
        weight_map = await _weight_map(source, weights.index)
        named = [listing.find(prefix + name) for name in sorted(set(weight_map.values()))]
        weights = Weights(weights.format, tuple(file for file in named if file), weights.index)
        check_index(weight_map, weights, where)
        table, keys = await read_headers(source, weights, report)
    if prefix:
        weight_map = {name: prefix + shard for name, shard in weight_map.items()}
    return table, keys, disagreements(weight_map, table.shard_of())


async def _weight_map(source: ModelSource, file: ModelFile) -> dict[str, str]:
    where = source.where(file.path)
    if file.size > MAX_INDEX_BYTES:
        raise ProblemsError([Problem(where, "", f"{file.size:,} bytes; at most {MAX_INDEX_BYTES:,} are read")])
    return parse_index(await source.read(file, 0, file.size), where)


def _with_hash(file: ModelFile, hashes: Mapping[str, str]) -> ModelFile:
    digest = file.sha256 or hashes.get(file.path)
    return file.model_copy(update={"sha256": digest}) if digest != file.sha256 else file


def _revision(files: tuple[ModelFile, ...], tensors: TensorTable | None) -> str:
    """For a source without revisions: the content as far as it was read, and the sizes of the rest."""
    facts = [(file.path, file.size, file.sha256 or "") for file in files]
    tables = hashlib.sha256()
    for tensor in tensors or ():
        tables.update(repr(tensor).encode())
    return content_revision([*facts, ("", 0, tables.hexdigest())])


def _metadata(
    uri: str, described: Description, listing: Listing, weight_format: str | None, warnings: tuple[str, ...]
) -> ModelMetadata:
    facts = {name: getattr(described, name) for name in Description.model_fields}
    provenance = dict(described.provenance)
    if listing.licence and not described.licence:
        facts["licence"] = listing.licence
        provenance["licence"] = Evidence(source=Source.CARD, file=CARD)
    if weight_format:
        facts["format"] = weight_format
        provenance["format"] = Evidence(source=Source.HEADER if weight_format != "pickle" else Source.CONFIG)
    facts["warnings"] = (*warnings, *described.warnings)
    facts["provenance"] = dict(sorted(provenance.items()))
    return ModelMetadata(source=uri, revision=listing.revision, gated=listing.gated, files=listing.files, **facts)
