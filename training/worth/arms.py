"""The questions a memory has to answer for, each a table of figures with 95 % intervals.

All scores are causal. What was chosen on which labels is said beside each figure; intervals come from drawing test
clips again (and, of differences, the same clips for both sides).

Dimensions: F frames.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from inference.error_map import line_of, weighed
from inference.evidence import patch_means, with_parent
from inference.rarity import level_for, log10_p, rate_of
from inference.scoring import EXIT_SHARE, SECONDS_PER_DAY
from memory_store.normality import Normality, merge_all
from schemas.arrays import Float64, Int64, UInt8
from training.evaluation.events import events_in
from training.worth.learning import FOR_EVER, SHIPPED, Form, learn, levels_of, rarities_of, smoothed
from training.worth.scenes import Scene, Take

NUM_DRAWS = 1000
ADAPTATION_S = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
TARGET_PER_DAY = 1.0
RARE = 0.01
ASKED_PER_DAY = (1.0, 24.0, 240.0)
"""Once a day, an hour, in six minutes."""
FADED = 0.25
"""What two half-lives leave of what was seen before."""
LEAST_LOSS = 0.2
"""Points of AUC; of less, shares say nothing."""
FORMS: Mapping[str, Form] = {
    f"e^{power:g}, sides {side:g}, {smoothing:g} s, things {thing:g} s": Form(power, thing, side, smoothing)
    for power in (0.15, 0.25)
    for side in (0.0, 0.25, 0.5)
    for smoothing in (0.3, 0.5)
    for thing in (2.4, 3.2, 4.8)
}
"""What leaving one scene out chooses from."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        arm: which question.
        scene: which camera; "all" = over all of them.
        what: which variant.
        measure: what is counted.
        value: of it.
        low, high: 95 % interval; None where it was not drawn.
        note: what was chosen on what.
    """

    arm: str
    scene: str
    what: str
    measure: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""


Scores = Sequence[Float64]
"""Of each test clip, (F,), high = anomalous."""


def leave_one_out(scenes: Sequence[Scene]) -> Iterator[Row]:
    """Frame AUC with the form chosen on the other scenes, beside forms that were fixed beforehand.

    The network saw normal footage of some scenes in its training; the labels of a scene choose nothing for it.
    """
    table = {scene.name: {name: auc(scene, _scores(scene, form)) for name, form in FORMS.items()} for scene in scenes}
    chosen_aucs, regrets = [], []
    for scene in scenes:
        others = [other.name for other in scenes if other.name != scene.name] or [scene.name]
        chosen = max(FORMS, key=lambda name: float(np.mean([table[other][name] for other in others])))
        labels = "chosen on " + ", ".join(others)
        value = table[scene.name][chosen]
        yield Row(
            "form left out", scene.name, chosen, "AUC", value, *interval(scene, _scores(scene, FORMS[chosen])), labels
        )
        singles = {name: scores(scene) for name, scores in _SINGLES.items()}
        for name, found in singles.items():
            yield Row("single evidence", scene.name, name, "AUC", auc(scene, found), *interval(scene, found))
        shipped = _scores(scene, SHIPPED)
        yield Row("as shipped", scene.name, "all evidences", "AUC", auc(scene, shipped), *interval(scene, shipped))
        chosen_aucs.append(value)
        regrets.append(max(auc(scene, found) for found in singles.values()) - value)
    yield Row("form left out", "all", "mean", "AUC", float(np.mean(chosen_aucs)))
    yield Row("form left out", "all", "worst", "AUC", min(chosen_aucs))
    yield Row("form left out", "all", "largest regret against the best single evidence", "AUC", max(regrets))


def swap(scenes: Sequence[Scene]) -> Iterator[Row]:
    """The same frames and weights, read against memories that are the camera's own or not."""
    memories = {scene.name: learn(scene.normal) for scene in scenes}
    for scene in scenes:
        own = memories[scene.name]
        strangers = [memories[other.name] for other in scenes if other.name != scene.name]
        if not strangers:
            continue
        parent = merge_all(strangers, FOR_EVER)
        read = {
            "own": own,
            "parent (the other scenes together)": parent,
            **{f"of {other.name}": memories[other.name] for other in scenes if other.name != scene.name},
            "noise": _noise(own),
        }
        scores = {name: [levels_of(take, memory) for take in scene.test] for name, memory in read.items()}
        for name, found in scores.items():
            yield Row("swap", scene.name, name, "AUC", auc(scene, found), *interval(scene, found))
        for name in list(read)[1:]:
            gain = auc(scene, scores["own"]) - auc(scene, scores[name])
            bounds = interval(scene, scores["own"], scores[name])
            yield Row("swap", scene.name, f"own less {name}", "AUC difference", gain, *bounds)


