"""Labels in zips and in the folders of other tools: what is in them, and nothing beside it."""

import json
import zipfile

import pytest

from seqdet.checks import InputError
from seqdet.data.classes import read_classes
from seqdet.data.labels import read_labelled_us, read_labels
from seqdet.importing import ImportOptions, files, import_labels

AT_10_HZ = ImportOptions(label_rate=10)
GT = "2,7,9,19,30,16,1,1,1\n3,8,11,19,30,16,0,2,1\n"


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)


def result(folder, name):
    path = folder.parent / "out" / "train" / f"{name}_bbox.npy"
    boxes = read_labels(path)
    return boxes, (read_labelled_us(path, boxes) // 100_000).tolist()


MOT = {"gt/gt.txt": GT, "gt/labels.txt": "car\nbus\n"}


def test_zips_of_mot_are_read_by_their_names_with_all_that_is_in_them(folder):
    info = "[Sequence]\nframeRate=10\nseqLength=5\nimWidth=200\nimHeight=100\n"
    write_zip(folder / "drive.zip", MOT | {"seqinfo.ini": info, "img1/000001.jpg": b"x"})
    write_zip(folder / "night.zip", MOT | {"seqinfo.ini": info})
    import_labels("mot", folder, folder.parent, folder.parent / "out", ImportOptions())
    for name in ("drive", "night"):
        boxes, labelled = result(folder, name)
        assert labelled == [0, 1, 2, 3, 4]
        assert [tuple(row)[:7] for row in boxes.tolist()] == [
            (100_000, 4.5, 9.5, 15, 8, 0, 7),
            (200_000, 5.5, 9.5, 15, 8, 1, 8),
        ]
        assert boxes["class_confidence"].tolist() == [1, 0]
    assert read_classes(folder.parent / "out") == ("car", "bus")


def test_one_zip_for_one_recording_may_have_any_name(folder):
    write_zip(folder / "task_3_annotations.zip", MOT)
    import_labels(
        "mot", folder / "task_3_annotations.zip", folder.parent / "drive.npz", folder.parent / "out", AT_10_HZ
    )
    assert result(folder, "drive")[0]["track_id"].tolist() == [7, 8]


def test_zips_that_number_their_classes_otherwise_are_refused(folder):
    write_zip(folder / "drive.zip", MOT)
    write_zip(folder / "night.zip", MOT | {"gt/labels.txt": "bus\ncar\n"})
    with pytest.raises(InputError, match=r"same names in the same order, and .*night\.zip.*drive\.zip.* differ"):
        import_labels("mot", folder, folder.parent, folder.parent / "out", AT_10_HZ)


def test_names_of_classes_in_the_folder_of_the_labels_are_those_of_all(folder):
    (folder / "labels.txt").write_text("car\nbus\n")
    write_zip(folder / "drive.zip", MOT)
    write_zip(folder / "night.zip", MOT | {"gt/labels.txt": "bus\ncar\n"})
    import_labels("mot", folder, folder.parent, folder.parent / "out", AT_10_HZ)
    assert read_classes(folder.parent / "out") == ("car", "bus")


def coco(*names):
    images = [{"id": n, "file_name": name, "width": 100, "height": 50} for n, name in enumerate(names)]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [n, 2, 10, 10], "attributes": {"track_id": 4}}
        for n in range(len(names))
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]})


def test_coco_with_images_in_a_folder_for_each_recording(folder):
    (folder / "annotations").mkdir()
    text = coco("drive/frame_000002.PNG", "night/frame_000003.PNG")
    (folder / "annotations" / "instances_default.json").write_text(text)
    import_labels("coco", folder, folder.parent, folder.parent / "out", AT_10_HZ)
    assert result(folder, "drive")[0].tolist() == [(200_000, 0, 2, 10, 10, 0, 4, 1)]
    assert result(folder, "night")[0].tolist() == [(300_000, 1, 2, 10, 10, 0, 4, 1)]


