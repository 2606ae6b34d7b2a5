"""H.264 that is really decoded: MPEG-TS over HTTP and RTP over RTSP, from cameras that change, stall, end and err."""

import itertools
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from producers.sources import CapturedFrame, LiveOptions, Source, SourceOptions, SourceStatus, open_source
from producers.sources.address import parse_address
from producers.sources.stream import connect_stream
from tests.integration.producers.stream_servers import (
    KEY_EVERY,
    Shot,
    access_units,
    rtsp_player,
    sound_stream,
    stream_camera,
    transport_stream,
)

PATIENT = LiveOptions(open_timeout_s=30, dead_after_s=30, backoff_first_s=0.05, backoff_max_s=0.2, max_held_frames=1000)
"""What is sent at once is held whole, so that a test sees every frame."""
SMALL, LARGE = Shot(60), Shot(200, width=128, height=96)
GREYS = (SMALL.value, LARGE.value)


class Viewer:
    """A source under test and what it says of itself."""

    def __init__(self, address: str, live: LiveOptions = PATIENT) -> None:
        self.statuses: queue.Queue[SourceStatus] = queue.Queue()
        self.source: Source = open_source(address, SourceOptions(live=live, on_status=self.statuses.put))
        self.frames: Iterator[CapturedFrame] = iter(self.source)

    def take(self, num: int) -> list[tuple[tuple[int, ...], int]]:
        """Shape of the next frames, and which grey they are."""
        images = [frame.image for frame in itertools.islice(self.frames, num)]
        return [(image.shape, min(GREYS, key=lambda grey: abs(image.mean() - grey))) for image in images]

    def wait_for(self, state: str, text: str = "") -> SourceStatus:
        """The next status of that kind; others pass."""
        while True:
            status = self.statuses.get(timeout=60)
            if status.state == state and text in status.reason:
                return status


@pytest.fixture
def viewers() -> Iterator[list[Viewer]]:
    made: list[Viewer] = []
    yield made
    for viewer in made:
        viewer.source.close()
        for _ in viewer.frames:
            pass


def views_of(*shots: Shot) -> list[tuple[tuple[int, ...], int]]:
    return [((shot.height, shot.width, 3), shot.value) for shot in shots for _ in range(shot.num_frames)]


NUM_HELD_BACK = 2
"""Pictures that wait for their successors when a stream stalls, to be whole."""
NUM_REQUESTS = 2
"""Of one connection over HTTP: is it pictures one by one, and if not, the stream."""


@pytest.mark.parametrize("shots", [(SMALL, LARGE), (LARGE, SMALL), (SMALL, LARGE, SMALL)])
def test_a_stream_changes_its_size_midway(viewers, shots: tuple[Shot, ...]) -> None:
    with stream_camera(transport_stream(shots)) as camera:
        camera.goes_silent = True
        viewers.append(viewer := Viewer(f"http://127.0.0.1:{camera.server_port}/live.ts"))
        wanted = views_of(*shots)[:-NUM_HELD_BACK]
        assert viewer.take(len(wanted)) == wanted
        assert camera.num_viewers == NUM_REQUESTS
        assert viewer.source.num_unreadable == viewer.source.num_overrun == 0


def test_frames_of_a_stream_without_time_stamps_are_stamped_on_arrival(viewers) -> None:
    """FFmpeg makes some up, 25 a second: a camera of 10 would fall behind, and of 30 run ahead."""
    with stream_camera(b"".join(access_units([SMALL]))) as camera:
        viewers.append(viewer := Viewer(f"http://127.0.0.1:{camera.server_port}/live.h264"))
        frames = list(itertools.islice(viewer.frames, 10))
        assert {frame.clock for frame in frames} == {"arrival"}


def test_an_rtsp_camera_changes_its_size_midway(viewers) -> None:
    with rtsp_player(access_units([SMALL, LARGE])) as camera:
        viewers.append(viewer := Viewer(f"rtsp://127.0.0.1:{camera.port}/live"))
        wanted = views_of(SMALL, LARGE)[:-NUM_HELD_BACK]
        assert viewer.take(len(wanted)) == wanted
        assert len(camera.transports) == 1
        assert camera.transports[0].startswith("RTP/AVP/TCP")


