"""What a benchmark found: a table, the aims, the machine."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Aim:
    """A figure that has to stay within a limit; `at_least` turns the limit into a floor."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Report:
    """Rows of one table, in the order measured."""

    title: str
    rows: list[dict[str, float | int | str]]
    aims: list[Aim]
    machine: dict[str, str | float | int] = field(default_factory=lambda: machine())

    def as_json(self) -> str:
        aims = [{**asdict(aim), "met": aim.met} for aim in self.aims]
        return json.dumps({**asdict(self), "aims": aims}, indent=2)

    def show(self) -> None:
        console = Console()
        table = Table(title=self.title, caption=", ".join(f"{key} {value}" for key, value in self.machine.items()))
        for column in self.rows[0]:
            table.add_column(column, justify="right")
        for row in self.rows:
            table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
        console.print(table)
        for aim in self.aims:
            sign, verdict = (">=" if aim.at_least else "<="), ("met" if aim.met else "MISSED")
            console.print(f"{verdict}: {aim.name} {aim.value:.3g} (aim {sign} {aim.limit:g})", highlight=False)


def machine() -> dict[str, str | float | int]:
    """Where it was measured, and how busy it was before."""
    return {
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "load before": round(os.getloadavg()[0], 2),
    }
