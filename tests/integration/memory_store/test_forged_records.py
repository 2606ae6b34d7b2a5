"""Who can write a topic does not own the memory: forged proposals, planted banks, floods; and the fencing lead."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory_store.bank import Bank, Change, entry_for, first_broken_link, next_epoch
from memory_store.coordinator.coordinator import leadership
from memory_store.coordinator.guards import EventSpan
from memory_store.coordinator.options import ChangeLimits, RoundRules
from memory_store.coordinator.outgoing import bank_record
from memory_store.store import CommitOutcome, CommitRequest
from memory_store.stores.sqlite import SqliteStore
from messaging.ports import OutRecord
from schemas.codec import HEADER, encode_message, encode_proposal_arrays
from schemas.errors import TransientError
from schemas.messages import ProposalHeader
from tests.integration.memory_store.bench import (
    BANK_ID,
    INITIAL,
    TOPICS,
    Bench,
    event,
    initial_bank,
    options,
    proposal,
)
from tests.unit.memory_store.proposals import FREEZE, THAW, unit_rows

AT_ONCE = RoundRules(round_s=0)


def forged(record: OutRecord, header: ProposalHeader, value: bytes | None = None, **changed: object) -> OutRecord:
    """The record with another header, or another value."""
    told = header.model_copy(update=changed)
    return replace(record, value=value or record.value, headers=((HEADER, encode_message(told)),))


def test_one_frame_cannot_claim_a_million_queries(bench: Bench) -> None:
    record, sums, header = proposal(initial_bank())
    loud = replace(sums, counts_M=np.full(4, 1e6, np.float32), sums_MC=(1e6 * unit_rows(3, 4, 6)).astype(np.float32))
    value = encode_proposal_arrays(loud.running_max_M, loud.sums_MC, loud.counts_M)
    bench.send(forged(record, header, value, num_frames=1), forged(record, header, num_frames=10**18))
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().rejected == {"implausible": 2}
    assert bench.store.read(BANK_ID) is None or bench.stored().version == 0


def test_sums_of_any_size_leave_items_of_unit_length(bench: Bench) -> None:
    record, sums, header = proposal(initial_bank())
    huge = encode_proposal_arrays(sums.running_max_M, 1e30 * sums.sums_MC, sums.counts_M)
    bench.send(forged(record, header, huge), record)
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().rejected == {"implausible": 1}
    np.testing.assert_allclose(np.linalg.norm(bench.stored().items_MC, axis=1), 1.0, atol=1e-5)
    assert bench.stored().version == 1


def test_an_empty_proposal_does_not_make_the_true_one_a_duplicate(bench: Bench) -> None:
    record, sums, header = proposal(initial_bank())
    nothing = encode_proposal_arrays(sums.running_max_M, 0 * sums.sums_MC, 0 * sums.counts_M)
    other = proposal(initial_bank(), seed=2)[0]  # another content under the same id
    bench.send(forged(record, header, nothing), other, record)
    coordinator = bench.coordinator()
    bench.pass_time(coordinator, 1)
    snapshot = coordinator.snapshot()
    assert (snapshot.held, snapshot.rejected, snapshot.conflicting) == (2, {"empty": 1}, 1)


def test_unknown_banks_are_not_made_until_an_operator_makes_them(bench: Bench) -> None:
    strangers = [proposal(INITIAL.as_bank(f"x{number}"))[0] for number in range(200)]
    bench.send(*strangers)
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.pass_time(coordinator, 20)
    assert coordinator.snapshot().rejected == {"unknown_bank": 200}
    assert list(bench.store.list_banks()) == []
    made = bench.store.create(INITIAL.as_bank("x7", next_epoch()), Change("create", "ann", "", "new"))
    bench.send(strangers[0])  # whoever asks in vain has the store searched, now and then
    bench.pass_time(coordinator, 20)
    bench.send(proposal(made, "cam9")[0])
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().versions == {"x7": 1}


def test_banks_of_cameras_are_made_up_to_a_bound(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE, bank_id="{camera_id}", max_banks=3)
    bench.send(*(proposal(INITIAL.as_bank(f"cam{number}"), f"cam{number}")[0] for number in range(20)))
    bench.pass_time(coordinator, 1)
    assert len(bench.store.list_banks()) == 3
    assert coordinator.snapshot().rejected["unknown_bank"] == 17
    assert coordinator.snapshot().adds_up()


ANCHORED = ChangeLimits(None, 0.5, None)
UNUSUAL = (2**53, 10**18, "", "0" * 64, "2199-12-31T00:00:00Z", 1e308)


def archived(bank: Bank) -> OutRecord:
    """As anybody can write it to the topic of banks."""
    return bank_record(bank, entry_for(bank, Change("update", "eve", "", "z"), None, None), TOPICS.memory_banks)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"items_MC": -INITIAL.items_MC}, "anchor_distance"),
        ({"items_MC": 0 * INITIAL.items_MC}, "implausible"),
        ({"items_MC": INITIAL.items_MC[:3]}, "bad_shape"),
        ({"bundle_digest": "c" * 64}, "foreign_bundle"),
        ({"epoch": "zzzz"}, "implausible"),
        ({"epoch": "00009999-" + "0" * 16}, "implausible"),
        ({"version": 2**53}, "implausible"),
        ({"bank_id": "other"}, "unknown_bank"),
    ],
)
def test_a_restore_is_judged_like_an_update(bench: Bench, changed: dict[str, object], reason: str) -> None:
    stored = bench.store.create(INITIAL.as_bank(BANK_ID, next_epoch()), Change("create", "x", "", "y"))
    planted = replace(stored, **{"version": 9, "epoch": next_epoch(stored.epoch), **changed})  # type: ignore[arg-type]
    bench.send(
        bank_record(planted, entry_for(planted, Change("update", "eve", "", "z"), None, None), TOPICS.memory_banks)
    )
    coordinator = bench.coordinator(limits=ANCHORED)
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().is_leader
    assert coordinator.snapshot().not_restored == {reason: 1}
    assert (bench.stored().digest, bench.stored().epoch) == (stored.digest, stored.epoch)


def test_a_restore_says_where_it_comes_from_and_leaves_frozen_banks_alone(bench: Bench) -> None:
    stored = bench.store.create(INITIAL.as_bank(BANK_ID, next_epoch()), Change("create", "x", "", "y"))
    newer = replace(stored, version=9)
    bench.store.freeze(BANK_ID, *FREEZE)
    bench.send(archived(newer))
    first = bench.coordinator("c1", limits=ANCHORED)
    bench.pass_time(first, 1)
    assert (bench.stored().version, first.snapshot().not_restored) == (0, {"frozen": 1})
    first.step_back()
    bench.store.unfreeze(BANK_ID, *THAW)
    newest = replace(stored, version=12)
    bench.send(archived(newest))
    bench.pass_time(bench.coordinator("c2", limits=ANCHORED), 1)
    assert bench.stored().version == 12
    assert f"from {TOPICS.memory_banks}/" in bench.store.log(BANK_ID)[-1].change.reason


def test_a_ruined_bank_goes_back_to_the_trained_items(bench: Bench) -> None:
    """With a bank beyond the limits no frame passes the gate, so nothing else would ever bring it back."""
    ruined = replace(INITIAL.as_bank(BANK_ID, next_epoch()), version=4, items_MC=0 * INITIAL.items_MC)
    bench.store.create(ruined, Change("create", "x", "", "y"))
    bench.pass_time(bench.coordinator(limits=ANCHORED), 1)
    assert bench.stored().digest == initial_bank().digest
    assert (bench.stored().version, bench.store.log(BANK_ID)[-1].change.action) == (5, "restore")
    assert first_broken_link(bench.store.log(BANK_ID)) is None


def test_the_log_is_read_once_for_the_budget_and_a_lost_answer_counts(bench: Bench) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE, limits=ChangeLimits(1e6, None, None))
    log, asked = bench.store.log, list[int]()
    bench.store.log = lambda bank_id, newest=1000: asked.append(newest) or log(bank_id, newest)  # type: ignore
    for number in range(4):
        base = bench.store.read(BANK_ID) or initial_bank()
        bench.send(proposal(base, f"cam{number}", seed=number)[0])
        bench.pass_time(coordinator, 1)
    assert [newest for newest in asked if newest >= 1000] == [1000]
    commit = bench.store.commit

    def losing_its_answer(request: CommitRequest) -> CommitOutcome:
        commit(request)
        bench.store.commit = commit  # type: ignore[method-assign]
        raise TransientError("the answer was lost")

    bench.store.commit = losing_its_answer  # type: ignore[method-assign]
    bench.send(proposal(bench.stored(), "cam8", seed=8)[0])
    bench.pass_time(coordinator, 5)
    assert bench.stored().version == 5
    keeper = coordinator._keeper
    assert keeper is not None
    assert keeper.spent(BANK_ID) == pytest.approx(sum(entry.change.moved for entry in log(BANK_ID)))


def test_a_leader_that_lost_the_lead_without_noticing_writes_nothing(bench: Bench) -> None:
    paused = bench.coordinator("c1", rules=AT_ONCE, lease_s=1e6)  # it will not look at its lease for days
    paused.step()
    assert isinstance(bench.store, SqliteStore)
    with bench.store._transaction() as cursor:
        cursor.execute("UPDATE lease SET expires_at = 0")
    taken = bench.store.acquire(leadership(options().group), "c2", 60)
    assert taken is not None
    bench.store.release(taken)
    bench.send(proposal(initial_bank())[0])
    paused.step()
    assert (bench.stored().version, paused.snapshot().is_leader) == (0, False)
    assert paused.snapshot().adds_up()


def test_events_of_a_partition_that_went_to_another_are_forgotten(bench: Bench) -> None:
    coordinator = bench.coordinator()
    bench.send(*(event(EventSpan(f"cam{number}", "s1", 1, None)) for number in range(12)))
    bench.pass_time(coordinator, 1)
    assert coordinator.snapshot().events_remembered == 12
    other = bench.bus.subscription([TOPICS.memory_updates, TOPICS.anomaly_events], options().group)
    bench.pass_time(coordinator, 1)
    assert 0 < coordinator.snapshot().events_remembered < 12
    other.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    topic=st.sampled_from([TOPICS.memory_updates, TOPICS.anomaly_events, TOPICS.memory_banks]),
    key=st.sampled_from([BANK_ID, "x", "k" * 300]),
    header=st.one_of(
        st.none(),
        st.binary(max_size=64),
        st.just(b"[" * 1100 + b"]" * 1100),
        st.just(b'{"schema_version": 1' + b" " * 20_000 + b"}"),
        st.dictionaries(
            st.sampled_from([*ProposalHeader.model_fields, "epoch", "version", "digest", "audit", "data"]),
            st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2)),
        ).map(lambda content: json.dumps(content).encode()),
    ),
    changed=st.dictionaries(
        st.sampled_from([*ProposalHeader.model_fields]),
        st.one_of(st.integers(-1, 2**60), st.sampled_from(UNUSUAL)),
        max_size=2,
    ),
    value=st.one_of(st.none(), st.binary(max_size=130), st.lists(st.floats(width=32), min_size=32, max_size=32)),
)
def test_no_record_stops_the_leader(
    tmp_path_factory: pytest.TempPathFactory,
    topic: str,
    key: str,
    header: bytes | None,
    changed: dict[str, object],
    value: bytes | list[float] | None,
) -> None:
    """Each is a value, a rejection or a dead letter; the counters add up, and the leader leads on and is led after."""
    store = SqliteStore(tmp_path_factory.mktemp("fuzz") / "banks.sqlite")
    bench = Bench(store)
    good, _, told = proposal(initial_bank())
    body = np.array(value, "<f4").tobytes() if isinstance(value, list) else value
    near = json.dumps(json.loads(encode_message(told)) | changed).encode()
    bench.send(
        OutRecord(topic, key, body, () if header is None else ((HEADER, header), ("odd", b"\xff"))),
        OutRecord(topic, key, header if topic == TOPICS.anomaly_events else body, ((HEADER, near),)),
        OutRecord(topic, BANK_ID, good.value, ((HEADER, near),)),
        good,
    )
    for name in ("c1", "c2"):
        coordinator = bench.coordinator(name, rules=AT_ONCE)
        bench.pass_time(coordinator, 2, step_s=1)
        snapshot = coordinator.snapshot()
        assert (snapshot.is_leader, snapshot.trouble) == (True, None)
        assert snapshot.adds_up()
        coordinator.step_back()
    np.testing.assert_allclose(np.linalg.norm(bench.stored().items_MC, axis=1), 1.0, atol=1e-5)
    assert bench.stored().version >= 1
    bench.bus.close()
    store.close()


def test_the_counters_are_told_once_a_minute(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    coordinator = bench.coordinator(rules=AT_ONCE)
    bench.send(proposal(initial_bank())[0], *[proposal(INITIAL.as_bank("x"))[0]])
    with caplog.at_level("INFO"):
        bench.pass_time(coordinator, 185)
    lines = [record.message for record in caplog.records if record.message.startswith("leading:")]
    assert len(lines) == 3
    assert "received 2, committed 1 in 1 versions, held 0" in lines[-1]
    assert "rejected 1 (unknown_bank 1)" in lines[-1]
