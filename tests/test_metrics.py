from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from carlad.errors import ConfigError
from carlad.messages import Notice, SlotStatus, SlotVitals
from carlad.metrics import Exposition, Snapshot, Tally, serving
from tests.ports import free_port


def _notice(event: str, at_s: float, slot: int | None = None, cause: str | None = None) -> Notice:
    return Notice(number=1, run="r", at_unix_s=at_s, event=event, slot=slot, cause=cause)


def _slot(number: int, state: str, draining: bool = False) -> SlotStatus:
    return SlotStatus(
        slot=number,
        state=state,  # type: ignore[arg-type]
        incarnation=1,
        pid=1,
        host="127.0.0.1",
        rpc_port=2000,
        streaming_port=2001,
        traffic_manager_port=2003,
        map="Town01",
        lease_id=None,
        restarts=0,
        reason=None,
        draining=draining,
    )


VITALS = SlotVitals(
    slot=1,
    incarnation=3,
    age_s=60.0,
    processes=2,
    rss_bytes=1 << 30,
    cores=0.5,
    fds=40,
    threads=9,
    answer_s=0.01,
)
SNAPSHOT = Snapshot(
    slots=(_slot(0, "READY"), _slot(1, "LEASED"), _slot(2, "READY", draining=True)),
    vitals=(VITALS,),
    leases=1,
    sessions=2,
    waiting=3,
)


def _scraped(tally: Tally, look: Callable[[], Snapshot] = lambda: SNAPSHOT) -> dict[str, float]:
    """The samples of a real scrape."""

    async def main() -> str:
        address = f"127.0.0.1:{free_port()}"
        with serving(address, Exposition(tally, look, "1.2.3")):
            return await trio.to_thread.run_sync(
                lambda: urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
            )

    lines = [line for line in trio.run(main).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_states_and_figures_are_those_of_the_moment() -> None:
    samples = _scraped(Tally())
    assert samples['carlad_slots{state="READY"}'] == 2
    assert samples['carlad_slots{state="LEASED"}'] == 1
    assert samples['carlad_slots{state="QUARANTINED"}'] == 0
    assert samples["carlad_slots_draining"] == 1
    assert (samples["carlad_leases"], samples["carlad_sessions"], samples["carlad_waiting"]) == (1, 2, 3)
    assert samples['carlad_slot_rss_bytes{slot="1"}'] == 1 << 30
    assert samples['carlad_slot_answer_seconds{slot="1"}'] == 0.01
    assert samples['carlad_info{version="1.2.3"}'] == 1


def test_what_is_not_known_has_no_sample() -> None:
    assert not any(name.startswith("carlad_slot_gpu_memory_bytes{") for name in _scraped(Tally()))


def test_events_and_losses_are_counted_by_name_and_cause() -> None:
    tally = Tally()
    for cause in ("hung", "hung", "GPU lost", None):
        tally.note(_notice("slot.lost", 0.0, 1, cause))
    tally.note(_notice("lease.granted", 0.0, 1))
    samples = _scraped(tally)
    assert samples['carlad_losses_total{cause="hung"}'] == 2
    assert samples['carlad_losses_total{cause="GPU lost"}'] == 1
    assert samples['carlad_losses_total{cause="other"}'] == 1
    assert samples['carlad_events_total{event="lease.granted"}'] == 1


def test_times_to_ready_are_a_cumulative_histogram() -> None:
    tally = Tally()
    for slot, seconds in enumerate((0.4, 7.0, 7.5, 1000.0)):
        tally.note(_notice("slot.starting", 100.0, slot))
        tally.note(_notice("slot.ready", 100.0 + seconds, slot))
    tally.note(_notice("slot.ready", 2000.0, 0))  # after a map was loaded: no start
    samples = _scraped(tally)
    assert samples['carlad_ready_seconds_bucket{le="0.5"}'] == 1
    assert samples['carlad_ready_seconds_bucket{le="5.0"}'] == 1
    assert samples['carlad_ready_seconds_bucket{le="10.0"}'] == 3
    assert samples['carlad_ready_seconds_bucket{le="+Inf"}'] == 4
    assert samples["carlad_ready_seconds_count"] == 4
    assert samples["carlad_ready_seconds_sum"] == pytest.approx(1014.9)


def test_nothing_is_served_unless_it_is_asked_for() -> None:
    with serving("", Exposition(Tally(), lambda: SNAPSHOT, "1")):
        pass


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    async def main() -> None:
        address = f"127.0.0.1:{free_port()}"
        exposition = Exposition(Tally(), lambda: SNAPSHOT, "1")
        with (
            serving(address, exposition),
            pytest.raises(ConfigError, match=re.escape(f"metrics.listen: cannot listen on {address}")),
            serving(address, exposition),
        ):
            pass

    trio.run(main)


def test_every_metric_of_the_dashboard_is_there() -> None:
    """What Grafana is told to draw is what the daemon tells."""
    dashboard = Path(__file__).parents[1] / "docker" / "grafana-dashboard.json"
    panels = json.loads(dashboard.read_text())["panels"]
    drawn = {
        name
        for panel in panels
        for target in panel.get("targets", ())
        for name in re.findall(r"carlad_[a-z_]+", target["expr"])
    }
    tally = Tally()
    tally.note(_notice("slot.lost", 0.0, 1, "hung"))
    told = {name.partition("{")[0] for name in _scraped(tally)} | {"carlad_slot_gpu_memory_bytes"}
    assert drawn
    assert drawn <= told
