"""A camera that nobody trained for: its worker and a coordinator learn it from its first minute, then judge it."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bundles.bundle import Bundle
from engram.demo.recompute import recompute
from engram.observe.worker import SeenWorker
from inference.engine import engine_of
from memory_store.bank import Change, next_epoch
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.options import CoordinatorOptions
from memory_store.interventions import Signature, learn_anew
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import BankCache, InitialBank
from messaging.inprocess.bus import InProcessBus
from schemas.messages import utc_now
from schemas.topics import TopicNames
from tests.integration.workers.conftest import (
    DEADLINE_S,
    Site,
    at_work,
    frame_record,
    largest_difference,
    numbers,
)
from tests.small_bundle import FPS, jpeg, small_bundle
from workers.worker import Worker

LEARN_S = 15.0
CALM = [index for index in range(1000) if index % 90 < 70]
WILD = range(70, 90)
"""Of the scene of ``small_bundle``: what it does for seven of every nine seconds, and what for two."""
MUCH = 900


def parent_of_others(model: str) -> Bundle:
    """Judges by a memory that was made on other cameras and stands for two seconds of this one."""
    bundle = small_bundle(model=model, remembers=True)
    return replace(bundle, calibration=bundle.calibration.model_copy(update={"memory_frames": 2 * FPS}))


def highest(site: Site, begin: int, end: int) -> float:
    return max(score.anomaly_score or 0.0 for score in site.scores()[begin:end])


@pytest.mark.parametrize(("model", "own_s"), [("mnad-prediction", None), ("memae", None), ("memae", LEARN_S)])
def test_it_is_learned_from_its_first_minute_and_what_comes_then_is_judged(
    store: SqliteStore, model: str, own_s: float | None
) -> None:
    """By the settings, or whatever these are for as long as an operator said of its bank before it came."""
    wanted_s, rounds_s = (LEARN_S, LEARN_S) if own_s is None else (1e5, 0.0)
    bus, bundle, stop = InProcessBus(), parent_of_others(model), threading.Event()
    site, initial = Site(bus, store, bundle, TopicNames.with_prefix("")), InitialBank.of_bundle(bundle)
    if own_s is not None:
        made = initial.as_bank("z", next_epoch(), utc_now())
        store.create(made, Change("create", "ann", "for a new camera", "create z"))
        learn_anew(store, "z", Signature("ann", "a quiet yard", utc_now()), own_s)
    options = CoordinatorOptions("c1", site.topics, bank_id="{camera_id}", learn_s=rounds_s)
    coordinator = Coordinator(bus, store, initial, options)
    engine, banks = engine_of(bundle, device="cpu", threads=1), BankCache(store, initial, refresh_s=0.02)
    worker = Worker(
        bus,
        engine,
        banks,
        replace(site.options, bank_id="{camera_id}", learn_s=wanted_s, on_stop="end_events"),
        utc_now,
    )
    coordinating = threading.Thread(target=coordinator.run, args=(stop,))
    coordinating.start()
    sent = 0

    def show(contents: Sequence[int]) -> None:
        nonlocal sent
        frames = site.topics.frames
        site.publish(*(frame_record(frames, "z", sent + n, value=jpeg("a", at)) for n, at in enumerate(contents)))
        sent += len(contents)
        site.wait_for_scores(sent)

    try:
        with at_work(worker):
            while site.scores()[-1:] == [] or site.scores()[-1].memory_state != "live":
                assert sent < MUCH, "so much video must be enough"
                show(CALM[sent % 700 : sent % 700 + 50])
            num_learning = sent
            show(CALM[:70])
            show([*WILD, *WILD])
            told = SeenWorker(worker, engine, banks, "w1").status()["cameras"]
        assert coordinator.settle_the_rest(DEADLINE_S)
    finally:
        stop.set()
        coordinating.join(DEADLINE_S)
        bus.close()
    assert num_learning >= LEARN_S * FPS / 2
    early = site.scores()[:num_learning][:50]
    told_early = {one.memory_state for one in early if own_s is None or one.status == "scored"}
    assert told_early <= {"initial", "learning"}, "a bank that was made before is live while a window fills"
    assert all(event.data.frames.first > num_learning - 50 for event in site.events()), "none opens while it learns"
    calm, wild = highest(site, num_learning + 35, num_learning + 70), highest(site, num_learning + 70, sent)
    assert wild > 1.5 * calm
    assert coordinator.snapshot().adds_up()
    bank = store.read("z")
    assert bank is not None and bank.normality is not None
    assert isinstance(told, dict)
    assert (bank.learn_s, told["z"]["wanted_s"]) == (own_s, LEARN_S)
    assert told["z"]["known_s"] > LEARN_S
    updates = [entry.change.num_frames for entry in store.log("z")]
    assert bank.normality.num_frames == pytest.approx(sum(updates), rel=1e-3), "a week halves, minutes do not"


def test_every_score_comes_from_the_version_that_it_names(store: SqliteStore) -> None:
    """The same frames, measured again one by one, with the counts that each score names."""
    bus, bundle, stop = InProcessBus(), parent_of_others("memae"), threading.Event()
    site, initial = Site(bus, store, bundle, TopicNames.with_prefix("")), InitialBank.of_bundle(bundle)
    coordinator = Coordinator(
        bus, store, initial, CoordinatorOptions("c1", site.topics, bank_id="{camera_id}", learn_s=LEARN_S)
    )
    engine = engine_of(bundle, device="cpu", threads=1)
    options = replace(site.options, bank_id="{camera_id}", learn_s=LEARN_S)
    worker = Worker(bus, engine, BankCache(store, initial, refresh_s=0.02), options, utc_now)
    coordinating = threading.Thread(target=coordinator.run, args=(stop,))
    coordinating.start()
    try:
        with at_work(worker):
            for begin in range(0, 250, 25):
                frames = (
                    frame_record(site.topics.frames, "z", n, value=jpeg("a", CALM[n])) for n in range(begin, begin + 25)
                )
                site.publish(*frames)
                site.wait_for_scores(begin + 25)
    finally:
        stop.set()
        coordinating.join(DEADLINE_S)
    told, records = site.scores(), site.records(site.topics.frames)
    assert len({score.bank_version for score in told}) > 2
    again = recompute(records, told, engine, store, options)
    assert numbers(list(again.scores.values())).keys() == numbers(told).keys()
    assert largest_difference(numbers(told), numbers(list(again.scores.values()))) < 1e-5
    bus.close()
