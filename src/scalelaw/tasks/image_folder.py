"""Your own pictures: a folder with one folder of pictures for each class."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..trial import Value
from ._base import Floats, Task, TaskData, held_out, located
from ._pictures import ENDINGS, read_picture

__all__ = ["ImageFolder"]

MOST_BYTES = 8 << 30
GREY = np.array([0.299, 0.587, 0.114], np.float32)

Listing = tuple[tuple[str, tuple[tuple[Path, int], ...]], ...]


class ImageFolder(Task):
    """Which folder a picture is from. The names of the sub-folders, sorted, are the classes; hidden ones are left out.

    PNG (eight bits per channel, not interlaced), PGM and PPM (binary), and BMP (24 or 32 bits) are read; another file in a
    class's folder is an error, not a gap. Every twentieth picture of a class, in the order of their names, is held out. Each
    picture is resized to a square by means over areas, whatever its own shape; the numbers are scaled to mean 0 and standard
    deviation 1 over the training pictures.

    Options:
        folder: the path.
        pixels: the side the network sees.
        colour: 1 keeps red, green and blue, three numbers per pixel; 0 makes one grey of them.
    """

    name = "image_folder"
    summary = "your own pictures: a folder of class folders (PNG, PGM, PPM, BMP)"
    defaults: Mapping[str, Value] = {"folder": "", "pixels": 28, "colour": 0}

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """The pictures as rows of numbers, and the places of their folders as labels."""
        folder, pixels, colour = str(options["folder"]), int(options["pixels"]), options["colour"]
        if not folder:
            raise self.wrong("folder", folder, "Give the path of a folder with a folder of pictures for each class")
        if not 1 <= pixels <= 256:
            raise self.wrong("pixels", pixels, "Give 1 to 256")
        if colour not in (0, 1):
            raise self.wrong("colour", colour, "Give 0 or 1")
        root = located(folder)
        if root is None or not root.is_dir():
            raise SpecError(f"{folder} is not a folder", "task image_folder", "Give one with a folder of pictures for each class")
        listing = _listing(root)
        size = sum(len(files) for _, files in listing) * pixels**2 * (3 if colour else 1) * 4
        if size > MOST_BYTES:
            raise self.wrong("pixels", pixels, f"The pictures would take {size / 2**30:.1f} GiB: give fewer")
        return _load(listing, pixels, bool(colour))


def _listing(folder: Path) -> Listing:
    """The classes and their files with their times, by which a changed folder is read again."""
    classes: list[tuple[str, tuple[tuple[Path, int], ...]]] = []
    for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        files = sorted(path for path in inner.iterdir() if path.is_file() and not path.name.startswith("."))
        for path in files:
            if path.suffix.lower() not in ENDINGS:
                raise SpecError(f"{path} is not a picture that is read", "task image_folder", f"Give {', '.join(ENDINGS)}")
        if len(files) < 2:
            raise SpecError(f"{inner} has {len(files)} pictures", "task image_folder", "Give two or more: one is held out")
        classes.append((inner.name, tuple((path, path.stat().st_mtime_ns) for path in files)))
    if len(classes) < 2:
        raise SpecError(
            f"{folder} has {len(classes)} folders with pictures", "task image_folder", "Give two or more, one for each class"
        )
    return tuple(classes)


@functools.lru_cache(maxsize=1)
def _load(listing: Listing, pixels: int, colour: bool) -> TaskData:
    pictures: dict[bool, list[Floats]] = {False: [], True: []}
    labels: dict[bool, list[int]] = {False: [], True: []}
    for label, (_, files) in enumerate(listing):
        kept = set(held_out(len(files))[1].tolist())
        for place, (path, _) in enumerate(files):
            pictures[place in kept].append(_picture(path, pixels, colour))
            labels[place in kept].append(label)
    train, test = np.stack(pictures[False]), np.stack(pictures[True])
    mean, deviation = train.mean(dtype=np.float64), train.std(dtype=np.float64) or 1.0
    train, test = (((part - mean) / deviation).astype(np.float32) for part in (train, test))
    answers = (np.array(labels[part], np.int32) for part in (False, True))
    return TaskData(train, next(answers), test, next(answers), labels=len(listing))


def _picture(path: Path, pixels: int, colour: bool) -> Floats:
    """One picture as a row, in [0, 1]: pixel by pixel, the colours of a pixel side by side."""
    try:
        values = read_picture(path).astype(np.float32) / 255
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpecError(f"{path} cannot be read: {reason}", "task image_folder", "Convert it, or take it out") from error
    if colour:
        values = np.broadcast_to(values, (*values.shape[:2], 3))
    elif values.shape[2] == 3:
        values = (values @ GREY)[..., None]
    height, width = (_areas(side, pixels) for side in values.shape[:2])
    return np.einsum("ph,hwc,qw->pqc", height, values, width, optimize=True).reshape(-1).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _areas(side: int, pixels: int) -> NDArray[np.float32]:
    """(pixels, side): how much each of `side` equal parts lies in each of `pixels` equal parts of one length; rows sum to 1."""
    edges, ends = np.arange(side + 1) / side, np.arange(pixels + 1) / pixels
    shared = np.minimum(ends[1:, None], edges[1:]) - np.maximum(ends[:-1, None], edges[:-1])
    return (np.maximum(shared, 0) * pixels).astype(np.float32)
