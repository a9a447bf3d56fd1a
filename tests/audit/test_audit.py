"""A clean dataset has no errors, and every damage is found as what it is."""

import json
import shutil

import h5py
import numpy as np
import pytest

from seqdet.audit import Limits, audit
from seqdet.checks import InputError
from seqdet.config import DigitsConfig, EventDigitsConfig, TensorConfig
from seqdet.data.checking import label_reach, rate_misfit
from seqdet.data.labels import CLASSES_FILE, EVENT_BBOX, read_labels, write_labelled_us, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.digits.recordings import write_event_digits
from seqdet.events.array import Events, columns
from seqdet.events.evt import write_evt3
from seqdet.events.files import open_recording
from seqdet.events.sensor import Sensor

SMALL = EventDigitsConfig(
    digits=DigitsConfig(
        height=48, width=64, digit_heights=(10, 24), frames_per_video=30, held_out_frames_per_video=30,
        frames_per_epoch=60, validation_frames=30, test_frames=30,
    ),
    moving_s=(0.2, 0.5),
    still_s=(0.1, 0.4),
)  # fmt: skip
QUIET = Sensor(leak_rate_hz=0, shot_noise_hz=0)
USUAL = {"quiet", "same_name", "tensors_only"}
"""What digits that stand still, and number their recordings in every split, have anyway, and tensors."""


@pytest.fixture(scope="session")
def clean_folder(tmp_path_factory):
    """Digits of one class, so that every split has it."""
    folder = tmp_path_factory.mktemp("audit") / "digits"
    write_event_digits(folder, SMALL, sensor=QUIET)
    for path in folder.rglob("*_bbox.npy"):
        boxes = read_labels(path)
        boxes["class_id"] = 3
        write_labels(path, boxes)
    return folder


@pytest.fixture(scope="session")
def tensor_folder(clean_folder):
    """The same as tensor files."""
    folder = clean_folder.with_name("tensors")
    assert not precompute([clean_folder], PrecomputeConfig(folder, TensorConfig())).failed
    return folder


@pytest.fixture
def folder(clean_folder, tmp_path):
    return shutil.copytree(clean_folder, tmp_path / "digits")


def change_labels(folder, change):
    """Change the boxes of the first recording of training; all its windows stay labelled."""
    path = folder / "train" / "digits_00000_bbox.npy"
    boxes = read_labels(path)
    boxes = change(boxes) if callable(change) else boxes
    write_labels(path, boxes)
    frames = np.arange(1, 31) * 50_000
    write_labelled_us(path, np.union1d(frames if change is not later else frames + 5_000_000, boxes["t"]))


def found(folder, **arguments):
    return audit(folder, **arguments).kinds() - USUAL


def rewrite_events(folder, change, name="digits_00000"):
    path = folder / "train" / f"{name}.raw"
    with open_recording(path) as recording:
        events, size_hw = Events.concatenate(list(recording.chunks())), recording.size_hw
    write_evt3(path, [change(events)], size_hw=size_hw)


