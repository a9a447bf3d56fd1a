from __future__ import annotations

import pytest
import torch

from seqdet.ops.boxes import decode_boxes, detections, rows_at

SIZE_HW = 100, 600
APART = torch.tensor([[50.0 + 100 * n, 50, 40, 40] for n in range(5)])
SETTINGS = {"size_hw": SIZE_HW, "score": 0.3, "iou": 0.5, "vote": 0.7, "most": 10}


def found(deltas, scores, candidates):
    def boxes_at(places):
        return decode_boxes(rows_at(deltas, places), APART[places], variances=(0.1, 0.2))

    return detections(scores, boxes_at, candidates=candidates, **SETTINGS)


@pytest.mark.parametrize("candidates", [5, 300])
@pytest.mark.parametrize("what", ["delta", "score"])
def test_an_anchor_that_is_not_a_number_takes_nothing_from_the_others(what, candidates):
    deltas, scores = torch.zeros(1, 5, 4), torch.linspace(0.9, 0.5, 5)[None, :, None]
    (whole,) = found(deltas, scores, candidates)
    (deltas if what == "delta" else scores)[0, 2, 0] = torch.nan
    (damaged,) = found(deltas, scores, candidates)
    others = [0, 1, 3, 4]
    assert torch.equal(damaged.xyxy, whole.xyxy[others])
    assert torch.equal(damaged.scores, whole.scores[others])


def test_detections_are_ordered_by_the_scores_that_they_are_handed_out_with_equal_ones_as_they_were_chosen():
    handed_out = torch.tensor([[0.5, 0.9, 0.5, 0.2, 0.9]])
    places = []

    def final_scores(at, labels, scores):
        places.append(at)
        return handed_out[:, : at.shape[1]]

    xyxy = torch.tensor([[[100.0 * n, 10, 100 * n + 50, 60] for n in range(5)]])
    scores = torch.linspace(0.9, 0.5, 5)[None, :, None]
    (boxes,) = detections(scores, lambda at: rows_at(xyxy, at), candidates=5, final_scores=final_scores, **SETTINGS)
    assert boxes.scores.tolist() == pytest.approx([0.9, 0.9, 0.5, 0.5, 0.2])
    assert boxes.xyxy[:, 0].tolist() == [100, 400, 0, 200, 300]
