"""How many frames per second do several processes train, and how many times as many is that as one does?

python benchmarks/processes.py                     # a table on the terminal
python benchmarks/processes.py --processes 1 2 4   # lanes must be a multiple of each
python benchmarks/processes.py --json out.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from seqdet import fit
from seqdet.config_files import read_config

RECIPE = Path(__file__).parents[1] / "recipes" / "moving_digits.yaml"
STEPS = 40, 160


def seconds(processes: int, steps: int) -> float:
    """Time that the recipe takes for so many steps and a validation, once all processes are there."""
    config = read_config(RECIPE)
    train = replace(config.train, max_steps=steps, processes=processes, validate_epochs=10**6, demo_epochs=0)
    data = replace(config.data, digits=replace(config.data.digits, validation_frames=240))
    with tempfile.TemporaryDirectory() as folder:
        out = fit(config.model, data, train, Path(folder) / "run")
        return json.loads((out / "training.json").read_text())["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, help="also write the rows here")
    args = parser.parse_args()

    config = read_config(RECIPE)
    frames = config.data.lanes * config.data.clip_length * (STEPS[1] - STEPS[0])
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    rows = []
    for processes in args.processes:
        rate = frames / (seconds(processes, STEPS[1]) - seconds(processes, STEPS[0]))
        rows.append({"processes": processes, "frames_per_s": rate, "machine": machine})
    print(
        f"{machine}\n{config.data.lanes} lanes of {config.data.clip_length} frames\n{'processes':>10}{'frames/s':>10}"
    )
    for row in rows:
        ratio = row["frames_per_s"] / rows[0]["frames_per_s"]
        print(f"{row['processes']:>10}{row['frames_per_s']:>10.0f}{ratio:>8.2f} times {rows[0]['processes']}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
