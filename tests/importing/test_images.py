"""Labels of images: which images are a sequence, when they were taken, and which label is of which."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seqdet.checks import InputError
from seqdet.data.labels import read_labels
from seqdet.importing import ImportOptions, import_labels
from seqdet.importing.sequences import find_sequences
from seqdet.pictures.images import images_in
from seqdet.pictures.sequence import open_pictures

CAR = ImportOptions(classes=("car",))
NAMES = [f"{n:06}.png" for n in range(1, 8)]


def shares(film, n):
    x, y, w, h = film.box(n)
    height, width = film.size_hw
    return (x + w / 2) / width, (y + h / 2) / height, w / width, h / height


def write_yolo(folder, film, names):
    for n, name in names.items():
        path = (folder / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"0 {' '.join(map(str, shares(film, n)))}\n")


def write_voc(folder, film, names):
    for n, name in names.items():
        x, y, w, h = film.box(n)
        sides = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
        path = (folder / name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation><object><name>car</name><bndbox>{sides}</bndbox></object></annotation>")


def write_coco(folder, film, names):
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in names.items()]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": film.box(n)} for n in names]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    (folder / "boxes.json").write_text(json.dumps(content))


def write_cvat(folder, film, names):
    images = ""
    for n, name in names.items():
        x, y, w, h = film.box(n)
        box = f'<box label="car" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>'
        images += f'<image id="{n}" name="{name}" width="64" height="48">{box}</image>'
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")


def write_label_studio(folder, film, names):
    tasks = []
    for n, name in names.items():
        x, y, w, h = film.box(n)
        value = {"x": x / 0.64, "y": y / 0.48, "width": w / 0.64, "height": h / 0.48, "rectanglelabels": ["car"]}
        result = [{"id": "a", "type": "rectanglelabels", "value": value}]
        data = {"image": f"/data/local-files/?d=work/{name}"}
        tasks.append({"id": n, "data": data, "annotations": [{"result": result}]})
    (folder / "tasks.json").write_text(json.dumps(tasks))


def write_mot(folder, film, names):
    text = "".join(f"{n + 1},7,{','.join(map(str, film.box(n)))},1\n" for n in names)
    place = folder / next(iter(names.values())).partition("/")[0] / "gt"
    place.mkdir(parents=True)
    (place / "gt.txt").write_text(text)


def write_csv(folder, film, names):
    rows = "".join(f"{n + 1},{','.join(map(str, film.box(n)))},car\n" for n in names)
    (folder / f"{next(iter(names.values())).partition('/')[0]}.csv").write_text(f"frame,x,y,w,h,class\n{rows}")


WRITERS = {
    "yolo": write_yolo,
    "voc": write_voc,
    "coco": write_coco,
    "cvat": write_cvat,
    "labelstudio": write_label_studio,
    "mot": write_mot,
    "csv": write_csv,
}


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"


@pytest.mark.parametrize("source", WRITERS)
@pytest.mark.parametrize("others", [(), ("night",)])
def test_every_box_is_on_the_image_that_shows_its_object(tmp_path, labels, film, source, others):
    film.images(tmp_path / "pictures" / "drive", NAMES)
    for other in others:
        film.images(tmp_path / "pictures" / other, NAMES)
    WRITERS[source](labels, film, {n: f"drive/{NAMES[n]}" for n in (0, 2, 3, 6)})
    options = ImportOptions(classes=("car",), leave_out=True)
    done = import_labels(source, labels, tmp_path / "pictures", tmp_path / "out", options)
    target = tmp_path / "out" / "train" / "drive"
    found = film.objects(target)
    assert {n for n, count in found.items() if count} == {0, 2, 3, 6}
    assert done.boxes == {"car": 4}
    assert images_in(target) == [target / name for name in NAMES]
    assert all((target / name).samefile(tmp_path / "pictures" / "drive" / name) for name in NAMES)
    assert open_pictures(target).times_us.tolist() == [40_000 * n for n in range(7)]
    assert done.told["sequences of images at 25 a second, as nothing says their rate: --label-rate does"] == 1
    assert done.dropped.get("sequences without labels", 0) == len(others)


@pytest.mark.parametrize("options", [{"label_rate": 10}, {"frame_us": 100_000}])
def test_the_rate_of_images_is_that_which_is_given(tmp_path, labels, film, options):
    film.images(tmp_path / "drive", NAMES)
    write_yolo(labels, film, {1: NAMES[1]})
    import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", ImportOptions(classes=("car",), **options))
    assert open_pictures(tmp_path / "out" / "train" / "drive").times_us.tolist() == [100_000 * n for n in range(7)]
    assert film.objects(tmp_path / "out" / "train" / "drive") == {1: 1}


def test_times_beside_a_folder_are_those_of_its_images(tmp_path, labels, film):
    film.images(tmp_path / "drive", NAMES)
    times_us = np.array([0, 5, 70, 100, 200, 210, 999])
    np.save(tmp_path / "drive_times.npy", times_us)
    write_yolo(labels, film, {1: NAMES[1]})
    import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)
    assert open_pictures(tmp_path / "out" / "train" / "drive").times_us.tolist() == times_us.tolist()


def test_images_that_are_missing_leave_a_gap_in_time_and_keep_their_numbers(tmp_path, labels, film):
    numbers = [3, 4, 7, 8, 10]
    film.images(tmp_path / "drive", [f"{n:06}.png" for n in numbers])
    rows = "".join(f"{number},7,{','.join(map(str, film.box(n)))},1\n" for n, number in enumerate(numbers))
    (labels / "drive.txt").write_text(rows)
    done = import_labels(
        "mot", labels, tmp_path / "drive", tmp_path / "out", ImportOptions(classes=("car",), label_rate=10)
    )
    target = tmp_path / "out" / "train" / "drive"
    assert open_pictures(target).times_us.tolist() == [0, 100_000, 400_000, 500_000, 700_000]
    assert done.boxes == {"car": 5}


def test_numbers_that_are_microseconds_are_the_times_of_images(tmp_path, labels, film):
    times = [1_000_000, 1_033_333, 1_066_666, 1_100_000]
    film.images(tmp_path / "drive", [f"{time}.png" for time in times])
    write_yolo(labels, film, {2: f"{times[2]}.png"})
    import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)
    assert open_pictures(tmp_path / "out" / "train" / "drive").times_us.tolist() == [0, 33_333, 66_666, 100_000]
    assert film.objects(tmp_path / "out" / "train" / "drive") == {2: 1}


def test_frames_may_be_named_otherwise_than_their_images(tmp_path, labels, film):
    film.images(tmp_path / "pictures" / "drive", NAMES)
    write_yolo(labels, film, {n: f"drive/frame_{n:06}.txt" for n in range(7)})
    import_labels("yolo", labels, tmp_path / "pictures", tmp_path / "out", CAR)
    assert film.objects(tmp_path / "out" / "train" / "drive") == dict.fromkeys(range(7), 1)


def test_images_that_labels_name_and_that_are_not_there_are_refused_unless_they_are_few(tmp_path, labels, film):
    names = [f"drive_{n:03}.png" for n in range(40)]
    film.images(tmp_path / "pictures", names)
    write_yolo(labels, film, {n: name for n, name in enumerate(names) if n >= 1})
    write_yolo(labels, film, {40: "drive_040.png"})
    done = import_labels("yolo", labels, tmp_path / "pictures", tmp_path / "out", CAR)
    assert film.objects(tmp_path / "out" / "train" / "drive") == dict.fromkeys(range(1, 40), 1)
    assert "boxes in 1 of 40 frames that drive with its 40 pictures does not have" in done.warnings[0]
    write_yolo(labels, film, {n: f"drive_{n:03}.png" for n in range(40, 60)})
    with pytest.raises(InputError, match=r"boxes in 20 of 59 frames that drive with its 40 pictures does not have"):
        import_labels("yolo", labels, tmp_path / "pictures", tmp_path / "again", CAR)


def stills(folder, film, *names):
    for n, name in enumerate(names):
        film.image(folder / name, n, size_hw=(48, 64 + 8 * n))


def names_in(folder, **options):
    return {each.name: [path.name for path in each.images] for each in find_sequences(folder, Counter(), **options)}


def test_images_whose_names_differ_in_their_last_number_are_one_sequence(tmp_path, film):
    film.images(tmp_path, ["drive_2.png", "drive_10.png", "drive_9.png", "night_1.png", "night_2.png", "cat.png"])
    assert names_in(tmp_path) == {
        "cat": ["cat.png"],
        "drive": ["drive_2.png", "drive_9.png", "drive_10.png"],
        "night": ["night_1.png", "night_2.png"],
    }
    assert len(names_in(tmp_path, stills=True)) == 6


def test_images_of_different_sizes_stand_alone(tmp_path, film):
    stills(tmp_path, film, "drive_1.png", "drive_2.png")
    assert names_in(tmp_path) == {"drive_1": ["drive_1.png"], "drive_2": ["drive_2.png"]}


def test_numbers_that_are_names_stand_alone_and_those_that_count_are_one_sequence(tmp_path, film):
    for n, number in enumerate((397133, 37777, 252219, 87038, 174482)):
        film.image(tmp_path / "set" / "val2017" / f"{number:012}.png", n)
        film.image(tmp_path / "set" / "train2017" / f"{10 * n:012}.png", n)
    found = names_in(tmp_path)
    assert [len(images) for name, images in found.items() if len(images) > 1] == [5]
    assert len(found) == 6


def test_what_roboflow_adds_to_names_is_no_part_of_them_and_its_copies_stand_alone(tmp_path, film):
    tail = "_png.rf.{:032x}.png"
    film.images(tmp_path, [f"drive_{n}" + tail.format(90 - n) for n in (2, 10)])
    film.images(tmp_path, ["night_1" + tail.format(1), "night_1" + tail.format(2), "night_2" + tail.format(3)])
    found = names_in(tmp_path)
    assert [name.partition("_png")[0] for name in found["drive"]] == ["drive_2", "drive_10"]
    assert sorted(len(images) for images in found.values()) == [1, 1, 1, 2]


@given(
    st.lists(st.integers(0, 10**6), min_size=2, max_size=12, unique=True),
    st.sampled_from(["drive_", "frame", "a1_", "x-"]),
)
def test_the_images_of_a_sequence_are_in_the_order_in_which_a_folder_has_them(tmp_path_factory, numbers, prefix):
    folder = tmp_path_factory.mktemp("images") / "drive"
    folder.mkdir()
    for number in numbers:
        Image.new("L", (2, 2)).save(folder / f"{prefix}{number}.png")
    (found,) = find_sequences(folder.parent, Counter())
    assert list(found.images) == images_in(folder)
    assert list(found.numbers) == sorted(numbers)


@pytest.mark.parametrize("source", ["yolo", "voc", "coco", "cvat", "labelstudio"])
def test_images_that_stand_alone_are_sequences_of_one_picture(tmp_path, labels, film, source):
    names = {n: f"{name}.png" for n, name in enumerate(("cat", "dog", "zebra_12"))}
    film.images(tmp_path / "pictures", names.values())
    WRITERS[source](labels, film, names)
    import_labels(source, labels, tmp_path / "pictures", tmp_path / "out", CAR)
    for name in ("cat", "dog", "zebra_12"):
        path = tmp_path / "out" / "train" / name
        assert open_pictures(path).times_us.tolist() == [0]
        assert film.objects(path) == {0: 1}


def test_images_of_one_name_in_two_folders_are_told_apart(tmp_path, labels, film):
    for n, folder in enumerate(("a", "b")):
        film.image(tmp_path / "pictures" / folder / "cat.png", n)
    write_yolo(labels, film, {0: "a/cat.png", 1: "b/cat.png"})
    import_labels("yolo", labels, tmp_path / "pictures", tmp_path / "out", CAR)
    for name in ("a_cat", "b_cat"):
        assert film.objects(tmp_path / "out" / "train" / name) == {0: 1}


def test_labels_in_a_folder_that_no_images_have_belong_to_none(tmp_path, labels, film):
    for name in ("drive", "night"):
        film.images(tmp_path / "pictures" / name, NAMES)
    write_yolo(labels, film, {0: "drive/000001.png", 1: "night/000002.png", 2: "other/000003.png"})
    with pytest.raises(InputError, match=r"1 labels have no sequence \(.*000003\.txt"):
        import_labels("yolo", labels, tmp_path / "pictures", tmp_path / "out", CAR)


def test_an_image_turned_by_its_exif_is_labelled_as_it_is_shown(tmp_path, labels):
    image = Image.new("RGB", (64, 48))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "cat.jpg", exif=exif)
    (labels / "cat.txt").write_text("0 .5 .5 .5 .25\n")
    import_labels("yolo", labels, tmp_path / "cat.jpg", tmp_path / "out", CAR)
    (box,) = read_labels(tmp_path / "out" / "train" / "cat_bbox.npy")
    assert box[["x", "y", "w", "h"]].tolist() == (12, 24, 24, 16)


def test_images_that_cannot_be_linked_are_copied_and_an_import_may_be_repeated(tmp_path, labels, film, monkeypatch):
    def fail(*_):
        raise OSError

    film.images(tmp_path / "drive", NAMES)
    write_yolo(labels, film, dict(enumerate(NAMES)))
    with monkeypatch.context() as patched:
        patched.setattr("os.link", fail)
        import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)
    assert film.objects(tmp_path / "out" / "train" / "drive") == dict.fromkeys(range(7), 1)
    import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)
    (tmp_path / "drive" / NAMES[3]).unlink()
    (labels / "000004.txt").unlink()
    with pytest.raises(InputError, match="must not be there yet, and is another one"):
        import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)


def test_a_folder_of_images_appears_whole_or_not_at_all(tmp_path, labels, film, monkeypatch):
    film.images(tmp_path / "drive", NAMES)
    write_yolo(labels, film, {0: NAMES[0]})

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.link", full)
        patched.setattr("shutil.copyfile", full)
        with pytest.raises(InputError, match=r"drive cannot be written: No space left"):
            import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)
    assert not [path for path in (tmp_path / "out" / "train").iterdir() if path.is_dir()]
    import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)
    assert film.objects(tmp_path / "out" / "train" / "drive") == {0: 1}


def test_a_damaged_image_is_one_sentence(tmp_path, labels, film):
    film.images(tmp_path / "drive", NAMES)
    (tmp_path / "drive" / NAMES[3]).write_bytes(b"no image")
    write_yolo(labels, film, {0: NAMES[0]})
    with pytest.raises(InputError, match=r"000004\.png must be an image that Pillow reads"):
        import_labels("yolo", labels, tmp_path / "drive", tmp_path / "out", CAR)
