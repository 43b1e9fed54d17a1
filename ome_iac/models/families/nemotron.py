"""Nemotron-H and Nemotron 3: each layer is one thing only."""

from __future__ import annotations

from dataclasses import replace

from ome_iac.models.families.blocks import Feed, Layer, Layout, Mixer, Weight, attention, experts, linear, mlp, norm
from ome_iac.models.families.config import MAX_LAYERS, Config, UnknownError
from ome_iac.models.families.decoders import MAX_EXPERTS, bounded, refuse_more_than_any_model_has
from ome_iac.models.families.states import mamba2


def nemotron_h(config: Config) -> Layout:
    """Nemotron-H and Nemotron 3: each layer is one thing only, by `hybrid_override_pattern` (M Mamba 2, * attention,
    - MLP, E experts) or `layers_block_type`.
    """
    letters = {"mamba": "M", "linear_attention": "M", "attention": "*", "full_attention": "*", "mlp": "-", "moe": "E"}
    pattern = config.text("hybrid_override_pattern") or "".join(
        letters.get(str(kind), "?") for kind in config.items("layers_block_type") or config.items("layer_types")
    )
    if not pattern or set(pattern) - set("M*-E") or len(pattern) > MAX_LAYERS:
        raise UnknownError(
            [f"hybrid_override_pattern in {config.notes.file} does not name the layers by M, *, - and E"]
        )
    config.need("hidden_size", "vocab_size", "num_attention_heads")
    hidden, vocabulary = config.positive("hidden_size"), config.positive("vocab_size")
    heads = config.positive("num_attention_heads")
    kv_heads = config.maybe("num_key_value_heads") or heads
    bias, rest = config.flag("mlp_bias"), tuple(norm("norm", hidden, "rms"))
    kinds: dict[str, Layer] = {}
    for letter in sorted(set(pattern)):
        mixers: tuple[Mixer, ...] = ()
        feed = Feed()
        if letter == "M":
            mixers = (_nemotron_mamba(config, hidden),)
        elif letter == "*":
            head_dim = config.maybe("head_dim") or hidden // heads
            mixers = (attention(hidden, heads, kv_heads, head_dim, name="mixer"),)
        elif letter == "-":
            feed = Feed(mlp(hidden, config.positive("intermediate_size"), gated=False, bias=bias, name="mixer"))
        else:
            feed = _nemotron_experts(config, hidden)
        kinds[letter] = Layer(mixers, feed, rest)
    refuse_more_than_any_model_has(config, sum(len(kinds[letter].feed.weights) for letter in pattern))
    tied = config.flag("tie_word_embeddings")
    return Layout(
        hidden,
        vocabulary,
        (("backbone.embeddings.weight", (vocabulary, hidden)),),
        tuple(kinds[letter] for letter in pattern),
        tuple(norm("backbone.norm_f", hidden, "rms")),
        head=() if tied else (("lm_head.weight", (vocabulary, hidden)),),
        prefix="backbone.layers",
        tied=tied,
    )


def _nemotron_mamba(config: Config, hidden: int) -> Mixer:
    heads, head_dim = config.positive("mamba_num_heads"), config.positive("mamba_head_dim")
    return mamba2(
        config,
        hidden,
        heads=heads,
        head_dim=head_dim,
        inner=heads * head_dim,
        groups=config.positive("n_groups", 8),
        state=config.positive("ssm_state_size"),
        kernel=config.positive("conv_kernel", 4),
        conv_bias=config.flag("use_conv_bias", True),
        bias=config.flag("use_bias"),
    )


def _nemotron_experts(config: Config, hidden: int) -> Feed:
    """Experts without a gate; with `moe_latent_size` they work in a narrower space."""
    latent = config.maybe("moe_latent_size")
    extra: list[Weight] = []
    if latent:
        extra += linear("mixer.fc1_latent_proj", latent, hidden)
        extra += linear("mixer.fc2_latent_proj", hidden, latent)
    count, inner = bounded(config, "num_experts", MAX_EXPERTS), config.positive("moe_intermediate_size")
    feed = experts(
        latent or hidden,
        inner,
        count,
        config.positive("num_experts_per_tok"),
        correction_bias=True,
        gated=False,
        name="mixer",
    )
    weights = [weight for weight in feed.weights if weight[0] != "mixer.gate.weight"]
    weights += [("mixer.gate.weight", (count, hidden)), *extra]
    shared_inner = config.maybe("moe_shared_expert_intermediate_size") or 0
    if shared_inner:
        weights += mlp(hidden, shared_inner, gated=False, name="mixer.shared_experts")
    return replace(feed, weights=tuple(weights), shared=1 if shared_inner else 0)
