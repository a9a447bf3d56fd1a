import os
import subprocess
import sys

import pytest
import torch

from seqdet import devices
from seqdet.checks import InputError
from seqdet.devices import choose_device, choose_precision, find_device


@pytest.fixture
def claim(monkeypatch):
    """Lets the processor claim bfloat16 or not; how fast it is, is measured anew."""

    def _claim(has_bfloat16: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bfloat16, "avx2": True})
        devices._is_bfloat16_faster.cache_clear()

    yield _claim
    devices._is_bfloat16_faster.cache_clear()


def test_precision_is_as_wanted():
    assert choose_precision("float32", "cpu") == "float32"
    assert choose_precision("bfloat16", "cpu") == "bfloat16"


def test_a_processor_without_bfloat16_is_not_asked_how_fast_it_is(claim, monkeypatch):
    claim(False)
    monkeypatch.delattr(torch, "conv2d")
    assert choose_precision("auto", "cpu") == "float32"


@pytest.mark.parametrize("before", ["float32", "bfloat16"])
def test_work_goes_on_in_the_precision_in_which_it_began_where_the_processor_has_it(claim, monkeypatch, before):
    monkeypatch.delattr(torch, "conv2d")
    claim(True)
    assert choose_precision("auto", "cpu", before=before) == before
    claim(False)
    assert choose_precision("auto", "cpu", before=before) == "float32"


PLAIN = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
CLAIMING = """
import torch
from seqdet.devices import choose_precision
torch.cpu.get_capabilities = lambda: {"avx512_bf16": True}
print(choose_precision("auto", "cpu"))
"""


def test_libraries_that_are_kept_from_bfloat16_compute_in_float32():
    done = subprocess.run([sys.executable, "-c", CLAIMING], env=os.environ | PLAIN, capture_output=True, text=True)
    assert done.stdout == "float32\n"


@pytest.mark.parametrize(("seconds", "chosen"), [((1.0, 2.0), "bfloat16"), ((2.0, 1.0), "float32")])
def test_of_a_processor_that_claims_bfloat16_the_faster_precision_is_taken(claim, monkeypatch, seconds, chosen):
    claim(True)
    now = 0.0

    def convolve(x: torch.Tensor, *_: object, **__: object) -> None:
        nonlocal now
        now += seconds[x.dtype == torch.float32]

    monkeypatch.setattr(torch, "conv2d", convolve)
    monkeypatch.setattr(devices.time, "perf_counter", lambda: now)
    assert choose_precision("auto", "cpu") == chosen


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


@devices.one_thread()
def fail_with_the_number_of_threads() -> None:
    raise ValueError(torch.get_num_threads())


def test_many_small_operations_run_on_one_thread_and_what_follows_on_as_many_as_before():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with pytest.raises(ValueError, match=r"^1$"):
            fail_with_the_number_of_threads()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


SPINNING = "import os, seqdet; print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "infinite"}, "infinite None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_wait_asleep_unless_the_user_says_how_they_wait(own, said):
    others = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", SPINNING], env=others | own, capture_output=True, text=True)
    assert done.stdout.strip() == said
