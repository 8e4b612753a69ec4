"""Make the Fashion-MNIST subset that ships inside the package.

    python tools/make_fashion_subset.py [--source /usr/share/datasets/fashion-mnist]

The source is Debian's `dataset-fashion-mnist` (`apt-get install dataset-fashion-mnist`). The subset holds the first 1,600
training and the first 400 test images of each of the ten classes, in the order of the original files: class-balanced, and
the same bytes whoever makes it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scalelaw.tasks.fashion_mnist import DEBIAN_FOLDER, SUBSET_FILE, read_idx

PER_CLASS = {"train": 1600, "t10k": 400}


def balanced(labels: NDArray[np.uint8], per_class: int) -> NDArray[np.intp]:
    """The positions of the first `per_class` labels of each class, in file order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in np.unique(labels)]))


def main() -> None:
    """Read the four original files, keep the subset, write it and print its size."""
    parser = argparse.ArgumentParser(description="Make the Fashion-MNIST subset that ships inside the package.")
    parser.add_argument("--source", type=Path, default=DEBIAN_FOLDER)
    parser.add_argument("--output", type=Path, default=SUBSET_FILE)
    arguments = parser.parse_args()
    arrays: dict[str, NDArray[np.uint8]] = {}
    for split, per_class in PER_CLASS.items():
        images = read_idx(arguments.source / f"{split}-images-idx3-ubyte.gz")
        labels = read_idx(arguments.source / f"{split}-labels-idx1-ubyte.gz")
        kept = balanced(labels, per_class)
        name = "train" if split == "train" else "test"
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = images[kept], labels[kept]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(arguments.output, allow_pickle=False, **arrays)
    megabytes = arguments.output.stat().st_size / 1e6
    print(f"{arguments.output}: {len(arrays['train_labels'])} + {len(arrays['test_labels'])} images, {megabytes:.1f} MB")


if __name__ == "__main__":
    main()
