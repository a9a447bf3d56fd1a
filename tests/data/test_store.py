"""Tensor files: what goes in comes out, whole or in slices; what cannot be is one sentence."""

import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqdet.checks import InputError
from seqdet.config import InputConfig
from seqdet.data.description import Description
from seqdet.data.store import COMPRESSIONS, TensorFile, compression_of, has_frames, join_tensors, write_tensors

SENSOR_HW = (24, 32)
FRAME_HW = (12, 16)
WINDOW = Description(
    InputConfig("event_cube", {"bins": 2}, 50_000, SENSOR_HW, FRAME_HW), start_us=150_000, source="a.raw"
)


def some_frames(count, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, 9, (count, 4, 12, 16)).astype(dtype)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float32, np.int64])
def test_frames_and_their_description_come_back(tmp_path, compression, dtype):
    frames = some_frames(5, dtype)
    write_tensors(tmp_path / "a.h5", [frames[:2], frames[2:]], WINDOW, compression=compression)
    with TensorFile(tmp_path / "a.h5") as file:
        assert file.description == WINDOW
        assert file.shape == frames.shape
        assert file.dtype == dtype
        np.testing.assert_array_equal(file.read(0, 5), frames)
        assert file.ends_us.tolist() == [200_000, 250_000, 300_000, 350_000, 400_000]


PLAIN = """
import sys
sys.modules["hdf5plugin"] = None  # importing it is an error
import h5py
with h5py.File(sys.argv[1]) as file:
    print(file["data"][:].sum())
"""


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_h5py_alone_reads_what_needs_no_plugin(tmp_path, compression, dtype):
    frames = some_frames(5, dtype)
    parts = [tmp_path / "a.h5", tmp_path / "b.h5"]
    write_tensors(parts[0], [frames[:2]], WINDOW, compression=compression)
    later = WINDOW.part(2, 0)
    write_tensors(parts[1], [frames[2:]], later, compression=compression)
    join_tensors(tmp_path / "joined.h5", parts)
    with TensorFile(tmp_path / "joined.h5") as file:
        assert compression_of(file.data) == compression
    environment = os.environ | {"HDF5_PLUGIN_PATH": str(tmp_path)}
    command = [sys.executable, "-c", PLAIN, tmp_path / "joined.h5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if compression in ("gzip", "none"):
        assert float(done.stdout) == frames.sum(), done.stderr
    else:
        assert "OSError: Can't synchronously read data" in done.stderr


@given(st.integers(0, 9), st.integers(0, 9))
def test_a_slice_is_that_part_of_the_whole(tmp_path_factory, first, second):
    path = tmp_path_factory.getbasetemp() / "slices.h5"
    frames = some_frames(9)
    if not path.exists():
        write_tensors(path, [frames], WINDOW)
    start, stop = sorted((first, second))
    buffer = np.full((stop - start, 4, 12, 16), 99, np.uint8)
    with TensorFile(path) as file:
        assert file.read(start, stop, buffer) is buffer
    np.testing.assert_array_equal(buffer, frames[start:stop])


def test_a_buffer_that_is_filled_again_and_again_is_written_as_it_was(tmp_path):
    frames, buffer = some_frames(6), np.empty((2, 4, 12, 16), np.uint8)

    def refilled():
        for n in range(0, 6, 2):
            buffer[:] = frames[n : n + 2]
            yield buffer

    write_tensors(tmp_path / "a.h5", refilled(), WINDOW)
    with TensorFile(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file.read(0, 6), frames)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_joined_parts_hold_the_frames_of_all(tmp_path, compression):
    frames, paths = some_frames(7, np.float32), []
    for first, stop in ((0, 3), (3, 5), (5, 7)):
        paths.append(tmp_path / f"{first}.h5")
        window = WINDOW.part(first, 0)
        write_tensors(paths[-1], [frames[first:stop]], window, compression=compression)
    join_tensors(tmp_path / "all.h5", paths)
    with TensorFile(tmp_path / "all.h5") as file:
        np.testing.assert_array_equal(file.read(0, 7), frames)
        assert file.description == WINDOW
    with pytest.raises(InputError, match="must follow the frames before it"):
        join_tensors(tmp_path / "wrong.h5", [paths[0], paths[2]])
    assert not (tmp_path / "wrong.h5").exists()


def test_the_vendors_file_is_read(tmp_path):
    """One dataset with attributes: https://docs.prophesee.ai/stable/data/file_formats/hdf5_tensor.html."""
    frames = some_frames(3, np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=frames)
        data.attrs.update(
            {
                "delta_t": np.int32(50_000),
                "events_to_tensor": b"event_cube",
                "event_input_height": 24,
                "event_input_width": 32,
                "max_incr_per_pixel": 2.5,
                "shape": np.array(frames.shape[1:]),
            }
        )
    with TensorFile(tmp_path / "a.h5") as file:
        assert file.description == Description(
            InputConfig("event_cube", {"max_incr_per_pixel": 2.5}, 50_000, SENSOR_HW, FRAME_HW)
        )
        np.testing.assert_array_equal(file.read(1, 3), frames[1:])


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("histo", "histogram"),
        ("histo_quantized", "histogram_quantized"),
        ("diff", "difference"),
        ("diff_quantized", "difference_quantized"),
        ("timesurface", "time_surface"),
        ("event_cube", "event_cube"),
        ("multi_channel_timesurface", "multi_channel_time_surface"),
        ("my_own", "my_own"),
    ],
)
def test_the_vendors_names_of_representations_are_known(tmp_path, theirs, ours):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", data=some_frames(1))
        data.attrs.update({"delta_t": 50_000, "events_to_tensor": theirs.encode()})
    with TensorFile(tmp_path / "a.h5") as file:
        assert file.description.input.representation == ours


