"""What each engine refuses, how it may be divided, and what it needs of a GPU."""

from __future__ import annotations

import pytest

from ome_iac.hardware import GIB, gpus
from ome_iac.models.metadata import ModelMetadata, Quantization
from ome_iac.runtimes.catalog import Task
from ome_iac.runtimes.engines import all_engines, nearest_legal
from ome_iac.runtimes.memory import Ledger
from ome_iac.runtimes.splits import DEFAULTS, Split, Tuning, extra_first
from tests.unit.facts import decoder, encoder, llama_70b
from tests.unit.ground_truth import DEEPSEEK_R1, GPT_OSS_LARGE, LLAMA_70B_FP8, MIXTRAL_8X7B

H100 = gpus()["H100-80GB"]
SERVERS = ("tensorrt-llm", "tgi", "nim", "triton-vllm", "cohere")


def stored(method: str, bits: int = 4, block: tuple[int, int] | None = None) -> ModelMetadata:
    return decoder().model_copy(update={"quantization": Quantization(method=method, bits=bits, block_shape=block)})


def ledger(name: str, model: ModelMetadata, split: Split, tuning: Tuning = DEFAULTS, gpu: str = "H100-80GB") -> Ledger:
    return all_engines()[name].ledger(model, Task.GENERATE, gpus()[gpu], split, 8192, tuning)


@pytest.mark.parametrize(
    ("name", "method", "runs", "does_not"),
    [
        ("tensorrt-llm", "fp8", ["L40S", "H100-80GB", "B200", "RTX-PRO-6000"], ["A100-80GB", "A10"]),
        ("tensorrt-llm", "nvfp4", ["B200", "GB200", "RTX-PRO-6000"], ["H100-80GB", "L40S", "A100-80GB"]),
        ("tensorrt-llm", "mxfp4", ["B200", "B300"], ["H100-80GB", "A100-80GB"]),
        ("tensorrt-llm", "awq", ["A100-80GB", "L40S", "H100-80GB"], ["B200", "RTX-PRO-6000"]),
        ("tensorrt-llm", "gptq", ["A10", "L40S", "H200"], ["B200", "GB300"]),
        ("tgi", "fp8", ["A100-80GB", "H100-80GB", "MI300X"], ["B200"]),
        ("tgi", "gptq", ["A10", "H100-80GB", "MI300X"], ["B200"]),
        ("tgi", "awq", ["A10", "H100-80GB"], ["B200"]),
        ("nim", "fp8", ["A100-80GB", "H100-80GB", "B200"], ["MI300X", "V100-16GB"]),
        ("triton-vllm", "mxfp4", ["A100-80GB", "H100-80GB"], ["V100-16GB", "MI300X"]),
        ("cohere", "awq", ["A10", "H100-80GB", "MI300X"], ["V100-16GB"]),
    ],
)
def test_stored_quantization_is_held_against_the_gpu(
    name: str, method: str, runs: list[str], does_not: list[str]
) -> None:
    found, model = all_engines()[name], stored(method)
    for gpu in runs:
        assert not found.gpu_refusals(model, gpus()[gpu]), gpu
    for gpu in does_not:
        assert found.gpu_refusals(model, gpus()[gpu]), gpu


def test_block_scaled_fp8_needs_hopper_or_the_data_centres_blackwell_in_tensorrt_llm() -> None:
    found, model = all_engines()["tensorrt-llm"], stored("fp8", 8, (128, 128))
    refusing = {name for name, gpu in gpus().items() if gpu.vendor == "nvidia" and found.gpu_refusals(model, gpu)}
    assert {"L40S", "RTX-PRO-6000", "A100-80GB"} <= refusing
    assert not {"H100-80GB", "H200", "B200", "B300", "GB200"} & refusing


@pytest.mark.parametrize(("name", "method"), [("tgi", "nvfp4"), ("tgi", "mxfp4"), ("tensorrt-llm", "bitsandbytes")])
def test_an_unknown_method_is_refused_with_those_there_are(name: str, method: str) -> None:
    [reason] = all_engines()[name].refusals(stored(method), Task.GENERATE)
    assert f"has no {method} quantization; it has" in reason


