"""Scripts that say ``metavision_ml``, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = """
import argparse
import sys
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from metavision_ml.data import box_processing as box_api
from metavision_ml.data.moving_mnist import MovingMNISTDataset, make_moving_mnist
from metavision_ml.detection.anchors import Anchors
from metavision_ml.detection.feature_extractors import Vanilla
from metavision_ml.detection.lightning_model import LightningDetectionModel
from metavision_ml.detection.losses import DetectionLoss
from metavision_ml.detection.rpn import BoxHead
from metavision_ml.detection_tracking.display_frame import draw_box_events
from metavision_ml.utils.main_tools import search_latest_checkpoint
from metavision_sdk_core import EventBbox

root = Path(sys.argv[1])
params = argparse.Namespace(
    in_channels=3, feature_base=1, feature_channels_out=4, anchor_list="MNIST_ANCHORS", loss="_focal_loss",
    act="softmax", feature_extractor="Vanilla", classes=[str(i) for i in range(10)], dataset_path="toy_problem",
    lr=1e-3, num_tbins=2, batch_size=2, height=128, width=128, max_frames_per_epoch=80, skip_us=0, demo_every=1,
    lr_scheduler_step_gamma=0.98, preprocess="none", max_boxes_per_input=500, delta_t=50000, root_dir=str(root),
    num_workers=0, max_epochs=1, precision=32, verbose=False,
)
loader = make_moving_mnist(tbins=2, num_workers=0, batch_size=2, max_frames_per_video=4, max_frames_per_epoch=8)
batch = next(iter(loader))
rnn = Vanilla(3, base=1, cout=4)
features = rnn(batch["inputs"])
box_coder = Anchors(num_levels=rnn.levels, anchor_list="PSEE_ANCHORS", variances=[0.1, 0.2])
head = BoxHead(rnn.cout, box_coder.num_anchors, 11, 0)
loc, cls = head(features)
targets = box_coder.encode(features, batch["inputs"], [boxes for frame in batch["labels"] for boxes in frame])
losses = DetectionLoss("softmax_focal_loss")(loc, targets["loc"], cls, targets["cls"])
sum(losses.values()).backward()

model = LightningDetectionModel(params)
checkpoints = pl.callbacks.ModelCheckpoint(dirpath=root / "checkpoints", save_top_k=-1, every_n_epochs=1)
trainer = pl.Trainer(
    max_epochs=1, callbacks=[checkpoints], logger=pl.loggers.TensorBoardLogger(root / "logs"), accelerator="cpu",
    accumulate_grad_batches=1, check_val_every_n_epoch=1, log_every_n_steps=5, enable_progress_bar=False,
)
trainer.fit(model)

