"""Refreshing and checking a lock against a Hub on loopback, and the commands that do it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ome_iac.cli.app import app as commands
from ome_iac.cli.model import app
from ome_iac.models.lock import Lock
from ome_iac.models.locking import DeclaredModel, check, refresh
from ome_iac.problems import ProblemsError
from tests.make_weights import MODELS, make_weights
from tests.servers.hub import HubServer, Repository
from tests.unit.facts import model, service, write

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC)
TINY, OTHER, CLAIM = "hf://org/tiny", "hf://org/other@main", "pvc://models/llama"
TOKEN = "hf_" + "SECRETsecretSECRETsecret"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with HubServer() as server:
        assert isinstance(server, HubServer)
        server.repositories["org/tiny"] = Repository(make_weights(tmp_path / "tiny", "llama-tiny"))
        server.repositories["org/other"] = Repository(make_weights(tmp_path / "other", "llama-tiny-sharded"))
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return Lock(tmp_path / "ome.lock")


def declared(*uris: str) -> list[DeclaredModel]:
    return [DeclaredModel(uri, Path("/"), f"models.yaml:{line}") for line, uri in enumerate(uris, 1)]


def kinds(changes: list[object]) -> dict[str, str]:
    return {change.uri: change.kind for change in changes}  # type: ignore[attr-defined]


def move(hub: HubServer) -> None:
    repository = hub.repositories["org/tiny"]
    repository.commit = "f" * 40
    config = json.loads((repository.folder / "config.json").read_text())
    (repository.folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}))
    (repository.folder / "README.md").write_text("# new")


def test_a_stack_is_locked_without_local_and_vendor_models(hub: HubServer, lock: Lock) -> None:
    models = declared(TINY, OTHER, TINY, "local:///somewhere", "vendor://cohere/models/x")
    made, changes = refresh(lock, models, NOW)
    assert kinds(changes) == {TINY: "added", OTHER: "added"}
    assert list(made.models) == [OTHER, TINY]
    assert made.models[TINY].locked_from == hub.url
    assert TOKEN not in made.render()


def test_what_did_not_change_stays_as_it_is(hub: HubServer, lock: Lock) -> None:
    made, _ = refresh(lock, declared(TINY), NOW)
    again, changes = refresh(made, declared(TINY), LATER)
    assert kinds(changes) == {TINY: "unchanged"}
    assert again.render() == made.render()


def test_what_moved_is_told_fact_by_fact(hub: HubServer, lock: Lock) -> None:
    made, _ = refresh(lock, declared(TINY), NOW)
    move(hub)
    (moved,) = check(made, declared(TINY))
    assert moved.kind == "moved"
    assert "file README.md: added" in moved.details
    assert "file config.json: changed" in moved.details
    fresh, (change,) = refresh(made, declared(TINY), LATER)
    assert change.kind == "changed"
    assert "contextLength: 2,048 -> 4,096" in change.details
    assert fresh.models[TINY].locked_at == "2026-02-02T00:00:00Z"
    assert [change.kind for change in check(fresh, declared(TINY))] == ["unchanged"]


def test_only_the_named_model_and_what_is_missing_are_read(hub: HubServer, lock: Lock) -> None:
    made, _ = refresh(lock, declared(TINY), NOW)
    move(hub)
    fresh, changes = refresh(made, declared(TINY, OTHER), LATER, only=[OTHER])
    assert kinds(changes) == {OTHER: "added"}
    assert fresh.models[TINY] == made.models[TINY]
    with pytest.raises(ProblemsError, match='is no model of this stack that is locked; did you mean "hf://org/tiny"'):
        refresh(made, declared(TINY), LATER, only=["hf://org/tinny"])


def test_a_model_that_the_stack_dropped(hub: HubServer, lock: Lock) -> None:
    made, _ = refresh(lock, declared(TINY, OTHER), NOW)
    assert kinds(check(made, declared(TINY))) == {TINY: "unchanged", OTHER: "unused"}
    fresh, changes = refresh(made, declared(TINY), LATER)
    assert kinds(changes)[OTHER] == "removed"
    assert list(fresh.models) == [TINY]


def test_a_model_that_was_never_locked(hub: HubServer, lock: Lock) -> None:
    assert kinds(check(lock, declared(TINY))) == {TINY: "missing"}


def test_all_unreadable_models_are_named_and_nothing_is_changed(hub: HubServer, lock: Lock) -> None:
    with pytest.raises(ProblemsError) as raised:
        refresh(lock, declared("hf://org/a", TINY, "hf://org/b"), NOW)
    assert {problem.where for problem in raised.value.problems} == {"hf://org/a", "hf://org/b"}
    assert lock.models == {}


def test_a_claim_is_locked_from_a_mirror(tmp_path: Path, lock: Lock) -> None:
    folder = make_weights(tmp_path / "mirror", "llama-tiny")
    with pytest.raises(ProblemsError, match="--mirror"):
        refresh(lock, declared(CLAIM), NOW)
    made, _ = refresh(lock, declared(CLAIM), NOW, mirrors={CLAIM: folder})
    assert made.models[CLAIM].metadata.source == CLAIM
    assert str(tmp_path) not in made.render()
    assert kinds(check(made, declared(CLAIM))) == {CLAIM: "unchanged"}


def test_a_derived_entry_says_so(hub: HubServer, lock: Lock) -> None:
    folder = hub.repositories["org/tiny"].folder
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    made, _ = refresh(lock, declared(TINY), NOW)
    assert made.models[TINY].origin == "derived"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two stacks, `one` and `two`, that serve the same model under the name `tiny`."""
    (tmp_path / "Pulumi.yaml").write_text("name: ome-iac\nruntime: python\nmain: stacks\n")
    for name in ("one", "two"):
        write(tmp_path / "stacks" / name, model("tiny", TINY), service("chat", "tiny"))
        (tmp_path / "stacks" / f"Pulumi.{name}.yaml").write_text("config: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(commands, ["lock", *arguments])
    return result.exit_code, result.stdout


def test_the_command(hub: HubServer, project: Path) -> None:
    lock = project / "stacks" / "one" / "ome.lock"
    missing = f"missing   {TINY}\nthe lock is not up to date; run ome-iac lock\n"
    assert command("-s", "one", "--check") == (1, missing)
    assert not lock.exists()
    assert command("-s", "one") == (0, f"added     {TINY}\n")
    assert command("-s", "one", "--check") == (0, f"unchanged {TINY}\n")
    written = lock.read_bytes()
    assert command("-s", "one")[0] == 0
    assert lock.read_bytes() == written
    move(hub)
    code, shown = command("-s", "one", "--check")
    assert code == 1
    assert "moved" in shown
    assert lock.read_bytes() == written
    assert "contextLength: 2,048 -> 4,096" in command("-s", "one", "--update", "tiny")[1]


def test_without_a_stack_every_stack_is_locked(hub: HubServer, project: Path) -> None:
    assert command() == (0, f"stack one\nadded     {TINY}\nstack two\nadded     {TINY}\n")
    assert command("--check")[0] == 0
    move(hub)
    code, shown = command("--check")
    assert code == 1
    assert shown.count("moved") == 2


def test_inspect_as_json_has_the_promised_keys(tmp_path: Path) -> None:
    folder = make_weights(tmp_path / "m", "qwen2.5-7b-awq")
    result = CliRunner().invoke(app, ["inspect", str(folder), "--json"])
    shown = json.loads(result.stdout)
    promised = {
        *("source", "revision", "architecture", "modelType", "format", "parameters", "weights", "quantization"),
        *(
            "contextLength",
            "layers",
            "hiddenSize",
            "vocabularySize",
            "attention",
            "capabilities",
            "licence",
            "provenance",
        ),
    }
    assert promised <= shown.keys()
    assert {"total", "active"} <= shown["parameters"].keys()
    assert {"bytes", "byDtype", "byRole"} <= shown["weights"].keys()
    assert shown["quantization"]["method"] == "awq"
    assert shown["licence"] is None


def test_inspect_for_a_person(tmp_path: Path) -> None:
    folder = make_weights(tmp_path / "m", "deepseek-v3")
    result = CliRunner().invoke(app, ["inspect", str(folder)])
    assert "671.03B (671,026,419,200), 36.63B active for each token" in result.stdout
    assert "fp8, 8 bits, blocks of 128x128" in result.stdout
    assert len(result.stdout.splitlines()) < 30


def test_inspect_a_config_alone(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MODELS["llama-3.1-405b"].config))
    result = CliRunner().invoke(app, ["inspect", "--config", str(tmp_path / "config.json")])
    assert "405.85B (405,853,388,800), derived from the config" in result.stdout


def test_inspect_needs_one_model() -> None:
    assert isinstance(CliRunner().invoke(app, ["inspect"]).exception, ProblemsError)
