"""Scripts that say ``metavision_ml``, run as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from seqdet.compat.names import MODULES, import_line

TUTORIAL = """
import argparse
import os
import sys

import numpy as np
import pytorch_lightning as pl
import torch
from metavision_ml.data import box_processing as box_api
from metavision_ml.data.moving_mnist import MovingMNISTDataset, make_moving_mnist
from metavision_ml.detection.anchors import Anchors
from metavision_ml.detection.box import deltas_to_bbox, xywh2xyxy
from metavision_ml.detection.feature_extractors import Vanilla
from metavision_ml.detection.lightning_model import LightningDetectionModel
from metavision_ml.detection.losses import DetectionLoss
from metavision_ml.detection.rpn import BoxHead
from metavision_ml.detection_tracking.display_frame import draw_box_events
from metavision_ml.utils.main_tools import search_latest_checkpoint
from metavision_sdk_core import EventBbox

root = sys.argv[1]
names = ["background"] + [str(digit) for digit in range(10)]

# clips as pictures: frames of float32 up to 255
loader = make_moving_mnist(
    train=True, height=128, width=128, tbins=2, num_workers=1, batch_size=4, max_frames_per_video=4,
    max_frames_per_epoch=16,
)
for batch in loader:
    print("batch", tuple(batch["inputs"].shape), batch["mask_keep_memory"].view(-1).tolist())
    picture = (batch["inputs"][0, 0].permute(1, 2, 0).cpu().numpy() * 255).copy()
    truth = batch["labels"][0][0]
    truth = box_api.box_vectors_to_bboxes(boxes=truth[:, :4], labels=truth[:, 4])
    drawn = draw_box_events(picture, truth, names, thickness=3, draw_score=False)
    assert drawn.dtype == np.float32 and drawn.shape == (128, 128, 3)
    np.zeros((2, 2, 128, 128, 3), dtype=np.uint8)[0, 1] = drawn

# noise of three lanes, then clips of four, without a word in between
noise = torch.randn(3, 3, 3, 128, 128)
rnn = Vanilla(3, base=1, cout=4)
features = rnn(noise)
box_coder = Anchors(num_levels=rnn.levels, anchor_list="PSEE_ANCHORS", variances=[0.1, 0.2])
anchors = box_coder(features, noise)
print("anchors", xywh2xyxy(anchors).numpy().shape)
head = BoxHead(rnn.cout, box_coder.num_anchors, 11, 0)
print(head.box_head.apply(lambda layer: isinstance(layer, torch.nn.Conv2d) and torch.nn.init.normal_(layer.weight)))
loc, cls = head(features)
print("boxes", deltas_to_bbox(loc, anchors).data.numpy().shape)
batch = next(iter(loader))
features = rnn(batch["inputs"])
loc, cls = head(features)
targets = box_coder.encode(features, noise, [boxes for frame in batch["labels"] for boxes in frame])
losses = DetectionLoss("softmax_focal_loss")(loc, targets["loc"], cls, targets["cls"])
print("targets", list(targets), "losses", list(losses))
sum(losses.values()).backward()

params = argparse.Namespace(
    in_channels=3, feature_base=1, feature_channels_out=4, anchor_list="MNIST_ANCHORS", loss="_focal_loss",
    act="softmax", feature_extractor="Vanilla", classes=names[1:], dataset_path="toy_problem", lr=1e-3, num_tbins=2,
    batch_size=2, height=128, width=128, max_frames_per_epoch=80, skip_us=0, demo_every=1, preprocess="none",
    max_boxes_per_input=500, delta_t=50000, root_dir=root, num_workers=0, max_epochs=1, precision=16,
    lr_scheduler_step_gamma=0.98, verbose=False,
)
model = LightningDetectionModel(params)
checkpoints = pl.callbacks.ModelCheckpoint(dirpath=os.path.join(root, "checkpoints"), save_top_k=-1, every_n_epochs=1)
trainer = pl.Trainer(
    default_root_dir=root, logger=pl.loggers.TensorBoardLogger(save_dir=os.path.join(root, "logs")),
    checkpoint_callback=checkpoints, gpus=1, precision=params.precision, max_epochs=params.max_epochs,
    check_val_every_n_epoch=1, accumulate_grad_batches=1, log_every_n_steps=5, limit_train_batches=2,
    limit_val_batches=2,
)
trainer.fit(model)

