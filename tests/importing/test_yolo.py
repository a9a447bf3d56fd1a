"""What the columns of YOLO's texts are, and shapes that are no boxes."""

import json

import numpy as np
import pytest

from seqdet.checks import InputError
from seqdet.data.labels import read_labels
from seqdet.events.array import columns
from seqdet.events.tables import write_npz
from seqdet.importing import ImportOptions, import_labels
from seqdet.importing.shapes import turned_box

OPTIONS = ImportOptions(label_rate=10, classes=("car",))


@pytest.fixture
def imported(tmp_path):
    """A function: the texts of frames to the boxes in sensor pixels of 100x100, and what the import said."""
    t = np.arange(0, 500_000, 500)
    write_npz(tmp_path / "drive.npz", [columns(t=t, x=t % 100, y=t % 90, p=t % 2)], size_hw=(100, 100))

    def run(*texts, source="yolo", suffix="txt"):
        (tmp_path / "labels").mkdir()
        for n, text in enumerate(texts, start=1):
            (tmp_path / "labels" / f"drive_{n:06}.{suffix}").write_text(text)
        done = import_labels(source, tmp_path / "labels", tmp_path / "drive.npz", tmp_path / "out", OPTIONS)
        return read_labels(tmp_path / "out" / "train" / "drive_bbox.npy"), "\n".join(done.lines())

    return run


def places(boxes):
    return np.stack([boxes[name] for name in "xywh"], axis=1)


def test_a_sixth_column_of_whole_numbers_is_an_identity(imported):
    boxes, said = imported("0 .5 .5 .2 .2 7\n0 .3 .3 .2 .2 8\n", "0 .5 .5 .2 .2 7\n0 .3 .3 .2 .2 1\n0 .3 .3 .1 .1\n")
    assert boxes["track_id"].tolist() == [7, 8, 7, 1, 0]
    assert boxes["class_confidence"].tolist() == [1] * 5
    assert "4 rows of 6 columns, whose last is whole numbers, not only 0 and 1: taken as class, box, identity" in said


def test_a_sixth_column_of_shares_is_a_confidence_also_where_single_files_have_only_ones(imported):
    boxes, said = imported("0 .5 .5 .2 .2 1\n", "0 .5 .5 .2 .2 0.25\n")
    assert boxes["class_confidence"].tolist() == [1, 0.25]
    assert boxes["track_id"].tolist() == [0, 0]
    assert "2 rows of 6 columns, whose last is from 0 to 1: taken as class, box, confidence" in said


@pytest.mark.parametrize("texts", [("0 .5 .5 .2 .2 1\n", "0 .5 .5 .2 .2 0\n"), ("0 .5 .5 .2 .2 0\n",)])
def test_zeros_and_ones_can_be_either_and_are_refused_with_a_way_out(imported, texts):
    with pytest.raises(InputError, match=r"only 0 and 1, which can be either\. Write seven columns"):
        imported(*texts)


@pytest.mark.parametrize("values", [("7", ".5"), ("87.5", "90"), ("-.5", ".5")])
def test_what_is_neither_is_refused(imported, values):
    with pytest.raises(InputError, match="in all sixth columns, and has numbers from"):
        imported(*(f"0 .5 .5 .2 .2 {value}\n" for value in values))


def test_untracked_rows_of_a_tracker_have_no_identity(imported):
    boxes, _ = imported("0 .5 .5 .2 .2 -1\n0 .3 .3 .2 .2 1\n")
    assert boxes["track_id"].tolist() == [0, 1]


@pytest.mark.parametrize("identities", [(7, 8), (1, 1)])
def test_seven_columns_are_a_confidence_and_an_identity(imported, identities):
    boxes, said = imported(*(f"0 .5 .5 .2 .2 .25 {n}\n" for n in identities))
    assert boxes["class_confidence"].tolist() == [0.25, 0.25]
    assert boxes["track_id"].tolist() == list(identities)
    np.testing.assert_allclose(places(boxes), [(40, 40, 20, 20)] * 2, atol=1e-4)
    assert "2 rows of 7 columns" in said


def test_polygons_and_oriented_boxes_become_their_upright_boxes(imported):
    boxes, said = imported(
        "0 .1 .1 .4 .1 .4 .5\n0 .2 .2 .4 .2 .4 .8 .2 .8\n0 .5 .5 .2 .2\n", "0 .5 .3 .7 .5 .5 .7 .3 .5"
    )
    wanted = [(10, 10, 30, 40), (20, 20, 20, 60), (40, 40, 20, 20), (30, 30, 40, 40)]
    np.testing.assert_allclose(places(boxes), wanted, atol=1e-4)
    assert "3 polygons that became their upright boxes" in said