def changed(**values):
    def change(boxes):
        for name, value in values.items():
            boxes[name][len(boxes) // 2] = value
        return boxes

    return change


def doubled(boxes):
    both = np.concatenate([boxes, boxes[5:6]])
    both["track_id"][-1] = 99
    return both[np.argsort(both["t"], kind="stable")]


def corners(boxes):
    """Written as x1, y1, x2, y2; some of them reach beyond the rim then."""
    boxes["w"] += boxes["x"]
    boxes["h"] += boxes["y"]
    return boxes


def later(boxes):
    boxes["t"] += 5_000_000
    return boxes


def parked(boxes):
    """A box of its own that stays in a corner."""
    rows = np.zeros(30, EVENT_BBOX)
    rows["t"], rows["x"], rows["y"], rows["w"], rows["h"] = np.arange(1, 31) * 50_000, 0, 0, 1, 1
    rows["class_id"], rows["track_id"], rows["class_confidence"] = 3, 99, 1
    both = np.concatenate([boxes, rows])
    return both[np.argsort(both["t"], kind="stable")]


def off_grid(boxes):
    boxes["t"] -= 10_000 * (boxes["t"] == boxes["t"][-1])
    return boxes


def with_gap(folder, last_us=850_000):
    path = folder / "train" / "digits_00000_bbox.npy"
    boxes = read_labels(path)
    write_labels(path, boxes[boxes["t"] <= last_us])
    write_labelled_us(path, np.arange(1, 18) * 50_000)


def hot_pixel(events):
    t = np.arange(0, int(events.t[-1]), 50)
    hot = columns(t=t, x=np.full(len(t), 63), y=np.zeros(len(t)), p=np.ones(len(t)))
    both = Events.concatenate([events, hot])
    return both[np.argsort(both.t, kind="stable")]


def write_unsorted(folder):
    path = folder / "train" / "digits_00000_bbox.npy"
    np.save(path, read_labels(path)[::-1])


def copy_recording(folder, source, target):
    for ending in (".raw", "_bbox.npy", "_labelled.npy"):
        shutil.copy(f"{folder}/{source}{ending}", f"{folder}/{target}{ending}")


def cut(folder):
    path = folder / "train" / "digits_00000.raw"
    content = bytearray(path.read_bytes())
    begin = content.index(b"% end\n") + len(b"% end\n")
    middle = begin + (len(content) - begin) // 4 * 2  # words have two bytes
    content[middle : middle + 400] = b"\xff\x27" * 200
    path.write_bytes(content)


def at_rate(folder, factor):
    """Labels as if their rate had been taken for that multiple of the right one."""
    for path in folder.rglob("*_bbox.npy"):
        boxes = read_labels(path)
        boxes["t"] = np.rint(boxes["t"] / factor)
        write_labels(path, boxes)
        write_labelled_us(path, np.union1d(np.rint(np.arange(1, 31) * 50_000 / factor).astype(int), boxes["t"]))


LIMITS = Limits(frozen_s=1.0, gap_s=0.6)
DAMAGES = {
    "no_size": lambda folder: change_labels(folder, changed(w=0)),
    "outside_sensor": lambda folder: change_labels(folder, changed(x=100)),
    "corners": lambda folder: change_labels(folder, corners),
    "partly_outside": lambda folder: change_labels(folder, changed(w=64)),
    "duplicate": lambda folder: change_labels(folder, doubled),
    "unknown_class": lambda folder: change_labels(folder, changed(class_id=4_000_000_000)),
    "outside_time": lambda folder: change_labels(folder, later),
    "off_grid": lambda folder: change_labels(folder, off_grid),
    "gap": with_gap,
    "unsorted": write_unsorted,
    "hot": lambda folder: rewrite_events(folder, hot_pixel),
    "silent": lambda folder: rewrite_events(folder, lambda events: events[:0]),
    "no_labels": lambda folder: (folder / "train" / "digits_00001_bbox.npy").unlink(),
    "no_recording": lambda folder: (folder / "train" / "digits_00001.raw").unlink(),
    "empty_split": lambda folder: [path.unlink() for path in (folder / "val").iterdir()],
    "missing_split": lambda folder: shutil.rmtree(folder / "val"),
    "no_classes": lambda folder: (folder / CLASSES_FILE).unlink(),
    "same_content": lambda folder: copy_recording(folder, "train/digits_00000", "test/other"),
    "repeated": lambda folder: copy_recording(folder, "train/digits_00000", "train/other"),
    "unreadable": lambda folder: (folder / "train" / "digits_00000_bbox.npy").write_bytes(b"\x93NUMPY"),
}


def test_a_clean_dataset_has_nothing_but_notes(clean_folder):
    result = audit(clean_folder, LIMITS)
    assert result.kinds() <= USUAL
    assert result.kinds("error") == result.kinds("warning") == set()
    assert result.splits["train"].labelled == 60
    assert result.splits["train"].recordings == 2
    assert result.lines()[0].startswith("train: 2 recordings, 3 s, 60 labelled frames")


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_found_as_what_it_is(folder, kind):
    DAMAGES[kind](folder)
    result = audit(folder, LIMITS)
    assert result.kinds() - USUAL == {kind}
    finding = next(each for each in result.findings if each.kind == kind)
    assert finding.count >= 1
    assert finding.cases
    assert any(line.startswith(f"{finding.severity}: ") for line in result.lines())


def test_boxes_of_any_size_overflow_nothing(folder):
    def far(boxes):
        boxes["w"][:2] = np.finfo(np.float32).max
        return boxes

    change_labels(folder, far)
    assert "partly_outside" in found(folder)


def test_a_box_that_stays_without_events_is_frozen_and_was_never_seen(folder):
    change_labels(folder, parked)
    result = audit(folder, LIMITS)
    assert result.kinds() - USUAL == {"frozen", "no_events"}
    frozen = next(each for each in result.findings if each.kind == "frozen")
    assert (frozen.count, frozen.recordings) == (1, 1)
    assert str(frozen.cases[0]) == "train/digits_00000.raw at 1.500 s: for 1.4 s"


def test_boxes_without_events_are_an_error_where_they_are_many(folder):
    rewrite_events(folder, lambda events: Events(events.t, 0 * events.x, 0 * events.y, events.p))
    severities = {each.kind: each.severity for each in audit(folder).findings}
    assert severities["no_events"] == "error"


def test_noise_in_a_box_is_no_sign_of_an_object(folder):
    def noisy(events):
        random = np.random.default_rng(0)
        t = np.sort(random.integers(0, 1_500_000, 20_000))
        noise = columns(t=t, x=random.integers(0, 64, len(t)), y=random.integers(0, 48, len(t)), p=t % 2)
        both = Events.concatenate([events, noise])
        return both[np.argsort(both.t, kind="stable")]

    def large(boxes):
        boxes = parked(boxes)
        is_parked = boxes["track_id"] == 99
        boxes["w"][is_parked], boxes["h"][is_parked] = 6, 40
        return boxes

    rewrite_events(folder, noisy)
    assert found(folder) == set()
    change_labels(folder, large)
    assert "frozen" in found(folder, limits=LIMITS)


def test_few_events_may_count_as_none(clean_folder):
    assert "no_events" in audit(clean_folder, Limits(few_events=10_000)).kinds("error")


def test_a_class_that_one_split_lacks_is_found(folder):
    path = folder / "val" / "digits_00000_bbox.npy"
    boxes = read_labels(path)
    boxes["class_id"] = 2
    write_labels(path, boxes)
    assert found(folder) == {"untrained_class", "unscored_class"}


def test_classes_that_case_or_blanks_alone_tell_apart_are_found(folder):
    path = folder / CLASSES_FILE
    names = json.loads(path.read_text())
    path.write_text(json.dumps(names | {"1": "zero", "0": " Zero", "2": "ZERO"}))
    (finding,) = (each for each in audit(folder).findings if each.kind == "alike_classes")
    assert (finding.severity, str(finding.cases[0])) == ("warning", "' Zero', 'zero', 'ZERO'")


def test_damaged_events_are_counted(folder):
    cut(folder)
    assert "damage" in found(folder)


def test_tensor_files_have_the_same_findings(tensor_folder, tmp_path):
    assert found(tensor_folder) == set()
    folder = shutil.copytree(tensor_folder, tmp_path / "tensors")
    change_labels(folder, doubled)
    assert found(folder) == {"duplicate"}
    change_labels(folder, parked)
    assert found(folder, limits=LIMITS) == {"duplicate", "frozen", "no_events"}
    shutil.copy(folder / "train" / "digits_00001.h5", folder / "test" / "other.h5")
    shutil.copy(folder / "train" / "digits_00001_bbox.npy", folder / "test" / "other_bbox.npy")
    assert "same_content" in found(folder)


def test_folders_of_rvt_are_read(clean_folder, tmp_path):
    folder = tmp_path / "rvt"
    assert not precompute([clean_folder], PrecomputeConfig(folder, TensorConfig(), layout="rvt")).failed
    result = audit(folder)
    assert result.splits["train"].recordings == 2
    assert result.kinds("error") == set()
    assert result.splits["train"].boxes[3] == audit(clean_folder).splits["train"].boxes[3]


def test_a_folder_without_splits_is_one_split(clean_folder, tmp_path):
    folder = shutil.copytree(clean_folder / "train", tmp_path / "own")
    (folder / CLASSES_FILE).write_text(json.dumps({str(n): str(n) for n in range(10)}))
    result = audit(folder)
    assert result.kinds() <= USUAL
    assert list(result.splits) == [""]


def test_the_worst_cases_are_few_and_of_several_recordings(folder):
    for path in folder.glob("train/*_bbox.npy"):
        boxes = read_labels(path)
        boxes["x"] += 70
        write_labels(path, boxes)
    finding = audit(folder, worst=3).findings[0]
    assert finding.kind == "outside_sensor"
    assert (len(finding.cases), finding.recordings) == (3, 2)
    assert finding.count > 40


@pytest.mark.parametrize("content", [b"", b"\0" * 999, b"\x89HDF\r\n\x1a\n" + b"\xff" * 99, b"garbage" * 99])
@pytest.mark.parametrize("ending", ["raw", "h5", "dat", "npz"])
def test_damaged_files_are_found_and_the_rest_is_looked_at(folder, content, ending):
    (folder / "train" / f"broken.{ending}").write_bytes(content)
    result = audit(folder)
    assert result.kinds() - USUAL <= {"unreadable" if content else "silent", "no_labels"}
    assert result.kinds() - USUAL
    assert result.splits["test"].labelled == 30


def test_what_is_no_dataset_is_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="must"):
            audit(path)
    with pytest.raises(InputError, match="window_us"):
        Limits(window_us=0)


