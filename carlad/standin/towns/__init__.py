"""The towns that come with the stand-in, and towns made of a user's OpenDRIVE text.

available()                      # ("/Game/Carla/Maps/Town01", ...), as get_available_maps answers
load("Town01")                   # a Town; path prefixes are accepted, KeyError-like UnknownTown otherwise
from_opendrive(name, xodr)       # a Town of any OpenDRIVE text; raises BadOpenDrive
"""
