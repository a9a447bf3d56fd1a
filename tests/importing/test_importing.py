"""The same boxes from every format, and one sentence for what cannot be understood."""

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seqdet.audit import audit
from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.config import DatasetConfig, TensorConfig
from seqdet.data.classes import read_classes
from seqdet.data.clips import RecordedClips
from seqdet.data.labels import read_labelled_us, read_labels, write_labels
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.events.array import Events, columns
from seqdet.events.dataset_facts import read_facts
from seqdet.events.files import open_recording
from seqdet.events.tables import write_npz
from seqdet.importing import READERS, ImportOptions, dataset, import_labels
from seqdet.loading import prepare

SIZE_HW = (60, 80)
BOXES = [(200_000, 10, 20, 30, 16, 0, 3), (300_000, 12, 20, 30, 16, 0, 3), (300_000, 40, 5, 8, 8, 1, 4)]
"""Time, x, y, w, h, class, track; frames of 100 ms, of which those at 0.2, 0.3 and 0.4 s are labelled."""
LABELLED = [200_000, 300_000, 400_000]
CLASSES = ("car", "person")
AT_10_HZ = ImportOptions(label_rate=10)


def record(path: Path, *, events: Events | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(0, 500_000, 500)
    write_npz(path, [columns(t=t, x=t % 80, y=t % 60, p=t % 2) if events is None else events], size_hw=SIZE_HW)


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_coco(folder, name="drive"):
    images = [{"id": n, "file_name": f"{name}/{n:06}.png", "width": 80, "height": 60} for n in (2, 3, 4)]
    annotations = [
        {"id": n, "image_id": t // 100_000, "category_id": 7 + label, "bbox": [x, y, w, h], "track_id": track}
        for n, (t, x, y, w, h, label, track) in enumerate(BOXES)
    ]
    categories = [{"id": 8, "name": "person"}, {"id": 7, "name": "car"}]
    write_json(folder / "boxes.json", {"images": images, "annotations": annotations, "categories": categories})


def write_mot(folder, name="drive"):
    (folder / name / "gt").mkdir(parents=True)
    lines = [f"{t // 100_000 + 1},{n},{x},{y},{w},{h},1,{label + 1},1" for t, x, y, w, h, label, n in BOXES]
    (folder / name / "gt" / "gt.txt").write_text("\n".join(lines))
    (folder / name / "gt" / "labels.txt").write_text("car\nperson\n")
    (folder / name / "seqinfo.ini").write_text("[Sequence]\nframeRate=10\nseqLength=5\n")


def write_yolo(folder, name="drive"):
    (folder / name).mkdir(parents=True)
    for at in LABELLED:
        lines = [
            f"{label} {(x + w / 2) / 80} {(y + h / 2) / 60} {w / 80} {h / 60}"
            for t, x, y, w, h, label, _ in BOXES
            if t == at
        ]
        (folder / name / f"{at // 100_000:06}.txt").write_text("\n".join(lines))
    (folder / "data.yaml").write_text("names: {0: car, 1: person}\n")


def write_voc(folder, name="drive"):
    folder.mkdir(parents=True)
    for at in LABELLED:
        objects = "".join(
            f"<object><name>{CLASSES[label]}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>"
            f"<ymax>{y + h}</ymax></bndbox></object>"
            for t, x, y, w, h, label, _ in BOXES
            if t == at
        )
        size = "<size><width>80</width><height>60</height></size>"
        (folder / f"{name}_{at // 100_000}.xml").write_text(f"<annotation>{size}{objects}</annotation>")


def write_csv(folder, name="drive"):
    folder.mkdir(parents=True)
    lines = [f"{t} {label} {track} {x} {y} {w} {h} 1" for t, x, y, w, h, label, track in BOXES]
    (folder / f"{name}_bbox.csv").write_text("\n".join(lines) + "\n400000 0 0    \n")
    (folder / "classes.txt").write_text("car\nperson\n")


def write_headed_csv(folder, name="drive"):
    folder.mkdir(parents=True)
    lines = [f"{t // 100_000};{x};{x + w};{y};{y + h};{CLASSES[n]};{i}" for t, x, y, w, h, n, i in BOXES]
    (folder / f"{name}.csv").write_text("Frame;xmin;xmax;ymin;ymax;label;id\n" + "\n".join(lines) + "\n4;;;;;;\n")


def write_psee(folder, name="drive"):
    folder.mkdir(parents=True)
    actions = ("BB_CREAT", "BB_MOVE", "BB_CREAT")
    rows = [
        f"{t} {track} {action} {label} {x} {y} {w} {h} 1"
        for (t, x, y, w, h, label, track), action in zip(BOXES, actions, strict=True)
    ]
    (folder / f"{name}.txt").write_text("\n".join([*rows, "350000 3 BB_DELETE 0 12 20 30 16 1"]))
    (folder / "classes.txt").write_text("car\nperson\n")


WRITERS = {
    "coco": ("coco", write_coco),
    "mot": ("mot", write_mot),
    "yolo": ("yolo", write_yolo),
    "voc": ("voc", write_voc),
    "csv": ("csv", write_csv),
    "csv with a header": ("csv", write_headed_csv),
    "psee-txt": ("psee-txt", write_psee),
}


def result(folder, name="drive", split="train"):
    path = folder / split / f"{name}_bbox.npy"
    boxes = read_labels(path)
    return boxes, read_labelled_us(path, boxes).tolist()


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("others", [(), ("night",)])
def test_every_format_gives_the_same_boxes_classes_and_labelled_times(tmp_path, name, others):
    source, write = WRITERS[name]
    write(tmp_path / "labels")
    record(tmp_path / "in" / "drive.npz")
    options = AT_10_HZ
    for other in others:
        record(tmp_path / "in" / f"{other}.npz")
        options = ImportOptions(label_rate=10, leave_out=True)
    done = import_labels(source, tmp_path / "labels", tmp_path / "in", tmp_path / "out", options)
    boxes, labelled = result(tmp_path / "out")
    assert read_classes(tmp_path / "out") == CLASSES
    geometry = np.stack([boxes[field] for field in ("t", "x", "y", "w", "h", "class_id")], axis=1)
    np.testing.assert_allclose(geometry, [box[:6] for box in BOXES], atol=1e-4)
    if name not in ("yolo", "voc"):
        assert boxes["track_id"].tolist() == [box[6] for box in BOXES]
    assert (boxes["class_confidence"] == 1).all()
    assert set(LABELLED[:2]) <= set(labelled)
    assert labelled == {"mot": [0, 100_000, *LABELLED], "psee-txt": LABELLED[:2]}.get(source, LABELLED)
    assert done.boxes == {"car": 2, "person": 1}
    assert done.empty == len(labelled) - 2
    assert done.dropped == ({"recordings without labels": len(others)} if others else {})
    assert f"{done.labelled} labelled frames" in "\n".join(done.lines())


def test_recordings_are_linked_and_read_as_before(tmp_path):
    write_voc(tmp_path / "labels")
    record(tmp_path / "drive.npz")
    import_labels("voc", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", AT_10_HZ)
    assert (tmp_path / "out" / "train" / "drive.npz").samefile(tmp_path / "drive.npz")
    with open_recording(tmp_path / "out" / "train" / "drive.npz") as recording:
        assert recording.size_hw == SIZE_HW


def test_a_recording_that_cannot_be_linked_is_copied(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError

    monkeypatch.setattr("os.link", fail)
    write_voc(tmp_path / "labels")
    record(tmp_path / "drive.npz")
    import_labels("voc", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", AT_10_HZ)
    assert (tmp_path / "out" / "train" / "drive.npz").read_bytes() == (tmp_path / "drive.npz").read_bytes()


def test_samples_as_of_pedro_import_from_voc_and_from_yolo_to_the_same_boxes(samples, tmp_path):
    every = {}
    for source in ("voc", "yolo"):
        options = ImportOptions(classes=("person",), size_hw=(260, 346))
        done = import_labels(source, samples, samples, tmp_path / source, options)
        assert (done.recordings["train"], done.boxes, done.labelled) == (3, {"person": 6}, 3)
        every[source] = [result(tmp_path / source, path.stem) for path in sorted(samples.glob("*.npy"))]
    for (voc, voc_us), (yolo, yolo_us) in zip(every["voc"], every["yolo"], strict=True):
        for field in voc.dtype.names:
            np.testing.assert_allclose(voc[field], yolo[field], atol=0.01)
        assert voc_us == yolo_us
    with open_recording(tmp_path / "voc" / "train" / "frame0000009.npy") as recording:
        assert every["voc"][0][1] == [recording.span_us()[1]]
    assert every["voc"][0][0].tolist()[0][1:5] == (28, 85, 124, 175)


def test_numbers_in_names_are_microseconds_unless_frames_have_a_length(tmp_path):
    record(tmp_path / "drive.npz")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "drive_300000.txt").write_text("0 .5 .5 .1 .1\n")
    options = ImportOptions(classes=("car",), start_us=-50)
    import_labels("yolo", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", options)
    assert result(tmp_path / "out")[1] == [299_950]


def test_frames_of_another_size_are_scaled_to_the_sensor_if_they_show_it(tmp_path):
    record(tmp_path / "drive.npz")
    write_voc(tmp_path / "labels")
    for path in (tmp_path / "labels").iterdir():
        path.write_text(path.read_text().replace(">80<", ">160<", 1).replace(">60<", ">120<", 1))
    import_labels("voc", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", AT_10_HZ)
    assert result(tmp_path / "out")[0].tolist()[0][1:5] == (5, 10, 15, 8)
    for path in (tmp_path / "labels").iterdir():
        path.write_text(path.read_text().replace(">120<", ">90<", 1))
    with pytest.raises(InputError, match="does not show whole"):
        import_labels("voc", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "other", AT_10_HZ)


def test_boxes_without_a_size_and_outside_the_sensor_are_left_out_and_counted(tmp_path):
    record(tmp_path / "drive.npz")
    rows = ["0 0 0 1 1 0 5 1", "20000 0 0 90 1 5 5 1", "30000 0 0 70 1 20 5 1", "40000 0 0 -9 1 5 5 1"]
    (tmp_path / "drive.csv").write_text("\n".join(rows))
    options = ImportOptions(classes=("car",))
    done = import_labels("csv", tmp_path / "drive.csv", tmp_path / "drive.npz", tmp_path / "out", options)
    assert done.dropped == {"boxes of no size": 1, "boxes outside the sensor": 2}
    assert result(tmp_path / "out")[0]["t"].tolist() == [30_000]
    assert result(tmp_path / "out")[1] == [0, 20_000, 30_000, 40_000]


def test_difficult_objects_and_crowds_are_ignored(tmp_path):
    record(tmp_path / "drive.npz")
    write_voc(tmp_path / "labels")
    path = tmp_path / "labels" / "drive_2.xml"
    path.write_text(path.read_text().replace("</name>", "</name><difficult>1</difficult>"))
    import_labels("voc", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", AT_10_HZ)
    assert result(tmp_path / "out")[0]["class_confidence"].tolist() == [0, 1, 1]


def test_what_does_not_pair_is_said_both_ways(tmp_path):
    for name in ("drive", "night"):
        record(tmp_path / "in" / f"{name}.npz")
    write_voc(tmp_path / "labels")
    (tmp_path / "labels" / "other_3.xml").write_text("<annotation/>")
    with pytest.raises(
        InputError, match=r"1 recordings have no labels \(night\) and 1 labels have no recording .*other"
    ):
        import_labels("voc", tmp_path / "labels", tmp_path / "in", tmp_path / "out", AT_10_HZ)
    assert not (tmp_path / "out").exists()
    options = ImportOptions(label_rate=10, leave_out=True)
    done = import_labels("voc", tmp_path / "labels", tmp_path / "in", tmp_path / "out", options)
    assert done.dropped == {"recordings without labels": 1, "labels without a recording": 1}
    shutil.rmtree(tmp_path / "labels")
    write_voc(tmp_path / "labels", "other")
    with pytest.raises(InputError, match="2 recordings have no labels"):
        import_labels("voc", tmp_path / "labels", tmp_path / "in", tmp_path / "new", options)


def test_a_dataset_grows_and_keeps_its_classes_but_never_overwrites(tmp_path):
    write_csv(tmp_path / "a")
    record(tmp_path / "drive.npz")
    import_labels("csv", tmp_path / "a", tmp_path / "drive.npz", tmp_path / "out", AT_10_HZ)
    path = tmp_path / "out" / "train" / "drive_bbox.npy"
    corrected = result(tmp_path / "out")[0]
    corrected["x"] += 1
    write_labels(path, corrected)
    with pytest.raises(InputError, match=r"drive_bbox\.npy must not be there yet"):
        import_labels("csv", tmp_path / "a", tmp_path / "drive.npz", tmp_path / "out", AT_10_HZ)
    assert (result(tmp_path / "out")[0] == corrected).all()
    record(tmp_path / "other" / "drive.npz", events=columns(t=[1], x=[2], y=[3], p=[1]))
    with pytest.raises(InputError, match=r"drive\.npz must not be there yet"):
        import_labels("csv", tmp_path / "a", tmp_path / "other" / "drive.npz", tmp_path / "out", AT_10_HZ)
    (tmp_path / "a" / "classes.txt").write_text("person\nbus\n")
    import_labels("csv", tmp_path / "a", tmp_path / "drive.npz", tmp_path / "out", ImportOptions(split="val"))
    assert read_classes(tmp_path / "out") == ("car", "person", "bus")
    assert result(tmp_path / "out", split="val")[0]["class_id"].tolist() == [1, 1, 2]


def test_an_import_that_a_full_disk_cut_short_is_done_when_it_is_started_again(tmp_path, monkeypatch):
    for name in ("a", "b"):
        record(tmp_path / "in" / f"{name}.npz")
        write_coco(tmp_path / "labels" / name, name)
        (tmp_path / "labels" / name / "boxes.json").rename(tmp_path / "labels" / f"{name}.json")
    work = "coco", tmp_path / "labels", tmp_path / "in"
    import_labels(*work, tmp_path / "whole", AT_10_HZ)

    def full(source, target):
        if source.path.name == "b.npz":
            raise InputError(f"{target} cannot be written: No space left on device.")
        link(source, target)

    with monkeypatch.context() as patched:
        link = dataset.link
        patched.setattr(dataset, "link", full)
        with pytest.raises(InputError, match="No space left"):
            import_labels(*work, tmp_path / "out", AT_10_HZ)
    done = import_labels(*work, tmp_path / "out", AT_10_HZ)
    assert done.recordings == {"train": 2}
    for path in (tmp_path / "whole").rglob("*.*"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


def test_a_recording_that_cannot_be_read_is_named_and_the_others_are_imported(tmp_path):
    for name in ("a", "b"):
        record(tmp_path / "in" / f"{name}.npz")
        write_coco(tmp_path / "labels" / name, name)
        (tmp_path / "labels" / name / "boxes.json").rename(tmp_path / "labels" / f"{name}.json")
    record(tmp_path / "in" / "a.npz", events=Events.empty())
    done = import_labels("coco", tmp_path / "labels", tmp_path / "in", tmp_path / "first", AT_10_HZ)
    assert (done.recordings.total(), "has none" in done.failed[0]) == (1, True)
    (tmp_path / "in" / "a.npz").write_bytes(b"PK damaged")
    done = import_labels("coco", tmp_path / "labels", tmp_path / "in", tmp_path / "out", AT_10_HZ)
    assert done.recordings == {"train": 1}
    assert (len(done.failed), "a.npz must be a readable table" in done.failed[0]) == (1, True)
    assert [path.name for path in sorted((tmp_path / "out" / "train").iterdir())] == [
        "b.npz", "b_bbox.npy", "b_labelled.npy",
    ]  # fmt: skip
    (tmp_path / "in" / "b.npz").unlink()
    (tmp_path / "labels" / "b.json").unlink()
    with pytest.raises(InputError, match=r"a\.npz must be a readable table"):
        import_labels("coco", tmp_path / "labels", tmp_path / "in", tmp_path / "new", AT_10_HZ)
    assert not (tmp_path / "new").exists()


def test_ratios_deal_out_recordings_the_same_way_for_a_seed(tmp_path):
    for n in range(10):
        record(tmp_path / "in" / f"r{n}.npz")
        (tmp_path / "in" / f"r{n}.xml").write_text("<annotation/>")
    options = ImportOptions(classes=("car",), ratios=(0.6, 0.2, 0.2), seed=5)
    for out in ("a", "b"):
        done = import_labels("voc", tmp_path / "in", tmp_path / "in", tmp_path / out, options)
        assert done.recordings == {"train": 6, "val": 2, "test": 2}
    names = [sorted(path.relative_to(tmp_path / out) for path in (tmp_path / out).rglob("*")) for out in ("a", "b")]
    assert names[0] == names[1]


def test_the_folders_of_recordings_say_their_split(tmp_path):
    for split, n in (("train", 0), ("val", 1)):
        record(tmp_path / "in" / split / f"r{n}.npz")
        (tmp_path / "in" / split / f"r{n}.xml").write_text("<annotation/>")
    done = import_labels("voc", tmp_path / "in", tmp_path / "in", tmp_path / "out", ImportOptions(classes=("car",)))
    assert done.recordings == {"train": 1, "val": 1}


def test_a_folder_above_the_one_that_was_named_says_no_split(tmp_path, monkeypatch):
    for place in ("test/recs", "test/recs/val/day"):
        record(tmp_path / place / f"{place[-1]}.npz")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / f"{place[-1]}_1000.xml").write_text("<annotation/>")
    options = ImportOptions(classes=("car",), leave_out=True)

    def splits(named, out, **more):
        named = Path(named) if isinstance(named, str) else named
        done = import_labels("voc", tmp_path / "labels", named, tmp_path / out, replace(options, **more))
        return dict(done.recordings), [line for line in done.lines() if "recordings are" in line]

    apart = {"train": 1, "val": 1}
    why = ["1 recordings are of train, as no folder says otherwise", "1 recordings are of val, as their folder says"]
    assert splits(tmp_path / "test" / "recs", "a") == (apart, why)
    assert splits(tmp_path / "test", "b")[0] == {"test": 1, "val": 1}
    assert splits(tmp_path / "test" / "recs" / "val" / "day" / "y.npz", "c")[0] == {"train": 1}
    assert splits(tmp_path / "test" / "recs" / "val" / "day", "d")[0] == {"train": 1}
    assert splits(tmp_path / "test" / "recs" / "val", "e")[0] == {"val": 1}
    assert splits(tmp_path / "test", "f", split="val")[1] == ["2 recordings are of val, as --split says"]
    dealt = splits(tmp_path / "test", "g", ratios=(1.0, 0.0, 0.0), seed=3)[1]
    assert dealt == ["2 recordings are split by --ratios, with the seed 3"]
    monkeypatch.chdir(tmp_path / "test" / "recs")
    assert splits(".", "h")[0] == apart
    assert splits("..", "i")[0] == {"test": 1, "val": 1}
    assert splits("val", "j")[0] == {"val": 1}


@pytest.mark.parametrize(
    ("names", "keep", "merged"),
    [
        (("Car", "car", "bus"), "--keep car=Car+car,bus.", ("car", "bus")),
        (("CAR", "Car"), "--keep CAR=CAR+Car.", ("CAR",)),
        (("car ", "car"), "--keep 'car=car +car'.", ("car",)),
        (("car", "car "), """--keep '["car=car+car "]'.""", ("car",)),
        (("two  Wheels", "two wheels", "it's, a"), None, ("two wheels", "it's, a")),
    ],
)
def test_classes_that_case_or_blanks_alone_tell_apart_are_warned_of_with_what_merges_them(
    tmp_path, names, keep, merged
):
    record(tmp_path / "drive.npz")
    images = [{"id": n, "file_name": f"{n}.png"} for n in range(len(names))]
    annotations = [{"image_id": n, "category_id": n, "bbox": [9, 9, 9, 9]} for n in range(len(names))]
    categories = [{"id": n, "name": name} for n, name in enumerate(names)]
    write_json(tmp_path / "drive.json", {"images": images, "annotations": annotations, "categories": categories})
    arguments = "coco", tmp_path / "drive.json", tmp_path / "drive.npz"
    (warning,) = import_labels(*arguments, tmp_path / "out", AT_10_HZ).warnings
    assert read_classes(tmp_path / "out") == names
    assert "classes differ by case or blanks alone" in warning
    assert all(repr(name) in warning for name in names[:2])
    assert keep is None or warning.endswith(keep)
    words = shlex.split(warning[warning.index("--keep") :].removesuffix("."))
    main(
        [
            "import",
            *map(str, arguments[1:]),
            "--from",
            "coco",
            "-o",
            str(tmp_path / "one"),
            "--label-rate",
            "10",
            *words,
        ]
    )
    assert read_classes(tmp_path / "one") == merged
    assert len(result(tmp_path / "one")[0]) == len(names)


def test_a_dataset_that_grows_keeps_its_spelling_of_a_class(tmp_path):
    for name, word in (("day", "Car"), ("night", "car")):
        record(tmp_path / f"{name}.npz")
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.csv").write_text(f"t,x,y,w,h,class\n100000,9,9,9,9,{word}\n")
    options = ImportOptions()
    import_labels("csv", tmp_path / "day", tmp_path / "day.npz", tmp_path / "out", options)
    done = import_labels("csv", tmp_path / "night", tmp_path / "night.npz", tmp_path / "out", options)
    assert done.warnings[0].endswith("'Car' and 'car'. If they are one, import with --keep Car=car.")
    shutil.rmtree(tmp_path / "out")
    import_labels("csv", tmp_path / "day", tmp_path / "day.npz", tmp_path / "out", options)
    kept = ImportOptions(keep=("Car=car",))
    assert not import_labels("csv", tmp_path / "night", tmp_path / "night.npz", tmp_path / "out", kept).warnings
    assert read_classes(tmp_path / "out") == ("Car",)


def test_classes_are_kept_and_merged_while_importing(tmp_path):
    write_coco(tmp_path / "labels")
    record(tmp_path / "drive.npz")
    options = ImportOptions(label_rate=10, keep=("human=person",))
    done = import_labels("coco", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", options)
    assert read_classes(tmp_path / "out") == ("human",)
    assert result(tmp_path / "out")[0]["t"].tolist() == [300_000]
    assert done.dropped == {"boxes of classes that are not kept": 2}
    assert done.empty == 2


def test_coco_videos_have_names_rates_and_times(tmp_path):
    for name in ("a", "b"):
        record(tmp_path / "in" / f"{name}.npz")
    images = [
        {"id": 1, "video_id": 1, "frame_id": 4, "file_name": "x.png"},
        {"id": 2, "video_id": 2, "timestamp_us": 123, "file_name": "x.png"},
    ]
    videos = [{"id": 1, "name": "a", "fps": 20}, {"id": 2, "file_name": "b.mp4"}]
    content = {"videos": videos, "images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    write_json(tmp_path / "labels.json", content)
    done = import_labels("coco", tmp_path / "labels.json", tmp_path / "in", tmp_path / "out", ImportOptions())
    assert result(tmp_path / "out", "a")[1] == [200_000]
    assert result(tmp_path / "out", "b")[1] == [123]
    assert done.empty == 2


@pytest.mark.parametrize(
    ("source", "name", "content", "sentence"),
    [
        ("coco", "drive.json", '{"images": 3}', "COCO file"),
        ("coco", "drive.json", '{"images": [{}], "categories": [{"id": 1, "name": "car"}]}', "timestamp_us"),
        ("coco", "drive.json", "{}", "lacks or mistakes 'images'"),
        ("coco", "drive.json", '{"images": [{"id": 1, "frame_id": "x"}]}', "whole number"),
        ("coco", "drive.json", '{"images": [3]}', "COCO file"),
        ("coco", "drive.json", "[" * 100_000, "sound JSON"),
        ("mot", "drive.txt", "1,2,3\n", "line 1, must be frame"),
        ("mot", "drive.txt", "1,1,1,1,5,5,1\n9000000,1,1,1,5,5,1\n", "line 2, must have a frame of at most 4,000,000"),
        ("mot", "drive.txt", "1,1,1,1,5,5,1,-1,-1,-1\n", "label-rate"),
        ("yolo", "drive_1.txt", "0 1 2 3\n", "got 4 columns"),
        ("yolo", "drive_1.txt", "0 100 200 30 40\n", "shares of the frame"),
        ("yolo", "drive_1.txt", "7 .5 .5 .1 .1\n", "a class 7"),
        ("yolo", "drive_x.txt", "0 .5 .5 .1 .1\n", "number of its frame"),
        ("yolo", "drive_1.txt", "0 nan .5 .1 .1\n", "finite"),
        ("voc", "drive_1.xml", "<annotation>", "sound XML"),
        ("voc", "drive_1.xml", "<html/>", "got <html>"),
        ("voc", "drive_1.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "entities"),
        ("voc", "drive_1.xml", "<annotation><object><name>car</name></object></annotation>", "numbers"),
        ("csv", "drive.csv", "1,0,0,1,1,5\n", "numbers"),
        ("csv", "drive.csv", "time,x,y\n", "must have columns"),
        ("csv", "drive.csv", '""\n1 0 0 1 1 5 5 1\n', "line 1, must have numbers"),
        ("csv", "drive.csv", "1,0,0,1,1,5,1e999,1\n", "finite"),
        ("csv", "drive.csv", "1,0,0,1,1,5,1e308,1\n", "up to 16,777,216"),
        ("csv", "drive.csv", "1,0,0,1,1,5,9,1e308\n", "up to 16,777,216"),
        ("csv", "drive.csv", "9999999999,0,0,1,1,5,5,1\n", "--start-us"),
        ("csv", "drive.csv", "1,0,99999999999,1,1,5,5,1\n", "numbers of objects"),
        ("csv", "drive.csv", '1,0,"0,1,1,5,5,1\n', "table"),
        ("psee-txt", "drive.txt", "1 1 BB_JUMP 0 1 1 5 5 1\n", "BB_CREAT"),
        ("psee-txt", "drive.txt", "\0" * 64, "holds zeros"),
    ],
)
def test_labels_that_cannot_be_understood_are_refused_in_one_sentence(tmp_path, source, name, content, sentence):
    record(tmp_path / "in" / "drive.npz")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / name).write_text(content)
    options = ImportOptions(classes=("car",))
    with pytest.raises(InputError, match=sentence):
        import_labels(source, tmp_path / "labels", tmp_path / "in", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("source", sorted(READERS))
def test_random_bytes_are_refused(tmp_path, source):
    record(tmp_path / "in" / "drive.npz")
    suffix = {"coco": "json", "labelstudio": "json", "voc": "xml", "cvat": "xml", "csv": "csv"}.get(source, "txt")
    (tmp_path / f"drive_1.{suffix}").write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(InputError, match="drive_1"):
        import_labels(source, tmp_path / f"drive_1.{suffix}", tmp_path / "in", tmp_path / "out", ImportOptions())


def test_an_unknown_class_names_the_one_that_was_meant(tmp_path):
    write_voc(tmp_path / "labels")
    record(tmp_path / "drive.npz")
    options = ImportOptions(label_rate=10, classes=("car", "persons"))
    with pytest.raises(InputError, match="Did you mean persons"):
        import_labels("voc", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", options)


@pytest.mark.parametrize(
    "options", [{"label_rate": 0}, {"label_rate": 1, "frame_us": 1}, {"split": "val", "ratios": (1, 1, 1)}]
)
def test_options_that_contradict_are_refused(options):
    with pytest.raises(InputError):
        ImportOptions(**options)


SHARES = [(t, 0.1, 0.2, 0.3, 0.25) for t in range(100_000, 200_000, 10_000)]
"""Ten boxes: time, x, y, w, h."""


def write_shares(folder, source, boxes):
    folder.mkdir()
    if source == "csv":
        (folder / "drive.csv").write_text("".join(f"{t} 0 1 {x} {y} {w} {h} 1\n" for t, x, y, w, h in boxes))
    elif source == "mot":
        (folder / "drive.txt").write_text(
            "".join(f"{n},1,{x},{y},{w},{h},1\n" for n, (_, x, y, w, h) in enumerate(boxes, 1))
        )
    elif source == "psee-txt":
        (folder / "drive.txt").write_text("".join(f"{t} 1 BB_MOVE 0 {x} {y} {w} {h} 1\n" for t, x, y, w, h in boxes))
    else:
        images = [{"id": n, "timestamp_us": box[0], "width": 800, "height": 600} for n, box in enumerate(boxes)]
        annotations = [{"image_id": n, "category_id": 1, "bbox": box[1:]} for n, box in enumerate(boxes)]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
        write_json(folder / "drive.json", content)


@pytest.mark.parametrize("source", ["csv", "mot", "psee-txt", "coco"])
@pytest.mark.parametrize("count", [1, 10])
def test_boxes_in_shares_of_the_frame_are_refused_from_every_source(tmp_path, source, count):
    record(tmp_path / "drive.npz")
    write_shares(tmp_path / "labels", source, SHARES[:count])
    options = ImportOptions(label_rate=30, classes=("car",))
    with pytest.raises(InputError, match=rf"its {count} are shares of the frame\. Multiply x and w by"):
        import_labels(source, tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_boxes_that_are_all_outside_the_sensor_are_refused(tmp_path):
    record(tmp_path / "drive.npz")
    write_shares(tmp_path / "labels", "csv", [(t, 300, 20, 10, 10) for t, *_ in SHARES])
    with pytest.raises(InputError, match=r"none of its 10 is\. Are x and y swapped"):
        import_labels("csv", tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "o", ImportOptions(classes=("a",)))


def test_a_box_on_the_first_pixel_is_no_share(tmp_path):
    record(tmp_path / "drive.npz")
    (tmp_path / "drive.csv").write_text("100000 0 1 0 0 1 1 1\n")
    options = ImportOptions(classes=("car",))
    done = import_labels("csv", tmp_path / "drive.csv", tmp_path / "drive.npz", tmp_path / "out", options)
    assert done.boxes == {"car": 1}


@pytest.mark.parametrize(("rate", "is_warned"), [(10, False), (20, True), (5, True)])
def test_a_rate_at_which_labels_end_at_half_or_twice_the_recording_is_warned_of(tmp_path, rate, is_warned):
    t = np.arange(0, 3_000_000, 500)
    record(tmp_path / "drive.npz", events=columns(t=t, x=t % 80, y=t % 60, p=t % 2))
    (tmp_path / "drive.txt").write_text("".join(f"{n},1,10,20,30,16,1\n" for n in range(1, 31)))
    options = ImportOptions(label_rate=rate, classes=("car",))
    done = import_labels("mot", tmp_path / "drive.txt", tmp_path / "drive.npz", tmp_path / "out", options)
    assert len(done.warnings) == is_warned
    if is_warned:
        assert "10 would fit" in done.warnings[0]
        assert "--label-rate" in done.warnings[0]


def imported_at(folder, *times_us, rate=None):
    """What the import says of labels at such times, in a recording of 3 s."""
    t = np.arange(0, 3_000_000, 500)
    record(folder / "drive.npz", events=columns(t=t, x=t % 80, y=t % 60, p=t % 2))
    (folder / "drive.csv").write_text("".join(f"{time} 0 1 10 20 30 16 1\n" for time in times_us))
    options = ImportOptions(label_rate=rate, classes=("car",))
    return import_labels("csv", folder / "drive.csv", folder / "drive.npz", folder / "out", options)


@pytest.mark.parametrize(
    ("times_us", "words"),
    [
        (range(0, 3_600_000, 40_000), "13 of 90 times (14%) are outside 0.00 to 3.00 s, by up to 0.56 s; 25 labels a"),
        (range(-2_000_000, 1_000_000, 100_000), "20 of 30 times (67%) are outside 0.00 to 3.00 s, by up to 2.00 s"),
    ],
)
def test_labels_beyond_or_before_their_recording_are_warned_of_with_their_share(tmp_path, times_us, words):
    done = imported_at(tmp_path, *times_us)
    assert len(done.warnings) == 1
    assert words in done.warnings[0]
    assert ("reach 1.19 of its time; 30 would fit" in done.warnings[0]) == (times_us[0] == 0)


def test_labels_at_the_rim_of_their_recording_are_fine(tmp_path):
    done = imported_at(tmp_path, *range(0, 3_040_001, 40_000))
    assert (done.warnings, "end early" in "\n".join(done.lines())) == ([], False)


def test_that_labels_end_early_is_told_with_the_rate_at_which_they_would_not(tmp_path):
    done = imported_at(tmp_path, *range(0, 2_500_000, 33_333))
    assert not done.warnings
    told = (
        "1 recordings whose labels end early, the first drive.npz: 30 labels a second reach 0.83 of its time; 25 would"
    )
    assert told in "\n".join(done.lines())


def unsized(folder, name="drive"):
    """A recording that does not state its size."""
    folder.mkdir(parents=True, exist_ok=True)
    t = np.arange(0, 500_000, 500)
    rows = np.zeros(len(t), [("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])
    rows["t"], rows["x"], rows["y"], rows["p"] = t, t % 80, t % 60, t % 2
    np.save(folder / f"{name}.npy", rows)


def test_the_size_of_the_sensor_is_kept_with_the_dataset_and_known_to_all_that_open_it(tmp_path):
    options = ImportOptions(label_rate=10, size_hw=SIZE_HW, split="train")
    for split, name in (("train", "drive"), ("val", "night")):
        write_yolo(tmp_path / f"labels_{split}", name)
        unsized(tmp_path / "in" / split, name)
        out, recordings = tmp_path / "out", tmp_path / "in" / split
        import_labels("yolo", tmp_path / f"labels_{split}", recordings, out, replace(options, split=split))
        options = replace(options, size_hw=None)  # a dataset that grows knows it already
    assert read_facts(out).size_hw == SIZE_HW
    assert not audit(out).kinds() & {"unreadable", "outside_sensor"}
    tensor = TensorConfig("histogram")
    assert not precompute([out], PrecomputeConfig(tmp_path / "tensors", tensor)).failed
    for cache_gb in (None, 1):
        config = DatasetConfig(folder=out, tensor=tensor, tolerance_us=50_000, cache_gb=cache_gb)
        prepare(config)
        clips = RecordedClips(config, "train", clip_length=2)
        assert clips.input.sensor_hw == SIZE_HW
    (out / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"data\.dataset\.size_hw"):
        prepare(DatasetConfig(folder=out, tensor=TensorConfig("event_cube")))
    for cache_gb in (None, 1):
        config = DatasetConfig(folder=out, tensor=tensor, tolerance_us=50_000, cache_gb=cache_gb, size_hw=(64, 96))
        prepare(config)
        assert RecordedClips(config, "train", clip_length=2).input.sensor_hw == (64, 96)


def test_another_size_for_a_dataset_that_is_there_is_refused_before_anything_is_written(tmp_path):
    write_yolo(tmp_path / "labels")
    unsized(tmp_path / "in")
    options = ImportOptions(label_rate=10, size_hw=SIZE_HW)
    import_labels("yolo", tmp_path / "labels", tmp_path / "in", tmp_path / "out", options)
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    options = replace(options, size_hw=(480, 640), split="val")
    with pytest.raises(InputError, match=r"size_hw must be \[60, 80\]"):
        import_labels("yolo", tmp_path / "labels", tmp_path / "in", tmp_path / "out", options)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before
