"""Scenes to measure on: what one network sees on the normal and on the labelled footage of several cameras.

A pass of the network is what costs; it is made once for each scene and kept beside the decoded footage, so that
everything that is asked of memories afterwards takes seconds.

Dimensions: F frames, R x S cells, P x Q places.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bundles.bundle import Bundle, load_bundle
from inference.engine import Predictor, network_of
from inference.evidence import Seen
from inference.formats import FrameFormat
from inference.standard import seen_of
from inference.steadiness import UNCHANGED, steadied
from inference.steadiness import Change as Shift
from schemas.arrays import Float32, Int64, UInt8
from schemas.errors import FatalError
from training.footage.dataset import CacheFormat, FrameCache, Video, open_cache
from training.footage.layouts import Layout, find_layout
from training.footage.material import long_enough
from training.footage.sources import Source
from training.footage.timing import Rate

log = logging.getLogger(__name__)

CONTENT_VERSION = 4
BATCH = 8

Change = Callable[[UInt8, np.random.Generator], UInt8]
"""What is done to the frames of a video, (F, H, W, K), before the network sees them."""


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """What was seen on one video.

    Attributes:
        name: of the video.
        fps: frames a second.
        seen: on each frame from the first that ends a clip.
        first: index of that frame among the frames of the video that are kept.
        labels_F: 1 = abnormal; None for normal footage.
        area_F: pixels of the footage that are abnormal; None where that is not known.
        whole_F3: what happened to the whole picture before each frame, right, down and light of
            ``inference.steadiness.Change``; None = nothing.
    """

    name: str
    fps: float
    seen: Seen
    first: int = 0
    labels_F: UInt8 | None = None
    whole_F3: Float32 | None = None
    area_F: Int64 | None = None

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.seen) / self.fps

    def __getitem__(self, which: slice) -> "Take":
        labels_F = None if self.labels_F is None else self.labels_F[which]
        whole_F3 = None if self.whole_F3 is None else self.whole_F3[which]
        area_F = None if self.area_F is None else self.area_F[which]
        begin, _, _ = which.indices(len(self.seen))
        return Take(self.name, self.fps, self.seen[which], self.first + begin, labels_F, whole_F3, area_F)

    def whole(self, frame: int) -> Shift:
        """What happened to the whole picture before a frame."""
        return UNCHANGED if self.whole_F3 is None else Shift(*(float(number) for number in self.whole_F3[frame]))


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One camera: normal footage to remember, labelled footage to be judged on."""

    name: str
    normal: tuple[Take, ...]
    test: tuple[Take, ...]


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """How scenes are measured.

    Attributes:
        cache: folder of decoded footage, and of what the network made of it.
        normal_s: most seconds of normal footage of each scene, spread evenly over its videos.
        image_fps: rate of footage that comes as folders of images.
        jpeg_quality: of the round trip a live frame makes; None = none.
        device, threads: of torch.
    """

    cache: Path
    normal_s: float = 600.0
    image_fps: float = 10.0
    jpeg_quality: int | None = 90
    device: str = "auto"
    threads: int | None = None


def find_scenes(data: Path) -> tuple[Path, ...]:
    """The scenes in a folder: each folder in it that has normal and labelled footage, or itself.

    Raises:
        FatalError: there is none.
    """
    inside = sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
    found = tuple(folder for folder in inside if _is_scene(folder)) or ((data,) if _is_scene(data) else ())
    if not found:
        text = f"'{data}' must hold scenes, folders with normal footage in train/ and labelled footage in test/"
        raise FatalError(f"{text}; there is none, see 'engram evaluate --help' for the layouts")
    return found


