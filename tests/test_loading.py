import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqdet.config import DataConfig, DigitsConfig
from seqdet.data.classes import write_classes
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.events.array import columns
from seqdet.events.tables import write_npz
from seqdet.loading import TrainingLoader, TrainingOrder, evaluation_loader, open_split

DIGITS = DigitsConfig(
    frames_per_video=6, held_out_frames_per_video=6, frames_per_epoch=30, validation_frames=18, test_frames=18
)
CONFIG = DataConfig(clip_length=3, lanes=2, digits=DIGITS)


def weights(counts):
    """All clips alike."""
    return [np.ones(count) for count in counts]


@settings(max_examples=60)
@given(
    counts=st.lists(st.integers(1, 4), min_size=1, max_size=6),
    lanes=st.integers(1, 3),
    steps=st.integers(0, 30),
    random_share=st.sampled_from([0.0, 0.4, 1.0]),
    data=st.data(),
)
def test_an_order_continued_at_any_step_equals_the_rest_of_the_whole(counts, lanes, steps, random_share, data):
    config = DataConfig(lanes=lanes, random_share=random_share)
    whole = list(TrainingOrder(config, weights(counts), steps=steps))
    assert len(whole) == steps
    rest = TrainingOrder(config, weights(counts), steps=steps)
    rest.done = data.draw(st.integers(0, steps))
    assert list(rest) == whole[rest.done :]


def test_every_epoch_plays_every_clip_once_and_in_an_order_of_its_own():
    counts = [2, 1, 3, 2]
    order = TrainingOrder(DataConfig(lanes=1), weights(counts), steps=16)
    cues = [cue for (cue,) in order]
    first, second = cues[:8], cues[8:]
    every_clip = {(recording, clip) for recording, count in enumerate(counts) for clip in range(count)}
    for epoch, played in enumerate((first, second)):
        assert {(cue.recording, cue.clip) for cue in played} == every_clip
        assert {cue.epoch for cue in played} == {epoch}
    assert [cue[:2] for cue in first] != [cue[:2] for cue in second]


def test_some_lanes_play_recordings_and_the_others_clips_on_their_own():
    order = TrainingOrder(DataConfig(lanes=4, random_share=0.5), weights([2, 1, 3, 2]), steps=20)
    epoch = list(order)[: order.steps_per_epoch]
    for step in epoch:
        assert [cue.is_alone for cue in step] == [False, False, True, True]
    streamed = [(cue.recording, cue.clip) for step in epoch for cue in step[:2] if not cue.is_blank]
    assert sorted(streamed) == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1)]


def test_processes_share_the_lanes_of_every_step():
    counts = [2, 1, 3, 2]
    whole = TrainingOrder(DataConfig(lanes=4), weights(counts), steps=9)
    shares = [TrainingOrder(DataConfig(lanes=4), weights(counts), steps=9, rank=rank, ranks=2) for rank in range(2)]
    assert [one + other for one, other in zip(*shares, strict=True)] == list(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_behind_the_batches_that_it_handed_out(workers):
    dataset = open_split(CONFIG, "train")

    def loader():
        return TrainingLoader(dataset, TrainingOrder(CONFIG, dataset.weights, steps=8), workers=workers)

    whole = [clip.frames for clip in loader()]
    stopped = loader()
    for _, clip in zip(range(3), stopped, strict=False):
        assert clip.frames.shape == (3, 2, 3, 128, 128)
    resumed = loader()
    resumed.load_state_dict(stopped.state_dict())
    rest = [clip.frames for clip in resumed]
    assert len(resumed) == 8
    assert torch.equal(torch.stack(rest), torch.stack(whole[3:]))


def test_an_evaluation_plays_every_frame_of_the_split_once():
    clips = list(evaluation_loader(CONFIG, "test"))
    ends = [
        (recording, end)
        for clip in clips
        for b, recording in enumerate(clip.recordings.tolist())
        for end in clip.end_us[:, b].tolist()
        if not clip.is_blank[b]
    ]
    assert sorted(ends) == [(video, (frame + 1) * 50_000) for video in range(3) for frame in range(6)]
    assert sum(int(clip.is_labelled.sum()) for clip in clips) == 18


def test_recordings_are_trained_on_without_the_toy(tmp_path):
    (tmp_path / "train").mkdir()
    t = np.arange(0, 400_000, 100)
    write_npz(tmp_path / "train" / "a.npz", [columns(t=t, x=t % 32, y=t % 24, p=t % 2)], size_hw=(24, 32))
    boxes = np.zeros(8, EVENT_BBOX)
    boxes["t"] = np.arange(1, 9) * 50_000
    boxes["w"] = boxes["h"] = 9
    write_labels(tmp_path / "train" / "a_bbox.npy", boxes)
    write_classes(tmp_path, ["car"])
    script = (
        "import sys; from pathlib import Path\n"
        "from seqdet.config import *; from seqdet.loading import open_split, prepare\n"
        "data = DataConfig(clip_length=2, dataset=DatasetConfig(Path(sys.argv[1])))\n"
        "prepare(data.dataset, splits=['train'])\n"
        "own = [name for name in sys.modules if name.startswith('seqdet.')]\n"
        "print(len(open_split(data, 'train').recordings), *(name for name in own if 'digits' in name))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["1", "seqdet.config.digits"]
