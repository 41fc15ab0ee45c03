"""Env sessions, the daemon's side: each a leased server and an env host on it, both replaced when lost."""
