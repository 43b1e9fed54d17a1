"""The Hub's client against a Hub on loopback: what is sent where, and what is said when it refuses."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from ome_iac.models.headers import first_range, read_headers
from ome_iac.models.http import Retries
from ome_iac.models.metadata import ModelMetadata
from ome_iac.models.read import read_from, read_model
from ome_iac.models.sources.base import SourceError
from ome_iac.models.sources.hub import HubSource
from ome_iac.models.uri import HubUri, parse_uri
from ome_iac.models.weights import choose_weights
from ome_iac.problems import ProblemsError
from tests.make_weights import make_weights
from tests.servers.hub import COMMIT, HubServer, Repository

TOKEN = "hf_" + "SECRETsecretSECRETsecret"
QUICK = Retries(attempts=3, first=0.001, longest=0.01, longest_asked=0.5)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with HubServer() as server:
        assert isinstance(server, HubServer)
        server.repositories["org/tiny"] = Repository(make_weights(tmp_path / "tiny", "llama-tiny-sharded"))
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def read(text: str = "hf://org/tiny", waits: list[str] | None = None) -> ModelMetadata:
    uri = parse_uri(text, Path("/"))
    assert isinstance(uri, HubUri)

    async def go() -> ModelMetadata:
        report = waits.append if waits is not None else lambda _: None
        async with HubSource(uri, report, QUICK) as source:
            return await read_from(source, text, "", report)

    return asyncio.run(go())


def refused(text: str = "hf://org/tiny") -> str:
    with pytest.raises(ProblemsError) as raised:
        read(text)
    assert TOKEN not in str(raised.value)
    return str(raised.value)


def test_a_model_of_the_hub(hub: HubServer) -> None:
    hub.repositories["org/tiny"].card = {"license": "apache-2.0"}
    model = read()
    assert model.revision == COMMIT
    assert model.licence == "apache-2.0"
    assert model.gated is False
    assert model.weights is not None
    sizes = {path.name: path.stat().st_size for path in hub.repositories["org/tiny"].files()}
    assert {file.path: file.size for file in model.files} == sizes
    assert all(file.sha256 for file in model.files if file.path != "model.safetensors.index.json")


def test_the_public_function_shows_progress(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_model("hf://org/tiny", Path("/")).revision == COMMIT
    shown = capsys.readouterr()
    assert "reading hf://org/tiny" in shown.err
    assert shown.out == ""


def test_only_headers_are_read(hub: HubServer, tmp_path: Path) -> None:
    hub.repositories["org/large"] = Repository(make_weights(tmp_path / "large", "llama-3.1-8b"))
    model = read("hf://org/large")
    assert model.parameters is not None
    assert model.parameters.total == 8_030_261_248
    assert hub.bytes_sent + hub.cdn.bytes_sent < 200_000
    assert all(seen.range for seen in hub.cdn.seen)
    assert len(hub.cdn.seen) == 4


def test_every_file_is_read_at_the_listed_commit(hub: HubServer) -> None:
    read("hf://org/tiny@main")
    resolved = [seen.path for seen in hub.seen if "/resolve/" in seen.path]
    assert resolved
    assert all(f"/resolve/{COMMIT}/" in path for path in resolved)


def test_revisions_and_subfolders(hub: HubServer, tmp_path: Path) -> None:
    make_weights(tmp_path / "tiny" / "deep" / "er", "llama-tiny")
    hub.repositories["org/tiny"].revisions = ("main", "refs/pr/7", "v1")
    deep = read("hf://org/tiny@refs/pr/7/deep/er")
    assert [file.path for file in deep.files] == ["config.json", "model.safetensors"]
    assert read("hf://org/tiny@v1").revision == COMMIT
    assert "no folder nowhere" in refused("hf://org/tiny@v1/nowhere")


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.repositories["org/tiny"].private = True
    hub.repositories["org/tiny"].token = TOKEN
    waits: list[str] = []
    hub.fail(r"/resolve/", 503)
    model = read(waits=waits)
    assert any(seen.authorization == f"Bearer {TOKEN}" for seen in hub.seen)
    assert hub.cdn.seen
    assert all(seen.authorization is None for seen in hub.cdn.seen)
    captured = capfd.readouterr()
    everywhere = [model.model_dump_json(), *waits, caplog.text, captured.out, captured.err]
    assert waits
    assert not any(TOKEN in text for text in everywhere)


def test_xet_repositories_redirect_too(hub: HubServer) -> None:
    hub.repositories["org/tiny"].xet = True
    assert read().weights is not None


def test_gated_without_and_with_a_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repositories["org/tiny"].gated = "manual"
    hub.repositories["org/tiny"].token = TOKEN
    said = refused()
    assert f"is gated, and there is no token; accept its terms at {hub.url}/org/tiny and set HF_TOKEN" in said
    assert len(said.splitlines()) == 1
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert "is gated, and HF_TOKEN's account has no access; ask for it" in refused()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert read().gated is True


def test_missing_private_and_moved(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "has no such model, or hides it; check the name" in refused("hf://org/none")
    hub.repositories["org/tiny"].private = True
    assert "HF_TOKEN must be of an account that may read it" in refused()
    hub.repositories["org/tiny"].private = False
    assert "has no revision feedbeef; it was moved or removed upstream" in refused("hf://org/tiny@feedbeef")


def test_a_token_that_the_hub_does_not_accept(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.fail(r"/api/models", 401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
    assert "the Hub does not accept HF_TOKEN; it is mistyped or expired" in refused()


@pytest.mark.parametrize("path", [r"/api/models/", r"/resolve/", r"/resolve-cache/"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_is_retried_and_reported(hub: HubServer, path: str, status: int) -> None:
    hub.fail(path, status, times=2, headers={"Retry-After": "0"})
    waits: list[str] = []
    assert read(waits=waits).weights is not None
    assert any("trying again" in wait for wait in waits)


def test_trouble_that_stays_is_an_error_after_a_bounded_number_of_tries(hub: HubServer) -> None:
    hub.fail(r"/api/models/", 500, times=1000)
    assert "answered 500; it has a problem of its own" in refused()
    assert sum("/api/models/" in seen.path for seen in hub.seen) == QUICK.attempts


def test_retry_after_is_kept_to_by_all_requests(hub: HubServer) -> None:
    hub.fail(r"/resolve/.*safetensors$", 429, times=1, headers={"Retry-After": "0.3"})
    waits: list[str] = []
    assert read(waits=waits).weights is not None
    assert any("limits the rate of requests (429)" in wait for wait in waits)


def test_a_server_that_asks_for_too_much_patience(hub: HubServer) -> None:
    hub.fail(r"/resolve/", 429, times=1000, headers={"Retry-After": "3600"})
    assert "limits the rate of requests (429); try again in 3600 s, or authenticate" in refused()
    hub.fail(r"/api/models/", 429, times=1000, headers={"Retry-After": "3600"})
    assert "try again in 3600 s" in refused()


def test_the_network_is_down(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    said = refused()
    assert "127.0.0.1:1 cannot be reached" in said
    assert "a locked model needs no network" in said


def test_the_cdn_is_down(hub: HubServer) -> None:
    async def elsewhere(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:1/key?signature=SIGNED"})

    hub.fail(r"/resolve/.*safetensors$", elsewhere, times=1000)
    said = refused()
    assert "cannot be reached" in said
    assert "SIGNED" not in said


def test_offline_mode(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE forbids the network" in refused()


def test_a_proxy_that_ignores_ranges(hub: HubServer) -> None:
    async def whole(request: web.Request) -> web.StreamResponse:
        path = hub.cdn.files[request.match_info["key"]]
        return web.Response(body=path.read_bytes())

    hub.cdn.fail(r".", whole, times=1000)
    assert read().weights is not None


def test_a_proxy_that_ignores_ranges_is_not_read_to_the_end(hub: HubServer, tmp_path: Path) -> None:
    hub.repositories["org/large"] = Repository(make_weights(tmp_path / "large", "llama-3.1-8b"))
    sent = 0

    async def whole(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        with hub.cdn.files[request.match_info["key"]].open("rb") as file:
            response = web.StreamResponse()
            await response.prepare(request)
            while piece := file.read(65536):
                await response.write(piece)
                sent += len(piece)
        return response

    hub.cdn.fail(r".", whole, times=1000)
    assert read("hf://org/large").weights is not None
    assert sent < 64 * 1024 * 1024


def test_a_wrong_range(hub: HubServer) -> None:
    async def wrong(request: web.Request) -> web.StreamResponse:
        return web.Response(status=206, body=b"x" * 100, headers={"Content-Range": "bytes 5-104/1000"})

    hub.cdn.fail(r".", wrong, times=1000)
    assert "asked for bytes from 0, got bytes 5-104/1000" in refused()


def test_an_answer_that_breaks_off(hub: HubServer) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Range": "bytes 0-999/1000", "Content-Length": "1000"}
        response = web.StreamResponse(status=206, headers=headers)
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return response

    hub.cdn.fail(r".", broken, times=3)
    waits: list[str] = []
    assert read(waits=waits).weights is not None
    assert any("cut the answer short" in wait for wait in waits)


def test_a_redirect_in_a_circle(hub: HubServer) -> None:
    async def circle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": request.path})

    hub.fail(r"/resolve/.*safetensors$", circle, times=1000)
    assert "redirects in a circle" in refused()


def test_a_file_that_shrank_since_it_was_listed(hub: HubServer) -> None:
    hub.fail(r"/resolve/.*safetensors$", 416, times=1000)
    assert "is shorter than its listing says" in refused()


def test_long_headers_take_a_second_request(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ome_iac.models.headers.first_range", lambda weights: 16)
    assert read().weights is not None
    assert len(hub.cdn.seen) == 6


def test_the_first_range_takes_most_headers(hub: HubServer, tmp_path: Path) -> None:
    hub.repositories["org/large"] = Repository(make_weights(tmp_path / "large", "llama-3.1-405b"))

    async def go() -> int:
        async with HubSource(HubUri("org/large"), lambda _: None, QUICK) as source:
            listing = await source.listing()
            weights = choose_weights(listing.files, "", source.where)
            assert weights is not None
            assert first_range(weights) < 8192
            table, _ = await read_headers(source, weights, lambda _: None)
            return len(table)

    assert asyncio.run(go()) == 1137
    assert len(hub.cdn.seen) == 191


def test_one_problem_ends_the_reading(hub: HubServer) -> None:
    hub.fail(r"/resolve/.*safetensors$", 404, times=1000, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(SourceError, match="was removed upstream since it was listed"):
        read()
