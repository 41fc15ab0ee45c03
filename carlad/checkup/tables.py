"""A report for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from carlad.checkup.finding import Finding, Level
from carlad.checkup.report import Measure, Proposal, Report

_STYLES: dict[Level, str] = {"fine": "green", "note": "dim", "warning": "yellow", "wrong": "bold red"}


def report(shown: Report) -> Group:
    verdict = ("fit for a fleet", "bold green") if shown.is_fit else ("not fit for a fleet", "bold red")
    parts: list[Text | Table] = [Text.assemble(f"{shown.server}: ", verdict)]
    if shown.card:
        parts.append(Text(f"  draws on graphics card {shown.card}"))
    parts += [Text(f"  {failure}", "red") for failure in shown.failures]
    parts.append(_measures(shown.measures))
    if shown.differences:
        parts.append(Text("\nOtherwise than CARLA 0.9.16 as carlad knows it:"))
        parts += [Text(f"  {difference}", "yellow") for difference in shown.differences]
    if shown.proposals:
        parts += [Text("\nFor carlad.toml:"), *_lines(shown.proposals)]
    return Group(*parts)


def findings(shown: Sequence[Finding]) -> Group:
    """One line each, and the remedy below where there is something to do."""
    width = max(len(finding.name) for finding in shown)
    lines: list[Text] = []
    for finding in shown:
        level = (f"{finding.level:<9}", _STYLES[finding.level])
        lines.append(Text.assemble(level, f"{finding.name:<{width}}  {finding.found}"))
        if finding.remedy:
            lines.append(Text(f"{'':<9}{'':<{width}}  → {finding.remedy}", _STYLES[finding.level]))
    return Group(*lines)


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
