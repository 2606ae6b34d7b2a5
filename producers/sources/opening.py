"""From what a person writes to a source."""

from functools import partial
from pathlib import Path

from producers.sources.address import Address, parse_address
from producers.sources.capture import open_camera
from producers.sources.frame import Source
from producers.sources.image_folder import ImageFolderSource
from producers.sources.live import LiveSource
from producers.sources.options import SourceOptions
from producers.sources.synthetic_scene import open_synthetic
from producers.sources.video_file import VideoFileSource

_DEFAULT = SourceOptions()


def open_source(text: str, options: SourceOptions = _DEFAULT) -> Source:
    """Open whatever a person names as a source.

    That is a video file, a folder of images, ``rtsp(s)://``, ``http(s)://``, ``/dev/video0`` or its number, or
    ``synthetic://walkway?seed=1&seconds=60&fps=10&anomalies=1`` (seconds=0: without end).

    Cameras are opened when the iteration starts, and for ever again; files at once.

    Raises:
        SettingsError: the text names no kind of source, or a field of a synthetic address is wrong.
        FatalError: a file or folder cannot be read.
    """
    address = parse_address(text)
    if address.kind == "file":
        return VideoFileSource(Path(address.location), options)
    if address.kind == "folder":
        return ImageFolderSource(Path(address.location), options)
    if address.kind == "synthetic":
        return open_synthetic(address, options)
    return _open_live(address, options)


def _open_live(address: Address, options: SourceOptions) -> LiveSource:
    return LiveSource(address.shown, partial(open_camera, address, options.live), options)
