"""Asking aiconfigurator, its answers in the lock, and the command; a small stand-in speaks for it but in one test."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ome_iac.cli import estimate as command
from ome_iac.estimates import environment
from ome_iac.estimates.asking import Asked, ask
from ome_iac.estimates.questions import geometry, not_askable, speed_request
from ome_iac.estimates.recorded import recorded_patterns, recorded_speeds, with_answers
from ome_iac.models.lock import Lock, LockEntry
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.speed import Lengths, PatternAnswer, PatternQuestion, Question, Speed
from ome_iac.problems import ProblemsError
from ome_iac.runtimes.splits import Split, Tuning
from tests.unit import facts

RECORDED = Path(__file__).parents[1] / "data" / "estimates"
SPEEDS = [entry for entry in json.loads((RECORDED / "speeds.json").read_text()) if "answer" in entry]
PATTERNS = [entry for entry in json.loads((RECORDED / "patterns.json").read_text()) if "answer" in entry]
MODELS = {
    model.source: model
    for model in map(ModelMetadata.model_validate, json.loads((RECORDED / "models.json").read_text()))
}
URI = "hf://example/llama"

STAND_IN = """
import types
def cli_estimate(path, system, **asked):
    print("chatter on standard output")
    if asked["tp_size"] == 8:
        raise RuntimeError("no table for\\n tensor parallel 8")
    rows = asked["batch_size"] * asked["pp_size"] * asked["attention_dp_size"]
    return types.SimpleNamespace(
        ttft=100.0 / asked["tp_size"], tpot=40.0 / asked["tp_size"], kv_cache_warning=None, backend_name="vllm",
        backend_version="0.24.0", per_ops_source={"step": {"gemm": "silicon", "norm": "empirical"}},
        raw={"tokens/s": 25.0 * rows, "seq/s": 0.1 * rows, "concurrency": rows})
class Table(list):
    @property
    def iloc(self): return [types.SimpleNamespace(to_dict=lambda: row) for row in self]
