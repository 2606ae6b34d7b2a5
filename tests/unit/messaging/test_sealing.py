"""MACs of records: what they cover, who believes them, and keys that change."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from messaging.inprocess.bus import InProcessBus
from messaging.ports import Headers, OutRecord, Progress, Record, TooLargeError, TopicSpec
from messaging.sealing import BAD_MAC, LOOK_S, MAC, NO_MAC, SealedBus, SealedOutbox, Seals, read_keys
from schemas.codec import HEADER
from schemas.errors import BadMessageError, FatalError, SettingsError

OLD, NEW, OTHER = ("edge old " + "11" * 32, "edge new " + "22" * 32, "worker one " + "33" * 32)
WRITERS = {"frames": "edge", "updates": "worker"}
ROLES = ("edge", "worker")
FRAME = OutRecord("frames", "gate", b"pixels", ((HEADER, b"{}"), ("more", b"x")))


def seals(*lines: str) -> Seals:
    return Seals(lambda: "\n".join(lines), WRITERS)


def arrived(record: OutRecord) -> Record:
    return Record(record.topic, 0, 7, record.key.encode(), record.value, record.headers, 0)


def flaw_of(record: Record, reader: Seals) -> str | None:
    try:
        reader.looked_at(record).check()
    except BadMessageError as error:
        return error.reason
    return None


def test_an_honest_record_passes_and_is_the_same_but_for_the_header() -> None:
    sealed = seals(OLD).sealed(FRAME)
    assert replace(sealed, headers=sealed.headers[:-1]) == FRAME
    assert flaw_of(arrived(sealed), seals(OLD)) is None
    assert sealed.headers[-1][1].startswith(b"old:")


@pytest.mark.parametrize(
    "changed",
    [
        {"topic": "updates"},
        {"key": b"yard"},
        {"key": None},
        {"value": b"pixelz"},
        {"value": None},
        {"value": b""},
        {"headers": ((HEADER, b"{ }"),)},
        {"headers": ()},
        {"key": b"gat", "headers": ((HEADER, b"e{}"),)},
    ],
    ids=str,
)
def test_whatever_is_changed_is_noticed(changed: dict[str, object]) -> None:
    same = {"frames": "edge", "updates": "edge"}
    reader = Seals(lambda: OLD, same)
    record = arrived(reader.sealed(FRAME))
    mac: Headers = tuple(each for each in record.headers if each[0] == MAC)
    changed = changed | ({"headers": (*changed["headers"], *mac)} if "headers" in changed else {})  # type: ignore[misc]
    assert flaw_of(record, reader) is None
    assert flaw_of(replace(record, **changed), reader) == BAD_MAC  # type: ignore[arg-type]


def test_headers_that_others_add_are_not_covered() -> None:
    record = arrived(seals(OLD).sealed(FRAME))
    assert flaw_of(replace(record, headers=(*record.headers, ("trace", b"1"))), seals(OLD)) is None


@pytest.mark.parametrize("mac", [b"", b"old", b"old:", b"old:" + b"0" * 64, b":" + b"0" * 64, b"\xff" * 300])
def test_a_mac_of_anybodys_making_is_bad(mac: bytes) -> None:
    record = arrived(replace(FRAME, headers=((HEADER, b"{}"), (MAC, mac))))
    assert flaw_of(record, seals(OLD)) == BAD_MAC


def test_the_first_mac_counts_and_one_that_came_along_is_replaced() -> None:
    twice = seals(OLD).sealed(seals("edge old " + "44" * 32).sealed(FRAME))
    assert [name for name, _ in twice.headers].count(MAC) == 1
    assert flaw_of(arrived(twice), seals(OLD)) is None


def test_without_a_mac_or_by_an_unknown_key_is_refused_with_the_key_named() -> None:
    assert flaw_of(arrived(FRAME), seals(OLD)) == NO_MAC
    by_new = seals(OLD).looked_at(arrived(seals(NEW).sealed(FRAME)))
    with pytest.raises(BadMessageError, match=r"one of the keys \['old'\], it is by b'new:"):
        by_new.check()


def test_who_has_no_keys_of_the_role_neither_writes_nor_looks() -> None:
    worker = seals(OTHER)
    assert worker.sealed(FRAME) == FRAME
    assert flaw_of(arrived(FRAME), worker) is None
    assert flaw_of(arrived(seals(NEW).sealed(FRAME)), worker) is None
    assert seals(OLD).sealed(replace(FRAME, topic="scores")).headers == FRAME.headers


def test_a_rotation_loses_nothing() -> None:
    """Readers first, then writers, then the old one is forgotten."""
    text = [OLD]
    now = [0.0]
    reader = Seals(lambda: "\n".join(text), WRITERS, lambda: now[0])
    by_old, by_new = arrived(seals(OLD).sealed(FRAME)), arrived(seals(NEW, OLD).sealed(FRAME))
    assert (flaw_of(by_old, reader), flaw_of(by_new, reader)) == (None, BAD_MAC)
    text[:] = [OLD, NEW]
    assert flaw_of(by_new, reader) == BAD_MAC, "keys are looked at now and then, not for each record"
    now[0] += LOOK_S
    assert (flaw_of(by_old, reader), flaw_of(by_new, reader)) == (None, None)
    text[:] = ["edge new nonsense"]
    now[0] += LOOK_S
    assert (flaw_of(by_old, reader), flaw_of(by_new, reader)) == (None, None), "a slip takes nothing away"
    text[:] = [NEW]
    now[0] += LOOK_S
    assert (flaw_of(by_old, reader), flaw_of(by_new, reader)) == (BAD_MAC, None)


def test_keys_are_lines_of_role_id_and_secret() -> None:
    found = read_keys(f"# ours\n\n{NEW}  # since May\n{OLD};{OTHER}", ROLES)
    assert {role: [key.id for key in keys] for role, keys in found.items()} == {
        "edge": ["new", "old"],
        "worker": ["one"],
    }
    assert found["edge"][0].secret == b"\x22" * 32
    assert "22" * 8 not in repr(found)


@pytest.mark.parametrize(
    "line", ["edge new", "edge new 11", "edge new " + "1" * 63, "edges new " + "11" * 32, "edge n:w " + "11" * 32, "x"]
)
def test_other_lines_are_refused_without_the_secret(line: str) -> None:
    with pytest.raises(SettingsError, match="line 2 of the keys must be a role") as refused:
        read_keys(f"{OLD}\n{line}", ROLES)
    assert "11" * 8 not in str(refused.value)


def test_an_id_stands_for_one_key() -> None:
    with pytest.raises(SettingsError, match="'old' was there"):
        read_keys(f"{OLD}\n{OLD}", ROLES)


def test_over_a_bus_all_that_is_written_is_sealed_and_all_that_is_read_is_looked_at() -> None:
    with closing(InProcessBus()) as within:
        within.create_topics([TopicSpec("frames", 1), TopicSpec("updates", 1), TopicSpec("states", 1, compacted=True)])
        bus = SealedBus(within, seals(OLD, OTHER))
        plain, sealing = within.publisher(), bus.publisher()
        plain.publish(FRAME)
        sealing.publish(FRAME)
        subscription = bus.subscription(["frames"], "g", "states")
        outbox = bus.outbox(subscription, "w1")
        outbox.commit([replace(FRAME, topic="updates")], [])
        intake = subscription.receive(10, 5.0)
        while not intake.deliveries:
            intake = subscription.receive(10, 5.0)
        assert [each.record.flaw is None for each in intake.deliveries] == [False, True]
        read = bus.reader(["frames", "updates"], from_beginning=True).read_to_end(5.0)
        assert sorted((record.topic, record.flaw is None) for record in read) == [
            ("frames", False),
            ("frames", True),
            ("updates", True),
        ]
        assert all(MAC in dict(record.headers) for record in read if record.flaw is None)
        with pytest.raises(FatalError, match="subscription of the same bus"):
            bus.outbox(within.subscription(["updates"], "g"), "w1")


def test_a_state_that_others_wrote_is_doubted_and_the_owners_is_handed_on() -> None:
    with closing(InProcessBus()) as within:
        within.create_topics([TopicSpec("frames", 1), TopicSpec("states", 1, compacted=True)])
        bus = SealedBus(within, Seals(lambda: OTHER, {"states": "worker"}))
        owner = bus.subscription(["frames"], "g", "states")
        bus.outbox(owner, "w1").commit([OutRecord("states", key, b"honest") for key in ("gate", "yard")], [])
        within.publisher().publish(OutRecord("states", "yard", b"forged"))
        owner.close()
        (heir,) = bus.subscription(["frames"], "g", "states").receive(1, 5.0).assigned
        assert (heir.states, heir.doubted) == ({"gate": b"honest"}, {"yard": b"forged"})
        (keyless,) = within.subscription(["frames"], "h", "states").receive(1, 5.0).assigned
        assert (keyless.states, keyless.doubted) == ({"gate": b"honest", "yard": b"forged"}, {})


class Narrow:
    """An outbox whose topics take nothing."""

    def commit(self, records: Sequence[OutRecord], progress: Sequence[Progress]) -> None:
        raise TooLargeError(records[1], "too large")

    def close(self) -> None:
        """Nothing to release."""


def test_of_a_record_that_is_too_large_the_one_that_was_given_is_told() -> None:
    other = replace(FRAME, key="yard")
    with pytest.raises(TooLargeError) as refused:
        SealedOutbox(Narrow(), seals(OLD)).commit([FRAME, other], [])
    assert refused.value.record is other
