"""An evaluation's results for people and for scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from carlad.log import get_logger
from trainer.config import Config, digest
from trainer.scores import Mean, Result, Summary

log = get_logger("carlad.trainer")

_LOG_EVERY = 20  # episodes, where there is no terminal to draw a bar on
_MEANS = (
    ("success_rate", "success rate"),
    ("route_completion", "route completion"),
    ("driving_score_2_0", "driving score (Leaderboard 2.0)"),
    ("driving_score_2_1", "driving score (Leaderboard 2.1)"),
    ("episodic_return", "return"),
)


@contextmanager
def progress(console: Console, episodes: int) -> Iterator[Callable[[Result], None]]:
    """What to tell each result: it moves a bar, or is a line now and then where there is no terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    done = successes = 0

    def tell(result: Result) -> None:
        nonlocal done, successes
        done, successes = done + 1, successes + result.success
        bar.update(task, advance=1, description=f"success {successes / done:.2f}")
        if not console.is_terminal and done % _LOG_EVERY == 0:
            log.info("evaluation", episodes=done, of=episodes, success_rate=successes / done)

    with bar:
        task = bar.add_task("driving", total=episodes)
        yield tell


def show(who: str, summary: Summary) -> Console:
    """Print the tables on stdout; returns its console."""
    console = Console()
    means = Table("", "mean", "95 % interval", title=f"{summary.episodes} episodes by {who}")
    for name, words in _MEANS:
        value: Mean | None = getattr(summary, name)
        if value is not None:
            means.add_row(words, f"{value.mean:.3f}", f"{value.low:.3f} to {value.high:.3f}")
    console.print(means)
    counts = Table("", "count", "share or rate")
    for reason, count in summary.reasons.items():
        counts.add_row(f"ended by {reason}", str(count), f"{count / summary.episodes:.0%}")
    for kind, count in summary.infractions.items():
        counts.add_row(
            f"infraction {kind}", str(count), f"{summary.infractions_per_km.get(kind, 0):.2f} / km"
        )
    console.print(counts)
    return console


def write(
    path: Path, who: str, config: Config, seed: int, summary: Summary, results: Sequence[Result]
) -> None:
    """Write everything as JSON; the same evaluation gives the same file."""
    content = {
        "driver": who,
        "seed": seed,
        "configuration": digest(config),
        "environment": config.env,
        "summary": summary,
        "episodes": results,
    }
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
