from __future__ import annotations

import shutil

import pytest

from carlad.fleet.logs import log_path, newest, since, tail
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
    files = [path.with_name("server.log.2"), path.with_name("server.log.1"), path]
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


@pytest.mark.parametrize("lines", [1, 7, 500])
def test_reading_on_loses_nothing_and_repeats_nothing_however_often_the_log_is_rotated(tmp_path, lines):
    path = tmp_path / "server.log"
    log = RotatedLog(str(path), bytes_max=200, files_max=4)
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
