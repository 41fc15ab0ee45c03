"""`python -m trainer export`."""

from __future__ import annotations

import argparse
from pathlib import Path

from trainer.cli.command import Commands, add_command, console_with_log

_EXAMPLES = """\
  python -m trainer export data/first                                   # its newest, as policy.onnx there
  python -m trainer export data/first/checkpoints/best.pt --out policy.onnx
"""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "export",
        _run,
        "Write a policy as ONNX. What was written is run and compared with the policy before it counts.",
        _EXAMPLES,
    )
    parser.add_argument("checkpoint", type=Path, help="a file, or a run's folder")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="(default: policy.onnx beside the checkpoint, or in the run)"
    )


def _run(arguments: argparse.Namespace) -> int:
    console_with_log()
    try:
        import onnxruntime
        import onnxscript
    except ImportError as error:
        raise ImportError(
            f"cannot export: {error}; install the extra: pip install 'carlad[export]'"
        ) from error
    del onnxruntime, onnxscript
    from trainer import checkpoint, export

    path = arguments.checkpoint
    folder = path if path.is_dir() else path.parent
    out = arguments.out or folder / "policy.onnx"
    difference = export.export(checkpoint.load(checkpoint.find(path)), out)
    print(f"written to {out}: its actions agree with the policy's to within {difference:.2g}")
    return 0
