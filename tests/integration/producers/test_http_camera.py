"""A real MJPEG camera over HTTP that comes, goes, flaps and falls silent."""

import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.local.ports import free_port
from producers.sources import CapturedFrame, LiveOptions, Source, SourceOptions, SourceStatus, open_source
from tests.integration.producers.camera_servers import jpeg, mjpeg_camera


class Viewer:
    """A source under test and what it says of itself."""

    def __init__(self, port: int, user_info: str = "", **live: float) -> None:
        self.statuses: queue.Queue[SourceStatus] = queue.Queue()
        fields: dict[str, Any] = {
            "open_timeout_s": 5,
            "dead_after_s": 5,
            "backoff_first_s": 0.05,
            "backoff_max_s": 0.2,
        } | live
        options = SourceOptions(live=LiveOptions(**fields, backoff_jitter_s=0.01), on_status=self.statuses.put)
        self.source: Source = open_source(f"http://{user_info}127.0.0.1:{port}/video", options)
        self.frames: Iterator[CapturedFrame] = iter(self.source)

    def wait_for(self, state: str, text: str = "") -> SourceStatus:
        """The next status of that kind; others pass."""
        while True:
            status = self.statuses.get(timeout=30)
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


def test_pictures_arrive(viewers) -> None:
    with mjpeg_camera() as camera:
        viewers.append(viewer := Viewer(camera.server_port))
        frame = next(viewer.frames)
        assert frame.image.shape == (48, 64, 3)
        assert min(abs(float(frame.image.mean()) - value) for value in (40, 80, 120, 160)) < 3
        assert viewer.wait_for("online")
        assert viewer.source.is_live


def test_away_at_the_start_then_appearing(viewers) -> None:
    port = free_port()
    viewers.append(viewer := Viewer(port))
    got: list[CapturedFrame] = []
    reader = threading.Thread(target=lambda: got.append(next(viewer.frames)))
    reader.start()
    viewer.wait_for("offline", "refused the connection")
    with mjpeg_camera(port):
        viewer.wait_for("online")
        reader.join(60)
    assert got[0].image.shape == (48, 64, 3)


def test_a_camera_that_flaps_is_found_again_each_time(viewers) -> None:
    with mjpeg_camera() as camera:
        camera.num_sent = 12
        viewers.append(viewer := Viewer(camera.server_port))
        reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
        reader.start()
        for _ in range(3):
            viewer.wait_for("online")
            viewer.wait_for("offline", "broke off")
        viewer.wait_for("online")
        assert camera.num_viewers >= 4
        viewer.source.close()
        reader.join(60)


def test_gone_and_back_at_the_same_address(viewers) -> None:
    with mjpeg_camera() as camera:
        port = camera.server_port
        viewers.append(viewer := Viewer(port))
        next(viewer.frames)
        viewer.wait_for("online")
    reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
    reader.start()
    viewer.wait_for("offline", "broke off")
    viewer.wait_for("offline", "refused")
    with mjpeg_camera(port):
        viewer.wait_for("online")
        viewer.source.close()
        reader.join(60)


def test_a_silent_camera_is_stale_then_dead_then_connected_anew(viewers) -> None:
    with mjpeg_camera() as camera:
        camera.num_sent, camera.goes_silent = 12, True
        viewers.append(viewer := Viewer(camera.server_port, dead_after_s=1.5, stale_after_s=0.4))
        reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
        reader.start()
        viewer.wait_for("online")
        viewer.wait_for("stale", "no frame for more than 0.4 s")
        viewer.wait_for("offline", "broke off")
        viewer.wait_for("online")
        assert camera.num_viewers >= 2
        viewer.source.close()
        reader.join(60)


def test_the_picture_changes_its_size_midway(viewers) -> None:
    with mjpeg_camera() as camera:
        camera.pictures = [jpeg(60)] * 20 + [jpeg(200, width=128, height=96)] * 20
        viewers.append(viewer := Viewer(camera.server_port))
        seen: set[tuple[float, tuple[int, ...]]] = set()
        while len(seen) < 2:
            image = next(viewer.frames).image
            seen.add((round(float(image.mean()), -1), image.shape))
        assert seen == {(60, (48, 64, 3)), (200, (96, 128, 3))}


