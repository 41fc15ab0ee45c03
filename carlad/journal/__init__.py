"""What must survive the daemon: records of its units, and the highest fencing token. Knows none of them."""

from carlad.journal.journal import Change, DamagedError, Delete, Journal, JournalError, Put
from carlad.journal.opening import open_journal

__all__ = ["Change", "DamagedError", "Delete", "Journal", "JournalError", "Put", "open_journal"]
