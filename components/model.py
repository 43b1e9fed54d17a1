"""`Model`: what was read of a model, as a resource whose inputs show in every preview."""

from __future__ import annotations

import pulumi

from ome_iac.hardware import GIB
from ome_iac.planning.plan import ModelPlan


class Model(pulumi.ComponentResource):
    """A model. It holds no children yet: the weights are fetched by the engine or lie on the node."""

    revision: pulumi.Output[str | None]

    def __init__(self, name: str, args: ModelPlan, opts: pulumi.ResourceOptions | None = None) -> None:
        facts = args.metadata
        inputs = {
            "kind": args.kind,
            "source": facts.source,
            "revision": facts.revision,
            "architecture": facts.architecture,
            "parameters": facts.parameters.total if facts.parameters else None,
            "weightsGiB": round(facts.weights.bytes / GIB, 2) if facts.weights else None,
            "quantization": facts.quantization.method if facts.quantization else None,
            "contextLength": facts.context_length,
            "notes": list(args.notes),
            "capabilities": [str(capability) for capability in facts.capabilities],
        }
        super().__init__("ome-iac:index:Model", name, inputs, opts)
        self.revision = pulumi.Output.from_input(facts.revision)
        self.register_outputs({"source": facts.source, "revision": self.revision})
