"""What recordings lose on their way into a training is told, kept with the run, and refused where it is most."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from seqdet.audit import audit
from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.config import DatasetConfig, TensorConfig
from seqdet.data.clips import RecordedClips
from seqdet.data.estimate import estimate
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.sources import tensor_folder
from seqdet.events.convert import convert
from seqdet.events.files import open_recording
from seqdet.loading import left_out, prepare

SIZE_HW = (48, 64)
TENSOR = TensorConfig("histogram", window_us=50_000)
LOST = "events outside the sensor"


def write(path: Path, *, count: int = 500, outside: int = 0, **changes: np.ndarray) -> None:
    """A recording of a second, in which some events lie outside the sensor, and a box at its end."""
    random = np.random.default_rng(5)
    columns = {"t": np.sort(random.integers(1_000_000, size=count)), "p": np.arange(count) % 2}
    columns |= {"x": random.integers(64, size=count), "y": random.integers(48, size=count)}
    columns["x"][:outside] = 100
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{**columns, **changes}, size_hw=SIZE_HW)
    boxes = np.zeros(1, EVENT_BBOX)
    boxes["t"], boxes["w"], boxes["h"], boxes["class_confidence"] = 500_000, 20, 20, 1
    write_labels(path.with_name(f"{path.stem}_bbox.npy"), boxes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Recordings that lose 2 of 500 events, 50 of 500, and none, and one without events."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    root = tmp_path / "dataset"
    write(root / "train" / "a.npz", outside=2)
    write(root / "train" / "b.npz", outside=50)
    write(root / "train" / "none.npz", count=0)
    write(root / "val" / "c.npz")
    (root / "label_map_dictionary.json").write_text('{"0": "car"}')
    return root


def config(folder: Path, **changes) -> DatasetConfig:
    return DatasetConfig(folder=folder, tensor=TENSOR, **changes)


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("cache_gb", [None, 1.0])
def test_a_training_is_told_what_is_left_out_of_which_recording(folder, caplog, cache_gb):
    caplog.set_level(logging.INFO, "seqdet")
    prepare(config(folder, cache_gb=cache_gb))
    clips = RecordedClips(config(folder, cache_gb=cache_gb), "train", clip_length=4)
    assert clips.names == ["a", "b"]
    assert warnings(caplog) == [
        f"{folder / 'train' / 'none.npz'} has no events: it is left out.",
        f"train/b.npz: left out 50 {LOST} (10.0%)",
    ]
    assert f"train/a.npz: left out 2 {LOST} (0.4%)" in caplog.text
    assert left_out(clips) == {
        "train/a.npz": {"events": 498, "left_out": {LOST: 2}, "notes": []},
        "train/b.npz": {"events": 450, "left_out": {LOST: 50}, "notes": []},
    }


@pytest.mark.parametrize("seen", ["dataset", "tensors"])
def test_tensors_that_an_earlier_command_made_still_say_it(folder, tmp_path, caplog, seen):
    target = tensor_folder(config(folder))
    first = precompute([folder], PrecomputeConfig(target, TENSOR))
    again = precompute([folder], PrecomputeConfig(target, TENSOR))
    assert first.accounts == again.accounts
    assert (again.made, again.found, again.silent) == (0, 3, [folder / "train" / "none.npz"])
    caplog.clear()
    clips = RecordedClips(config(folder if seen == "dataset" else target), "train", clip_length=4)
    name = "train/b.npz" if seen == "dataset" else "train/b.h5"
    assert warnings(caplog) == [f"{name}: left out 50 {LOST} (10.0%)"]
    assert left_out(clips)[name]["left_out"] == {LOST: 50}


def test_parts_of_a_recording_say_what_the_whole_has_lost(folder, tmp_path, caplog):
    precompute([folder], PrecomputeConfig(tmp_path / "out", TENSOR, max_duration_us=400_000))
    clips = RecordedClips(config(tmp_path / "out"), "train", clip_length=4)
    assert len(clips.names) == 6
    assert [name for name in warnings(caplog) if "train/b_" in name]


def test_a_damaged_account_is_found_out_again(folder, tmp_path):
    precompute([folder], PrecomputeConfig(tmp_path / "out", TENSOR))
    beside = tmp_path / "out" / "train" / "b_read.json"
    facts = json.loads(beside.read_text())
    for damage in ("", "{", "[]", json.dumps(facts | {"left_out": 1}), json.dumps(facts | {"span_us": 1})):
        beside.write_text(damage)
        assert precompute([folder], PrecomputeConfig(tmp_path / "out", TENSOR)).accounts["train/b"].dropped == {
            LOST: 50
        }
        assert json.loads(beside.read_text()) == facts


@pytest.mark.parametrize("cache_gb", [None, 1.0])
def test_a_recording_that_loses_most_is_refused_with_the_reason(folder, cache_gb):
    write(folder / "train" / "d.npz", outside=251)
    with pytest.raises(InputError, match=rf"d\.npz must have events of which most .* 249 were kept.* 251 {LOST} \(50"):
        prepare(config(folder, cache_gb=cache_gb))


def test_a_split_in_which_nothing_is_left_is_refused(folder):
    write(folder / "test" / "e.npz", count=0)
    for cache_gb in (None, 1.0):
        prepare(config(folder, cache_gb=cache_gb))
        with pytest.raises(InputError, match="test must hold recordings with events, and none of its 1 has any"):
            RecordedClips(config(folder, cache_gb=cache_gb), "test", clip_length=4)


@pytest.mark.parametrize("cache_gb", [None, 1.0])
@pytest.mark.parametrize(
    ("name", "content"),
    [("a0.raw", b""), ("a0.csv", b"t,x,y,p\n"), ("a0.raw", b"% evt 3.0\n% geometry 64x48\n% end\n\0")],
)
def test_recordings_that_were_stopped_at_once_are_left_out_with_a_word(folder, caplog, name, content, cache_gb):
    (folder / "train" / "none.npz").unlink()
    (folder / "train" / name).write_bytes(content)
    write_labels(folder / "train" / "a0_bbox.npy", np.zeros(0, EVENT_BBOX))
    chosen = config(folder, cache_gb=cache_gb, size_hw=SIZE_HW)
    prepare(chosen)
    assert warnings(caplog) == [f"{folder / 'train' / name} has no events: it is left out."]
    assert RecordedClips(chosen, "train", clip_length=4).names == ["a", "b"]
    found = {each.kind: each for each in audit(folder).findings}
    assert [each.name for each in found["silent"].cases] == [f"train/{name}"]
    assert "unreadable" not in found


def test_an_audit_tells_of_losses_and_of_recordings_without_events(folder):
    write(folder / "train" / "d.npz", outside=251)
    write(folder / "train" / "f.npz", p=np.arange(500) % 2 + 1)
    (folder / "train" / "none_bbox.npy").unlink()
    found = {each.kind: each for each in audit(folder).findings}
    assert [each.name for each in found["damage"].cases] == ["train/b.npz", "train/a.npz"]
    assert (found["mostly_lost"].severity, found["mostly_lost"].count) == ("error", 251)
    assert found["taken"].cases[0].text == "polarities 1 and 2 are taken for darker and brighter"
    assert [each.name for each in found["silent"].cases] == ["train/none.npz"]


def test_an_estimate_makes_no_pass_and_writes_nothing(folder, tmp_path):
    (folder / "train" / "none.npz").unlink()
    assert estimate([folder], PrecomputeConfig(tmp_path / "out", TENSOR)).recordings == 3
    assert not (tmp_path / "out").exists()


def test_the_unit_of_a_dataset_is_kept_and_names_its_tensors(folder):
    (folder / "train" / "none.npz").unlink()
    for name in ("train/a.npz", "train/b.npz", "val/c.npz"):
        with np.load(folder / name) as arrays:
            columns = dict(arrays)
        del columns["size_hw"]
        write(folder / name, **columns | {"t": columns["t"] * 1000})
    stated = config(folder, time_unit="ns")
    assert tensor_folder(stated) != tensor_folder(config(folder))
    for each in (stated, config(folder, time_unit="ns", cache_gb=1.0)):
        prepare(each)
        assert [recording.windows for recording in RecordedClips(each, "train", clip_length=4).recordings] == [20, 19]


def test_what_is_converted_is_written_only_if_most_of_it_can_be_read(tmp_path):
    write(tmp_path / "a.npz", outside=251)
    with open_recording(tmp_path / "a.npz") as recording, pytest.raises(InputError, match="of which most can be read"):
        convert(recording, tmp_path / "b.dat")
    assert not (tmp_path / "b.dat").exists()
    write(tmp_path / "a.npz", outside=249)
    with open_recording(tmp_path / "a.npz") as recording:
        done = convert(recording, tmp_path / "b.dat")
    assert (done.events, done.account.events, done.account.dropped) == (251, 251, {LOST: 249})


@pytest.mark.parametrize("command", ["inspect", "convert", "precompute"])
def test_a_command_says_at_its_end_what_it_left_out(tmp_path, caplog, command):
    write(tmp_path / "a.npz", outside=50)
    options = {"inspect": [], "convert": [str(tmp_path / "b.dat")], "precompute": ["-o", str(tmp_path / "out")]}[
        command
    ]
    main([command, str(tmp_path / "a.npz"), *options])
    assert f"left out 50 {LOST} (10.0%)" in caplog.text
    write(tmp_path / "c.npz", outside=300)
    options = [each.replace("b.dat", "d.dat") for each in options]
    with pytest.raises(SystemExit, match=rf"left out were 300 {LOST} \(60\.0%\)"):
        main([command, str(tmp_path / "c.npz"), *options])


def test_a_run_and_its_scores_say_what_was_left_out(folder, tmp_path, caplog):
    write(folder / "val" / "c.npz", outside=30)
    run, settings = (
        tmp_path / "run",
        {
            "data.dataset.folder": str(folder),
            "data.dataset.tensor.representation": "histogram",
            "data.lanes": "1",
            "data.clip_length": "4",
            "data.workers": "0",
            "model.in_channels": "2",
            "model.base": "2",
            "model.channels": "16",
            "model.classes": "[car]",
            "train.max_steps": "1",
            "train.device": "cpu",
        },
    )
    main(["train", "--out", str(run), *(word for name, value in settings.items() for word in (f"--{name}", value))])
    assert f"train/b.npz: left out 50 {LOST} (10.0%)" in warnings(caplog)
    facts = json.loads((run / "training.json").read_text())
    assert {name: each["left_out"] for name, each in facts["left_out"].items()} == {
        "train/a.npz": {LOST: 2},
        "train/b.npz": {LOST: 50},
    }
    main(["evaluate", str(run), "--split", "val"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["left_out"] == {"val/c.npz": {"events": 470, "left_out": {LOST: 30}, "notes": []}}
    assert f"Left out of 1 recordings: 30 {LOST} (6.0%)" in (run / "report.html").read_text()