def cli_default(path, gpus, system, **asked):
    row = {"ttft": 90.0, "tpot": 9.0, "tokens/s/gpu_cluster": 300.0, "concurrency": 40, "version": "0.24.0"}
    sizes = {"tp": 2, "pp": 1, "dp": 1, "moe_tp": 1, "moe_ep": 1, "bs": 8}
    both = {f"({role}){name}": size for role in "pd" for name, size in sizes.items()}
    apart = {**row, **both, "(p)workers": 3, "(d)workers": 1, "tokens/s/gpu_cluster": 400.0}
    return types.SimpleNamespace(
        chosen_exp="disagg", best_configs={"agg": Table([{**row, **sizes}]), "disagg": Table([apart])})
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages by aiconfigurator's names, and a python that finds them; its calls are counted in a file."""
    site = tmp_path / "site"
    core = site / "aiconfigurator_core"
    for package in ("aiconfigurator", "aiconfigurator/cli", "aiconfigurator_core"):
        (site / package).mkdir(parents=True)
        (site / package / "__init__.py").touch()
    (site / "aiconfigurator" / "cli" / "api.py").write_text(STAND_IN)
    about = site / f"aiconfigurator-{environment.version()}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: aiconfigurator\nVersion: {environment.version()}\n")
    (core / "systems").mkdir()
    (core / "systems" / "h100_sxm.yaml").touch()
    (core / "model_configs").mkdir()
    llama = geometry(facts.decoder())
    names = {"layers": "num_hidden_layers", "hidden": "hidden_size", "intermediate": "intermediate_size"}
    names |= {"vocabulary": "vocab_size", "heads": "num_attention_heads", "kvHeads": "num_key_value_heads"}
    config = {"architectures": [llama["architecture"]], **{theirs: llama[ours] for ours, theirs in names.items()}}
    (core / "model_configs" / "meta-llama--Meta-Llama-3.1-8B_config.json").write_text(json.dumps(config))
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(f'#!/bin/sh\necho called >> {calls}\nshift\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(environment, "python", lambda: python)
    return calls


def question(**changed: object) -> Question:
    return Question(
        model=URI,
        engine="vllm 0.33.0",
        gpu="H100-80GB",
        split=Split(tensor=2),
        lengths=Lengths(input_tokens=1024, output_tokens=256),
        concurrency=4,
    ).model_copy(update=changed)


def asked(model: ModelMetadata | None = None, **changed: object) -> Asked:
    return Asked(question(**changed), model or facts.decoder(URI), Path())


def test_a_batch_is_one_process_and_each_answer_stands_by_its_question(stand_in: Path) -> None:
    answers = ask([asked(), asked(gpu="MI300X"), asked(split=Split(tensor=8)), asked(split=Split(tensor=4))])
    assert stand_in.read_text().count("called") == 1
    two, amd, failed, four = answers
    assert isinstance(two.answer, Speed)
    assert (two.answer.time_per_output_token_ms, two.answer.tokens_per_second) == (20.0, 100.0)
    assert two.answer.source == environment.source()
    assert not two.answer.is_bound
    assert any("1 of 2 operations measured" in line for line in two.answer.detail)
    assert any("Meta-Llama-3.1-8B stands for it" in line for line in two.answer.detail)
    assert amd.answer is None
    assert "NVIDIA GPUs only" in amd.uncovered
    assert failed.uncovered == "aiconfigurator: no table for tensor parallel 8"
    assert isinstance(four.answer, Speed)
    assert four.answer.time_per_output_token_ms == 10.0


def test_another_shape_or_gpu_is_said_to_be_uncovered(stand_in: Path) -> None:
    other, older = ask([asked(facts.llama_70b(URI)), asked(gpu="A10")])
    assert "its shape is none of the 1 models" in other.uncovered
    assert "no kernel was measured on A10" in older.uncovered


def test_nothing_is_started_for_what_cannot_be_asked(stand_in: Path) -> None:
    (answer,) = ask([asked(engine="tgi 3.0")])
    assert "tgi is none of the engines" in answer.uncovered
    assert not stand_in.exists()


def test_stages_and_ranks_share_the_batch(stand_in: Path) -> None:
    request = speed_request(question(concurrency=5, split=Split(tensor=2, pipeline=2)), facts.decoder(URI), Path())
    assert request["arguments"]["batch_size"] == 3
    (answer,) = ask([asked(concurrency=5, split=Split(tensor=2, pipeline=2))])
    assert isinstance(answer.answer, Speed)
    assert (
        answer.answer.tokens_per_second == 125.0
    )  # of the five that were asked for, not of the six that were computed
    assert any("those of 6 requests" in line for line in answer.answer.detail)


def test_tuning_and_experts_become_its_arguments() -> None:
    fp8 = Tuning(quantization="fp8", kv_cache_dtype="fp8_e4m3")
    arguments = speed_request(question(tuning=fp8), facts.decoder(URI), Path())["arguments"]
    assert (arguments["gemm_quant_mode"], arguments["kvcache_quant_mode"]) == ("fp8", "fp8")
    assert "moe_ep_size" not in arguments
    mixture = MODELS["hf://deepseek-ai/DeepSeek-V3"]
    spread = speed_request(question(split=Split(data=8, expert=8)), mixture, Path())["arguments"]
    assert (spread["moe_tp_size"], spread["moe_ep_size"], spread["attention_dp_size"]) == (1, 8, 8)
    assert "float32" in not_askable(question(tuning=Tuning(dtype="float32")))


def test_a_broken_installation_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no such module >&2\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(environment, "python", lambda: python)
    with pytest.raises(ProblemsError, match="failed: no such module"):
        ask([asked()])


def test_without_an_installation_it_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "folder", lambda: tmp_path)
    with pytest.raises(ProblemsError, match="ome-iac estimate install"):
        environment.python()


def test_every_requirement_is_locked_by_hash_and_names_no_host() -> None:
    text = environment.requirements().decode()
    assert text.count("==") > 20
    assert all("--hash=sha256:" in block for block in text.split("\n") if block.startswith("    --"))
    assert "://" not in text
    assert environment.source() == "aiconfigurator 0.12.0"


def lock_of(path: Path) -> Lock:
    speeds = [(Question.model_validate(e["question"]), Speed.model_validate(e["answer"])) for e in SPEEDS[:3]]
    patterns = [
        (PatternQuestion.model_validate(e["question"]), PatternAnswer.model_validate(e["answer"])) for e in PATTERNS[:1]
    ]
    return with_answers(Lock(path), [*speeds, *patterns])


def test_answers_come_back_from_the_lock_as_they_went_in(tmp_path: Path) -> None:
    path = tmp_path / "ome.lock"
    lock_of(path).write()
    lock = Lock.load(path)
    assert lock.render() == path.read_text()
    for entry in SPEEDS[:3]:
        found = recorded_speeds(lock)[Question.model_validate(entry["question"])]
        assert found == Speed.model_validate(entry["answer"])
    assert len(recorded_patterns(lock)) == 1