def adaptation(scenes: Sequence[Scene]) -> Iterator[Row]:
    """How much own normal video a camera needs, beginning with its parent: the other scenes together."""
    memories = {scene.name: learn(scene.normal) for scene in scenes}
    for scene in scenes:
        others = [memories[other.name] for other in scenes if other.name != scene.name]
        if not others:
            continue
        parent = merge_all(others, FOR_EVER)
        for seconds in (*ADAPTATION_S, FOR_EVER):
            takes, after = split_at(scene.normal, seconds)
            own = learn(takes, parent) if takes else Normality.empty(parent.grid)
            memory = with_parent(own, parent)
            scores = [levels_of(take, own, parent=parent) for take in scene.test]
            what = "all" if seconds == FOR_EVER else f"{seconds:g} s"
            yield Row("adaptation", scene.name, what, "AUC", auc(scene, scores), *interval(scene, scores))
            if after:
                levels = [levels_of(take, own, parent=parent) for take in after]
                rare = np.concatenate(levels) >= level_for(TARGET_PER_DAY, memory)
                note = f"at {TARGET_PER_DAY:g} alarm a day, of {len(rare)} later frames"
                yield Row(
                    "adaptation", scene.name, what, "% of normal frames over", 100 * float(rare.mean()), note=note
                )
            claim = rate_of(level_for(TARGET_PER_DAY, memory), memory).at_most
            yield Row("adaptation", scene.name, what, "alarms a day that can be promised", claim)


def left_out(scenes: Sequence[Scene]) -> Iterator[Row]:
    """Normal video that the memory has not seen: is what it calls rare as rare as it says, how often does it alarm?"""
    for scene in scenes:
        shares, seconds = [], 0.0
        told = dict.fromkeys(ASKED_PER_DAY, 0)
        for index, take in enumerate(scene.normal):
            others = [other for number, other in enumerate(scene.normal) if number != index]
            if not others:
                continue
            memory = learn(others)
            levels_F = levels_of(take, memory)
            shares.append(float((log10_p(levels_F, memory) < np.log10(RARE)).mean()))
            seconds += len(levels_F) / take.fps
            for per_day in ASKED_PER_DAY:
                told[per_day] += _num_events(levels_F, memory, per_day, take.fps)
        if shares:
            note = f"mean of {len(shares)} videos, each left out in turn"
            yield Row(
                "left out", scene.name, f"p < {RARE:g}", "% of normal frames", 100 * float(np.mean(shares)), note=note
            )
            yield Row("left out", scene.name, f"p < {RARE:g}, worst video", "% of normal frames", 100 * max(shares))
            yield from (_alarms(scene.name, per_day, count, seconds) for per_day, count in told.items())


def _num_events(levels_F: Float64, memory: Normality, per_day: float, fps: float) -> int:
    """That a worker would tell of."""
    rarity_F, enter = rarities_of(levels_F, memory, per_day)
    return len(list(events_in(rarity_F.tolist(), enter, EXIT_SHARE * enter, fps)))


