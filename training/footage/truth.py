"""Ground truth of labelled clips, in the forms the public data sets are published in. Read when asked for.

Labels are uint8 (T,), masks uint8 (T, H, W) at the clip's own size; one value a frame or pixel, 1 = abnormal.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from inference.pictures import in_natural_order
from schemas.arrays import UInt8
from schemas.errors import FatalError
from training.footage.sources import MASK_FOLDER_ENDING, Source

Reader = Callable[[], UInt8]

MOST_VALUES_TOLD = 6
_MATLAB_SPANS = re.compile(r"gt_frame\s*=\s*\[([^\]]*)\]")
_MATLAB_SPAN = re.compile(r"(\d+)\s*:\s*(\d+)")


@dataclass(frozen=True, slots=True)
class Truth:
    """Finds what is known of each test clip.

    Attributes:
        folders: where labels and masks may be: the data set's folder, and that of its test clips.
        clips: all test clips in order, since some label files hold them end to end.
    """

    folders: tuple[Path, ...]
    clips: tuple[Source, ...]

    def labels(self, clip: Source) -> UInt8 | None:
        """Per frame, (T,), 1 = abnormal; None where nothing is known.

        Raises:
            FatalError: a file cannot be read.
        """
        for reader in self._label_readers(clip):
            return reader()
        masks = self.masks(clip)
        return None if masks is None else np.asarray(masks.any(axis=(1, 2)), dtype=np.uint8)

    def masks(self, clip: Source) -> UInt8 | None:
        """Per pixel, (T, H, W), 1 = abnormal; None where nothing is known.

        Raises:
            FatalError: a file cannot be read.
        """
        for reader in self._mask_readers(clip):
            return reader()
        return None

    def _label_readers(self, clip: Source) -> Iterator[Reader]:
        for path in self._existing(f"labels/{clip.clip}.npy", f"test_frame_mask/{clip.clip}.npy"):
            yield partial(label_file, path)
        index = self.clips.index(clip)
        for path in self._matching("UCSDped*.m"):
            yield partial(_spans, path, index, len(clip.files))
        joined = self._matching("frame_labels*.npy")
        if joined and not any(source.is_video for source in self.clips):
            yield partial(_part, joined, [len(source.files) for source in self.clips], index)

    def _mask_readers(self, clip: Source) -> Iterator[Reader]:
        for path in self._existing(f"masks/{clip.clip}.npz"):
            yield partial(_mask_file, path, "mask")
        for path in self._existing(f"test_pixel_mask/{clip.clip}.npy"):
            yield partial(_mask_file, path)
        for path in self._existing(f"{clip.clip}{MASK_FOLDER_ENDING}"):
            yield partial(_mask_images, path)
        if clip.clip.isdecimal():
            name = f"testing_label_mask/{int(clip.clip)}_label.mat"
            for path in self._existing(name, f"ground_truth_demo/{name}"):
                yield partial(_mask_volume, path)

    def _existing(self, *names: str) -> list[Path]:
        return [folder / name for folder in self.folders for name in names if (folder / name).exists()]

    def _matching(self, pattern: str) -> list[Path]:
        return [path for folder in self.folders for path in sorted(folder.glob(pattern))]


def label_file(path: Path) -> UInt8:
    """One clip's labels as ``numpy.save`` wrote them, (T,), 1 = abnormal.

    Raises:
        FatalError: the file cannot be read, or holds something else than labels.
    """
    return _row(_array(path), path)


def _mask_file(path: Path, key: str | None = None) -> UInt8:
    values = _flags(_array(path, key), f"'{path}'")
    if values.ndim != 3:
        raise FatalError(
            f"'{path}' must hold masks (T, H, W), one a frame, got shape {values.shape}; get the file again"
        )
    return values


def _row(values: NDArray[Any], path: Path) -> UInt8:
    """Labels (T,); published files have (1, T) and (T, 1) as well."""
    if values.ndim == 0 or values.size != max(values.shape):
        text = f"'{path}' must hold labels (T,), one a frame, got shape {values.shape}"
        raise FatalError(f"{text}; masks of pixels belong into 'masks/CLIP.npz'")
    return _flags(values, f"'{path}'").ravel()


def _flags(values: NDArray[Any], what: str) -> UInt8:
    """0 for 0 and False, 1 for 1, 255 and True; nothing else says which of its values is abnormal.

    Raises:
        FatalError: other values, text, not a number, or 1 and 255 in one array.
    """
    if values.dtype == np.bool_:
        return values.astype(np.uint8)
    is_number = values.dtype.kind in "uif"
    seen = np.unique(values) if is_number else values.ravel()
    if not is_number or not (np.isin(seen, (0, 1)).all() or np.isin(seen, (0, 255)).all()):
        told = ", ".join(f"{value!r}"[:20] for value in seen[:MOST_VALUES_TOLD].tolist())
        more = f" and {len(seen) - MOST_VALUES_TOLD} more" if len(seen) > MOST_VALUES_TOLD else ""
        text = f"{what} must hold 0 = normal and 1 or 255 = abnormal, or False and True, got {told}{more}"
        raise FatalError(f"{text} ({values.dtype}); write it again in one of these forms")
    return np.asarray(values != 0, dtype=np.uint8)


def _array(path: Path, key: str | None = None) -> NDArray[Any]:
    def loaded() -> NDArray[Any]:
        content = np.load(path, allow_pickle=False)
        return np.asarray(content if key is None else content[key])

    return _read(path, "an array" if key is None else f"an array '{key}'", loaded)


def _read(path: Path, wanted: str, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """What ``read`` makes of a file.

    Raises:
        FatalError: it cannot, whatever its library throws: of a file that was cut off that may be anything.
    """
    try:
        return read()
    except Exception as error:
        why = str(error) or type(error).__name__
        raise FatalError(f"'{path}' must hold {wanted}: {why}; get the file again") from error


def _spans(path: Path, index: int, num_frames: int) -> UInt8:
    """UCSD's own list of abnormal stretches, 1-based with both ends included, one line a clip."""
    lines = _MATLAB_SPANS.findall(path.read_text(encoding="latin-1"))
    if index >= len(lines):
        raise FatalError(f"'{path}' must have a line 'gt_frame' for each test clip, has {len(lines)}; get it again")
    labels = np.zeros(num_frames, np.uint8)
    for first, last in _MATLAB_SPAN.findall(lines[index]):
        if not 1 <= int(first) <= int(last) <= num_frames:
            text = f"'{path}' must name stretches of frames 1 to {num_frames} of clip {index + 1}, got {first}:{last}"
            raise FatalError(f"{text}; check that it belongs to this data set")
        labels[int(first) - 1 : int(last)] = 1
    return labels


