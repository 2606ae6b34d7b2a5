"""Records that cannot be handled are told apart by reason and keep their bytes."""

import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from inference.decode import DecodeLimits
from inference.formats import FrameFormat
from messaging.ports import Claim, Delivery, Record
from schemas.arrays import UInt8
from schemas.codec import HEADER, MAX_HEADER_BYTES, encode_header
from schemas.errors import BadMessageError, FatalError
from tests.unit.workers.arriving import delivery, header
from workers.arrivals import MAX_LOST_THREADS, Arrival, Decoder, PendingImage, parse_header, settle


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(FrameFormat(8, 6, 1), DecodeLimits(), num_threads=2)
    yield made
    made.close()


def jpeg() -> bytes:
    ok, encoded = cv2.imencode(".jpg", np.full((6, 8), 77, np.uint8))
    assert ok
    return encoded.tobytes()


def one(decoder: Decoder, each: Delivery) -> Arrival:
    return decoder.begin([each])[0]


def test_a_sound_frame_brings_header_and_image(decoder: Decoder) -> None:
    arrived = one(decoder, delivery(3, header(7), jpeg()))
    assert arrived.header == header(7)
    assert arrived.image is not None
    assert np.abs(arrived.image.result(10).astype(int) - 77).max() <= 1


def test_the_end_of_a_session_has_no_image(decoder: Decoder) -> None:
    arrived = one(decoder, delivery(3, header(7, kind="end_of_session")))
    assert (arrived.image, arrived.error) == (None, None)


def test_images_come_in_the_order_of_their_records(decoder: Decoder) -> None:
    arrived = decoder.begin([delivery(index, header(index), jpeg()) for index in range(20)])
    assert [each.header.frame_index for each in arrived if each.header] == list(range(20))


def test_a_bad_image_is_an_error_of_its_record_only(decoder: Decoder) -> None:
    bad, good = decoder.begin([delivery(0, header(0), b""), delivery(1, header(1), jpeg())])
    assert bad.image is not None
    assert good.image is not None
    with pytest.raises(BadMessageError):
        bad.image.result(10)
    assert good.image.result(10).shape == (6, 8, 1)


def raw(headers: tuple[tuple[str, bytes], ...], key: bytes | None = b"cam1") -> Record:
    return Record("frames", 2, 41, key, b"bytes as they came", headers, 0)


JSON = encode_header(header(0))[0][1]


@pytest.mark.parametrize(
    ("reason", "record"),
    [
        ("missing_header", raw(())),
        ("foreign", raw(((HEADER, b"\x00\x01"),))),
        ("foreign", raw(((HEADER, b'{"hello": 1}'),))),
        ("future_version", raw(((HEADER, JSON.replace(b'"schema_version":1', b'"schema_version":2')),))),
        ("invalid_message", raw(((HEADER, JSON.replace(b'"frame_index":0', b'"frame_index":-4')),))),
        ("oversized_header", raw(((HEADER, b"x" * (MAX_HEADER_BYTES + 1)),))),
        ("wrong_key", raw(((HEADER, JSON),), key=b"cam2")),
        ("wrong_key", raw(((HEADER, JSON),), key=None)),
    ],
)
def test_each_fault_has_its_reason(decoder: Decoder, reason: str, record: Record) -> None:
    arrived = one(decoder, Delivery(record, Claim("frames", 2, 1), False))
    assert arrived.header is None
    assert arrived.error is not None
    assert arrived.error.reason == reason


def explain(change: Callable[[bytes], bytes]) -> str:
    with pytest.raises(BadMessageError) as refused:
        parse_header(raw(((HEADER, change(JSON)),)))
    return str(refused.value)


def test_messages_name_field_and_value() -> None:
    assert "frame_index" in explain(lambda json: json.replace(b'"frame_index":0', b'"frame_index":-4'))
    assert "update Engram" in explain(lambda json: json.replace(b'"schema_version":1', b'"schema_version":7'))


