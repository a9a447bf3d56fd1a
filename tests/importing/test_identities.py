"""Identities of objects as other tools write them: names, numbers, and none."""

import json

import pytest

from seqdet.checks import InputError
from seqdet.data.labels import read_labels
from seqdet.importing import ImportOptions, import_labels


def tracks(folder, source, **texts):
    """The identities of the boxes of drive, and what the import said; labels by the name of their file."""
    for name, text in texts.items():
        (folder / name.replace("_dot_", ".")).write_text(text)
    options = ImportOptions(label_rate=10, classes=("car",))
    done = import_labels(source, folder, folder.parent / "drive.npz", folder.parent / "out", options)
    boxes = read_labels(folder.parent / "out" / "train" / "drive_bbox.npy")
    return boxes["track_id"].tolist(), "\n".join(done.lines())


def coco(*identities):
    images = [{"id": n, "file_name": f"drive_{n:06}.png"} for n in range(1, len(identities) + 1)]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 30, 4], "track_id": identity}
        for n, identity in enumerate(identities, start=1)
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]})


def cvat(*identities):
    track = '<track id="{}" label="car"><box frame="{}" xtl="1" ytl="2" xbr="31" ybr="6" outside="0"/></track>'
    return f"<annotations>{''.join(track.format(name, n) for n, name in enumerate(identities))}</annotations>"


def csv(*identities):
    return "".join(f"{n}00000 0 {name} 1 2 30 4 1\n" for n, name in enumerate(identities))


def mot(*identities):
    return "".join(f"{n},{name},1,2,30,4,1\n" for n, name in enumerate(identities, start=1))


WRITERS = {"coco": (coco, "drive_dot_json"), "cvat": (cvat, "drive_dot_xml"), "csv": (csv, "drive_dot_csv")}
WRITERS["mot"] = mot, "drive_dot_txt"


def test_a_trackid_of_voc_is_an_identity(folder):
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>31</xmax><ymax>6</ymax></bndbox>"
    made = "".join(f"<object><trackid>{n}</trackid><name>car</name>{box}</object>" for n in (3, "b", 0))
    assert tracks(folder, "voc", drive_1_dot_xml=f"<annotation>{made}</annotation>")[0] == [3, 4, 0]


@pytest.mark.parametrize("source", WRITERS)
def test_names_of_objects_are_numbered_as_they_appear_and_told(folder, source):
    write, name = WRITERS[source]
    found, said = tracks(folder, source, **{name: write("b7", "a3", "b7", "c")})
    assert found == [1, 2, 1, 3]
    assert "3 objects whose identity is a name: numbered in the order" in said


@pytest.mark.parametrize("source", WRITERS)
def test_names_come_after_the_numbers_that_are_there(folder, source):
    write, name = WRITERS[source]
    assert tracks(folder, source, **{name: write("b7", 5, 2, "c")})[0] == [6, 5, 2, 7]


@pytest.mark.parametrize("source", WRITERS)
def test_an_identity_below_0_is_none_and_told(folder, source):
    write, name = WRITERS[source]
    found, said = tracks(folder, source, **{name: write(-1, 4, -1)})
    assert found == [0, 4, 0]
    assert "2 boxes with an identity below 0, as the -1 of MOT: they have none, and get the track_id 0" in said


def test_the_same_name_in_two_files_of_cvat_is_two_objects_and_in_two_tables_one(folder):
    assert tracks(folder, "cvat", drive_dot_xml=cvat("a"), drive_2_dot_xml=cvat("b", "a"))[0] == [1, 2, 3]
    for path in folder.iterdir():
        path.unlink()
    (folder.parent / "out" / "train" / "drive_bbox.npy").unlink()
    (folder.parent / "out" / "train" / "drive_labelled.npy").unlink()
    assert tracks(folder, "csv", drive_dot_csv=csv("a"), drive_2_dot_csv=csv("b", "a"))[0] == [1, 2, 1]


@pytest.mark.parametrize("identity", ["2.5", "nan", "inf"])
def test_a_number_that_is_not_whole_is_no_identity(folder, identity):
    with pytest.raises(InputError, match="whole number"):
        tracks(folder, "csv", drive_dot_csv=csv(identity))