def test_damaged_frames_of_tensors_are_counted_and_named(tensor_folder, tmp_path):
    folder = shutil.copytree(tensor_folder, tmp_path / "tensors")
    path = folder / "train" / "digits_00000.h5"
    with h5py.File(path) as file:
        place = file["data"].id.get_chunk_info(7).byte_offset
    content = bytearray(path.read_bytes())
    content[place + 30] ^= 4
    path.write_bytes(content)
    whole = audit(tensor_folder)
    result = audit(folder)
    (damage,) = (each for each in result.findings if each.kind == "damaged_frames")
    assert (damage.severity, damage.count, damage.cases[0].text) == ("error", 1, "1 of 30 (7)")
    for name, split in whole.splits.items():  # what labels say is heard, whatever became of their recording
        assert result.splits[name].boxes == split.boxes
        assert result.splits[name].labelled == split.labelled


def test_tensors_without_checksums_are_a_note(tensor_folder, tmp_path):
    folder = shutil.copytree(tensor_folder, tmp_path / "tensors")
    path = folder / "train" / "digits_00000.h5"
    with h5py.File(path) as file:
        frames, attributes = file["data"][:], dict(file["data"].attrs)
    with h5py.File(path, "w") as file:
        file["data"] = frames
        file["data"].attrs.update(attributes)
    assert found(folder) == {"no_checksums"}


