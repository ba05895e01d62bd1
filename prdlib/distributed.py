"""Many processes, one result: tensors of all processes with gradients, batch statistics of all, and how to start them.

Every process computes the loss of the *whole* batch from gathered embeddings and sends its gradient back to the process that
an embedding came from. DistributedDataParallel then averages the gradients of the parameters, so that they are those of one
process with the whole batch (negatives of one process alone would be a smaller batch).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def processes() -> int:
    """How many processes train together; 1 outside a launcher."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def launched() -> bool:
    """Whether a launcher (torchrun, accelerate launch) started this process beside others, met or not."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def rank() -> int:
    """The number of this process among those that train together, from 0."""
    return dist.get_rank() if processes() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks; a launcher's RANK counts before they have met."""
    return (dist.get_rank() if processes() > 1 else int(os.environ.get("RANK", "0"))) == 0


def wait_for_all() -> None:
    """Return when every process has come here."""
    if processes() > 1:
        dist.barrier()


def gather(tensor: Tensor) -> Tensor:
    """[B, ...] of each process, equal in shape -> [P B, ...] in the order of processes, with gradients to each."""
    return _Gather.apply(tensor) if processes() > 1 else tensor


def gather_lists(values: list[str]) -> list[str]:
    """The lists of all processes, one after the other."""
    lists: list[Any] = [values] * processes()
    if processes() > 1:
        dist.all_gather_object(lists, values)
    return [value for part in lists for value in part]


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.size = len(tensor)
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(processes())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total[dist.get_rank() * ctx.size :][: ctx.size]


class _Sum(torch.autograd.Function):
    """Sum over processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.contiguous().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Sum.forward(ctx, grad)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with the statistics of all processes, on any device (torch's own needs a GPU).

    input: [B, C, H, W], any floating type, statistics in float32. The same B in every process.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or processes() == 1:
            return super().forward(input)
        values = input.float()
        count = processes() * values.numel() // values.shape[1]
        mean = _Sum.apply(values.sum(dim=(0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum(dim=(0, 2, 3))) / count
        if self.track_running_stats:
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / max(count - 1, 1), self.momentum)
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(input.dtype)


def synchronise_batch_norm(model: nn.Module) -> None:
    """Let every BatchNorm2d of ``model`` take its statistics from all processes; state dicts stay as they are."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm2d


class ProcessError(RuntimeError):
    """A process that was started here failed; says which and with what."""


def launch(function: Callable[..., None], arguments: tuple[Any, ...], number: int) -> None:
    """Run the importable ``function`` (torch's ``record`` around it) in ``number`` new processes, one per GPU or on CPU cores.

    Its results come back through files. For notebooks, in place of torchrun or accelerate launch: as accelerate's
    ``notebook_launcher``, but the processes are spawned, not forked, so that this one may have used a GPU or
    threads before. Raises ProcessError with the words of the first failure.
    """
    settings = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=number, run_id=uuid.uuid4().hex, rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", max_restarts=0, start_method="spawn",
    )  # fmt: skip
    try:
        elastic_launch(settings, function)(*arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        message = failure.message["message"] if isinstance(failure.message, dict) else failure.message
        raise ProcessError(f"Process {rank} of {number} failed: {message}") from error
