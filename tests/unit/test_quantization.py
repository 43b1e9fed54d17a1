"""Packed weights: how many values they hold, what method packed them, and who wins where config and weights differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ome_iac.models.config_files import ConfigFiles
from ome_iac.models.families import Description, derived_tensors, describe
from ome_iac.models.metadata import Source
from ome_iac.models.tensors import TensorTable
from tests.make_weights import MODELS, tensor_bytes
from tests.unit.published import Config, llama

SMALL = llama(256, 512, 2, 8, 4, 1000)
LINEARS = 2 * (256 * 256 * 2 + 2 * 128 * 256 + 3 * 256 * 512)
PLAIN = 2 * 1000 * 256 + LINEARS + 5 * 256
GGML_BYTES = {"Q4_K": (256, 144), "Q6_K": (256, 210), "F32": (1, 4)}


def table(rows: Iterable[tuple[str, str, tuple[int, ...]]]) -> TensorTable:
    made = TensorTable()
    for name, dtype, shape in rows:
        made.append(name, dtype, shape, tensor_bytes(dtype, shape), "model.safetensors")
    return made


def read(config: Config, tensors: TensorTable, **others: Any) -> Description:
    return describe(ConfigFiles({"config.json": config, **others}), tensors)


def stored(config: Config) -> TensorTable:
    tensors = derived_tensors(ConfigFiles({"config.json": config}))
    assert tensors is not None
    return tensors


def packed(pack: Any, config: Config = SMALL) -> TensorTable:
    """The small model with each linear layer's weight replaced by what `pack(base, out, in)` gives."""
    rows: list[tuple[str, str, tuple[int, ...]]] = []
    for tensor in stored(config):
        linear = tensor.name.endswith("_proj.weight")
        base = tensor.name.removesuffix(".weight")
        rows += pack(base, *tensor.shape) if linear else [(tensor.name, tensor.dtype, tensor.shape)]
    return table(rows)


