"""Small generated pictures of a thousand classes: endless, cheap, and hard enough that every width is too small."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..trial import Value
from ._base import Draw, Floats, Task, TaskData, Whole

__all__ = ["ThousandClasses"]

CLASSES = 1000
LATENT, UNITS = 32, 256
LEVELS = ((10, 1.0), (100, 0.7), (1000, 0.7))
TEST_EXAMPLES = 4096


class ThousandClasses(Task):
    """Tell a thousand classes of pictures apart. Made from random numbers alone; nothing is downloaded.

        prototype      p_cv = group(c) + subgroup(c) + own(c) + view(c, v)    v = 1 ... views, in 32 dimensions
        a picture      z = p_cv + jitter e,    x = exp(contrast e') S tanh(gain A z + b) + noise e''
        how often      every class alike; view v of a class in proportion to 1 / v

    Ten groups of ten subgroups of ten classes have normal positions of deviation 1, 0.7 and 0.7, and prototypes of deviation 1
    about each class. A fixed random layer of 256 units folds the 32 dimensions, so that no straight cut keeps a class together (A
    gives gain A z deviation `gain`; b has 0.5); each unit paints a smooth random pattern, a column of S, whose waves of frequency
    (f, g) have amplitude (1 + f^2 + g^2)^-1/2. All e are normal.

    What is hard is to unfold: the classes lie well apart in the 32 dimensions, and a network must build those from the pictures
    out of its units. The wider it is the more of them, and the finer, it gets right: narrow networks tell the groups, wide ones
    the classes. How much there is to learn is `gain` and `jitter`, and `views`, the rarer of which take the longest.

    Options:
        samples: 0 draws new pictures at every step; n > 0 is a training set of n pictures, gone through again and again.
        pixels: the side of a picture.
        views: prototypes per class.
        gain: how strongly the pictures fold.
        jitter: deviation within a prototype, where the classes' own is 1.
        contrast: deviation of the logarithm of a picture's contrast.
        noise: deviation of the noise of a pixel, in units of the pixels' own.
        world_seed: which thousand classes.
    """

    name = "thousand_classes"
    summary = "generated pictures of 1,000 classes: endless, and hard for every width"
    defaults: Mapping[str, Value] = {
        "samples": 0,
        "pixels": 8,
        "views": 4,
        "gain": 4.0,
        "jitter": 1.0,
        "contrast": 0.2,
        "noise": 0.1,
        "world_seed": 0,
    }

    def load(self, options: Mapping[str, Value]) -> TaskData:
        """Pictures as rows of pixels, scaled to about mean 0 and deviation 1, and their classes."""
        pixels, views, samples = int(options["pixels"]), int(options["views"]), int(options["samples"])
        for key, value, most in (("pixels", pixels, 32), ("views", views, 1024)):
            if not 1 <= value <= most:
                raise self.wrong(key, value, f"Give 1 to {most}")
        for key in ("gain", "jitter", "contrast", "noise"):
            if not 0 <= float(options[key]) <= 10:
                raise self.wrong(key, options[key], "Give 0 to 10")
        seed = int(options["world_seed"])
        gain, jitter, contrast, noise = (float(options[key]) for key in ("gain", "jitter", "contrast", "noise"))
        world = _world(pixels=pixels, views=views, gain=gain, jitter=jitter, contrast=contrast, noise=noise, seed=seed)
        test = world.draw(np.random.default_rng([seed, 3]), TEST_EXAMPLES)
        train = world.draw(np.random.default_rng([seed, 4]), samples or TEST_EXAMPLES)
        draw = None if samples else _fresh(world)
        return TaskData(*train, *test, {}, draw, labels=CLASSES, provenance={"sha256": world.digest})


class _World:
    """The prototypes and the layer that paints them."""

    def __init__(self, *, pixels: int, views: int, gain: float, jitter: float, contrast: float, noise: float, seed: int) -> None:
        generator = np.random.default_rng([seed, 1])
        classes = np.arange(CLASSES)
        middles = np.zeros((CLASSES, LATENT))
        for kinds, deviation in LEVELS:
            middles += deviation * generator.standard_normal((kinds, LATENT))[classes * kinds // CLASSES]
        prototypes = middles[:, None] + generator.standard_normal((CLASSES, views, LATENT))
        self.jitter, self.contrast, self.noise = np.float32(jitter), np.float32(contrast), np.float32(noise)
        self.frequencies = np.cumsum(1 / np.arange(1, views + 1)) / np.sum(1 / np.arange(1, views + 1))
        self.prototypes = prototypes.reshape(-1, LATENT).astype(np.float32)
        self.digest = hashlib.sha256(self.prototypes.tobytes()).hexdigest()
        length = math.sqrt(LATENT * (sum(deviation**2 for _, deviation in LEVELS) + 1 + jitter**2))
        self.first = (generator.standard_normal((LATENT, UNITS)) * (gain / length)).astype(np.float32)
        self.bias = (0.5 * generator.standard_normal(UNITS)).astype(np.float32)
        waves = np.arange(pixels)
        amplitudes = 1 / np.sqrt(1 + waves[:, None] ** 2 + waves**2)
        cosines = np.cos(np.pi * (waves[:, None] + 0.5) * waves / pixels)
        patterns = cosines @ (generator.standard_normal((UNITS, pixels, pixels)) * amplitudes) @ cosines.T
        self.patterns = patterns.reshape(UNITS, -1).astype(np.float32)
        self.mean, self.deviation = np.float32(0), np.float32(1)
        sample = self._pictures(np.random.default_rng([seed, 2]), TEST_EXAMPLES)[0]
        self.mean, self.deviation = np.float32(sample.mean(dtype=np.float64)), np.float32(sample.std(dtype=np.float64))

    def draw(self, generator: np.random.Generator, count: int) -> tuple[Floats, Whole]:
        """Pictures (count, pixels^2) and their classes (count,)."""
        pictures, labels = self._pictures(generator, count)
        pictures = (pictures - self.mean) / self.deviation
        if self.noise:
            pictures += self.noise * generator.standard_normal(pictures.shape, dtype=np.float32)
            pictures /= np.sqrt(1 + self.noise * self.noise)
        return pictures, labels

    def _pictures(self, generator: np.random.Generator, count: int) -> tuple[Floats, Whole]:
        """Before scaling and noise."""
        labels = generator.integers(0, CLASSES, count)
        seen = np.searchsorted(self.frequencies, generator.random(count), side="right")
        rows = labels * len(self.frequencies) + np.minimum(seen, len(self.frequencies) - 1)
        latent = self.prototypes[rows] + self.jitter * generator.standard_normal((count, LATENT), dtype=np.float32)
        pictures = np.tanh(latent @ self.first + self.bias) @ self.patterns
        pictures *= np.exp(self.contrast * generator.standard_normal((count, 1), dtype=np.float32))
        return pictures, labels.astype(np.int32)


_world = functools.lru_cache(maxsize=2)(_World)


def _fresh(world: _World) -> Draw:
    def draw(generator: np.random.Generator, rows: NDArray[np.intp]) -> tuple[Floats, Whole]:
        return world.draw(generator, len(rows))

    return draw