@pytest.mark.parametrize("is_packed", [False, True])
def test_a_folder_or_a_zip_of_coco_for_each_recording(folder, is_packed):
    for name in ("drive", "night"):
        files = {"annotations/instances_default.json": coco("frame_000002.PNG", "frame_000003.PNG")}
        if is_packed:
            write_zip(folder / f"{name}.zip", files)
        else:
            (folder / name / "annotations").mkdir(parents=True)
            (folder / name / "annotations" / "instances_default.json").write_text(*files.values())
    import_labels("coco", folder, folder.parent, folder.parent / "out", AT_10_HZ)
    for name in ("drive", "night"):
        assert result(folder, name)[1] == [2, 3]


def test_an_error_in_a_zip_names_the_zip_and_the_file_in_it(folder):
    write_zip(folder / "drive.zip", {"gt/gt.txt": "1,2,3\n"})
    with pytest.raises(InputError) as raised:
        import_labels("mot", folder, folder.parent / "drive.npz", folder.parent / "out", AT_10_HZ)
    assert str(raised.value).startswith(f"{folder}/drive.zip/gt/gt.txt, line 1, must be frame")


@pytest.mark.parametrize("name", ["../gt.txt", "/tmp/gt.txt", "a/../../gt.txt", "..\\gt.txt", "C:/gt.txt"])
def test_a_zip_writes_nothing_outside_of_itself(folder, name):
    write_zip(folder / "drive.zip", {name: GT})
    with pytest.raises(InputError, match=r"drive\.zip must hold files below itself alone"):
        import_labels("mot", folder, folder.parent / "drive.npz", folder.parent / "out", AT_10_HZ)


@pytest.mark.parametrize(("limit", "value"), [("MOST_BYTES", 1_000_000), ("MOST_FILES", 1)])
def test_what_zips_unpack_to_is_bounded(folder, monkeypatch, limit, value):
    monkeypatch.setattr(files, limit, value)
    write_zip(folder / "drive.zip", {"a.txt": " " * 600_000, "b.txt": " " * 600_000})
    with pytest.raises(InputError, match=r"drive\.zip must hold at most"):
        import_labels("mot", folder, folder.parent / "drive.npz", folder.parent / "out", AT_10_HZ)


def test_files_without_a_name_in_a_zip_are_passed_over(folder):
    write_zip(folder / "drive.zip", MOT | {"gt/no.txt": ""})
    content = (folder / "drive.zip").read_bytes()
    (folder / "drive.zip").write_bytes(content.replace(b"gt/no.txt", b"\0" * 9))
    import_labels("mot", folder, folder.parent / "drive.npz", folder.parent / "out", AT_10_HZ)
    assert result(folder, "drive")[0]["track_id"].tolist() == [7, 8]


def damaged(content):
    return content[: len(content) // 2]


def misnamed(content):
    at = content.index(b"gt/gt.txt")  # after a header of 30 bytes, which has the flags from the 6th byte on
    return content[: at - 23] + b"\x08" + content[at - 22 : at] + b"\x9a" + content[at + 1 :]


def packed_by(method):
    return lambda content: content.replace(b"\x00\x00\x08\x00", bytes([0, 0, method, 0]))


@pytest.mark.parametrize(
    "change",
    [damaged, misnamed, *map(packed_by, (9, 14, 99)), lambda content: b"no zip", lambda content: b""],
)
def test_a_damaged_zip_is_one_sentence(folder, change):
    write_zip(folder / "drive.zip", {"gt/gt.txt": GT * 100})
    (folder / "drive.zip").write_bytes(change((folder / "drive.zip").read_bytes()))
    with pytest.raises(InputError, match=r"drive\.zip must be a sound zip"):
        import_labels("mot", folder, folder.parent / "drive.npz", folder.parent / "out", AT_10_HZ)


@pytest.mark.parametrize(("source", "root"), [("voc", "annotation"), ("cvat", "annotations")])
def test_entities_that_blow_up_are_not_looked_at(folder, source, root):
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<?xml version="1.0"?><!DOCTYPE {root} [<!ENTITY e0 "ha">{entities}]><{root}>&e9;</{root}>'
    (folder / "drive_1.xml").write_text(text)
    with pytest.raises(InputError, match="without entities of its own"):
        import_labels(source, folder, folder.parent / "drive.npz", folder.parent / "out", AT_10_HZ)
