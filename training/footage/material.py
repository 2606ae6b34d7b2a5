"""What a training is made of: footage, decoded and divided into what is learned and what is held back."""

from dataclasses import dataclass

from inference.formats import ClipFormat, FrameFormat
from inference.scoring import MIN_FRAMES
from training.footage.dataset import FrameCache
from training.footage.split import Clips, Split, clip_starts
from training.presets import Preset


@dataclass(frozen=True, slots=True)
class Material:
    """What a training is made of.

    Attributes:
        preset: with its channels settled.
        footage: decoded.
        split: which of it is learned.
        clip: which frames make a clip.
    """

    preset: Preset
    footage: FrameCache
    split: Split
    clip: ClipFormat

    @property
    def frame(self) -> FrameFormat:
        """Of the footage at model size."""
        _, height, width, channels = self.footage.frames_FHWC.shape
        return FrameFormat(width, height, channels)

    @property
    def fps(self) -> float:
        """Frames a second of the footage that was held back."""
        return self.split.held_back[0].fps

    def clips(self) -> Clips:
        """To train on, and held back.

        Raises:
            FatalError: too few for a batch, or for the calibration.
        """
        training = clip_starts(self.split.training, self.clip, at_least=self.preset.recipe.batch)
        return Clips(self.footage, training, clip_starts(self.split.held_back, self.clip, at_least=MIN_FRAMES))