@pytest.mark.parametrize(("off_s", "clock"), [(-2.0, "ntp"), (-3600.0, "camera")])
def test_an_rtsp_camera_tells_its_time_and_is_believed_if_that_can_be(
    viewers, caplog, off_s: float, clock: str
) -> None:
    wall_s = time.time() + off_s
    with rtsp_player(access_units([SMALL]), wall_s) as camera:
        viewers.append(viewer := Viewer(f"rtsp://127.0.0.1:{camera.port}/live"))
        frames = list(itertools.islice(viewer.frames, 40))[1:]  # FFmpeg takes the first picture for one without stamp
    assert {frame.clock for frame in frames} == {clock}
    steps = {round((b.captured_at - a.captured_at).total_seconds(), 3) for a, b in itertools.pairwise(frames)}
    if clock == "ntp":
        assert steps == {0.04}
        assert frames[0].captured_at.timestamp() == pytest.approx(wall_s + 1 / 25, abs=0.001)
        assert "is not believed" not in caplog.text
    else:
        assert "its clock is -3600 s off, and is not believed; set it by NTP" in caplog.text


def test_a_stream_that_stalls_is_stale_then_dead_then_connected_anew(viewers) -> None:
    with stream_camera(transport_stream([SMALL])) as camera:
        camera.goes_silent = True
        live = replace(PATIENT, stale_after_s=0.4, dead_after_s=1.5)
        viewers.append(viewer := Viewer(f"http://127.0.0.1:{camera.server_port}/live.ts", live))
        reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
        reader.start()
        viewer.wait_for("online")
        viewer.wait_for("stale", "no frame for more than 0.4 s")
        viewer.wait_for("offline", "broke off")
        viewer.wait_for("online")
        assert camera.num_viewers >= 2 * NUM_REQUESTS
        viewer.source.close()
        reader.join(60)


def test_a_stream_that_stalls_gives_no_picture_late() -> None:
    with rtsp_player(access_units([SMALL])) as camera:
        address = parse_address(f"rtsp://127.0.0.1:{camera.port}/live")
        connection = connect_stream(address, replace(PATIENT, dead_after_s=3))
        assert connection is not None
        num_read = 0
        while connection.read() is not None:
            num_read += 1
        connection.close()
    assert num_read == SMALL.num_frames - 1  # RTP says itself where a picture ends


def test_a_stream_that_ends_is_found_again(viewers) -> None:
    with stream_camera(transport_stream([SMALL])) as camera:
        viewers.append(viewer := Viewer(f"http://127.0.0.1:{camera.server_port}/live.ts"))
        assert set(viewer.take(2 * SMALL.num_frames)) == set(views_of(SMALL))
        assert [viewer.statuses.get(timeout=60).state for _ in range(3)] == ["online", "offline", "online"]
        assert camera.num_viewers >= 2 * NUM_REQUESTS


def test_damaged_pictures_are_counted_and_the_stream_goes_on(viewers) -> None:
    pictures = access_units([SMALL])
    for index in (21, 34):
        pictures[index] = b"\0\0\0\1\x41" + b"\xff" * 12
    with rtsp_player(pictures) as camera:
        viewers.append(viewer := Viewer(f"rtsp://127.0.0.1:{camera.port}/live"))
        wanted = views_of(SMALL)[: -NUM_HELD_BACK - 2]
        assert viewer.take(len(wanted)) == wanted
        assert viewer.source.num_unreadable == 2
        assert camera.num_viewers == 1


def test_who_comes_in_midway_waits_for_a_key_frame(viewers) -> None:
    pictures = access_units([SMALL])[KEY_EVERY - 4 :]
    with rtsp_player(pictures) as camera:
        viewers.append(viewer := Viewer(f"rtsp://127.0.0.1:{camera.port}/live"))
        wanted = views_of(SMALL)[KEY_EVERY:-NUM_HELD_BACK]
        assert viewer.take(len(wanted)) == wanted
        assert viewer.source.num_unreadable == 0


@pytest.mark.parametrize("content", [b"", b"no video at all " * 4000])
def test_a_stream_without_video(viewers, content: bytes, capfd) -> None:
    with stream_camera(content) as camera:
        camera.goes_silent = True
        live = replace(PATIENT, open_timeout_s=0.5)
        viewers.append(viewer := Viewer(f"http://bob:s3cr3t@127.0.0.1:{camera.server_port}/live.ts?token=s3cr3t", live))
        reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
        reader.start()
        status = viewer.wait_for("offline", "answers (200), but sends no video that can be decoded")
        viewer.source.close()
        reader.join(60)
    output = capfd.readouterr()
    assert "s3cr3t" not in status.reason + output.out + output.err


def test_a_stream_of_sound_alone(viewers) -> None:
    with stream_camera(sound_stream()) as camera:
        viewers.append(viewer := Viewer(f"http://127.0.0.1:{camera.server_port}/live.ts"))
        reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
        reader.start()
        viewer.wait_for("offline", "answers (200), but sends no video that can be decoded")
        viewer.source.close()
        reader.join(60)
