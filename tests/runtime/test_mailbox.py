from __future__ import annotations

import pytest
import trio
import trio.testing

from carlad.runtime import Mailbox, NoAnswerError


async def double(number: int) -> int:
    return 2 * number


async def fail(number: int) -> int:
    raise ValueError(number)


def run(test) -> None:
    trio.run(test, clock=trio.testing.MockClock(autojump_threshold=0))


def test_requests_are_answered_in_the_order_they_were_asked():
    async def scenario():
        mailbox = Mailbox[int, int](4)
        answers = []

        async def ask(number):
            answers.append(await mailbox.ask(number))

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(ask, number)
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(mailbox.serve, double)
            await trio.testing.wait_all_tasks_blocked()
            mailbox.close()
        assert answers == [0, 2, 4, 6]

    run(scenario)


def test_asking_waits_while_the_mailbox_is_full():
    async def scenario():
        mailbox = Mailbox[int, int](1)
        with trio.move_on_after(5) as waited:
            async with trio.open_nursery() as nursery:
                for number in range(3):
                    nursery.start_soon(mailbox.ask, number)
        assert waited.cancelled_caught
        mailbox.close()

    run(scenario)


def test_a_request_whose_handler_fails_has_no_answer_and_the_next_one_is_served():
    async def scenario():
        mailbox = Mailbox[int, int](4)
        async with trio.open_nursery() as nursery:

            async def unit():
                with pytest.raises(ValueError, match="7"):
                    await mailbox.serve(fail)
                await mailbox.serve(double)

            nursery.start_soon(unit)
            with pytest.raises(NoAnswerError, match="7"):
                await mailbox.ask(7)
            assert await mailbox.ask(8) == 16
            mailbox.close()

    run(scenario)


def test_an_asker_that_gives_up_does_not_disturb_the_unit():
    async def scenario():
        mailbox = Mailbox[int, int](4)

        async def slowly(number):
            await trio.sleep(10)
            return number

        async with trio.open_nursery() as nursery:
            nursery.start_soon(mailbox.serve, slowly)
            with trio.move_on_after(1) as asked:
                await mailbox.ask(1)
            assert asked.cancelled_caught
            assert await mailbox.ask(2) == 2
            assert trio.current_time() == pytest.approx(20, abs=1e-6) or trio.current_time() > 20
            mailbox.close()

    run(scenario)


def test_closing_releases_those_who_wait_and_those_who_come_late():
    async def scenario():
        mailbox = Mailbox[int, int](1)
        released = []

        async def ask(number):
            with pytest.raises(NoAnswerError):
                await mailbox.ask(number)
            released.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ask, number)
            await trio.testing.wait_all_tasks_blocked()
            mailbox.close()
        assert sorted(released) == [0, 1, 2]
        with pytest.raises(NoAnswerError, match="closed"):
            await mailbox.ask(9)

    run(scenario)
