"""Frames straight from recordings: those that tensor files would have, in a folder that stays as small as it must."""

import json
import logging
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from seqdet import DataConfig, TrainConfig, VanillaConfig, build_detector, evaluate, fit
from seqdet.checks import InputError, Stopped
from seqdet.config import AugmentConfig, DatasetConfig, TensorConfig
from seqdet.data.cached import CachedRecording, FrameMaker, facts_file
from seqdet.data.clips import RecordedClips
from seqdet.data.disk_cache import SUFFIX, TOTAL, DiskCache
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.schedule import Cue, schedule
from seqdet.data.sources import cache_folder, tensor_folder
from seqdet.data.store import TensorFile
from seqdet.events.array import Events
from seqdet.events.dat import write_dat
from seqdet.events.evt import write_evt3
from seqdet.events.files import Recording
from seqdet.events.hdf5 import write_hdf5
from seqdet.loading import prepare
from seqdet.structures import Clip
from seqdet.training.fit import resume
from seqdet.training.module import TrainingModule

SIZE = (24, 32)
WINDOWS = 41  # the events begin in the third multiple of 10 ms and end in the 43rd
WINDOW_US = 10_000
TENSOR = TensorConfig(window_us=WINDOW_US)


def some_events(seed=0, count=6000):
    rng = np.random.default_rng(seed)
    t = np.sort(np.append([23_456, 423_455], rng.integers(23_456, 423_456, count - 2)))
    t[(t > 150_000) & (t < 185_000)] = 150_000  # and some windows have none
    x, y = (rng.integers(0, side, count).astype(np.uint16) for side in SIZE[::-1])
    return Events(t, x, y, rng.integers(0, 2, count).astype(np.uint8))


WRITERS = {
    "raw": lambda path, events: write_evt3(path, [events], size_hw=SIZE),
    "dat": lambda path, events: write_dat(path, [events], size_hw=SIZE),
    "h5": lambda path, events: write_hdf5(path, [events], size_hw=SIZE),
    "npz": lambda path, events: np.savez(path, t=events.t, x=events.x, y=events.y, p=events.p, size_hw=SIZE),
}


