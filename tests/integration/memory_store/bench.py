"""A coordinator on the in-process bus with a clock of the test, and what workers send to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import numpy as np

from memory_store.bank import Bank
from memory_store.coordinator.archive import read_archive
from memory_store.coordinator.coordinator import Coordinator
from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import ChangeLimits, CoordinatorOptions, RoundRules
from memory_store.proposal import ItemSums, merge_all
from memory_store.store import BankStore
from memory_store.views import InitialBank
from messaging.inprocess.bus import InProcessBus
from messaging.ports import Bus, OutRecord, Record, TopicSpec
from messaging.tracing import Tracer
from schemas.codec import encode_header, encode_message, encode_proposal_arrays
from schemas.messages import (
    AnomalyEvent,
    EventData,
    EventPhase,
    FrameSpan,
    HeatMap,
    Peak,
    ProposalHeader,
    Provenance,
    Threshold,
)
from schemas.topics import TopicNames
from tests.unit.memory_store.proposals import BUNDLE, header_for, sums_of, unit_rows

TOPICS = TopicNames.with_prefix("t.")
INITIAL = InitialBank(BUNDLE, unit_rows(0, 4, 6), places_per_frame=16)
BANK_ID = "lobby"
NO_LIMITS = ChangeLimits(None, None, None)
RULES = RoundRules(round_s=60.0, quarantine_s=30.0, patience_s=0.0)
AT = datetime(2026, 5, 4, 12, 0, tzinfo=timezone.utc)


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return AT + timedelta(seconds=self.now)


def new_bus() -> InProcessBus:
    bus = InProcessBus()
    bus.create_topics(
        [
            TopicSpec(TOPICS.memory_updates, 2),
            TopicSpec(TOPICS.anomaly_events, 3),
            TopicSpec(TOPICS.memory_banks, 2, compacted=True),
            TopicSpec(TOPICS.dead_letters, 1),
        ]
    )
    return bus


def options(coordinator_id: str = "c1", rules: RoundRules = RULES, **changed: object) -> CoordinatorOptions:
    base = CoordinatorOptions(coordinator_id, TOPICS, rules=rules, bank_id=BANK_ID, limits=NO_LIMITS)
    base = replace(base, receive_s=0.0, work_interval_s=0.0)
    return replace(base, **changed)  # type: ignore[arg-type]


def newest_banks(records: Sequence[Record]) -> dict[str, Bank]:
    """The newest bank of each id, as a coordinator would find them."""
    return {bank_id: item.bank for bank_id, item in read_archive(records, INITIAL, None).newest.items()}


@dataclass
class Bench:
    """One store, one bus, any number of coordinators."""

    store: BankStore
    bus: InProcessBus = field(default_factory=new_bus)
    clock: Clock = field(default_factory=Clock)
    tracer: Tracer | None = None

    def coordinator(self, coordinator_id: str = "c1", rules: RoundRules = RULES, **changed: object) -> Coordinator:
        bus: Bus = self.bus
        return Coordinator(
            bus,
            self.store,
            INITIAL,
            options(coordinator_id, rules, **changed),
            self.clock,
            self.clock.wall,
            self.tracer,
        )

    def pass_time(self, coordinator: Coordinator, seconds: float, step_s: float = 5.0) -> None:
        end = self.clock.now + seconds
        coordinator.step()
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + step_s)
            coordinator.step()

    def send(self, *records: OutRecord) -> None:
        publisher = self.bus.publisher()
        for record in records:
            publisher.publish(record)

    def records(self, topic: str) -> Sequence[Record]:
        return self.bus.reader([topic], from_beginning=True).read_to_end(5.0)

    def archived(self) -> dict[str, Bank]:
        return newest_banks(self.records(TOPICS.memory_banks))

    def stored(self, bank_id: str = BANK_ID) -> Bank:
        bank = self.store.read(bank_id)
        assert bank is not None
        return bank


def proposal(
    base: Bank, camera_id: str = "cam1", first: int = 0, seed: int = 1
) -> tuple[OutRecord, ItemSums, ProposalHeader]:
    """Ten frames of a camera, 16 queries."""
    sums = sums_of(unit_rows(seed, 16, 6), np.asarray(base.items_MC))
    header = header_for(base, camera_id, first, first + 9)
    value = encode_proposal_arrays(sums.running_max_M, sums.sums_MC, sums.counts_M)
    return OutRecord(TOPICS.memory_updates, base.bank_id, value, encode_header(header)), sums, header


def proposals(base: Bank, count: int, start: int = 0) -> tuple[list[OutRecord], np.ndarray]:
    """Proposals of several cameras, and the items that all of them together give."""
    made = [proposal(base, f"cam{number}", seed=number) for number in range(start, start + count)]
    return [record for record, _, _ in made], merge_all([sums for _, sums, _ in made]).updated(base.items_MC)


def initial_bank(bank_id: str = BANK_ID) -> Bank:
    return INITIAL.as_bank(bank_id)


def event(span: EventSpan) -> OutRecord:
    """A start, or the end if ``span`` has a last frame."""
    phase: EventPhase = "start" if span.last_frame is None else "end"
    last = span.first_frame if span.last_frame is None else span.last_frame
    event_id = f"{span.camera_id}:{span.session_id}:{span.first_frame}"
    peak = Peak(
        frame_index=last, captured_at=AT, anomaly_score=0.9, psnr_db=20, feature_distance=0.4, regular_score=0.2
    )
    provenance = Provenance(
        model="mnad",
        bundle_digest=BUNDLE,
        bank_id=BANK_ID,
        bank_version=0,
        bank_digest="a" * 64,
        memory_state="live",
        worker_id="w1",
        software="0",
    )
    data = EventData(
        event_id=event_id,
        phase=phase,
        camera_id=span.camera_id,
        session_id=span.session_id,
        started_at=AT,
        last_at=AT,
        ended_at=None if phase == "start" else AT,
        end_reason=None if phase == "start" else "cleared",
        frames=FrameSpan(first=span.first_frame, last=last, scored=1),
        current_score=0.9,
        peak=peak,
        heat_map=HeatMap(rows=0, columns=0, values=()),
        regions=(),
        curve=(),
        threshold=Threshold(enter=0.8, exit=0.6, method="fixed", target_false_alarms_per_day=None),
        provenance=provenance,
    )
    message = AnomalyEvent(
        id=f"{event_id}:{phase}",
        source=f"/engram/{span.camera_id}",
        type=f"dev.engram.anomaly.{phase}.v1",  # type: ignore[arg-type]
        subject=span.camera_id,
        time=AT,
        partitionkey=span.camera_id,
        sequence=f"{last:020}",
        data=data,
    )
    return OutRecord(TOPICS.anomaly_events, span.camera_id, encode_message(message))
