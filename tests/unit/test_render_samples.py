"""OME's sample services: each is rendered or refused with its reason, and the page says so."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.ome_documents import shared

DOCS = Path(__file__).parents[2] / "docs"
SAMPLES = 148


@pytest.fixture(scope="module")
def page() -> ModuleType:
    for folder in ("hf-configs", "ome/models", "ome/runtimes", "ome/samples"):
        shared(folder)
    spec = importlib.util.spec_from_file_location("generate_samples", DOCS / "generate_samples.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(page: ModuleType) -> list[Any]:
    return list(page.rows(page.catalogue()))


def test_every_sample_is_rendered_or_says_why_not(page: ModuleType, rows: list[Any]) -> None:
    assert len(rows) == SAMPLES
    assert all(bool(one.made) != bool(one.reasons) for one in rows)
    assert all(one.group for one in rows if not one.made)
    text = page.render(rows, page.catalogue())
    assert f"**Rendered: {sum(bool(one.made) for one in rows)} of {SAMPLES}." in text
    assert text.count("\n| `") == SAMPLES
    assert text == (DOCS / "reference" / "samples.md").read_text()


def test_a_model_that_nobody_read_says_what_to_fetch(page: ModuleType, rows: list[Any]) -> None:
    unknown = [one for one in rows if one.group == page.UNKNOWN]
    assert unknown
    assert all("`ome-iac model inspect hf://" in one.reasons[0] for one in unknown)


def test_absent_data_leaves_the_page_as_it_is(
    page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "DATA", tmp_path)
    monkeypatch.setattr(page, "PAGE", tmp_path / "samples.md")
    assert page.main() == 0
    assert "is left as it is: ../shared/data has no hf-configs" in capsys.readouterr().err
    assert not (tmp_path / "samples.md").exists()
