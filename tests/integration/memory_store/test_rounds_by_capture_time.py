"""The same proposals give the same versions, whatever the speed, portions, order of cameras, repeats and restarts."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import CoordinatorOptions, RoundRules
from memory_store.stores.sqlite import SqliteStore
from memory_store.views import InitialBank
from messaging.ports import OutRecord
from schemas.codec import encode_header, encode_proposal_arrays
from tests.integration.memory_store.bench import BANK_ID, TOPICS, Bench, event, options
from tests.integration.memory_store.test_coordinator import with_lease_gone
from tests.unit.memory_store.counted import GRID, counts
from tests.unit.memory_store.proposals import BUNDLE, NOW, header_for, unit_rows

INITIAL = InitialBank(BUNDLE, unit_rows(0, 4, 6), grid=GRID, parent_frames=1e6)  # has learned, so rounds are whole
CAMERAS = ("cam1", "cam2")
RULES = RoundRules(round_s=20.0, quarantine_s=10.0)
LENGTH_S = 80
EVENT_AT_S = 30
SKEW = 8
"""So many proposals, of a second each, one camera may be read ahead of the other: less than the quarantine."""


def recording(camera_id: str) -> list[OutRecord]:
    """A proposal a second, but for an event of ten seconds whose first second it was too late to withdraw."""
    records = []
    for second in range(LENGTH_S):
        if camera_id == "cam1" and EVENT_AT_S < second < EVENT_AT_S + 10:
            continue
        at = NOW + timedelta(seconds=second)
        base = INITIAL.as_bank(BANK_ID)
        normality = counts(10, seed=second, late_s=second)
        of, value = normality.to_wire()
        header = header_for(
            base,
            camera_id,
            10 * second,
            10 * second + 9,
            base_digest=base.items_digest,
            captured_from=at,
            captured_to=at,
            normality=of,
        )
        arrays = encode_proposal_arrays(unit_rows(0, 1, 4)[0] * 0 - 1, base.items_MC * 0, unit_rows(0, 1, 4)[0] * 0)
        records.append(OutRecord(TOPICS.memory_updates, BANK_ID, arrays + value, encode_header(header)))
        if camera_id == "cam1" and second == EVENT_AT_S:
            records.append(event(EventSpan("cam1", "s1", 10 * second + 5, 10 * second + 95)))
    return records


RECORDINGS = {camera_id: recording(camera_id) for camera_id in CAMERAS}


@dataclass(frozen=True)
class Reading:
    """One way to read the recordings."""

    seed: int
    portion: int
    step_s: float
    repeats: bool
    restarts: bool


def interleaved(seed: int) -> Iterable[OutRecord]:
    """Records of all cameras, each in its order, none much ahead of the others."""
    draw, left = random.Random(seed), {camera_id: list(records) for camera_id, records in RECORDINGS.items()}
    while any(left.values()):
        most = max(len(records) for records in left.values())
        camera_id = draw.choice([one for one, records in left.items() if records and len(records) > most - SKEW])
        yield left[camera_id].pop(0)


def new_coordinator(bench: Bench, number: int) -> Coordinator:
    wanted: CoordinatorOptions = replace(options(f"c{number}", RULES), max_records=20)
    return Coordinator(bench.bus, bench.store, INITIAL, wanted, bench.clock, bench.clock.wall)


def versions_after(reading: Reading, file: Path) -> Sequence[str]:
    """Digests of all versions."""
    store, draw = SqliteStore(file), random.Random(reading.seed)
    bench = Bench(store)
    coordinator, number, portion = new_coordinator(bench, 0), 0, list[OutRecord]()
    coordinator.step()
    for record in interleaved(reading.seed):
        portion.append(record)
        if reading.repeats and draw.random() < 0.2:
            portion.append(record)
        if len(portion) < draw.randint(1, reading.portion):
            continue
        bench.send(*portion)
        portion = []
        for _ in range(draw.randint(0, 3)):
            bench.clock.now += reading.step_s
            coordinator.step()
        if reading.restarts and draw.random() < 0.05:
            number += 1
            coordinator = restarted(bench, coordinator, number, draw)
    bench.send(*portion)
    for _ in range(15):  # enough for all to be read
        coordinator.step()
    coordinator.settle_the_rest(0.0)
    bench.clock.now += 0.001
    for _ in range(3):
        coordinator.step()
    snapshot = coordinator.snapshot()
    assert snapshot.held == 0
    assert snapshot.late == 0
    assert snapshot.adds_up()
    entries = store.log(BANK_ID)
    assert sum(entry.change.num_frames for entry in entries) == num_frames_taught()
    store.close()
    return [entry.digest for entry in entries]


def num_frames_taught() -> int:
    """All but the second in which the event opened, and those before and after it that its guard frames reach into."""
    whole = sum(record.topic == TOPICS.memory_updates for records in RECORDINGS.values() for record in records)
    return 10 * (whole - 3)


def restarted(bench: Bench, coordinator: Coordinator, number: int, draw: random.Random) -> Coordinator:
    """The next coordinator, once the one before has ended in peace, or has died.

    Of some that will die no position becomes durable from the start, though their versions do: all is read again.
    """
    if draw.random() < 0.4:
        coordinator.step_back()
    else:
        coordinator._tenure.subscription.close()  # type: ignore[union-attr]
        with_lease_gone(bench)
    successor = new_coordinator(bench, number)
    successor.step()
    if draw.random() < 0.7:
        successor._tenure.subscription.commit = lambda progress: None  # type: ignore[union-attr, method-assign]
    return successor


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """What a reading gives that takes all at once."""
    return versions_after(Reading(0, 10_000, 0.0, False, False), tmp_path_factory.mktemp("once") / "banks.db")


def test_a_round_is_a_version(expected: Sequence[str]) -> None:
    assert len(expected) == 1 + LENGTH_S / RULES.round_s


@example(reading=Reading(72, 5, 0.0, False, True))  # two deaths in a row, the second before the event was read again
@example(reading=Reading(96, 24, 0.01, False, True))
@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])  # shrinking takes minutes
@given(
    reading=st.builds(
        Reading,
        st.integers(0, 2**32),
        st.integers(1, 60),
        st.sampled_from([0.0, 0.01, 0.3]),
        st.booleans(),
        st.booleans(),
    )
)
def test_every_reading_gives_the_same_versions(
    reading: Reading, expected: Sequence[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert versions_after(reading, tmp_path_factory.mktemp("reading") / "banks.db") == expected
