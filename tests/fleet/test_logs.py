from __future__ import annotations

import re
import shutil
import time

import pytest

from carlad.fleet.logs import last_words, log_path, newest, since, tail
from carlad.fleet.shim import RotatedLog


def test_the_newest_lines_come_from_all_files_oldest_first(tmp_path):
    path = log_path(tmp_path, 3)
    log = RotatedLog(str(path), bytes_max=100, files_max=4)
    for number in range(30):
        log.write(b"line %02d of the log\n" % number)
    assert path.parent.name == "slot-3"
    assert tail(path, 12) == tuple(f"line {number:02} of the log" for number in range(18, 30))


def test_a_missing_log_has_no_lines(tmp_path):
    assert tail(tmp_path / "server.log", 5) == ()


def test_a_line_without_its_end_and_bytes_that_are_no_text_are_shown(tmp_path):
    (tmp_path / "server.log").write_bytes(b"one\r\n\xff two\nthree")
    assert tail(tmp_path / "server.log", 5) == ("one", "� two", "three")


def test_a_line_that_is_cut_by_the_limit_is_left_out(tmp_path):
    (tmp_path / "server.log").write_bytes(b"x" * 10_000 + b"\nlast\n")
    assert tail(tmp_path / "server.log", 1) == ("last",)
    assert tail(tmp_path / "server.log", 2) == ("last",)


def test_rotation_cuts_at_line_ends_loses_nothing_and_has_a_bound(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=1000, files_max=3)
    written = b"".join(b"%04d %s\n" % (n, b"x" * (n % 50)) for n in range(200))
    for start in range(0, len(written), 173):
        log.write(written[start : start + 173])
    files = [*sorted(tmp_path.glob("server.log.*"), key=lambda file: int(file.suffix[1:])), path]
    assert len(files) == 3
    contents = [file.read_bytes() for file in files]
    assert written.endswith(b"".join(contents))
    assert all(len(content) <= 1000 for content in contents)
    assert all(content.endswith(b"\n") for content in contents)
    assert sorted(tmp_path.iterdir()) == sorted(files)


def test_one_endless_line_is_cut_too(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=1000, files_max=2)
    for _ in range(10):
        log.write(b"x" * 777)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 2000


def test_a_log_goes_on_where_the_last_incarnation_stopped(tmp_path):
    path = tmp_path / "server.log"
    RotatedLog(str(path), bytes_max=1000, files_max=2).write(b"first\n")
    RotatedLog(str(path), bytes_max=1000, files_max=2).write(b"second\n")
    assert tail(path, 5) == ("first", "second")


def test_a_flood_is_dropped_and_counted(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=64 << 20, files_max=2)
    chunk = b"x" * 63 + b"\n"
    for _ in range(20):
        log.write(chunk * (1 << 14))  # 1 MiB each
    assert 10 << 20 <= log.dropped_bytes <= 12 << 20
    assert path.stat().st_size == (20 << 20) - log.dropped_bytes


def test_a_folder_that_vanishes_costs_lines_and_no_more(tmp_path):
    path = tmp_path / "logs" / "server.log"
    path.parent.mkdir()
    log = RotatedLog(str(path), bytes_max=100, files_max=3)
    shutil.rmtree(path.parent)
    for _ in range(10):
        log.write(b"x" * 59 + b"\n")
    assert log.dropped_bytes >= 480
    path.parent.mkdir()
    log.write(b"again\n")
    assert tail(path, 1) == ("again",)


def test_a_folder_that_cannot_be_written_is_no_obstacle_to_a_start(tmp_path):
    log = RotatedLog(str(tmp_path / "nowhere" / "server.log"), bytes_max=100, files_max=2)
    log.write(b"lost\n")
    assert log.dropped_bytes == 5


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("lines", [1, 7, 500])
def test_reading_on_loses_nothing_and_repeats_nothing_however_often_the_log_is_rotated(
    tmp_path, lines, compress
):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=200, files_max=4, compress=compress)
    log.write(b"before\n")
    place, seen, written = newest(path, 1).place, [], []
    for number in range(300):
        words = "x" * (number % 60)
        log.write(f"{number} {words}".encode())  # the line is not ended yet
        seen += (excerpt := since(path, place, lines)).lines
        log.write(b"\n")
        place = excerpt.place
        written.append(f"{number} {words}")
        assert not excerpt.is_gap
    while (excerpt := since(path, place, lines)).lines:
        seen, place = [*seen, *excerpt.lines], excerpt.place
    assert seen == written


def test_who_reads_on_too_late_is_told_of_the_gap(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=100, files_max=3)
    log.write(b"first\n")
    place = newest(path, 1).place
    for number in range(100):
        log.write(b"line %03d\n" % number)
    excerpt = since(path, place, 1000)
    assert excerpt.is_gap
    assert excerpt.lines[-1] == "line 099"
    assert not since(path, excerpt.place, 1000).is_gap


