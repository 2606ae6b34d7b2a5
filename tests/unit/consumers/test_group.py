"""A group's position over a log that was cut off, as after a broker came back with less than it had."""

from collections.abc import Sequence

from consumers.group import GroupReader, Received
from consumers.sieve import EventSieve
from messaging.ports import Assigned, Claim, Delivery, Intake, Lost, Progress, Record
from schemas.codec import encode_message
from schemas.messages import AnomalyEvent
from tests.unit.consumers.samples import event

CLAIM = Claim("events", 0, 1)


def record(offset: int, message: AnomalyEvent) -> Delivery:
    return Delivery(Record("events", 0, offset, b"cam1", encode_message(message), (), 0), CLAIM, is_replay=False)


class CutOff:
    """A membership of one partition, as the log tells of it; no broker of ours can be made to lose its end."""

    def __init__(self, *intakes: Intake) -> None:
        self._intakes = list(intakes)
        self.position: int | None = None

    def receive(self, max_records: int, timeout_s: float) -> Intake:
        return self._intakes.pop(0)

    def commit(self, progress: Sequence[Progress]) -> None:
        for item in progress:
            self.position = item.next_offset

    def rewind(self) -> None: ...

    def lag(self) -> int:
        return 0

    def abandon(self) -> None: ...

    def close(self) -> None: ...


def took(reader: GroupReader[AnomalyEvent]) -> list[Received[AnomalyEvent]]:
    return reader.receive(0.0, 100)


def test_the_position_goes_back_with_the_log() -> None:
    """Else records that come later below the old position are missed by whoever follows."""
    membership = CutOff(
        Intake(assigned=(Assigned(CLAIM, 500),), deliveries=(record(500, event(1, 1)),)),
        Intake(lost=(Lost(CLAIM, 501, 0),)),
        Intake(deliveries=(record(0, event(2, 2)), record(1, event(3, 3)))),
    )
    reader = GroupReader(membership, EventSieve())
    reader.settle(one.place for one in took(reader))
    reader.commit()
    assert membership.position == 501
    assert took(reader) == []
    reader.commit()
    assert membership.position == 501, "nothing is known of the other log yet"
    found = took(reader)
    reader.settle([found[0].place])
    reader.commit()
    assert membership.position == 1
    reader.settle([found[1].place])
    reader.commit()
    assert membership.position == 2


def test_another_message_at_the_place_of_an_open_one_is_handed_out() -> None:
    membership = CutOff(
        Intake(assigned=(Assigned(CLAIM, 0),), deliveries=(record(0, event(1, 1)), record(1, event(2, 2)))),
        Intake(lost=(Lost(CLAIM, 2, 0),), deliveries=(record(0, event(1, 1)), record(1, event(3, 3)))),
    )
    reader = GroupReader(membership, EventSieve())
    assert [one.message for one in took(reader)] == [event(1, 1), event(2, 2)]
    assert [one.message for one in took(reader)] == [event(3, 3)]
    reader.settle([("events", 0, 1)])
    reader.commit()
    assert membership.position == 0, "the first is still in hand"
