"""Parameters and bytes of a table of tensors, by dtype, role and layer.

The same code counts what headers list and what a layout derives, so the two can be held against each other.

- Multi-token-prediction layers are kept apart: publishers leave them out of a model's size (DeepSeek-V3 is 671B with
  684B of weights in its files), and so does `Parameters.total`.
- Active are, of a mixture, the parameters one text token passes through: of the routed experts `active / routed`, no
  vision or audio tower, everything else whole. Publishers differ over the tables at both ends: Mistral, Meta and Qwen
  count embedding and head, OpenAI and DeepSeek the head only, Zhipu, MiniMax, Baidu and IBM neither; DeepSeek-VL2
  counts its tower. Each family is counted as its publisher does, so that the number is the one on the card. A dense
  model's are all active.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from ome_iac.models.families.config import MAX_LAYERS
from ome_iac.models.families.packing import Packing, count_values
from ome_iac.models.families.roles import place
from ome_iac.models.metadata import Parameters, Role, Weights
from ome_iac.models.tensors import TensorTable

EMBEDDING_TABLES = ("embed_tokens.weight", "wte.weight", "shared.weight", "word_embeddings.weight", "embed_in.weight")
HEAD_TABLES = ("lm_head.weight", "embed_out.weight", "output.weight", "output_layer.weight")


@dataclass
class Counts:
    """What a table of tensors adds up to. `layers` are decoder layers (an encoder's where there is no decoder)."""

    packing: Packing = field(default_factory=Packing)
    values: dict[Role, int] = field(default_factory=lambda: defaultdict(int))
    role_bytes: dict[Role, int] = field(default_factory=lambda: defaultdict(int))
    dtype_bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    layer_bytes: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    expert_layers: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    """Layer to number of routed experts in it."""
    predictor_layers: frozenset[int] = frozenset()
    bytes: int = 0

    @property
    def layers(self) -> int:
        """How many layers there are: numbers without a gap, from 0."""
        return max(self.layer_bytes, default=-1) + 1

    def ranges_of_experts(self) -> str:
        """The layers that have routed experts."""
        return ranges(self.expert_layers)

    @property
    def total(self) -> int:
        """Parameters of the model itself: without adapters and multi-token-prediction layers."""
        apart = (Role.MULTI_TOKEN_PREDICTION, Role.ADAPTER)
        return sum(count for role, count in self.values.items() if role not in apart)

    def parameters(self, routed: int, active: int, *, inactive: Iterable[Role] = (), tied: bool = False) -> Parameters:
        """Total and active; `routed` and `active` are experts a layer, 0 where there are none.

        `inactive` are further roles a mixture's publisher leaves out. A tied embedding is the head as well, and is left
        out only with it.
        """
        left_out = set(inactive)
        if tied and Role.HEAD not in left_out:
            left_out.discard(Role.EMBEDDING)
        idle = 0
        if routed:
            idle = self.values[Role.EXPERT] * (routed - active) // routed
            idle += sum(self.values[role] for role in left_out)
        total = self.total or self.values[Role.ADAPTER]
        return Parameters(
            total=total, active=total - idle, multi_token_prediction=self.values[Role.MULTI_TOKEN_PREDICTION]
        )

    def weights(self) -> Weights:
        """Bytes as stored; dtypes and roles in the order of their names."""
        return Weights(
            bytes=self.bytes,
            by_dtype=dict(sorted(self.dtype_bytes.items())),
            by_role={role: self.role_bytes[role] for role in sorted(self.role_bytes)},
            by_layer=tuple(self.layer_bytes.get(layer, 0) for layer in range(self.layers)),
        )


def count(table: TensorTable, *, tied: bool, declared_bits: int | None, declared_layers: int | None) -> Counts:
    """Add the table up. `tied` drops a head (and second embeddings) stored beside the embedding they repeat."""
    counts = Counts(predictor_layers=_predictor_layers(table, declared_layers))
    repeats = _repeats(table) if tied else frozenset()
    by_stack: dict[str, dict[int, int]] = {}
    for (tensor, times), values in count_values(table, declared_bits, counts.packing):
        if tensor.name in repeats:
            continue
        spot, numbers = place(tensor.name)
        role = spot.role
        layer = numbers[spot.layer_at] if spot.layer_at is not None else None
        if role is not Role.ADAPTER and layer in counts.predictor_layers:
            role = Role.MULTI_TOKEN_PREDICTION
        size = tensor.bytes * times
        counts.values[role] += values * times
        counts.role_bytes[role] += size
        counts.dtype_bytes[tensor.dtype] += size
        counts.bytes += size
        if layer is None or role is Role.MULTI_TOKEN_PREDICTION or layer >= MAX_LAYERS:
            continue
        stack = by_stack.setdefault(spot.stack, {})
        stack[layer] = stack.get(layer, 0) + size
        if role is Role.EXPERT:
            routed = times if spot.expert_at is not None else _stacked(tensor.shape)
            counts.expert_layers[layer] = max(counts.expert_layers[layer], routed)
    for stack_name in ("decoder", "", "encoder"):
        if stack_name in by_stack:
            counts.layer_bytes = by_stack[stack_name]
            break
    return counts


def _stacked(shape: tuple[int, ...]) -> int:
    return shape[0] if len(shape) > 2 else 0


def _repeats(table: TensorTable) -> frozenset[str]:
    """Names of tables that repeat the input embedding: the head, and an encoder-decoder's second embedding."""
    found = [name for name in table.names if name.endswith(EMBEDDING_TABLES) and "layers." not in name]
    if not found:
        return frozenset()
    first = min(found, key=lambda name: (not name.endswith("shared.weight"), len(name), name))
    kept = table.get(first)
    copies = {name for name in found if name != first}
    copies |= {name for name in table.names if name.endswith(HEAD_TABLES) and "layers." not in name}
    return frozenset(
        name for name in copies if kept and (other := table.get(name)) is not None and other.shape == kept.shape
    )


def _predictor_layers(table: TensorTable, declared_layers: int | None) -> frozenset[int]:
    """Layers that predict further tokens: they hold an `eh_proj`, and lie behind the declared ones."""
    found = set()
    for name in table.names:
        if ".eh_proj." in name or ".nextn." in name:
            spot, numbers = place(name.replace(".eh_proj.", ".x."))
            if spot.layer_at is not None and (declared_layers is None or numbers[spot.layer_at] >= declared_layers):
                found.add(numbers[spot.layer_at])
    return frozenset(found)


def ranges(numbers: Iterable[int]) -> str:
    """Layer numbers as `0-2,4`, ascending."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