def test_tei_takes_plain_weights_only() -> None:
    packed = encoder().model_copy(update={"quantization": Quantization(method="gptq", bits=4)})
    [reason] = all_engines()["tei"].refusals(packed, Task.EMBED)
    assert reason == "tei 1.9 runs plain weights only, these are gptq"
    assert not all_engines()["tei"].refusals(encoder(), Task.EMBED)


@pytest.mark.parametrize(
    ("name", "tuning", "said"),
    [
        ("tensorrt-llm", Tuning(quantization="fp8"), "does not quantize while loading"),
        ("tei", Tuning(dtype="bfloat16"), "float16 or float32"),
        ("tgi", Tuning(dtype="float32"), "not in float32"),
        ("tgi", Tuning(dtype="float16", quantization="fp8"), "not both"),
        ("nim", Tuning(kv_cache_dtype="fp8"), "cannot be told kv_cache_dtype"),
    ],
)
def test_what_an_engine_cannot_be_told_is_refused(name: str, tuning: Tuning, said: str) -> None:
    model = encoder() if name == "tei" else decoder()
    assert any(said in reason for reason in all_engines()[name].gpu_refusals(model, H100, tuning))


def test_tei_runs_bfloat16_weights_where_there_is_no_bfloat16() -> None:
    small = encoder().model_copy(update={"dtype": "bfloat16"})
    turing = H100.model_copy(update={"compute_capability": "7.5", "arch": "sm_75", "teraflops": {"fp16": 65.0}})
    assert not all_engines()["tei"].gpu_refusals(small, turing)
    mistral = decoder(architecture="MistralModel")
    assert all_engines()["tei"].gpu_refusals(mistral, turing)


@pytest.mark.parametrize(
    ("name", "split", "nearest"),
    [
        ("tgi", Split(tensor=4, pipeline=2), Split(tensor=4)),
        ("tgi", Split(tensor=3), Split(tensor=2)),
        ("tensorrt-llm", Split(tensor=2, data=4), Split(tensor=1, data=4)),
        ("tei", Split(tensor=2), Split()),
        ("tei", Split(tensor=2, pipeline=2, data=2), Split()),
        ("nim", Split(data=2), Split()),
        ("triton-vllm", Split(data=2), Split()),
    ],
)
def test_an_illegal_split_is_refused(name: str, split: Split, nearest: Split) -> None:
    found = all_engines()[name]
    assert found.illegal_splits(decoder(), split)
    assert nearest_legal(found, decoder(), split) == nearest


@pytest.mark.parametrize("name", SERVERS)
def test_heads_forbid_whatever_does_not_divide_them(name: str) -> None:
    assert any(
        "32 attention heads" in reason for reason in all_engines()[name].illegal_splits(decoder(), Split(tensor=3))
    )


def test_expert_parallel_is_each_engines_own() -> None:
    assert all_engines()["tensorrt-llm"].illegal_splits(MIXTRAL_8X7B, Split(tensor=8, expert=4)) == ()
    assert all_engines()["tensorrt-llm"].illegal_splits(MIXTRAL_8X7B, Split(tensor=8, expert=3))
    assert all_engines()["tgi"].illegal_splits(MIXTRAL_8X7B, Split(tensor=8, expert=8))
    assert all_engines()["nim"].illegal_splits(MIXTRAL_8X7B, Split(tensor=8, expert=8))
    assert all_engines()["triton-vllm"].illegal_splits(MIXTRAL_8X7B, Split(tensor=8, expert=8)) == ()


def test_tensorrt_llm_gives_a_share_of_what_is_free_to_the_cache() -> None:
    whole = ledger("tensorrt-llm", decoder(), Split())
    used = sum(one.bytes for one in whole.lines)
    assert whole.kv_cache == int(0.9 * (whole.total - used))
    half = ledger("tensorrt-llm", decoder(), Split(), Tuning(gpu_memory_utilization=0.45))
    assert half.kv_cache == pytest.approx(whole.kv_cache / 2, abs=2)


