"""Nothing leaves the list of what is to be sent before the broker has confirmed it."""

from collections.abc import Callable

import pytest

from memory_store.bank import Change, entry_for
from memory_store.coordinator.outgoing import Outgoing, bank_record
from messaging.dead_letters import dead_letter
from messaging.inprocess.bus import InProcessBus
from messaging.ports import OutRecord, Publisher, Record, TopicSpec
from schemas.codec import HEADER, decode_message
from schemas.errors import BadMessageError, FatalError, TransientError
from schemas.messages import BankHeader
from tests.unit.memory_store.proposals import a_bank

ENTRY = entry_for(a_bank(), Change("create", "c1", "", "id"), None, None)
BANK = bank_record(a_bank(), ENTRY, "banks")
SOURCE = Record("updates", 1, 42, b"lobby", b"as it came", (("trace", b"t1"),), 0)
ERROR = BadMessageError("foreign", "not ours")


class Flaky:
    """A publisher whose broker confirms only what ``answers`` says; None = it never does."""

    def __init__(self, *answers: Exception | str | None) -> None:
        self.answers = list(answers)
        self.published: list[OutRecord] = []

    def publish(self, record: OutRecord, on_done: Callable[[Exception | None], None] | None = None) -> None:
        self.published.append(record)
        answer = self.answers.pop(0)
        assert on_done is not None
        if answer != "silence":
            on_done(answer)  # type: ignore[arg-type]

    def flush(self, timeout_s: float) -> bool:
        return True

    def close(self, timeout_s: float) -> None: ...


def outgoing(publisher: Publisher, *records: OutRecord) -> Outgoing:
    made = Outgoing(publisher, timeout_s=1.0)
    for record in records:
        made.add(record)
    return made


def bus(max_message_bytes: int | None = None) -> InProcessBus:
    made = InProcessBus()
    made.create_topics([TopicSpec(name, 1, max_message_bytes=max_message_bytes) for name in ("banks", "letters")])
    return made


def test_what_is_confirmed_is_gone() -> None:
    on = bus()
    sending = outgoing(on.publisher(), BANK)
    sending.send()
    assert len(sending) == 0
    (record,) = on.reader(["banks"], from_beginning=True).read_to_end(1.0)
    assert record.key == b"lobby"
    assert decode_message(BankHeader, record.header(HEADER)).digest == a_bank().digest


@pytest.mark.parametrize("answer", [TransientError("broker away"), "silence"])
def test_what_is_not_confirmed_stays_and_is_sent_again(answer: Exception | str) -> None:
    letter = dead_letter(SOURCE, ERROR, "letters", "c1")
    publisher = Flaky(None, answer, None)
    sending = outgoing(publisher, BANK, letter)
    with pytest.raises(TransientError, match="1 records"):
        sending.send()
    assert len(sending) == 1
    sending.send()
    assert publisher.published == [BANK, letter, letter]


def test_a_dead_letter_too_large_for_its_topic_goes_without_its_bytes() -> None:
    on = bus(max_message_bytes=500)
    large = Record("updates", 1, 42, b"lobby", b"x" * 5000, (), 0)
    outgoing(on.publisher(), dead_letter(large, ERROR, "letters", "c1")).send()
    (letter,) = on.reader(["letters"], from_beginning=True).read_to_end(1.0)
    assert (letter.value, letter.header("engram-bytes-left-out")) == (b"", b"5000")
    assert letter.header("engram-source") == b"updates/1/42"


def test_a_bank_too_large_for_its_topic_is_a_setting_to_change() -> None:
    with pytest.raises(FatalError, match=r"max\.message\.bytes"):
        outgoing(bus(max_message_bytes=50).publisher(), BANK).send()