def test_ours_has_the_names_of_the_vendor(tmp_path):
    shown = replace(WINDOW.input, parameters={"max_incr_per_pixel": 3.0})
    write_tensors(tmp_path / "a.h5", [some_frames(1)], Description(shown))
    with h5py.File(tmp_path / "a.h5") as file:
        attributes = dict(file["data"].attrs)
    assert attributes["delta_t"] == 50_000
    assert attributes["events_to_tensor"] == b"event_cube"
    assert attributes["max_incr_per_pixel"] == 3.0
    assert (attributes["event_input_height"], attributes["event_input_width"]) == (24, 32)
    assert json.loads(attributes["parameters"]) == {"max_incr_per_pixel": 3.0}


def test_a_file_of_a_newer_version_is_refused(tmp_path):
    write_tensors(tmp_path / "a.h5", [some_frames(1)], WINDOW)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["data"].attrs["seqdet_version"] = 99
    with pytest.raises(InputError, match="format version 1 at most, got 99"):
        TensorFile(tmp_path / "a.h5")


def test_what_is_no_tensor_file_is_one_sentence(tmp_path):
    (tmp_path / "text.h5").write_text("hello")
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file.create_group("events")
    with h5py.File(tmp_path / "bare.h5", "w") as file:
        file["data"] = some_frames(1)
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["data"] = np.zeros(5)
    with h5py.File(tmp_path / "strange.h5", "w") as file:
        file["data"] = some_frames(1)
        file["data"].attrs.update({"delta_t": "soon"})
    for name, sentence in {
        "missing.h5": "whole HDF5 tensor file",
        "text.h5": "whole HDF5 tensor file",
        "events.h5": "dataset 'data', got events",
        "bare.h5": "attribute delta_t",
        "flat.h5": "must have shape",
        "strange.h5": "sound dataset",
    }.items():
        with pytest.raises(InputError, match=sentence):
            TensorFile(tmp_path / name)


def test_a_damaged_frame_is_one_sentence(tmp_path):
    write_tensors(tmp_path / "a.h5", [some_frames(3)], WINDOW, compression="zstd")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["data"].id.write_direct_chunk((1, 0, 0, 0), b"no zstd")
    with TensorFile(tmp_path / "a.h5") as file:
        file.read(0, 1)
        with pytest.raises(InputError, match="sound frames 1 to 2"):
            file.read(1, 2)


def test_frames_outside_and_buffers_that_do_not_fit_are_refused(tmp_path):
    write_tensors(tmp_path / "a.h5", [some_frames(3)], WINDOW)
    with TensorFile(tmp_path / "a.h5") as file:
        for start, stop in ((-1, 2), (0, 4), (2, 1)):
            with pytest.raises(InputError, match="within 0 to 3"):
                file.read(start, stop)
        with pytest.raises(InputError, match="out must be uint8"):
            file.read(0, 2, np.empty((2, 4, 12, 16), np.float32))


