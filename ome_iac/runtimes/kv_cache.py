"""How the engines lay out the KV cache of one pipeline stage, and what one request takes of it.

vLLM hands out blocks whose ids all layers share: layers are put into groups of one kind, every group of a model has the
same bytes per block, and a request takes blocks for each group (vllm/v1/core/kv_cache_utils.py in 0.19.0,
kv_cache_planning.py in 0.33.0: the same rules but for what sliding layers hold while a batch is in flight). SGLang
keeps one pool of tokens for full layers and one, a fifth smaller, for sliding layers (pool_configurator.py, 0.5.23).
Of engines whose pools were not read, the larger need is taken: everything is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from ome_iac.models.metadata import Attention, ModelMetadata

BLOCK_TOKENS = 16
"""Tokens of a block of vLLM by default; hybrid models stretch it."""

PADDING_LIMIT = 1.5
"""Layer counts that differ by less than this are padded to the larger instead of cut to the smaller (vLLM)."""

SLIDING_SHARE = 0.8
"""Tokens of SGLang's pool for sliding layers, per token of the pool for full layers (swa_full_tokens_ratio)."""


@dataclass(frozen=True)
class Table:
    """One block table of a request: `keeps` tokens at most (None: all), or a fixed number of blocks."""

    tokens_per_block: int = BLOCK_TOKENS
    keeps: int | None = None
    spare: int = 0
    fixed: int | None = None

    def blocks(self, tokens: int) -> int:
        """Blocks that a request of `tokens` tokens holds at most."""
        if self.fixed is not None:
            return self.fixed
        kept = tokens if self.keeps is None else min(tokens, self.keeps)
        return -(-kept // self.tokens_per_block) + self.spare


@dataclass(frozen=True)
class Layout:
    """The cache of one GPU of a stage: bytes behind one block id, and the tables of each request."""

    block_bytes: int
    tables: tuple[Table, ...]
    per_request: int = 0

    def request_bytes(self, tokens: int) -> int:
        """Bytes that one request of `tokens` tokens takes."""
        return self.block_bytes * sum(table.blocks(tokens) for table in self.tables) + self.per_request


NOTHING = Layout(0, ())


@dataclass(frozen=True)
class _Kind:
    """What layers must share to be of one group."""

    name: str
    reach: int | None
    page: int
    """Bytes of one layer's page of BLOCK_TOKENS tokens, or of its state."""


def vllm_layouts(
    model: ModelMetadata, stages: Sequence[range], tensor: int, element: int, in_flight: int
) -> tuple[Layout, ...]:
    """One layout per stage; `element` is bytes, `in_flight` the tokens scheduled and not yet settled."""
    kinds = _kinds(model, tensor, element)
    if not kinds:
        return (NOTHING,) * len(stages)
    if len({(kind.name, kind.reach) for kind in kinds}) == 1:
        first = next(iter(kinds))
        table = Table(fixed=1) if first.name == "state" else _table(first, BLOCK_TOKENS, in_flight)
        return tuple(
            Layout(sum(kind.page * _on(layers, stage) for kind, layers in kinds.items()), (table,)) for stage in stages
        )
    paged = [kind.page for kind in kinds if kind.name != "state"]
    states = [kind.page for kind in kinds if kind.name == "state"]
    # Attention blocks are stretched until one is as large as the largest state; states are then padded to it.
    stretch = max(1, ceil(max(states, default=0) / max(paged, default=1)))
    common = max([*(page * stretch for page in paged), *states])
    size = _group_size([len(layers) for layers in kinds.values()])
    tables: list[Table] = []
    widest = [0] * len(stages)
    for kind, layers in kinds.items():
        groups = -(-len(layers) // size)
        fitting = common // kind.page if kind.name != "state" and common % kind.page == 0 else stretch
        tables += [_table(kind, BLOCK_TOKENS * fitting, in_flight)] * groups
        for index, stage in enumerate(stages):
            held = max(_on(layers[group::groups], stage) for group in range(groups))
            widest[index] = max(widest[index], held)
    return tuple(Layout(common * layers, tuple(tables)) if layers else NOTHING for layers in widest)


def sglang_layouts(model: ModelMetadata, stages: Sequence[range], tensor: int, element: int) -> tuple[Layout, ...]:
    """One layout per stage; a block is one token. Chunked layers are kept whole."""
    layouts = []
    for stage in stages:
        full = sliding = state = 0
        for group in model.attention:
            held = _on(group.layer_indices, stage)
            token = held * elements_per_token(group, tensor) * element
            full += 0 if group.kind == "sliding" else token
            sliding += token if group.kind == "sliding" else 0
            state += held * -(-(group.state_bytes or 0) // tensor)
        cell = full + (int(SLIDING_SHARE * sliding) if full else sliding)
        layouts.append(Layout(cell, (Table(tokens_per_block=1),), state) if cell or state else NOTHING)
    return tuple(layouts)


def whole_layouts(
    model: ModelMetadata, stages: Sequence[range], tensor: int, element: int, tokens_per_block: int
) -> tuple[Layout, ...]:
    """One layout per stage of one pool that keeps every token of every layer, windows or not; states beside it."""
    layouts = []
    for stage in stages:
        token = state = 0
        for group in model.attention:
            held = _on(group.layer_indices, stage)
            token += held * elements_per_token(group, tensor) * element
            state += held * -(-(group.state_bytes or 0) // tensor)
        block, tables = token * tokens_per_block, (Table(tokens_per_block),)
        layouts.append(Layout(block, tables, state) if block or state else NOTHING)
    return tuple(layouts)


def elements_per_token(group: Attention, tensor: int) -> int:
    """Elements that one token takes in one layer of one GPU.

    KV heads are divided over tensor parallel up to their number and repeated beyond; a latent (MLA) is not divided.
    """
    if group.kind in ("linear", "mamba", "encoder"):
        return 0
    if group.kind == "mla":
        return (group.latent_dim or 0) + (group.rope_head_dim or 0)
    heads = max(1, -(-group.kv_heads // tensor))
    return heads * (group.head_dim + (group.value_head_dim or group.head_dim))


def longest(layout: Layout, room: int, most: int) -> int:
    """Tokens of the longest single request that `room` bytes hold, at most `most`."""
    if room < 0 or layout.request_bytes(0) > room:
        return 0
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if layout.request_bytes(middle) <= room else (low, middle - 1)
    return low


def _kinds(model: ModelMetadata, tensor: int, element: int) -> dict[_Kind, list[int]]:
    """Layers by what they keep, in ascending order; those that keep nothing are left out."""
    found: dict[_Kind, list[int]] = {}
    for group in model.attention:
        page = BLOCK_TOKENS * elements_per_token(group, tensor) * element
        if group.state_bytes:
            kind = _Kind("state", None, -(-group.state_bytes // tensor))
        elif group.kind in ("sliding", "chunked") and group.window:
            kind = _Kind(group.kind, group.window, page)
        else:
            kind = _Kind("full", None, page)
        if kind.page:
            found[kind] = sorted([*found.get(kind, []), *group.layer_indices])
    return found


def _table(kind: _Kind, tokens_per_block: int, in_flight: int) -> Table:
    if kind.name == "state":
        return Table(fixed=1)
    if kind.reach is None:
        return Table(tokens_per_block)
    if kind.name == "sliding":  # the window need not begin where a block does: one more
        return Table(tokens_per_block, kind.reach - 1 + in_flight, spare=1)
    return Table(tokens_per_block, kind.reach + in_flight)


def _group_size(counts: list[int]) -> int:
    return max(counts) if max(counts) < min(counts) * PADDING_LIMIT else min(counts)


def _on(layers: Sequence[int], stage: range) -> int:
    return sum(layer in stage for layer in layers)
