"""The grammar of OME's storageUri."""

from pathlib import Path

import pytest

from ome_iac.models.uri import HttpsUri, HubUri, LocalUri, ObjectStorageUri, PvcUri, VendorUri, parse_uri
from ome_iac.problems import ProblemsError

OME_DATA = Path(__file__).parents[3] / "shared" / "data" / "ome"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://meta-llama/Llama-3.1-8B-Instruct", HubUri("meta-llama/Llama-3.1-8B-Instruct")),
        ("hf://openai-community/gpt2@main", HubUri("openai-community/gpt2")),
        ("hf://gpt2", HubUri("gpt2")),
        (
            "hf://org/name@0e9e39f249a16976918f6564b8830bc894c89659",
            HubUri("org/name", "0e9e39f249a16976918f6564b8830bc894c89659"),
        ),
        ("hf://org/name@v1.0/fp16", HubUri("org/name", "v1.0", "fp16")),
        ("hf://org/name/deep/er", HubUri("org/name", "main", "deep/er")),
        ("hf://org/name@refs/pr/7", HubUri("org/name", "refs/pr/7")),
        ("hf://org/name@refs/pr/7/sub", HubUri("org/name", "refs/pr/7", "sub")),
        ("hf://org/name@feature%2Fx/sub", HubUri("org/name", "feature/x", "sub")),
        ("oci://n/idqj/b/models/o/llama/8b", ObjectStorageUri("idqj", "models", "llama/8b")),
        ("oci://n/idqj/b/models/o/", ObjectStorageUri("idqj", "models", "")),
        ("oci://idqj@us-chicago-1/models/llama/8b/", ObjectStorageUri("idqj", "models", "llama/8b", "us-chicago-1")),
        ("pvc://claim/models/llama", PvcUri(None, "claim", "models/llama")),
        ("pvc://team-a:claim/models", PvcUri("team-a", "claim", "models")),
        ("local:///models/llama", LocalUri(Path("/models/llama"))),
        ("local://models/llama", LocalUri(Path("/stack/models/llama"))),
        ("local://../models", LocalUri(Path("/models"))),
        ("vendor://cohere/models/command-r", VendorUri("cohere", "models", "command-r")),
        ("https://models.example.com/llama/", HttpsUri("https://models.example.com/llama")),
    ],
)
def test_parts(text: str, expected: object) -> None:
    assert parse_uri(text, Path("/stack")) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("meta-llama/Llama-3.1-8B", "no model URI"),
        ("hf:///name", "no name of a repository"),
        ("hf://org/na me", "no name of a repository"),
        ("hf://org/name@", "revision after @ is empty"),
        ("hf://org/name@main/../../other", "leads out"),
        ("huggingface://org/name", "unknown scheme"),
        ("hff://org/name", 'did you mean "hf"'),
        ("s3://bucket/key", "unknown scheme"),
        ("oci://n/ns/b/bucket", "not all given"),
        ("oci://n//b/bucket/o/x", "is empty"),
        ("oci://ns@nowhere/bucket/x", "no region"),
        ("pvc://claim", "path inside the claim is missing"),
        ("pvc://Claim_1/path", "no name of a PersistentVolumeClaim"),
        ("pvc://:claim/path", "no name of a namespace"),
        ("pvc://claim/a/../../b", "leads out"),
        ("local://", "path is missing"),
        ("vendor://cohere/model", "not all given"),
        ("https:///path", "host is missing"),
        ("https://user:secret@host/path", "password in a URI"),
        ("https://host/path?sig=secret", "query or fragment"),
        ("hf://org/name\x1b[2J", "control character"),
    ],
)
def test_malformed_names_place_and_remedy(text: str, said: str) -> None:
    with pytest.raises(ProblemsError) as raised:
        parse_uri(text, Path("/stack"), "models.yaml:7")
    (problem,) = raised.value.problems
    assert problem.where == "models.yaml:7"
    assert problem.path == "storageUri"
    assert said in str(problem)
    assert "secret" not in str(problem)
    assert problem.remedy


def test_every_uri_of_the_catalogue_parses() -> None:
    if not OME_DATA.is_dir():
        pytest.skip("OME's catalogue is not beside the project")
    uris = {
        line.split("storageUri:", 1)[1].strip().strip("\"'")
        for path in OME_DATA.rglob("*.yaml")
        for line in path.read_text().splitlines()
        if line.strip().startswith("storageUri:")
    }
    assert len(uris) > 150
    for uri in sorted(uris):
        parse_uri(uri, Path("/stack"))


def test_a_password_is_not_repeated() -> None:
    for text in ("https://user:secret@host/path", "https://host/path?sig=secret"):
        with pytest.raises(ProblemsError) as raised:
            parse_uri(text, Path("/stack"))
        assert "secret" not in str(raised.value)
        assert "host" in str(raised.value)