def test_nothing_is_not_written(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        write_tensors(tmp_path / "a.h5", [], WINDOW)
    assert not list(tmp_path.iterdir())


def noticed(path, content, frames):
    """Whether a file of this content is refused, or else is the one that was written."""
    path.write_bytes(content)
    try:
        with TensorFile(path) as file:
            there = file.read(0, len(file))
            return file.description == WINDOW and there.shape == frames.shape and (there == frames).all()
    except InputError:
        return True


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(tmp_path, compression):
    """Of frames and of what is said of them; three bytes in four are spared for the time it takes."""
    path, frames = tmp_path / "a.h5", some_frames(4)
    write_tensors(path, [frames], WINDOW, compression=compression)
    whole = path.read_bytes()
    for place in range(0, len(whole), 4):
        content = bytearray(whole)
        content[place] ^= 1 << place // 4 % 8
        assert noticed(path, content, frames), place


def test_files_of_others_have_no_checksum_and_are_read(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = some_frames(2)
        file["data"].attrs.update({"delta_t": 50_000})
    with TensorFile(tmp_path / "a.h5") as file:
        assert not file.is_checked
        assert (file.read(0, 2) == some_frames(2)).all()
    write_tensors(tmp_path / "b.h5", [some_frames(2)], WINDOW)
    with TensorFile(tmp_path / "b.h5") as file:
        assert file.is_checked


def claiming(path, shape, chunks, dtype=np.uint8, **attributes):
    """A tensor file with a chunk or none of what it tells of."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", shape, dtype, chunks=chunks, maxshape=(None, *shape[1:]), compression="gzip")
        data.attrs.update({"delta_t": 50_000, **attributes})
        if chunks and np.prod(chunks) < 1 << 20:
            data[0] = 1


@pytest.mark.parametrize(
    ("shape", "chunks", "attributes", "words"),
    [
        ((10**12, 2, 4, 4), (1, 2, 4, 4), {}, "at most 10,000,000 frames"),
        ((10**7, 2, 4, 4), (1, 2, 4, 4), {}, "must hold the 10,000,000 frames that it tells of, and holds fewer"),
        ((3, 2, 4, 4), (1, 2, 4, 4), {}, "must hold the 3 frames that it tells of, and holds fewer"),
        ((1, 2, 10**5, 10**5), (1, 2, 10**4, 10**4), {}, "268,435,456 bytes in one or in a chunk"),
        ((1, 2, 4, 4), (1, 2, 4, 4), {"delta_t": 0}, "plausible windows and a plausible sensor"),
        ((1, 2, 4, 4), (1, 2, 4, 4), {"delta_t": 10**18}, "plausible windows and a plausible sensor"),
        ((1, 2, 4, 4), (1, 2, 4, 4), {"start_us": -(2**62)}, "plausible windows and a plausible sensor"),
        ((1, 2, 4, 4), (1, 2, 4, 4), {"event_input_height": 10**6}, "plausible windows and a plausible sensor"),
        ((1, 2, 4, 4), (1, 2, 4, 4), {"delta_t": np.inf}, "sound dataset"),
        ((1, 2, 4, 4), (1, 2, 4, 4), {"max_incr_per_pixel": "many"}, "sound dataset"),
        ((1, 2, 4, 4), (1, 2, 4, 4), {"seqdet_version": 1, "parameters": "[1]"}, "table of parameters"),
    ],
)
def test_what_a_file_claims_is_checked_before_memory_is_taken(tmp_path, shape, chunks, attributes, words):
    claiming(tmp_path / "a.h5", shape, chunks, **attributes)
    tracemalloc.start()
    with pytest.raises(InputError, match=words):
        TensorFile(tmp_path / "a.h5")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


@pytest.mark.parametrize("frames", [np.zeros((1, 2, 4, 4), "S9"), np.zeros((3, 2, 0, 4), np.uint8)])
def test_frames_that_hold_no_numbers_are_refused(tmp_path, frames):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = frames
        file["data"].attrs["delta_t"] = 50_000
    with pytest.raises(InputError, match="frames of numbers"):
        TensorFile(tmp_path / "a.h5")


def test_strings_that_hang_the_library_are_refused(tmp_path):
    """Zeros over a block of the strings of attributes, which files of other releases and tools have there."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["data"] = some_frames(1)
        file["data"].attrs.update({"delta_t": 50_000, "note": "a string of any length"})
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL") + 16
    content[start : start + 48] = bytes(48)
    path.write_bytes(content)
    with pytest.raises(InputError, match="strings are damaged"):
        TensorFile(path)
    assert not has_frames(path)


def test_frames_that_lie_in_other_files_are_refused(tmp_path):
    """Whoever opens such a file would have any file of the machine read, or a pipe that never ends."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(128)))
    write_tensors(tmp_path / "other.h5", [some_frames(1)], WINDOW)
    with h5py.File(tmp_path / "external.h5", "w") as file:
        data = file.create_dataset("data", (1, 2, 8, 8), np.uint8, external=[(secret, 0, 128)])
        data.attrs["delta_t"] = 50_000
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["data"] = h5py.ExternalLink("other.h5", "data")
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["there"], file["data"] = h5py.ExternalLink("other.h5", "/"), h5py.SoftLink("/there/data")
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((1, 4, 12, 16), np.uint8)
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "data", (1, 4, 12, 16))
        file.create_virtual_dataset("data", layout).attrs["delta_t"] = 50_000
    for name in ("external", "linked", "soft", "virtual"):
        with pytest.raises(InputError, match="must hold 'data' itself"):
            TensorFile(tmp_path / f"{name}.h5")


def test_parts_that_are_packed_differently_are_not_joined(tmp_path):
    write_tensors(tmp_path / "a.h5", [some_frames(2)], WINDOW)
    later = WINDOW.part(2, 0)
    write_tensors(tmp_path / "b.h5", [some_frames(2)], later, compression="zstd")
    with pytest.raises(InputError, match=r"b\.h5 must be compressed as .*a\.h5 is"):
        join_tensors(tmp_path / "all.h5", [tmp_path / "a.h5", tmp_path / "b.h5"])
    assert not (tmp_path / "all.h5").exists()
