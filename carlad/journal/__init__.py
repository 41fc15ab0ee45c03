"""What must survive the daemon: records of its units, and the highest fencing token. Knows none of them."""

from carlad.journal.journal import Change, Delete, Journal, JournalError, Put

__all__ = ["Change", "Delete", "Journal", "JournalError", "Put"]
