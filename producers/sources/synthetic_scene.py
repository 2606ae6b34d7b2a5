"""The synthetic walkway as a source: ``synthetic://walkway?seed=1&seconds=60&fps=10&anomalies=1``.

``camera=7`` has it seen by another camera, at a place of its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from producers.sources.address import Address
from producers.sources.frame import CapturedFrame
from producers.sources.options import SourceOptions
from producers.sources.recorded import RecordedSource
from producers.synthetic.scene import SyntheticScene
from schemas.errors import SettingsError

_DEFAULTS = {"seed": "0", "seconds": "60", "fps": "10", "anomalies": "1", "camera": "0"}


class SyntheticSource(RecordedSource):
    """A rendered scene; ``scene.truth`` says what is abnormal in it."""

    def __init__(self, address: Address, scene: SyntheticScene, seconds: float, options: SourceOptions) -> None:
        """``seconds`` 0 = without end."""
        self.scene = scene
        self._num_frames = round(seconds * scene.fps) if seconds else None
        # Each frame is one step of the scene, so its rate, and no other, is that of the source.
        super().__init__(address.shown, scene.fps, replace(options, fps=None))

    def _timed(self, start: datetime) -> Iterator[CapturedFrame]:
        for index, image in enumerate(self.scene.frames(self._num_frames)):
            if self._closed.is_set():
                return
            self._board.set("online", "being read")
            offset_s = index / self._fps
            yield CapturedFrame(image, start + timedelta(seconds=offset_s), "media", offset_s=offset_s)


def open_synthetic(address: Address, options: SourceOptions) -> SyntheticSource:
    """Read the fields of a synthetic address.

    Raises:
        SettingsError: unknown scene or field, or a value out of range.
    """
    place = address.host
    if place != "walkway":
        raise SettingsError(f"a synthetic scene must be 'walkway', got '{place}'")
    fields = address.query
    if unknown := sorted(fields.keys() - _DEFAULTS.keys()):
        raise SettingsError(f"fields of '{address.shown}' must be among {sorted(_DEFAULTS)}, got {unknown}")
    return _build(address, _DEFAULTS | fields, options)


def _build(address: Address, fields: Mapping[str, str], options: SourceOptions) -> SyntheticSource:
    try:
        seed, seconds, fps = int(fields["seed"]), float(fields["seconds"]), float(fields["fps"])
        camera = int(fields["camera"])
        anomalies = {"0": False, "1": True}[fields["anomalies"]]
    except (ValueError, KeyError) as error:
        text = (
            f"seed and camera must be whole numbers, seconds and fps numbers, anomalies 0 or 1, got '{address.shown}'"
        )
        raise SettingsError(text) from error
    if min(seed, camera) < 0 or not 0 <= seconds < 1e7 or not 0 < fps <= 1000:
        raise SettingsError(f"seed, camera and seconds must be >= 0 and fps in (0, 1000], got '{address.shown}'")
    return SyntheticSource(address, SyntheticScene(seed, fps, anomalies=anomalies, camera=camera), seconds, options)
