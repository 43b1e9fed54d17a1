"""`ome-iac estimate`: ask NVIDIA's aiconfigurator how fast a stack's plans are, and keep its answers in the lock."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ome_iac.estimates import environment
from ome_iac.estimates.asking import Asked, ask
from ome_iac.estimates.of_plan import questions_of
from ome_iac.estimates.recorded import recorded_patterns, recorded_speeds, with_answers
from ome_iac.models.lock import FILE_NAME, Lock
from ome_iac.planning.plan import Plan
from ome_iac.planning.speed import (
    Deployment,
    PatternAnswer,
    PatternQuestion,
    Question,
    Speed,
    Workers,
)
from ome_iac.problems import Problem, ProblemsError
from ome_iac.project import Project, Settings, plan_project
from ome_iac.report.progress import step
from ome_iac.spec.stack import load_stack

MOST_ROUNDS = 4
"""An answer may change the choice, and the new choice has other neighbours."""

app = typer.Typer(invoke_without_command=True, help="Measured speed for a stack's plans, kept in its ome.lock.")

Known = dict[Question | PatternQuestion, Speed | PatternAnswer]


@app.callback()
def estimate(
    context: typer.Context,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="The stack: stacks/Pulumi.<stack>.yaml.")] = None,
    neighbours: Annotated[
        int, typer.Option(help="Ask about so many of the other ways that fit, for each service.", min=0)
    ] = 8,
    again: Annotated[bool, typer.Option("--again", help="Forget what is recorded and ask everything anew.")] = False,
) -> None:
    """Ask about each service's chosen way and its neighbours; answers go to ome.lock, where every plan finds them.

    A plan itself never asks: what is not recorded is a bound, and says so.
    """
    if context.invoked_subcommand is not None:
        return
    if stack is None:
        raise ProblemsError([Problem("--stack", "", "is missing", "name the stack: ome-iac estimate -s STACK")])
    project = Project.find()
    settings = project.settings(stack)
    path = project.stacks / settings.folder / FILE_NAME
    environment.python()
    known, refused = _ask_all(project, settings, path, neighbours, again)
    console = Console()
    for line in _lines(plan_project(project, settings), known, refused, neighbours, _folders(project, settings)):
        console.print(line, soft_wrap=True, highlight=False)


@app.command()
def install() -> None:
    """Put aiconfigurator into an environment of its own in your cache folder (850 MB, once)."""
    typer.echo(f"{environment.source()}: {environment.install()}")


def _ask_all(
    project: Project, settings: Settings, path: Path, neighbours: int, again: bool
) -> tuple[Known, dict[Question | PatternQuestion, str]]:
    """Ask until the plan asks nothing new; write the lock after each round.

    What was recorded stays as long as its model does: a way that turned out too slow is not looked at again, and
    would be chosen once more if that were forgotten.
    """
    folders = _folders(project, settings)
    known: Known = {} if again else _known(Lock.load(path))
    refused: dict[Question | PatternQuestion, str] = {}
    if again and path.exists():
        with_answers(Lock.load(path), []).write()
    for _ in range(MOST_ROUNDS):
        plan = plan_project(project, settings)
        asked = _open(plan, folders, neighbours, {*known, *refused})
        if asked:
            with step(f"asking {environment.source()} {len(asked)} questions"):
                answers = ask(asked)
            known |= {item.question: item.answer for item in answers if item.answer}
            refused |= {item.question: item.uncovered for item in answers if not item.answer}
        lock = Lock.load(path)
        served = {(model.metadata.source, model.metadata.revision) for model in plan.models}
        kept = [
            (question, answer) for question, answer in known.items() if (question.model, question.revision) in served
        ]
        fresh = with_answers(lock, kept)
        if fresh.render() != lock.render():
            fresh.write()
        if not asked:
            break
    return known, refused


def _open(
    plan: Plan, folders: dict[str, Path], neighbours: int, settled: set[Question | PatternQuestion]
) -> list[Asked]:
    every = {
        item.question: item for service in plan.services for item in questions_of(plan, service, folders, neighbours)
    }
    return [item for question, item in every.items() if question not in settled]


def _known(lock: Lock) -> Known:
    """What this version of aiconfigurator answered; what another version did is asked again."""
    every: Known = dict(recorded_speeds(lock).items())
    every.update(recorded_patterns(lock).items())
    return {question: answer for question, answer in every.items() if answer.source == environment.source()}


def _folders(project: Project, settings: Settings) -> dict[str, Path]:
    """The folder of each model's document, by the model's name."""
    folder = project.stacks / settings.folder
    documents, _ = load_stack(settings.stack, folder, project.shown(folder))
    return {model.name: model.folder or project.root for model in documents.models}


def _lines(
    plan: Plan,
    known: Known,
    refused: dict[Question | PatternQuestion, str],
    neighbours: int,
    folders: dict[str, Path],
) -> Iterator[str]:
    """One block a service, in rich markup: the chosen way first."""
    for service in plan.services:
        yield f"[bold]{escape(service.name)}[/]   {escape(service.model)}"
        asked = questions_of(plan, service, folders, neighbours)
        if not asked:
            yield "  [dim]gives no tokens: aiconfigurator has nothing to say of it[/]"
        for number, item in enumerate(asked):
            answer = known.get(item.question)
            mark = "chosen" if number == 0 else ""
            if isinstance(item.question, PatternQuestion):
                yield from _pattern_lines(item.question, answer if isinstance(answer, PatternAnswer) else None, refused)
                continue
            way = f"{item.question.engine} on {item.question.split.gpus} x {item.question.gpu}, {item.question.split}"
            if isinstance(answer, Speed):
                yield f"  {mark:<7}{escape(way):<56} {speed_text(answer)}"
            else:
                yield f"  {mark:<7}{escape(way):<56} [yellow]{escape(refused.get(item.question, 'not asked'))}[/]"


def _pattern_lines(
    question: PatternQuestion, answer: PatternAnswer | None, refused: dict[Question | PatternQuestion, str]
) -> Iterator[str]:
    if answer is None:
        yield f"  pattern [yellow]{escape(refused.get(question, 'not asked'))}[/]"
        return
    yield f"  pattern {answer.pattern} gives most tokens within the times on {question.gpus} x {question.gpu}:"
    for name, found in (("standard", answer.standard), ("prefill-decode", answer.prefill_decode)):
        yield f"    {name:<15} {escape(deployment_text(found))}"


def speed_text(speed: Speed) -> str:
    """`8.17 ms/token, 87.5 ms to the first, 117 tokens/s for 1 request (aiconfigurator 0.12.0)`."""
    requests = "1 request" if speed.concurrency == 1 else f"{speed.concurrency} requests"
    per_token = f"{_ms(speed.time_per_output_token_ms)}/token, " if speed.time_per_output_token_ms else ""
    rate = f", {speed.tokens_per_second:,.0f} tokens/s" if speed.tokens_per_second else ""
    return f"{per_token}{_ms(speed.time_to_first_token_ms)} to the first{rate} for {requests} ({speed.source})"


def deployment_text(found: Deployment | None) -> str:
    """The workers of a deployment and what it gives."""
    if found is None:
        return "cannot keep the times"
    roles = {"": found.workers, "prefill": found.prefill, "decode": found.decode}
    parts = " + ".join(_workers_text(name, workers) for name, workers in roles.items() if workers)
    unit = f"{found.units} x ({parts})" if found.units > 1 else parts
    return (
        f"{unit}: {found.tokens_per_second_per_gpu:,.0f} tokens/s a GPU, "
        f"{_ms(found.time_per_output_token_ms)}/token, {_ms(found.time_to_first_token_ms)} to the first"
    )


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def _workers_text(name: str, workers: Workers) -> str:
    return f"{workers.replicas} x {f'{name} ' if name else ''}({workers.split})"
