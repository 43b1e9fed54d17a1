"""Cohere's models on vLLM.

OME knows a runtime of Cohere's own: it treats its fine-tuned weights (T-Few) apart. That container is Oracle's and
Cohere's, neither published nor documented, so it cannot be planned. What is public serves the open weights (Command,
Aya) by vLLM, which answers Cohere's own API too (`/cohere/v2/chat`, `/v2/embed`, `/v2/rerank`); a container of one's
own is declared as a ServingRuntime.
"""

from __future__ import annotations

from packaging.version import Version

from ome_iac.models.metadata import Capability
from ome_iac.runtimes.catalog import Catalog
from ome_iac.runtimes.engines.base import Launch
from ome_iac.runtimes.engines.vllm import Vllm

PARSERS_SINCE = Version("0.33.0")
"""vLLM has Cohere's parsers for tools and reasoning (read there; 0.19.0 has none)."""
PARSERS = {
    "Cohere2ForCausalLM": "cohere_command3",
    "Cohere2VisionForConditionalGeneration": "cohere_command3",
    "Cohere2MoeForCausalLM": "cohere_command4",
}
"""By architecture: Command A speaks the third format, Command A+ the fourth (`cohere_format` in cli_args.py)."""


class Cohere(Vllm):
    """vLLM, for Cohere's architectures and with Cohere's parsers."""

    catalogued_as = "vllm"
    only_when_named = "it is vLLM, which is looked at anyway; Cohere's own container is not public"

    def __init__(self, catalog: Catalog, notes: tuple[str, ...] = ()) -> None:
        kept = {
            task: frozenset(name for name in names if name.startswith(("Cohere", "AyaVision")))
            for task, names in catalog.architectures.items()
        }
        super().__init__(catalog.model_copy(update={"architectures": kept}), notes)

    @property
    def name(self) -> str:
        """Whose image it is."""
        return f"cohere ({self.catalog.name})"

    def command(self, launch: Launch) -> tuple[str, ...]:
        """vLLM's, with the parsers of the model's format."""
        parser = PARSERS.get(launch.model.architecture or "")
        if parser is None or self.version < PARSERS_SINCE:
            return super().command(launch)
        offered = launch.model.capabilities
        tools = ("--enable-auto-tool-choice", "--tool-call-parser", parser) if Capability.TOOLS in offered else ()
        reasoning = ("--reasoning-parser", parser) if Capability.REASONING in offered else ()
        return (*super().command(launch), *tools, *reasoning)
