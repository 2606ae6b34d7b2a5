"""What a verdict of an operator is worth: one kind of anomaly is called normal, and the others must go on to alarm.

The events of some test clips are called normal, and the other clips are judged again, by the rules that workers and
coordinators go by (``inference.taught``, ``memory_store.exemplar``). Where pixels are labelled, frames with more than
``LARGE_PX`` abnormal ones are of another kind (on Ped2 the cart among cyclists and skaters), which nobody has taught.

Dimensions: F frames, R x S patches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from inference.error_map import PATCH_STEP
from inference.evidence import Evidence, Expectation, ask_by_patches, expectation, motion_map, motion_patches
from inference.rarity import joint, level_for
from inference.scoring import EXIT_SHARE
from inference.taught import Usual, extents_of, passed, things_of
from memory_store.exemplar import Exemplar, Taught, exemplar_of, levels_of
from memory_store.normality import Normality
from schemas.arrays import Bool, Float64
from schemas.messages import HeatMap, Region
from schemas.verdicts import OperatorVerdict, Scope
from training.evaluation.events import Span, events_in
from training.worth.arms import TARGET_PER_DAY, Row
from training.worth.learning import learn, rarities_of, smoothed
from training.worth.scenes import Scene, Take

LARGE_PX = 2000
"""Of the footage as it came; Ped2's cyclists have up to 1600, its cart 3000."""
TAUGHT_SHARE = 0.25
"""Of a scene's test clips: so many are taught, in turns."""
SCOPES: tuple[Scope, ...] = ("place", "camera")
SAID_AT = datetime(2026, 1, 1, tzinfo=timezone.utc)
CAMERA = "camera"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A video as it is judged: the map of each frame, whether it is over the threshold, and the events."""

    take: Take
    spreads_FRS: Float64
    levels_F: Float64
    over_F: Bool
    anomalous_F: Bool
    events: tuple[Span, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A memory, ready to judge videos by."""

    memory: Normality
    expected: Expectation
    usual: Usual

    @classmethod
    def of(cls, memory: Normality, fps: float) -> "Judge":
        """Make a memory ready."""
        return cls(memory, expectation(memory, fps), Usual.of(memory))

    def see(self, take: Take, exemplars: Sequence[Exemplar] = ()) -> Seen:
        """Judge a video, by what was said as well."""
        patches_FUV = motion_patches(motion_map(take.seen, self.expected), self.expected.patch_cells)
        taught = Taught.of(exemplars, CAMERA, take.seen.grid)
        found = ask_by_patches(take.seen, self.expected, patches_FUV)
        if taught is not None:
            found = self._ask_past(take, patches_FUV, taught)
        levels_F = smoothed(joint(found, self.memory, take.fps), take.fps, start=0.0)
        level = level_for(TARGET_PER_DAY, self.memory)
        rarity_F, enter = rarities_of(levels_F, self.memory, TARGET_PER_DAY)
        events = tuple(events_in(rarity_F.tolist(), enter, EXIT_SHARE * enter, take.fps))
        spreads_FRS = self.usual.spreads_of(patches_FUV[:, ::PATCH_STEP, ::PATCH_STEP])
        return Seen(take, spreads_FRS, levels_F, levels_F >= level, rarity_F >= EXIT_SHARE * enter, events)

    def _ask_past(self, take: Take, patches_FUV: Float64, taught: Taught) -> Evidence:
        asked = []
        for frame, patches_UV in enumerate(patches_FUV):
            spreads_RS = self.usual.spreads_of(patches_UV[::PATCH_STEP, ::PATCH_STEP])
            known = passed(spreads_RS, self.usual.half, taught, take.seen.grid)
            left_UV = np.where(known.covered_UV, np.minimum(patches_UV, self.usual.worst), patches_UV)
            asked.append(ask_by_patches(take.seen[frame : frame + 1], self.expected, left_UV[None], known.covered_PQ))
        return Evidence(
            np.concatenate([one.motion_F for one in asked]),
            np.concatenate([one.place_F for one in asked]),
            np.concatenate([one.background_F for one in asked]),
        )


