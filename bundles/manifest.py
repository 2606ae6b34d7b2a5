"""The manifest of a bundle: what was trained, how, on what, and the digest of every other file."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from bundles.files import parsed, read
from schemas.messages import Digest

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
INITIAL_BANK = "initial_bank.safetensors"
CALIBRATION = "calibration.json"

MAX_DEPTH = 16
"""Halvings that leave nothing of the largest image."""
Pixels = Annotated[int, Field(ge=1, le=65535)]


class Manifest(BaseModel):
    """Frozen; its bytes name the bundle, since they name every other file's bytes.

    Attributes:
        model: name of the network, see ``networks.registry``.
        parameters: of the network.
        clip_length: frames that one score needs.
        frame_stride: a clip takes every n-th frame.
        width, height, channels: of a frame at model size.
        fps: frames a second of the footage it was trained on; the rate a camera should send.
        jpeg_quality: at which frames were encoded before they were learned, as a camera should send them; None: they
            were not, or it is not known.
        training_data_digest: SHA-256 over names and content of the footage.
        cameras: names of the cameras that the footage is from, where there are several; none = not told.
        software: name and version of what wrote it.
        digests: SHA-256 of the other files, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    model: str
    parameters: dict[str, Any]
    clip_length: Annotated[int, Field(ge=1)]
    frame_stride: Annotated[int, Field(ge=1)] = 1
    width: Pixels
    height: Pixels
    channels: Literal[1, 3]
    fps: Annotated[float, Field(gt=0)]
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = None
    seed: int
    training_data_digest: Digest
    cameras: tuple[str, ...] = ()
    software: str
    digests: dict[str, Digest] = Field(default_factory=dict)

    @property
    def places_per_frame(self) -> int:
        """Most query places of one frame: those of the network's coarsest level, one a pixel if its depth is unknown.

        Read off what every bundle has always named, so that bundles written before need nothing new.
        """
        depth = self.parameters.get("depth")
        halvings = depth - 1 if isinstance(depth, int) and 1 <= depth <= MAX_DEPTH else 0
        return (self.width >> halvings) * (self.height >> halvings)


def load_manifest(bundle: Path) -> Manifest:
    """The manifest alone: size and rate of frames, for an edge that needs neither weights nor the libraries for them.

    Raises:
        BundleError: it is missing, or of another version.
    """
    return parsed(Manifest, bundle / MANIFEST, read(bundle / MANIFEST))