@pytest.mark.parametrize(("factor", "words"), [(2, "40 labels a second reach 0.50"), (0.5, "10 labels a second reach")])
def test_a_wrong_rate_of_labels_is_an_error_with_the_rate_that_fits(folder, factor, words):
    at_rate(folder, factor)
    (finding,) = (each for each in audit(folder).findings if each.kind == "label_rate")
    assert (finding.severity, finding.count, finding.recordings) == ("error", 4, 4)
    assert words in str(finding.cases[0])
    assert str(finding.cases[0]).endswith("20 would fit")


def test_one_recording_of_several_whose_first_half_is_labelled_is_a_warning(folder):
    with_gap(folder, 750_000)
    path = folder / "train" / "digits_00000_bbox.npy"
    write_labelled_us(path, np.arange(1, 16) * 50_000)
    assert "label_rate" in audit(folder).kinds("warning")


@pytest.mark.parametrize(
    ("labelled", "span", "fitting"),
    [
        (np.arange(30) * 16_667, (0, 1_000_000), 30),
        (np.arange(30) * 66_667, (0, 1_000_000), 30),
        (np.arange(30) * 11_111, (0, 1_000_000), 30),
        (np.arange(300) * 16_667 + 7_000_000, (7_000_000, 17_000_000), 30),
        (np.arange(30) * 33_333, (0, 1_000_000), None),
        (np.arange(30) * 20_000, (0, 1_000_000), None),
        (np.arange(30) * 40_000, (0, 1_000_000), 30),
        (np.arange(1, 25) * 100_000 - 5_000, (0, 1_000_000), 24),
        (np.arange(100) * 20_000, (0, 1_100_000), 90),
        (np.arange(30) * 33_333, (0, 930_000), None),
        (np.arange(30) * 33_333, (0, 860_000), None),
        (np.arange(30) * 16_667 + 500_000, (0, 1_000_000), None),
        (np.arange(4) * 150_000, (0, 1_000_000), None),
        (np.cumsum(np.arange(1, 31)) * 1_075, (0, 1_000_000), None),
    ],
)
def test_a_rate_is_wrong_where_even_labels_end_at_a_simple_part_or_multiple_of_the_time_or_beyond_at_a_usual_rate(
    labelled, span, fitting
):
    misfit = rate_misfit(labelled, span)
    assert (misfit and round(misfit.fitting)) == fitting