checkpoint = torch.load(search_latest_checkpoint(root))
model = LightningDetectionModel(argparse.Namespace(**checkpoint["hyper_parameters"]))
model.load_state_dict(checkpoint["state_dict"])
model.eval()
loader = MovingMNISTDataset(
    train=False, height=128, width=128, tbins=2, num_workers=1, batch_size=2, max_frames_per_video=4,
    max_frames_per_epoch=8,
)
show = loader.get_vis_func()
for data in loader:
    inputs, mask = data["inputs"].to(model.device), data["mask_keep_memory"].to(model.device)
    model.detector.reset(mask)
    predictions = model.detector.get_boxes(inputs, score_thresh=0.01)
    for t, row in enumerate(predictions):
        for lane, found in enumerate(row):
            picture = show(data["inputs"][t, lane].numpy())
            if found["boxes"] is not None:
                bboxes = box_api.box_vectors_to_bboxes(*(found[name].numpy() for name in ("boxes", "labels", "scores")))
                assert bboxes.dtype == EventBbox
                picture = draw_box_events(picture, bboxes, names, draw_score=True, thickness=2)
            truth = data["labels"][t][lane].numpy()
            truth = box_api.box_vectors_to_bboxes(truth[:, :4], truth[:, 4])
            draw_box_events(picture, truth, names, force_color=[255, 255, 255], draw_score=False, thickness=1)
