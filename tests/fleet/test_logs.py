from __future__ import annotations

import shutil

from carlad.fleet.logs import log_path, tail
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
