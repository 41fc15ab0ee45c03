"""The answers that were given, for requests that are sent again."""

from __future__ import annotations

from carlad.broker.effects import Answer, Effect
from carlad.broker.recent import Recent
from carlad.messages import ReplyBody

ANSWERS_KEPT = 4096  # clients send again within seconds


class Answers:
    def __init__(self) -> None:
        self._kept: Recent[ReplyBody] = Recent(ANSWERS_KEPT)

    def again(self, request_id: str) -> list[Effect]:
        """The answer that it got, or nothing where it has none yet."""
        answer = self._kept.get(request_id)
        return [] if answer is None else [Answer(request_id, answer)]

    def give(self, request_id: str, body: ReplyBody) -> list[Effect]:
        """Also to who sends that request later. Of "unavailable" and "overloaded", too: a copy that comes
        late must not get a server for somebody who has asked anew, as another request, meanwhile."""
        self._kept.put(request_id, body)
        return [Answer(request_id, body)]