def _alarms(scene: str, per_day: float, count: int, seconds: float) -> Row:
    """Events of normal video against what was asked for; the interval is that of a Poisson rate."""
    days = seconds / SECONDS_PER_DAY
    low, high = (chi2.ppf(0.025, 2 * count) / 2 if count else 0.0), chi2.ppf(0.975, 2 * count + 2) / 2
    note = f"{count} in {seconds:.0f} s, {per_day * days:.2g} were asked for"
    return Row("left out", scene, f"{per_day:g} asked for", "events a day", count / days, low / days, high / days, note)


def drift(scene: Scene, changed: Mapping[str, Scene]) -> Iterator[Row]:
    """The camera has become another: what its old memory loses, and what adding the new normal video gives back.

    Args:
        scene: as it was; its normal footage is what the frozen memory knows.
        changed: the scene after each drift.
    """
    before = learn(scene.normal)
    was = auc(scene, [levels_of(take, before) for take in scene.test])
    for what, after in changed.items():
        frozen = auc(after, [levels_of(take, before) for take in after.test])
        counts = merge_all([before.scaled(FADED), learn(after.normal)], FOR_EVER)
        followed = auc(after, [levels_of(take, counts) for take in after.test])
        yield Row("drift", scene.name, f"{what}, frozen", "AUC", frozen, note=f"{was:.1f} before it")
        yield Row("drift", scene.name, f"{what}, followed", "AUC", followed, note=f"old counts faded to {FADED:.0%}")
        if was - frozen >= LEAST_LOSS:
            returned = 100.0 * (followed - frozen) / (was - frozen)
            yield Row("drift", scene.name, what, "% of the loss returned", returned)


ARMS: Mapping[str, Callable[[Sequence[Scene]], Iterator[Row]]] = {
    "forms": leave_one_out,
    "swap": swap,
    "adaptation": adaptation,
    "left-out": left_out,
}
"""Questions to scenes as they are; ``drift`` needs them changed, see ``training.worth.worth``."""


def split_at(takes: Sequence[Take], seconds: float) -> tuple[list[Take], list[Take]]:
    """The first ``seconds`` of some videos end to end, and what comes after them."""
    first, after, left_s = [], [], seconds
    for take in takes:
        kept = min(len(take.seen), round(min(left_s, 1e9) * take.fps))
        first += [take[:kept]] if kept else []
        after += [take[kept:]] if kept < len(take.seen) else []
        left_s -= kept / take.fps
    return first, after


def _scores(scene: Scene, form: Form) -> Scores:
    memory = learn(scene.normal, form=form)
    return [levels_of(take, memory, form) for take in scene.test]


def _plain_error(scene: Scene) -> Scores:
    return [_smooth_log(patch_means(np.sqrt(take.seen.errors_FRS.astype(np.float64))), take) for take in scene.test]


def _whole_frame(scene: Scene) -> Scores:
    return [smoothed(-take.seen.psnr_db_F.astype(np.float64), take.fps) for take in scene.test]


def _speed(scene: Scene) -> Scores:
    return [_smooth_log(patch_means(take.seen.speeds_FRS.astype(np.float64)), take) for take in scene.test]


def _speed_and_line(scene: Scene) -> Scores:
    """The score of bundles so far, its line fitted on the scene's own normal video."""
    line = line_of(np.concatenate([take.seen.speeds_FRS for take in scene.normal]))
    return [
        _smooth_log(patch_means(weighed(take.seen.errors_FRS, take.seen.speeds_FRS, line).astype(np.float64)), take)
        for take in scene.test
    ]


def _speed_by_row(scene: Scene) -> Scores:
    return _scores(scene, Form(error_power=0.0, side_weight=0.0))


def _by_place(scene: Scene) -> Scores:
    memory = learn(scene.normal)
    return [smoothed(SHIPPED.ask(take, memory).place_F, take.fps) for take in scene.test]


