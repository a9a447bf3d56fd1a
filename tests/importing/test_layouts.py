"""Folders as people download them, named alone: which labels are of which images, and of which split."""

import json
import zipfile

import pytest

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.data.classes import read_classes
from seqdet.importing import ImportOptions, import_labels
from seqdet.pictures.sequence import open_pictures

DONE = ImportOptions()
HASH = "_png.rf.{:032x}"


def coco(film, names, *, categories=((1, "car"),), more=None):
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} | (more or {}) for n, name in names.items()]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": film.box(n)} for n in names]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name, "supercategory": "none"} for n, name in categories],
    }


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def yolo(film, n):
    x, y, w, h = film.box(n)
    height, width = film.size_hw
    return f"0 {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}\n"


def write_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "downloaded"


@pytest.fixture
def imported(place, tmp_path):
    def run(source, options=DONE):
        return import_labels(source, place, None, tmp_path / "out", options)

    return run


def test_coco_of_roboflow_has_images_beside_its_labels_in_train_valid_and_test(place, tmp_path, film, imported):
    splits = {"train": [0, 1, 4], "valid": [2, 3], "test": [5]}
    for split, numbers in splits.items():
        names = {n: f"drive_{n:04}{HASH.format(97 * n)}.png" for n in numbers}
        for n, name in names.items():
            film.image(place / split / name, n)
        categories = (0, "vehicles"), (1, "car")
        content = coco(film, names, categories=categories)
        content["categories"][1]["supercategory"] = "vehicles"
        write_json(place / split / "_annotations.coco.json", content)
    (place / "README.roboflow.txt").write_text("drive - v1\n")
    done = imported("coco")
    assert done.recordings == {"train": 1, "val": 1, "test": 1}
    assert film.objects(tmp_path / "out" / "train" / "drive") == {0: 1, 1: 1, 2: 1}
    assert open_pictures(tmp_path / "out" / "train" / "drive").times_us.tolist() == [0, 40_000, 160_000]
    assert film.objects(tmp_path / "out" / "val" / "drive") == {0: 1, 1: 1}
    (still,) = (path for path in (tmp_path / "out" / "test").iterdir() if path.is_dir())
    assert still.name == "drive_0005"
    assert film.objects(still) == {0: 1}
    assert read_classes(tmp_path / "out") == ("car",)
    assert done.warnings == []


def test_the_splits_of_coco_itself_are_told_by_the_names_of_its_files(place, tmp_path, film, imported):
    for split, numbers in (("train2017", (9, 25)), ("val2017", (139,))):
        names = {n: f"{n:012}.jpg" for n in numbers}
        for n, name in names.items():
            film.image(place / split / name, n, size_hw=(48, 64 + 8 * (n % 7)))
        content = coco(film, names)
        for each in content["images"]:
            each["width"] += 8 * (each["id"] % 7)
        content["annotations"] = []
        write_json(place / "annotations" / f"instances_{split}.json", content)
        write_json(place / "annotations" / f"captions_{split}.json", {"images": [], "annotations": []})
    done = imported("coco")
    assert done.recordings == {"train": 2, "val": 1}
    assert (done.labelled, done.empty) == (3, 3)
    assert (tmp_path / "out" / "train" / "000000000025" / "000000000025.jpg").is_file()


def test_coco_with_videos_has_its_sequences_in_folders(place, tmp_path, film, imported):
    names = ["MOT-02/img1", "MOT-04/img1"]
    images = []
    for video, name in enumerate(names):
        film.images(place / "train" / name, [f"{n:06}.png" for n in range(1, 5)])
        images += [
            {"id": 10 * video + n, "video_id": video, "frame_id": n, "file_name": f"{name}/{n + 1:06}.png"}
            for n in range(4)
        ]
    content = coco(film, {})
    content["videos"] = [{"id": n, "name": name.partition("/")[0], "fps": 10} for n, name in enumerate(names)]
    content["images"] = images
    content["annotations"] = [
        {"id": n, "image_id": each["id"], "category_id": 1, "bbox": film.box(each["frame_id"]), "instance_id": 4}
        for n, each in enumerate(images)
    ]
    write_json(place / "annotations" / "train_cocoformat.json", content)
    imported("coco")
    for name in ("MOT-02", "MOT-04"):
        path = tmp_path / "out" / "train" / name
        assert film.objects(path) == dict.fromkeys(range(4), 1)
        assert open_pictures(path).times_us.tolist() == [0, 100_000, 200_000, 300_000]


