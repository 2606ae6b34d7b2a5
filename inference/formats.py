"""What a network is fed: the frames, and which of them make a clip."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """What the network eats: ``width`` x ``height`` pixels with 1 (grey) or 3 (BGR) channels."""

    width: int
    height: int
    channels: int


@dataclass(frozen=True, slots=True)
class ClipFormat:
    """Which frames make a clip: ``length`` of them, each ``stride`` after the one before."""

    length: int
    stride: int = 1

    @property
    def span(self) -> int:
        """Consecutive frames from the first of a clip to its last."""
        return (self.length - 1) * self.stride + 1