@pytest.mark.parametrize(
    ("labelled", "fitting", "is_usual"),
    [
        (np.arange(30) * 40_000, 30, True),
        (np.arange(25) * 33_333, 25, True),
        (np.arange(1, 38) * 50_000, 37, False),
        (np.arange(1, 15) * 50_000, 15, True),
    ],
)
def test_a_rate_that_would_fit_is_a_usual_one_or_what_the_reach_says(labelled, fitting, is_usual):
    found = label_reach(labelled, (0, 1_000_000))
    assert (pytest.approx(found.fitting), found.is_usual) == (fitting, is_usual)


def shifted(folder, by_us):
    """All labels of training, later by so much."""
    for path in (folder / "train").glob("*_bbox.npy"):
        boxes = read_labels(path)
        boxes["t"] += by_us
        write_labels(path, boxes)
        write_labelled_us(path, np.arange(1, 31) * 50_000 + by_us)


@pytest.mark.parametrize(("by_us", "severity"), [(700_000, "warning"), (-700_000, "warning"), (850_000, "error")])
def test_labels_outside_a_recording_are_an_error_where_they_are_more_than_half(folder, by_us, severity):
    shifted(folder, by_us)
    (finding,) = (each for each in audit(folder).findings if each.kind == "outside_time")
    assert finding.severity == severity


def test_labels_that_end_beyond_name_the_rate_that_would_fit(folder):
    at_rate(folder, 0.8)
    cases = {each.kind: each for each in audit(folder).findings}
    assert (cases["label_rate"].severity, "20 would fit" in str(cases["label_rate"].cases[0])) == ("error", True)
    assert "of its time; 20 would fit" in str(cases["outside_time"].cases[0])


def test_labels_that_end_early_name_the_rate_that_would_fit(folder):
    at_rate(folder, 1.6)
    cases = {each.kind: each for each in audit(folder, Limits(gap_s=0.3)).findings}
    assert "label_rate" not in cases
    assert str(cases["gap"].cases[0]).endswith("s without labels; 20 labels a second would reach its end")
