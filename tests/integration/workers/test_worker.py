"""The worker from frames to scores, events, proposals and dead letters, over the in-process bus."""

import threading
from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from inference.decode import decode_frame
from inference.engine import engine_of
from inference.error_map import weigh_errors
from memory_store.bank import Bank, Change
from memory_store.proposal import ItemSums, normalised
from memory_store.stores.sqlite import SqliteStore
from messaging.inprocess.bus import InProcessBus
from messaging.inprocess.group import Position
from schemas.codec import HEADER, decode_message, decode_proposal_arrays
from schemas.errors import BundleError
from schemas.messages import ProposalHeader, utc_now
from tests.integration.workers.conftest import (
    START,
    Site,
    at_work,
    end_record,
    event_ids,
    frame_record,
    largest_difference,
    numbers,
    wait_for,
)
from tests.small_bundle import jpeg, small_bundle


def test_every_frame_gets_one_score_and_the_first_four_warm(site: Site) -> None:
    site.frames("ab", range(30))
    with at_work(worker := site.worker()):
        scores = site.wait_for_scores(60)
    assert len(numbers(scores)) == 60
    by_status = Counter((score.camera_id, score.status) for score in scores)
    assert by_status == {("a", "warming"): 4, ("a", "scored"): 26, ("b", "warming"): 4, ("b", "scored"): 26}
    assert {score.memory_state for score in scores} == {"initial"}
    tally = worker.snapshot().tally
    assert (tally.received, tally.scored, tally.warming) == (60, 52, 8)
    assert tally.balances()


def test_scores_of_a_camera_come_in_order(site: Site) -> None:
    site.frames("abc", range(20))
    with at_work(site.worker()):
        scores = site.wait_for_scores(60)
    for camera in "abc":
        assert [score.frame_index for score in scores if score.camera_id == camera] == list(range(20))


def test_a_score_is_what_the_network_says_of_the_clip_and_the_named_bank(site: Site) -> None:
    site.frames("a", range(8))
    with at_work(site.worker()):
        score = site.wait_for_scores(8)[-1]
    predictor = engine_of(site.bundle, device="cpu").predictor
    images = [decode_frame(jpeg("a", index), predictor.frame_format, site.options.limits) for index in range(3, 8)]
    (expected,) = predictor.infer([np.stack(images)], site.bundle.items_MC[None])
    measures = weigh_errors(expected, site.bundle.calibration.speed_scale).measures
    assert score.psnr_db == pytest.approx(measures.psnr_db, abs=1e-5)
    assert score.feature_distance == pytest.approx(measures.feature_distance, abs=1e-6)
    assert score.regular_score == pytest.approx(measures.regular_score, abs=1e-6)
    assert score.patch_error == pytest.approx(measures.patch_error, rel=1e-5)


@pytest.mark.parametrize("max_batch", [1, 3])
def test_the_batch_size_changes_nothing(store: SqliteStore, site: Site, max_batch: int) -> None:
    site.frames("abcd", range(25))
    with at_work(site.worker(max_batch=8)):
        base = numbers(site.wait_for_scores(100))
    other = fresh_site(store, site)
    other.frames("abcd", range(25))
    with at_work(other.worker(max_batch=max_batch)):
        assert largest_difference(base, numbers(other.wait_for_scores(100))) <= 1e-5


def test_three_workers_give_what_one_gives(store: SqliteStore, site: Site) -> None:
    site.frames("abcdef", range(100))
    site.ends("abcdef", 100)
    with at_work(site.worker()):
        base = numbers(site.wait_for_scores(600))
    shared = fresh_site(store, site)
    with at_work(*(shared.worker(worker_id=f"w{number}") for number in range(3))):
        shared.frames("abcdef", range(100))
        shared.ends("abcdef", 100)
        found = shared.wait_for_scores(600)
    assert largest_difference(base, numbers(found)) <= 1e-5
    assert len({score.worker_id for score in found}) > 1
    assert event_ids(site) == event_ids(shared)
    assert event_ids(site)