@pytest.mark.parametrize("is_relative", [True, False])
def test_mot_challenge_has_its_rate_and_size_in_seqinfo_and_no_truth_for_its_test(
    place, tmp_path, film, imported, is_relative
):
    for split, name in (("train", "MOT-02"), ("train", "MOT-04"), ("test", "MOT-01")):
        sequence = place / split / name
        film.images(sequence / "img1", [f"{n:06}.png" for n in range(1, 7)])
        info = "[Sequence]\nname={}\nimDir=img1\nframeRate=14\nseqLength=6\nimWidth=64\nimHeight=48\nimExt=.png\n"
        (sequence / "seqinfo.ini").write_text(info.format(name))
        write_text(sequence / "det" / "det.txt", "1,-1,8,8,8,8,0.5,-1,-1,-1\n")
        if split == "train":
            rows = [f"{n + 1},7,{','.join(map(str, film.box(n)))},{int(n != 3)},1,1" for n in (0, 2, 3)]
            write_text(sequence / "gt" / "gt.txt", "\n".join(rows))
    done = import_labels(
        "mot", place, None if is_relative else place, tmp_path / "out", ImportOptions(classes=("pedestrian",))
    )
    assert done.recordings == {"train": 2}
    assert done.dropped["sequences of test, which has no labels"] == 1
    for name in ("MOT-02", "MOT-04"):
        path = tmp_path / "out" / "train" / name
        assert film.objects(path) == {0: 1, 1: 0, 2: 1, 3: 1, 4: 0, 5: 0}
        assert open_pictures(path).times_us.tolist() == [round(n * 1e6 / 14) for n in range(6)]


def write_yaml(place, **paths):
    lines = "".join(f"{name}: {path}\n" for name, path in paths.items())
    write_text(place / "data.yaml", f"{lines}nc: 1\nnames: ['car']\n")


@pytest.mark.parametrize("prefix", ["", "../", "./"])
def test_yolo_of_roboflow_has_images_and_labels_in_every_split(place, tmp_path, film, imported, prefix):
    write_yaml(place, train=f"{prefix}train/images", val=f"{prefix}valid/images", test="../test/images")
    for split, numbers in (("train", (0, 1, 3)), ("valid", (2, 4))):
        for n in numbers:
            name = f"drive_{n}{HASH.format(n)}"
            film.image(place / split / "images" / f"{name}.png", n)
            write_text(place / split / "labels" / f"{name}.txt", yolo(film, n))
    done = imported("yolo")
    assert film.objects(tmp_path / "out" / "train" / "drive") == {0: 1, 1: 1, 2: 1}
    assert film.objects(tmp_path / "out" / "val" / "drive") == {0: 1, 1: 1}
    assert read_classes(tmp_path / "out") == ("car",)
    assert any("that are not there" in what for what in done.told)


@pytest.mark.parametrize("has_yaml", [True, False])
def test_yolo_of_ultralytics_has_trees_of_images_and_labels_and_images_without_a_text_have_no_object(
    place, tmp_path, film, imported, has_yaml
):
    if has_yaml:
        write_yaml(place, path=f"../datasets/{place.name}", train="images/train", val="images/val")
    else:
        write_text(place / "classes.txt", "car\n")
    for n, (split, name) in enumerate((("train", "cat"), ("train", "dog"), ("val", "ape"))):
        film.image(place / "images" / split / f"{name}.png", n)
        if name != "dog":
            write_text(place / "labels" / split / f"{name}.txt", yolo(film, n))
    done = imported("yolo")
    assert film.objects(tmp_path / "out" / "train" / "cat") == {0: 1}
    assert film.objects(tmp_path / "out" / "train" / "dog") == {0: 0}
    assert film.objects(tmp_path / "out" / "val" / "ape") == {0: 1}
    assert done.told["images without a text, which have no object, as in Ultralytics' datasets"] == 1


def test_images_of_a_sequence_without_a_text_are_not_labelled(place, tmp_path, film, imported):
    write_yaml(place, train="images")
    film.images(place / "images", [f"drive_{n}.png" for n in range(5)])
    for n in (1, 3):
        write_text(place / "labels" / f"drive_{n}.txt", yolo(film, n))
    done = imported("yolo")
    assert film.objects(tmp_path / "out" / "train" / "drive") == {1: 1, 3: 1}
    assert done.told["sequences of images some of which have no text: those are not labelled"] == 1