def verdict(scenes: Sequence[Scene]) -> Iterator[Row]:
    """One part of the test clips taught, the others judged, in turns."""
    for scene in scenes:
        judge = Judge.of(learn(scene.normal), scene.normal[0].fps)
        before = [judge.see(take) for take in scene.test]
        size = max(1, round(TAUGHT_SHARE * len(before)))
        turns = [range(first, min(first + size, len(before))) for first in range(0, len(before), size)]
        turns = [turn for turn in turns if any(_teachable(before[at]) for at in turn)]
        for scope in SCOPES:
            for turn in turns:
                yield from _turn(judge, scene, before, turn, scope)


def _turn(judge: Judge, scene: Scene, before: Sequence[Seen], turn: range, scope: Scope) -> Iterator[Row]:
    exemplars = [exemplar for at in turn for exemplar in _taught(judge, before[at], scope)]
    judged = [at for at in range(len(before)) if at not in turn]
    after = {at: judge.see(before[at].take, exemplars) for at in range(len(before))}
    what = f"{scope}, {len(exemplars)} events of clips {turn.start + 1} to {turn.stop}"
    for kind in ("small anomalies", "large anomalies", "normal frames"):
        shares = [_share([seen[at] for at in judged], kind) for seen in (before, after)]
        if shares[0] is not None and shares[1] is not None:
            note = f"{shares[0]:.1f} before it was said"
            yield Row("verdict", scene.name, what, f"% of {kind} over", shares[1], note=note)
    for which, clips in (("others'", judged), ("their own", list(turn))):
        events = [sum(len(seen[at].events) for at in clips) for seen in (before, after)]
        yield Row("verdict", scene.name, what, f"events, {which} clips", events[1], note=f"{events[0]} before")


def _teachable(seen: Seen) -> list[Span]:
    """Its events that show nothing of the other kind."""
    large_F = _of_kind(seen, "large anomalies")
    return [event for event in seen.events if not large_F[event.first : event.last + 1].any()]


def _taught(judge: Judge, seen: Seen, scope: Scope) -> list[Exemplar]:
    return [exemplar_of(_said(judge, seen, event, scope)) for event in _teachable(seen)]


def _said(judge: Judge, seen: Seen, event: Span, scope: Scope) -> OperatorVerdict:
    """What an operator would say of an event, as a worker would have told of it."""
    frames = [frame for frame in range(event.first, event.last + 1) if seen.anomalous_F[frame]]
    maps_FRS = seen.spreads_FRS[frames]
    rows, columns = maps_FRS.shape[1:]
    things = [things_of(map_RS, judge.usual.half) for map_RS in maps_FRS]
    extents_RS = np.max([extents_of(one, (rows, columns)) for one in things], axis=0)
    peak = max(range(len(frames)), key=lambda index: seen.levels_F[frames[index]])
    worst = max(things[peak], key=lambda thing: float(thing.spreads_N.max()), default=None)
    share = (worst.size if worst else 1) / (rows * columns)
    return OperatorVerdict(
        verdict_id=f"v{event.first}",
        event_id=f"{CAMERA}:{seen.take.name.replace('.', '-')}:{event.first}",
        camera_id=CAMERA,
        bank_id=CAMERA,
        bundle_digest="0" * 64,
        judgement="normal",
        scope=scope,
        operator="operator",
        given_at=SAID_AT,
        trace=HeatMap(
            rows=rows,
            columns=columns,
            values=tuple(levels_of(maps_FRS.max(axis=0)).ravel().tolist()),
            scale="common",
        ),
        extents=tuple(extents_RS.ravel().tolist()),
        regions=(Region(box=(0.0, 0.0, 1.0, share), score=0.5),),
    )


def _of_kind(seen: Seen, kind: str) -> Bool:
    take = seen.take
    abnormal_F = np.zeros(len(take.seen), bool) if take.labels_F is None else take.labels_F == 1
    large_F = abnormal_F & (take.area_F > LARGE_PX if take.area_F is not None else False)
    return {"small anomalies": abnormal_F & ~large_F, "large anomalies": large_F, "normal frames": ~abnormal_F}[kind]


def _share(videos: Sequence[Seen], kind: str) -> float | None:
    """Of the frames of a kind, % over the threshold; None where there are none."""
    of_kind_F = np.concatenate([_of_kind(seen, kind) for seen in videos]) if videos else np.zeros(0, bool)
    over_F = np.concatenate([seen.over_F for seen in videos]) if videos else np.zeros(0, bool)
    return 100.0 * float(over_F[of_kind_F].mean()) if of_kind_F.any() else None
