"""The journal: what it was told is there again, whoever died; what it cannot keep is refused."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from carlad.errors import ConfigError
from carlad.journal import DamagedError, Delete, Journal, JournalError, Put


class Place(msgspec.Struct, frozen=True):
    ports: tuple[int, int]
    map: str | None = None


class Other(msgspec.Struct, frozen=True):
    pid: int


HERE, THERE = Place((2000, 2001), "Town01"), Place((2004, 2005))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with closing(Journal(path, busy_s=0.01)) as journal:
        yield journal


def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert journal.token() == 0
    assert journal.read("place", Place) == {}


def test_records_and_token_are_there_when_it_is_opened_again(journal: Journal, path: Path) -> None:
    journal.write(
        [Put("place", "here", HERE), Put("place", "there", THERE), Put("other", "here", Other(7))], 17
    )
    journal.close()
    with closing(Journal(path)) as again:
        assert again.read("place", Place) == {"here": HERE, "there": THERE}
        assert again.read("other", Other) == {"here": Other(7)}
        assert again.token() == 17


def test_a_record_is_replaced_and_removed(journal: Journal) -> None:
    journal.write([Put("place", "here", HERE)])
    journal.write([Put("place", "here", THERE)])
    assert journal.read("place", Place) == {"here": THERE}
    journal.write([Delete("place", "here"), Delete("place", "nowhere")])
    assert journal.read("place", Place) == {}


def test_changes_are_made_in_their_order(journal: Journal) -> None:
    journal.write([Put("place", "here", HERE), Delete("place", "here"), Put("place", "here", THERE)])
    assert journal.read("place", Place) == {"here": THERE}


def test_what_is_written_at_once_is_there_when_it_is_opened_again(journal: Journal, path: Path) -> None:
    assert journal.write_now([Put("place", "here", HERE), Put("place", "there", THERE)])
    assert journal.write_now([Delete("place", "there")])
    with closing(Journal(path)) as again:
        assert again.read("place", Place) == {"here": HERE}


def test_nothing_is_written_at_once_while_another_program_writes(path: Path) -> None:
    with closing(Journal(path, busy_s=60.0)) as journal:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert not journal.write_now([Put("place", "here", HERE)])  # and not a minute later
            other.execute("ROLLBACK")
        assert journal.read("place", Place) == {}
        assert journal.write_now([Put("place", "here", HERE)])


def test_nothing_is_written_at_once_while_another_thread_writes(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        assert goes_on.wait(60.0)

    monkeypatch.setattr(journal, "_commit", slow)
    writer = threading.Thread(target=journal.write)
    writer.start()
    assert begun.wait(60.0)
    assert not journal.write_now([Put("place", "here", HERE)])
    goes_on.set()
    writer.join()


def test_what_is_written_at_once_leaves_the_file_for_later_and_does_not_grow_for_ever(
    journal: Journal, path: Path
) -> None:
    written = 0
    while journal.write_now([Put("place", "here", HERE)]):
        written += 1
        assert written < 10_000
    log = path.with_name(f"{path.name}-wal")
    most = log.stat().st_size
    for _ in range(written):
        if not journal.write_now([Put("place", "here", HERE)]):
            journal.write([Put("place", "here", HERE)])
    assert log.stat().st_size <= 1.1 * most


def test_a_token_never_goes_back(journal: Journal) -> None:
    journal.write(token=5)
    journal.write(token=3)
    assert journal.token() == 5


def test_what_was_written_is_seen_by_others_without_close(journal: Journal, path: Path) -> None:
    journal.write([Put("place", "here", HERE)], token=5)
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT token FROM high_water").fetchone() == (5,)
        assert other.execute("SELECT kind, key FROM record").fetchall() == [("place", "here")]


def test_threads_may_write_at_once(path: Path) -> None:
    with closing(Journal(path)) as journal:

        def write(number: int) -> None:
            for turn in range(20):
                journal.write([Put("other", f"{number}-{turn}", Other(turn))], token=20 * number + turn)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(journal.read("other", Other)) == 80
        assert journal.token() == 79


def test_a_record_of_an_older_carlad_is_read_with_defaults_for_what_it_lacks(journal: Journal) -> None:
    class Older(msgspec.Struct):
        ports: tuple[int, int]
        gone_since: str = ""

    journal.write([Put("place", "here", Older((1, 2)))])
    assert journal.read("place", Place) == {"here": Place((1, 2))}


def test_a_record_of_another_type_is_an_error(journal: Journal) -> None:
    journal.write([Put("place", "here", Other(7))])
    with pytest.raises(JournalError, match="records of kind place"):
        journal.read("place", Place)


# --- files that are not what they should be


def test_a_file_that_is_no_journal_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"garbage " * 1000)
    with pytest.raises(DamagedError, match=r"journal\.sqlite.*not a database"):
        Journal(path)
    assert path.read_bytes() == b"garbage " * 1000


def test_another_programs_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipe (name TEXT)")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another program's database"):
        Journal(path)
    assert path.read_bytes() == before


def test_a_journal_of_a_newer_carlad_is_refused(journal: Journal, path: Path) -> None:
    journal.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer carlad"):
        Journal(path)


def test_a_truncated_journal_is_refused(journal: Journal, path: Path) -> None:
    journal.write([Put("place", "here", HERE)], token=9)
    journal.close()
    os.truncate(path, path.stat().st_size - 1000)
    with pytest.raises(DamagedError, match="cannot use the journal"):
        Journal(path)


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_torn_write_loses_itself_and_nothing_before_it(
    journal: Journal, path: Path, tmp_path: Path, cut: int
) -> None:
    """What a power cut leaves of a write that had not returned: the end of the write-ahead log is missing."""
    journal.write([Put("place", "here", HERE)], token=9)
    journal.write([Put("place", "here", THERE), Put("other", "x" * 6000, Other(1))], token=10)
    torn = tmp_path / "torn"
    torn.mkdir()
    for file in ("journal.sqlite", "journal.sqlite-wal"):
        shutil.copy(tmp_path / file, torn / file)
    os.truncate(torn / "journal.sqlite-wal", (torn / "journal.sqlite-wal").stat().st_size - cut)
    with closing(Journal(torn / "journal.sqlite")) as found:
        assert found.read("place", Place) == {"here": HERE}
        assert found.read("other", Other) == {}
        assert found.token() == 9


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot open the journal"):
        Journal(tmp_path / "nowhere" / "journal.sqlite")


def test_a_locked_journal_raises_and_forgets_the_write_as_a_whole(journal: Journal, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalError, match="locked"):
            journal.write([Put("place", "here", HERE)], token=1)
    assert (journal.token(), journal.read("place", Place)) == (0, {})
    journal.write(token=2)
    assert journal.token() == 2


# --- disks that are not what they should be

_WRITE = """
import os, resource, sys
from pathlib import Path
import msgspec
from carlad.errors import CarladError
from carlad.journal import Journal, Put

