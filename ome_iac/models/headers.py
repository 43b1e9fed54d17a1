"""All weight files' headers, read at once: one request for most of them, a second for what is longer."""

from __future__ import annotations

import asyncio
from typing import Any

from ome_iac.models.gguf import MAX_HEADER_BYTES as MAX_GGUF_HEADER_BYTES
from ome_iac.models.gguf import NeedMore, parse_gguf
from ome_iac.models.metadata import ModelFile
from ome_iac.models.safetensors import header_length, parse_header
from ome_iac.models.sources.base import ModelSource, Report, SourceError
from ome_iac.models.tensors import TensorTable
from ome_iac.models.weights import Weights
from ome_iac.problems import Problem, ProblemsError

MAX_MODEL_HEADER_BYTES = 400_000_000
"""Ours, of all shards together. DeepSeek-V3 has 12 MB, Kimi-K2 in four bits some 40 MB."""

_SMALLEST_RANGE = 4 * 1024
_USUAL_RANGE = 64 * 1024
_LARGEST_RANGE = 1024 * 1024


async def read_headers(
    source: ModelSource, weights: Weights, report: Report
) -> tuple[TensorTable, dict[str, Any] | None]:
    """The tensors of all files, and GGUF's keys.

    Raises SourceError at once, ProblemsError with the problems of all files.
    """
    if weights.format == "gguf":
        return await _read_gguf(source, weights)
    first = first_range(weights)
    tables: list[TensorTable | None] = [None] * len(weights.files)
    problems: list[Problem] = []
    done = 0
    budget = _Budget(MAX_MODEL_HEADER_BYTES)

    async def read(number: int, file: ModelFile) -> None:
        nonlocal done
        try:
            tables[number] = await _read_safetensors(source, file, first, budget)
        except SourceError:
            raise
        except ProblemsError as error:
            problems.extend(error.problems)
        done += 1
        report(f"{done} of {len(weights.files)} headers")

    await all_of(*(read(number, file) for number, file in enumerate(weights.files)))
    if problems:
        raise ProblemsError(sorted(problems)[:20])
    table = TensorTable("safetensors")
    for shard in tables:
        assert shard is not None
        table.extend(shard)
    repeated = list(table.repeated())[:20]
    if repeated:
        raise ProblemsError(
            Problem(source.where(""), name, "two shards hold a tensor of this name") for name in repeated
        )
    return table, None


def first_range(weights: Weights) -> int:
    """How many bytes of each file to ask for, so that the header is most likely within.

    The index names each tensor once, in some 45 bytes more than its name; the header does in some 80 more. So the
    index's size over the number of shards, and half as much again, is a little more than a header takes.
    """
    if weights.index is None or not weights.files:
        return _USUAL_RANGE
    estimate = weights.index.size * 3 // (2 * len(weights.files)) + _SMALLEST_RANGE
    return min(estimate, _LARGEST_RANGE)


async def all_of(*work: Any) -> list[Any]:
    """Run the coroutines together; the first error cancels the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in work]
    except BaseExceptionGroup as errors:
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from None
    return [task.result() for task in tasks]


class _Budget:
    """What all headers of one model may take together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0

    def take(self, size: int, where: str) -> None:
        self.taken += size
        if self.taken > self.limit:
            what = f"the headers of this model's shards together exceed {self.limit:,} bytes"
            raise ProblemsError([Problem(where, "header", what)])


async def _read_safetensors(source: ModelSource, file: ModelFile, first: int, budget: _Budget) -> TensorTable:
    where = source.where(file.path)
    data = await source.read(file, 0, min(first, file.size))
    length = header_length(data, file.size, where)
    budget.take(length, where)
    if 8 + length > len(data):
        data += await source.read(file, len(data), 8 + length - len(data))
    if 8 + length > len(data):
        raise ProblemsError([Problem(where, "header", f"the source gave {len(data):,} of its {8 + length:,} bytes")])
    return parse_header(data[8 : 8 + length], file.size - 8 - length, file.path, where)


async def _read_gguf(source: ModelSource, weights: Weights) -> tuple[TensorTable, dict[str, Any]]:
    table, keys = TensorTable("gguf"), dict[str, Any]()
    for file in weights.files:
        found, tensors = await _read_one_gguf(source, file)
        keys = {**found, **keys}  # of a split model the first file has the model's own
        table.extend(tensors)
    return table, keys


async def _read_one_gguf(source: ModelSource, file: ModelFile) -> tuple[dict[str, Any], TensorTable]:
    where, data, more = source.where(file.path), b"", 512 * 1024
    while True:
        data += await source.read(file, len(data), min(more, file.size - len(data)))
        try:
            return parse_gguf(data, file.size, file.path, where)
        except NeedMore:
            if len(data) >= min(file.size, MAX_GGUF_HEADER_BYTES):
                raise ProblemsError([Problem(where, "header", "ends outside the file")]) from None
            more = len(data) * 2
