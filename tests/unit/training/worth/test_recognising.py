"""Arms about states: what is said of the camera itself, of another, of one that is disturbed, and the events spared."""

from dataclasses import replace

import numpy as np
import pytest

from inference.recognition import LEARNED_FRAMES
from tests.unit.training.worth.makeshift import R, S, scene, take
from training.worth.learning import learn
from training.worth.recognising import disturbance, own_camera, watched, wrong_camera
from training.worth.scenes import Scene, Take


def painted(one: Take, seed: int) -> Take:
    """A video before a background of its own."""
    picture = np.random.default_rng(seed).normal(0.0, 40.0, (R // 4, S // 4)).astype(np.float32)
    return replace(one, seen=replace(one.seen, grey_FPQ=one.seen.grey_FPQ + picture))


def camera(name: str, speed: float, seed: int) -> Scene:
    plain = scene(name, speed, seed)
    return Scene(name, *(tuple(painted(one, seed) for one in takes) for takes in (plain.normal, plain.test)))


@pytest.fixture(scope="module")
def cameras() -> list[Scene]:
    return [camera("slow", 1.0, 0), camera("fast", 4.0, 100)]


def figures(rows, what):
    return {row.measure: row.value for row in rows if row.what == what}


def test_a_camera_stays_known_and_loses_no_event(cameras):
    rows = [row for row in own_camera(cameras[:1]) if row.scene == "slow"]
    assert figures(rows, "test video") == {"% of frames known": 100.0}
    with_states, without = (figures(rows, what)["% of anomalies with an event"] for what in ("with states", "without"))
    assert with_states == without > 50


def test_a_wrong_camera_is_said_at_once_and_opens_nothing(cameras):
    found = figures([row for row in wrong_camera(cameras) if row.scene == "fast"], "memory of slow")
    assert found["videos in which it is said"] == 6
    assert found["most seconds until it is said"] <= 1.0
    assert found["% of frames that differ"] > 85
    assert found["events, without"] >= 2
    assert found["events, with states"] == 0


def test_what_disturbs_is_told_with_the_events_it_would_open(cameras):
    one = cameras[0]
    rougher = [painted(take(f"normal{index}", 200, 3.0, 7 + index), 0) for index in range(2)]
    shaken = [replace(each, whole_F3=np.full((200, 3), [1.0, 1.0, 0.0], np.float32)) for each in one.normal]
    rows = list(disturbance(one, {"same": one.normal, "rougher": rougher, "shaken": shaken}))
    as_it_is, same = figures(rows, "as it is"), figures(rows, "same")
    assert as_it_is == same
    assert as_it_is["% of normal frames over"] < 5
    assert as_it_is["events, without"] == 0
    assert figures(rows, "rougher")["% of normal frames over"] > 50
    assert figures(rows, "shaken")["% of frames known"] < 10
    assert "of 200 frames of the other half" in next(row.note for row in rows if row.what == "rougher")


def test_what_is_watched_says_when(cameras):
    memory = learn(cameras[0].normal)
    assert memory.num_frames >= LEARNED_FRAMES
    own, other = (watched(one.test[0], memory) for one in cameras)
    assert own.first_s("known") == 0.1
    assert own.first_s("differs", "disturbed") is None
    assert (other.first_s("differs") or 99.0) <= 1.0