def undisturbed(site: Site):
    """The scores of 100 frames of four cameras, which one worker sees to their ends."""
    site.frames("abcd", range(100))
    site.ends("abcd", 100)
    with at_work(site.worker()):
        return numbers(site.wait_for_scores(400))


def test_a_worker_that_takes_over_half_way_changes_nothing(store: SqliteStore, site: Site) -> None:
    base = undisturbed(site)
    shared = fresh_site(store, site)
    shared.frames("abcd", range(43))
    with at_work(shared.worker(worker_id="w1")):
        shared.wait_for_scores(4 * 43)
    shared.frames("abcd", range(43, 77))
    with at_work(shared.worker(worker_id="w2")):
        shared.wait_for_scores(4 * 77)
        with at_work(shared.worker(worker_id="w3")):
            shared.frames("abcd", range(77, 100))
            shared.ends("abcd", 100)
            found = shared.wait_for_scores(400)
    assert largest_difference(base, numbers(found)) <= 1e-5
    assert event_ids(site) == event_ids(shared)


def test_a_position_that_a_broker_lost_changes_nothing(
    store: SqliteStore, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    base = undisturbed(site)
    robbed = fresh_site(store, site)
    robbed.frames("abcd", range(60))
    with at_work(robbed.worker(worker_id="w1")):
        robbed.wait_for_scores(4 * 60)
    assert isinstance(robbed.bus, InProcessBus)
    positions = robbed.bus._shared.groups[robbed.options.group].positions
    for where, known in positions.items():
        positions[where] = Position(known.next_offset - min(known.next_offset, 9), max(0, known.replay_from - 9))
    with at_work(second := robbed.worker(worker_id="w2")):
        robbed.frames("abcd", range(60, 100))
        robbed.ends("abcd", 100)
        found = robbed.wait_for_scores(400)
        wait_for(lambda: [second.snapshot().tally.session_ends], lambda ends: ends == [4])
    assert largest_difference(base, numbers(found)) <= 1e-5
    assert len(found) == 400
    assert event_ids(site) == event_ids(robbed)
    assert second.snapshot().tally.received == 4 * 41, "what was handled before is not counted again"
    assert "is behind what states of cameras account for" in caplog.text


def test_the_next_owner_of_a_silent_camera_ends_its_event_in_its_own_time(site: Site) -> None:
    site.frames("a", range(85))
    with at_work(site.worker()):
        site.wait_for_scores(85)
    with at_work(site.worker(worker_id="w2", camera_timeout_s=1.0)):
        wait_for(lambda: [e for e in site.events() if e.data.phase == "end"], bool)
    (end,) = [event for event in site.events() if event.data.phase == "end"]
    assert (end.data.end_reason, end.data.provenance.worker_id) == ("camera_lost", "w2")


def fresh_site(store: SqliteStore, like: Site) -> Site:
    """The same bundle and store on topics of another prefix."""
    topics = replace(like.topics, **{name: f"again.{getattr(like.topics, name)}" for name in like.topics.__slots__})
    return Site(like.bus, store, like.bundle, topics)


def test_events_start_and_end_and_name_what_they_saw(site: Site) -> None:
    site.frames("a", range(150))
    with at_work(site.worker()):
        site.wait_for_scores(150)
    events = site.events()
    scores = {score.frame_index: score for score in site.scores()}
    assert events[0].data.phase == "start"
    end = events[-1].data
    assert (end.phase, end.end_reason) == ("end", "cleared")
    assert end.peak.anomaly_score == scores[end.peak.frame_index].anomaly_score
    assert 68 <= end.frames.first <= 75
    assert end.provenance.bundle_digest == site.bundle.digest
    assert end.heat_map.values


def test_an_open_event_ends_with_its_session(site: Site) -> None:
    site.frames("a", range(85))
    site.ends("a", 85)
    with at_work(site.worker()):
        site.wait_for_scores(85)
    assert [event.data.end_reason for event in site.events() if event.data.phase == "end"] == ["session_ended"]


def test_an_open_event_ends_when_the_camera_starts_a_new_session(site: Site) -> None:
    site.frames("a", range(85))
    site.frames("a", range(5), session="s2")
    with at_work(site.worker()):
        site.wait_for_scores(90)
    assert [event.data.end_reason for event in site.events() if event.data.phase == "end"] == ["session_ended"]


def test_a_camera_that_falls_silent_ends_its_event(site: Site) -> None:
    site.frames("a", range(85))
    with at_work(site.worker(camera_timeout_s=0.5)):
        wait_for(lambda: [e for e in site.events() if e.data.phase == "end"], bool)
    assert [event.data.end_reason for event in site.events()][-1] == "camera_lost"


@pytest.mark.parametrize(("on_stop", "reasons"), [("hand_over", []), ("end_events", ["shutdown"])])
def test_stopping_hands_events_over_or_ends_them(site: Site, on_stop: str, reasons: list[str]) -> None:
    site.frames("a", range(85))
    with at_work(site.worker(on_stop=on_stop)):
        site.wait_for_scores(85)
    assert [event.data.end_reason for event in site.events() if event.data.phase == "end"] == reasons


def test_bad_records_are_buried_and_the_rest_goes_on(site: Site) -> None:
    topic = site.topics.frames
    good = jpeg("a", 3)
    site.frames("a", range(3))
    site.publish(
        frame_record(topic, "a", 3, value=b""),
        frame_record(topic, "a", 4, value=good[: len(good) // 2]),
        replace(frame_record(topic, "a", 5), headers=()),
        replace(frame_record(topic, "a", 6), key="b"),
        frame_record(topic, "a", 7, value=b"GIF89a"),
    )
    site.frames("a", range(8, 16))
    with at_work(worker := site.worker()):
        scores = site.wait_for_scores(11)
    buried = {record.header("engram-reason"): record for record in site.records(site.topics.dead_letters)}
    assert set(buried) == {b"empty", b"truncated", b"missing_header", b"wrong_key", b"not_jpeg"}
    assert buried[b"truncated"].value == good[: len(good) // 2]
    assert [score.frame_index for score in scores if score.status == "scored"] == [12, 13, 14, 15]
    tally = worker.snapshot().tally
    assert tally.balances()
    assert tally.dead_lettered.total() == 5


def test_a_network_that_gives_nan_feeds_nothing_on(site: Site) -> None:
    weights = {name: values.copy() for name, values in site.bundle.weights.items()}
    next(iter(weights.values()))[:] = np.nan
    site.bundle = replace(site.bundle, weights=weights)
    site.frames("a", range(8))
    with at_work(site.worker()):
        wait_for(lambda: site.records(site.topics.dead_letters), lambda found: len(found) >= 4)
    assert {record.header("engram-reason") for record in site.records(site.topics.dead_letters)} == {b"not_finite"}
    assert {score.status for score in site.scores()} == {"warming"}
    assert not site.records(site.topics.memory_updates)


def test_repeats_and_old_sessions_are_counted_not_scored(site: Site) -> None:
    topic = site.topics.frames
    site.frames("a", range(6))
    site.frames("a", range(4, 8))
    site.publish(end_record(topic, "a", 8), frame_record(topic, "a", 8), end_record(topic, "a", 8))
    site.frames("b", range(1))
    with at_work(worker := site.worker()):
        scores = site.wait_for_scores(9)
    assert len(numbers(scores)) == 9
    assert worker.snapshot().tally.skipped == {"duplicate": 2, "old_session": 2}
    assert worker.snapshot().tally.balances()


def test_frames_that_differ_from_what_was_learned_are_told_once_a_session(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.bundle = replace(site.bundle, manifest=site.bundle.manifest.model_copy(update={"jpeg_quality": 90}))
    noise = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)
    coarse = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 40])[1].tobytes()
    for session, indices in (("s1", range(50)), ("s2", range(100, 150))):
        site.publish(*(frame_record(site.topics.frames, "a", index, session, coarse) for index in indices))
        site.ends("a", indices.stop, session)
    with at_work(site.worker()):
        site.wait_for_scores(100)
    for session in ("s1", "s2"):
        assert caplog.text.count(f"camera a, session {session}: frames have a JPEG quality of about 40") == 1


def test_normal_frames_propose_what_the_paper_would_write(site: Site) -> None:
    site.bundle = small_bundle(gate_threshold=1e9)
    site.frames("a", range(40))
    with at_work(site.worker()):
        site.wait_for_scores(40)
    records = site.records(site.topics.memory_updates)
    headers = [decode_message(ProposalHeader, record.header(HEADER)) for record in records]
    proposed = sum(score.proposed for score in site.scores())
    assert sum(header.num_frames for header in headers) == proposed == 36
    assert {header.base_version for header in headers} == {0}
    first = headers[0]
    predictor = engine_of(site.bundle, device="cpu").predictor
    images = [decode_frame(jpeg("a", index), predictor.frame_format, site.options.limits) for index in range(40)]
    span = range(first.first_frame, first.last_frame + 1)
    clips = [np.stack(images[index - 4 : index + 1]) for index in span]
    results = predictor.infer(clips, np.repeat(site.bundle.items_MC[None], len(clips), axis=0))
    expected = ItemSums.empty(6, 16)
    for result in results:
        expected = expected.merge(result.sums)
    arrays = decode_proposal_arrays(first, records[0].value)[:3]
    assert np.abs(ItemSums(*arrays).updated(site.bundle.items_MC) - expected.updated(site.bundle.items_MC)).max() < 1e-6


def test_frames_of_an_event_and_the_second_before_propose_nothing(site: Site) -> None:
    site.bundle = small_bundle(gate_threshold=1e9)
    site.frames("a", range(100))
    site.ends("a", 100)
    with at_work(site.worker()):
        site.wait_for_scores(100)
    (end,) = [event.data for event in site.events() if event.data.phase == "end"]
    headers = [decode_message(ProposalHeader, r.header(HEADER)) for r in site.records(site.topics.memory_updates)]
    for header in headers:
        assert header.last_frame < end.frames.first or header.first_frame > end.frames.last


def test_with_updates_off_nothing_is_proposed(site: Site) -> None:
    site.bundle = small_bundle(gate_threshold=1e9)
    site.frames("a", range(20))
    with at_work(site.worker(updates=False)):
        site.wait_for_scores(20)
    assert not site.records(site.topics.memory_updates)


def test_a_new_bank_version_is_read_and_named(site: Site, store: SqliteStore) -> None:
    bank = Bank("shared", 7, "e1", site.bundle.digest, moved(site.bundle.items_MC), utc_now())
    store.create(bank, Change("create", "test", "test", "c1"))
    site.frames("a", range(10))
    with at_work(site.worker()):
        scores = site.wait_for_scores(10)
    assert {(score.bank_version, score.bank_digest, score.memory_state) for score in scores} == {
        (7, bank.digest, "live")
    }


def test_each_camera_may_have_its_own_bank(site: Site, store: SqliteStore) -> None:
    bank = Bank("of-b", 3, "e1", site.bundle.digest, moved(site.bundle.items_MC), utc_now())
    store.create(bank, Change("create", "test", "test", "c1"))
    site.frames("ab", range(10))
    with at_work(site.worker(bank_id="of-{camera_id}")):
        scores = site.wait_for_scores(20)
    named = {(score.camera_id, score.bank_id, score.bank_version) for score in scores}
    assert named == {("a", "of-a", 0), ("b", "of-b", 3)}


def test_a_bank_of_another_bundle_stops_the_worker(site: Site, store: SqliteStore) -> None:
    bank = Bank("shared", 1, "e1", "f" * 64, site.bundle.items_MC, utc_now())
    store.create(bank, Change("create", "test", "test", "c1"))
    site.frames("a", range(3))
    with pytest.raises(BundleError, match="bundle"):
        site.worker().run(threading.Event())


def moved(items_MC: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(5).normal(0, 0.2, items_MC.shape)
    return normalised((items_MC + noise).astype(np.float32))


def test_live_use_skips_what_is_stale_and_says_so(site: Site) -> None:
    site.frames("a", range(10))  # captured in January
    with at_work(worker := site.worker(max_staleness_s=5.0)):
        wait_for(lambda: [worker.snapshot().tally], lambda found: found[0].received == 10)
    assert worker.snapshot().tally.skipped == {"stale": 10}
    assert START.year == 2026