def labels(times_us):
    boxes = np.zeros(len(times_us), EVENT_BBOX)
    boxes["t"], boxes["w"], boxes["h"], boxes["class_confidence"] = times_us, 10, 12, 1
    return boxes


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """Recordings this short need no others, which take seconds to start."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


@pytest.fixture
def dataset(tmp_path):
    """Recordings of several formats in all splits, with a label every 30 ms."""
    folder = tmp_path / "dataset"
    for n, name in enumerate(
        ["train/a-b.raw", "train/a.dat", "train/c.h5", "val/d.raw", "test/e.dat", "test/f_td.raw"]
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[path.suffix[1:]](path, some_events(n))
        write_labels(
            path.with_name(f"{path.stem.removesuffix('_td')}_bbox.npy"), labels(np.arange(60_000, 420_000, 30_000))
        )
    (folder / "label_map_dictionary.json").write_text(json.dumps({"0": "car"}))
    return folder


def config(folder, cache_gb=1.0, **changes):
    return DatasetConfig(folder, tensor=TENSOR, tolerance_us=5000, cache_gb=cache_gb, **changes)


def kept(folder):
    return sorted(folder.rglob(f"*{SUFFIX}"))


def assert_same(clip, other):
    assert torch.equal(clip.frames, other.frames)
    for name in ("is_first", "is_blank", "is_labelled", "recordings", "end_us"):
        assert torch.equal(getattr(clip, name), getattr(other, name)), name
    for boxes, others in zip(clip.boxes, other.boxes, strict=True):
        assert torch.equal(boxes.xyxy, others.xyxy)
        assert torch.equal(boxes.labels, others.labels)


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize(
    "tensor",
    [
        TENSOR,
        replace(TENSOR, representation="event_cube", to_hw=(11, 17)),
        replace(TENSOR, representation="time_surface", downscale=2),
        replace(TENSOR, representation="histogram", window_us=7_000),
    ],
    ids=lambda tensor: tensor.representation,
)
def test_windows_in_any_order_are_those_of_the_tensor_file(tmp_path_factory, ending, tensor):
    folder = tmp_path_factory.mktemp("any")
    path = folder / f"a.{ending}"
    WRITERS[ending](path, some_events())
    precompute([path], PrecomputeConfig(folder / "out", tensor))
    with TensorFile(folder / "out" / "a.h5") as file:
        whole, description, ends_us = file.read(0, len(file)), file.description, file.ends_us

    @settings(max_examples=6)
    @given(
        st.lists(st.tuples(st.integers(0, len(whole)), st.integers(0, 12)), min_size=1, max_size=6),
        st.integers(1, 13),
    )
    def check(reads, clip_length):
        cache = DiskCache(tmp_path_factory.mktemp("cache"), 10**9)
        for _ in range(2):
            with CachedRecording(path, tensor, cache, clip_length=clip_length) as recording:
                assert (recording.shape, recording.dtype) == (whole.shape, whole.dtype)
                assert recording.description == replace(description, source_digest="")
                assert recording.ends_us.tolist() == ends_us.tolist()
                for start, count in reads:
                    stop = min(start + count, len(whole))
                    np.testing.assert_array_equal(recording.read(start, stop), whole[start:stop])

    check()


def test_clips_are_those_of_tensor_files_in_the_same_order(dataset):
    augment = AugmentConfig(flip=0.5, zoom=0.5, time_flip=0.5)
    precomputed = config(dataset, None, augment=augment)
    prepare(precomputed)
    for split in ("train", "validation", "test"):
        clips = RecordedClips(config(dataset, augment=augment), split, clip_length=5, seed=3)
        others = RecordedClips(precomputed, split, clip_length=5, seed=3)
        assert clips.names == others.names
        assert clips.clip_counts == others.clip_counts == [9] * len(clips.names)
        assert all((one == other).all() for one, other in zip(clips.weights, others.weights, strict=True))
        cues = [
            Cue(number, clip, epoch=epoch)
            for epoch in (0, 1)
            for number in range(len(clips.names))
            for clip in range(9)
        ]
        for cue in np.random.default_rng(0).permutation(len(cues)).tolist():
            assert_same(clips[cues[cue]], others[cues[cue]])


@pytest.fixture
def made(monkeypatch):
    """The windows that were made, by recording: (first, count)."""
    found = []
    packed = FrameMaker.packed

    def note(self, first, count):
        found.append((self.path.name, first, count))
        return packed(self, first, count)

    monkeypatch.setattr(FrameMaker, "packed", note)
    return found


def test_frames_are_made_once_and_found_by_later_epochs_and_runs(dataset, made):
    clips = RecordedClips(config(dataset), "train", clip_length=6)
    made.clear()
    cues = [cue for step in schedule(clips.clip_counts, 2) for cue in step]
    first = [clips[cue] for cue in cues]
    stretches = [(name, n, min(6, WINDOWS - n)) for name in ("a-b.raw", "a.dat", "c.h5") for n in range(0, WINDOWS, 6)]
    assert sorted(made) == stretches
    again = RecordedClips(config(dataset, 0.5), "train", clip_length=6)
    for source in (clips, again):
        for cue, clip in zip(cues, first, strict=True):
            assert_same(source[cue], clip)
    assert sorted(made) == stretches
    assert len(kept(cache_folder(config(dataset)))) == len(stretches)


def test_a_recording_that_plays_is_read_forward(dataset, monkeypatch):
    begun = []
    windows = Recording.windows
    monkeypatch.setattr(Recording, "windows", lambda self, **span: begun.append(span) or windows(self, **span))
    for name in ("train/a-b.raw", "train/c.h5"):
        cache = DiskCache(dataset.parent / "cache", 10**9)
        CachedRecording(dataset / name, TENSOR, cache, clip_length=4).close()
        with CachedRecording(dataset / name, TENSOR, cache, clip_length=4) as recording:
            begun.clear()
            for start in range(0, WINDOWS, 4):
                recording.read(start, min(start + 4, WINDOWS))
            assert len(begun) == 1


def test_other_recordings_and_settings_never_share_frames(dataset):
    cache, path = DiskCache(dataset.parent / "cache", 10**9), dataset / "train" / "a.dat"
    with CachedRecording(path, TENSOR, cache, clip_length=4) as recording:
        before = recording.read(0, 8)
    for tensor in (replace(TENSOR, parameters={"bins": 3}), replace(TENSOR, window_us=5000)):
        with CachedRecording(path, tensor, cache, clip_length=4) as recording:
            assert not np.array_equal(recording.read(0, 8), before)
    WRITERS["dat"](path, some_events(9))
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000))
    with CachedRecording(path, TENSOR, cache, clip_length=4) as recording:
        assert not np.array_equal(recording.read(0, 8), before)


def size_of(folder):
    return sum(path.stat().st_size for path in kept(folder))


def test_the_files_that_were_used_least_recently_go_first(tmp_path):
    old = DiskCache(tmp_path, 1000)
    for n in range(9):
        old.put(f"a/{n}", bytes([n]) * 96)
    assert old.get("a/0") == bytes(96)
    new = DiskCache(tmp_path, 1000)
    new.put("a/9", bytes(96))
    new.put("a/10", bytes(96))
    assert [n for n in range(11) if old.get(f"a/{n}") is None] == [1]
    assert size_of(tmp_path) == 1000
    smaller = DiskCache(tmp_path, 500)
    assert size_of(tmp_path) <= 500
    assert smaller.get("a/10") == bytes(96)


def test_files_in_use_stay_and_what_finds_no_room_is_not_kept(tmp_path):
    cache = DiskCache(tmp_path, 1000)
    for _ in range(3):
        found = 0
        for n in range(20):
            if cache.get(f"a/{n}") is None:
                cache.put(f"a/{n}", bytes([n]) * 96)
            else:
                found += 1
    assert found == 10
    assert size_of(tmp_path) == 1000


def fill(folder, seed, rounds):
    cache, rng = DiskCache(folder, 20_000), np.random.default_rng(seed)
    for n in range(rounds):
        if n % 10 == 0:
            cache = DiskCache(folder, 20_000)
        name = int(rng.integers(60))
        content = cache.get(f"{name % 7}/{name}")
        assert content is None or content == bytes([name]) * 500
        cache.put(f"{name % 7}/{name}", bytes([name]) * 500)


def test_processes_that_write_and_delete_at_once_stay_within_the_limit(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=fill, args=(tmp_path, seed, 300)) for seed in range(3)]
    for process in processes:
        process.start()
    while any(process.is_alive() for process in processes):
        sizes = []
        for path in tmp_path.glob(f"*/*{SUFFIX}"):
            try:
                sizes.append(path.stat().st_size)
            except FileNotFoundError:
                sizes.append(0)
        assert sum(sizes) <= 20_000 + 3 * 504  # some came while others were gone already
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert 10_000 < size_of(tmp_path) <= 20_000


@pytest.mark.parametrize("content", [b"", bytes(4), bytes(5000), b"x" * 5000, None])
def test_damaged_files_are_made_again(dataset, content):
    cache, path = DiskCache(dataset.parent / "cache", 10**9), dataset / "train" / "a.dat"
    with CachedRecording(path, TENSOR, cache, clip_length=4) as recording:
        before = recording.read(0, WINDOWS)
    for file in (*kept(cache.folder), cache.folder / TOTAL, facts_file(path, TENSOR, cache.folder)):
        sound = file.read_bytes()
        file.write_bytes(sound[: len(sound) // 2] + b"?" + sound[len(sound) // 2 + 1 :] if content is None else content)
    for source in (cache, DiskCache(cache.folder, 10**9)):
        with CachedRecording(path, TENSOR, source, clip_length=4) as recording:
            np.testing.assert_array_equal(recording.read(0, WINDOWS), before)
    assert all(cache.get(f"{file.parent.name}/{file.stem}") for file in kept(cache.folder))


@pytest.mark.parametrize(
    "change",
    [
        *({"windows": 10**12}, {"windows": 0}, {"height": -1}, {"width": 10**9}, {"start_us": "x"}, {"disk_bytes": []}),
        *({"windows": WINDOWS - 1}, {"width": 320}, {"start_us": 1 << 70}, {"checksum": None}),
    ],
)
def test_facts_that_cannot_be_are_looked_up_again(dataset, change):
    path, cache = dataset / "train" / "a.dat", dataset.parent / "cache"
    before = FrameMaker(path, TENSOR, cache)
    facts = json.loads(before.facts.read_text())
    before.facts.write_text(json.dumps({**facts, **change}))
    after = FrameMaker(path, TENSOR, cache)
    assert (after.shape, after.description, after.disk_bytes) == (before.shape, before.description, before.disk_bytes)
    before.facts.write_text("[" * 100_000)
    assert FrameMaker(path, TENSOR, cache).shape == before.shape


def test_frames_that_were_deleted_are_made_again(dataset):
    clips = RecordedClips(config(dataset), "train", clip_length=6)
    before = clips[Cue(0, 0)]
    for path in kept(cache_folder(config(dataset))):
        path.unlink()
    assert_same(clips[Cue(0, 0)], before)


def test_a_full_disk_is_one_warning_and_frames_are_made_each_time(dataset, monkeypatch, caplog):
    precomputed = config(dataset, None)
    prepare(precomputed)

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    clips, others = (RecordedClips(each, "train", clip_length=6) for each in (config(dataset), precomputed))
    for number in (0, 1, 0):
        assert_same(clips[Cue(0, number)], others[Cue(0, number)])
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left on device" in caplog.text
    assert not kept(cache_folder(config(dataset)))


def test_a_cache_folder_that_cannot_be_is_one_warning_too(dataset, caplog):
    (dataset.parent / "file").write_text("")
    clips = RecordedClips(config(dataset, tensors=dataset.parent / "file"), "train", clip_length=6)
    assert clips[Cue(0, 0)].frames.any()
    assert len(caplog.records) == 1


def test_a_cache_too_small_for_one_clip_is_refused(dataset):
    least = 6 * 20 * SIZE[0] * SIZE[1]
    RecordedClips(config(dataset, least / 1e9), "train", clip_length=6)
    with pytest.raises(InputError, match=r"cache_gb must be at least 9\.22e-05 for 6 windows of .*, got 9\.22e-05"):
        RecordedClips(config(dataset, (least - 1) / 1e9), "train", clip_length=6)
    for cache_gb in (0, -1.0):
        with pytest.raises(InputError, match="cache_gb must be above 0"):
            config(dataset, cache_gb)


def test_the_start_says_how_much_there_will_be(dataset, caplog, made):
    caplog.set_level(logging.INFO)
    prepare(config(dataset))
    assert "keep up to 1 GB, all of them" in caplog.text
    clips = RecordedClips(config(dataset), "train", clip_length=41)
    for number in range(3):
        clips[Cue(number, 0)]
    size = size_of(cache_folder(config(dataset))) * 2
    caplog.clear()
    made.clear()
    prepare(config(dataset, size / 4 / 1e9))
    assert not made
    share = int(caplog.text.split("GB, ")[1].split("%")[0])
    assert 20 <= share <= 30
    assert "the others are made in every epoch" in caplog.text
    assert not tensor_folder(config(dataset)).exists()


def test_what_is_wrong_with_recordings_is_said_at_the_start(dataset):
    (dataset / "train" / "z.raw").write_bytes(b"% evt 9.0\n% end\n")
    with pytest.raises(InputError, match=r"z\.raw must be in EVT2, EVT2\.1 or EVT3"):
        prepare(config(dataset))
    with pytest.raises(InputError, match=r"z\.raw must be in EVT2, EVT2\.1 or EVT3"):
        RecordedClips(config(dataset), "train", clip_length=4)
    (dataset / "train" / "z.raw").unlink()
    for path in (dataset / "test").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"must hold recordings, and has none\. Is the split empty"):
        RecordedClips(config(dataset), "test", clip_length=4)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_loader_processes_read_what_one_process_reads(dataset, start_method):
    clips = RecordedClips(config(dataset), "train", clip_length=6)
    expected = [Clip.collate([clips[cue] for cue in step]) for step in schedule(clips.clip_counts, 2)]
    for path in kept(cache_folder(config(dataset))):
        path.unlink()
    loader = DataLoader(
        clips,
        batch_sampler=schedule(clips.clip_counts, 2),
        num_workers=2,
        collate_fn=Clip.collate,
        multiprocessing_context=start_method,
    )
    for clip, other in zip(loader, expected, strict=True):
        assert_same(clip, other)


def test_few_recordings_are_open_at_a_time(dataset, monkeypatch):
    monkeypatch.setattr("seqdet.data.clips.OPEN_RECORDINGS", 2)
    clips = RecordedClips(config(dataset), "train", clip_length=6)
    files = []
    for number in (0, 1, 0, 2, 0):
        clips[Cue(number, 0)]
        files.append(sorted(recording for _, recording in clips._files))
    assert files == [[0], [0, 1], [0, 1], [0, 2], [0, 2]]


def test_tensor_files_are_taken_as_they_are(dataset):
    prepare(config(dataset, None))
    tensors = config(tensor_folder(config(dataset)), 1.0)
    prepare(tensors)
    assert RecordedClips(tensors, "train", clip_length=6)[Cue(0, 0)].frames.any()
    assert not cache_folder(tensors).with_name(f"{tensors.folder.name}-cache").exists()


def test_a_run_from_the_cache_stopped_and_resumed_equals_one_from_tensor_files(dataset, tmp_path, monkeypatch):
    model = VanillaConfig(in_channels=20, base=1, channels=8, head_layers=0, classes=("car",))
    train = TrainConfig(max_steps=4, warmup_steps=2, device="cpu")

    def run(cache_gb, out, workers=0):
        data = DataConfig(clip_length=4, lanes=2, random_share=0.5, workers=workers, dataset=config(dataset, cache_gb))
        return fit(build_detector(model), data, train, out)

    whole = run(None, tmp_path / "whole")
    step = TrainingModule.training_step

    def step_and_ask(self, clip, batch_index):
        if batch_index == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, clip, batch_index)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingModule, "training_step", step_and_ask)
        with pytest.raises(Stopped):
            run(0.0002, tmp_path / "run", workers=2)
    resume(tmp_path / "run")
    first, second = (load_file(folder / "detector.safetensors") for folder in (whole, tmp_path / "run"))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    scores = [evaluate(folder)["AP"] for folder in (whole, tmp_path / "run")]
    assert scores[0] == scores[1]
    assert size_of(cache_folder(config(dataset))) > 0