def test_what_does_not_fit_tensorrt_llm_says_by_how_much() -> None:
    tight = ledger("tensorrt-llm", llama_70b(), Split())
    assert not tight.fits
    assert tight.kv_cache == tight.total - sum(one.bytes for one in tight.lines)


def test_tgi_keeps_a_tenth_of_the_gpu_to_itself() -> None:
    found = ledger("tgi", decoder(), Split())
    assert found.budget == int(0.9 * H100.memory_bytes)
    assert found.kv_bytes_per_request == 8192 * 32 * 2 * 8 * 128 * 2


def test_encoders_keep_nothing() -> None:
    found = all_engines()["tei"].ledger(encoder(), Task.EMBED, gpus()["A10"], Split(), 256)
    assert found.fits
    assert found.concurrency is None
    assert sum(one.bytes for one in found.lines) < 3 * GIB


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize("model", [decoder(), llama_70b(), LLAMA_70B_FP8, GPT_OSS_LARGE], ids=lambda m: m.source)
def test_more_memory_never_needs_less_and_fp8_kv_holds_more(name: str, model: ModelMetadata) -> None:
    small, large = ledger(name, model, Split(tensor=4)), ledger(name, model, Split(tensor=4), gpu="H200")
    assert large.kv_cache > small.kv_cache
    packed = ledger(name, model, Split(tensor=4), Tuning(kv_cache_dtype="fp8"))
    assert packed.kv_bytes_per_request < small.kv_bytes_per_request


@pytest.mark.parametrize("name", SERVERS)
def test_a_bigger_model_never_needs_less(name: str) -> None:
    assert ledger(name, llama_70b(), Split(tensor=4)).kv_cache < ledger(name, decoder(), Split(tensor=4)).kv_cache


def test_assumed_figures_say_so() -> None:
    for name in ("tensorrt-llm", "tgi"):
        found = ledger(name, decoder(), Split())
        for one in (*found.lines[1:], *found.beside):
            assert one.source.startswith("assumed"), (name, one.name)
    for name in ("tensorrt-llm", "tei", "tgi", "triton"):
        assert any("assumed rules" in note for note in all_engines()[name].notes)
    for name in ("vllm", "sglang", "cohere"):
        assert all_engines()[name].notes == ()
    for name in ("nim", "triton-vllm"):
        assert any("vLLM 0.1" in note and "assumed" in note for note in all_engines()[name].notes)


def test_tritons_front_end_answers_no_classifier() -> None:
    classifier = encoder().model_copy(update={"architecture": "BertForSequenceClassification"})
    [reason] = all_engines()["triton-vllm"].refusals(classifier, Task.CLASSIFY)
    assert reason == "triton-vllm 26.02 has no endpoint for classify"


def test_latent_attention_is_not_cut_into_chunks_on_hopper_by_tensorrt_llm() -> None:
    """Where a prompt is prefilled whole, the batch has to hold the longest."""
    found = all_engines()["tensorrt-llm"]
    hopper = found.stages(DEEPSEEK_R1, Task.GENERATE, gpus()["H200"], Split(tensor=8, expert=8))
    blackwell = found.stages(DEEPSEEK_R1, Task.GENERATE, gpus()["B200"], Split(tensor=8, expert=8))
    assert hopper[0].lines[1].bytes > 4 * blackwell[0].lines[1].bytes


def test_layers_that_do_not_divide_go_first_in_tensorrt_llm() -> None:
    assert [list(held) for held in extra_first(5, 3)] == [[0, 1], [2, 3], [4]]
    assert [len(held) for held in extra_first(61, 4)] == [16, 15, 15, 15]


def test_what_runs_on_one_node_only_says_so() -> None:
    assert {name for name, found in all_engines().items() if found.multi_node} == {"vllm", "sglang", "cohere"}
