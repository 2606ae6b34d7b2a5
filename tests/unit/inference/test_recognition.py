"""Whether a camera is the one its memory knows: what is one's own, another's, disturbed, or merely full of people."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from inference.evidence import Seen, remember
from inference.recognition import (
    LEARNED_FRAMES,
    MOST,
    SHIFT_BOUND_PX,
    Likeness,
    Recognition,
    Whole,
    recognised,
    why,
)
from inference.steadiness import UNCHANGED, Change
from memory_store.normality import Grid, Normality, merge_all

R, S = 32, 48
P, Q = R // 4, S // 4
FPS = 10.0
MINUTE = int(60 * FPS)


def picture(seed: int = 0) -> np.ndarray:
    """What a camera shows at its places."""
    return np.random.default_rng(seed).uniform(40, 200, (P, Q))


def seen(num_frames: int, grey: np.ndarray, seed: int = 0) -> Seen:
    """Ordinary frames before a background."""
    draw = np.random.default_rng(seed)
    errors = 1e-4 * draw.lognormal(0, 0.4, (num_frames, R, S))
    greys = grey + draw.normal(0, 2, (num_frames, P, Q))
    return Seen(*(each.astype(np.float32) for each in (errors, 0 * errors, greys, np.full(num_frames, 40.0))))


def known_of(*pictures: np.ndarray, num_frames: int = MINUTE) -> Likeness:
    parts = [remember(seen(num_frames, grey, 90 + number), 0.0) for number, grey in enumerate(pictures)]
    return Likeness.of(merge_all(parts, float("inf")))


KNOWN = known_of(picture())


def through(
    frames: Seen, known: Likeness = KNOWN, changes: Iterable[Change] = (), before: Recognition | None = None
) -> list[Recognition]:
    found, given = [], list(changes) or [UNCHANGED] * len(frames)
    for errors_RS, grey_PQ, change in zip(frames.errors_FRS, frames.grey_FPQ, given, strict=True):
        before = recognised(before, known.ask(errors_RS, grey_PQ, change), known, FPS)
        found.append(before)
    return found


def states(found: Iterable[Recognition]) -> set[str]:
    return {one.state for one in found}


def with_errors(frames: Seen, factor: float, rows: int) -> Seen:
    """Worse foreseen in the uppermost rows of cells."""
    errors = frames.errors_FRS.copy()
    errors[:, :rows] *= factor
    return replace(frames, errors_FRS=errors)


def test_a_camera_knows_itself():
    found = through(seen(MINUTE, picture(), seed=5))
    assert states(found) == {"known"}
    assert all(one.teaches and not one.is_blind for one in found)
    assert max(one.strangeness for one in found) < 0.3
    assert found[-1].cause is None


@pytest.mark.parametrize(("gain", "offset"), [(0.6, 0.0), (1.4, 0.0), (1.0, 30.0), (0.7, 20.0)])
def test_brighter_or_paler_is_still_the_camera(gain, offset):
    assert states(through(seen(200, gain * picture() + offset, seed=5))) == {"known"}


def test_another_camera_differs_after_a_second_and_is_blind_from_the_start():
    found = through(seen(200, picture(7)))
    assert [one.state for one in found[:9]] == ["known"] * 9
    assert states(found[9:]) == {"differs"}
    assert all(one.is_blind and not one.teaches for one in found)
    assert found[-1].cause == "picture"
    assert "another picture" in why(found[-1])


@pytest.mark.parametrize("level", [0.0, 30.0, 220.0])
def test_a_lens_that_is_covered_differs(level):
    assert through(seen(30, np.full((P, Q), level)))[-1].state == "differs"


def test_a_light_that_was_seen_before_is_known_and_a_new_one_is_not():
    day, night = picture(), picture(3)
    assert states(through(seen(200, night), known_of(day, night))) == {"known"}
    assert through(seen(200, night), known_of(day))[-1].state == "differs"


@pytest.mark.parametrize("rows", [R // 2, 5 * R // 8])
def test_a_crowd_that_runs_is_no_disturbance(rows):
    """More than half of the picture is foreseen a hundred times worse: that is for events to say."""
    found = through(with_errors(seen(100, picture(), seed=5), 100.0, rows))
    assert states(found) == {"known"}
    assert not any(one.is_blind for one in found)


def test_a_truck_that_stops_is_no_other_camera():
    """A fifth of the picture is covered by something else, for good."""
    parked = picture()
    parked[3:, 4:8] = 10.0
    assert (parked != picture()).mean() > 0.2
    found = through(seen(100, parked, seed=5))
    assert states(found) == {"known"}
    assert not any(one.is_blind for one in found)


def test_what_is_worse_everywhere_disturbs_and_is_over_some_seconds_later():
    worse = through(with_errors(seen(100, picture(), seed=5), 30.0, R))
    assert (worse[-1].state, worse[-1].cause, worse[-1].is_blind) == ("disturbed", "error", True)
    assert "noise" in why(worse[-1])
    after = through(seen(200, picture(), seed=6), before=worse[-1])
    assert after[-1].state == "known"
    assert "disturbed" in {one.state for one in after[:50]}
    assert after[-1].teaches


def test_a_moment_is_not_enough_to_be_disturbed_but_opens_nothing():
    calm = through(seen(100, picture(), seed=5))
    flash = through(with_errors(seen(5, picture(), seed=6), 1e4, R), before=calm[-1])
    assert states(flash) == {"known"}
    assert flash[-1].is_blind
    assert not flash[-1].teaches
    assert not through(seen(30, picture(), seed=7), before=flash[-1])[-1].is_blind


def test_a_shake_is_said_but_hides_nothing_once_it_is_taken_out():
    trembling = [Change(1.0, 0.0, 0.0) if number % 2 else Change(-1.0, 0.0, 0.0) for number in range(100)]
    found = through(seen(100, picture(), seed=5), changes=trembling)
    assert (found[-1].state, found[-1].cause) == ("disturbed", "shift")
    assert not found[-1].is_blind
    assert not found[-1].teaches
    assert "shakes, by 1.0 pixels" in why(found[-1])
    worse = through(with_errors(seen(100, picture(), seed=5), 30.0, R), changes=trembling)
    assert (worse[-1].cause, worse[-1].is_blind) == ("shift", True)


def test_a_shiver_below_what_is_taken_out_is_nothing():
    tiny = [Change(0.2, 0.1, 0.0)] * 100
    assert states(through(seen(100, picture(), seed=5), changes=tiny)) == {"known"}


def test_a_lamp_is_said_at_once_and_forgotten_after_ten_seconds():
    lamp = [Change(0.0, 0.0, 0.2 if number == 50 else 0.0) for number in range(200)]
    found = through(seen(200, picture(), seed=5), changes=lamp)
    assert [found[at].state for at in (49, 50, 60, 150)] == ["known", "disturbed", "disturbed", "known"]
    assert (found[50].cause, found[50].is_blind) == ("light", False)


def test_flicker_of_two_per_cent_is_nothing():
    flicker = [Change(0.0, 0.0, 0.02 * (-1) ** number) for number in range(100)]
    assert states(through(seen(100, picture(), seed=5), changes=flicker)) == {"known"}


def test_a_memory_that_has_seen_little_learns_whatever_comes():
    young = known_of(picture(), num_frames=int(LEARNED_FRAMES) - 1)
    found = through(seen(50, picture(7)), young)
    assert states(found) == {"learning"}
    assert all(one.teaches and not one.is_blind for one in found)
    empty = Likeness.of(Normality.empty(Grid(R, S)))
    assert states(through(seen(50, picture()), empty)) == {"learning"}


def test_a_state_does_not_flutter_at_its_bound():
    at_the_bound = [Change(SHIFT_BOUND_PX * (1.05 if number % 40 < 20 else 0.9), 0.0, 0.0) for number in range(400)]
    found = [one.state for one in through(seen(400, picture(), seed=5), changes=at_the_bound)]
    assert sum(one != other for one, other in pairwise(found)) <= 1


@pytest.mark.parametrize("number", [np.nan, np.inf, 1e30])
def test_no_number_breaks_it(number):
    frames = seen(3, picture())
    frames = replace(
        frames, grey_FPQ=np.full_like(frames.grey_FPQ, number), errors_FRS=np.full_like(frames.errors_FRS, number)
    )
    with np.errstate(all="ignore"):
        found = through(frames, changes=[Change(number, number, number)] * 3)
    assert all(0 <= value <= MOST for one in found for value in (one.slow.picture, one.slow.error, one.quick))
    assert 0.0 <= found[-1].strangeness <= 1.0


def test_what_travels_is_bounded():
    adapter = TypeAdapter(Recognition)
    one = through(seen(20, picture(7)))[-1]
    assert adapter.validate_json(adapter.dump_json(one)) == one
    assert len(adapter.dump_json(one)) < 256
    for wrong in (replace(one, quick=-1.0), replace(one, slow=Whole(picture=99.0)), replace(one, state="odd")):
        with pytest.raises(ValidationError):
            adapter.validate_json(adapter.dump_json(wrong, warnings=False))
