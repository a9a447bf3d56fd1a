import base64
import io
import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from seqdet.checks import InputError
from seqdet.viz.charts import Chart
from seqdet.viz.pages import ReportPage, render, write_report

NASTY = "<b>&\"'"
VOID = {"meta", "img", "br", "path", "circle", "polyline"}


class Outline(HTMLParser):
    """Fails on a tag that is not closed in order; gathers the tags and the text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def report():
    rng = np.random.default_rng(0)
    of_class = {"AP": 0.5, "AP50": 0.75, "AP75": 0.25, "AR": 0.625, "truth_boxes": 321}
    nothing = {"AP": None, "AP50": None, "AP75": None, "AR": None, "truth_boxes": 0}
    return ReportPage(
        title=NASTY,
        summary=NASTY,
        scores={
            "AP": 0.7812,
            "AP50": 0.95,
            "AP75": 0.88,
            "AR": 0.83,
            "AP_small": 0.61,
            "AP_medium": 0.79,
            "AP_large": None,
            "per_class": {NASTY: of_class, "bus": nothing},
        },
        training_frames=39840,
        precision={NASTY: np.linspace(1, 0, 101), "bus": np.full(101, -1.0), "tram": ()},
        precision_by_iou={f"{iou:.2f}": np.linspace(1, 1 - iou, 101) for iou in np.arange(0.5, 1, 0.05)},
        notes={"Scores": NASTY, "Nothing": "never shown"},
        protocol=NASTY,
        breakdowns={
            NASTY: [
                {"low": 0, "high": 0.3, "truth_boxes": 17, "AP": 0.125, "AP50": 0.5, "recall50": 1.0},
                {"low": 0.3, "high": None, "truth_boxes": 3, "AP": 0.25, "AP50": 0.25, "recall50": 0.0},
                {"low": 9, "high": 10, "truth_boxes": 0, "AP": None, "AP50": None, "recall50": None},
            ]
        },
        faults={
            "severities": [1, 5],
            "without": {"AP": 0.4375, "AP50": None, "still_AP50": 0.0625},
            "by_fault": {NASTY: {"AP": [0.3125, 0.25], "AP50": [None, None], "still_AP50": [0.0, 0.0]}},
        },
        reliability={
            "bins": [
                {"low": 0.0, "high": 0.5, "detections": 12345, "score": 0.25, "precision": 0.375},
                {"low": 0.5, "high": 1.0, "detections": 0, "score": None, "precision": None},
            ],
            "expected_error": 0.126,
            "shown_score": 0.5,
            "expected_error_shown": None,
        },
        errors={"least_score": 0.3, "right": 6, "missed": 5, NASTY: 2},
        misses=[(NASTY, rng.integers(0, 256, (8, 12, 3), np.uint8))],
        false_alarms=[(NASTY, rng.integers(0, 256, (8, 12, 3), np.uint8))],
        training=[Chart(NASTY, NASTY, {NASTY: (np.arange(99), rng.random(99)), "b": ([], [])}, is_log=True)],
        pictures=[(NASTY, rng.integers(0, 256, (8, 12, 3), np.uint8))],
        config=f"seed: 0\nname: {NASTY}\n",
        versions={"torch": "2.9", NASTY: NASTY},
        costs={"parameters": "0.62 M", NASTY: NASTY},
        seconds={"training": 478.0, NASTY: 7.25},
    )


def test_the_page_needs_no_other_file_and_no_network(report):
    page = render(report)
    for _, attributes in Outline(page).tags:
        for name in ("src", "href", "srcset", "data", "action"):
            assert attributes.get(name, "data:").startswith("data:")
    assert "://" not in page
    assert "@import" not in page
    assert not re.search(r"url\(|<script|<link", page)


def test_every_tag_is_closed_in_order_and_nothing_that_is_given_becomes_a_tag(report):
    outline = Outline(render(report))
    assert "b" not in {tag for tag, _ in outline.tags}
    assert "".join(outline.text).count(NASTY) >= 9
    assert {attributes["alt"] for tag, attributes in outline.tags if tag == "img"} == {NASTY}
    assert all(attributes.get("aria-label") for tag, attributes in outline.tags if tag == "svg")
    assert all(attributes.get("scope") for tag, attributes in outline.tags if tag == "th")


def test_the_page_shows_the_scores_and_a_dash_where_there_is_nothing_to_score(report):
    text = "||".join(Outline(render(report)).text)
    for shown in ("0.781", "0.950", "0.625", "321", "39 840", "8 min 05 s", "7 min 58 s", "7.2 s"):
        assert f"|{shown}|" in text
    assert text.count("|–|") == 5
    assert "None" not in text
    assert "nan" not in text


def test_the_page_shows_errors_breakdowns_and_how_far_scores_can_be_trusted(report):
    page = render(report)
    text = "||".join(Outline(page).text)
    for shown in (
        "0 to 0.3",
        "0.3 and more",
        "12k",
        "0.750",
        "5 boxes are missed",
        "0.126 over all detections.",
        NASTY,
    ):
        assert shown in text
    assert "9 to 10" not in text
    assert "never shown" not in text
    assert page.count('class="filled"') == 1


def test_the_page_shows_a_score_for_every_severity_of_a_fault_beside_that_without(report):
    without = report.faults["without"]
    columns = {"AP": [0.3125, None], "AP50": [None, None], "still_AP50": [0.0, 0.0]}
    faults = {"severities": [1, 5], "without": without, "by_fault": {"hot_pixels": columns}}
    page = render(replace(report, faults=faults))
    row = page[page.index("AP, by fault and severity") :]
    row = row[row.index("<tbody>") : row.index("</tbody>")]
    assert re.findall(r">([\d.–]+)</td>", row) == ["0.438", "0.312", "–"]
    assert "AP50 of what has stood still for 0.3 s or more, by fault and severity" in page
    assert "AP50, by fault and severity" not in page


def test_curves_of_classes_with_nothing_to_score_are_left_out(report):
    figure = render(report).partition("by class</figcaption>")[2].partition("</figure>")[0]
    assert figure.count("<polyline") == 1
    assert "bus" not in figure


def test_pictures_are_kept_pixel_for_pixel(report):
    sources = [attributes["src"] for tag, attributes in Outline(render(report)).tags if tag == "img"]
    given = [*report.misses, *report.false_alarms, *report.pictures]
    for source, (_, image) in zip(sources, given, strict=True):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
        np.testing.assert_array_equal(shown, image)


@pytest.mark.parametrize(("width", "has_own_row"), [(12, False), (60, True)])
def test_a_strip_takes_a_row_of_its_own(report, width, has_own_row):
    page = render(replace(report, pictures=[("p", np.zeros((8, width, 3), np.uint8))]))
    assert ('<figure class="card strip">' in page) == has_own_row


def test_the_same_report_gives_the_same_bytes(report, tmp_path):
    for name in "ab":
        write_report(tmp_path / name, report)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == render(report).encode()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


SECTIONS = {
    "scores": ["Scores"],
    "notes": [],
    "protocol": ["Protocol"],
    "breakdowns": ["What the objects do"],
    "faults": ["Faults of the sensor"],
    "reliability": ["Reliability of the scores"],
    "errors": ["Errors"],
    "misses": ["Worst misses"],
    "false_alarms": ["Worst false alarms"],
    "precision": [],
    "precision_by_iou": [],
    "training": ["Training"],
    "pictures": ["Frames"],
    "config": ["Configuration"],
    "versions": ["Versions and machine"],
    "costs": ["Cost"],
    "seconds": ["Time"],
    "training_frames": [],
    "summary": [],
}


def test_the_sections_go_from_the_result_to_the_details(report):
    assert headings(render(report)) == [
        *("Scores", "Protocol", "What the objects do", "Faults of the sensor", "Precision and recall"),
        *("Reliability of the scores", "Errors", "Worst misses", "Worst false alarms", "Training", "Frames"),
        *("Configuration", "Cost", "Time", "Versions and machine"),
    ]


def headings(page):
    return re.findall(r"<h2>([^<]*)</h2>", page)


@pytest.mark.parametrize("part", SECTIONS)
def test_a_missing_part_leaves_out_its_section_alone(report, part):
    default = ReportPage("")
    page = render(replace(report, **{part: getattr(default, part)}))
    Outline(page)
    assert headings(page) == [title for title in headings(render(report)) if title not in SECTIONS[part]]


def test_a_report_of_nothing_is_a_page_with_a_title():
    assert set(SECTIONS) == {field.name for field in fields(ReportPage)} - {"title"}
    page = render(ReportPage("empty"))
    Outline(page)
    assert "<h1>empty</h1>" in page
    assert headings(page) == []


def test_a_page_that_cannot_be_written_is_said_in_one_sentence(tmp_path, report):
    with pytest.raises(InputError, match=r"report.html cannot be written: No such file or directory\."):
        write_report(tmp_path / "missing" / "report.html", report)