def _background(scene: Scene) -> Scores:
    memory = learn(scene.normal)
    return [smoothed(SHIPPED.ask(take, memory).background_F, take.fps) for take in scene.test]


_SINGLES: Mapping[str, Callable[[Scene], Scores]] = {
    "whole-frame error (PSNR)": _whole_frame,
    "worst patch of sqrt(e)": _plain_error,
    "speed": _speed,
    "speed and line (bundles so far), own line": _speed_and_line,
    "speed by row": _speed_by_row,
    "error for this place": _by_place,
    "background": _background,
}


def _smooth_log(maps_FRS: Float64, take: Take) -> Float64:
    return smoothed(np.log(np.maximum(maps_FRS.max(axis=(1, 2)), 1e-9)), take.fps)


def _noise(own: Normality) -> Normality:
    """A memory as large as ``own``, of counts that mean nothing."""
    draw = np.random.default_rng(0)
    noise = Normality(own.grid, own.at_s, own.values_N.copy())
    noise.field("speeds")[...] = draw.permutation(own.field("speeds").ravel()).reshape(own.field("speeds").shape)
    for name in ("errors", "background"):
        flat = own.field(name).reshape(-1, own.field(name).shape[-1])
        noise.field(name)[...] = draw.permutation(flat).reshape(own.field(name).shape)
    return noise


def _labels(scene: Scene) -> list[UInt8]:
    return [take.labels_F for take in scene.test if take.labels_F is not None]


def both_classes(scene: Scene) -> bool:
    """Whether its test clips have normal and abnormal frames."""
    found = _labels(scene)
    return bool(found) and 0 < np.concatenate(found).mean() < 1


def auc(scene: Scene, scores: Scores) -> float:
    """In %, over the frames of all test clips."""
    return float(_Duels.of(_labels(scene), scores).auc(np.ones((1, len(scores))))[0])


def interval(scene: Scene, scores: Scores, less: Scores | None = None) -> tuple[float | None, float | None]:
    """95 % of the AUC, or of the difference of two, over test clips drawn again; None where there is one clip."""
    labels = _labels(scene)
    if len(labels) < 2:
        return None, None
    drawn_DK = np.random.default_rng(0).multinomial(len(labels), np.full(len(labels), 1 / len(labels)), NUM_DRAWS)
    found_D = _Duels.of(labels, scores).auc(drawn_DK)
    if less is not None:
        found_D = found_D - _Duels.of(labels, less).auc(drawn_DK)
    low, high = np.nanpercentile(found_D, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True, slots=True, eq=False)
class _Duels:
    """How often abnormal frames of one clip score above normal frames of another: any draw of clips adds these up.

    Attributes:
        won_KK: pairs won by the abnormal frame (row: its clip); ties count one half.
        abnormal_K, normal_K: frames by clip.
    """

    won_KK: Float64
    abnormal_K: Float64
    normal_K: Float64

    @classmethod
    def of(cls, labels: Sequence[UInt8], scores: Scores) -> "_Duels":
        abnormal = [found[truth == 1] for found, truth in zip(scores, labels, strict=True)]
        normal = [np.sort(found[truth == 0]) for found, truth in zip(scores, labels, strict=True)]
        won = [
            [(np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")).sum() / 2 for low in normal]
            for high in abnormal
        ]
        counts = ([float(len(frames)) for frames in side] for side in (abnormal, normal))
        return cls(np.array(won, np.float64), *(np.array(side) for side in counts))

    def auc(self, drawn_DK: Float64 | Int64) -> Float64:
        """In %, of each draw, (D,), with how often each clip was drawn; NaN where one class is missing."""
        won_D = np.einsum("dk,kl,dl->d", drawn_DK, self.won_KK, drawn_DK)
        pairs_D = (drawn_DK @ self.abnormal_K) * (drawn_DK @ self.normal_K)
        with np.errstate(invalid="ignore"):
            return np.asarray(100.0 * won_D / np.where(pairs_D > 0, pairs_D, np.nan))
