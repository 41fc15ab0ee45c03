"""What every unit of the daemon is made of: a mailbox, a supervisor, a signal. Knows nothing of CARLA."""

from carlad.runtime.changes import Changes
from carlad.runtime.mailbox import Mailbox, NoAnswerError
from carlad.runtime.roll import Ask, roll_call
from carlad.runtime.supervisor import RestartPolicy, Restarts, RestartsExhaustedError, supervise
from carlad.runtime.turns import Turns

__all__ = [
    "Ask",
    "Changes",
    "Mailbox",
    "NoAnswerError",
    "RestartPolicy",
    "Restarts",
    "RestartsExhaustedError",
    "Turns",
    "roll_call",
    "supervise",
]