def stuck(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> tuple[Arrival, threading.Event]:
    """A frame whose decoding does not end until the event is set."""
    begun, end = threading.Event(), threading.Event()

    def never_ends(*_: object) -> UInt8:
        begun.set()
        end.wait(60)
        return np.zeros((6, 8, 1), np.uint8)

    with monkeypatch.context() as patched:
        patched.setattr("workers.arrivals.decode_frame", never_ends)
        arrived = one(decoder, delivery(0, header(0), jpeg()))
    assert begun.wait(10)
    return arrived, end


def reason_of(arrived: Arrival, timeout: float) -> str:
    assert arrived.image is not None
    with pytest.raises(BadMessageError) as refused:
        arrived.image.result(timeout)
    return refused.value.reason


def test_a_decoding_that_does_not_end_is_a_dead_letter_and_costs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(FrameFormat(8, 6, 1), DecodeLimits(), num_threads=1)
    arrived, end = stuck(decoder, monkeypatch)
    assert reason_of(arrived, 0.01) == "decode_timeout"
    good = one(decoder, delivery(1, header(1), jpeg()))
    assert good.image is not None
    assert good.image.result(10).shape == (6, 8, 1)
    end.set()
    decoder.close()


def test_a_worker_that_loses_thread_after_thread_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decoder(FrameFormat(8, 6, 1), DecodeLimits(), num_threads=1)
    for _ in range(MAX_LOST_THREADS):
        arrived, end = stuck(decoder, monkeypatch)
        assert reason_of(arrived, 0.01) == "decode_timeout"
        end.set()
    last, end = stuck(decoder, monkeypatch)
    assert last.image is not None
    with pytest.raises(FatalError, match="start the worker again"):
        last.image.result(0.01)
    end.set()
    decoder.close()


def test_an_image_that_no_thread_got_to_in_time_costs_no_thread() -> None:
    lost: list[int] = []
    image = PendingImage(lambda: np.zeros((6, 8, 1), np.uint8), lambda: lost.append(1))
    with pytest.raises(BadMessageError) as refused:
        image.result(0.0)
    assert (refused.value.reason, lost) == ("decode_timeout", [])
    image.run()  # a thread that comes to it later passes it by


def test_what_goes_wrong_in_a_thread_is_told_to_who_waits() -> None:
    def no_memory() -> UInt8:
        raise MemoryError

    image = PendingImage(no_memory, lambda: None)
    image.run()
    with pytest.raises(BadMessageError) as refused:
        image.result(1.0)
    assert refused.value.reason == "undecodable"


def test_who_settles_finds_every_image_of_a_thread_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.arrivals.SETTLE_S", 60.0)
    decoder = Decoder(FrameFormat(8, 6, 1), DecodeLimits(), num_threads=1)
    first, end = stuck(decoder, monkeypatch)
    told = [delivery(index, header(index), jpeg()) for index in range(1, 5)]
    arrived = [first, *decoder.begin([*told, delivery(5, header(5, kind="end_of_session"))])]
    threading.Timer(0.01, end.set).start()
    settle(arrived)
    assert [each.image.result(0.0).shape for each in arrived if each.image] == [(6, 8, 1)] * 5
    decoder.close()


def test_who_settles_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.arrivals.SETTLE_S", 0.01)
    decoder = Decoder(FrameFormat(8, 6, 1), DecodeLimits(), num_threads=1)
    arrived, end = stuck(decoder, monkeypatch)
    settle([arrived])
    assert reason_of(arrived, 0.0) == "decode_timeout"
    end.set()
    decoder.close()


def test_where_no_image_is_on_its_way_there_is_nothing_to_settle(decoder: Decoder) -> None:
    settle([])
    settle(
        decoder.begin([delivery(3, header(7, kind="end_of_session")), Delivery(raw(()), Claim("frames", 2, 1), False)])
    )