def test_yolo_may_list_its_images(place, tmp_path, film, imported):
    write_yaml(place, train="train.txt", val="val.txt")
    for n, name in enumerate(("cat", "dog", "ape")):
        film.image(place / "images" / f"{name}.png", n)
        write_text(place / "labels" / f"{name}.txt", yolo(film, n))
    (place / "train.txt").write_text("./images/cat.png\nimages/dog.png\n")
    (place / "val.txt").write_text("./images/ape.png\n")
    done = imported("yolo")
    assert done.recordings == {"train": 2, "val": 1}
    assert film.objects(tmp_path / "out" / "val" / "ape") == {0: 1}


def voc(film, n):
    x, y, w, h = film.box(n)
    sides = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
    return f"<annotation><object><name>car</name><bndbox>{sides}</bndbox></object></annotation>"


def test_voc_has_folders_of_images_and_of_annotations(place, tmp_path, film, imported):
    for n, name in enumerate(("2007_000027", "2007_000032", "2007_000033")):
        film.image(place / "JPEGImages" / f"{name}.png", n)
        write_text(place / "Annotations" / f"{name}.xml", voc(film, n))
    write_text(place / "ImageSets" / "Main" / "train.txt", "2007_000027\n")
    imported("voc", ImportOptions(stills=True))
    for name in ("2007_000027", "2007_000032", "2007_000033"):
        assert film.objects(tmp_path / "out" / "train" / name) == {0: 1}


def test_voc_of_roboflow_has_images_beside_its_annotations(place, tmp_path, film):
    for split, n in (("train", 0), ("train", 1), ("valid", 2)):
        film.image(place / split / f"cat{HASH.format(n)}.png", n)
        write_text(place / split / f"cat{HASH.format(n)}.xml", voc(film, n))
    main(["import", str(place), "--from", "voc", "-o", str(tmp_path / "out")])
    assert film.objects(tmp_path / "out" / "val" / "cat") == {0: 1}
    assert sum(path.is_dir() for path in (tmp_path / "out" / "train").iterdir()) == 2


def test_a_split_of_which_an_import_says_otherwise(place, tmp_path, film, imported):
    for split, n in (("train", 0), ("valid", 1)):
        film.image(place / split / f"{split}_cat.png", n)
        write_text(place / split / f"{split}_cat.xml", voc(film, n))
    assert imported("voc", ImportOptions(split="test")).recordings == {"test": 2}


def test_a_folder_without_pictures_is_one_sentence(place, imported):
    write_text(place / "a.json", "{}")
    with pytest.raises(InputError, match="must hold recordings"):
        imported("coco")
    with pytest.raises(InputError, match="must hold videos or images, got none"):
        imported("coco", ImportOptions(of="pictures"))


def test_labels_of_splits_may_be_zips(place, tmp_path, film):
    for n, split in enumerate(("train", "val")):
        film.images(place / "images" / split, ["drive_1.png", "drive_2.png"])
        (tmp_path / "labels" / split).mkdir(parents=True)
        with zipfile.ZipFile(tmp_path / "labels" / split / "task.zip", "w") as packed:
            packed.writestr(f"drive_{n + 1}.txt", yolo(film, n))
    options = ImportOptions(classes=("car",))
    import_labels("yolo", tmp_path / "labels", place / "images", tmp_path / "out", options)
    assert film.objects(tmp_path / "out" / "train" / "drive") == {0: 1}
    assert film.objects(tmp_path / "out" / "val" / "drive") == {1: 1}


def test_folders_that_are_only_named_like_a_split_are_sequences(place, tmp_path, film):
    for name in ("test1", "test2"):
        film.images(place / "videos" / name, [f"{n:04}.png" for n in range(1, 4)])
        write_text(place / "gt" / f"{name}.txt", f"2,1,{','.join(map(str, film.box(1)))},1\n")
    options = ImportOptions(classes=("car",))
    done = import_labels("mot", place / "gt", place / "videos", tmp_path / "out", options)
    assert done.recordings == {"train": 2}
    for name in ("test1", "test2"):
        assert film.objects(tmp_path / "out" / "train" / name) == {0: 0, 1: 1}


def test_two_folders_of_one_split_are_refused(place, film, imported):
    for split in ("val", "valid"):
        film.image(place / split / "cat.png", 0)
        write_text(place / split / "cat.xml", voc(film, 0))
    with pytest.raises(InputError, match="must have one folder for each split, got val, valid"):
        imported("voc")


def test_what_is_known_of_sensors_is_refused_for_pictures(place, film, imported):
    film.image(place / "cat.png", 0)
    write_text(place / "cat.xml", voc(film, 0))
    with pytest.raises(InputError, match="size_hw and time_unit must be left out for videos and images"):
        imported("voc", ImportOptions(size_hw=(48, 64)))