checkpoint = torch.load(search_latest_checkpoint(root), map_location="cpu", weights_only=True)
model = LightningDetectionModel(argparse.Namespace(**checkpoint["hyper_parameters"])).eval()
model.load_state_dict(checkpoint["state_dict"])
label_map = ["background"] + params.classes
for data in MovingMNISTDataset(
    train=False, tbins=2, num_workers=0, batch_size=2, max_frames_per_video=4, max_frames_per_epoch=8
):
    model.detector.reset(data["mask_keep_memory"])
    predictions = model.detector.get_boxes(data["inputs"], score_thresh=0.01)
    for t, row in enumerate(predictions):
        for b, found in enumerate(row):
            frame = (data["inputs"][t, b].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            if found["boxes"] is not None:
                bboxes = box_api.box_vectors_to_bboxes(found["boxes"], found["labels"], found["scores"])
                assert bboxes.dtype == EventBbox
                frame = draw_box_events(frame, bboxes, label_map, draw_score=True, thickness=2)
print("finished", sorted(path.name for path in root.iterdir()))
"""


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seqdet.compat", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_the_tutorial_runs_from_its_first_import_to_its_last_picture(tmp_path):
    done = run(write(tmp_path / "tutorial.py", TUTORIAL), tmp_path / "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finished ['checkpoints', 'logs', 'videos']" in done.stdout


def test_with_the_other_name_of_lightning_only_the_imports_change(tmp_path):
    script = TUTORIAL.replace("metavision_", "seqdet.compat.metavision_")
    path = write(tmp_path / "tutorial.py", script)
    done = subprocess.run([sys.executable, path, tmp_path / "out"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("from metavision_ml.flow.flow_network import FlowNetwork", "no counterpart of metavision_ml.flow"),
        (
            "from metavision_ml.data import SequentialDataLoader",
            "'SequentialDataLoader' from 'seqdet.compat.metavision",
        ),
        ("from metavision_ml.data.box_processing import load_boxes", "cannot import name 'load_boxes'"),
    ],
)
def test_what_is_missing_is_named(tmp_path, line, named):
    done = run(write(tmp_path / "script.py", line), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("seqdet: error: ")
    assert named in done.stderr
    assert "docs/migration.md" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_of_the_script_keeps_its_traceback(tmp_path):
    done = run(write(tmp_path / "script.py", "import metavision_ml\nimport nowhere"), folder=tmp_path)
    assert done.returncode == 1
    assert 'script.py", line 2' in done.stderr
    assert "No module named 'nowhere'" in done.stderr


def test_names_are_mapped_by_the_runner_alone_and_to_the_same_modules(tmp_path):
    import_both = (
        "import metavision_ml.detection.rpn as theirs\n"
        "import seqdet.compat.metavision_ml.detection.rpn as ours\n"
        "assert theirs is ours and ours.__name__.startswith('seqdet')\n"
        "import sys\nprint(sys.argv[1:], __name__)"
    )
    done = run(write(tmp_path / "script.py", import_both), "--flag", "3", folder=tmp_path)
    assert done.stdout == "['--flag', '3'] __main__\n", done.stderr
    plain = "import seqdet.compat.metavision_ml.data.moving_mnist\nimport metavision_ml"
    done = subprocess.run([sys.executable, "-c", plain], capture_output=True, text=True)
    assert "No module named 'metavision_ml'" in done.stderr


def test_where_the_package_itself_is_installed_the_script_runs_on_it(tmp_path, monkeypatch):
    (tmp_path / "vendor" / "metavision_ml").mkdir(parents=True)
    write(tmp_path / "vendor" / "metavision_ml" / "__init__.py", "origin = 'vendor'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "vendor"))
    done = run(write(tmp_path / "script.py", "import metavision_ml\nprint(metavision_ml.origin)"), folder=tmp_path)
    assert done.stdout == "vendor\n"
    assert done.stderr == "seqdet: metavision_ml is installed here; the script runs on it, unchanged.\n"


def test_the_open_part_of_the_vendor_does_not_stand_in_the_way(tmp_path, monkeypatch):
    (tmp_path / "vendor" / "metavision_sdk_core").mkdir(parents=True)
    write(tmp_path / "vendor" / "metavision_sdk_core" / "__init__.py", "origin = 'vendor'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "vendor"))
    script = "import metavision_sdk_core, metavision_ml\nprint(metavision_sdk_core.origin, metavision_ml.__name__)"
    done = run(write(tmp_path / "script.py", script), folder=tmp_path)
    assert done.stdout == "vendor seqdet.compat.metavision_ml\n", done.stderr


def test_a_wrong_argument_is_one_sentence_with_its_line(tmp_path):
    script = "from metavision_ml.detection.anchors import Anchors\n\nAnchors(5, 'RED_ANCHORS')"
    done = run(write(tmp_path / "script.py", script), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(f"got 'RED_ANCHORS'. ({tmp_path / 'script.py'}, line 3)\n")


@pytest.mark.parametrize(("arguments", "words"), [((), "usage:"), (("gone.py",), "gone.py must be a Python script")])
def test_without_a_script_there_is_one_sentence(tmp_path, arguments, words):
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