class Big(msgspec.Struct):
    text: str

path, limit = Path(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:
    os.seteuid(int(sys.argv[3]))  # root may write everywhere
try:
    journal = Journal(path)
    journal.write([Put("big", "small", Big(""))], token=1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    print("open", flush=True)
    journal.write([Put("big", "large", Big("x" * 1_000_000))], token=2)
except CarladError as error:
    print(type(error).__name__, error)
    if "journal" in globals():
        print(sorted(journal.read("big", Big)), journal.token())
"""


def _written(path: Path, limit: int = resource.RLIM_INFINITY, user: int = 0) -> list[str]:
    """What a process of its own says about writing to `path`; files may then have `limit` bytes."""
    done = subprocess.run(
        [sys.executable, "-c", _WRITE, str(path), str(limit), str(user)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return list(done.stdout.splitlines())


def test_a_full_disk_is_an_error_that_loses_nothing_from_before(path: Path) -> None:
    said = _written(path, 200_000)
    assert said[0] == "open"
    assert said[1].startswith("JournalError cannot write the journal: ")
    assert said[2] == "['small'] 1"
    with closing(Journal(path)) as journal:
        assert journal.token() == 1
        journal.write(token=3)


def test_a_disk_that_is_full_at_the_start_is_no_fault_of_the_configuration(path: Path) -> None:
    """A service manager starts the daemon again then, and not where the exit code is 2."""
    script = f"""
import resource, sys
from carlad.cli import carlad
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sys.exit(carlad(["--config", {str(path.parent / "carlad.toml")!r}]))
"""
    settings = f'endpoint = "{path.parent}/run/control.sock"\nstate_dir = "{path.parent}/state"\n'
    (path.parent / "carlad.toml").write_text(f"[daemon]\n{settings}")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "cannot use the journal" in done.stderr


def test_a_journal_that_may_not_be_written_is_refused_at_once() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.sqlite"
        Journal(path).close()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        try:
            (said,) = _written(path, user=65534)
        finally:
            Path(folder).chmod(0o755)
    assert said.startswith(f"ConfigError cannot use the journal {path}: ")
    assert "readonly" in said


def test_a_process_that_is_killed_while_it_writes_leaves_whole_writes(path: Path) -> None:
    script = """
import sys
from pathlib import Path
import msgspec
from carlad.journal import Journal, Put
class N(msgspec.Struct):
    n: int
journal = Journal(Path(sys.argv[1]))
for n in range(1, 1_000_000):
    journal.write([Put("n", "a", N(n)), Put("n", "b", N(n))])
    print(n, flush=True)
"""

    class N(msgspec.Struct):
        n: int

    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        for _ in range(50):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        said = [int(line) for line in writer.stdout.read().split()]
    with closing(Journal(path)) as journal:
        found = journal.read("n", N)
    assert found["a"] == found["b"]
    assert found["a"].n >= (said[-1] if said else 50)
