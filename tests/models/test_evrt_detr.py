"""EvRT-DETR against what its authors' model computes, and the whole detector at work."""

from __future__ import annotations

import ast
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from seqdet.checks import InputError
from seqdet.config import EvrtDetrConfig, InputConfig
from seqdet.inference.export import DecodingDetector, export, survivors
from seqdet.inference.parity import check_parity
from seqdet.inference.runners import OnnxRunner
from seqdet.models.detector import Detector
from seqdet.models.hybrid_encoder import HybridEncoder, positions
from seqdet.models.peephole_memory import PeepholeMemory
from seqdet.models.published import import_weights
from seqdet.models.published_evrt import combined, renamed
from seqdet.models.rtdetr import RtDetrHead
from seqdet.models.weights import load_detector, save_detector
from seqdet.models.zoo import build_detector
from seqdet.structures import Boxes, Clip

ORACLES = Path(__file__).parents[1] / "oracles"
TOLERANCE = 1e-5
"""Largest difference, relative to the largest number."""
SMALL = {"base": 4, "width": 16, "heads": 4, "feed_forward": 24, "memory": 8, "queries": 12, "decoder_layers": 2}
SIZE_HW = 60, 90


def oracle(part: str) -> dict[str, np.ndarray]:
    with np.load(ORACLES / f"evrt_detr_{part}.npz") as file:
        return dict(file)


def weights(part: str) -> dict[str, torch.Tensor]:
    """By our names, of one part of the detector."""
    found = {}
    for key, value in oracle(part).items():
        if key.startswith("w:"):
            found[
                "net_"
                + key[2:].replace("layers.2.layers.0", "layers.0.layers.0").replace("proj_layers.2", "proj_layers.0")
            ] = torch.from_numpy(value)
    pairs = [pair for name, tensor in combined(found).items() for pair in renamed(name, tensor)]
    return {name.partition(".")[2]: tensor for name, tensor in pairs}


