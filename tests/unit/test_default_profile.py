"""The `default` profile: what is selected, in which order, why not, and what stays unknown."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ome_iac.hardware import shapes
from ome_iac.models.metadata import Capability, ModelMetadata
from ome_iac.planning.default_profile import Check, Question, Selection, check, select
from ome_iac.planning.ome_profile import as_applied
from ome_iac.planning.ome_profile.documents import MODELS, RUNTIMES
from ome_iac.spec.models import ModelDocument
from ome_iac.spec.runtimes import RuntimeDocument
from ome_iac.spec.services import InferenceService
from ome_iac.spec.validation import parse_as_written
from ome_iac.spec.yaml_documents import read_documents
from tests.unit.facts import decoder
from tests.unit.ome_documents import documents, entry, read, runtime, service, shared
from tests.unit.test_custom_runtime import SGLANG, container, model_named

MODEL = model_named("example/decoder")
SERVE = ("vllm", "serve", "$(MODEL_PATH)")


def serving(name: str, *flags: str, gpus: int = 1, namespace: str | None = None, **spec: Any) -> RuntimeDocument:
    """A vLLM runtime for any safetensors model, unless its spec says otherwise."""
    runner = container(*SERVE, *flags, gpus=gpus)
    body = {"supportedModelFormats": [entry()], "engineConfig": {"runner": runner}, **spec}
    return runtime(name, body, namespace)


def asked(read_: ModelMetadata | None = None, **more: Any) -> Question:
    return Question(MODEL, read_ or decoder("hf://example/decoder"), **more)


def reasons(selection: Selection, name: str) -> tuple[str, ...]:
    [found] = [rejection for rejection in selection.rejected if rejection.name == name]
    return found.reasons


def test_a_declared_runtime_that_fits_goes_before_our_own_engines_which_stand_beside_it() -> None:
    found = select(asked(), [serving("any")])
    assert found.selected == "any"
    assert found.error is None
    [first, *others] = found.candidates
    assert first.fit.shape in shapes()
    assert (first.fit.gpus, first.fit.split, first.fit.context_length) == (1, "TP 1", 131072)
    assert {candidate.declared for candidate in others} == {False}
    assert {"vllm", "sglang"} <= {candidate.name.split()[0] for candidate in others}


def test_without_a_declared_runtime_our_own_engines_serve() -> None:
    found = select(asked(), [])
    assert found.selected is not None
    assert found.selected.split()[0] in ("vllm", "sglang")


def test_price_decides_between_declared_ones_then_what_they_name() -> None:
    wide, narrow = serving("wide", "--tensor-parallel-size", "4", gpus=4), serving("narrow")
    named = serving("named", supportedModelFormats=[entry(modelArchitecture="LlamaForCausalLM")])
    names = [found.name for found in select(asked(), [wide, narrow, named]).candidates if found.declared]
    assert names == ["named", "narrow", "wide"]
    ranged = serving("ranged", modelSizeRange={"min": "7B", "max": "9B"})
    wider = serving("wider", modelSizeRange={"min": "1B", "max": "9B"})
    names = [found.name for found in select(asked(), [serving("any"), wider, ranged]).candidates if found.declared]
    assert names == ["ranged", "wider", "any"]


def test_priority_is_the_author_s_word_and_goes_before_price() -> None:
    dear = serving("dear", "-tp", "4", gpus=4, supportedModelFormats=[entry(priority=3)])
    assert select(asked(), [serving("cheap"), dear]).selected == "dear"


def test_the_matching_entry_must_be_open_to_selection() -> None:
    """OME takes autoSelect of any entry, and the best score of any."""
    closed = {"modelFormat": {"name": "safetensors"}, "autoSelect": False, "modelArchitecture": "LlamaForCausalLM"}
    leaky = serving("leaky", supportedModelFormats=[closed, entry(modelArchitecture="Other", priority=9)])
    assert reasons(select(asked(), [leaky]), "leaky") == (
        "it is not open to selection (autoSelect is not true): name it to use it",
    )
    assert check(asked(), "leaky", [leaky]).valid


def test_another_model_s_runtime_is_never_selected() -> None:
    others = [
        serving("served", "--served-model-name", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B"),
        serving("sized", modelSizeRange={"min": "60B", "max": "75B"}),
        serving("built", supportedModelFormats=[entry(modelArchitecture="Qwen2ForCausalLM")]),
        serving("vllm-llama-3-2-3b", supportedModelFormats=[entry(modelArchitecture="LlamaForCausalLM")]),
    ]
    found = select(asked(), others)
    assert not any(candidate.declared for candidate in found.candidates)
    assert reasons(found, "sized") == ("serves 60B to 75B parameters, the model has 8.03B",)
    assert reasons(found, "vllm-llama-3-2-3b") == (
        "its name is another model's, not that of decoder: name it to use it",
    )
    assert not check(asked(), "served", others).valid
    assert check(asked(), "vllm-llama-3-2-3b", others).valid


def test_a_runtime_that_holds_the_model_nowhere_is_refused_with_numbers() -> None:
    small = serving("small", "--gpu-memory-utilization", "0.05")
    [reason] = reasons(select(asked(), [small]), "small")
    assert "fits none of " in reason
    assert "GiB per GPU" in reason
    wide = serving("wide", gpus=16)
    assert "a pod asks for 16 GPUs" in reasons(select(asked(), [wide]), "wide")[0]
    odd = serving("odd", "-tp", "3", gpus=3)
    assert "TP 3: 32 attention heads are not divisible by 3" in reasons(select(asked(), [odd]), "odd")


def test_vllm_does_not_start_where_its_context_does_not_fit_sglang_shortens_it() -> None:
    on_a10: dict[str, Any] = {"acceleratorRequirements": {"acceleratorClasses": ["A10"]}}
    [reason] = reasons(select(asked(), [serving("v", **on_a10)]), "v")
    assert "131,072 tokens need" in reason
    assert "it would not start" in reason
    command = ("python3", "-m", "sglang.launch_server", "--model-path", "$(MODEL_PATH)", "--mem-frac", "0.9")
    runner = container(*command, image=SGLANG)
    shortens = runtime("s", {"supportedModelFormats": [entry()], "engineConfig": {"runner": runner}, **on_a10})
    [found] = [candidate for candidate in select(asked(), [shortens]).candidates if candidate.declared]
    assert not found.fit.whole_context
    assert "shortened to" in found.score


def test_what_the_service_asks_for_counts() -> None:
    demanding = service({"intent": {"contextLength": 65536}, "runtime": {"name": "x"}})
    short = serving("short", "--max-model-len", "8192")
    assert reasons(select(asked(service=demanding), [short]), "short") == (
        "its command holds the context at 8,192 tokens, the service asks for 65,536",
    )
    many = service({"intent": {"contextLength": 65536, "concurrency": 5000}})
    [reason] = reasons(select(asked(service=many), [serving("one")]), "one")
    assert "of 5000 requests of 65,536 tokens" in reason


def test_accelerator_classes_and_constraints() -> None:
    on_h100 = service({"acceleratorSelector": {"acceleratorClass": "nvidia-h100-80gb"}})
    found = select(asked(service=on_h100), [serving("any")])
    assert {shapes()[candidate.fit.shape].gpu.name for candidate in found.candidates} == {"H100-80GB"}
    elsewhere = serving("elsewhere", acceleratorRequirements={"acceleratorClasses": ["A10"]})
    assert "it does not run on accelerator class nvidia-h100-80gb" in reasons(
        select(asked(service=on_h100), [elsewhere]), "elsewhere"
    )
    large = service({"acceleratorSelector": {"constraints": {"minMemory": 141}}})
    for candidate in select(asked(service=large), [serving("any")]).candidates:
        assert shapes()[candidate.fit.shape].gpu.memory_bytes >= 141 * 10**9
    none = service({"acceleratorSelector": {"constraints": {"minMemory": 9999}}})
    assert select(asked(service=none), [serving("any")]).selected is None


def test_a_prefill_decode_runtime_needs_a_service_with_a_decoder() -> None:
    def half(mode: str) -> dict[str, Any]:
        command = (
            "python3",
            "-m",
            "sglang.launch_server",
            "--model-path",
            "$(MODEL_PATH)",
            "--disaggregation-mode",
            mode,
        )
        return {"runner": container(*command, image=SGLANG)}

    body = {"supportedModelFormats": [entry()], "engineConfig": half("prefill"), "decoderConfig": half("decode")}
    apart = runtime("apart", body)
    assert reasons(select(asked(), [apart]), "apart") == (
        "it runs prefill and decode apart: a service with a decoder must ask for it",
    )
    assert "the service has no decoder" in reasons(select(asked(service=service({})), [apart]), "apart")[0]
    assert select(asked(service=service({"decoder": {"minReplicas": 1}})), [apart]).selected == "apart"
    together = reasons(select(asked(service=service({"decoder": {"minReplicas": 1}})), [serving("t")]), "t")
    assert together == ("the service has a decoder, it runs prefill and decode together",)


def test_grpc_is_spoken_to_a_router() -> None:
    runner = container("python3", "-m", "sglang.launch_server", "--model-path", "m", "--grpc-mode", image=SGLANG)
    grpc = runtime("grpc", {"supportedModelFormats": [entry()], "engineConfig": {"runner": runner}})
    assert "speaks gRPC to a router" in reasons(select(asked(), [grpc]), "grpc")[0]
    assert select(asked(service=service({"router": {"minReplicas": 1}})), [grpc]).selected == "grpc"


def test_the_namespace_of_the_service_is_in_reach_and_no_other() -> None:
    mine, theirs = serving("mine", namespace="ns"), serving("theirs", namespace="other")
    found = select(asked(service=service({})), [mine, theirs])
    assert found.selected == "mine"
    assert "namespace-scoped" in found.candidates[0].score
    assert "theirs" not in {rejection.name for rejection in found.rejected}
    assert not check(asked(service=service({})), "theirs", [mine, theirs]).valid


def test_an_embedding_model_gets_no_runtime_that_generates() -> None:
    model = decoder("hf://example/decoder").model_copy(update={"capabilities": (Capability.EMBEDDING,)})
    chat = serving("chat", "--runner", "generate")
    assert "its command makes the engine generate, the model is for embed" in reasons(
        select(asked(model), [chat]), "chat"
    )


def test_what_was_not_read_is_never_guessed() -> None:
    question = Question(MODEL, None, "`ome-iac model inspect hf://example/decoder --json`")
    other = serving("other", "--served-model-name", "other/Llama-70B")
    found = select(question, [serving("any"), other])
    assert (found.selected, found.candidates) == (None, ())
    assert found.error is not None
    assert found.error.startswith("unknown: nothing was read of decoder; fetch it with: `ome-iac model inspect hf://")
    assert "another model's name" in reasons(found, "other")[0]
    named = check(question, "any", [serving("any"), other])
    assert (named.valid, named.reasons, named.error) == (True, (), None)
    assert named.fit is not None
    assert named.fit.startswith("unknown: ")
    assert not check(question, "other", [serving("any"), other]).valid
    ours = check(question, "vllm", [])
    assert (ours.valid, ours.fit) == (True, question.unknown)


def test_declared_facts_alone_refuse_what_they_contradict_and_what_they_leave_open() -> None:
    body = {"modelFormat": {"name": "safetensors"}, "modelArchitecture": "LlamaForCausalLM", "modelParameterSize": "8B"}
    stated = read({"kind": "ClusterBaseModel", "metadata": {"name": "m"}, "spec": body}, MODELS, ModelDocument)
    fitting = serving("fitting", supportedModelFormats=[entry(modelArchitecture="LlamaForCausalLM")])
    larger = serving("larger", modelSizeRange={"min": "60B", "max": "75B"})
    fp8 = serving("fp8", supportedModelFormats=[entry(quantization="fp8")])
    found = select(Question(stated), [fitting, larger, fp8])
    assert found.selected == "fitting"
    assert found.candidates[0].score.startswith("fit unknown: nothing was read of the model")
    assert reasons(found, "larger") == ("serves 60B to 75B parameters, the model has 8.00B",)
    assert reasons(found, "fp8") == ("the model's quantization is not known, it serves fp8",)
    assert check(Question(stated), "fp8", [fp8]) == Check(
        True, fit="unknown: the model's quantization is not known, it serves fp8; nothing was read of the model"
    )


def test_a_runtime_without_known_engine_comes_after_all_that_are_proven() -> None:
    own = container("my-server", image="registry.example/own:1")
    unknown = runtime("unknown", {"supportedModelFormats": [entry()], "engineConfig": {"runner": own}})
    found = select(asked(), [unknown, serving("any")])
    assert found.selected == "any"
    assert found.candidates[-1].name == "unknown"
    assert "fit unknown: how what registry.example/own:1 runs uses memory is not known" in found.candidates[-1].score


def test_our_own_engines_may_be_named_with_a_version() -> None:
    assert check(asked(), "vllm", []).valid
    assert check(asked(), "vllm==0.19.0", []).valid
    wrong = check(asked(), "vllm==0.1.0", [])
    assert (wrong.valid, wrong.error) == (False, wrong.reasons[0])
    assert "the nearest is vllm==0.8.0" in wrong.reasons[0]
    assert 'did you mean "sglang"?' in check(asked(), "sglan", []).reasons[0]


def test_a_disabled_model_is_served_by_nothing() -> None:
    off = Question(model_named("example/decoder", disabled=True), decoder())
    assert select(off, [serving("any")]).error == "the model decoder is disabled"
    assert not check(off, "any", [serving("any")]).valid


def test_a_model_that_fits_nowhere_is_refused_in_words() -> None:
    model = decoder("hf://example/decoder", parameters=100_000_000_000_000)
    found = select(asked(model), [serving("any")])
    assert found.selected is None
    assert found.error is not None
    assert found.error.startswith("no runtime serves decoder: any: fits none of ")
    assert "; vllm 0" in found.error


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "supportedModelFormats": st.lists(
            st.sampled_from(
                [
                    entry(),
                    entry(priority=2),
                    entry(modelArchitecture="LlamaForCausalLM"),
                    entry(modelArchitecture="Qwen2ForCausalLM"),
                    entry(quantization="fp8"),
                    {"modelFormat": {"name": "safetensors"}},
                ]
            ),
            max_size=3,
        ),
        "modelSizeRange": st.sampled_from([{"min": "5B", "max": "9B"}, {"min": "60B", "max": "75B"}]),
        "disabled": st.booleans(),
    },
)
FLAGS = st.sampled_from([(), ("-tp", "2"), ("--max-model-len", "8192"), ("--served-model-name", "other/Llama-70B")])
MANY = st.lists(
    st.tuples(
        st.sampled_from("abcd"), FLAGS, SPECS, st.sampled_from([1, 2, 16]), st.sampled_from([None, "ns", "other"])
    ),
    max_size=6,
).map(
    lambda drawn: [
        serving(name, *flags, gpus=gpus, namespace=space, **spec) for name, flags, spec, gpus, space in drawn
    ]
)


ON_H100 = service({"acceleratorSelector": {"acceleratorClass": "H100-80GB"}})
QUESTIONS = st.sampled_from([Question(MODEL, service=service({})), Question(MODEL), asked(service=ON_H100)])


@settings(max_examples=40, deadline=None)
@given(MANY, st.randoms(use_true_random=False), QUESTIONS)
def test_the_order_of_runtimes_never_matters(runtimes: Any, random: Any, question: Question) -> None:
    shuffled = list(runtimes)
    random.shuffle(shuffled)
    assert select(question, shuffled) == select(question, runtimes)
    for name in {document.name for document in runtimes}:
        assert check(question, name, shuffled) == check(question, name, runtimes)


@settings(max_examples=40, deadline=None)
@given(MANY, st.sampled_from([Question(MODEL, service=service({})), asked(service=ON_H100)]))
def test_every_runtime_in_reach_is_a_candidate_or_has_a_reason(runtimes: Any, question: Question) -> None:
    found = select(question, runtimes)
    declared = [c.name for c in found.candidates if c.declared] + [r.name for r in found.rejected if r.declared]
    assert sorted(declared) == sorted(d.name for d in runtimes if d.metadata.namespace != "other")
    assert all(rejection.reasons for rejection in found.rejected)
    assert [candidate.rank for candidate in found.candidates] == sorted(c.rank for c in found.candidates)
    assert found.selected == (found.candidates[0].name if found.candidates else None)
    assert (found.error is None) == bool(found.candidates)
    if len(runtimes) == 1 and found.candidates and found.candidates[0].declared:
        assert check(question, found.candidates[0].name, runtimes).valid


def test_services_of_ome_s_that_name_a_runtime() -> None:
    """99 samples name one; by what the documents declare three of them cannot work, and OME's webhook admits all."""
    known = as_applied(documents(shared("ome/runtimes"), RUNTIMES, RuntimeDocument))
    models = {found.name: found for found in documents(shared("ome/models"), MODELS, ModelDocument)}
    refused, valid = set(), 0
    for path in sorted(shared("ome/samples").rglob("*.yaml")):
        for raw in read_documents(path, path.name, []):
            asking = parse_as_written(raw, []) if raw.data.get("kind") == "InferenceService" else None
            if isinstance(asking, InferenceService) and asking.spec.runtime and asking.spec.model.name in models:
                question = Question(models[asking.spec.model.name], None, "fetch", asking)
                found = check(question, asking.spec.runtime.name, known)
                valid += found.valid
                if not found.valid:
                    refused.add((asking.name, found.reasons))
    assert valid == 96
    assert {reason.partition(";")[0] for _, given in refused for reason in given} == {
        "its command serves the model as deepseek-ai/DeepSeek-V3, which is another model's name",
        "runs on none of 28 shapes",
        "the service has a decoder, it runs prefill and decode together",
    }
