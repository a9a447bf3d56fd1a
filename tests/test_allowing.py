"""No file chooses what code runs: functions outside of seqdet are called if the user named them, and only then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import seqdet
from seqdet import DataConfig, InputError, TrainConfig, VanillaConfig, build_detector, load_runner
from seqdet.allowing import ALLOWED, allow, find_allowed, recall, remember, source_digest
from seqdet.cli import main
from seqdet.config import DatasetConfig, InputConfig, RunConfig, TensorConfig
from seqdet.config_files import write_config
from seqdet.data.cached import facts_file
from seqdet.data.dataset import recording_files
from seqdet.data.precompute import PrecomputeConfig, precompute
from seqdet.data.sources import tensor_folder
from seqdet.data.store import TensorFile
from seqdet.events.array import columns
from seqdet.events.evt import write_evt3
from seqdet.models.weights import save_detector

FOREIGN = "wave:open"
"""Of the standard library: what it would do with a file's parameters is no harm, and nothing here needs it."""
SIZE_HW = 64, 64
OWN = """
import numpy as np
def counted(events, *, size_hw, start_us, window_us, windows=1, to_hw=None, out=None):
    out = np.zeros((windows, 2, *(to_hw or size_hw)), np.uint8) if out is None else out
    out[...] = len(events) % 256
    return out
"""


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch, tmp_path):
    """As for a new user; what a test allows is forgotten."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv(ALLOWED, "[]")


@pytest.fixture
def module(monkeypatch):
    """The foreign module's name, not imported before."""
    name = FOREIGN.partition(":")[0]
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A dataset: one recording for training and one for all else, with labels."""
    root = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    fields = [("t", "<i8"), ("x", "<f4"), ("y", "<f4"), ("w", "<f4"), ("h", "<f4"), ("class_id", "<u4")]
    for split in ("train", "val", "test"):
        (root / split).mkdir()
        t = np.sort(rng.integers(0, 400_000, 3000))
        events = columns(t=t, x=rng.integers(0, 64, 3000), y=rng.integers(0, 64, 3000), p=rng.integers(0, 2, 3000))
        write_evt3(root / split / "a.raw", [events], size_hw=SIZE_HW)
        times = range(50_000, 400_001, 50_000)
        np.save(root / split / "a_bbox.npy", np.array([(t, 5, 5, 30, 30, 0) for t in times], fields))
    (root / "label_map_dictionary.json").write_text('{"0": "car"}')
    return root


def detector(representation):
    made = build_detector(VanillaConfig(in_channels=2, base=1, channels=8, classes=("car",)))
    made.input = InputConfig(representation, {}, 50_000, SIZE_HW, SIZE_HW)
    return made


def configuration(recordings, representation=FOREIGN):
    tensor = TensorConfig(representation=representation, window_us=50_000)
    dataset = DatasetConfig(folder=recordings, tensor=tensor)
    model = VanillaConfig(in_channels=2, base=1, channels=8, classes=("car",))
    return RunConfig(DataConfig(clip_length=2, lanes=2, dataset=dataset), model, TrainConfig(max_steps=2))


@pytest.fixture(scope="module")
def foreign(recordings, tmp_path_factory):
    """Files of somebody else, of each kind: all name the function."""
    root = tmp_path_factory.mktemp("foreign")
    save_detector(detector(FOREIGN), root / "detector.safetensors")
    write_config(configuration(recordings), root / "recipe.yaml")
    (root / "allowing.yaml").write_text(f"allow: {FOREIGN}\n")
    predict = {"detector": "detector.safetensors", "recordings": [str(recordings / "test" / "a.raw")], "allow": FOREIGN}
    (root / "all.yaml").write_text(json.dumps({"predict": {**predict, "out": str(root / "out")}}))
    config = configuration(recordings, "histogram_quantized")
    for run in ("finished", "begun"):
        seqdet.fit(build_detector(config.model), config.data, config.train, root / run)
        write_config(configuration(recordings), root / run / "config.yaml")
        save_detector(detector(FOREIGN), root / run / "detector.safetensors")
    (root / "begun" / "training.json").unlink()
    if find_spec("onnxscript"):
        import onnx

        from seqdet.inference.export import export
        from seqdet.inference.runners import sealed

        export(detector("histogram_quantized"), root / "model.onnx")
        model = onnx.load(root / "model.onnx")
        for entry in model.metadata_props:
            entry.value = entry.value.replace("histogram_quantized", FOREIGN)
        (root / "model.onnx").write_bytes(sealed(model.SerializeToString()))
    return root


COMMANDS = [
    "predict detector.safetensors {data}/test/a.raw -o {out}",
    "export detector.safetensors -o {out}.onnx",
    "benchmark detector.safetensors {data}/test/a.raw",
    "predict model.onnx {data}/test/a.raw -o {out}",
    "benchmark model.onnx {data}/test/a.raw",
    "predict finished {data}/test/a.raw -o {out}",
    "export finished -o {out}.onnx",
    "export finished -o {out}.onnx --int8",
    "evaluate finished",
    "train --resume begun",
    "train --config recipe.yaml --out {out}",
    "train --config recipe.yaml --out {out} --allow wave:Error",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_that_names_a_function_is_refused_and_nothing_is_imported(
    command, foreign, recordings, tmp_path, module, monkeypatch, capsys
):
    monkeypatch.chdir(foreign)
    if "model.onnx" in command:
        pytest.importorskip("onnxscript")
    with pytest.raises(SystemExit) as stop:
        main(command.format(data=recordings, out=tmp_path / "out").split())
    assert f"'{FOREIGN}' must be allowed by you" in f"{stop.value.code}{capsys.readouterr().err}"
    assert module not in sys.modules


@pytest.mark.parametrize(
    "command", ["predict --config allowing.yaml detector.safetensors {data}/test/a.raw -o {out}", "--config all.yaml"]
)
def test_no_file_allows_anything(command, foreign, recordings, tmp_path, module, monkeypatch, capsys):
    monkeypatch.chdir(foreign)
    with pytest.raises(SystemExit) as stop:
        main(command.format(data=recordings, out=tmp_path / "out").split())
    assert "'predict' does not accept option 'allow'" in f"{stop.value.code}{capsys.readouterr().err}"
    assert os.environ[ALLOWED] == "[]"
    assert module not in sys.modules


@pytest.mark.parametrize("name", ["detector.safetensors", "finished"])
def test_the_library_refuses_it_too(name, foreign, module):
    with pytest.raises(InputError, match="must be allowed by you"):
        load_runner(foreign / name)
    assert module not in sys.modules


def test_tensors_that_name_a_function_are_trained_on_and_it_is_not_called(recordings, tmp_path, module):
    (tmp_path / "own.py").write_text(OWN)
    command = f"precompute {recordings} -o {tmp_path}/tensors --tensor {tmp_path}/own.py:counted"
    main(command.split())
    import h5py

    for path in (tmp_path / "tensors").rglob("*.h5"):
        with h5py.File(path, "r+") as file:
            holder = next(each for each in (file, *file.values()) if "events_to_tensor" in each.attrs)
            holder.attrs["events_to_tensor"] = np.bytes_(FOREIGN.encode())
        with TensorFile(path) as opened:
            assert opened.description.input.representation == FOREIGN
            assert len(opened.read(0, 1)) == 1
    config = configuration(tmp_path / "tensors", "histogram_quantized")
    run = seqdet.fit(build_detector(config.model), config.data, config.train, tmp_path / "run")
    with pytest.raises(InputError, match=f"'{FOREIGN}' must be allowed by you"):
        load_runner(run)
    assert module not in sys.modules


def test_a_function_in_a_file_is_allowed_by_its_path_and_stands_in_no_modules_place(tmp_path, monkeypatch):
    (tmp_path / "wave.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    assert allow("wave.py:counted") == ["wave:counted"]
    monkeypatch.chdir("/")
    assert find_allowed("wave:counted").__name__ == "counted"
    import wave

    assert not hasattr(wave, "counted")
    with pytest.raises(InputError, match="'wave:open' must be allowed"):
        find_allowed("wave:open")


def test_a_call_allows_what_its_caller_names(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    save_detector(detector("own:counted"), tmp_path / "detector.safetensors")
    step = load_runner(tmp_path / "detector.safetensors", allow=[f"{tmp_path}/own.py:counted"])
    assert step.dtype == np.uint8


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("own", "must be module:function or file.py:function, got 'own'"),
        ("own:", "must be module:function"),
        (":open", "must be module:function"),
        ("own.py:counted", "own.py must be the file of counted, and there is none"),
        ("a b:c", "must be module:function"),
    ],
)
def test_what_cannot_be_a_function_is_not_allowed(entry, words):
    with pytest.raises(InputError, match=words):
        allow(entry)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_at_all:f", "No module named 'nowhere_at_all'. Name its file, path/to/nowhere_at_all.py:f"),
        ("wave:nothing", "has no attribute 'nothing'"),
        ("wave:__name__", "must be a function, got a str"),
    ],
)
def test_what_is_allowed_and_not_there_is_one_sentence(name, words):
    allow(name)
    with pytest.raises(InputError, match=words):
        find_allowed(name)


def test_a_run_remembers_what_its_own_user_allowed_and_a_copy_of_it_does_not(recordings, tmp_path, monkeypatch, capsys):
    (tmp_path / "own.py").write_text(OWN)
    write_config(configuration(recordings, "own:counted"), tmp_path / "recipe.yaml")
    run = tmp_path / "run"
    main(f"train --config {tmp_path}/recipe.yaml --out {run} --allow {tmp_path}/own.py:counted".split())
    monkeypatch.setenv(ALLOWED, "[]")  # a later command
    main(f"evaluate {run}".split())
    monkeypatch.setenv(ALLOWED, "[]")
    assert load_runner(run / "detector.safetensors").dtype == np.uint8
    monkeypatch.setenv(ALLOWED, "[]")
    run.rename(tmp_path / "moved")
    with pytest.raises(InputError, match="must be allowed"):
        load_runner(tmp_path / "moved")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody else"))
    (tmp_path / "moved").rename(run)
    with pytest.raises(InputError, match="must be allowed"):
        load_runner(run)


def test_another_configuration_in_the_place_of_a_run_is_another_run(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("one")
    allow(FOREIGN)
    remember(config)
    config.write_text("other")
    os.environ[ALLOWED] = "[]"
    recall(config)
    with pytest.raises(InputError, match="must be allowed"):
        find_allowed(FOREIGN)
    config.write_text("one")
    recall(config)
    assert callable(find_allowed(FOREIGN))


def test_a_memory_that_is_damaged_allows_nothing(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("one")
    allow(FOREIGN)
    remember(config)
    (memory,) = (tmp_path / "state").rglob("*.json")
    whole = memory.read_text()
    os.environ[ALLOWED] = "[]"
    for text in ("", "{}", "[]", whole[:-9], whole.replace("sha256", "x"), whole.replace('"wave:open"', "1")):
        memory.write_text(text)
        recall(config)
        with pytest.raises(InputError, match="must be allowed"):
            find_allowed(FOREIGN)
    memory.write_text(whole)
    recall(config)
    assert callable(find_allowed(FOREIGN))


def test_without_a_home_nothing_is_remembered_and_all_else_works(tmp_path, monkeypatch, caplog):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    (tmp_path / "config.yaml").write_text("one")
    allow(FOREIGN)
    remember(tmp_path / "config.yaml")
    recall(tmp_path / "config.yaml")
    assert "later commands on this run need --allow again" in caplog.text


def test_what_is_allowed_now_goes_before_what_a_run_remembers(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.py").write_text(OWN)
    config = tmp_path / "config.yaml"
    config.write_text("one")
    allow(f"{tmp_path}/one/own.py:counted")
    remember(config)
    os.environ[ALLOWED] = "[]"
    allow(f"{tmp_path}/other/own.py:counted")
    recall(config)
    assert find_allowed("own:counted").__code__.co_filename == f"{tmp_path}/other/own.py"


def test_a_function_that_is_written_anew_has_tensors_of_its_own(recordings, tmp_path):
    config = configuration(recordings, "own:counted").data.dataset
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "own.py").write_text(OWN.replace("% 256", "% 255"))
    allow(f"{tmp_path}/own.py:counted")
    before = tensor_folder(config)
    assert tensor_folder(config) == before
    allow(f"{tmp_path}/new/own.py:counted")
    assert tensor_folder(config) != before


OPTIONAL = ("coverage", "scipy", "colorama", "tensorboard", "rich", "matplotlib", "IPython", "pandas", "cv2", "psutil")
STANDARD = ("selectors", "pickle", "tempfile")  # which new processes import
PLANTED = "from pathlib import Path; Path(__file__).with_suffix('.ran').touch()\nraise ImportError\n"


@pytest.mark.parametrize(
    "start", [["-m", "seqdet"], ["-m", "seqdet.cli"], [str(Path(sys.executable).with_name("seqdet"))]], ids=" ".join
)
@pytest.mark.parametrize(
    "command", ["inspect test/a.raw", "precompute test -o tensors --workers 2", "train --config recipe.yaml --out run"]
)
def test_no_module_is_taken_from_the_current_folder(start, command, recordings, tmp_path):
    shutil.copytree(recordings, tmp_path, dirs_exist_ok=True)
    config = configuration(Path(), "histogram_quantized")
    processes = 1 if "seqdet" in start else 2  # of the two modules one starts another process, and so does the script
    train = replace(config.train, max_steps=1, processes=processes)
    write_config(replace(config, train=train), tmp_path / "recipe.yaml")
    for name in (*OPTIONAL, *(STANDARD if "-m" not in start else ())):
        (tmp_path / f"{name}.py").write_text(PLANTED)
    (tmp_path / ".numba_config.yaml").write_text("cache_dir: compiled\n")
    run = [sys.executable, *start, *command.split()]
    path = {"PYTHONPATH": f"{os.pathsep}{Path(seqdet.__file__).parents[1]}"}  # whose empty part is the current folder
    answer = subprocess.run(run, cwd=tmp_path, env=os.environ | path, capture_output=True, text=True, check=False)
    assert not sorted(path.name for path in tmp_path.glob("*.ran")), answer.stdout + answer.stderr
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert not (tmp_path / "compiled").exists()


def test_tensors_of_a_function_that_was_written_anew_are_others(recordings, tmp_path):
    """In a folder that the user names, which says nothing of the function."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "own.py").write_text(OWN.replace("% 256", "% 255"))
    allow(f"{tmp_path}/own.py:counted")
    options = PrecomputeConfig(tmp_path / "out", configuration(recordings, "own:counted").data.dataset.tensor)
    assert precompute([recordings], options).failed == []
    assert precompute([recordings], options).failed == []
    allow(f"{tmp_path}/new/own.py:counted")
    assert "must hold the tensors that are asked for, and holds others" in precompute([recordings], options).failed[0]
    config = configuration(recordings, "own:counted").data.dataset
    (recording, *_) = recording_files(recordings)
    new = facts_file(recording, config.tensor, tmp_path)
    allow(f"{tmp_path}/own.py:counted")
    assert facts_file(recording, config.tensor, tmp_path) != new