def assert_equal(found: torch.Tensor, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found.numpy() - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def small_detector(seed: int = 0, **settings) -> Detector:
    return build_detector("evrt_detr_r18", classes=("a", "b", "c"), in_channels=4, seed=seed, **{**SMALL, **settings})


def opinionated(detector: Detector) -> Detector:
    """Weights and statistics that make a difference everywhere."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in detector.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith(("running_mean", "peepholes", "boxes.0.4.weight", "boxes.1.4.weight")):
                tensor.normal_(0, 0.3, generator=generator)
        for layer in detector.head.classes:
            layer.bias += 3.5
    return detector.eval()


def frames_of(time: int = 4, lanes: int = 2, size_hw: tuple[int, int] = SIZE_HW) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 6, (time, lanes, 4, *size_hw), generator=generator, dtype=torch.uint8)


def clip_of(frames: torch.Tensor, boxes: list[Boxes], labelled: torch.Tensor | None = None) -> Clip:
    time, lanes = frames.shape[:2]
    return Clip(
        frames=frames,
        is_first=torch.ones(lanes, dtype=torch.bool),
        is_blank=torch.zeros(lanes, dtype=torch.bool),
        is_labelled=torch.ones(time, lanes, dtype=torch.bool) if labelled is None else labelled,
        boxes=boxes,
        recordings=torch.arange(lanes),
        end_us=torch.zeros(time, lanes, dtype=torch.int64),
    )


@torch.no_grad()
def stream(detector: Detector, frames: torch.Tensor) -> tuple[list, tuple[torch.Tensor, ...]]:
    """One window at a time."""
    state = None
    found = []
    for frame in frames:
        outputs, state = detector(frame[None], state)
        found.append(outputs)
    assert state is not None
    return found, state


@torch.no_grad()
def test_the_encoder_computes_what_its_authors_computes():
    numbers = oracle("encoder")
    encoder = HybridEncoder((16, 24, 32), (8, 16, 32), channels=32, feed_forward=64, expansion=0.5)
    encoder.load_state_dict(weights("encoder"), strict=False)
    maps = encoder.eval()([torch.from_numpy(numbers[f"in0_{level}"]) for level in range(3)])
    for level, found in enumerate(maps):
        assert_equal(found, numbers[f"enc0_{level}"])
    assert_equal(positions(2, 3, 32), numbers["w:encoder:pos_embed2"][0])


@torch.no_grad()
def test_the_memory_computes_what_its_authors_computes_over_three_steps_on_two_lanes():
    numbers = oracle("memory")
    memory = PeepholeMemory((32,), hidden=32)
    memory.load_state_dict(weights("memory"))
    whole, _ = memory([torch.from_numpy(np.concatenate([numbers[f"enc{step}_2"] for step in range(3)]))], 2)
    state = None
    for step in range(3):
        (found,), state = memory([torch.from_numpy(numbers[f"enc{step}_2"])], 2, state)
        assert_equal(found, numbers[f"mem{step}_2"])
        torch.testing.assert_close(whole[0][2 * step : 2 * step + 2], found)


@torch.no_grad()
def test_the_decoder_computes_what_its_authors_computes():
    numbers = oracle("decoder")
    head = RtDetrHead((32,) * 3, (8, 16, 32), classes=3, channels=32, queries=20, layers=2, feed_forward=64)
    head.load_state_dict(weights("decoder"), strict=False)
    head.eval()
    for step in range(3):
        outputs = head([torch.from_numpy(numbers[f"mem{step}_{level}"]) for level in range(3)], (64, 96))
        assert_equal(outputs.logits, numbers[f"logits{step}"])
        assert_equal(outputs.boxes, numbers[f"boxes{step}"])


def test_every_weight_of_the_oracle_is_one_of_ours():
    parts = {
        "encoder": HybridEncoder((16, 24, 32), (8, 16, 32), channels=32, feed_forward=64, expansion=0.5),
        "decoder": RtDetrHead((32,) * 3, (8, 16, 32), classes=3, channels=32, queries=20, layers=2, feed_forward=64),
    }
    for name, part in parts.items():
        wanted = {key for key in part.state_dict() if not key.endswith("num_batches_tracked")}
        assert weights(name).keys() == wanted


@pytest.mark.parametrize(("name", "millions"), [("evrt_detr_r18", 34.45), ("evrt_detr_r50", 57.15)])
def test_the_published_sizes_have_as_many_parameters(name, millions):
    with torch.device("meta"):
        detector = build_detector(name, classes=("car", "pedestrian"), in_channels=20)
    assert round(sum(each.numel() for each in detector.parameters()) / 1e6, 2) == millions


def published(folder: Path, *, parts: tuple[str, ...] = ("backbone", "encoder", "decoder", "temp_enc"), ema: str = ""):
    """Files as their authors write them, of the published size and without a mark on it."""
    state: dict[str, dict[str, torch.Tensor]] = {part: {} for part in parts}
    for line in (ORACLES / "evrt_detr_r18_keys.txt").read_text().splitlines():
        part, key, text = line.split(" ", 2)
        shape = ast.literal_eval(text)
        if (part := part.removesuffix(":")) in parts:
            kind = torch.int64 if key.endswith("num_batches_tracked") else torch.float16
            state[part][key] = torch.full(shape, len(state[part]) % 7, dtype=kind)
    folder.mkdir(exist_ok=True)
    for part, tensors in state.items():
        torch.save(tensors, folder / f"net_{ema}{part}.pth")
    return folder


def test_all_names_of_the_published_size_are_known(tmp_path):
    made = import_weights(published(tmp_path / "a"))
    config = made.detector.config
    assert config == EvrtDetrConfig("evrt_detr_r18", ("car", "pedestrian"), 20)
    assert made.detector.input == InputConfig(
        "stacked_histogram", {"bins": 10, "max_count": 10}, 50_000, (240, 304), (240, 304)
    )
    assert made.notes[1:] == ["Left out: net_encoder:pos_embed2."]
    assert sorted(made.source) == [f"net_{part}.pth" for part in ("backbone", "decoder", "encoder", "temp_enc")]
    gates = made.detector.memory.cells[0].from_input.weight.unflatten(0, (4, -1)).flatten(1)
    assert all(len(gate.unique()) == 1 for gate in gates)
    assert len(gates[:, 0].unique()) > 1


def test_a_frame_detector_of_averaged_weights_is_one_without_memory(tmp_path):
    made = import_weights(published(tmp_path / "a", parts=("backbone", "encoder", "decoder"), ema="ema_"))
    assert made.detector.memory is None
    assert made.detector.config.memory == 0
    assert made.detector.config.depth == 18


def test_half_a_checkpoint_and_two_in_one_folder_are_refused(tmp_path):
    folder = published(tmp_path / "a")
    published(folder, parts=("backbone",), ema="ema_")
    with pytest.raises(InputError, match=r"must hold either net_\*\.pth or net_ema_\*\.pth"):
        import_weights(folder)
    (folder / "net_ema_backbone.pth").unlink()
    state = torch.load(folder / "net_temp_enc.pth", weights_only=True)
    del state["layers.1.layers.0.forget_gate.gate_to_cell"]
    torch.save(state, folder / "net_temp_enc.pth")
    gate = r"net_temp_enc:layers\.1\.layers\.0\.\*_gate\.gate_to_cell\.$"
    with pytest.raises(InputError, match=rf"must hold a whole evrt_detr_r18; .* not there: {gate}"):
        import_weights(folder)
    (folder / "net_backbone.pth").unlink()
    with pytest.raises(InputError, match="must hold a backbone of 18 or 50 layers"):
        import_weights(folder)


@pytest.mark.parametrize("kind", [torch.complex64, torch.int64])
def test_gates_of_another_kind_of_numbers_are_refused_by_their_name(kind, tmp_path):
    folder = published(tmp_path / "a")
    state = torch.load(folder / "net_temp_enc.pth", weights_only=True)
    name = "layers.1.layers.0.forget_gate.gate_to_input.weight"
    state[name] = state[name].to(kind)
    torch.save(state, folder / "net_temp_enc.pth")
    with pytest.raises(InputError, match=rf"in net_temp_enc:{name}, got {str(kind).removeprefix('torch.')}\."):
        import_weights(folder)


def test_after_a_step_of_training_a_loaded_detector_streams_what_it_computes_of_a_clip(tmp_path):
    detector = small_detector().train()
    frames = frames_of()
    truth = Boxes(torch.tensor([[10.0, 10, 40, 50], [70, 20, 71, 21]]), torch.tensor([1, 2]))
    before = [parameter.clone() for parameter in detector.parameters()]
    optimizer = torch.optim.AdamW(detector.parameters(), 1e-3)
    losses, _ = detector.loss(clip_of(frames, [truth] * 8))
    torch.stack(list(losses.values())).sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in detector.parameters())
    optimizer.step()
    assert not all(map(torch.equal, before, detector.parameters()))
    opinionated(detector)
    save_detector(detector, tmp_path / "a.safetensors")
    with torch.no_grad():
        outputs, state = detector(frames)
    found, after = stream(load_detector(tmp_path / "a.safetensors"), frames)
    assert_equal(torch.cat([each.logits for each in found]), outputs.logits.numpy())
    assert_equal(torch.cat([each.boxes for each in found]), outputs.boxes.numpy())
    for mine, theirs in zip(after, state, strict=True):
        torch.testing.assert_close(mine, theirs)


@torch.no_grad()
def test_a_lane_depends_on_no_other_and_memory_matters():
    detector = opinionated(small_detector())
    frames = frames_of()
    outputs, _ = detector(frames)
    alone, _ = detector(frames[:, 1:])
    torch.testing.assert_close(alone.boxes, outputs.boxes[1::2])
    forgotten, _ = detector(frames[3:])
    assert not torch.allclose(forgotten.boxes, outputs.boxes[6:], atol=1e-3)


@torch.no_grad()
def test_the_state_is_that_of_the_lanes_and_the_frames():
    detector = opinionated(small_detector())
    _, state = detector(frames_of(1))
    assert [tuple(each.shape) for each in state] == [(2, 8, 64 // s, 96 // s) for s in (8, 16, 32) for _ in range(2)]
    with pytest.raises(InputError, match="state must be what the last call returned for 1 lanes"):
        detector(frames_of(1, 1), state)
    with pytest.raises(InputError, match="its backbone has no memory, and got 1 tensors"):
        detector(frames_of(1), (*state, state[0]))


@torch.no_grad()
def test_boxes_are_shares_of_the_padded_frame():
    detector = opinionated(small_detector())
    outputs, _ = detector(frames_of(1))
    assert outputs.size_hw == SIZE_HW
    assert outputs.padded_hw == (64, 96)
    places = torch.tensor([[3], [0]])
    x, y, width, height = outputs.boxes[0, 3].tolist()
    wanted = [(x - width / 2) * 96, (y - height / 2) * 64, (x + width / 2) * 96, (y + height / 2) * 64]
    torch.testing.assert_close(detector.head.boxes_at(outputs, places)[0, 0], torch.tensor(wanted))


@torch.no_grad()
def test_small_frames_have_as_many_queries_as_cells():
    detector = opinionated(small_detector(queries=300))
    outputs, _ = detector(frames_of(1, 1, (32, 32)))
    assert outputs.logits.shape == (1, 16 + 4 + 1, 3)
    assert outputs.boxes.isfinite().all()


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_rounding_that_changes_which_queries_there_are_is_refused(precision, tmp_path):
    with pytest.raises(InputError, match=f"precision must be float32 for evrt_detr_r18, got {precision}: .*rank best"):
        export(small_detector(), tmp_path / "a.onnx", size_hw=SIZE_HW, precision=precision)
    assert not list(tmp_path.iterdir())


def test_an_exported_file_finds_the_same_and_holds_nothing_of_the_training(tmp_path):
    detector = opinionated(small_detector(decoder_layers=1))
    export(detector, tmp_path / "a.onnx", size_hw=SIZE_HW)
    runner = OnnxRunner(tmp_path / "a.onnx")
    state = memory = None
    for frames in frames_of(3, 3):
        with torch.no_grad():
            outputs, state = detector(frames[None], state)
        found, memory = runner(frames.numpy(), memory)
        wanted = detector.decode(outputs)
        assert [len(each.scores) for each in found] == [len(each) for each in wanted]
        for mine, theirs in zip(found, wanted, strict=True):
            np.testing.assert_allclose(mine.scores, theirs.scores.numpy(), atol=1e-4)
            np.testing.assert_allclose(mine.xyxy, theirs.xyxy.numpy(), atol=1e-2)
    assert sum(len(each) for each in wanted) > 10
    names = {each.name for each in onnx.load(tmp_path / "a.onnx").graph.initializer}
    assert not any("noisy_labels" in name for name in names)


@pytest.mark.parametrize("change", ["none", "order", "pairs", "numbers"])
def test_a_file_may_have_its_queries_in_another_order_but_no_others(change):
    """Boxes and logits of a query belong together."""
    detector = opinionated(small_detector(queries=8))
    decoding = DecodingDetector(detector, 0.01, survivors)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def run(frames, memory):
        silence = detector(torch.zeros(1, *frames.shape))[1]
        state = [0 * each for each in silence] if memory is None else map(torch.from_numpy, memory)
        *others, logits, boxes = decoding(torch.from_numpy(frames), *state)
        if change == "order":
            logits, boxes = logits[:, order], boxes[:, order]
        elif change == "pairs":
            logits = logits[:, order]
        elif change == "numbers":
            boxes = boxes + torch.tensor([0.0] * 7 + [0.01])[:, None]
        return [each.numpy() for each in (*others, logits, boxes)]

    refused = pytest.raises(InputError, match="a must compute what the detector does, and differs in")
    with refused if change in ("pairs", "numbers") else nullcontext():
        check_parity(run, detector, SIZE_HW, score=0.01, tolerance=1e-4, name="a")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"depth": 34}, "depth must be 18 or 50, got 34"),
        ({"base": 5}, "base must be even, got 5"),
        ({"width": 20, "heads": 8}, "width must be a multiple of 4 and of heads, got 20 and 8 heads"),
        ({"queries": 0}, "queries must be at least 1, got 0"),
        ({"expansion": 0.0}, r"expansion must be at least 0\.01, got 0\.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        EvrtDetrConfig(**settings)
