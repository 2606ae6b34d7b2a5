"""Where the frames of a demo were unusual: what the worker said of its peaks is what is computed again."""

import threading
from pathlib import Path

import pytest

from engram.build.adapters import open_store
from engram.build.bundles import load_engine
from engram.build.cameras import camera_feeds
from engram.build.shipped import WALKWAY, shipped_bundle
from engram.demo.clouds import FrameKeeper, clouds
from engram.demo.show import _Record
from engram.run.embedded import Embedded
from schemas.settings import WatchSettings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> WatchSettings:
    given = {
        "worker.bundle": shipped_bundle(WALKWAY),
        "worker.threads": 1,
        "producer.pace": "backfill",
        "producer.fps": 5,
        "store.url": f"sqlite:///{tmp_path}/banks.db",
        "events.enter": 0.3,
        "events.exit": 0.1,
    }
    return load_settings(WatchSettings, None, given)


def test_the_peaks_are_as_the_worker_told_them(settings: WatchSettings) -> None:
    feeds = camera_feeds(["synthetic://walkway?seed=101&seconds=12&fps=5&anomalies=1"], ["north"], settings.producer)
    record, keeper = _Record(lambda _: None), FrameKeeper()
    with open_store(settings.store) as store:
        engine = load_engine(settings.worker)
        Embedded(settings, engine, store, feeds, record, companion=keeper).run(threading.Event())
        wanted = record.frames_of_events()
        found = clouds(keeper.records, record.scores, wanted, engine, store)
    assert len(keeper.records) == 61, "60 frames and an end"
    assert found.keys() == wanted
    peaks = {(one.data.camera_id, one.data.peak.frame_index): one.data.heat_map for one in record.events}
    assert peaks
    for key, told in peaks.items():
        assert found[key].heat_map.values == pytest.approx(told.values, abs=1)
    maps = {cloud.heat_map.values for cloud in found.values()}
    assert len(maps) > len(peaks), "each frame has its own"
