"""The page of an audit stands alone, shows the worst cases and survives what they are."""

import re

import numpy as np
import pytest

from seqdet.audit import audit
from seqdet.audit.page import BEYOND, case_picture, render_audit, write_audit_page
from seqdet.checks import InputError
from seqdet.data.classes import write_classes
from seqdet.data.labels import EVENT_BBOX, write_labels
from seqdet.events.array import columns
from seqdet.events.tables import write_npz

NAME = "<b>drive"


@pytest.fixture
def folder(tmp_path):
    """A recording with a sound box, one outside, one partly outside, one of no size and one of an unknown class."""
    (tmp_path / "train").mkdir()
    t = np.arange(0, 500_000, 50)
    events = columns(t=t, x=16 + t // 50 % 40, y=8 + t // 50 % 41, p=t % 2)
    write_npz(tmp_path / "train" / f"{NAME}.npz", [events], size_hw=(60, 80))
    rows = [
        (200_000, 10, 10, 20, 20, 0, 1, 1),
        (200_000, 200, 10, 20, 20, 0, 2, 1),
        (200_000, -8, 30, 40, 20, 0, 3, 1),
        (300_000, 40, 30, 0, 0, 0, 4, 1),
        (400_000, 40, 30, 20, 20, 4_000_000_000, 5, 1),
    ]
    write_labels(tmp_path / "train" / f"{NAME}_bbox.npy", np.array(rows, EVENT_BBOX))
    write_classes(tmp_path, ["<car>"])
    return tmp_path


def test_the_page_stands_alone_and_escapes_names(folder):
    page = render_audit(audit(folder))
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert NAME not in page
    assert "&lt;car&gt;" in page
    for severity in ("error", "note"):
        assert f'<span class="mark">{severity}</span>' in page
    assert page.count("<img") == 4


def test_a_picture_is_widened_to_where_the_box_reaches(folder):
    result = audit(folder)
    pictures = {each.kind: case_picture(each.cases[0], result) for each in result.findings if each.cases[0].box}
    assert set(pictures) == {"unknown_class", "no_size", "outside_sensor", "partly_outside"}
    assert {kind for kind, image in pictures.items() if (image == BEYOND).all(-1).any()} == {
        "outside_sensor",
        "partly_outside",
    }
    assert all((image == 255).all(-1).any() for image in pictures.values())


def test_a_recording_that_has_gone_has_no_picture(folder):
    result = audit(folder)
    (folder / "train" / f"{NAME}.npz").unlink()
    assert "<img" not in render_audit(result)


def test_a_page_that_cannot_be_written_is_refused(folder, tmp_path):
    write_audit_page(tmp_path / "audit.html", audit(folder))
    assert (tmp_path / "audit.html").read_text().startswith("<!doctype html>")
    with pytest.raises(InputError):
        write_audit_page(tmp_path / "none" / "audit.html", audit(folder))
