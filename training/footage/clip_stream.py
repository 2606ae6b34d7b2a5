"""Clips on their way to the network, in an order that is given; on a GPU without making it wait.

Dimensions: B clips, T frames, H x W pixels, K colours, F frames of the cache.
"""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from inference.formats import ClipFormat
from schemas.arrays import Int64
from training.footage.dataset import FrameCache

SHARE_OF_FREE_MEMORY = 0.4
"""A cache up to this share of the GPU's free memory moves there as a whole."""
UPLOAD_FRAMES = 256
BATCHES_AHEAD = 4

Stream = Callable[[Iterator[Int64]], Generator[Tensor, None, None]]
"""From first frames of each batch's clips to clips (B, T, H, W, K) uint8 on the device."""
Batches: TypeAlias = "queue.Queue[Tensor | BaseException | None]"
"""None is the end."""


def clip_stream(footage: FrameCache, form: ClipFormat, device: torch.device) -> Stream:
    """The way that suits the device: from its own memory, ahead of time, or straight from the cache."""
    if device.type != "cuda":
        return DirectStream(footage, form)
    if footage.frames_FHWC.nbytes <= SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]:
        return ResidentStream(uploaded(footage, device), form)
    return PrefetchedStream(footage, form, device)


@dataclass(frozen=True, slots=True)
class DirectStream:
    """Reads each batch when it is asked for, into the host's memory."""

    footage: FrameCache
    form: ClipFormat

    def __call__(self, starts: Iterator[Int64]) -> Generator[Tensor, None, None]:
        """See ``Stream``."""
        for batch in starts:
            yield torch.from_numpy(self.footage.clips(batch, self.form.length, self.form.stride))


@dataclass(frozen=True, slots=True)
class ResidentStream:
    """Gathers on the device, which holds all frames: nothing but indices is sent to it."""

    frames_FHWK: Tensor
    form: ClipFormat

    def __call__(self, starts: Iterator[Int64]) -> Generator[Tensor, None, None]:
        """See ``Stream``."""
        device = self.frames_FHWK.device
        within_T = self.form.stride * torch.arange(self.form.length, device=device)
        for batch in starts:
            first_B = torch.from_numpy(batch).to(device, non_blocking=True)
            yield self.frames_FHWK[first_B[:, None] + within_T]


@dataclass(frozen=True, slots=True)
class PrefetchedStream:
    """Reads a few batches ahead in a thread, into pinned memory where the device is a GPU."""

    footage: FrameCache
    form: ClipFormat
    device: torch.device

    def __call__(self, starts: Iterator[Int64]) -> Generator[Tensor, None, None]:
        """See ``Stream``. Closing the iterator ends the thread."""
        read: Batches = queue.Queue(BATCHES_AHEAD)
        closed = threading.Event()
        thread = threading.Thread(target=self._read, args=(starts, read, closed), name="clips", daemon=True)
        thread.start()
        try:
            while (batch := read.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield batch.to(self.device, non_blocking=True)
        finally:
            closed.set()
            thread.join()

    def _read(self, starts: Iterator[Int64], read: Batches, closed: threading.Event) -> None:
        try:
            for clips in DirectStream(self.footage, self.form)(starts):
                if not _put(read, clips.pin_memory() if self.device.type == "cuda" else clips, closed):
                    return
            _put(read, None, closed)
        except BaseException as error:  # raised where the batch is awaited
            _put(read, error, closed)


def uploaded(footage: FrameCache, device: torch.device) -> Tensor:
    """All frames on the device, (F, H, W, K) uint8."""
    frames_FHWK = torch.empty(footage.frames_FHWC.shape, dtype=torch.uint8, device=device)
    for first in range(0, len(frames_FHWK), UPLOAD_FRAMES):
        part = slice(first, first + UPLOAD_FRAMES)
        frames_FHWK[part].copy_(torch.from_numpy(np.array(footage.frames_FHWC[part])))
    return frames_FHWK


def _put(read: Batches, what: Tensor | BaseException | None, closed: threading.Event) -> bool:
    """Whether it was taken; False once the other end has closed."""
    while not closed.is_set():
        try:
            read.put(what, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
