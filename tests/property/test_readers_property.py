"""Strangers' files, whatever they hold: a reading or a ProblemsError, never anything else."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ome_iac.models.uri import GRAMMAR, parse_uri
from ome_iac.problems import ProblemsError
from tests.fuzz.targets import TARGETS, corpus
from tests.published_models import DEEPSEEK_V3, GPT_OSS_120B, LLAMA_TINY, QWEN_2_5_7B_AWQ

patient = settings(deadline=None)
SMALL_DEEPSEEK = DEEPSEEK_V3 | {"n_routed_experts": 8}
FILES = [(name, path) for name in sorted(TARGETS) for path in corpus(name)]

anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(("target", "path"), FILES, ids=[f"{name}-{path.name}" for name, path in FILES])
def test_the_kept_corpus(target: str, path: Path) -> None:
    TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", sorted(TARGETS))
@patient
@given(st.data())
def test_changed_files_of_the_corpus(target: str, data: st.DataObject) -> None:
    content = data.draw(st.sampled_from([path.read_bytes() for path in corpus(target)]))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 8))
        content = content[:position] + data.draw(st.binary(max_size=8)) + content[position + length :]
    TARGETS[target](content)


@pytest.mark.parametrize("target", sorted(TARGETS))
@patient
@given(content=st.binary(max_size=300))
def test_any_bytes(target: str, content: bytes) -> None:
    TARGETS[target](content)


@patient
@given(st.data())
def test_configs_with_values_of_any_kind(data: st.DataObject) -> None:
    config = dict(data.draw(st.sampled_from([LLAMA_TINY, QWEN_2_5_7B_AWQ, GPT_OSS_120B, SMALL_DEEPSEEK])))
    for key in data.draw(st.lists(st.sampled_from(sorted(config)), min_size=1, max_size=4)):
        config[key] = data.draw(anything)
    TARGETS["config"](json.dumps(config).encode("utf-8", "surrogatepass"))


@patient
@given(st.sampled_from(sorted(GRAMMAR)), st.text(max_size=60))
def test_any_uri(scheme: str, rest: str) -> None:
    for text in (rest, f"{scheme}://{rest}"):
        said = ""
        try:
            parse_uri(text, Path("/stack"))
        except ProblemsError as error:
            said = str(error)
        assert said.isprintable()
