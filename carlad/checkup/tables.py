"""A report for people."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from carlad.checkup.report import Measure, Proposal, Report


def report(shown: Report) -> Group:
    verdict = ("fit for a fleet", "bold green") if shown.is_fit else ("not fit for a fleet", "bold red")
    parts: list[Text | Table] = [Text.assemble(f"{shown.server}: ", verdict)]
    parts += [Text(f"  {failure}", "red") for failure in shown.failures]
    parts.append(_measures(shown.measures))
    if shown.differences:
        parts.append(Text("\nOtherwise than CARLA 0.9.16 as carlad knows it:"))
        parts += [Text(f"  {difference}", "yellow") for difference in shown.differences]
    if shown.proposals:
        parts += [Text("\nFor carlad.toml:"), *_lines(shown.proposals)]
    return Group(*parts)


def _measures(measures: tuple[Measure, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("MEASURE")
    table.add_column("VALUE", justify="right")
    for measure in measures:
        table.add_row(measure.name, _value(measure))
    return table


def _value(measure: Measure) -> str:
    if measure.unit == "bytes":
        return f"{measure.value / 2**20:,.0f} MiB"
    digits = 0 if measure.unit == "" else 1 if measure.unit == "Hz" else 2
    return f"{measure.value:,.{digits}f} {measure.unit}".rstrip()


def _lines(proposals: tuple[Proposal, ...]) -> list[Text]:
    lines, section = [], None
    for proposal in sorted(proposals, key=lambda proposal: proposal.section):
        if proposal.section != section:
            lines.append(Text(f"  [{proposal.section}]"))
            section = proposal.section
        lines.append(Text(f"  {proposal.line}  # {proposal.why}"))
    return lines
