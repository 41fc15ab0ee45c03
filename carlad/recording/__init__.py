"""Recordings: MCAP files that carlad's viewers replay, Foxglove opens, and a trainer's experience goes into.

>>> with Recorder(Path("drive.mcap"), {"run": "first"}) as recorder:
...     recorder.lanes(lanes)                                       # once a map
...     recorder.frame(subscriber.newest(1.0))                      # a frame bundle and its arrays
...     recorder.arrays("/step", {"observation.state": state, "action": action})
...     recorder.values("/step/numbers", {"reward": 0.5, "terminated": False})
>>> with Reader(Path("drive.mcap")) as reader:
...     print(reader.info)
...     for at_ns, arrays in reader.arrays("/step"):
...         print(arrays["action"])

Messages are compressed (zstd) in chunks of a second or a mebibyte, each on disk when it is full: a recorder
that is killed loses the chunk it was filling, and its unfinished file is read up to there. Images are JPEG
and point clouds, boxes, route and lanes have Foxglove's own schemas; arrays are exact.
"""

from carlad.recording.errors import RecordingError
from carlad.recording.reader import Info, Reader, Topic
from carlad.recording.recorder import Recorder

__all__ = ["Info", "Reader", "Recorder", "RecordingError", "Topic"]
