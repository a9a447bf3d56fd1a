"""What the columns of MOT's texts are, and from where on frames are numbered."""

import pytest

from seqdet.checks import InputError
from seqdet.data.labels import read_labelled_us, read_labels
from seqdet.importing import ImportOptions, import_labels

CLASSES = "car", "person", "bus", "van", "bike"


@pytest.fixture
def imported(folder):
    """A function: the text of drive to its boxes, its labelled times, and what the import said."""

    def run(text, classes=("car",), **more):
        (folder / "drive.txt").write_text(text)
        for name, content in more.items():
            (folder / f"{name}.ini").write_text(content)
        options = ImportOptions(label_rate=10, classes=classes)
        done = import_labels("mot", folder, folder.parent / "drive.npz", folder.parent / "out", options)
        path = folder.parent / "out" / "train" / "drive_bbox.npy"
        boxes = read_labels(path)
        return boxes, read_labelled_us(path, boxes).tolist(), "\n".join(done.lines())

    return run


def rows(first, last, ending):
    return "".join(f"{n},7,10,10,15,5,{ending}\n" for n in range(first, last + 1))


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_frame_is_the_begin_of_the_recording_be_it_0_or_1(imported, first):
    boxes, labelled, said = imported(rows(first, first + 3, "1"))
    assert boxes["t"].tolist() == labelled == [0, 100_000, 200_000, 300_000]
    assert ("1 files of MOT with a frame 0: their first frame is 0" in said) == (first == 0)


@pytest.mark.parametrize("first", [0, 1])
def test_the_length_of_a_sequence_counts_from_its_first_frame(imported, first):
    info = "[Sequence]\nseqLength=5\n"
    assert imported(rows(first, first + 1, "1"), seqinfo=info)[1] == [0, 100_000, 200_000, 300_000, 400_000]


def test_a_frame_below_0_is_refused(imported):
    with pytest.raises(InputError, match="line 1, must have a frame from 0 or 1 on, got -1"):
        imported(rows(-1, 3, "1"))


def test_ten_columns_of_a_detector_keep_their_confidence_and_have_no_class(imported):
    boxes, _, said = imported(rows(1, 2, "0.3,-1,-1,-1").replace(",7,", ",-1,"))
    assert boxes["class_confidence"].tolist() == pytest.approx([0.3, 0.3])
    assert boxes["track_id"].tolist() == [0, 0]
    assert "2 rows of 10 columns: frame, id, box, confidence, and three numbers that say nothing" in said
    assert "2 boxes with a score between 0 and 1: it is kept, and they are targets like others" in said


def test_ten_columns_of_visdrone_keep_their_class_and_the_reading_is_told(imported):
    text = rows(1, 1, "1,4,0,0") + rows(2, 2, "1,5,1,2") + rows(3, 3, "0,0,0,0")
    boxes, labelled, said = imported(text, CLASSES)
    assert boxes["class_id"].tolist() == [3, 4]
    assert labelled == [0, 100_000, 200_000]
    assert "rows of 10 columns: frame, id, box, confidence, class, truncation, occlusion, as of VisDrone" in said
    assert "the last two are not kept" in said
    assert "left out: 1 regions to be ignored (class 0 of VisDrone)" in said


def test_ten_columns_with_places_in_space_have_no_class(imported):
    boxes, _, said = imported(rows(1, 2, "1,4,0,0") + rows(3, 3, "1,2.53,-4.1,0"))
    assert boxes["class_id"].tolist() == [0, 0, 0]
    assert "3 rows of 10 columns: frame, id, box, confidence, x, y, z in space; these three are not kept" in said


def test_a_visibility_that_is_not_kept_is_told(imported):
    boxes, _, said = imported(rows(1, 2, "1,2,0.4"), CLASSES)
    assert boxes["class_id"].tolist() == [1, 1]
    assert "2 rows of 9 columns: frame, id, box, confidence, class, visibility; the visibility is not kept" in said


def test_a_confidence_above_1_is_kept_and_told_and_one_of_0_is_ignored(imported):
    boxes, _, said = imported(rows(1, 1, "87.5") + rows(2, 2, "0") + rows(3, 3, "-1"))
    assert boxes["class_confidence"].tolist() == [87.5, 0, 1]
    assert "1 boxes with a score above 1: it is kept" in said
    assert "1 boxes that are ignored" in said
    assert "1 boxes with a score below 0" in said


def test_a_class_without_a_name_is_quoted_as_the_file_has_it(imported):
    with pytest.raises(InputError, match=r"from 1 on, got car and a class 2 in .*drive\.txt, line 1\. Give --classes"):
        imported(rows(1, 1, "1,2,1"))
    with pytest.raises(InputError, match="line 1, must have a class from 1 on, as MOT numbers them, got 0"):
        imported(rows(1, 1, "1,0,1"), CLASSES)


def test_detections_beside_the_truth_are_left_out_and_told_and_read_where_they_are_named(imported, folder):
    (folder / "det.txt").write_text("1,-1,10,10,15,5,0.5\n")
    boxes, _, said = imported(rows(1, 1, "1"))
    assert len(boxes) == 1
    assert "left out: 1 files of detections, det.txt" in said
    options = ImportOptions(label_rate=10, classes=("car",), split="val")
    import_labels("mot", folder / "det.txt", folder.parent / "drive.npz", folder.parent / "out", options)
    assert read_labels(folder.parent / "out" / "val" / "drive_bbox.npy")["class_confidence"].tolist() == [0.5]
