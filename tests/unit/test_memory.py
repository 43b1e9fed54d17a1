"""The rules of the ledger, one by one: caches of every kind of layer, versions, run-time choices, what GPUs can do."""

from __future__ import annotations

import pytest

from ome_iac.hardware import GIB, gpus
from ome_iac.models.metadata import Attention, ModelMetadata, Quantization
from ome_iac.problems import ProblemsError
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import all_engines, engine
from ome_iac.runtimes.memory import Ledger
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning
from tests.unit.facts import decoder, encoder
from tests.unit.ground_truth import GEMMA2_27B, GPT_OSS_SMALL, LLAMA_8B

H100 = gpus()["H100-80GB"]


def ledger(
    facts: ModelMetadata, context: int = 8192, version: str = "0.19.0", split: Split | None = None, **tuned: object
) -> Ledger:
    runtime = engine("vllm", version)
    return runtime.ledger(facts, Task.GENERATE, H100, split or Split(), context, Tuning.model_validate(tuned))


def layered(*groups: Attention) -> ModelMetadata:
    return decoder(layers=sum(len(group.layer_indices) for group in groups)).model_copy(update={"attention": groups})


def group(kind: str, layers: str, **keys: int) -> Attention:
    return Attention.model_validate(
        {"kind": kind, "layers": layers, "heads": 32, "kv_heads": 8, "head_dim": 128, **keys}
    )


PAGE = 16 * 2 * 8 * 128 * 2
"""Bytes of 16 tokens in one layer of `group`."""


def test_pages_of_gpt_oss_are_whole_for_sliding_layers_too() -> None:
    """hf-mem PR #70: 32 requests of 8,192 tokens take 12.00 GiB, not 6.09; sliding layers add a block each."""
    taken = 32 * ledger(GPT_OSS_SMALL).kv_bytes_per_request
    assert taken / GIB == pytest.approx(12.0, abs=0.02)


def test_layers_are_grouped_by_the_fewest_of_a_kind_and_padded() -> None:
    """Gemma-3-27b, 52 sliding and 10 full layers: six groups of ten for 52; measured 13.0 % above the plain sum."""
    facts = layered(group("sliding", "0-51", window=1024), group("full", "52-61"))
    plain = 8192 // 16 * 62 * PAGE
    assert ledger(facts).kv_bytes_per_request / plain == pytest.approx(1.131, abs=0.001)


def test_kinds_of_nearly_equal_number_are_padded_to_the_larger() -> None:
    facts = layered(group("sliding", "0-11", window=128), group("full", "12-24"))
    assert ledger(facts).kv_block_bytes == 13 * PAGE