print("finished", sorted(os.listdir(root)))
"""
OUTPUT = """batch (2, 4, 3, 128, 128) [0.0, 0.0, 0.0, 0.0]
batch (2, 4, 3, 128, 128) [1.0, 1.0, 1.0, 1.0]
anchors (2046, 4)
Sequential(
  (0): ConvLayer(
    (0): Identity()
    (1): Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    (2): ReLU()
  )
  (1): Conv2d(4, 24, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
)
boxes (9, 2046, 4)
targets ['loc', 'cls'] losses ['loc_loss', 'cls_loss']
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
    assert done.stdout.startswith(OUTPUT)
    assert "finished ['checkpoints', 'logs', 'videos']" in done.stdout
    said = [line for line in done.stderr.splitlines() if line.startswith("seqdet: ")]
    assert [line.partition("=")[0] for line in said] == [
        f"seqdet: Trainer({argument}" for argument in ("gpus", "precision", "checkpoint_callback")
    ]


def test_with_the_packages_of_seqdet_only_the_imports_change(tmp_path):
    script = TUTORIAL.replace("metavision_", "seqdet.compat.metavision_")
    script = script.replace("import pytorch_lightning", "import seqdet.compat.pytorch_lightning")
    path = write(tmp_path / "tutorial.py", script)
    done = subprocess.run([sys.executable, path, tmp_path / "out"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout


def test_a_forgotten_import_of_a_name_that_there_is_ends_in_the_import(tmp_path):
    script = "from metavision_ml.data.moving_mnist import make_moving_mnist\n\nMovingMNISTDataset(train=False)"
    done = run(write(tmp_path / "script.py", script), folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"seqdet: error: name 'MovingMNISTDataset' is not defined ({tmp_path / 'script.py'}, line 3). "
        "Import it first: from metavision_ml.data.moving_mnist import MovingMNISTDataset\n"
    )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("BoxHead", "from metavision_ml.detection.rpn import BoxHead"),
        ("box_iou", "from metavision_ml.detection.box import box_iou"),
        ("EventBbox", "from metavision_ml.data.box_processing import EventBbox"),
        ("LightningDetectionModel", "from metavision_ml.detection.lightning_model import LightningDetectionModel"),
        ("Tensor", None),
        ("_boxes", None),
        ("nowhere", None),
        (None, None),
    ],
)
def test_the_import_of_every_public_name_is_known_and_of_no_other(name, line):
    assert import_line(name) == line


def test_modules_of_the_reference_have_their_names_and_the_model_alone_imports_lightning():
    script = (
        "import sys\nfrom importlib import import_module\nfrom seqdet.compat.names import MODULES\n"
        "for name in sorted(MODULES, key=lambda name: 'lightning' in name):\n"
        "    module = import_module(f'seqdet.compat.{name}')\n"
        "    print(name, set(MODULES[name][1]) == set(module.__all__) <= set(dir(module)), 'lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert told == {name: f"True {'lightning' in name}" for name in MODULES}


def test_lightning_by_its_own_name_is_left_alone(tmp_path):
    script = (
        "import lightning.pytorch as own\nimport pytorch_lightning as pl\nimport pytorch_lightning.callbacks as below\n"
        "from pytorch_lightning.loggers import TensorBoardLogger\n"
        "assert pl.LightningModule is own.LightningModule and pl.callbacks is below is own.callbacks\n"
        "assert TensorBoardLogger is own.loggers.TensorBoardLogger\n"
        "assert pl.__version__ == own.__version__\n"
        "assert issubclass(pl.Trainer, own.Trainer)\nown.Trainer(gpus=1)"
    )
    done = run(write(tmp_path / "script.py", script), folder=tmp_path)
    assert done.stderr.endswith("unexpected keyword argument 'gpus'\n")


@pytest.mark.parametrize("first", ["", "import pytorch_lightning as real"])
def test_a_notebook_says_one_line_and_is_told_what_it_forgot(tmp_path, monkeypatch, first):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    cells = [
        "from metavision_ml.detection.rpn import BoxHead as named",
        "from seqdet.compat.metavision_ml.detection.rpn import BoxHead as own",
        "import pytorch_lightning as pl",
        "print(named is own, issubclass(pl.Trainer, __import__('lightning').pytorch.Trainer))",
        "Vanilla(3)",
        "nowhere",
    ]
    cells = [first, "%load_ext seqdet.compat", "%reload_ext seqdet.compat", *cells]
    script = (
        "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell()\n"
        f"for cell in {cells}:\n    shell.run_cell(cell)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert f"True {not first}" in done.stdout
    said = [line for line in done.stderr.splitlines() if line.startswith("seqdet: ")]
    forgotten = "seqdet: name 'Vanilla' is not defined. Import it first: "
    assert said[-1] == forgotten + "from metavision_ml.detection.feature_extractors import Vanilla"
    before = "seqdet: pytorch_lightning was imported before; its Trainer takes no arguments of Lightning 1."
    assert said[:-1] == [before] * bool(first)


def test_the_sentence_of_an_error_is_one_line_whatever_names_it_holds(tmp_path):
    line = "from pathlib import Path; from seqdet import open_recording; open_recording(Path('a\\n\\x1b[2J.raw'))"
    done = run(write(tmp_path / "script.py", line), folder=tmp_path)
    assert done.stderr.startswith("seqdet: error: a \\x1b[2J.raw")
    assert len(done.stderr.splitlines()) == 1


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


@pytest.mark.parametrize(
    ("line", "error"),
    [("import nowhere", "No module named 'nowhere'"), ("nowhere()", "NameError: name 'nowhere' is not defined")],
)
def test_an_error_of_the_script_keeps_its_traceback(tmp_path, line, error):
    done = run(write(tmp_path / "script.py", f"import metavision_ml\n{line}"), folder=tmp_path)
    assert done.returncode == 1
    assert 'script.py", line 2' in done.stderr
    assert error in done.stderr


def test_names_are_mapped_by_the_runner_alone_and_to_the_same_modules(tmp_path):
    import_both = (
        "import metavision_ml.detection.rpn as theirs\n"
        "import seqdet.compat.metavision_ml.detection.rpn as ours\n"
        "assert theirs is ours and ours.__name__.startswith('seqdet')\n"
        "import sys\nprint(sys.argv[1:], __name__)"
    )
    done = run(write(tmp_path / "script.py", import_both), "--flag", "3", folder=tmp_path)
    assert done.stdout == "['--flag', '3'] __main__\n", done.stderr
    import_module("seqdet.compat.metavision_ml.data.moving_mnist")
    with pytest.raises(ModuleNotFoundError, match="No module named 'metavision_ml'"):
        import_module("metavision_ml")


def test_where_the_package_itself_is_installed_the_script_runs_on_it(tmp_path, monkeypatch):
    (tmp_path / "vendor" / "metavision_ml").mkdir(parents=True)
    write(tmp_path / "vendor" / "metavision_ml" / "__init__.py", "origin = 'vendor'")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "vendor"))
    script = (
        "import metavision_ml, pytorch_lightning\nprint(metavision_ml.origin, pytorch_lightning.Trainer.__module__)"
    )
    done = run(write(tmp_path / "script.py", script), folder=tmp_path)
    assert done.stdout == "vendor pytorch_lightning.trainer.trainer\n"
    assert done.stderr == "seqdet: metavision_ml is installed here and is used, unchanged.\n"


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