def test_an_inode_that_is_used_again_is_not_taken_for_the_old_file(tmp_path):
    path = tmp_path / "server.log"
    path.write_bytes(b"old one\n" * 10)
    place = newest(path, 1).place
    path.write_bytes(b"another\n" * 20)  # the same inode
    assert since(path, place, 1000) == ((("another",) * 20), newest(path, 1).place, None, True)


def test_a_log_that_is_not_there_yet_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "server.log"
    place = newest(path, 10).place
    assert since(path, place, 10) == ((), place, None, False)
    path.write_bytes(b"first\nsec")
    assert since(path, place, 10).lines == ("first",)
    assert newest(path, 10).unfinished == "sec"


@pytest.mark.parametrize("place", ["", "x", "1.2", "-1.-1.-1", "ffffffffffffffffffffff.0.0"])
def test_a_place_that_is_none_is_a_gap(tmp_path, place):
    path = tmp_path / "server.log"
    path.write_bytes(b"only\n")
    assert since(path, place, 10)[0::3] == (("only",), True)


def test_an_endless_line_is_read_in_pieces(tmp_path):
    path = tmp_path / "server.log"
    path.write_bytes(b"first\n" + b"x" * ((2 << 20) + 5) + b"\nlast\n")
    place, sizes = since(path, "-", 1).place, []
    while (excerpt := since(path, place, 10)).lines:
        place = excerpt.place
        sizes += [len(line) for line in excerpt.lines]
    assert sizes == [1 << 20, 1 << 20, 5, 4]


def _packed(log):
    """Waits for the thread that compresses."""
    log._packer.join()
    return log


def test_older_files_are_compressed_and_read_like_the_others(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=1000, files_max=5, compress=True)
    for number in range(500):
        log.write(b"line %03d\n" % number)
        if log._packer is not None:
            _packed(log)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert [name.endswith(".gz") for name in names] == [False, True, True, True, False]
    found = tail(path, 10_000)
    assert found == tuple(f"line {number:03}" for number in range(500))


def test_a_flood_leaves_no_more_files_than_it_may_while_they_are_compressed(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=4096, files_max=3, compress=True)
    for number in range(5000):
        log.write(b"%06d %s\n" % (number, b"x" * 90))
    _packed(log)
    assert len(list(tmp_path.iterdir())) <= 3
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3 * 4096
    assert tail(path, 1)[0].startswith("004999 ")


def test_what_a_killed_shim_left_half_compressed_is_taken_up_again(tmp_path):
    path = tmp_path / "server.log"
    (tmp_path / "server.log.1").write_bytes(b"one\n")
    (tmp_path / "server.log.2").write_bytes(b"two\n")
    (tmp_path / "server.log.packing").write_bytes(b"\x1f\x8b half")
    log = RotatedLog(str(path), bytes_max=10, files_max=4, compress=True)
    log.write(b"three\n")
    log.write(b"four\nfive\n")
    _packed(log)
    assert tail(path, 9)[-3:] == ("three", "four", "five")
    assert not (tmp_path / "server.log.packing").exists()


def test_a_damaged_file_hides_no_other(tmp_path):
    path = tmp_path / "server.log"
    (tmp_path / "server.log.1.gz").write_bytes(b"no gzip")
    (tmp_path / "server.log.2").write_bytes(b"two\n")
    path.write_bytes(b"three\n")
    assert tail(path, 9) == ("two", "three")


def test_lines_are_stamped_with_when_they_came_however_they_are_cut(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=10_000, files_max=2, stamps=True)
    for piece in (b"one\ntw", b"o\n\nthree", b"\n", b"four\n"):
        log.write(piece)
    lines = tail(path, 9)
    assert [line[25:] for line in lines] == ["one", "two", "", "three", "four"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line[:25]) for line in lines)


def test_an_old_file_is_closed_before_the_next_line(tmp_path, monkeypatch):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=10_000, files_max=3, age_max_s=60.0)
    log.write(b"old\n")
    now = time.time()
    monkeypatch.setattr("carlad.fleet.shim.time.time", lambda: now + 61.0)
    log.write(b"new\n")
    assert (tmp_path / "server.log.1").read_bytes() == b"old\n"
    assert path.read_bytes() == b"new\n"


def test_last_words_are_the_newest_server_s_without_stamps(tmp_path):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=10_000, files_max=2, stamps=True)
    log.write(b"[carlad] starting /x\nof the one before\n[carlad] starting /y\nlast\nwords\n")
    assert last_words(path) == ("last", "words")
