"""Weight files with the real names, shapes and dtypes of published models, and no weights: sparse files.

    make_weights(folder, "deepseek-v3")     # 163 shards that look 689 GB long and take a few megabytes of disk
    python -m tests.make_weights deepseek-v3 /tmp/deepseek-v3

The split of tensors over shards is ours: in order, even in bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any

from ome_iac.models.safetensors import BITS
from tests.published_models import MODELS, Tensor

__all__ = ["MODELS", "make_weights", "safetensors_header", "tensor_bytes", "write_safetensors", "write_sharded"]


def make_weights(folder: Path, model: str) -> Path:
    """Write config.json, the index and all shards of `model` (a key of `MODELS`) into `folder`; the folder."""
    published = MODELS[model]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(published.config, indent=2))
    for name, content in published.others.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content, indent=2))
    write_sharded(folder, list(published.tensors()), published.shards, published.shard_name)
    return folder


def write_sharded(folder: Path, tensors: list[Tensor], shards: int, shard_name: Callable[[int, int], str]) -> None:
    """Split the tensors over `shards` files, even in bytes, and write the index that names them."""
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return
    total = sum(tensor_bytes(dtype, shape) for _, dtype, shape in tensors)
    parts: list[list[Tensor]] = [[] for _ in range(shards)]
    before = 0
    for tensor in tensors:
        size = tensor_bytes(tensor[1], tensor[2])
        parts[(before + size // 2) * shards // total].append(tensor)
        before += size
    weight_map: dict[str, str] = {}
    for number, part in enumerate(parts):
        name = shard_name(number, shards)
        write_safetensors(folder / name, part)
        weight_map.update((tensor[0], name) for tensor in part)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))


def write_safetensors(path: Path, tensors: Iterable[Tensor]) -> None:
    """A sparse file: the header is written, the tensors' bytes are a hole."""
    header, size = safetensors_header(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)


def safetensors_header(tensors: Iterable[Tensor]) -> tuple[bytes, int]:
    """The JSON header, padded to 8 bytes as the library pads it, and the bytes of all tensors."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + tensor_bytes(dtype, shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8), offset


def tensor_bytes(dtype: str, shape: tuple[int, ...]) -> int:
    return prod(shape) * BITS[dtype] // 8


if __name__ == "__main__":
    print(make_weights(Path(sys.argv[2]), sys.argv[1]))