def test_a_sliding_layer_keeps_its_window_and_what_is_in_flight() -> None:
    facts = layered(group("sliding", "0-31", window=4096))
    short, long = ledger(facts, 8192), ledger(facts, 131_072)
    assert short.kv_bytes_per_request == 32 * PAGE * (8192 // 16 + 1)
    assert long.kv_bytes_per_request == 32 * PAGE * (-(-(4095 + 8192) // 16) + 1)
    newer = ledger(facts, 131_072, version="0.33.0")
    assert newer.kv_bytes_per_request == 32 * PAGE * (-(-(4095 + 2 * 8192) // 16) + 1)


def test_layers_with_larger_heads_make_blocks_of_the_others_longer() -> None:
    facts = layered(group("sliding", "0-9", window=512), group("full", "10-19", head_dim=256))
    found = ledger(facts, 65_536)
    assert found.kv_block_bytes == 10 * 2 * PAGE
    assert found.kv_bytes_per_request == 10 * 2 * PAGE * (65_536 // 16 + -(-(511 + 8192) // 32) + 1)


def test_a_state_costs_a_block_whatever_the_length() -> None:
    states = Attention(kind="mamba", layers="0-23", heads=0, kv_heads=0, head_dim=0, state_bytes=10 * PAGE)
    facts = layered(states, group("full", "24-31"))
    one, two = ledger(facts, 16), ledger(facts, 160 + 16)
    assert one.kv_block_bytes == 8 * 10 * PAGE
    assert two.kv_bytes_per_request - one.kv_bytes_per_request == one.kv_block_bytes
    pure = layered(states.model_copy(update={"layers": "0-31"}))
    assert ledger(pure, 16).kv_bytes_per_request == ledger(pure, 10**6).kv_bytes_per_request == 32 * 10 * PAGE


def test_sglang_gives_sliding_layers_four_fifths() -> None:
    facts = layered(group("sliding", "0-9", window=512), group("full", "10-19"))
    found = all_engines()["sglang"].ledger(facts, Task.GENERATE, H100, Split(), 1000)
    assert found.kv_bytes_per_request == 1000 * 18 * PAGE // 16


def test_fp8_doubles_tokens_and_not_the_pool() -> None:
    plain, packed = ledger(LLAMA_8B), ledger(LLAMA_8B, kvCacheDtype="fp8")
    assert plain.kv_cache == packed.kv_cache
    assert plain.kv_tokens is not None
    assert packed.kv_tokens == pytest.approx(2 * plain.kv_tokens, abs=32)


def test_the_pool_does_not_depend_on_the_context() -> None:
    assert len({ledger(LLAMA_8B, context).kv_cache for context in (2048, 8192, 131_072)}) == 1


def test_graphs_are_beside_the_budget_before_021_and_inside_from_then_on() -> None:
    before, since = ledger(LLAMA_8B, version="0.20.0"), ledger(LLAMA_8B, version="0.21.0")
    assert [line.name for line in before.beside] == ["cudaGraph"]
    assert since.beside == ()
    assert "cudaGraph" in {line.name for line in since.lines}


def test_fewer_sequences_leave_more_for_the_cache() -> None:
    many, few = ledger(GEMMA2_27B), ledger(GEMMA2_27B, maxNumSeqs=64)
    assert few.kv_cache - many.kv_cache > 1.5 * GIB


def test_weights_stored_in_32_bits_are_loaded_in_16() -> None:
    facts = encoder()
    assert facts.weights is not None
    [stage] = all_engines()["vllm"].stages(facts, Task.EMBED, H100, Split())
    assert stage.lines[0].bytes == pytest.approx(facts.weights.bytes / 2, rel=0.01)


@pytest.mark.parametrize("name", ["sglang", "vllm"])
def test_every_line_says_how_and_whence(name: str) -> None:
    for stage in all_engines()[name].stages(LLAMA_8B, Task.GENERATE, H100, Split(tensor=2, pipeline=2)):
        assert all(line.formula and line.source for line in (*stage.lines, *stage.beside))
        assert stage.budget < stage.total


def stored(method: str, bits: int = 4) -> ModelMetadata:
    return LLAMA_8B.model_copy(update={"quantization": Quantization(method=method, bits=bits)})


@pytest.mark.parametrize(
    ("name", "method", "gpu", "runs"),
    [
        ("vllm", "fp8", "A10", True),  # unpacked by Marlin
        ("sglang", "fp8", "A10", True),
        ("sglang", "fp8", "V100-16GB", False),
        ("vllm", "fp8", "MI300X", True),
        ("vllm", "nvfp4", "H100-80GB", True),
        ("vllm", "nvfp4", "MI300X", False),
        ("vllm", "mxfp4", "V100-16GB", False),
        ("sglang", "mxfp4", "MI300X", False),
        ("sglang", "mxfp4", "MI355X", True),
        ("vllm", "awq", "A10", True),
        ("sglang", "bitsandbytes", "H100-80GB", True),
        ("sglang", "bitsandbytes", "MI300X", False),
    ],
)
def test_quantizations_run_where_the_engine_has_kernels(name: str, method: str, gpu: str, runs: bool) -> None:
    reasons = all_engines()[name].gpu_refusals(stored(method), gpus()[gpu])
    assert (reasons == ()) is runs
    assert runs or gpu in reasons[0]


def test_a_quantization_that_a_version_no_longer_has_is_refused_with_those_it_has() -> None:
    assert engine("vllm", "0.19.0").refusals(stored("bitsandbytes"), Task.GENERATE) == ()
    assert "no longer" in engine("vllm", "0.33.0").refusals(stored("bitsandbytes"), Task.GENERATE)[0]
    assert "awq" in engine("vllm").refusals(stored("hqq"), Task.GENERATE)[0]


def test_what_is_asked_at_run_time_must_suit_the_model_and_the_gpu() -> None:
    quantize, wide = Tuning(quantization="fp8"), Tuning(dtype="float32")
    assert "stored as awq already" in all_engines()["vllm"].gpu_refusals(stored("awq"), H100, quantize)[0]
    assert "not computed in float32" in all_engines()["vllm"].gpu_refusals(stored("awq"), H100, wide)[0]
    assert all_engines()["vllm"].gpu_refusals(LLAMA_8B, gpus()["V100-16GB"], DEFAULTS)


def test_images_are_those_of_the_gpus_vendor() -> None:
    amd = gpus()["MI300X"]
    assert engine("vllm").image(amd) == "docker.io/vllm/vllm-openai-rocm:v0.33.0"
    assert engine("sglang").image(amd).endswith("-rocm720-mi30x")
    assert engine("sglang").image(gpus()["MI355X"]).endswith("-rocm720-mi35x")
    assert engine("vllm", "0.19.0").image(H100) == "docker.io/vllm/vllm-openai:v0.19.0"


@pytest.mark.parametrize(
    ("name", "version", "remedy"),
    [
        ("vlm", None, 'did you mean "vllm"?'),
        ("vllm", "0.99.0", "the nearest is vllm==0.33.0"),
        ("vllm", "0.6.3", "the nearest is vllm==0.8.0"),
        ("sglang", "latest", "such as sglang==0.5.23"),
    ],
)
def test_an_unknown_engine_or_version_is_named_with_the_nearest(name: str, version: str | None, remedy: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        engine(name, version)
    assert caught.value.problems[0].remedy == remedy


def test_a_version_without_a_catalogue_says_whose_flags_it_has() -> None:
    assert engine("vllm", "0.33.0").notes == ()
    assert engine("vllm", "0.30.0").notes == (
        "flags and architectures are those of vllm 0.33.0, the nearest version in the catalogue",
    )


def test_weights_are_made_fp8_only_by_engines_that_can() -> None:
    tuned = Tuning(quantization="fp8")
    [reason] = all_engines()["tensorrt-llm"].gpu_refusals(LLAMA_8B, gpus()["A10"], tuned)
    assert "does not quantize while loading" in reason
    assert all_engines()["vllm"].gpu_refusals(LLAMA_8B, gpus()["A10"], tuned) == ()