FORMS = {
    "a function": "def made(events, **how): return helper.GAIN\n",
    "decorated": "@passing\ndef made(events, **how): return helper.GAIN\n",
    "partial": "def inner(gain, events, **how): return gain\nmade = functools.partial(inner, 2)\n",
    "object": "class Maker:\n    def __call__(self, events, **how): return 2\nmade = Maker()\n",
    "compiled": "import numba\n@numba.njit\ndef made(events): return 2\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_the_source_of_a_function_is_its_file_and_those_that_it_imports(name, tmp_path, monkeypatch):
    """However it is made, and of whatever it is wrapped in."""
    monkeypatch.syspath_prepend(tmp_path)
    stem = f"form_{name.replace(' ', '_')}"
    head = f"import functools\nimport {stem}_helper as helper\nfrom {stem}_wrapper import passing\n"
    wrapper = "import functools\ndef passing(f):\n    return functools.wraps(f)(lambda *a, **k: f(*a, **k))\n"
    texts = {f"{stem}.py": head + FORMS[name], f"{stem}_helper.py": "GAIN = 1\n", f"{stem}_wrapper.py": wrapper}
    for file, text in texts.items():
        (tmp_path / file).write_text(text)
    (function,) = allow(f"{tmp_path / stem}.py:made")
    first = source_digest(function)
    assert first == source_digest(function)
    for file, text in texts.items():
        (tmp_path / file).write_text(text + "# edited\n")
        assert source_digest(function) != first, file
        (tmp_path / file).write_text(text)
    (tmp_path / "other.py").write_text("of no matter")
    assert source_digest(function) == first


def test_a_run_says_that_a_function_was_edited_since_it_was_trained(tmp_path, caplog):
    source, config = tmp_path / "own.py", tmp_path / "run" / "config.yaml"
    source.write_text(OWN)
    config.parent.mkdir()
    write_config(RunConfig(), config)
    allow(f"{source}:counted")
    remember(config)
    recall(config)
    assert not caplog.messages
    source.write_text(OWN.replace("% 256", "% 255"))
    recall(config)
    assert caplog.messages == [f"own:counted was edited since {config.parent} was trained: it may show other frames."]
    source.unlink()
    recall(config)
