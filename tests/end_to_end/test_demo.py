"""``engram demo`` with a bundle that knows nothing of the scene: all of it runs, whatever it finds."""

from pathlib import Path

import cv2

from tests.end_to_end.conftest import Engram


def test_the_demo_plays_compares_and_draws(engram: Engram, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    child = engram("demo", "--bundle", bundle, "--seconds", 12, "--out", out)
    stdout, stderr = child.communicate(timeout=120)
    assert child.returncode == 0, stderr
    assert "scored 232 of 240 frames" in stdout
    assert "injected anomalies" in stdout

    timeline = cv2.imread(str(out / "timeline.png"))
    assert timeline is not None
    video = cv2.VideoCapture(str(out / "annotated.mp4"))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == 120


def test_a_demo_without_its_bundle_says_so(engram: Engram, tmp_path: Path) -> None:
    child = engram("demo", "--bundle", tmp_path / "nothing", "--out", tmp_path / "out")
    _, stderr = child.communicate(timeout=120)
    assert child.returncode == 2
    assert "manifest.json" in stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
