from __future__ import annotations

from pathlib import Path

import pytest

from carlad.fleet.autopsy import Cause, autopsy, kernel_kills

CRASH_HANDLER = [
    "Signal 11 caught.",
    "Malloc Size=65538 LargeMemoryPoolOffset=65554 ",
    "CommonUnixCrashHandler: Signal=11",
    "Engine crash handling finished; re-raising signal 11 for the default handler. Good bye.",
]
SEGFAULT = "exited with status 139 (SIGSEGV)"


@pytest.mark.parametrize(
    ("how", "lines", "cause"),
    [
        (SEGFAULT, [" with error VK_ERROR_DEVICE_LOST", *CRASH_HANDLER], Cause.GPU_LOST),
        (SEGFAULT, [" with error VK_ERROR_OUT_OF_DEVICE_MEMORY", *CRASH_HANDLER], Cause.GPU_MEMORY),
        (SEGFAULT, ["Out of memory on Vulkan; MemoryTypeIndex=1, AllocSize=15MB"], Cause.GPU_MEMORY),
        (
            SEGFAULT,
            ["GameThread timed out waiting for RenderThread after 60.00 secs", *CRASH_HANDLER],
            Cause.RENDER_THREAD,
        ),
        (SEGFAULT, ["Exception thrown: bind: Address already in use", *CRASH_HANDLER], Cause.PORT_IN_USE),
        ("exited with status 1", ["Cannot find a compatible Vulkan driver (ICD)."], Cause.NO_GPU_DRIVER),
        ("exited with status 1", ["Refusing to run with the root privileges."], Cause.AS_ROOT),
        (SEGFAULT, ["terminating with uncaught exception: std::bad_alloc", *CRASH_HANDLER], Cause.MEMORY),
        ("exited with status 127", ["x: error while loading shared libraries: a.so"], Cause.LIBRARY_MISSING),
        (
            SEGFAULT,
            ["Assertion failed: InSize == 0", *CRASH_HANDLER],
            Cause.ASSERTION,
        ),
        (SEGFAULT, CRASH_HANDLER, Cause.SEGFAULT),
        ("was killed by SIGSEGV", [], Cause.SEGFAULT),
        ("was killed by SIGKILL", [], Cause.KILLED),
        ("exited with status 3", ["a last word"], Cause.EXITED),
        ("its shim ended unexpectedly", [], Cause.EXITED),
    ],
)
def test_the_cause_is_read_from_what_real_servers_say(how: str, lines: list[str], cause: Cause) -> None:
    assert autopsy(how, ["4.26.2-0+++UE4+Release-4.26 522 0", *lines]).cause is cause


def test_the_telling_line_is_quoted_not_the_crash_handler_s() -> None:
    verdict = autopsy(SEGFAULT, [" with error VK_ERROR_DEVICE_LOST", *CRASH_HANDLER])
    assert str(verdict) == "GPU lost; it said: with error VK_ERROR_DEVICE_LOST"


def test_a_remedy_is_named_where_there_is_one() -> None:
    assert "lower fleet.quality" in str(autopsy(SEGFAULT, ["VK_ERROR_OUT_OF_DEVICE_MEMORY"]))


def test_a_kill_while_the_kernel_ran_out_of_memory_is_put_down_to_that() -> None:
    assert autopsy("was killed by SIGKILL", ["working"], out_of_memory=True).cause is Cause.MEMORY
    assert autopsy("was killed by SIGTERM", ["working"], out_of_memory=True).cause is Cause.EXITED


def test_without_a_cause_the_last_words_are_quoted() -> None:
    assert str(autopsy("exited with status 3", ["first", "last", "  "])) == "it said: last"
    assert str(autopsy("exited with status 3", [])) == "it said nothing"


def test_endless_lines_are_cut() -> None:
    assert len(autopsy("exited with status 3", ["x" * 10_000]).line) == 200


def test_the_kernel_s_counter_is_read(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("nr_free_pages 1\noom_kill 12\nx 3\n")
    assert kernel_kills(vmstat) == 12
    vmstat.write_text("nr_free_pages 1\n")
    assert kernel_kills(vmstat) == 0
    assert kernel_kills() >= 0
