"""One training over several processes, each with its share of every batch; the result is that of one process.

``torchrun`` starts the processes. Gradients are averaged by DistributedDataParallel; what depends on the whole batch,
batch norm's statistics and the update of the bank, is put together over all processes.

Dimensions: B samples, M items, C channels.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from networks.memory import ItemStatistics
from schemas.errors import FatalError


@dataclass(frozen=True, slots=True)
class World:
    """This process among those of the training.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        device: torch device of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is nobody to wait for."""
        return self.size == 1

    def share(self, batch: int) -> slice:
        """This process's part of a batch.

        Raises:
            FatalError: the batch cannot be cut into equal parts.
        """
        if batch % self.size:
            text = f"a batch must be a multiple of the number of processes, got {batch} clips for {self.size}"
            raise FatalError(f"{text}; give another --batch, or torchrun another --nproc-per-node")
        part = batch // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def wait(self) -> None:
        """Go on when all processes are here."""
        if not self.is_alone:
            dist.barrier()

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes; each gets the same."""
        if not self.is_alone:
            dist.all_reduce(values)
        return values


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """The world that ``torchrun`` tells of, or one process by itself.

    Args:
        device: "auto" or a torch device name; with several processes on CUDA, each takes the one of its local rank.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, torch.device(kind))
        return
    own = torch.device(kind, int(os.environ["LOCAL_RANK"])) if kind == "cuda" else torch.device(kind)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), size, own)
    finally:
        dist.destroy_process_group()


def spread(network: nn.Module, world: World) -> nn.Module:
    """What to call instead of ``network`` in training: the same, with gradients averaged over all processes.

    The network's batch norms are replaced in place by ones that see the whole batch; its state keeps its names.
    """
    if world.is_alone:
        return network
    _sync_batch_norm(network, world)
    local = [world.device.index] if world.device.type == "cuda" else None
    return DistributedDataParallel(network, device_ids=local)


def gathered(statistics: ItemStatistics, world: World) -> ItemStatistics:
    """Of all samples of the batch, in the order of the processes."""
    if world.is_alone:
        return statistics
    return ItemStatistics(
        *(_gathered(part) for part in (statistics.running_max_BM, statistics.sums_BMC, statistics.counts_BM))
    )


def _gathered(part: Tensor) -> Tensor:
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts)


def _sync_batch_norm(module: nn.Module, world: World) -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
            module.register_module(name, _synced(child, world))
        else:
            _sync_batch_norm(child, world)


def _synced(norm: nn.BatchNorm2d | nn.BatchNorm3d, world: World) -> nn.Module:
    if world.device.type == "cuda":
        synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)  # type: ignore[no-untyped-call]
        return synced
    replacement = WholeBatchNorm(norm.num_features, norm.eps)
    replacement.to(norm.weight).load_state_dict(norm.state_dict())
    replacement.weight, replacement.bias = norm.weight, norm.bias  # the very ones that the optimizer knows
    return replacement


class WholeBatchNorm(nn.BatchNorm2d):
    """Batch norm of images or clips over the batches of all processes; PyTorch's own exists on CUDA only."""

    running_mean: Tensor
    running_var: Tensor
    momentum: float

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise (B, C, ...) by mean and variance of the whole batch in training, by the running ones otherwise."""
        mean, variance = self._whole_batch(maps) if self.training else (self.running_mean, self.running_var)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (maps - _over_channels(mean, maps)) * _over_channels(scale, maps) + _over_channels(self.bias, maps)

    def _whole_batch(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        axes = [axis for axis in range(maps.dim()) if axis != 1]
        mean = _mean_over_processes(maps.mean(axes))
        variance = _mean_over_processes((maps - _over_channels(mean, maps)).square().mean(axes))
        count = dist.get_world_size() * maps.numel() // maps.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return mean, variance


class _SumOverProcesses(torch.autograd.Function):
    """Sum over all processes; so is its gradient, since each process's result depends on all summands."""

    @staticmethod
    def forward(_context: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def _mean_over_processes(values: Tensor) -> Tensor:
    total: Tensor = _SumOverProcesses.apply(values)
    return total / dist.get_world_size()


def _over_channels(values_C: Tensor, maps: Tensor) -> Tensor:
    return values_C.view(1, -1, *(1,) * (maps.dim() - 2))
