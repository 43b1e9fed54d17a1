"""A `PlanDiff` as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from ome_iac.planning.plan_diff import Change, ItemDiff, PlanDiff

SIGNS = {"added": "[green]+[/]", "removed": "[red]-[/]", "changed": "[yellow]~[/]"}


def print_diff(console: Console, diff: PlanDiff) -> None:
    """The whole comparison."""
    for line in diff_lines(diff):
        console.print(line, soft_wrap=True, highlight=False)


def diff_lines(diff: PlanDiff) -> Iterator[str]:
    """The comparison's lines, in rich markup."""
    yield f"[bold]stack {escape(diff.stack)}[/]   {escape(diff.before)} -> {escape(diff.after)}"
    for label, problems in ((diff.before, diff.refused_before), (diff.after, diff.refused_after)):
        if problems:
            yield ""
            yield f"[bold red]refused[/] {escape(label)}"
            yield from (f"  {escape(problem)}" for problem in problems)
    if diff.refused_before or diff.refused_after:
        yield ""
        yield (
            "nothing is compared: one side has no plan"
            if bool(diff.refused_before) != bool(diff.refused_after)
            else "nothing is compared: neither side has a plan"
        )
        return
    if diff.empty:
        yield "nothing changed"
        return
    if diff.cost_per_hour:
        yield f"  {_change(diff.cost_per_hour)}"
    for title, items in (("pool", diff.pools), ("model", diff.models), ("service", diff.services)):
        for item in items:
            yield ""
            yield from _item_lines(title, item)


def _item_lines(title: str, item: ItemDiff) -> Iterator[str]:
    yield f"{SIGNS[item.state]} [bold]{title} {escape(item.name)}[/] {item.state}"
    for change in item.changes:
        yield f"    {_change(change)}"
    for index, reason in enumerate(item.why):
        yield f"    [dim]{'' if index else 'why':<24}[/]{escape(reason)}"


def _change(change: Change) -> str:
    values = [escape(value) for value in (change.before, change.after) if value]
    if change.before and change.after:
        return f"[dim]{change.field:<24}[/]{' -> '.join(values)}"
    return f"[dim]{change.field:<24}[/]{values[0]}" + (" (no longer)" if change.before else "")
