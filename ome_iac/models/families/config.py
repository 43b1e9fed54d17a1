"""One view of a `config.json`, whichever way its author spelt it.

`Config` answers for one level (the language model, the vision tower ...): it knows the spellings of a key, takes a
missing key from the family's published defaults, and remembers in `Notes` where each value came from. A value of the
wrong kind is noted and counts as absent: garbage never raises out of here, only `UnknownError` for what cannot be
done without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ome_iac.models.metadata import Evidence, Source

LARGEST = 2**40
"""No dimension of a published model comes near it; more is garbage, not a model."""

MAX_LAYERS = 2_000
"""No model has more; a layer numbered higher, in a config or in a tensor's name, is none."""

LONGEST = 10_000
"""No list in a config that decides anything is longer than its layers."""

SPELLINGS: dict[str, tuple[str, ...]] = {
    "hidden_size": ("n_embd", "d_model", "model_dim", "dim"),
    "num_hidden_layers": ("n_layer", "n_layers", "num_layers", "num_transformer_layers", "depth", "encoder_layers"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads", "attention_heads", "encoder_attention_heads"),
    "num_key_value_heads": ("n_head_kv", "num_kv_heads", "kv_n_heads", "multi_query_group_num", "num_attention_groups"),
    "intermediate_size": (
        "ffn_hidden_size",
        "n_inner",
        "d_ff",
        "ffn_dim",
        "ff_intermediate_size",
        "hidden_dim",
        "encoder_ffn_dim",
    ),
    "max_position_embeddings": (
        "n_positions",
        "seq_length",
        "max_seq_len",
        "max_sequence_length",
        "n_ctx",
        "model_max_length",
        "max_target_positions",
        "max_source_positions",
    ),
    "head_dim": ("kv_channels", "head_size", "attention_head_dim", "d_kv"),
    "vocab_size": ("padded_vocab_size",),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": (
        "experts_per_token",
        "num_experts_per_token",
        "top_k_experts",
        "moe_k",
        "moe_topk",
        "moe_top_k",
        "num_selected_experts",
    ),
    "n_shared_experts": ("num_shared_experts", "num_shared_expert", "moe_num_shared_experts"),
    "moe_intermediate_size": ("expert_ffn_hidden_size", "expert_hidden_dim"),
    "dtype": ("torch_dtype",),
    "sliding_window": ("sliding_window_size", "window_size"),
    "num_nextn_predict_layers": ("mtp_num_hidden_layers", "num_mtp_modules", "mtp_num_layers"),
}
"""The key this project uses, and the other names authors gave the same thing, in the order they are tried."""


class UnknownError(Exception):
    """The config does not say enough; `missing` holds what would, one sentence each."""

    def __init__(self, missing: Iterable[str]) -> None:
        self.missing = tuple(missing)
        super().__init__("; ".join(self.missing))


@dataclass
class Notes:
    """What was read on the way: where each key's value came from, and what could not be read."""

    file: str = "config.json"
    read: dict[str, Evidence] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def wrong(self, path: str, value: object, wanted: str) -> None:
        """Note a value that is not what its key must hold."""
        shown = f"of {len(value):,} entries" if isinstance(value, list | tuple | Mapping) else repr(value)
        self.problems[path] = f"{path} in {self.file} is {shown[:40]}{'...' if len(shown) > 40 else ''}, not {wanted}"


class Config:
    """One level of a config. `path` is where it lies (`text_config`), `defaults` the family's published ones."""

    def __init__(
        self, raw: object, defaults: Mapping[str, object], notes: Notes, path: str = "", model_type: str = ""
    ) -> None:
        self.raw: Mapping[str, object] = raw if isinstance(raw, Mapping) else {}
        self.defaults = defaults
        self.notes = notes
        self.path = path
        self.model_type = model_type

    def has(self, key: str) -> bool:
        """Whether the file itself states the key, under any of its spellings and not as null."""
        stated = self._stated(key)
        return stated is not None and stated[1] is not None

    def value(self, key: str) -> object:
        """The key's value, from the file or else from the family's defaults; None where neither says, or it is null."""
        stated = self._stated(key)
        if stated is not None:
            spelling, value = stated
            if value is None:  # an explicit null switches the family's default off
                return None
            self.notes.read[self._at(key)] = Evidence(
                source=Source.CONFIG, file=self.notes.file, detail=self._at(spelling)
            )
            return value
        for name in (key, *SPELLINGS.get(key, ())):
            if self.defaults.get(name) is not None:
                self.notes.read[self._at(key)] = Evidence(
                    source=Source.FAMILY, detail=f"{self.model_type} leaves {key} at {self.defaults[name]}"
                )
                return self.defaults[name]
        return None

    def whole(self, key: str, default: int | None = None) -> int:
        """A count or a size, at least 0. Raises UnknownError where neither the file, the family nor `default` says."""
        found = self.maybe(key)
        if found is None:
            found = default
        if found is None:
            raise UnknownError([self.notes.problems.get(self._at(key), f"{self._at(key)} is not in {self.notes.file}")])
        return found

    def positive(self, key: str, default: int | None = None) -> int:
        """As `whole`, and at least 1."""
        found = self.whole(key, default)
        if found < 1:
            self.notes.wrong(self._at(key), found, "a positive whole number")
            raise UnknownError([self.notes.problems[self._at(key)]])
        return found

    def maybe(self, key: str) -> int | None:
        """A count or a size, or None where it is absent, null, negative (some authors' "off") or garbage."""
        value = self.value(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None or value == -1 or value is False:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
            self.notes.wrong(self._at(key), value, "a whole number")
            return None
        return value

    def need(self, *keys: str) -> None:
        """Raise UnknownError naming all of the keys that are absent or not a positive whole number."""
        missing: list[str] = []
        for key in keys:
            try:
                self.positive(key)
            except UnknownError as unknown:
                missing.extend(unknown.missing)
        if missing:
            raise UnknownError(missing)

    def number(self, key: str, default: float = 0.0) -> float:
        """A real number."""
        value = self.value(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            self.notes.wrong(self._at(key), value, "a number")
            return default
        return float(value)

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, bool | int):
            self.notes.wrong(self._at(key), value, "true or false")
            return default
        return bool(value)

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.notes.wrong(self._at(key), value, "a string")
            return default
        return value

    def items(self, key: str) -> tuple[object, ...]:
        """A list; empty where absent."""
        value = self.value(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            self.notes.wrong(self._at(key), value, "a list")
            return ()
        if len(value) > LONGEST:  # and is not copied for each layer that asks
            self.notes.wrong(self._at(key), value, f"a list of at most {LONGEST:,}")
            return ()
        return tuple(value)

    def wholes(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; what is none is left out, and noted."""
        items = self.items(key)
        kept = tuple(item for item in items if isinstance(item, int) and not isinstance(item, bool))
        if len(kept) != len(items):
            self.notes.wrong(self._at(key), list(items), "a list of whole numbers")
        return kept

    def below(self, key: str, defaults: Mapping[str, object] | None = None, model_type: str = "") -> Config:
        """The level under `key`, empty where the file has none."""
        value = self.value(key)
        if value is not None and not isinstance(value, Mapping):
            self.notes.wrong(self._at(key), value, "an object")
        return Config(value, defaults or {}, self.notes, self._at(key), model_type)

    def _stated(self, key: str) -> tuple[str, object] | None:
        null: tuple[str, object] | None = None
        for spelling in (key, *SPELLINGS.get(key, ())):
            if spelling in self.raw:
                value = self.raw[spelling]
                if value is not None:
                    return spelling, value
                null = null or (spelling, None)
        return null

    def _at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key
