"""Which engines are looked at unasked, which versions of them are known, and which image runs where."""

from __future__ import annotations

import pytest

from ome_iac.hardware import gpus
from ome_iac.problems import ProblemsError
from ome_iac.runtimes.catalog import Task, catalogs
from ome_iac.runtimes.engines import all_engines, automatic_engines, engine
from ome_iac.runtimes.engines.tei import Tei
from tests.unit.facts import decoder

H100 = gpus()["H100-80GB"]


def test_what_needs_a_licence_or_is_not_developed_is_taken_only_by_name() -> None:
    assert list(automatic_engines()) == ["vllm", "sglang", "tensorrt-llm", "tei"]
    for name in set(all_engines()) - set(automatic_engines()):
        assert all_engines()[name].only_when_named


def test_every_engine_says_which_it_is() -> None:
    names = [found.name for found in all_engines().values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "version", "image"),
    [
        ("tensorrt-llm", "1.2.0", "nvcr.io/nvidia/tensorrt-llm/release:1.2.0"),
        ("tensorrt-llm", "1.2.1", "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"),
        ("triton", "25.06", "nvcr.io/nvidia/tritonserver:25.06-py3"),
        ("triton-vllm", "26.02", "nvcr.io/nvidia/tritonserver:26.02-vllm-python-py3"),
        ("tgi", "3.3.5", "ghcr.io/huggingface/text-generation-inference:3.3.5"),
        ("tei", "1.8", "ghcr.io/huggingface/text-embeddings-inference:hopper-1.8"),
        ("nim", None, "nvcr.io/nim/nvidia/llm-nim:1.13.0"),
        ("cohere", "0.19.0", "docker.io/vllm/vllm-openai:v0.19.0"),
    ],
)
def test_an_image_has_the_tag_of_the_version(name: str, version: str | None, image: str) -> None:
    assert engine(name, version).image(H100) == image


@pytest.mark.parametrize(
    ("name", "version", "remedy"),
    [
        ("tensorrt-llm", "9.9", "the nearest is tensorrt-llm==1.2.1"),
        ("tensorrt-llm", "0.21.0", "the nearest is tensorrt-llm==1.0.0"),
        ("tgi", "2.4.1", "the nearest is tgi==3.0.0"),
        ("tei", "2.0", "the nearest is tei==1.9"),
        ("triton", "27.01", "the nearest is triton==26.02"),
        ("triton-vllm", "27.01", "the nearest is triton-vllm==26.02"),
        ("cohere", "1.0", "the nearest is cohere==0.33.0"),
        ("nim", "latest", "such as nim==1.13.0"),
    ],
)
def test_an_unknown_version_is_answered_with_the_nearest(name: str, version: str, remedy: str) -> None:
    with pytest.raises(ProblemsError) as caught:
        engine(name, version)
    assert caught.value.problems[0].remedy == remedy


def test_a_version_with_a_catalogue_has_its_own_flags() -> None:
    old, new = engine("vllm", "0.19.0"), engine("vllm", "0.33.0")
    assert old.notes == new.notes == ()
    assert old.catalog.flags != new.catalog.flags
    assert engine("vllm", "0.20.0").catalog.flags == old.catalog.flags
    assert engine("vllm", "0.30.0").catalog.flags == new.catalog.flags


@pytest.mark.parametrize(
    ("gpu", "image"),
    [
        ("A100-80GB", "text-embeddings-inference:1.9"),
        ("A10", "text-embeddings-inference:86-1.9"),
        ("L40S", "text-embeddings-inference:89-1.9"),
        ("H100-80GB", "text-embeddings-inference:hopper-1.9"),
        ("B200", "text-embeddings-inference:100-1.9"),
        ("B300", "text-embeddings-inference:100-1.9"),
    ],
)
def test_tei_has_an_image_for_each_generation(gpu: str, image: str) -> None:
    found = all_engines()["tei"]
    assert isinstance(found, Tei)
    assert found.image(gpus()[gpu]) == f"ghcr.io/huggingface/{image}"
    assert found.cpu_image == "ghcr.io/huggingface/text-embeddings-inference:cpu-1.9"


def test_amds_gpus_have_images_of_their_own_or_a_reason() -> None:
    mi300x = gpus()["MI300X"]
    assert engine("sglang", "0.5.5.post3").image(mi300x).endswith("v0.5.5.post3-rocm700-mi30x")
    assert engine("sglang").image(mi300x).endswith("v0.5.23-rocm720-mi30x")
    assert engine("tgi").image(mi300x).endswith(":3.3.7-rocm")
    for name in ("tensorrt-llm", "tei", "nim", "triton", "triton-vllm"):
        [reason] = all_engines()[name].gpu_refusals(decoder(), mi300x)
        assert "has no image for MI300X" in reason


def test_nims_licence_key_is_a_secret_and_not_a_value() -> None:
    assert all_engines()["nim"].secrets == ("NGC_API_KEY",)
    assert not any(found.secrets for name, found in all_engines().items() if name != "nim")


def test_nothing_generates_without_being_able_to() -> None:
    llama = decoder()
    for name in ("tei", "triton", "cohere"):
        assert all_engines()[name].refusals(llama, Task.GENERATE)
    for name in ("vllm", "sglang", "tensorrt-llm", "tgi", "nim", "triton-vllm"):
        assert not all_engines()[name].refusals(llama, Task.GENERATE), name


def test_every_catalogue_says_where_it_is_from() -> None:
    by_hand = {catalog.engine for catalog in catalogs() if catalog.source}
    assert by_hand == {"tensorrt-llm", "tei", "tgi", "nim", "triton"}