def test_triangles_that_touch_the_rim_are_told_from_identities_by_the_polygons_beside_them(imported):
    boxes, _ = imported("0 .1 .1 .4 .1 .4 1\n0 .2 .2 .4 .2 .4 .8 .2 .8\n")
    np.testing.assert_allclose(places(boxes)[0], (10, 10, 30, 90), atol=1e-4)


@pytest.mark.parametrize("row", ["0 .1 .1 .4 .1 .4 .5 .9", "0 10 10 40 10 40 50 10 50", "0 .1 .1 .4 .1 .4 900.5"])
def test_rows_that_are_neither_boxes_nor_polygons_are_refused(imported, row):
    with pytest.raises(InputError, match=r"drive_000001\.txt, line 1, must be"):
        imported(row)


def test_turned_boxes_and_polygons_of_voc_become_their_upright_boxes(imported):
    turned = "<robndbox><cx>50</cx><cy>50</cy><w>20</w><h>10</h><angle>1.5707963</angle></robndbox>"
    corners = "<polygon><x1>10</x1><y1>20</y1><x2>40</x2><y2>20</y2><x3>30</x3><y3>60</y3></polygon>"
    points = "<polygon><pt><x>1</x><y>2</y></pt><pt><x>4</x><y>8</y></pt></polygon>"
    things = "".join(f"<object><name>car</name>{shape}</object>" for shape in (turned, corners, points))
    boxes, said = imported(f"<annotation>{things}</annotation>", source="voc", suffix="xml")
    np.testing.assert_allclose(places(boxes), [(45, 40, 10, 20), (10, 20, 30, 40), (1, 2, 3, 6)], atol=1e-4)
    assert "2 polygons that became" in said
    assert "1 turned boxes that became" in said


def test_annotations_of_coco_without_a_box_have_that_of_their_polygons(imported, tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "drive_000002.png"}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[10, 20, 40, 20, 30, 60], [50, 5, 5, 9]]}],
    }
    boxes, said = imported(json.dumps(content), source="coco", suffix="json")
    np.testing.assert_allclose(places(boxes), [(5, 5, 45, 55)], atol=1e-4)
    assert "1 polygons" in said


def test_damaged_masks_of_coco_without_a_box_are_refused_by_name(imported):
    content = {
        "images": [{"id": 1, "file_name": "drive_000002.png"}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "segmentation": {"counts": "abc", "size": [9, 9]}}],
    }
    with pytest.raises(InputError, match=r"annotation 5 of .* must have a whole mask"):
        imported(json.dumps(content), source="coco", suffix="json")


def test_a_box_is_turned_clockwise_about_its_centre_or_its_corner():
    np.testing.assert_allclose(turned_box((10, 20, 4, 2), 90), (11, 19, 2, 4))
    np.testing.assert_allclose(turned_box((10, 20, 4, 2), 90, about_corner=True), (8, 20, 2, 4))


@pytest.mark.parametrize(
    ("shape", "points"),
    [("[2, 2]", ".45 .45 .55 .55"), ("[2, 3]", ".45 .45 2 .55 .55 0"), ("[3, 3]", ".4 .4 2 .5 .5 1 0 0 0")],
)
def test_key_points_of_poses_are_left_out_as_their_shape_says(imported, tmp_path, shape, points):
    (tmp_path / "data.yaml").write_text(f"names: [car]\nkpt_shape: {shape}\n")
    boxes, said = imported(f"0 .5 .5 .2 .4 {points}\n0 .3 .3 .2 .4 {points} .75\n0 .5 .5 .1 .1 {points} .5 9\n")
    np.testing.assert_allclose(places(boxes), [(40, 30, 20, 40), (20, 10, 20, 40), (45, 45, 10, 10)], atol=1e-4)
    assert boxes["class_confidence"].tolist() == [1, 0.75, 0.5]
    assert boxes["track_id"].tolist() == [0, 0, 9]
    assert f"3 rows, whose {len(points.split())} numbers of key points, as of kpt_shape, are left out" in said
    assert "polygons" not in said


def test_a_polygon_is_told_with_what_would_make_it_a_pose(imported):
    assert (
        "1 polygons that became their upright boxes (if they are key points, kpt_shape"
        in imported("0 .5 .5 .2 .2 .45 .45 .55 .55\n")[1]
    )


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [("[4, 3]", "the 12 numbers of key points that kpt_shape in data.yaml says; got 9 columns"),
     ("7", "kpt_shape of a"), ("[1, 5]", "2 or 3 numbers for a point"), ("[0, 2]", "kpt_shape of a number of points")],
)  # fmt: skip
def test_a_shape_that_does_not_fit_its_rows_is_refused(imported, tmp_path, shape, sentence):
    (tmp_path / "data.yaml").write_text(f"names: [car]\nkpt_shape: {shape}\n")
    with pytest.raises(InputError, match=sentence):
        imported("0 .5 .5 .2 .2 .45 .45 .55 .55\n")
