"""The `ome` profile: the answers recorded from OME's own selector, and its rules one by one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ome_iac.planning.ome_profile import Selection, as_applied, check, select
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES
from ome_iac.spec.models import ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument
from tests.unit.ome_documents import documents, entry, model, runtime, service, shared

SAFETENSORS = {"modelFormat": {"name": "safetensors"}}
PROBES = 47


def probes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shared("selection-probes.json").read_text())
    return found


def answer(probe: dict[str, Any]) -> dict[str, Any]:
    """Ours, in the form OME's was recorded in."""
    declared = model(**probe["model"])
    runtimes = [runtime(r["name"], r["spec"], "ns" if r["scope"] == "namespace" else None) for r in probe["runtimes"]]
    asking = service(probe.get("isvc", {}), probe.get("isvcAnnotations"))
    if "explicit" in probe:
        checked = check(declared, probe["explicit"], runtimes, asking)
        return {"valid": checked.valid} | ({"error": checked.error} if checked.error else {})
    chosen = select(declared, runtimes, asking)
    found = [{"name": c.name, "score": c.score, "cluster": c.cluster} for c in chosen.candidates]
    got: dict[str, Any] = {"candidates": found}
    if chosen.selected:
        got |= {"selected": chosen.selected, "score": chosen.candidates[0].score}
    if chosen.error:
        got["error"] = chosen.error
    return got


@pytest.mark.parametrize("number", range(PROBES))
def test_the_same_as_recorded(number: int) -> None:
    found = probes()
    assert len(found) == PROBES
    probe, recorded = found[number], found[number]["actual"]
    if "panic" in recorded:
        got = answer(probe)
        assert got.pop("error")
        assert got == {"candidates": []}
    else:
        # A model that OME refuses to look at was recorded without candidates.
        assert answer(probe) == {**({} if "valid" in recorded else {"candidates": []}), **recorded}


def reasons(chosen: Selection, name: str) -> tuple[str, ...]:
    [found] = [rejection.reasons for rejection in chosen.rejected if rejection.name == name]
    return found


def test_every_reason_is_given_ome_s_first_one_first() -> None:
    bad = runtime(
        "bad",
        {
            "disabled": True,
            "modelSizeRange": {"min": "1B", "max": "2B"},
            "supportedModelFormats": [{"modelFormat": {"name": "onnx"}, "quantization": "fp8"}],
        },
    )
    asking = service({"acceleratorSelector": {"acceleratorClass": "h100"}})
    chosen = select(model(**SAFETENSORS, modelParameterSize="7B"), [bad], asking)
    assert reasons(chosen, "bad") == (
        "runtime is disabled",
        "runtime does not support the required accelerator class",
        "model format 'mt:safetensors' not in supported formats: model has no quantization but runtime requires fp8, "
        "format name mismatch (model=safetensors, runtime=onnx)",
        "model size 7B is outside supported range [1B, 2B]",
        "no supported format has autoSelect: true",
    )
    assert chosen.error is not None
    assert chosen.error.endswith("Excluded runtimes: bad (runtime is disabled)")


def test_why_each_entry_does_not_match() -> None:
    entries = [
        entry("onnx", modelFramework={"name": "ort", "version": "1"}, modelArchitecture="B"),
        entry(modelFramework={"name": "transformers"}),
        {},
    ]
    wanted = model(modelFormat={"name": "safetensors"}, modelFramework={"name": "transformers", "version": "4.0.0"})
    chosen = select(wanted, [runtime("r", {"supportedModelFormats": entries})])
    assert reasons(chosen, "r") == (
        "model format 'mt:safetensors:transformers:4.0.0' not in supported formats: "
        "model has no architecture but runtime requires B, format name mismatch (model=safetensors, runtime=onnx), "
        "framework name mismatch (model=transformers, runtime=ort); "
        "model has framework version but runtime has no version requirement; "
        "model has framework transformers but runtime has no framework requirement",
    )