def test_order_does_not_matter_and_a_lock_without_answers_says_nothing_of_them(tmp_path: Path) -> None:
    lock = lock_of(tmp_path / "ome.lock")
    answers: list[Any] = [*recorded_speeds(lock).items(), *recorded_patterns(lock).items()]
    assert with_answers(lock, reversed(answers)).render() == lock.render()
    assert "estimates" not in with_answers(lock, []).render()


def test_an_answer_edited_by_hand_is_refused(tmp_path: Path) -> None:
    text = lock_of(tmp_path / "ome.lock").render()
    value = SPEEDS[0]["answer"]["timePerOutputTokenMs"]
    with pytest.raises(ProblemsError, match="changed by hand") as error:
        Lock.parse(text.replace(f'"timePerOutputTokenMs": {value}', '"timePerOutputTokenMs": 0.1', 1), Path("ome.lock"))
    assert "run ome-iac estimate" in str(error.value)


def test_models_keep_their_entries_beside_the_answers(tmp_path: Path) -> None:
    entry = LockEntry.of(facts.decoder(URI), "https://example", datetime(2026, 1, 1, tzinfo=UTC))
    lock = lock_of(tmp_path / "ome.lock").with_entry(URI, entry)
    again = Lock.parse(lock.render(), lock.path)
    assert again.get(URI) == facts.decoder(URI)
    assert again.estimates == lock.estimates


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: ome-iac\nruntime: python\nmain: stacks\n")
    folder = tmp_path / "stacks" / "team"
    intent = {"concurrency": 4, "timePerToken": "500ms"}
    facts.write(
        folder,
        facts.model("llama", URI),
        facts.pool("h100", "BM.GPU.H100.8"),
        facts.service("chat", "llama", intent=intent),
    )
    (tmp_path / "stacks" / "Pulumi.team.yaml").write_text("config: {}\n")
    entry = LockEntry.of(facts.decoder(URI), "https://example", datetime(2026, 1, 1, tzinfo=UTC))
    Lock(folder / "ome.lock").with_entry(URI, entry).write()
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_command_asks_once_and_keeps_the_answers(project: Path, stand_in: Path) -> None:
    done = CliRunner().invoke(command.app, ["--stack", "team"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "chosen" in done.output
    assert "ms/token" in done.output
    assert "no table for tensor parallel 8" in done.output
    assert "pattern prefill-decode gives most tokens" in done.output
    lock = Lock.load(project / "ome.lock")
    assert lock.get(URI) == facts.decoder(URI)
    assert recorded_speeds(lock)
    (pattern,) = recorded_patterns(lock).values()
    assert pattern.prefill_decode
    assert pattern.prefill_decode.prefill
    assert (pattern.prefill_decode.prefill.replicas, pattern.prefill_decode.prefill.split.tensor) == (3, 2)
    before = (project / "ome.lock").read_text()
    CliRunner().invoke(command.app, ["--stack", "team"], catch_exceptions=False)
    assert (project / "ome.lock").read_text() == before


def test_a_model_that_left_the_stack_takes_its_answers_with_it(project: Path, stand_in: Path) -> None:
    lock = Lock.load(project / "ome.lock")
    stranger = question(model="hf://example/other")
    answer = Speed.model_validate(SPEEDS[0]["answer"])
    with_answers(lock, [(stranger, answer)]).write()
    CliRunner().invoke(command.app, ["--stack", "team"], catch_exceptions=False)
    assert stranger not in recorded_speeds(Lock.load(project / "ome.lock"))


def test_the_pure_packages_never_import_the_adapter() -> None:
    import subprocess

    code = "import sys, ome_iac.planning.planner; print([m for m in sys.modules if m.startswith('ome_iac.estimates')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not environment.installed(), reason="ome-iac estimate install has not been run on this machine")
def test_the_real_one_answers_as_recorded() -> None:
    """Every recorded question would take minutes; two show that nothing has moved."""
    entries = [SPEEDS[0], next(entry for entry in SPEEDS if "DeepSeek-V3" in entry["question"]["model"])]
    every = [Question.model_validate(entry["question"]) for entry in entries]
    answers = ask([Asked(item, MODELS[item.model], Path()) for item in every])
    assert [item.answer for item in answers] == [Speed.model_validate(entry["answer"]) for entry in entries]
