"""The OCI SDK's client against an Object Storage on loopback."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ome_iac.models.http import Retries
from ome_iac.models.metadata import ModelMetadata
from ome_iac.models.read import read_from
from ome_iac.models.sources.object_storage import ObjectStorageSource
from ome_iac.models.uri import ObjectStorageUri, parse_uri
from ome_iac.problems import ProblemsError
from tests.make_weights import make_weights
from tests.servers.object_storage import ObjectStorageServer

QUICK = Retries(attempts=3, first=0.001, longest=0.01, longest_asked=0.5)
URI = "oci://n/space/b/models/o/llama/tiny"


@pytest.fixture(scope="session")
def key() -> bytes:
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.private_bytes(*formats)


@pytest.fixture
def storage(tmp_path: Path, key: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStorageServer]:
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "key.pem").chmod(0o600)
    (tmp_path / "config").write_text(
        "[DEFAULT]\nuser=ocid1.user.oc1..aaaa\ntenancy=ocid1.tenancy.oc1..aaaa\nregion=us-chicago-1\n"
        f"fingerprint={':'.join(['20'] * 16)}\nkey_file={tmp_path / 'key.pem'}\n"
    )
    (tmp_path / "config").chmod(0o600)
    for name in ("OCI_CLI_AUTH", "OCI_CLI_PROFILE", "OCI_CLI_REGION", "OCI_REGION", "OCI_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OCI_CLI_CONFIG_FILE", str(tmp_path / "config"))
    with ObjectStorageServer() as server:
        assert isinstance(server, ObjectStorageServer)
        make_weights(tmp_path / "bucket" / "llama" / "tiny", "llama-tiny-sharded")
        make_weights(tmp_path / "bucket" / "llama" / "tiny-other", "llama-tiny")
        server.buckets["space", "models"] = tmp_path / "bucket"
        monkeypatch.setenv("OCI_CLI_ENDPOINT", server.url)
        yield server


def read(text: str = URI, waits: list[str] | None = None) -> ModelMetadata:
    uri = parse_uri(text, Path("/"))
    assert isinstance(uri, ObjectStorageUri)

    async def go() -> ModelMetadata:
        report = waits.append if waits is not None else lambda _: None
        async with ObjectStorageSource(uri, report, QUICK) as source:
            return await read_from(source, text, "", report)

    return asyncio.run(go())


def refused(text: str = URI) -> str:
    with pytest.raises(ProblemsError) as raised:
        read(text)
    assert "PRIVATE KEY" not in str(raised.value)
    return str(raised.value)


def test_a_model_of_a_bucket_listed_in_pages(storage: ObjectStorageServer) -> None:
    model = read()
    assert model.weights is not None
    assert len(model.files) == 5
    assert sum(seen.path == "/n/space/b/models/o" for seen in storage.seen) == 2
    assert model.revision is not None
    assert model.revision == read().revision
    assert storage.bytes_sent < 100_000


def test_a_changed_object_is_another_revision(storage: ObjectStorageServer, tmp_path: Path) -> None:
    before = read().revision
    config = tmp_path / "bucket" / "llama" / "tiny" / "config.json"
    config.write_text(config.read_text() + "\n")
    assert read().revision != before


def test_an_object_that_changes_while_it_is_read(storage: ObjectStorageServer) -> None:
    storage.fail(r"safetensors$", 412, times=1000)
    assert "it changed while it was read; try again" in refused()


def test_missing_prefix_bucket_and_object(storage: ObjectStorageServer) -> None:
    assert "no object has this prefix" in refused("oci://n/space/b/models/o/none")
    assert "no such bucket, or it is hidden (BucketNotFound)" in refused("oci://n/space/b/none/o/llama")


def test_no_credentials(storage: ObjectStorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCI_CLI_CONFIG_FILE", str(tmp_path / "none"))
    said = refused()
    assert "no OCI configuration at" in said
    assert "set OCI_CLI_AUTH to instance_principal or oke_workload_identity" in said


def test_a_config_that_lacks_the_key(storage: ObjectStorageServer, tmp_path: Path) -> None:
    (tmp_path / "key.pem").unlink()
    assert "no credentials by api_key" in refused()


def test_an_unknown_kind_of_credentials(storage: ObjectStorageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCI_CLI_AUTH", "magic")
    assert 'OCI_CLI_AUTH is "magic"; one of api_key, security_token, instance_principal' in refused()


def test_workload_identity_outside_a_cluster(storage: ObjectStorageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCI_CLI_AUTH", "oke_workload_identity")
    monkeypatch.delenv("OCI_RESOURCE_PRINCIPAL_VERSION", raising=False)
    assert "no credentials by oke_workload_identity" in refused()


@pytest.mark.parametrize("kind", ["instance_principal", "resource_principal", "oke_workload_identity"])
def test_principals_sign_the_requests(
    storage: ObjectStorageServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    """The signers themselves need a cloud; what is ours is to choose the one that is asked for."""
    import oci

    from ome_iac.models.sources import object_storage

    def signer() -> object:
        private = oci.signer.load_private_key_from_file(str(tmp_path / "key.pem"))
        return oci.auth.signers.SecurityTokenSigner("token", private)

    monkeypatch.setitem(object_storage._SIGNERS, kind, signer)
    monkeypatch.setenv("OCI_CLI_AUTH", kind)
    monkeypatch.setenv("OCI_CLI_REGION", "us-chicago-1")
    monkeypatch.setenv("OCI_CLI_CONFIG_FILE", str(tmp_path / "none"))
    assert read().weights is not None


def test_a_session_token(storage: ObjectStorageServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("SESSION\n")
    with (tmp_path / "config").open("a") as config:
        config.write(f"security_token_file={tmp_path / 'token'}\n")
    monkeypatch.setenv("OCI_CLI_AUTH", "security_token")
    assert read().weights is not None
    assert all('keyId="ST$SESSION"' in (seen.authorization or "") for seen in storage.seen)


def test_refused_credentials(storage: ObjectStorageServer) -> None:
    storage.fail(r".", 401, times=1000)
    assert "Object Storage does not accept the credentials (401)" in refused()


@pytest.mark.parametrize("path", ["/o$", "safetensors$"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_is_retried_and_reported(storage: ObjectStorageServer, path: str, status: int) -> None:
    storage.fail(path, status, times=2, headers={"Retry-After": "0"})
    waits: list[str] = []
    assert read(waits=waits).weights is not None
    assert any("trying again" in wait for wait in waits)


def test_a_rate_limit_that_asks_for_too_much_patience(storage: ObjectStorageServer) -> None:
    storage.fail(r"/o$", 429, times=1000, headers={"Retry-After": "3600"})
    assert "limits the rate of requests (429)" in refused()


def test_the_network_is_down(storage: ObjectStorageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCI_CLI_ENDPOINT", "http://127.0.0.1:1")
    assert "cannot be reached" in refused()


def test_an_answer_that_breaks_off(storage: ObjectStorageServer) -> None:
    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=206, headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return response

    storage.fail(r"safetensors$", broken, times=2)
    assert read().weights is not None


def test_a_proxy_that_ignores_ranges(storage: ObjectStorageServer, tmp_path: Path) -> None:
    async def whole(request: web.Request) -> web.StreamResponse:
        return web.Response(body=(tmp_path / "bucket" / request.match_info["name"]).read_bytes())

    storage.fail(r"safetensors$", whole, times=1000)
    assert read().weights is not None
