"""A film in a real browser: Chromium, without a screen."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from consumers.video import FilmWriter

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHOWN = """at => new Promise(done => {
    const film = document.createElement('video');
    film.muted = true;
    film.onerror = () => done('error ' + film.error.code);
    film.onloadedmetadata = () => { film.currentTime = at; };
    film.onseeked = () => {
        const canvas = document.createElement('canvas');
        canvas.width = film.videoWidth;
        canvas.height = film.videoHeight;
        const context = canvas.getContext('2d');
        context.drawImage(film, 0, 0);
        done([film.videoWidth, film.videoHeight, film.duration, ...context.getImageData(8, 8, 1, 1).data]);
    };
    film.src = location.href.replace('page.html', 'film.mp4');
})"""


def test_a_film_plays_in_a_browser(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright, which drives a browser")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("needs chromium, which apt has")
    with FilmWriter(tmp_path / "film.mp4", 10.0) as film:
        for index in range(30):
            colour = (0, 0, 255) if index < 15 else (255, 0, 0)
            film.add(np.full((121, 161, 3), colour, np.uint8), index / 10)
    (tmp_path / "page.html").write_text("<p>a film</p>")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--allow-file-access-from-files"], timeout=120_000
        )
        page = chromium.new_page()
        page.set_default_timeout(120_000)
        page.goto((tmp_path / "page.html").as_uri())
        early, late = page.evaluate(SHOWN, 0.5), page.evaluate(SHOWN, 2.5)
        chromium.close()
    assert early[:3] == late[:3] == [162, 122, pytest.approx(3.0, abs=0.15)]
    assert (early[3] > 200, early[5] < 60) == (True, True), "red at first"
    assert (late[3] < 60, late[5] > 200) == (True, True), "then blue"
