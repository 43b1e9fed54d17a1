"""A folder behind a plain web server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ome_iac.models.http import Retries
from ome_iac.models.metadata import ModelMetadata
from ome_iac.models.read import read_from
from ome_iac.models.sources.https import HttpsSource
from ome_iac.problems import ProblemsError
from tests.make_weights import make_weights
from tests.servers.files import FileServer

QUICK = Retries(attempts=3, first=0.001, longest=0.01, longest_asked=0.5)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("HOME", str(tmp_path))
    make_weights(tmp_path / "www" / "tiny", "llama-tiny-sharded")
    make_weights(tmp_path / "www" / "one", "llama-tiny")
    with FileServer(folder=tmp_path / "www") as running:
        assert isinstance(running, FileServer)
        yield running


def read(url: str) -> ModelMetadata:
    async def go() -> ModelMetadata:
        async with HttpsSource(url, lambda _: None, QUICK) as source:
            return await read_from(source, url, "", lambda _: None)

    return asyncio.run(go())


def refused(url: str) -> str:
    with pytest.raises(ProblemsError) as raised:
        read(url)
    return str(raised.value)


@pytest.mark.parametrize(("path", "files"), [("tiny", 5), ("one", 2)])
def test_a_folder(server: FileServer, path: str, files: int) -> None:
    model = read(f"{server.url}/{path}")
    assert model.weights is not None
    assert len(model.files) == files
    assert model.revision == read(f"{server.url}/{path}/").revision


def test_nothing_there(server: FileServer) -> None:
    assert "none of the usual files is there" in refused(f"{server.url}/none")


def test_a_shard_is_missing(server: FileServer) -> None:
    (server.folder / "tiny" / "model-00002-of-00003.safetensors").unlink()
    assert "names model-00002-of-00003.safetensors, which is not in the folder" in refused(f"{server.url}/tiny")


def test_refused(server: FileServer) -> None:
    server.fail(r".", 401, times=1000)
    assert "refuses it (401); put the host's user and password into ~/.netrc" in refused(f"{server.url}/tiny")


def test_a_password_of_netrc_is_sent(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password SECRET\n")
    (tmp_path / ".netrc").chmod(0o600)
    read(f"{server.url}/tiny")
    assert {seen.authorization for seen in server.seen} == {"Basic bWU6U0VDUkVU"}


def test_passing_trouble(server: FileServer) -> None:
    server.fail(r".", 503, times=3)
    assert read(f"{server.url}/one").weights is not None


def test_the_proxy_of_the_environment_is_used(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file server stands in for a proxy: it is asked for the whole address of a host that does not exist."""
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    model = read("http://models.invalid/one")
    assert model.weights is not None
    assert server.seen
