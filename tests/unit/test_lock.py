"""`ome.lock`: deterministic, whole, and refused where it was touched."""

import json
import socket
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from ome_iac.models.lock import Lock, LockEntry
from ome_iac.models.metadata import ModelMetadata
from ome_iac.models.read import read_model
from ome_iac.problems import ProblemsError
from tests.make_weights import make_weights

NOW = datetime(2026, 7, 4, 12, 30, 5, 999, UTC)
A, B, C = (f"hf://org/{name}" for name in "abc")


def metadata(uri: str) -> ModelMetadata:
    return ModelMetadata(
        source=uri, revision="c0ffee", architecture="LlamaForCausalLM", context_length=131072, gated=True
    )


def entry(uri: str) -> LockEntry:
    return LockEntry.of(metadata(uri), "https://huggingface.co", NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Lock(tmp_path / "ome.lock").with_entry(B, entry(B)).with_entry(A, entry(A)).write()
    return tmp_path / "ome.lock"


def refused(path: Path) -> str:
    with pytest.raises(ProblemsError) as raised:
        Lock.load(path)
    return str(raised.value)


def test_round_trip_and_same_bytes(path: Path) -> None:
    lock = Lock.load(path)
    assert lock.get(A) == metadata(A)
    assert lock.get(C) is None
    assert lock.models[B].locked_at == "2026-07-04T12:30:05Z"
    assert lock.render() == path.read_text()
    again = Lock(path).with_entry(A, entry(A)).with_entry(B, entry(B))
    assert again.render() == path.read_text()


def test_time_is_utc() -> None:
    made = LockEntry.of(metadata(A), "local", NOW.astimezone(timezone(timedelta(hours=9))), derived=True)
    assert made.locked_at == "2026-07-04T12:30:05Z"
    assert made.origin == "derived"


def test_a_real_model_round_trips(tmp_path: Path) -> None:
    model = read_model(f"local://{make_weights(tmp_path / 'm', 'llama-3.1-405b')}", Path("/"))
    lock = Lock(tmp_path / "ome.lock").with_entry(model.source, LockEntry.of(model, "local", NOW))
    lock.write()
    assert Lock.load(lock.path).get(model.source) == model


def test_no_lock_is_an_empty_one(tmp_path: Path) -> None:
    assert Lock.load(tmp_path / "ome.lock").models == {}


def test_runtimes_have_their_place(path: Path) -> None:
    Lock.load(path).with_runtimes({"vllm": "0.33.0", "sglang": "0.6.1"}).write()
    assert Lock.load(path).runtimes == {"sglang": "0.6.1", "vllm": "0.33.0"}


def test_removing(path: Path) -> None:
    assert list(Lock.load(path).without(A).models) == [B]


def test_lines_are_short_and_one_fact_each(tmp_path: Path) -> None:
    model = read_model(f"local://{make_weights(tmp_path / 'm', 'deepseek-v3')}", Path("/"))
    text = Lock(tmp_path / "l").with_entry(model.source, LockEntry.of(model, "local", NOW)).render()
    assert max(map(len, text.splitlines())) <= 200
    assert text.endswith("}\n")
    assert json.loads(text)["schema"] == 1


def test_two_branches_that_add_models_merge(tmp_path: Path) -> None:
    """Lines of one branch's entry are all between lines that both branches have."""
    base = Lock(tmp_path / "l").with_entry(B, entry(B))
    ours, theirs = base.with_entry(A, entry(A)).render(), base.with_entry(C, entry(C)).render()
    both = base.with_entry(A, entry(A)).with_entry(C, entry(C)).render()
    common = base.render().splitlines()
    added = [line for line in ours.splitlines() if line not in common]
    assert all(line in both.splitlines() for line in added)
    assert len([line for line in theirs.splitlines() if line in both.splitlines()]) == len(theirs.splitlines())


def test_an_edited_fact_is_refused_with_the_line(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace('"contextLength": 131072', '"contextLength": 1048576', 1))
    line = text[: text.index(f'"{A}": {{')].count("\n") + 1
    assert refused(path) == (
        f"{path}:{line} models.{A}: was changed by hand: it does not match its digest; run ome-iac lock --update {A}"
    )


def test_every_edited_entry_is_named(path: Path) -> None:
    path.write_text(path.read_text().replace("131072", "131073"))
    assert len(refused(path).splitlines()) == 2


def test_an_entry_under_another_name(path: Path) -> None:
    path.write_text(path.read_text().replace(f'"{A}": {{', f'"{C}": {{'))
    assert f"is the entry of {A}" in refused(path)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.97])
def test_a_truncated_lock_is_refused_with_the_line(path: Path, keep: float) -> None:
    text = path.read_text()
    path.write_text(text[: int(len(text) * keep)])
    assert refused(path).startswith(f"{path}:")
    assert "the file ends too early; restore it from git" in refused(path)


def test_a_cut_in_the_middle(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:10] + lines[14:]))
    assert refused(path).startswith(f"{path}:")


def test_broken_json_names_the_line(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    lines[5] = lines[5].replace(",", ",,")
    path.write_text("".join(lines))
    assert f"{path}:6: not JSON" in refused(path)


def test_merge_conflicts_are_named(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(
        "".join([*lines[:8], "<<<<<<< ours\n", lines[8], "=======\n", lines[8], ">>>>>>> theirs\n", *lines[9:]])
    )
    assert f"{path}:9: an unresolved merge conflict" in refused(path)


def test_an_entry_kept_twice_by_a_merge(path: Path) -> None:
    content = path.read_text()
    begin = content.index(f'    "{A}"')
    end = content.index(f'    "{B}"')
    path.write_text(content[:end] + content[begin:end] + content[end:])
    assert "this key is given twice" in refused(path)


def test_other_schemas_and_stray_keys(path: Path) -> None:
    text = path.read_text()
    path.write_text(text.replace('"schema": 1', '"schema": 2'))
    assert f"{path}:2 schema: schema 2; this ome-iac reads 1" in refused(path)
    path.write_text(text.replace('"schema": 1', '"schema": 1,\n  "more": {}'))
    assert f"{path}:3 more: is not part of a lock" in refused(path)


def test_writing_is_all_or_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_text()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        Lock.load(path).with_entry(C, entry(C)).write()
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_complete_lock_needs_no_socket(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", denied)
    monkeypatch.setattr(socket, "getaddrinfo", denied)
    lock = Lock.load(path)
    assert [lock.get(uri) for uri in (A, B)] == [metadata(A), metadata(B)]
