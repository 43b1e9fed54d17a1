"""What measured runs say of the memory ledger; run with -s to see every error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ome_iac.hardware import GIB
from tests.unit.ground_truth import BEFORE_017, BEYOND, MUST_FAIL, VLLM_019, Run, lines, table

ROOT = Path(__file__).parents[2]


def name(run: Run) -> str:
    return f"{run.name} {run.version} {run.split}"


def part(run: Run, line: str) -> float:
    [found] = [item.bytes / GIB for item in run.ledger().lines if item.name == line]
    return found


def test_the_error_table() -> None:
    for runs in (VLLM_019, BEFORE_017, MUST_FAIL, BEYOND):
        print("\n" + "\n".join(lines(table(runs))))


@pytest.mark.parametrize("run", [*BEFORE_017, *MUST_FAIL, *VLLM_019, *BEYOND], ids=name)
def test_every_verdict_is_right(run: Run) -> None:
    assert run.ledger().fits is run.fits


@pytest.mark.parametrize("run", VLLM_019, ids=name)
def test_vllm_019_keeps_so_much_for_the_kv_cache(run: Run) -> None:
    ledger = run.ledger()
    assert run.measured_kv is not None
    assert ledger.kv_cache / GIB == pytest.approx(run.measured_kv, abs=0.5)
    if run.tokens is not None:
        assert ledger.kv_tokens == pytest.approx(run.tokens, rel=0.02)


@pytest.mark.parametrize("run", [run for run in (*BEFORE_017, *VLLM_019, *BEYOND) if run.weights], ids=name)
def test_weights_are_the_measured_ones(run: Run) -> None:
    assert part(run, "weights") == pytest.approx(run.weights, abs=0.25)


@pytest.mark.parametrize("run", [*VLLM_019, *BEYOND], ids=name)
def test_activation_and_runtime_of_every_kind_of_model(run: Run) -> None:
    assert part(run, "activation") == pytest.approx(run.activation, abs=0.25)
    assert part(run, "nonTorch") == pytest.approx(run.non_torch, abs=0.1)


def test_the_page_shows_these_runs() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate_sizing.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
