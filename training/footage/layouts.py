"""How the public data sets lie on disk, so that ``--data FOLDER`` is enough. Spelling does not depend on case.

| kind | normal footage | test footage | ground truth |
|---|---|---|---|
| engram | ``train/`` | ``test/`` | ``labels/CLIP.npy``, ``masks/CLIP.npz`` |
| ucsd | ``Train/Train001/*.tif`` | ``Test/Test001/*.tif`` | ``Test/UCSDped2.m``, ``Test/Test001_gt/*.bmp`` |
| frames | ``training/frames/01/*.jpg`` | ``testing/frames/01/*.jpg`` | ``frame_labels_*.npy``: all clips end to end |
| avenue | ``training_videos/*.avi`` | ``testing_videos/*.avi`` | ``testing_label_mask/1_label.mat`` |
| shanghaitech | ``training/videos/*.avi`` | ``testing/frames/01_0014/`` | ``testing/test_frame_mask/*.npy`` |
| plain | everything | the same | ``labels/``, ``masks/`` |

Ground truth is looked for in all these places whatever the kind, and beside the data set's folder as well.
ShanghaiTech's masks are in ``testing/test_pixel_mask``; Avenue's ground truth may be in ``ground_truth_demo``.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.arrays import UInt8
from schemas.errors import FatalError
from training.footage.sources import Source, find_sources, sources_under
from training.footage.truth import Truth

Kind = Literal["engram", "ucsd", "frames", "avenue", "shanghaitech", "plain"]

TRAIN_FOLDERS = ("train", "training", "training_videos")
TEST_FOLDERS = ("test", "testing", "testing_videos")
FOOTAGE_FOLDERS = ("frames", "videos")
"""Below a folder of training or test footage; frames first, since they may be videos taken apart."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A data set on disk.

    Attributes:
        kind: see the table above.
        root: its folder.
        train: normal footage; empty if there is none.
        test: labelled footage; empty if there is none.
        truth: labels and masks of ``test``.
    """

    kind: Kind
    root: Path
    train: tuple[Source, ...]
    test: tuple[Source, ...]
    truth: Truth

    def labels(self, clip: Source) -> UInt8:
        """Per frame of a member of ``test``, (T,), 1 = abnormal. T is as published: compare it with the footage.

        Raises:
            FatalError: there are none, or they cannot be read.
        """
        labels = self.truth.labels(clip)
        if labels is None:
            text = f"labels of '{clip.name}' must be in '{self.root / 'labels' / clip.clip}.npy', or as the data set"
            raise FatalError(f"{text} publishes them, there are none; see 'engram evaluate --help' for the layouts")
        return labels

    def masks(self, clip: Source) -> UInt8 | None:
        """Per pixel of a member of ``test``, (T, H, W) at the footage's own size, 1 = abnormal; None = none known.

        Raises:
            FatalError: they cannot be read.
        """
        return self.truth.masks(clip)


def find_layout(folder: Path) -> Layout:
    """The data set in ``folder``, or in the one folder in it that holds a data set.

    Raises:
        FatalError: no footage at all, or several data sets.
    """
    layout = _recognised(folder)
    if layout is not None:
        return layout
    inner = [found for found in map(_recognised, _folders(folder)) if found is not None]
    if len(inner) > 1:
        names = ", ".join(found.root.name for found in inner)
        raise FatalError(f"'{folder}' must hold one data set, it holds several: {names}; give the folder of one")
    if inner:
        return inner[0]
    sources = find_sources(folder)
    return Layout("plain", folder, sources, sources, Truth((folder, folder.parent), sources))


def _recognised(folder: Path) -> Layout | None:
    train, test = _child(folder, TRAIN_FOLDERS), _child(folder, TEST_FOLDERS)
    normal, labelled = _footage(train), _footage(test)
    if not normal and not labelled:
        return None
    places = (folder, *([test] if test else []), folder.parent)
    return Layout(_kind(train, test), folder, normal, labelled, Truth(places, labelled))


def _kind(train: Path | None, test: Path | None) -> Kind:
    names = {part.name.lower() for part in (train, test) if part}
    inside = {path.name.lower() for path in test.iterdir()} if test else set[str]()
    if names & {"training_videos", "testing_videos"}:
        return "avenue"
    if inside & {"test_frame_mask", "test_pixel_mask"}:
        return "shanghaitech"
    if any(name.endswith("_gt") or name.startswith("ucsdped") for name in inside):
        return "ucsd"
    return "frames" if any(part and _child(part, FOOTAGE_FOLDERS[:1]) for part in (train, test)) else "engram"


def _footage(part: Path | None) -> tuple[Source, ...]:
    """What a folder of training or test footage holds, or its folder of frames or of videos if it has one."""
    if part is None:
        return ()
    inner = [_child(part, (name,)) for name in FOOTAGE_FOLDERS]
    found = (sources_under(folder) for folder in (*inner, part) if folder)
    return next((sources for sources in found if sources), ())


def _child(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The folder of the first of these names that exists, in any case."""
    found = {path.name.lower(): path for path in _folders(folder)}
    return next((found[name] for name in names if name in found), None)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
