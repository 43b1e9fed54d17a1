"""What holds of the `ome` profile for all documents."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ome_iac.planning.ome_profile import check, select
from ome_iac.planning.ome_profile.sizes import parse_size
from ome_iac.planning.ome_profile.versions import accepts
from ome_iac.spec.sizes import nearest_size, parameters
from tests.unit.ome_documents import model, runtime, service

OPERATORS = st.sampled_from([None, "Equal", "GreaterThan", "GreaterThanOrEqual", "LessThan"])
VERSIONS = st.one_of(
    st.none(),
    st.sampled_from(["1", "v1", "1.0.0", "4.51.0", "4.51", "4.51.0.dev0", "4.51.0-rc1", "4.x"]),
    st.tuples(*[st.integers(0, 3)] * 3).map(lambda numbers: ".".join(map(str, numbers))),
)
SIZES = st.sampled_from(["0.6B", "7B", "7000M", "8B", "70B", "1T", "7b", "8x7B", "629.15K"])
OFFICIAL = st.tuples(*[st.integers(0, 12)] * 3).map(lambda numbers: ".".join(map(str, numbers)))


def set_fields(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields; those that come out None are left out."""
    return st.fixed_dictionaries(fields).map(lambda drawn: {k: v for k, v in drawn.items() if v is not None})


def versioned(*names: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return set_fields(name=st.sampled_from(names), version=VERSIONS, **more)


WEIGHTED = {"operator": OPERATORS, "weight": st.sampled_from([None, 0, 1, 7])}
FACTS = {
    "modelArchitecture": st.sampled_from([None, "A", "B"]),
    "quantization": st.sampled_from([None, None, "fp8"]),
}
MODELS = set_fields(
    modelFormat=versioned("safetensors", "onnx"),
    modelFramework=st.none() | versioned("transformers"),
    modelParameterSize=st.none() | SIZES,
    **FACTS,
)
ENTRIES = set_fields(
    modelFormat=st.none() | versioned("safetensors", "onnx", **WEIGHTED),
    modelFramework=st.none() | versioned("transformers", **WEIGHTED),
    autoSelect=st.sampled_from([None, True, True, False]),
    priority=st.sampled_from([None, 0, 1, 2, 9]),
    **FACTS,
)
SPECS = set_fields(
    supportedModelFormats=st.lists(ENTRIES, max_size=3),
    modelSizeRange=st.none() | st.fixed_dictionaries({"min": SIZES, "max": SIZES}),
    disabled=st.sampled_from([None, None, True]),
    acceleratorRequirements=st.sampled_from([None, {"acceleratorClasses": ["h100"]}]),
)
RUNTIMES = st.lists(
    st.tuples(st.sampled_from("abcd"), SPECS, st.sampled_from([None, "ns", "other"])),
    max_size=6,
    unique_by=lambda drawn: (drawn[0], drawn[2]),
).map(lambda drawn: [runtime(*one) for one in drawn])
SERVICES = st.sampled_from([None, "h100", "a100"]).map(
    lambda wanted: service({}, {"ome.io/accelerator-class": wanted} if wanted else {})
)


@given(MODELS, RUNTIMES, SERVICES, st.randoms(use_true_random=False))
def test_the_order_of_runtimes_never_matters(wanted: Any, runtimes: Any, asking: Any, random: Any) -> None:
    shuffled = list(runtimes)
    random.shuffle(shuffled)
    assert select(model(**wanted), shuffled, asking) == select(model(**wanted), runtimes, asking)


@given(MODELS, RUNTIMES, SERVICES)
def test_each_runtime_in_reach_is_a_candidate_or_has_a_reason(wanted: Any, runtimes: Any, asking: Any) -> None:
    chosen = select(model(**wanted), runtimes, asking)
    reach = sorted((r.KIND != "ServingRuntime", r.name) for r in runtimes if r.metadata.namespace != "other")
    assert (
        sorted([(c.cluster, c.name) for c in chosen.candidates] + [(r.cluster, r.name) for r in chosen.rejected])
        == reach
    )
    assert all(rejection.reasons for rejection in chosen.rejected)
    assert chosen.selected == (chosen.candidates[0].name if chosen.candidates else None)
    assert (chosen.error is None) == bool(chosen.candidates)


@given(MODELS, RUNTIMES, SERVICES)
def test_a_candidate_may_be_named_too(wanted: Any, runtimes: Any, asking: Any) -> None:
    for candidate in select(model(**wanted), runtimes, asking).candidates:
        same_scope = [r for r in runtimes if (r.KIND != "ServingRuntime") == candidate.cluster]
        assert check(model(**wanted), candidate.name, same_scope, asking).valid


@given(MODELS, RUNTIMES, SERVICES)
def test_scores_fall_within_a_scope_and_the_namespace_goes_first(wanted: Any, runtimes: Any, asking: Any) -> None:
    places = [(found.cluster, -found.score) for found in select(model(**wanted), runtimes, asking).candidates]
    assert places == sorted(places)


@given(MODELS, SPECS, SPECS, st.integers(1, 50))
def test_more_priority_never_makes_a_runtime_lose(wanted: Any, ours: Any, other: Any, more: int) -> None:
    raised = {**ours, "supportedModelFormats": [dict(e) for e in ours["supportedModelFormats"]]}
    for entry in raised["supportedModelFormats"]:
        entry["priority"] = entry.get("priority", 1) + more
    before = select(model(**wanted), [runtime("ours", ours), runtime("other", other)])
    after = select(model(**wanted), [runtime("ours", raised), runtime("other", other)])
    if before.selected == "ours":
        assert after.selected == "ours"


@given(MODELS, RUNTIMES, SPECS)
def test_one_runtime_more_changes_nothing_about_the_others(wanted: Any, runtimes: Any, more: Any) -> None:
    before = select(model(**wanted), runtimes, namespace="ns")
    after = select(model(**wanted), [*runtimes, runtime("extra", more)], namespace="ns")
    assert [found for found in after.candidates if found.name != "extra"] == list(before.candidates)
    assert [found for found in after.rejected if found.name != "extra"] == list(before.rejected)


@given(OFFICIAL, OFFICIAL)
def test_official_versions_are_ordered(ours: str, theirs: str) -> None:
    """Exactly one of less, equal, greater."""
    equal, greater = accepts(ours, "Equal", theirs), accepts(ours, "GreaterThan", theirs)
    less = accepts(theirs, "GreaterThan", ours)
    assert [equal, greater, less].count(True) == 1
    assert accepts(ours, "GreaterThanOrEqual", theirs) is (equal or greater)


@given(st.text(max_size=12), st.text(max_size=12), OPERATORS)
def test_no_text_is_too_odd(one: str, other: str, operator: str | None) -> None:
    assert accepts(one, operator, other) in (True, False)
    assert isinstance(parse_size(one), float)
    assert nearest_size(one)


@given(st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3})?[TBM]?", fullmatch=True))
def test_legal_sizes_are_read_alike(text: str) -> None:
    assert parameters(text) == parse_size(text)
