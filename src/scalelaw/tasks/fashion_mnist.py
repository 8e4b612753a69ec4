"""Fashion-MNIST: small grey pictures of clothes in ten classes. Real data that needs no download."""

from __future__ import annotations

import functools
import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SpecError
from ..trial import Value
from ._base import Array, Draw, Floats, Task, TaskData, one_hot

__all__ = ["DEBIAN_FOLDER", "SUBSET_FILE", "FashionMnist", "read_idx"]

SUBSET_FILE = Path(__file__).parent / "data" / "fashion_mnist.npz"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
SIDE = 28
CLASSES = 10

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]


class FashionMnist(Task):
    """Ten classes of clothes (Xiao, Rasul and Vollgraf, 2017).

    Options:
        images: `subset` (default) is the 16,000 + 4,000 images inside the package, the same on every machine; `full` is all
            60,000 + 10,000, read from the folder in SCALELAW_DATA, else from Debian's package dataset-fashion-mnist.
        pixels: 28, 14 or 7: the side the network sees; a smaller one is the mean over square blocks.
        shift: largest random shift, in pixels the network sees, up, down, left and right; what moves in is black.
        flip: 1 mirrors every second picture, at random, left to right; 0 does not.
        noise: standard deviation of the normal noise added to every pixel, in units of the pixels' own.
        clutter: brightness of a second picture, drawn at random, that is laid over each one (the brighter pixel shows); the
            target stays that of the first. 0 lays none. A harder task, on which wider networks keep gaining.

    The random parts are drawn anew for each picture at each step, so that no run sees the same input twice; the test images
    get theirs once, the same for every run. Pixels are scaled to mean 0 and standard deviation 1 over the training images.
    """

    name = "fashion_mnist"
    summary = "Fashion-MNIST, ten classes of clothes: real data inside the package"
    defaults: Mapping[str, Value] = {"images": "subset", "pixels": SIDE, "shift": 0, "flip": 0, "noise": 0.0, "clutter": 0.0}

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """The pictures as rows of pixels, scaled, with the augmentation asked for."""
        pixels, shift, noise = int(options["pixels"]), int(options["shift"]), float(options["noise"])
        if pixels not in (28, 14, 7):
            raise self.wrong("pixels", pixels, "Give 28, 14 or 7")
        if shift >= pixels:
            raise self.wrong("shift", shift, f"Give less than the side, {pixels}")
        if options["flip"] not in (0, 1):
            raise self.wrong("flip", options["flip"], "Give 0 or 1")
        if noise < 0:
            raise self.wrong("noise", noise, "Give 0 or more")
        (train, train_labels), (test, test_labels) = self._read(str(options["images"]))
        train, test = _shrink(train, pixels), _shrink(test, pixels)
        mean, deviation = train.mean(dtype=np.float64), train.std(dtype=np.float64)
        train, test = (((part - mean) / deviation).astype(np.float32) for part in (train, test))
        targets, test_targets = one_hot(train_labels, CLASSES), one_hot(test_labels, CLASSES)
        clutter = float(options["clutter"])
        if not 0 <= clutter <= 1:
            raise self.wrong("clutter", clutter, "Give 0 to 1")
        draw = None
        if shift or noise or clutter or options["flip"]:
            black, flip = np.float32(-mean / deviation), bool(options["flip"])
            draw = _cluttered(_augmenter(train, targets, black, shift, flip, noise), len(train), black, clutter)
            fixed = _cluttered(_augmenter(test, test_targets, black, shift, flip, noise), len(test), black, clutter)
            test, test_targets = fixed(np.random.default_rng(0), np.arange(len(test)))
        return TaskData(train.reshape(len(train), -1), targets, test.reshape(len(test), -1), test_targets, draw=draw)

    def _read(self, images: str) -> tuple[Split, Split]:
        if images == "subset":
            return _read_subset()
        if images != "full":
            raise self.wrong("images", images, "Give 'subset' or 'full'")
        folder = Path(os.environ.get("SCALELAW_DATA") or DEBIAN_FOLDER)
        try:
            return _read_split(folder, "train"), _read_split(folder, "t10k")
        except (OSError, EOFError, ValueError) as error:
            raise SpecError(
                f"the full set cannot be read from {folder} ({error})",
                f"task {self.name}",
                "Install Debian's dataset-fashion-mnist, point SCALELAW_DATA at its folder, or use images = 'subset'",
            ) from error


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The bytes of a gzipped IDX file in its own shape (magic number 0x0000080k: bytes in k dimensions, sizes big-endian).

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a file.
    """
    with gzip.open(path) as stream:
        content = stream.read()
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path.name} is not an IDX file of bytes")
    dimensions = content[3]
    shape = np.frombuffer(content, ">i4", dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _read_split(folder: Path, split: str) -> Split:
    return read_idx(folder / f"{split}-images-idx3-ubyte.gz"), read_idx(folder / f"{split}-labels-idx1-ubyte.gz")


@functools.cache
def _read_subset() -> tuple[Split, Split]:
    with np.load(SUBSET_FILE) as arrays:
        return (arrays["train_images"], arrays["train_labels"]), (arrays["test_images"], arrays["test_labels"])


def _shrink(images: NDArray[np.uint8], pixels: int) -> Floats:
    """Means over square blocks, shape (images, pixels, pixels), in [0, 1]."""
    block = SIDE // pixels
    blocks = images.reshape(len(images), pixels, block, pixels, block)
    return (blocks.sum(axis=(2, 4), dtype=np.float32) / np.float32(255 * block * block)).astype(np.float32)


def _augmenter(images: Floats, targets: Floats, black: np.float32, shift: int, flip: bool, noise: float) -> Draw:
    """A `Draw` that shifts by up to `shift` pixels each way, mirrors, and adds noise, independently per picture."""
    side = images.shape[1]
    canvas = np.pad(images, ((0, 0), (shift, shift), (shift, shift)), constant_values=black)
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (side, side), axis=(1, 2))

    def draw(generator: np.random.Generator, rows: NDArray[np.intp]) -> tuple[Floats, Floats]:
        down, right = generator.integers(0, 2 * shift + 1, size=(2, len(rows)))
        batch = windows[rows, down, right]
        if flip:
            mirrored = generator.random(len(rows)) < 0.5
            batch[mirrored] = batch[mirrored, :, ::-1]
        if noise:
            batch += np.float32(noise) * generator.standard_normal(batch.shape, dtype=np.float32)
        return batch.reshape(len(rows), -1), targets[rows]

    return draw


def _cluttered(draw: Draw, pictures: int, black: np.float32, clutter: float) -> Draw:
    """A `Draw` that lays a second picture, dimmed to `clutter` of its brightness, over each one."""
    if clutter == 0:
        return draw

    def laid(generator: np.random.Generator, rows: NDArray[np.intp]) -> tuple[Floats, Array]:
        batch, targets = draw(generator, rows)
        second, _ = draw(generator, generator.integers(0, pictures, len(rows)))
        return np.maximum(batch, black + np.float32(clutter) * (second - black)), targets

    return laid
