"""`ome-iac model inspect`: what is known of a model, before anything is deployed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ome_iac.cli.options import Json
from ome_iac.models.metadata import Attention, ModelMetadata, Source
from ome_iac.models.read import read_config, read_model
from ome_iac.problems import Problem, ProblemsError

app = typer.Typer(help="What is known of a model.", no_args_is_help=True)


@app.callback()
def model() -> None:
    """What is known of a model."""


@app.command()
def inspect(
    model: Annotated[
        str | None, typer.Argument(help="A URI (hf://org/name, oci://n/.., local:///..) or a folder.", metavar="MODEL")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A config.json alone: counts are derived from it.")] = None,
    json: Json = False,
) -> None:
    """Read a model's headers and configuration, never its weights, and show what they tell."""
    if (model is None) == (config is None):
        raise ProblemsError(
            [Problem("ome-iac model inspect", "", "needs a model", "a URI, a folder, or --config FILE")]
        )
    if config is not None:
        metadata = read_config(config)
    else:
        assert model is not None
        metadata = read_model(model if "://" in model else f"local://{model}", Path.cwd())
    if json:
        typer.echo(metadata.model_dump_json(by_alias=True, indent=2))
        return
    console = Console()
    for line in metadata_lines(metadata):
        console.print(line, soft_wrap=True, highlight=False)


def metadata_lines(model: ModelMetadata) -> Iterator[str]:
    """One screen, in rich markup."""
    revision = f"  @{model.revision.removeprefix('sha256:')[:12]}" if model.revision else ""
    yield f"[bold]{escape(model.source)}[/]{revision}"
    yield from _rows("architecture", _architecture(model))
    yield from _rows("parameters", _parameters(model))
    yield from _rows("weights", *_weights(model))
    yield from _rows("quantization", _quantization(model))
    yield from _rows("context", f"{model.context_length:,} tokens" if model.context_length else "")
    yield from _rows("shape", _shape(model))
    yield from _rows("attention", *map(_attention, model.attention))
    yield from _rows("experts", _experts(model))
    yield from _rows("good for", ", ".join(model.capabilities))
    yield from _rows("licence", (model.licence or "not said") + (", gated" if model.gated else ""))
    yield from _rows("files", _files(model))
    yield from _rows("known from", *_provenance(model))
    for warning in model.warnings:
        yield f"  [bold yellow]warning[/]      {escape(warning)}"
    for missing in model.missing:
        yield f"  [yellow]unknown[/]      {escape(missing)}"


def _architecture(model: ModelMetadata) -> str:
    kind = f" ({model.model_type})" if model.model_type else ""
    framework = f", {model.framework} {model.framework_version or ''}".rstrip() if model.framework else ""
    return f"{model.architecture or 'unknown'}{kind}{framework}"


def _parameters(model: ModelMetadata) -> str:
    counts = model.parameters
    if counts is None:
        return "unknown"
    active = "" if counts.active == counts.total else f", {_short(counts.active)} active for each token"
    further = counts.multi_token_prediction
    prediction = f", and {_short(further)} of multi-token prediction" if further else ""
    evidence = model.provenance.get("parameters")
    derived = ", derived from the config" if evidence and evidence.source is Source.DERIVED else ""
    return f"{_short(counts.total)} ({counts.total:,}){active}{prediction}{derived}"


def _weights(model: ModelMetadata) -> Iterator[str]:
    weights = model.weights
    if weights is None:
        yield "unknown"
        return
    by_size = sorted(weights.by_dtype.items(), key=lambda item: (-item[1], item[0]))
    dtypes = ", ".join(f"{dtype} {_size(size)}" for dtype, size in by_size)
    yield f"{_size(weights.bytes)}: {dtypes}"
    roles = sorted(weights.by_role.items(), key=lambda item: (-item[1], item[0]))
    yield ", ".join(f"{role} {_size(size)}" for role, size in roles if size >= weights.bytes / 1000)


def _quantization(model: ModelMetadata) -> str:
    found = model.quantization
    if found is None:
        return "none"
    group = f", groups of {found.group_size}" if found.group_size else ""
    blocks = f", blocks of {found.block_shape[0]}x{found.block_shape[1]}" if found.block_shape else ""
    activations = f", activations {found.activations}" if found.activations else ""
    return f"{found.method}, {found.bits} bits{group}{blocks}{activations}"


def _shape(model: ModelMetadata) -> str:
    parts = (
        f"{model.layers} layers" if model.layers else "",
        f"hidden size {model.hidden_size:,}" if model.hidden_size else "",
        f"vocabulary {model.vocabulary_size:,}" if model.vocabulary_size else "",
        "tied embeddings" if model.tied_embeddings else "",
    )
    return ", ".join(part for part in parts if part)


def _attention(group: Attention) -> str:
    window = f" {group.window:,} tokens" if group.window else ""
    if group.kind == "mla":
        geometry = f"{group.heads} heads over a latent of {group.latent_dim} + {group.rope_head_dim}"
    elif group.state_bytes is not None:
        geometry = f"{group.heads} heads, a state of {group.state_bytes:,} bytes for each sequence"
    else:
        geometry = f"{group.heads} heads, {group.kv_heads} KV heads of {group.head_dim}"
    return f"{group.kind}{window}: {geometry}, layers {group.layers}"


def _experts(model: ModelMetadata) -> str:
    found = model.experts
    if found is None:
        return ""
    shared = f" and {found.shared} shared" if found.shared else ""
    return f"{found.active} of {found.routed}{shared} for each token, in layers {found.layers}"


def _files(model: ModelMetadata) -> str:
    if not model.files:
        return ""
    total = sum(file.size for file in model.files)
    return f"{len(model.files)}, {_size(total)}, {model.format or 'no weights'}"


def _provenance(model: ModelMetadata) -> Iterator[str]:
    for source in Source:
        names = sorted(name for name, evidence in model.provenance.items() if evidence.source is source)
        if names:
            yield f"{source}: {', '.join(names)}"


def _rows(label: str, *texts: str) -> Iterator[str]:
    for number, text in enumerate(text for text in texts if text):
        yield f"  [dim]{label if number == 0 else '':<12}[/] {escape(text)}"


def _size(size: int) -> str:
    return f"{size / 1024**3:.2f} GiB" if size >= 1024**3 else f"{size / 1024**2:.2f} MiB"


def _short(count: int) -> str:
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{count / size:.2f}{unit}"
    return str(count)