class Camera:
    """A network in front of scenes.

    Args:
        bundle: folder of the bundle.
        options: how to measure.

    Raises:
        BundleError: it cannot be read.
    """

    def __init__(self, bundle: Path, options: SceneOptions) -> None:
        self.bundle: Bundle = load_bundle(bundle)
        self._options = options
        manifest = self.bundle.manifest
        frame = FrameFormat(manifest.width, manifest.height, manifest.channels)
        network = network_of(self.bundle)
        self._predictor = Predictor(
            network, frame, options.device, options.threads, manifest.frame_stride, steady=steadied
        )
        self._format = CacheFormat(frame, manifest.fps, options.image_fps, options.jpeg_quality)

    def scene(self, folder: Path, change: Change | None = None, changed: str = "") -> Scene:
        """Measure a scene, or find it measured.

        Args:
            folder: laid out as ``training.footage.layouts`` knows it.
            change: done to all test frames and, of the normal footage, to none.
            changed: names the change.

        Raises:
            FatalError: no footage, or labels that do not fit.
        """
        layout = find_layout(folder)
        normal = self._takes(layout.train, self._options.normal_s) if change is None else ()
        test = self._takes(layout.test, None, change, changed)
        return Scene(folder.name, normal, tuple(_labelled(take, layout, self._rate) for take in test))

    def changed(self, folder: Path, change: Change, changed: str) -> Scene:
        """The scene as it would be after a change: normal and labelled footage."""
        return replace(self.scene(folder, change, changed), normal=self.changed_normal(folder, change, changed))

    def changed_normal(self, folder: Path, change: Change, changed: str) -> tuple[Take, ...]:
        """The normal footage of a scene, with a change to its frames."""
        return self._takes(find_layout(folder).train, self._options.normal_s, change, changed)

    @property
    def _rate(self) -> Rate:
        return Rate(self._format.fps, self._format.image_fps)

    def _takes(
        self, sources: Sequence[Source], most_s: float | None, change: Change | None = None, changed: str = ""
    ) -> tuple[Take, ...]:
        footage = open_cache(sources, self._format, self._options.cache)
        videos = long_enough(_first(footage.videos, most_s), self._predictor.clip_format)
        return tuple(self._take(footage, video, change, changed) for video in videos)

    def _take(self, footage: FrameCache, video: Video, change: Change | None, changed: str) -> Take:
        asked = [CONTENT_VERSION, self.bundle.digest, footage.digest, asdict(self._format), asdict(video), changed]
        key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        place = self._options.cache / f"seen-{key[:24]}.npz"
        if place.exists():
            with np.load(place) as kept:
                seen = Seen(kept["errors"], kept["speeds"], kept["grey"], kept["psnr"])
                whole_F3 = kept["whole"]
        else:
            seen, whole_F3 = self._measure(footage, video, change)
            unfinished = place.with_suffix(".unfinished.npz")
            np.savez(
                unfinished,
                errors=seen.errors_FRS,
                speeds=seen.speeds_FRS,
                grey=seen.grey_FPQ,
                psnr=seen.psnr_db_F,
                whole=whole_F3,
            )
            unfinished.rename(place)
        clip = self._predictor.clip_format
        return Take(video.name, video.fps, seen, video.offset + clip.span - 1, None, whole_F3)

    def _measure(self, footage: FrameCache, video: Video, change: Change | None) -> tuple[Seen, Float32]:
        frames_FHWC: UInt8 = footage.frames_FHWC[video.first_frame :][: video.num_frames]
        if change is not None:
            frames_FHWC = change(frames_FHWC, np.random.default_rng(0))
        clip = self._predictor.clip_format
        parts, whole = [], []
        newest = range(clip.span - 1, len(frames_FHWC))
        for begin in tqdm(range(0, len(newest), BATCH), desc=video.name, unit="batch", leave=False, disable=None):
            ends = np.asarray(newest[begin : begin + BATCH])
            clips = list(frames_FHWC[ends[:, None] + clip.stride * np.arange(1 - clip.length, 1)])
            items_BMC = np.repeat(self.bundle.items_MC[None], len(clips), axis=0)
            results = self._predictor.infer(clips, items_BMC)
            parts.append(seen_of(results))
            whole += [astuple(result.change) for result in results]
        return _joined(parts), np.array(whole, np.float32)


def _is_scene(folder: Path) -> bool:
    try:
        layout = find_layout(folder)
    except FatalError:
        return False
    return bool(layout.kind != "plain" and layout.train and layout.test)


def _first(videos: Sequence[Video], most_s: float | None) -> Sequence[Video]:
    """The videos, cut so that together they last no longer: as much of each as of the others."""
    if most_s is None:
        return list(videos)
    kept, left_s = {}, most_s
    for number, video in enumerate(sorted(videos, key=lambda video: video.num_frames / video.fps)):
        frames = min(video.num_frames, round(left_s / (len(videos) - number) * video.fps))
        kept[video.first_frame] = replace(video, num_frames=frames)
        left_s -= frames / video.fps
    return [kept[video.first_frame] for video in videos]


def _labelled(take: Take, layout: Layout, rate: Rate) -> Take:
    source = next(source for source in layout.test if source.name == take.name)
    labels_T = layout.labels(source)
    kept = rate.choice(source).kept(len(labels_T))
    kept_T = labels_T[kept]
    labels_F = kept_T[take.first :][: len(take.seen)]
    if len(labels_F) != len(take.seen):
        text = f"'{take.name}' must have one label a frame, got {len(kept_T)} for {take.first + len(take.seen)}"
        raise FatalError(f"{text}; check that they belong to this clip")
    masks_THW = layout.masks(source)
    area_F = None if masks_THW is None else masks_THW[kept][take.first :][: len(take.seen)].sum((1, 2), np.int64)
    return replace(
        take, labels_F=labels_F, area_F=area_F if area_F is not None and len(area_F) == len(labels_F) else None
    )


def _joined(parts: Sequence[Seen]) -> Seen:
    return Seen(
        np.concatenate([part.errors_FRS for part in parts]),
        np.concatenate([part.speeds_FRS for part in parts]),
        np.concatenate([part.grey_FPQ for part in parts]),
        np.concatenate([part.psnr_db_F for part in parts]),
    )
