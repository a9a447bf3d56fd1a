"""Labels of videos: every frame of them is the picture that shows it, whatever the format and the rate."""

import json

import av
import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.cli import main
from seqdet.data.classes import read_classes
from seqdet.data.labels import read_labelled_us, read_labels
from seqdet.events.array import columns
from seqdet.events.tables import write_npz
from seqdet.importing import ImportOptions, import_labels

VARIABLE_MS = [0, 40, 73, 120, 500, 540, 541, 700, 1000, 1033, 1066, 2000]
"""When the pictures of a video are taken whose rate varies."""
CAR = ImportOptions(classes=("car",))


def regular_ms(count, fps):
    return [round(n * 1000 / fps) for n in range(count)]


def mot(film, frames, first=1):
    return "".join(f"{n + first},7,{','.join(map(str, film.box(n)))},1\n" for n in frames)


def shares(film, n):
    x, y, w, h = film.box(n)
    height, width = film.size_hw
    return (x + w / 2) / width, (y + h / 2) / height, w / width, h / height


def write_mot(folder, film, frames, name="drive"):
    (folder / f"{name}.txt").write_text(mot(film, frames))


def write_coco(folder, film, frames, name="drive"):
    images = [{"id": n, "frame_id": n, "width": 64, "height": 48} for n in frames]
    write_coco_of(folder / f"{name}.json", film, images)


def write_coco_of_names(folder, film, frames, name="drive"):
    write_coco_of(folder / "boxes.json", film, [{"id": n, "file_name": f"{name}/frame_{n:06}.png"} for n in frames])


