"""What the figures of the edge are of."""

from pathlib import Path

import av
import pytest
from av.video.frame import PictureType

from benchmarks.edge import FPS, _dist_bytes, base_install, install_bytes, write_film


def test_the_base_install_is_what_the_project_says_and_what_that_needs() -> None:
    found = base_install()
    assert {"av", "numpy", "opencv-python-headless", "kafka-python", "pydantic-core"} <= found
    assert not {"torch", "redis", "boto3", "matplotlib", "engram"} & found
    assert install_bytes() > sum(map(_dist_bytes, found)) > _dist_bytes("av") > 10_000_000


def test_the_film_is_as_cameras_send_it(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4", 3.0, (320, 180))
    with av.open(str(tmp_path / "film.mp4")) as film:
        stream = film.streams.video[0]
        kinds = [PictureType(frame.pict_type).name for frame in film.decode(stream)]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate or 0) == pytest.approx(FPS)
    assert len(kinds) == 75
    assert [index for index, kind in enumerate(kinds) if kind == "I"] == [0, 50]
    assert "B" not in kinds
