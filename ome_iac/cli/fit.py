"""`ome-iac fit`: does a model run on a GPU, at one engine's version and split, and by how much."""

from __future__ import annotations

import json as json_module
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ome_iac.cli.options import Json
from ome_iac.hardware import GIB, find_gpu
from ome_iac.models.metadata import ModelMetadata
from ome_iac.planning.fit import Fit, fit_model
from ome_iac.problems import Problem, ProblemsError
from ome_iac.report.terminal import bar
from ome_iac.runtimes.engines import engine as engine_at
from ome_iac.runtimes.splits import Split, Tuning

WIDTH = 32


def fit(
    model: Annotated[str, typer.Option(help="A URI (hf://org/name, oci://..), a folder, or a config.json.")],
    gpu: Annotated[str, typer.Option(help="A GPU, such as H100-80GB.")],
    engine: Annotated[str, typer.Option(help="An engine and its version.", metavar="NAME[==VERSION]")] = "vllm",
    tp: Annotated[int, typer.Option(help="Tensor parallel.", min=1)] = 1,
    pp: Annotated[int, typer.Option(help="Pipeline stages.", min=1)] = 1,
    dp: Annotated[int, typer.Option(help="Data parallel ranks.", min=1)] = 1,
    ep: Annotated[int, typer.Option(help="GPUs that whole experts are divided over.", min=1)] = 1,
    max_model_len: Annotated[int | None, typer.Option(help="Tokens of a request; the model's own.", min=1)] = None,
    gpu_memory_utilization: Annotated[float | None, typer.Option(help="Share of the GPU for the engine.")] = None,
    kv_cache_dtype: Annotated[str | None, typer.Option(help="auto or fp8.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, bfloat16, float16 or float32.")] = None,
    quantization: Annotated[str | None, typer.Option(help="fp8: quantize plain weights while loading.")] = None,
    max_num_seqs: Annotated[int | None, typer.Option(help="Requests in one batch.", min=1)] = None,
    max_num_batched_tokens: Annotated[int | None, typer.Option(help="Tokens in one batch.", min=1)] = None,
    gpus_per_node: Annotated[int, typer.Option(help="GPUs that the fastest link joins.", min=1)] = 8,
    json: Json = False,
) -> None:
    """Prove that a model fits, or say what is missing; exits 1 where it does not."""
    name, _, version = engine.partition("==")
    problems = _bad_values(kv_cache_dtype, dtype, quantization, gpu_memory_utilization)
    if problems:
        raise ProblemsError(problems)
    found = fit_model(
        _read(model),
        engine_at(name, version or None),
        find_gpu(gpu),
        Split(tensor=tp, pipeline=pp, data=dp, expert=ep),
        Tuning(
            gpu_memory_utilization=gpu_memory_utilization,
            kv_cache_dtype=None if kv_cache_dtype == "auto" else kv_cache_dtype,
            dtype=None if dtype == "auto" else dtype,
            quantization=None if quantization == "none" else quantization,
            max_num_seqs=max_num_seqs,
            max_num_batched_tokens=max_num_batched_tokens,
        ),
        max_model_len,
        gpus_per_node,
    )
    if json:
        typer.echo(json_module.dumps(found.summary(), indent=2))
    else:
        console = Console()
        for line in fit_lines(found):
            console.print(line, soft_wrap=True, highlight=False)
    if not found.fits:
        raise typer.Exit(1)


def _bad_values(
    kv_cache_dtype: str | None, dtype: str | None, quantization: str | None, utilization: float | None
) -> list[Problem]:
    legal = {
        "--kv-cache-dtype": (kv_cache_dtype, ("auto", "fp8", "fp8_e4m3", "fp8_e5m2")),
        "--dtype": (dtype, ("auto", "bfloat16", "float16", "float32")),
        "--quantization": (quantization, ("none", "fp8")),
    }
    problems = [
        Problem(flag, "", f"{value} is not known", f"one of {', '.join(known)}")
        for flag, (value, known) in legal.items()
        if value is not None and value not in known
    ]
    if utilization is not None and not 0 < utilization <= 1:
        problems.append(Problem("--gpu-memory-utilization", "", f"{utilization} is no share", "above 0, at most 1"))
    return problems


def _read(model: str) -> ModelMetadata:
    # Imported here because other commands read no model.
    from ome_iac.models.read import read_config, read_model

    path = Path(model)
    if path.is_file() and path.suffix == ".json":
        return read_config(path)
    return read_model(model if "://" in model else f"local://{model}", Path.cwd())


def fit_lines(found: Fit) -> Iterator[str]:
    """One screen, in rich markup."""
    verdict = "[green]fits[/]" if found.fits else "[red]does not fit[/]"
    size = found.model.weights.bytes / GIB if found.model.weights else 0.0
    yield f"[bold]{escape(found.model.source)}[/]   {size:.1f} GiB   {verdict}"
    yield f"  {found.engine.name} on {found.split.gpus} x {found.gpu.name}, {found.split}"
    ledger = found.ledger
    if ledger is not None:
        stage = f", stage {ledger.stage + 1} of {found.split.pipeline}" if found.split.pipeline > 1 else ""
        yield f"  one GPU{stage}: {ledger.total / GIB:.2f} GiB, {escape(ledger.budget_formula)}"
        rows = [(line.name, line.bytes, f"{line.formula} ({line.source})") for line in ledger.lines]
        rows.append(("kvCache", ledger.kv_cache, f"what the budget of {ledger.budget / GIB:.2f} GiB leaves"))
        rows += [(f"{line.name} *", line.bytes, f"{line.formula} ({line.source})") for line in ledger.beside]
        rows.append(("free", ledger.free, "of the GPU, used by nobody"))
        for name, amount, formula in rows:
            drawn = bar([(max(0, amount), "#")], ledger.total, WIDTH)
            yield f"  {name:<13}{drawn} {amount / GIB:>8.2f} GiB   [dim]{escape(formula)}[/]"
        if ledger.beside:
            yield "  [dim]* outside of the budget[/]"
        if ledger.concurrency is not None and ledger.kv_tokens is not None:
            held = f"{ledger.concurrency:.2f} requests of {ledger.context_length:,}"
            yield f"  {ledger.kv_tokens:,} KV tokens: {held}"
    for reason in found.limited_by:
        yield f"  [red]{escape(reason)}[/]"
    for note in found.notes:
        yield f"  [yellow]{escape(note)}[/]"
