"""Write a film as a small moving picture. That of README.md, after `make demo-real`:

python scripts/moving_picture.py runs/flies/film.mp4 docs/images/flies.webp
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import av
from PIL import Image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("picture", type=Path, help="WebP file to write")
    parser.add_argument("--start", type=int, default=20, help="first picture of the film")
    parser.add_argument("--shrink", type=int, default=2, help="factor by which sides become shorter")
    parser.add_argument("--quality", type=int, default=50, help="of WebP, 0 to 100")
    parser.add_argument("--duration-ms", type=int, default=80, help="of each picture")
    args = parser.parse_args()

    with av.open(str(args.film)) as container:
        shown = [frame.to_image() for frame in islice(container.decode(video=0), args.start, None)]
    size = shown[0].width // args.shrink, shown[0].height // args.shrink
    first, *others = [each.resize(size, Image.Resampling.LANCZOS) for each in shown]
    options = {"duration": args.duration_ms, "loop": 0, "quality": args.quality, "method": 6}
    first.save(args.picture, save_all=True, append_images=others, **options)
    print(f"{args.picture}: {len(shown)} pictures, {args.picture.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
