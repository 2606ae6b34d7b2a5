"""Arrivals for tests: real headers and images, without a log behind them."""

from datetime import datetime, timedelta, timezone
from typing import Literal

import numpy as np

from messaging.ports import Claim, Delivery, Record
from schemas.arrays import UInt8
from schemas.codec import encode_header
from schemas.errors import BadMessageError
from schemas.messages import FrameHeader
from workers.arrivals import Arrival, PendingImage

CLAIM = Claim("frames", 0, 1)
START = datetime(2026, 1, 5, 10, 0, tzinfo=timezone.utc)


def header(
    index: int,
    camera: str = "cam1",
    session: str = "s1",
    kind: Literal["frame", "end_of_session"] = "frame",
    size: tuple[int, int] = (4, 3),
    pause_s: float = 0.0,
) -> FrameHeader:
    """Ten frames a second from ``START`` on; ``pause_s`` later than its index says, or earlier if negative."""
    at = START + timedelta(seconds=index / 10 + pause_s)
    return FrameHeader(
        kind=kind,
        camera_id=camera,
        session_id=session,
        frame_index=index,
        captured_at=at,
        clock="media",
        width=size[0],
        height=size[1],
        fps=10,
    )


def delivery(offset: int, told: FrameHeader, value: bytes = b"", replay: bool = False) -> Delivery:
    key = told.camera_id.encode()
    return Delivery(Record("frames", 0, offset, key, value, encode_header(told), 0), CLAIM, replay)


def arrival(offset: int, told: FrameHeader, replay: bool = False, error: BadMessageError | None = None) -> Arrival:
    def decode() -> UInt8:
        if error is not None:
            raise error
        return np.full((3, 4, 1), told.frame_index % 256, np.uint8)

    image = PendingImage(decode, gave_up=lambda: None)
    image.run()
    return Arrival(delivery(offset, told, replay=replay), told, image=image if told.kind == "frame" else None)