def test_a_label_names_everything_that_is_matched() -> None:
    wanted = model(
        modelFormat={"name": "safetensors", "version": "1.0.0"},
        modelArchitecture="A",
        quantization="fp8",
        modelFramework={"name": "transformers", "version": "4.51.0"},
    )
    chosen = select(wanted, [runtime("none", {})])
    assert reasons(chosen, "none")[0] == (
        "model format 'mt:safetensors:1.0.0:A:fp8:transformers:4.51.0' not in supported formats: "
        "no supported formats defined"
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        ({"className": "Flux"}, None, "diffusion pipeline required by runtime but not specified in model"),
        ({"className": "Flux"}, {}, "pipeline class mismatch (model=<nil>, runtime=Flux)"),
        ({"className": "Flux"}, {"className": "SD"}, "pipeline class mismatch (model=SD, runtime=Flux)"),
        ({"vae": {"type": "V"}}, {"className": "SD"}, "component vae required by runtime but not specified in model"),
        ({"vae": {"library": "d"}}, {"vae": {}}, "vae library mismatch (model=, runtime=d)"),
        (
            {"textEncoder": {"type": "A"}},
            {"textEncoder": {"type": "B"}},
            "textEncoder type mismatch (model=B, runtime=A)",
        ),
        ({"additionalComponents": {"x": {}}}, {}, "diffusion pipeline missing required additional components"),
        (
            {"additionalComponents": {"z": {}, "x": {}}},
            {"additionalComponents": {"z": {}}},
            "diffusion component x missing in model",
        ),
        ({}, {"className": "SD"}, None),
        ({"vae": {}}, {"vae": {"type": "V"}}, None),
        (None, {"className": "SD"}, None),
    ],
)
def test_diffusion_pipelines(ours: dict[str, Any] | None, theirs: dict[str, Any] | None, reason: str | None) -> None:
    wanted = model(**SAFETENSORS, diffusionPipeline=theirs)
    chosen = select(wanted, [runtime("r", {"supportedModelFormats": [entry(diffusionPipeline=ours)]})])
    if reason is None:
        assert chosen.selected == "r"
    else:
        assert reasons(chosen, "r") == (f"model format 'mt:safetensors' not in supported formats: {reason}",)


def test_an_entry_that_does_not_match_still_gives_its_score() -> None:
    entries = [
        {"modelFormat": {"name": "safetensors"}, "modelArchitecture": "A", "autoSelect": False},
        entry(modelArchitecture="B", priority=9),
    ]
    chosen = select(model(**SAFETENSORS, modelArchitecture="A"), [runtime("r", {"supportedModelFormats": entries})])
    assert [(c.name, c.score) for c in chosen.candidates] == [("r", 90)]


@pytest.mark.parametrize(
    ("weights", "priority", "score"),
    [
        ((None, None), None, 15),
        ((0, 0), 1, 15),
        ((1, 1), 1, 2),
        ((7, None), 3, 36),
        ((-20, None), 1, None),
        ((1, 1), 0, None),
    ],
)
def test_weights_and_priorities(
    weights: tuple[int | None, int | None], priority: int | None, score: int | None
) -> None:
    supported = {
        "modelFormat": {"name": "safetensors", "weight": weights[0]},
        "modelFramework": {"name": "transformers", "weight": weights[1]},
        "autoSelect": True,
        "priority": priority,
    }
    wanted = model(**SAFETENSORS, modelFramework={"name": "transformers"})
    chosen = select(wanted, [runtime("r", {"supportedModelFormats": [supported]})])
    assert [c.score for c in chosen.candidates] == ([] if score is None else [score])
    if score is None:
        assert reasons(chosen, "r") == ("no entry open to auto-selection has the model's format and framework",)


def test_of_equal_scores_the_narrower_range_wins_and_none_is_the_narrowest() -> None:
    def ranged(name: str, low: str, high: str) -> Any:
        return runtime(name, {"modelSizeRange": {"min": low, "max": high}, "supportedModelFormats": [entry()]})

    runtimes = [ranged("a-wide", "1B", "70B"), ranged("b-narrow", "6B", "8B"), ranged("c-narrow", "5B", "7B")]
    sized = model(**SAFETENSORS, modelParameterSize="7B")
    assert [c.name for c in select(sized, runtimes).candidates] == ["b-narrow", "c-narrow", "a-wide"]
    without = runtime("z", {"supportedModelFormats": [entry()]})
    assert select(sized, [*runtimes, without]).selected == "z"
    # With no size, ranges decide nothing.
    assert select(model(**SAFETENSORS), [*runtimes, without]).selected == "a-wide"


def test_two_malformed_sizes_match_each_other() -> None:
    odd = runtime("r", {"modelSizeRange": {"min": "7b", "max": "8x7B"}, "supportedModelFormats": [entry()]})
    assert select(model(**SAFETENSORS, modelParameterSize="abc"), [odd]).selected == "r"


@pytest.mark.parametrize("bounds", [{"min": "5B"}, {"max": "9B"}, {}])
def test_where_ome_panics_there_is_an_error(bounds: dict[str, str]) -> None:
    half = runtime("half", {"modelSizeRange": bounds, "supportedModelFormats": [entry()]})
    good = runtime("good", {"supportedModelFormats": [entry()]})
    sized = model(**SAFETENSORS, modelParameterSize="7B")
    chosen = select(sized, [good, half])
    assert (chosen.selected, chosen.candidates) == (None, ())
    assert chosen.error is not None
    assert "half" in chosen.error
    assert "modelSizeRange has no" in chosen.error
    checked = check(sized, "half", [good, half])
    assert not checked.valid
    assert checked.error is not None
    assert check(sized, "good", [good, half]).valid
    # It panics only where it comes to compare sizes.
    assert select(model(**SAFETENSORS), [good, half]).selected == "good"
    other = model(modelFormat={"name": "onnx"}, modelParameterSize="7B")
    assert "panic" not in (select(other, [half]).error or "panic")


