"""Exports of CVAT and Label Studio: the boxes, identities and labelled times that their tools show."""

import json
import zipfile

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.data.labels import read_labelled_us, read_labels
from seqdet.importing import ImportOptions, import_labels, parsed

AT_10_HZ = ImportOptions(label_rate=10)


def imported(folder, source, *names, options=AT_10_HZ, labels=None):
    """What the import says, and of every recording rows of (frame at 10 Hz, x, y, w, h, track) and labelled frames."""
    recordings = folder.parent / f"{names[0]}.npz" if len(names) == 1 else folder.parent
    done = import_labels(source, labels or folder, recordings, folder.parent / "out", options)
    found = []
    for name in names:
        path = folder.parent / "out" / "train" / f"{name}_bbox.npy"
        boxes = read_labels(path)
        rows = np.stack([boxes[field] for field in ("t", "x", "y", "w", "h", "track_id")], axis=1).astype(float)
        rows[:, 0] /= 100_000
        found.append((np.round(rows, 3).tolist(), (read_labelled_us(path, boxes) // 100_000).tolist(), boxes))
    return "\n".join(done.lines()), *found


def shape(frame, x, *, key=1, outside=0, y=10, w=20, h=15, inside="", more=""):
    sides = f'xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"'
    return f'<box frame="{frame}" keyframe="{key}" outside="{outside}" occluded="1" {sides} {more}>{inside}</box>'


def track(number, *shapes, label="car", more=""):
    return f'<track id="{number}" label="{label}" {more}>{"".join(shapes)}</track>'


def cvat(*content, meta=""):
    head = '<?xml version="1.0" encoding="utf-8"?>'
    return f"{head}<annotations><version>1.1</version>{meta}{''.join(content)}</annotations>"


def task(*, number=1, first=0, last=6, step="", size="", source="drive.mp4", name="my task"):
    labels = "<labels><label><name>car</name></label><label><name>bus</name></label></labels>"
    return (
        f"<task><id>{number}</id><name>{name}</name><start_frame>{first}</start_frame><stop_frame>{last}</stop_frame>"
        f"<frame_filter>{step}</frame_filter>{labels}{size}<source>{source}</source></task>"
    )


def test_tracks_of_cvat_move_evenly_between_keyframes_and_end_where_they_are_outside(folder):
    tracks = track(5, shape(1, 10), shape(3, 14), shape(4, 14, outside=1)), track(7, shape(3, 40), label="bus")
    (folder / "drive.xml").write_text(cvat(*tracks))
    said, (rows, labelled, boxes) = imported(folder, "cvat", "drive")
    assert rows == [[1, 10, 10, 20, 15, 5], [2, 12, 10, 20, 15, 5], [3, 14, 10, 20, 15, 5], [3, 40, 10, 20, 15, 7]]
    assert labelled == [1, 2, 3, 4]
    assert boxes["class_id"].tolist() == [0, 0, 0, 1]
    assert "1 boxes interpolated between keyframes" in said


@pytest.mark.parametrize("outside", ["1", "true"])
def test_a_box_moves_on_to_a_keyframe_that_is_outside_and_not_from_there(folder, outside):
    (folder / "drive.xml").write_text(cvat(track(0, shape(0, 10), shape(2, 20, outside=outside), shape(5, 50))))
    _, (rows, labelled, _) = imported(folder, "cvat", "drive")
    assert [row[:2] for row in rows] == [[0, 10], [1, 15], [5, 50]]
    assert labelled == [0, 1, 2, 5]


def test_all_frames_of_a_task_are_labelled_but_those_that_were_deleted(folder):
    shapes = shape(2, 10), shape(3, 11, key=0), shape(5, 13, key=0), shape(6, 14)
    (folder / "drive.xml").write_text(cvat(track(0, *shapes), meta=f"<meta>{task(last=8)}</meta>"))
    _, (rows, labelled, _) = imported(folder, "cvat", "drive")
    assert [row[:2] for row in rows] == [[2, 10], [3, 11], [5, 13], [6, 14]]
    assert labelled == [0, 1, 2, 3, 5, 6, 7, 8]


def test_a_frame_that_one_track_leaves_out_is_labelled_where_another_has_it(folder):
    tracks = track(0, shape(2, 10), shape(4, 13, key=0)), track(1, shape(3, 50))
    (folder / "drive.xml").write_text(cvat(*tracks, meta=f"<meta>{task(last=5)}</meta>"))
    _, (rows, labelled, _) = imported(folder, "cvat", "drive")
    assert [row[:2] for row in rows] == [[2, 10], [3, 50], [4, 13]]
    assert labelled == [0, 1, 2, 3, 4, 5]


def test_frames_that_a_task_skips_are_neither_labelled_nor_filled(folder):
    meta = f"<meta>{task(last=8, step='step=2')}</meta>"
    (folder / "drive.xml").write_text(cvat(track(0, shape(2, 10), shape(6, 18)), meta=meta))
    _, (rows, labelled, _) = imported(folder, "cvat", "drive")
    assert [row[:2] for row in rows] == [[2, 10], [4, 14], [6, 18]]
    assert labelled == [0, 2, 4, 6, 8]


def test_tracks_outside_of_what_a_task_states_are_told_and_nothing_counts_as_empty(folder):
    (folder / "drive.xml").write_text(cvat(track(0, shape(2, 10), shape(7, 10)), meta=f"<meta>{task(last=5)}</meta>"))
    said, (_, labelled, _) = imported(folder, "cvat", "drive")
    assert labelled == [2, 3, 4, 5, 6, 7]
    assert "1 tasks with tracks outside of the frames that they state" in said


def test_a_task_without_a_track_is_labelled_without_objects(folder):
    (folder / "drive.xml").write_text(cvat(meta=f"<meta>{task(last=2)}</meta>"))
    _, (rows, labelled, _) = imported(folder, "cvat", "drive")
    assert (rows, labelled) == ([], [0, 1, 2])


def test_frames_of_another_size_than_the_sensor_are_scaled(folder):
    size = "<original_size><width>200</width><height>100</height></original_size>"
    (folder / "drive.xml").write_text(cvat(track(0, shape(2, 10)), meta=f"<meta>{task(size=size)}</meta>"))
    _, (rows, _, _) = imported(folder, "cvat", "drive")
    assert rows == [[2, 5, 5, 10, 7.5, 0]]


def test_turned_boxes_and_other_shapes_become_their_upright_boxes(folder):
    polygon = '<polygon frame="1" points="10,10;40,12;20,30"/>'
    ellipse = '<ellipse frame="2" cx="50" cy="25" rx="10" ry="5" rotation="90"/>'
    mask = '<mask frame="3" rle="3" left="4" top="5" width="6" height="7"/>'
    turned = shape(4, 40, w=20, h=10, more='rotation="90"')
    tracks = [track(n, each) for n, each in enumerate((polygon, ellipse, mask, turned))]
    (folder / "drive.xml").write_text(cvat(*tracks))
    said, (rows, _, _) = imported(folder, "cvat", "drive")
    assert [row[1:5] for row in rows] == [[10, 10, 30, 20], [45, 15, 10, 20], [4, 5, 6, 7], [45, 5, 10, 20]]
    assert "1 shapes (polygon) that became" in said
    assert "1 turned boxes" in said


def test_occluded_boxes_are_targets_and_those_with_a_true_attribute_ignored_are_not(folder):
    yes, no = (f'<attribute name="Ignored">{word}</attribute>' for word in ("true", "false"))
    (folder / "drive.xml").write_text(cvat(track(0, shape(0, 1, inside=yes), shape(2, 3, inside=no), shape(3, 4))))
    said, (_, _, boxes) = imported(folder, "cvat", "drive")
    assert boxes["class_confidence"].tolist() == [0, 0, 1, 1]
    assert "2 boxes that are ignored" in said


def test_a_project_gives_every_video_its_tracks(folder):
    tasks = task(number=3, last=2), task(number=4, last=1, source="night.mp4")
    meta = f"<meta><project><tasks>{''.join(tasks)}</tasks></project></meta>"
    tracks = track(0, shape(1, 10), more='task_id="3"'), track(1, shape(1, 50), more='task_id="4"')
    (folder / "annotations.xml").write_text(cvat(*tracks, meta=meta))
    _, drive, night = imported(folder, "cvat", "drive", "night")
    assert drive[:2] == ([[1, 10, 10, 20, 15, 0]], [0, 1, 2])
    assert night[:2] == ([[1, 50, 10, 20, 15, 1]], [0, 1])


def test_videos_of_a_project_whose_recordings_are_not_there_are_named(folder):
    tasks = task(number=3, last=2), task(number=4, last=1, source="fog.mp4")
    meta = f"<meta><project><tasks>{''.join(tasks)}</tasks></project></meta>"
    (folder / "annotations.xml").write_text(cvat(track(0, shape(1, 10), more='task_id="4"'), meta=meta))
    with pytest.raises(InputError, match=r"labels have no recording \(.*annotations\.xml: fog\.mp4"):
        imported(folder, "cvat", "drive")


def test_tracks_of_several_files_of_a_recording_stay_apart(folder):
    (folder / "drive").mkdir()
    for n in (1, 2):
        (folder / "drive" / f"job_{n}.xml").write_text(cvat(track(0, shape(n, 10)), track(1, shape(n, 50))))
    said, (rows, _, _) = imported(folder, "cvat", "drive")
    assert [row[5] for row in rows] == [0, 1, 2, 3]
    assert "1 files whose tracks are numbered on" in said


def test_images_of_cvat_belong_to_the_recordings_of_their_folders(folder):
    def image(number, name, x):
        box = f'<box label="car" occluded="0" xtl="{x}" ytl="2" xbr="{x + 10}" ybr="12"/>'
        return f'<image id="{number}" name="{name}" width="100" height="50">{box}<tag label="rain"/></image>'

    empty = '<image id="2" name="night/frame_000005.PNG" width="100" height="50"/>'
    images = image(0, "drive/frame_000003.PNG", 5), image(1, "night/frame_000004.PNG", 6), empty
    (folder / "annotations.xml").write_text(cvat(*images))
    said, drive, night = imported(folder, "cvat", "drive", "night")
    assert drive[:2] == ([[3, 5, 2, 10, 10, 0]], [3])
    assert night[:2] == ([[4, 6, 2, 10, 10, 0]], [4, 5])
    assert "left out: 2 tags of whole frames" in said


def test_zips_of_cvat_are_read_by_their_names(folder):
    for name, x in (("drive", 10), ("night", 50)):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as packed:
            packed.writestr("annotations.xml", cvat(track(0, shape(1, x))))
            packed.writestr("images/frame_000001.PNG", b"no label")
    _, drive, night = imported(folder, "cvat", "drive", "night")
    assert (drive[0][0][1], night[0][0][1]) == (10, 50)


def test_tracks_that_would_fill_the_memory_are_refused_before(folder, monkeypatch):
    monkeypatch.setattr(parsed, "MOST_FILLED", 20)
    (folder / "drive.xml").write_text(cvat(track(0, shape(0, 10), shape(9, 10)), track(1, shape(0, 1), shape(15, 1))))
    with pytest.raises(InputError, match="tracks of at most 20 boxes together"):
        imported(folder, "cvat", "drive")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("<annotation/>", "must be an annotation of CVAT"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "without entities"),
        ("<annotations>", "sound XML"),
        (cvat(track(0, shape(10**9, 10))), "a frame of at most 4,000,000"),
        (cvat(track(0, '<box frame="1" xtl="1"/>')), "must have numbers"),
        (cvat(track(0, '<polygon frame="1" points="1,2;3"/>')), "x and y of every corner"),
        (cvat('<track id="0">' + shape(0, 1) + "</track>"), "must have a label"),
        (cvat(meta=f"<meta>{task(last=10**12)}</meta>"), "a frame of at most 4,000,000"),
    ],
)
def test_what_is_no_annotation_of_cvat_is_one_sentence(folder, content, sentence):
    (folder / "drive.xml").write_text(content)
    with pytest.raises(InputError, match=sentence):
        imported(folder, "cvat", "drive")


def studio(*tasks):
    return json.dumps(list(tasks))


def of_image(name, *result, **more):
    annotation = {"result": list(result), "was_cancelled": False, **more}
    return {"id": 1, "data": {"image": name}, "annotations": [annotation]}


def rectangle(x=10, y=20, w=30, h=40, label="car", rotation=0, **more):
    value = {"x": x, "y": y, "width": w, "height": h, "rotation": rotation, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "original_width": 200, "original_height": 100, "value": value, **more}


def test_images_of_label_studio_have_boxes_in_percent(folder):
    tasks = (
        of_image("/data/upload/1/0a1b2c3d-drive_000003.png", rectangle(), rectangle(label="bus")),
        of_image("/data/local-files/?d=night/000004.png", rectangle(rotation=90)),
        of_image("s3://bucket/night/000005.png"),
        of_image("s3://bucket/night/000006.png", rectangle(), was_cancelled=True),
        {"id": 5, "data": {"image": "night/000007.png"}, "annotations": []},
    )
    (folder / "export.json").write_text(studio(*tasks))
    said, drive, night = imported(folder, "labelstudio", "drive", "night")
    assert drive[:2] == ([[3, 10, 10, 30, 20, 0]] * 2, [3])
    assert drive[2]["class_id"].tolist() == [0, 1]
    assert night[:2] == ([[4, -10, 10, 20, 30, 0]], [4, 5])  # 60x40 of 200x100, turned about its corner at 20,20
    assert "left out: 2 tasks without an annotation" in said
    assert "1 turned boxes" in said


def test_what_label_studio_puts_before_names_is_no_number(folder):
    (folder / "export.json").write_text(studio(of_image("/data/upload/1/0a1b2c31-drive.png", rectangle())))
    _, (rows, _, boxes) = imported(folder, "labelstudio", "drive")
    assert boxes["t"].tolist() == [999_000]  # a recording that is one sample is labelled at its end
    assert rows[0][1:5] == [10, 10, 30, 20]


def of_video(name, *tracks, count=8, duration=0.8):
    result = [
        {
            "id": f"id{n}",
            "type": "videorectangle",
            "value": {"framesCount": count, "duration": duration, "sequence": sequence, "labels": ["car"]},
        }
        for n, sequence in enumerate(tracks)
    ]
    return {"id": 1, "data": {"video": name}, "annotations": [{"result": result}]}


def key(frame, x, *, enabled=True, **more):
    return {"frame": frame, "enabled": enabled, "x": x, "y": 20, "width": 10, "height": 20, "rotation": 0, **more}


def test_videos_of_label_studio_have_tracks_between_keyframes_until_they_are_switched_off(folder):
    first, second = [key(1, 10), key(3, 20, enabled=False), key(5, 40, enabled=False)], [key(7, 50)]
    (folder / "export.json").write_text(studio(of_video("/data/upload/1/0a1b2c3d-drive.mp4", first, second)))
    said, (rows, labelled, _) = imported(folder, "labelstudio", "drive", options=ImportOptions())
    assert [[row[0] + 1, row[1], row[5]] for row in rows] == [
        [1, 10, 1], [2, 15, 1], [3, 20, 1], [5, 40, 1], [7, 50, 2], [8, 50, 2],
    ]  # fmt: skip
    assert rows[0][1:5] == [10, 10, 10, 10]
    assert labelled == list(range(8))
    assert "videos of 10 frames a second" in said


@pytest.mark.parametrize(
    ("count", "duration", "step_us"), [(131, 5.425, 1e6 / 24), (9, 0.3, 1e6 / 30), (71, 10.0, 1e6 / 7.1)]
)
def test_the_rate_of_a_video_is_the_usual_one_that_fits_its_frames_and_duration(folder, count, duration, step_us):
    (folder / "drive.json").write_text(
        studio(of_video("drive.mp4", [key(1, 10), key(2, 10, enabled=False)], count=count, duration=duration))
    )
    _, (_, _, boxes) = imported(folder, "labelstudio", "drive", options=ImportOptions())
    assert boxes["t"].tolist() == [0, round(step_us)]


def test_several_videos_belong_to_recordings_by_their_names_alone(folder):
    (folder / "export.json").write_text(studio(of_video("drive.mp4", [key(1, 10)]), of_video("fog.mp4", [key(1, 10)])))
    with pytest.raises(InputError, match=r"labels have no recording \(.*fog\.mp4\)"):
        imported(folder, "labelstudio", "drive", options=ImportOptions())


def test_of_several_annotations_the_last_is_taken_and_told(folder):
    one = of_image("drive_000003.png", rectangle(x=10))
    one["annotations"].append(of_image("", rectangle(x=50))["annotations"][0])
    (folder / "export.json").write_text(studio(one))
    said, (rows, _, _) = imported(folder, "labelstudio", "drive")
    assert rows == [[3, 50, 10, 30, 20, 0]]
    assert "1 tasks with several annotations" in said


def test_what_are_no_boxes_is_left_out_and_counted(folder):
    results = (
        {"type": "choices", "value": {"choices": ["rain"]}},
        {"type": "brushlabels", "value": {"rle": [], "brushlabels": ["car"]}},
        {"type": "polygonlabels", "value": {"points": [[10, 20], [40, 20], [30, 60]], "polygonlabels": ["car"]}},
        {"type": "rectangle", "id": "a", "value": {"x": 1, "y": 2, "width": 3, "height": 4}},
        {"type": "rectangle", "id": "b", "value": {"x": 5, "y": 6, "width": 7, "height": 8}},
        {"type": "labels", "id": "b", "value": {"x": 5, "y": 6, "width": 7, "height": 8, "labels": ["car"]}},
    )
    (folder / "export.json").write_text(studio(of_image("drive_000003.png", *results)))
    said, (rows, _, _) = imported(folder, "labelstudio", "drive")
    assert rows == [[3, 10, 10, 30, 20, 0], [3, 5, 3, 7, 4, 0]]
    for words in ("1 results of the kind choices", "1 results of the kind brushlabels", "1 regions without a label"):
        assert f"left out: {words}" in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"images": []}', "a list of tasks"),
        ("[3]", "a list of tasks"),
        ('[{"image": "a.png", "label": []}]', "JSON-MIN"),
        ('[{"data": {}, "annotations": [{"result": []}]}]', "must name an image or a video"),
        (studio(of_image("x.png", rectangle())), "number of its frame"),
        (studio(of_image("drive_1.png", {"type": "rectanglelabels", "value": {"x": "a"}})), "must have numbers"),
        (studio(of_image("drive_1.png", {"type": "polygon", "value": {}})), "lacks or mistakes 'points'"),
        (studio(of_video("drive.mp4", [key(1, 10, rotation=5)])), "original_width"),
        (studio(of_video("drive.mp4", [key(1, 10)], count=10**10)), "a frame of at most 4,000,000"),
    ],
)
def test_what_is_no_export_of_label_studio_is_one_sentence(folder, content, sentence):
    (folder / "drive.json").write_text(content)
    with pytest.raises(InputError, match=sentence):
        imported(folder, "labelstudio", "drive")
