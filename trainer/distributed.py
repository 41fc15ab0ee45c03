"""Several processes that learn one policy together, as torchrun starts them; alone, all of this is free.

Each process has environments of its own. Gradients, scales and decisions are shared, so that all of them
hold the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from carlad.errors import ConfigError


class Ranks(NamedTuple):
    """Which of the processes this is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one reports, saves and evaluates."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Each parameter's gradient becomes the mean over all processes. Those without one are left out."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        first = 0
        for gradient in gradients:
            gradient.copy_(flat[first : first + gradient.numel()].view_as(gradient))
            first += gradient.numel()

    def mean(self, value: Tensor) -> Tensor:
        """Over all processes, of a tensor of the same shape in each."""
        return self.sum(value) / self.size

    def sum(self, value: Tensor) -> Tensor:
        """As `mean`."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether it is so in any process; what a GPU has to do still is not waited for."""
        return bool(self.sum(torch.tensor(float(flag))) > 0) if self.size > 1 else flag

    def gather(self, value: Any) -> list[Any]:
        """What each process has, by rank; in all of them."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, value)
        return found

    def share_first(self, module: torch.nn.Module) -> None:
        """All processes get the first one's weights."""
        if self.size > 1:
            for part in module.state_dict().values():
                distributed.broadcast(part, 0)


ALONE = Ranks()


@contextmanager
def joined(device: str) -> Iterator[tuple[Ranks, torch.device]]:
    """This process among those that torchrun started, if it did, and the device that it computes on.

    `device` is "cpu", "cuda", "cuda:N", or "auto": a GPU where there is one. Raises ConfigError.
    """
    found = _device(device)
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE, found
        return
    if found.type == "cuda":
        found = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        _check(found)
        torch.cuda.set_device(found)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if found.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), size), found
        distributed.barrier()  # gloo's threads end badly where the others' have gone before
    finally:
        distributed.destroy_process_group()


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"cannot use train.device {name!r}: it is auto, cpu, cuda or cuda:N")
    _check(device)
    return device


def _check(device: torch.device) -> None:
    if device.type != "cuda":
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise ConfigError(
            f"cannot compute on {str(device)!r}: PyTorch {torch.__version__} finds {count} CUDA devices; "
            f"set train.device to auto or cpu, or install a PyTorch for this machine's GPU driver"
        )
