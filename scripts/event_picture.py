"""Write the moving picture of README.md: events of moving digits, what a detector finds in them, and their tracks.

The first command takes about 20 minutes on two cores, the second and the third one each:

seqdet train --recipe digits_events --out runs/picture --model.channels 64 --train.max_steps 800 \\
    --data.dataset.folder datasets/picture --data.dataset.scene.digits.frames_per_epoch 40320 \\
    --data.dataset.scene.digits.validation_frames 960 --data.dataset.scene.digits.test_frames 1920
seqdet predict runs/picture datasets/picture/test/digits_00004.raw -o found --track --video
python scripts/event_picture.py found/videos/digits_00004.mp4 docs/images/events.webp
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import av
from PIL import Image


def pictures(path: Path, start: int, count: int, step: int) -> Iterator[Image.Image]:
    """Every so-many-th picture of a video."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        yield from (frame.to_image() for frame in islice(frames, start, start + count * step, step))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, help="what seqdet predict --track --video wrote")
    parser.add_argument("picture", type=Path, help="WebP file to write")
    parser.add_argument("--start", type=int, default=20, help="first picture of the video")
    parser.add_argument("--count", type=int, default=56, help="pictures to write")
    parser.add_argument("--step", type=int, default=1, help="take one of so many")
    parser.add_argument("--colours", type=int, default=40, help="of the palette that all pictures share")
    parser.add_argument("--duration-ms", type=int, default=70, help="of each picture")
    args = parser.parse_args()

    shown = list(pictures(args.video, args.start, args.count, args.step))
    # One palette for all, of a few pictures one below the other: colours do not flicker, and the file is small.
    few = shown[:: max(1, len(shown) // 8)]
    sheet = Image.new("RGB", (few[0].width, few[0].height * len(few)))
    for n, picture in enumerate(few):
        sheet.paste(picture, (0, n * picture.height))
    palette = sheet.quantize(args.colours, dither=Image.Dither.NONE)
    first, *others = [each.quantize(palette=palette, dither=Image.Dither.NONE).convert("RGB") for each in shown]
    options = {"duration": args.duration_ms, "loop": 0, "lossless": True, "quality": 60}
    first.save(args.picture, save_all=True, append_images=others, **options)
    print(f"{args.picture}: {len(shown)} pictures, {args.picture.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
