"""Misbehaviour on demand, so that a supervisor can be tested on real processes: kinds.py lists it."""

from carlad.standin.faults.faults import Faults
from carlad.standin.faults.file import FaultFile
from carlad.standin.faults.kinds import KINDS, Fault, FaultError, parse_fault

__all__ = ["KINDS", "Fault", "FaultError", "FaultFile", "Faults", "parse_fault"]
