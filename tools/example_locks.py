"""Writes `ome.lock` of the example stacks from published config facts; nothing is downloaded.

Each entry is marked `derived`: parameter counts and bytes are computed from the config by the family's tensor shapes.
`ome-iac lock` replaces them by what the weights' own headers say, where the Hub can be reached.
"""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from ome_iac.models.lock import FILE_NAME, Lock, LockEntry
from ome_iac.models.read import read_config

STACKS = Path(__file__).parent.parent / "stacks"
PUBLISHED = datetime(2024, 12, 6, tzinfo=UTC)
"""The day the newer of the two models was published."""

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "head_dim": 128,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
CONFIGS = {
    "hf://meta-llama/Llama-3.1-8B-Instruct": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
    },
    "hf://meta-llama/Llama-3.3-70B-Instruct": {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_attention_heads": 64,
        "num_hidden_layers": 80,
    },
}
MODELS = {
    "quickstart": tuple(CONFIGS),
    "quickstart-unfit": tuple(CONFIGS),
    "existing-cluster": ("hf://meta-llama/Llama-3.1-8B-Instruct",),
}


def entry(uri: str) -> LockEntry:
    """The lock entry that the model's published config gives."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps({**LLAMA, **CONFIGS[uri]}))
        metadata = read_config(config, uri)
    return LockEntry.of(metadata, "published config", PUBLISHED, derived=True)


def main() -> None:
    """Write the three locks."""
    entries = {uri: entry(uri) for uri in CONFIGS}
    for stack, uris in MODELS.items():
        lock = Lock(STACKS / stack / FILE_NAME)
        for uri in uris:
            lock = lock.with_entry(uri, entries[uri])
        lock.write()


if __name__ == "__main__":
    main()