@pytest.mark.parametrize(
    ("content_type", "preamble", "part"),
    [
        ("multipart/x-mixed-replace; boundary=frame", b"", b"\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n%s"),
        ("multipart/x-mixed-replace; boundary=--frame", b"", b"--frame\r\nContent-Length: %d\r\n\r\n%s\r\n"),
        (
            'multipart/x-mixed-replace; boundary="--my frame"',
            b"hello\r\n",
            b"--my frame\nContent-type: image/jpeg\n\n%s\n",
        ),
        ("multipart/x-mixed-replace", b"", b"%s\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"),
        ("multipart/x-mixed-replace;boundary=other", b"\r\n" * 9, b"Content-Type: image/jpeg\r\n\r\n%s\r\n--frame\r\n"),
        ("Multipart/Mixed; boundary=frame", b"", b"--frame\r\nContent-Length: 99999999\r\n\r\n%s"),
    ],
)
def test_pictures_however_they_are_divided(viewers, content_type: str, preamble: bytes, part: bytes) -> None:
    with mjpeg_camera() as camera:
        camera.content_type, camera.preamble, camera.part = content_type, preamble, part
        viewers.append(viewer := Viewer(camera.server_port))
        assert {next(viewer.frames).image.shape for _ in range(8)} == {(48, 64, 3)}
        assert viewer.source.num_unreadable == 0


def test_pictures_that_are_damaged_are_counted(viewers) -> None:
    with mjpeg_camera() as camera:
        camera.pictures = [jpeg(60), jpeg(60)[:300], jpeg(120)]
        camera.num_sent, camera.goes_silent = 30, True
        viewers.append(viewer := Viewer(camera.server_port, dead_after_s=60))
        next(viewer.frames)
        waiting = threading.Event()
        for _ in range(2000):
            if viewer.source.num_unreadable == 10 or waiting.wait(0.01):
                break
        assert viewer.source.num_unreadable == 10


def test_a_camera_that_drips_is_given_up(viewers) -> None:
    with mjpeg_camera() as camera:
        camera.pictures, camera.pace_s, camera.part = [b"\xff\xd8\xff"], 0.05, b"%s"
        viewers.append(viewer := Viewer(camera.server_port, dead_after_s=0.5))
        reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
        reader.start()
        viewer.wait_for("offline", "no frame came within 0.5 s")
        viewer.source.close()
        reader.join(60)


@pytest.mark.parametrize("challenge", ['Digest realm="camera", nonce="abc", algorithm=SHA-256, qop="auth"'])
def test_a_login_by_digest(viewers, challenge: str) -> None:
    with mjpeg_camera() as camera:
        camera.user, camera.challenges = "bob:pass word", (challenge, 'Basic realm="camera"')
        viewers.append(viewer := Viewer(camera.server_port, "bob:pass%20word@"))
        assert next(viewer.frames).image.shape == (48, 64, 3)
        assert not any(given and given.startswith("Basic") for given in camera.authorizations)


def test_the_reader_is_slower_than_the_camera(viewers) -> None:
    with mjpeg_camera() as camera:
        camera.num_sent, camera.goes_silent = 60, True
        viewers.append(viewer := Viewer(camera.server_port, stale_after_s=0.3, dead_after_s=60))
        next(viewer.frames)
        paused = threading.Event()
        for _ in range(3000):
            if viewer.source.num_overrun >= 50 or paused.wait(0.01):
                break
        assert viewer.source.num_overrun >= 50


def test_a_login_that_works(viewers) -> None:
    with mjpeg_camera() as camera:
        camera.user = "bob:pass word"
        viewers.append(viewer := Viewer(camera.server_port, "bob:pass%20word@"))
        assert next(viewer.frames).image.shape == (48, 64, 3)


def test_a_login_that_does_not(viewers, caplog, capfd) -> None:
    with mjpeg_camera() as camera:
        camera.user = "bob:right"
        viewers.append(viewer := Viewer(camera.server_port, "bob:s3cr3t@"))
        reader = threading.Thread(target=lambda: [None for _ in viewer.frames])
        reader.start()
        viewer.wait_for("offline", "401 Unauthorized: user name or password refused")
        viewer.source.close()
        reader.join(60)
    output = capfd.readouterr()
    assert "s3cr3t" not in caplog.text + output.out + output.err + viewer.source.describe()