def test_namespaces() -> None:
    supported = {"supportedModelFormats": [entry()]}
    runtimes = [runtime("mine", supported, "ns"), runtime("theirs", supported, "other"), runtime("all", supported)]
    chosen = select(model(**SAFETENSORS), runtimes, service({}))
    assert [(c.name, c.cluster) for c in chosen.candidates] == [("mine", False), ("all", True)]
    assert [c.name for c in select(model(**SAFETENSORS), runtimes, namespace="other").candidates] == ["theirs", "all"]
    missing = check(model(**SAFETENSORS), "theirs", runtimes, service({}))
    assert missing.error == "runtime theirs not found in namespace ns or at cluster scope"


def test_a_named_runtime_is_the_namespace_s_own_first() -> None:
    off = runtime("r", {"disabled": True, "supportedModelFormats": [entry()]}, "ns")
    on = runtime("r", {"supportedModelFormats": [{"modelFormat": {"name": "safetensors"}}]})
    refused = check(model(**SAFETENSORS), "r", [on, off], service({}))
    assert (refused.valid, refused.error) == (False, "namespace-scoped runtime r is disabled")
    # Auto-selection need not be open to it.
    assert check(model(**SAFETENSORS), "r", [on], service({})).as_json() == {
        "valid": True,
        "reasons": [],
        "error": None,
    }


def test_a_named_runtime_without_the_accelerator_is_refused_in_ome_s_words() -> None:
    plain = runtime("r", {"supportedModelFormats": [entry()]})
    asking = service({}, {"ome.io/accelerator-class": "h100"})
    refused = check(model(**SAFETENSORS), "r", [plain], asking)
    assert refused.error == "runtime r does not support model : runtime does not support the required accelerator class"


def test_all_demanded_accelerator_classes_must_be_listed() -> None:
    listing = {"acceleratorRequirements": {"acceleratorClasses": ["h100", "a100"]}, "supportedModelFormats": [entry()]}
    demands = {"acceleratorSelector": {"acceleratorClass": "h100"}}
    override = {"acceleratorOverride": {"acceleratorClass": "b200"}}
    both = [runtime("r", listing)]
    wanted = model(**SAFETENSORS)
    assert select(wanted, both, service(demands)).selected == "r"
    assert select(wanted, both, service(demands | {"engine": override})).selected is None
    assert select(wanted, both, service(demands | {"decoder": override})).selected is None
    assert select(wanted, both, service(demands, {"ome.io/accelerator-class": "b200"})).selected is None
    assert select(wanted, both, service({"acceleratorSelector": {"policy": "Cheapest"}})).selected == "r"


def test_of_two_scopes_of_one_name_the_cluster_s_reason_is_in_the_error() -> None:
    runtimes = [runtime("r", {"disabled": True}, "ns"), runtime("r", {"supportedModelFormats": [entry("onnx")]})]
    chosen = select(model(**SAFETENSORS), runtimes, service({}))
    assert chosen.error is not None
    assert chosen.error.count("r (") == 1
    assert "format name mismatch" in chosen.error
    assert [rejection.cluster for rejection in chosen.rejected] == [False, True]


def test_no_runtime_at_all() -> None:
    chosen = select(model(**SAFETENSORS), [])
    assert chosen.error == "no runtime found to support model safetensors with format safetensors in namespace default"


def test_the_last_of_one_name_is_what_a_cluster_holds() -> None:
    first, last = (runtime("r", {"modelSizeRange": {"min": low, "max": "9B"}}) for low in ("1B", "2B"))
    assert as_applied([first, runtime("q", {}), last]) == [last, runtime("q", {})]


def test_ome_finds_a_runtime_for_28_of_its_207_models() -> None:
    """And 166 of them it does not look at, because they declare no format."""
    runtimes = as_applied(documents(shared("ome/runtimes"), RUNTIMES, RuntimeDocument))
    answers = [select(m.spec, runtimes) for m in documents(shared("ome/models"), MODELS, ModelDocument)]
    assert (len(runtimes), len(answers)) == (203, 207)
    assert sum(answer.selected is not None for answer in answers) == 28
    assert sum("modelFormat.name" in (answer.error or "") for answer in answers) == 166