def write_coco_of(path, film, images, objects=None):
    annotations = [
        {"id": n, "image_id": each["id"], "category_id": 1, "bbox": film.box(each["id"])}
        for n, each in enumerate(images)
        if objects is None or each["id"] in objects
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_yolo(folder, film, frames, name="drive"):
    for n in frames:
        (folder / f"{name}_{n:06}.txt").write_text(f"0 {' '.join(map(str, shares(film, n)))}\n")


def write_voc(folder, film, frames, name="drive"):
    for n in frames:
        x, y, w, h = film.box(n)
        sides = f"<xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax><ymax>{y + h}</ymax>"
        content = f"<object><name>car</name><bndbox>{sides}</bndbox></object>"
        (folder / f"{name}_{n:06}.xml").write_text(f"<annotation>{content}</annotation>")


def write_csv(folder, film, frames, name="drive"):
    rows = "".join(f"{n},{','.join(map(str, film.box(n)))},car\n" for n in frames)
    (folder / f"{name}.csv").write_text(f"frame,x,y,w,h,class\n{rows}")


def write_cvat(folder, film, frames, name="drive"):
    def sides(n):
        x, y, w, h = film.box(n)
        return f'xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"'

    boxes = (f'<box frame="{n}" keyframe="1" outside="0" {sides(n)}/>' for n in frames)
    tracks = "".join(f'<track id="{n}" label="car">{box}</track>' for n, box in enumerate(boxes))
    (folder / f"{name}.xml").write_text(f"<annotations><version>1.1</version>{tracks}</annotations>")


def write_label_studio(folder, film, frames, name="drive", *, count=12, duration=2.0):
    def percent(n):
        x, y, w, h = film.box(n)
        height, width = film.size_hw
        return {"x": x * 100 / width, "y": y * 100 / height, "width": w * 100 / width, "height": h * 100 / height}

    tracks = [
        {
            "id": str(n),
            "type": "videorectangle",
            "value": {
                "framesCount": count,
                "duration": duration,
                "sequence": [{"frame": n + 1, "enabled": False, **percent(n)}],
                "labels": ["car"],
            },
        }
        for n in frames
    ]
    data = {"video": f"/data/upload/1/0123abcd-{name}.mkv"}
    task = {"id": 1, "data": data, "annotations": [{"result": tracks}]}
    (folder / "tasks.json").write_text(json.dumps([task]))


def write_times(folder, film, frames, name="drive"):
    rows = "".join(f"{VARIABLE_MS[n] * 1000 + 3},0,1,{','.join(map(str, film.box(n)))},1\n" for n in frames)
    (folder / f"{name}.csv").write_text(rows)


def write_psee(folder, film, frames, name="drive"):
    rows = (f"{VARIABLE_MS[n] * 1000} 1 BB_MOVE 0 {' '.join(map(str, film.box(n)))} 1\n" for n in frames)
    (folder / f"{name}.txt").write_text("".join(rows))


WRITERS = {
    "mot": ("mot", write_mot),
    "coco by frame_id": ("coco", write_coco),
    "coco by the names of its images": ("coco", write_coco_of_names),
    "yolo": ("yolo", write_yolo),
    "voc": ("voc", write_voc),
    "csv by frame": ("csv", write_csv),
    "csv by time": ("csv", write_times),
    "psee-txt": ("psee-txt", write_psee),
    "cvat": ("cvat", write_cvat),
    "labelstudio": ("labelstudio", write_label_studio),
}


@pytest.fixture
def labels(tmp_path):
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"


@pytest.fixture
def imported(tmp_path, labels, film):
    """A function: names of videos to the import of their labels."""

    def run(source, *names, options=CAR, times_ms=VARIABLE_MS):
        for name in names:
            film.video(tmp_path / "videos" / f"{name}.mkv", times_ms)
        return import_labels(source, labels, tmp_path / "videos", tmp_path / "out", options)

    return run


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("frames", [range(12), [0, 3, 4, 11]])
def test_every_box_is_where_the_picture_of_its_time_shows_its_object_also_at_a_rate_that_varies(
    tmp_path, labels, film, imported, name, frames
):
    source, write = WRITERS[name]
    write(labels, film, frames)
    done = imported(source, "drive")
    found = film.objects(tmp_path / "out" / "train" / "drive.mkv")
    assert {n for n, count in found.items() if count} == set(frames)
    assert done.boxes == {"car": len(frames)}
    assert read_classes(tmp_path / "out") == ("car",)
    assert done.warnings == []
    assert (tmp_path / "out" / "train" / "drive.mkv").samefile(tmp_path / "videos" / "drive.mkv")


def labelled_pictures(tmp_path, name="drive"):
    path = tmp_path / "out" / "train" / f"{name}_bbox.npy"
    return [VARIABLE_MS.index(time // 1000) for time in read_labelled_us(path, read_labels(path)).tolist()]


@pytest.mark.parametrize(
    ("frames", "pictures", "is_guessed"),
    [
        ([0, 4, 11], [0, 4, 11], False),
        ([1, 4, 12], [0, 3, 11], False),
        ([1, 4, 11], [1, 4, 11], True),
    ],
)
def test_frames_begin_at_0_or_at_1_as_fits_and_what_nothing_tells_is_warned_of(
    tmp_path, labels, film, imported, frames, pictures, is_guessed
):
    write_csv(labels, film, frames)
    done = imported("csv", "drive")
    assert labelled_pictures(tmp_path) == pictures
    assert len(done.warnings) == is_guessed
    assert not is_guessed or "If that is one off, give --first-frame 1" in done.warnings[0]
    assert any("numbered from" in what for what in done.told)


def test_the_number_of_the_first_frame_may_be_given(tmp_path, labels, film, imported):
    write_csv(labels, film, [1, 4, 11])
    done = imported("csv", "drive", options=ImportOptions(classes=("car",), first_frame=1))
    assert labelled_pictures(tmp_path) == [0, 3, 10]
    assert done.warnings == []


def test_videos_that_tell_where_frames_begin_tell_it_for_those_that_do_not(tmp_path, labels, film, imported):
    write_csv(labels, film, [1, 4, 12], "drive")
    write_csv(labels, film, [1, 4], "night")
    done = imported("csv", "drive", "night")
    assert labelled_pictures(tmp_path, "night") == [0, 3]
    assert done.warnings == []


def test_mot_begins_at_1_unless_it_has_a_frame_0(tmp_path, labels, film, imported):
    (labels / "drive.txt").write_text(mot(film, [2, 3]))
    (labels / "night.txt").write_text(mot(film, [0, 3], first=0))
    imported("mot", "drive", "night")
    assert film.objects(tmp_path / "out" / "train" / "drive.mkv") == {0: 0, 1: 0, 2: 1, 3: 1}
    assert film.objects(tmp_path / "out" / "train" / "night.mkv") == {0: 1, 1: 0, 2: 0, 3: 1}


@pytest.mark.parametrize(("rate", "step"), [(10, 3), (30, 1), (30.1, 1), (15, 2)])
def test_labels_of_a_lower_rate_are_at_the_pictures_nearest_to_their_times(
    tmp_path, labels, film, imported, rate, step
):
    frames = range(30 // step)
    lines = (f"{k},{','.join(map(str, film.box(step * k)))},car\n" for k in frames)
    (labels / "drive.csv").write_text(f"frame,x,y,w,h,class\n{''.join(lines)}")
    options = ImportOptions(label_rate=rate)
    done = imported("csv", "drive", options=options, times_ms=regular_ms(30, 30))
    assert film.objects(tmp_path / "out" / "train" / "drive.mkv") == {step * k: 1 for k in frames}
    assert any("nearest to its time" in what for what in done.told) == (step > 1)


def test_label_studio_counts_frames_at_a_rate_of_its_own(tmp_path, labels, film, imported):
    write_label_studio(labels, film, range(24), count=24, duration=1.0)
    task = json.loads((labels / "tasks.json").read_text())
    for n, track in enumerate(task[0]["annotations"][0]["result"]):
        x, y, w, h = film.box(2 * n)
        track["value"]["sequence"][0] |= {"x": x / 0.64, "y": y / 0.48, "width": w / 0.64, "height": h / 0.48}
    (labels / "tasks.json").write_text(json.dumps(task))
    done = imported("labelstudio", "drive", times_ms=regular_ms(48, 48))
    assert film.objects(tmp_path / "out" / "train" / "drive.mkv") == {2 * n: 1 for n in range(24)}
    assert any("nearest to its time" in what for what in done.told)


def test_labels_of_more_frames_than_the_video_has_are_refused_unless_they_are_few_or_left_out(
    tmp_path, labels, film, imported
):
    write_mot(labels, film, range(16))
    with pytest.raises(InputError, match=r"boxes in 4 of 16 frames that drive\.mkv with its 12 pictures does not have"):
        imported("mot", "drive")
    assert not (tmp_path / "out").exists()
    done = imported("mot", options=ImportOptions(classes=("car",), leave_out=True))
    assert film.objects(tmp_path / "out" / "train" / "drive.mkv") == dict.fromkeys(range(12), 1)
    assert done.dropped["boxes of frames that their pictures do not have"] == 4


def test_few_frames_that_a_video_does_not_have_are_left_out_with_a_warning(tmp_path, labels, film, imported):
    write_mot(labels, film, range(61))
    done = imported("mot", "drive", times_ms=regular_ms(60, 25))
    assert done.boxes == {"car": 60}
    assert done.dropped == {"boxes of frames that their pictures do not have": 1}
    assert "boxes in 1 of 61 frames" in done.warnings[0]
    assert "the first is 61" in done.warnings[0]


def test_times_beyond_the_video_are_no_pictures_of_it(labels, film, imported):
    (labels / "drive.csv").write_text("9000000,0,1,8,8,8,8,1\n")
    with pytest.raises(InputError, match=r"the first is 9000000"):
        imported("csv", "drive")


def test_that_labels_end_early_is_told(labels, film, imported):
    write_mot(labels, film, range(6))
    done = imported("mot", "drive")
    assert any("labels end early, the first drive.mkv: at picture 6 of 12 (50%)" in what for what in done.told)


def test_boxes_of_frames_of_another_size_are_scaled_and_of_another_shape_refused(tmp_path, labels, film, imported):
    double = [{"id": n, "frame_id": n, "width": 128, "height": 96} for n in range(12)]
    content = {
        "images": double,
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [2 * side for side in film.box(n)]} for n in range(12)
        ],
        "categories": [{"id": 1, "name": "car"}],
    }
    (labels / "drive.json").write_text(json.dumps(content))
    imported("coco", "drive")
    assert film.objects(tmp_path / "out" / "train" / "drive.mkv") == dict.fromkeys(range(12), 1)
    for each in double:
        each["height"] = 128
    (labels / "drive.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"frames of 128x128 pixels, which the picture of drive\.mkv, 64x48"):
        imported("coco", options=ImportOptions(split="val"))


def test_boxes_are_in_pixels_of_the_picture_as_players_turn_it(tmp_path, labels):
    with av.open(tmp_path / "drive.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode())
    content = (tmp_path / "drive.mp4").read_bytes()
    matrix = content.index(b"tkhd") + 44  # ISO/IEC 14496-12: after the type of the box, 40 bytes of other fields
    turned = np.array([0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()  # a quarter to the right
    (tmp_path / "drive.mp4").write_bytes(content[:matrix] + turned + content[matrix + 36 :])
    (labels / "drive_0.txt").write_text("0 .5 .5 .5 .25\n")
    import_labels("yolo", labels, tmp_path / "drive.mp4", tmp_path / "out", CAR)
    (box,) = read_labels(tmp_path / "out" / "train" / "drive_bbox.npy")
    assert box[["x", "y", "w", "h"]].tolist() == (12, 24, 24, 16)


def test_a_file_for_one_frame_that_does_not_say_which_is_refused(labels, film, imported):
    (labels / "drive.txt").write_text("0 .5 .5 .5 .25\n")
    with pytest.raises(InputError, match=r"named as drive\.mkv, which has 12 pictures"):
        imported("yolo", "drive")


def test_a_folder_of_events_and_videos_is_refused_until_it_is_said_which_are_labelled(tmp_path, labels, film, imported):
    write_mot(labels, film, range(12))
    t = np.arange(0, 2_000_000, 1000)
    write_npz(tmp_path / "drive.npz", [columns(t=t, x=t % 64, y=t % 48, p=t % 2)], size_hw=(48, 64))
    (tmp_path / "videos").mkdir()
    (tmp_path / "drive.npz").rename(tmp_path / "videos" / "drive.npz")
    with pytest.raises(InputError, match=r"has both \(drive\.npz and drive\.mkv\).*--of events or --of pictures"):
        imported("mot", "drive")
    imported("mot", options=ImportOptions(classes=("car",), of="pictures"))
    assert not list((tmp_path / "out").rglob("*.npz"))
    options = ImportOptions(classes=("car",), of="events", label_rate=10)
    with pytest.raises(
        InputError, match=r"must be a dataset of events to take more .* is one of pictures \(drive\.mkv"
    ):
        imported("mot", options=options)
    import_labels("mot", labels, tmp_path / "videos", tmp_path / "other", options)
    assert [path.name for path in (tmp_path / "other" / "train").glob("*.npz")] == ["drive.npz"]


def test_two_videos_of_one_name_are_refused(tmp_path, labels, film, imported):
    write_mot(labels, film, range(12))
    film.video(tmp_path / "videos" / "drive.avi", VARIABLE_MS)
    with pytest.raises(InputError, match=r"must have different names, and .*drive\.avi and .*drive\.mkv both"):
        imported("mot", "drive")


def test_a_video_without_labels_is_an_error_unless_it_is_left_out(tmp_path, labels, film, imported):
    write_mot(labels, film, range(12))
    with pytest.raises(InputError, match=r"1 sequences have no labels \(night\)"):
        imported("mot", "drive", "night")
    done = imported("mot", options=ImportOptions(classes=("car",), leave_out=True))
    assert done.dropped == {"sequences without labels": 1}
    assert not (tmp_path / "out" / "train" / "night.mkv").exists()


def test_a_video_that_cannot_be_read_is_named_and_the_others_are_imported(tmp_path, labels, film, imported):
    write_mot(labels, film, range(12), "drive")
    write_mot(labels, film, range(12), "night")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "night.mkv").write_bytes(b"no video at all" * 99)
    done = imported("mot", "drive")
    assert done.recordings == {"train": 1}
    assert "night.mkv must be a video" in done.failed[0]


def test_an_import_may_be_repeated_and_a_dataset_grows(tmp_path, labels, film, imported):
    write_mot(labels, film, range(12))
    imported("mot", "drive")
    imported("mot")
    film.video(tmp_path / "more" / "night.mkv", VARIABLE_MS)
    (tmp_path / "night.txt").write_text(mot(film, range(12)))
    import_labels("mot", tmp_path / "night.txt", tmp_path / "more", tmp_path / "out", ImportOptions(classes=("bus",)))
    assert read_classes(tmp_path / "out") == ("car", "bus")
    film.video(tmp_path / "other" / "drive.mkv", regular_ms(12, 5))
    with pytest.raises(InputError, match=r"drive\.mkv must not be there yet, and is another one"):
        import_labels("mot", labels, tmp_path / "other", tmp_path / "out", CAR)


def test_a_folder_that_has_videos_and_labels_is_named_alone(tmp_path, film):
    for split, name in (("train", "a"), ("valid", "a"), ("test", "b")):
        film.video(tmp_path / "in" / split / f"{name}.mkv", VARIABLE_MS)
        (tmp_path / "in" / split / f"{name}.txt").write_text(mot(film, range(12)))
    main(["import", str(tmp_path / "in"), "--from", "mot", "-o", str(tmp_path / "out"), "--classes", "car"])
    for place in ("train/a.mkv", "val/a.mkv", "test/b.mkv"):
        assert film.objects(tmp_path / "out" / place) == dict.fromkeys(range(12), 1)


def test_a_zip_of_labels_needs_its_videos_named(tmp_path, film):
    (tmp_path / "labels.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"recordings must be named, or a folder that has them beside their labels"):
        import_labels("mot", tmp_path / "labels.zip", None, tmp_path / "out", CAR)
