"""Write the digits that travel with the package, from a folder with the four original MNIST files.

python scripts/pack_digits.py FOLDER
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from seqdet.digits.videos import FORMAT_VERSION, PACKAGED, Digits, read_originals

SEED = 20_240_601


def choose(digits: Digits, per_class: list[int], rng: np.random.Generator) -> Digits:
    """Groups of ``per_class`` digits of every class, the groups one after the other, each in random order."""
    queues = [rng.permutation(np.flatnonzero(digits.labels == label)) for label in range(10)]
    bounds = np.cumsum([0, *per_class])
    groups = [
        rng.permutation(np.concatenate([queue[start:stop] for queue in queues]))
        for start, stop in itertools.pairwise(bounds)
    ]
    return Digits(*(array[np.concatenate(groups)] for array in digits))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds train-images-idx3-ubyte.gz and the other three")
    parser.add_argument("--out", type=Path, default=PACKAGED, help="file to write")
    args = parser.parse_args()

    rng = np.random.default_rng(SEED)
    train = choose(read_originals(args.folder, "train"), [900, 100], rng)
    test = choose(read_originals(args.folder, "t10k"), [200], rng)
    unfinished = args.out.with_suffix(".part.npz")
    np.savez_compressed(
        unfinished,
        format_version=FORMAT_VERSION,
        train_images=train.images,
        train_labels=train.labels,
        t10k_images=test.images,
        t10k_labels=test.labels,
    )
    unfinished.replace(args.out)
    print(f"{args.out}: {len(train.labels)} and {len(test.labels)} digits, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
