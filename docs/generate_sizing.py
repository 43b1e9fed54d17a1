"""Write docs/reference/sizing.md from the measured runs; with --check, fail where the file is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the measured runs are the tests'

from docs.page import write_or_check
from tests.unit.ground_truth import BEFORE_017, BEYOND, MUST_FAIL, VLLM_019, Run, lines, table

PAGE = Path(__file__).parent / "reference" / "sizing.md"

INTRODUCTION = """\
# Sizing: what is measured and what we say

Generated from `tests/unit/ground_truth.py` by `docs/generate_sizing.py`; do not edit. Every cell is measured / ours
(error) in GiB on H100-80GB, of rank 0; the runs are llm-d-planner's. A pool that was not published is the budget less
its parts. All of these runs were used to fit the terms that are called fitted below: the errors are in-sample.

The Mistral row is in a document of vLLM 0.16 and before, with the activation of 0.17 and later: its version is not
told, and the error stays as it is."""

RULES = (
    (
        "weights",
        "bytes of the headers by role and layer; embedding on the first stage, head on the last; norms, routers and "
        "MLA's down-projections on every GPU; KV heads repeated beyond their number; experts by EP or TP; rotary table",
        "exact; the padding of MXFP4 experts is fitted",
    ),
    ("weights, `--quantization fp8`", "linear layers one byte, embeddings and head as they are", "exact"),
    (
        "activation",
        "the larger of the sampler (sequences x vocabulary x 14 B, 38 B before 0.17, on the last stage) and an MLP "
        "(tokens x (3 x inner / TP + 4 x hidden)); the workspace of experts",
        "terms read in the source, sizes fitted",
    ),
    (
        "nonTorch",
        "by GPUs of a stage: 0.25, 2.07, 2.15 GiB; 0.13 and 0.55 before 0.18",
        "means of runs; assumed from 8 GPUs on",
    ),
    ("cudaGraph", "1.04 GiB, inside of the budget from 0.21", "mean of runs; its place is read in the source"),
    (
        "KV cache",
        "blocks of 16 tokens; groups of one kind of layer with equal bytes; sliding layers keep the window and what is "
        "in flight; MLA is repeated over TP",
        "read in the source of 0.19.0 and 0.33.0",
    ),
    (
        "SGLang",
        "`mem_fraction_static` by the rule in its source; the runtime's part is assumed",
        "no measured run is held against it",
    ),
)


def render() -> str:
    """The page, Markdown."""
    return "\n\n".join(
        [
            INTRODUCTION,
            _section("vLLM 0.19", VLLM_019),
            _section("vLLM 0.16 and before", BEFORE_017),
            _section("Runs that must fail", MUST_FAIL),
            _section("Other versions and kinds of models", BEYOND),
            "\n".join(["## Where each line comes from", "", *lines([["Line", "Rule", "Grounds"], *map(list, RULES)])])
            + "\n",
        ]
    )


def _section(title: str, runs: tuple[Run, ...]) -> str:
    return "\n".join([f"## {title}", "", *lines(table(runs))])


def main() -> int:
    """Write or check the page; 1 where the check fails."""
    return write_or_check(PAGE, render(), "generate_sizing.py")


if __name__ == "__main__":
    sys.exit(main())
