"""Does a memory know its camera, and what disturbs it? Arms of the yardstick about states and the events they spare.

Events are those of ``workers.tracker`` with its default rules, at one false alarm a day; "with states" none opens while
the camera is not to be judged (``inference.recognition``), "without" all do.

Dimensions: F frames.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inference.rarity import level_for
from inference.recognition import Likeness, Recognition, recognised
from inference.scoring import EXIT_SHARE
from memory_store.normality import Normality
from training.evaluation.events import Span, events_in, stretches_in
from training.worth.arms import TARGET_PER_DAY, Row
from training.worth.learning import learn, levels_of, rarities_of
from training.worth.scenes import Scene, Take


@dataclass(frozen=True, slots=True)
class Watched:
    """What a worker would have made of a video.

    Attributes:
        over_F: whether a frame is over the threshold.
        states: after each frame.
        with_states, without: events.
    """

    fps: float
    over_F: tuple[bool, ...]
    states: tuple[Recognition, ...]
    with_states: tuple[Span, ...]
    without: tuple[Span, ...]

    def first_s(self, *states: str) -> float | None:
        """Seconds of video until one of some states is said; None = never."""
        return next(((at + 1) / self.fps for at, one in enumerate(self.states) if one.state in states), None)


def watched(take: Take, memory: Normality) -> Watched:
    """Go through a video as a worker does."""
    known, now, states = Likeness.of(memory), None, []
    for frame in range(len(take.seen)):
        seen = take.seen
        whole = known.ask(seen.errors_FRS[frame], seen.grey_FPQ[frame], take.whole(frame))
        now = recognised(now, whole, known, take.fps)
        states.append(now)
    levels_F, level = levels_of(take, memory), level_for(TARGET_PER_DAY, memory)
    rarity_F, enter = rarities_of(levels_F, memory, TARGET_PER_DAY)
    rarities = rarity_F.tolist()
    blind = [one.is_blind for one in states]
    return Watched(
        take.fps,
        tuple(bool(over) for over in levels_F >= level),
        tuple(states),
        tuple(events_in(rarities, enter, EXIT_SHARE * enter, take.fps, blind)),
        tuple(events_in(rarities, enter, EXIT_SHARE * enter, take.fps)),
    )


def own_camera(scenes: Sequence[Scene]) -> Iterator[Row]:
    """Labelled video of the camera itself: it must stay known, and nothing that happens there may be lost by states."""
    for scene in scenes:
        memory = learn(scene.normal)
        found = [watched(take, memory) for take in scene.test]
        known = _share(found, "known")
        yield Row("own camera", scene.name, "test video", "% of frames known", known, note=f"of {_frames(found)}")
        stretches = [[] if take.labels_F is None else stretches_in(take.labels_F) for take in scene.test]
        for what, events in (
            ("with states", [one.with_states for one in found]),
            ("without", [one.without for one in found]),
        ):
            met = sum(
                any(event.meets(stretch) for event in of_take)
                for of_take, wanted in zip(events, stretches, strict=True)
                for stretch in wanted
            )
            total = sum(len(wanted) for wanted in stretches)
            yield Row("own camera", scene.name, what, "% of anomalies with an event", 100.0 * met / max(total, 1))


def wrong_camera(scenes: Sequence[Scene]) -> Iterator[Row]:
    """Video of one camera against the memory of another: how soon it is said, and what opens until then."""
    memories = {scene.name: learn(scene.normal) for scene in scenes}
    for scene in scenes:
        for other in scenes:
            if other.name == scene.name:
                continue
            found = [watched(take, memories[other.name]) for take in (*scene.normal, *scene.test)]
            what = f"memory of {other.name}"
            times = [time for time in (one.first_s("differs") for one in found) if time is not None]
            note = f"of {len(found)} videos"
            yield Row("wrong camera", scene.name, what, "videos in which it is said", float(len(times)), note=note)
            if times:
                yield Row("wrong camera", scene.name, what, "most seconds until it is said", max(times))
            yield Row("wrong camera", scene.name, what, "% of frames that differ", _share(found, "differs"))
            yield from _event_rows("wrong camera", scene.name, what, found)


def disturbance(scene: Scene, changed: Mapping[str, Sequence[Take]]) -> Iterator[Row]:
    """Normal video that something happened to: how much of it is over the threshold, what is said, what opens?

    Args:
        scene: as it is.
        changed: its normal footage after each disturbance, the videos in the same order.
    """
    half = max(1, len(scene.normal) // 2)
    memory = learn(scene.normal[:half])
    for what, takes in {"as it is": scene.normal, **changed}.items():
        later = takes[half:] or takes
        found = [watched(take, memory) for take in later]
        over = 100.0 * float(np.mean([over for one in found for over in one.over_F]))
        note = f"of {_frames(found)} of {'the other half' if takes[half:] else 'the same'} of its footage"
        yield Row("disturbance", scene.name, what, "% of normal frames over", over, note=note)
        yield Row("disturbance", scene.name, what, "% of frames known", _share(found, "known", "learning"))
        yield from _event_rows("disturbance", scene.name, what, found)


def _event_rows(arm: str, scene: str, what: str, found: Sequence[Watched]) -> Iterator[Row]:
    yield Row(arm, scene, what, "events, with states", float(sum(len(one.with_states) for one in found)))
    yield Row(arm, scene, what, "events, without", float(sum(len(one.without) for one in found)))


def _share(found: Sequence[Watched], *states: str) -> float:
    """Of frames in some states, %."""
    return 100.0 * float(np.mean([one.state in states for video in found for one in video.states]))


def _frames(found: Sequence[Watched]) -> str:
    return f"{sum(len(one.states) for one in found)} frames"
