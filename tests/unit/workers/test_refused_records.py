"""What is left of a transaction when one of its records is refused, and when a record has had its attempts."""

from dataclasses import replace

import pytest

from inference.decode import DecodeLimits
from inference.formats import FrameFormat
from messaging.ports import OutRecord
from tests.small_bundle import jpeg
from tests.unit.workers.arriving import delivery, header
from workers.arrivals import Decoder
from workers.worker import _without

SCORE, EVENT, OTHER = OutRecord("scores", "a", b"1"), OutRecord("events", "a", b"2"), OutRecord("scores", "b", b"3")


def test_the_refused_record_alone_is_left_out_though_others_are_like_it() -> None:
    twin = replace(SCORE)
    records = [SCORE, EVENT, twin, OTHER]
    left = _without(records, twin)
    assert [id(record) for record in left] == [id(SCORE), id(EVENT), id(OTHER)]


def test_a_record_that_was_shortened_on_its_way_goes_with_all_of_its_topic_and_key() -> None:
    shortened = OutRecord("scores", "a", b"cut")
    assert _without([SCORE, EVENT, replace(SCORE, value=b"9"), OTHER], shortened) == [EVENT, OTHER]


@pytest.mark.parametrize(("attempts", "most", "given_up"), [(0, 3, False), (2, 3, False), (3, 3, True), (4, 3, True)])
def test_a_record_has_so_many_attempts_and_the_last_one_is_made(attempts: int, most: int, given_up: bool) -> None:
    decoder = Decoder(FrameFormat(4, 3, 1), DecodeLimits(), num_threads=1, max_attempts=most)
    told = header(0, size=(64, 48))
    (found,) = decoder.begin([replace(delivery(0, told, jpeg("a", 0)), attempts=attempts)])
    decoder.close()
    if given_up:
        assert found.error is not None
        assert (found.error.reason, found.image, found.header) == ("poison", None, None)
        assert f"{attempts} workers have begun with this record" in str(found.error)
    else:
        assert (found.error, found.header) == (None, told)
        assert found.image is not None
        assert found.image.result(20.0).shape == (3, 4, 1)
