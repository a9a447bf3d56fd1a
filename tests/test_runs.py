from __future__ import annotations

import pytest

from seqdet.checks import InputError
from seqdet.runs import RunFolder, versions


def test_every_part_of_a_run_has_a_place_of_its_own_in_its_folder(tmp_path):
    folder = RunFolder(tmp_path)
    names = [name for name, part in vars(RunFolder).items() if isinstance(part, property)]
    places = {getattr(folder, name) for name in names}
    assert len(places) == len(names) >= 8
    assert {place.parent for place in places} == {tmp_path, folder.checkpoints}


def test_a_new_run_goes_to_a_new_or_an_empty_folder(tmp_path):
    RunFolder(tmp_path / "new" / "run").check_free()
    RunFolder(tmp_path).check_free()
    assert list(tmp_path.iterdir()) == []


def test_a_new_run_overwrites_nothing(tmp_path):
    run, file, other = (tmp_path / name for name in ("run", "file", "other"))
    run.mkdir()
    RunFolder(run).config.touch()
    file.touch()
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(
        InputError,
        match=rf"^{run} holds a run already\. Name another folder, or go on with: seqdet train --resume {run}",
    ):
        RunFolder(run).check_free()
    for place in (file, other):
        with pytest.raises(InputError, match=f"^{place} must be a new or an empty folder"):
            RunFolder(place).check_free()


def test_a_folder_holds_a_run_if_there_is_its_configuration(tmp_path):
    folder = RunFolder(tmp_path)
    for place in (folder, RunFolder(tmp_path / "missing")):
        with pytest.raises(InputError, match=r"must be the folder of a run, and holds no config\.yaml"):
            place.check_holds_run()
    folder.config.touch()
    folder.check_holds_run()


def test_the_versions_name_the_libraries_and_the_machine():
    import torch

    import seqdet

    found = versions()
    assert found["seqdet"] == seqdet.__version__
    assert found["torch"] == torch.__version__.split("+")[0]
    assert {"torchvision", "lightning", "numba", "numpy", "python", "machine"} <= set(found)
    assert all(isinstance(text, str) and text for text in found.values())