def _part(paths: Sequence[Path], lengths: Sequence[int], index: int) -> UInt8:
    """One clip's share of a file that holds the labels of all clips end to end."""
    found = {path: _array(path) for path in paths}
    fitting = next((path for path, values in found.items() if values.size == sum(lengths)), None)
    if fitting is None:
        text = (
            f"'{paths[0]}' must have one label for each of the {sum(lengths)} test frames, got {found[paths[0]].size}"
        )
        raise FatalError(f"{text}; check that it belongs to this data set")
    first = sum(lengths[:index])
    return _row(found[fitting], fitting)[first : first + lengths[index]]


def _mask_images(folder: Path) -> UInt8:
    images = []
    for path in sorted(folder.glob("[!.]*.bmp"), key=in_natural_order):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise FatalError(f"'{path}' must be an image OpenCV can read; get the file again")
        images.append(_flags(np.asarray(image), f"'{path}'"))
    if not images:
        raise FatalError(f"'{folder}' must hold one .bmp a frame, found none; get the files again")
    if len({image.shape for image in images}) > 1:
        sizes = ", ".join(sorted({f"{image.shape[1]} x {image.shape[0]}" for image in images}))
        raise FatalError(f"images in '{folder}' must be of one size, got {sizes}; get the files again")
    return np.stack(images)


def _mask_volume(path: Path) -> UInt8:
    """Avenue's cell array ``volLabel``, one mask a frame."""
    cells = _read(path, "a cell array 'volLabel'", lambda: np.asarray(loadmat(path)["volLabel"]).ravel())
    masks = [np.asarray(cell) for cell in cells]
    if not masks or any(mask.ndim != 2 or mask.shape != masks[0].shape for mask in masks):
        seen = ", ".join(sorted({str(mask.shape) for mask in masks})) or "none"
        raise FatalError(f"'{path}' must hold one mask (H, W) a frame, all of one size, got {seen}; get the file again")
    return np.stack([_flags(mask, f"'{path}', frame {index}") for index, mask in enumerate(masks)])
