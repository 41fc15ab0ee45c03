"""What `carlactl doctor --server` does: it starts one server as the fleet would, measures it, asks it
everything that carlad relies on, ends it, and says what to make of it.

All that was asked and answered is kept in a transcript. A transcript of a server that nobody here can run
is a test case: tests/checkup replays it.
"""