def gptq(bits: int) -> Any:
    return lambda base, out, inner: [
        (f"{base}.qweight", "I32", (inner * bits // 32, out)),
        (f"{base}.qzeros", "I32", (inner // 128, out * bits // 32)),
        (f"{base}.scales", "F16", (inner // 128, out)),
        (f"{base}.g_idx", "I32", (inner,)),
    ]


def awq(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f"{base}.qweight", "I32", (inner, out // 8)),
        (f"{base}.qzeros", "I32", (inner // 64, out // 8)),
        (f"{base}.scales", "F16", (inner // 64, out)),
    ]


def nvfp4(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f"{base}.weight", "U8", (out, inner // 2)),
        (f"{base}.weight_scale", "F8_E4M3", (out, inner // 16)),
        (f"{base}.weight_scale_2", "F32", ()),
        (f"{base}.input_scale", "F32", ()),
    ]


def fp8_blocks(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f"{base}.weight", "F8_E4M3", (out, inner)),
        (f"{base}.weight_scale_inv", "F32", (-(-out // 128), -(-inner // 128))),
    ]


def fp8_tensor(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f"{base}.weight", "F8_E4M3", (out, inner)),
        (f"{base}.weight_scale", "F32", (1,)),
        (f"{base}.input_scale", "F32", (1,)),
        (f"{base}.k_scale", "F32", (1,)),
    ]


def bitsandbytes(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f"{base}.weight", "U8", (out * inner // 2, 1)),
        (f"{base}.weight.absmax", "U8", (out * inner // 64,)),
        (f"{base}.weight.quant_map", "F32", (16,)),
        (f"{base}.weight.nested_absmax", "F32", (out * inner // 64 // 256 or 1,)),
        (f"{base}.weight.nested_quant_map", "F32", (256,)),
        (f"{base}.weight.quant_state.bitsandbytes__nf4", "U8", (200,)),
    ]


def eight_bit(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(f"{base}.weight", "I8", (out, inner)), (f"{base}.SCB", "F32", (out,)), (f"{base}.weight_format", "U8", ())]


def compressed(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f"{base}.weight_packed", "I32", (out, inner // 8)),
        (f"{base}.weight_scale", "BF16", (out, inner // 128)),
        (f"{base}.weight_shape", "I64", (2,)),
    ]


def hqq(base: str, out: int, inner: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [
        (f"{base}.W_q", "U8", (32, out * inner // 64)),
        (f"{base}.scale", "BF16", (1, out * inner // 64)),
        (f"{base}.zero", "BF16", (1, out * inner // 64)),
    ]


COMPRESSED = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128},
            "input_activations": None,
        }
    },
}

CASES = (
    ("gptq-4", gptq(4), {"quant_method": "gptq", "bits": 4, "group_size": 128}, ("gptq", 4, 128, None, "int4")),
    ("gptq-8", gptq(8), {"quant_method": "gptq", "bits": 8, "group_size": 128}, ("gptq", 8, 128, None, None)),
    ("awq", awq, {"quant_method": "awq", "bits": 4, "group_size": 64}, ("awq", 4, 64, None, "int4")),
    ("nvfp4", nvfp4, {"quant_method": "modelopt", "quant_algo": "NVFP4"}, ("nvfp4", 4, 16, None, None)),
    (
        "fp8-blocks",
        fp8_blocks,
        {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
        ("fp8", 8, None, (128, 128), "fp8"),
    ),
    ("fp8-tensor", fp8_tensor, {"quant_method": "fp8"}, ("fp8", 8, None, None, "fp8")),
    ("fbgemm", fp8_tensor, {"quant_method": "fbgemm_fp8"}, ("fbgemm_fp8", 8, None, None, "fbgemm_fp8")),
    (
        "bitsandbytes",
        bitsandbytes,
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        ("bitsandbytes", 4, 64, None, "int4"),
    ),
    ("int8", eight_bit, {"quant_method": "bitsandbytes", "load_in_8bit": True}, ("bitsandbytes", 8, None, None, None)),
    ("compressed-tensors", compressed, COMPRESSED, ("compressed-tensors", 4, 128, None, "int4")),
    (
        "hqq",
        hqq,
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
        ("hqq", 4, 64, None, "int4"),
    ),
)


@pytest.mark.parametrize(("pack", "declared", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_packed_weights_are_unpacked(pack: Any, declared: Config, wanted: tuple[Any, ...]) -> None:
    tensors = packed(pack)
    made = read({**SMALL, "quantization_config": declared}, tensors)
    assert made.parameters is not None
    assert made.weights is not None
    assert made.quantization is not None
    assert made.parameters.total == PLAIN
    assert made.weights.bytes == tensors.bytes
    got = made.quantization
    assert (got.method, got.bits, got.group_size, got.block_shape, got.ome_name) == wanted
    assert made.warnings == ()
    assert made.provenance["parameters"].source is Source.HEADER
    assert made.provenance["quantization"].source is Source.HEADER


@pytest.mark.parametrize(("pack", "declared", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_packing_without_a_declaration(pack: Any, declared: Config, wanted: tuple[Any, ...]) -> None:
    """The tensors alone tell, but for the width of an integer that only its config states."""
    made = read(SMALL, packed(pack))
    assert made.parameters is not None
    if wanted[0] in ("compressed-tensors", "hqq"):
        assert made.parameters.total < PLAIN
        assert any("packed" in reason for reason in made.missing)
    else:
        assert made.parameters.total == PLAIN
        assert made.quantization is not None
        assert made.quantization.bits == wanted[1]
        assert any("no config declares" in warning for warning in made.warnings)


def test_mxfp4_of_the_openai_models() -> None:
    model = MODELS["gpt-oss-120b"]
    made = read(model.config, table(model.tensors()))
    assert made.parameters is not None
    assert made.quantization is not None
    assert made.parameters.total == 116_829_156_672
    assert (made.quantization.method, made.quantization.bits, made.quantization.group_size) == ("mxfp4", 4, 32)
    assert made.warnings == ()


def test_declared_but_plain() -> None:
    made = read({**SMALL, "quantization_config": {"quant_method": "awq", "bits": 4}}, stored(SMALL))
    assert made.quantization is None
    assert made.parameters is not None
    assert made.parameters.total == PLAIN
    assert any("awq is declared" in warning and "the weights win" in warning for warning in made.warnings)


def test_declared_otherwise_than_packed() -> None:
    made = read({**SMALL, "quantization_config": {"quant_method": "fp8"}}, packed(awq))
    assert made.quantization is not None
    assert made.quantization.method == "awq"
    assert any("the weights win" in warning for warning in made.warnings)


@pytest.mark.parametrize(
    ("path", "content", "method", "bits", "group"),
    [
        ("hf_quant_config.json", {"quantization": {"quant_algo": "NVFP4", "group_size": 16}}, "nvfp4", 4, 16),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "fp8", 8, None),
        ("quantize_config.json", {"bits": 4, "group_size": 32, "desc_act": True}, "gptq", 4, 32),
        ("quant_config.json", {"zero_point": True, "q_group_size": 128, "w_bit": 4}, "awq", 4, 128),
    ],
)
def test_declarations_beside_the_config(path: str, content: Config, method: str, bits: int, group: int | None) -> None:
    made = describe(ConfigFiles({"config.json": SMALL, path: content}), None)
    assert made.quantization is not None
    assert (made.quantization.method, made.quantization.bits, made.quantization.group_size) == (method, bits, group)
    assert made.provenance["quantization"].file == path


DERIVABLE = (
    {"quant_method": "fp8", "weight_block_size": [128, 128]},
    {"quant_method": "fbgemm_fp8"},
    {"quant_method": "awq", "bits": 4, "group_size": 128},
    {"quant_method": "gptq", "bits": 4, "group_size": 128},
    {"quant_method": "gptq", "bits": 8, "group_size": -1},
    {"quant_method": "mxfp4"},
    {"quant_method": "modelopt", "quant_algo": "NVFP4"},
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    COMPRESSED,
)


@pytest.mark.parametrize("declared", DERIVABLE, ids=lambda declared: declared["quant_method"])
def test_what_is_derived_reads_back_the_same(declared: Config) -> None:
    config = {**SMALL, "quantization_config": declared}
    alone, read_back = describe(ConfigFiles({"config.json": config}), None), read(config, stored(config))
    assert alone.parameters == read_back.parameters
    assert alone.weights == read_back.weights
    assert alone.parameters is not None
    assert alone.parameters.total == PLAIN
    assert alone.weights is not None
    assert alone.weights.bytes < 2 * PLAIN
    assert read_back.warnings == ()


def test_modules_left_unquantized_stay_as_they_are() -> None:
    declared = {"quant_method": "fp8", "modules_to_not_convert": ["model.layers.0.mlp", "re:.*self_attn.*"]}
    config = {**SMALL, "quantization_config": declared}
    kept = [tensor.name for tensor in stored(config) if tensor.dtype == "F8_E4M3"]
    assert kept == [f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up", "down")]


def test_a_pattern_that_could_take_forever_skips_nothing() -> None:
    declared = {"quant_method": "fp8", "ignore": ["re:(a+)+$", "re:(.*)*x", "re:[", "re:" + "x" * 500]}
    config = {**SMALL, "quantization_config": declared}
    assert sum(tensor.dtype == "F8_E4M3" for tensor in stored(config)) == 14


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("lm_head", 14),
        ("model.layers.1.mlp.up_proj", 13),
        ("mlp", 8),
        ("layers.1", 7),
        ("ayers.1", 14),
        ("*mlp*", 8),
        ("model.layers.1*", 7),
        ("re:.*self_attn.*", 6),
        (r"re:.*layers\.\d+\.mlp\.(up|gate)_proj$", 10),
        (r"re:model\.layers\.[0-9]+\.self_attn\.q_proj", 12),
        ("re:self_attn", 14),
        ("re:.*.*.*.*.*.*.*.*.*.*.*.*nothing", 14),
    ],
)
def test_the_ways_to_name_what_stays_unquantized(pattern: str, kept: int) -> None:
    config = {**SMALL, "quantization_config": {"quant_method": "fp8", "ignore": [pattern]}}
    assert sum(tensor.dtype == "F8_E4M3" for tensor in stored(config)) == kept


def test_an_unknown_way_of_storing_leaves_the_bytes_out() -> None:
    made = describe(ConfigFiles({"config.json": {**SMALL, "quantization_config": {"quant_method": "aqlm"}}}), None)
    assert made.parameters is not None
    assert made.parameters.total == PLAIN
    assert made.weights is None
    assert any("aqlm" in reason for reason in made.missing)


def test_gguf_counts_values_and_names_its_type() -> None:
    made_table = TensorTable("gguf")
    rows = [("token_embd.weight", "Q6_K", (1024, 256)), ("output_norm.weight", "F32", (256,))]
    for layer in range(2):
        for name, shape in (("attn_q", (256, 256)), ("attn_k", (128, 256)), ("ffn_up", (512, 256))):
            rows.append((f"blk.{layer}.{name}.weight", "Q4_K", shape))
    for name, dtype, shape in rows:
        block, size = GGML_BYTES[dtype]
        values = shape[0] * (shape[1] if len(shape) > 1 else 1)
        made_table.append(name, dtype, shape, values // block * size, "model.gguf")
    keys = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.embedding_length": 256,
        "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 4,
        "llama.feed_forward_length": 512,
        "llama.context_length": 4096,
        "tokenizer.ggml.tokens.length": 1024,
        "tokenizer.chat_template": "{{ messages }}",
    }
    made = describe(ConfigFiles(gguf=keys), made_table)
    assert made.parameters is not None
    assert made.parameters.total == 1024 * 256 + 256 + 2 * 256 * (256 + 128 + 512)
    assert made.quantization is not None
    assert (made.quantization.method, made.quantization.bits) == ("gguf", 4)
    assert made.format == "gguf"
    assert made.context_length == 4096
    assert [(one.heads, one.kv_heads, one.head_dim) for one in made.attention] == [(8, 4, 32)]
    assert [capability.value for capability in made.capabilities] == ["chat", "completion"]
