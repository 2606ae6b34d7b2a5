"""Where images come from: files, folders, cameras and the synthetic scene, all behind ``Source``."""

from producers.sources.address import mask_credentials
from producers.sources.frame import CapturedFrame, Image, Source, SourceStatus, State
from producers.sources.opening import open_source
from producers.sources.options import LiveOptions, SourceOptions

__all__ = [
    "CapturedFrame",
    "Image",
    "LiveOptions",
    "Source",
    "SourceOptions",
    "SourceStatus",
    "State",
    "mask_credentials",
    "open_source",
]
