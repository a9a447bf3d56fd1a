import pytest
import torch

from seqdet.checks import InputError
from seqdet.devices import choose_device, choose_precision, find_device


def test_precision_is_as_wanted_or_what_the_machine_has(monkeypatch):
    assert choose_precision("float32", "cpu") == "float32"
    assert choose_precision("bfloat16", "cpu") == "bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert choose_precision("auto", "cpu") == "bfloat16"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    assert choose_precision("auto", "cpu") == "float32"


def test_a_gpu_is_taken_if_there_is_one_and_refused_if_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
    assert choose_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    with pytest.raises(InputError, match="no GPU is visible"):
        choose_device("cuda")


def test_a_device_is_found_by_its_name():
    assert find_device("cpu") == find_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("wanted", ["gpu", "cuda:999", "", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(wanted):
    with pytest.raises(InputError, match=f"device must be one that torch finds here, .* got '{wanted}'"):
        find_device(wanted)
