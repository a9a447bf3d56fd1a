"""Train a detector, and go on where training stopped."""

from __future__ import annotations

import errno
import inspect
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from ..allowing import recall, remember
from ..checks import InputError, Stopped, proposed
from ..config import DataConfig, ModelConfig, RunConfig, TrainConfig, anchors_in_words
from ..config_files import read_config, to_dict, write_config
from ..devices import choose_device, choose_precision
from ..files import write_bytes, write_text
from ..loading import fitted_model, frame_size, left_out, model_of_data, prepare, with_fitted_anchors
from ..locks import alone_in
from ..models.detector import Detector, LossFunction
from ..models.weights import load_detector, save_detector
from ..models.zoo import build_detector, check_built, check_takes
from ..runs import TRAINING_FORMAT, RunFolder, training_facts, versions
from ..stopping import stop_on_signals
from .checkpoints import Checkpoints, WholeFiles, read_checkpoint
from .module import ENDS, ClipDataModule, TrainingModule, learning_rate_factor
from .monitoring import Curves, DemoClips, TrainingProgress, dotted, quiet_writer
from .parts import freeze, frozen_parts, rate_factors
from .processes import beside, check_first, rank
from .starting import start_from, tell_other_input

log = logging.getLogger(__name__)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that has no room, or none for this user."""
PRECISIONS: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bfloat16": "bf16-mixed"}


@dataclass(frozen=True)
class Own:
    """What a user gives to a training beside its configuration, which cannot say it."""

    callbacks: tuple[Callback, ...] = ()
    loggers: tuple[Logger, ...] = ()
    criterion: LossFunction | None = None

    @classmethod
    def given(cls, callbacks: Any, loggers: Any, criterion: Any) -> Own:
        """What ``fit`` was given.

        Raises:
            InputError: if it is of another kind.
        """
        for name, kind, values in (("callbacks", Callback, callbacks), ("loggers", Logger, loggers)):
            if not isinstance(values, Sequence) or not all(isinstance(each, kind) for each in values):
                raise InputError(
                    f"{name} must be a list of instances of Lightning's {kind.__name__}, got {values!r:.80}."
                )
        if criterion is not None:
            _check_callable(criterion)
        return cls(tuple(callbacks), tuple(loggers), criterion)

    def check(self, train: TrainConfig) -> None:
        """Raise unless it can take part, and say that ``config.yaml`` has none of it."""
        given = [name for name in ("callbacks", "loggers", "criterion") if getattr(self, name)]
        if given and train.processes > 1:
            raise InputError(
                f"train.processes must be 1 where {' and '.join(given)} are given, got {train.processes}: the other "
                "processes know what config.yaml says alone."
            )
        loss = self.criterion
        if isinstance(loss, nn.Module) and any(each.requires_grad for each in loss.parameters()):
            raise InputError(
                "criterion must have nothing to learn, as the optimiser moves the weights of the detector alone: "
                "criterion.requires_grad_(False)."
            )
        if given:
            log.info("Not in config.yaml, so give them to seqdet.resume again: %s.", ", ".join(given))


def _check_callable(criterion: Any) -> None:
    """Raise unless it takes two arguments; what says nothing of its arguments is believed."""
    if not callable(criterion):
        raise InputError(f"criterion must be a function of outputs and frames, got {criterion!r:.80}.")
    called = criterion.forward if isinstance(criterion, nn.Module) else criterion
    try:
        signature = inspect.signature(called)
    except ValueError:  # as of one that is compiled
        return
    try:
        signature.bind(None, [])
    except TypeError as error:
        raise InputError(f"criterion must take outputs and frames, two arguments: {error}.") from error


def fit(
    detector: Detector | ModelConfig,
    data: DataConfig,
    train: TrainConfig,
    out: Path | str,
    *,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    criterion: LossFunction | None = None,
) -> Path:
    """Train ``detector`` and write everything about it to the folder ``out``, which is returned.

    The folder ends up with ``config.yaml``, ``detector.safetensors`` (the weights with the best validation AP),
    ``training.json``, ``checkpoints/`` and TensorBoard ``logs/``. A run that was stopped or killed goes on with
    ``resume(out)``.

    Args:
        detector: trained in place. What ``requires_grad_(False)`` froze stays so, as ``train.freeze`` of the run says.
            Or the configuration of one, which is built with the classes and channels of the data.
        data: the clips.
        train: the optimisation.
        out: a new or empty folder.
        callbacks: of Lightning, called beside ours; their state is kept in the checkpoint. One may end the training
            early, as ``EarlyStopping(monitor="AP", mode="max", patience=5)`` of ``lightning.pytorch.callbacks`` does.
        loggers: of Lightning, which get the settings and the curves as TensorBoard does.
        criterion: what is learnt in place of the loss of the head: called with the head's outputs of F frames and their
            F true ``Boxes``, it returns scalar tensors by name, whose sum is brought down.

    Raises:
        InputError: if the folder holds a run already, or the data or ``train.start`` do not fit the detector, before
            anything is written; or the loss stops being a number, or the disk is full; the last checkpoint is whole
            then.
        Stopped: if the user or the cluster asked to stop; a checkpoint is written.
    """
    check_first()
    folder = RunFolder(Path(out))
    folder.check_free()
    own = Own.given(callbacks, loggers, criterion)
    own.check(train)
    if isinstance(detector, ModelConfig):
        detector = build_detector(_of_data(detector, data), seed=train.seed)
    check_built(detector)
    source = start_from(detector, train.start) if train.start is not None else None
    freeze(detector, train.freeze)
    rate_factors(detector, train.lr_factors)
    config = RunConfig(data, detector.config, replace(train, freeze=frozen_parts(detector)))
    clips = _clips(config)
    if source is not None and train.start is not None:
        tell_other_input(source.input, clips.dataset.input, train.start)
    check_takes(detector.config, frame_size(clips.dataset))
    with alone_in(folder.root):
        folder.check_free()  # another command may have begun here
        save_detector(detector, folder.start)
        write_config(config, folder.config)
        remember(folder.config)
        with _telling_how_to_go_on(folder):
            return _run(detector, clips, config, folder, own)


def resume(
    out: Path | str,
    *,
    max_steps: int | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    criterion: LossFunction | None = None,
) -> Path:
    """Go on with the run in ``out`` from its last checkpoint, bit for bit, and return the folder.

    A finished run is left as it is, unless its detector is damaged and can be mended, or it shall train for longer; its
    detector stays until that is done.

    Args:
        out: folder of the run.
        max_steps: more steps than it is configured for, where the schedule of the learning rate has no end of its own.
        callbacks, loggers, criterion: those that ``fit`` was given. Without its criterion a run does not go on.

    Raises:
        InputError: if the folder holds no run, another command trains it, its checkpoint is damaged, it cannot be made
            longer, or it has learnt by a criterion and none is given.
        Stopped: as ``fit``.
    """
    check_first()
    folder = RunFolder(Path(out))
    folder.check_holds_run()
    folder.check_own()
    config = read_config(folder.config)
    own = Own.given(callbacks, loggers, criterion)
    own.check(config.train)
    if max_steps is not None:
        config = _longer(config, max_steps)
    recall(folder.config)
    if _is_finished(folder, config) and not _damage(folder.detector):
        log.info("%s is finished. %s", folder.root, _onward(config, folder))
        return folder.root
    with alone_in(folder.root):
        if _is_finished(folder, config):
            return _mended(folder)
        _check_place(config, folder)
        if max_steps is not None:
            write_config(config, folder.config)
        remember(folder.config)  # whose free settings may have changed
        if folder.last_checkpoint.is_file():
            detector = build_detector(config.model, seed=config.train.seed)
        elif folder.start.is_file():
            detector = load_detector(folder.start)
        else:
            raise InputError(f"{folder.root} must have {folder.last_checkpoint.name} to go on from, and has none.")
        with _telling_how_to_go_on(folder):
            return _run(detector, _clips(config), config, folder, own)


def _of_data(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """The configuration with the classes, channels and anchors of the data; the log says what it did not state."""
    found = model_of_data(model, data)
    if found != model and data.dataset.folder is not None:
        log.info("From the data: %d channels, and the classes %s.", found.in_channels, ", ".join(found.classes))
    complete = with_fitted_anchors(found, data)
    if complete != found:
        log.info("From the data: %s.", anchors_in_words(complete))
    return complete


def _onward(config: RunConfig, folder: RunFolder) -> str:
    """How to go on from a finished run."""
    schedule = config.train.schedule
    if schedule in ENDS:
        end = f"Its learning rate ended at {ENDS[schedule]}, as the schedule {schedule} does"
        return f"{end}: start a new run for more steps."
    longer = proposed("train", "--resume", folder.root, "--train.max_steps", 2 * config.train.max_steps)
    return f"To train for longer: {longer}"


def _longer(config: RunConfig, max_steps: int) -> RunConfig:
    """The configuration for more steps."""
    train = config.train
    if max_steps < train.max_steps:
        raise InputError(f"train.max_steps must be at least the {train.max_steps} of the run, got {max_steps}.")
    if train.schedule in ENDS and max_steps > train.max_steps:
        factor = learning_rate_factor(replace(train, max_steps=max_steps), 1)(train.max_steps)
        raise InputError(
            f"train.max_steps must stay {train.max_steps} with the schedule {train.schedule}, whose learning rate ends "
            f"at {ENDS[train.schedule]}: with {max_steps} it would leap back to {factor:.0%} of its peak. Start a new "
            f"run of {max_steps} steps; one of the schedule constant or exponential can be made longer later."
        )
    return replace(config, train=replace(train, max_steps=max_steps))


def _is_finished(folder: RunFolder, config: RunConfig) -> bool:
    """Whether the training came to its end, and to that of the configuration, which may have become longer."""
    if not folder.is_finished():
        return False
    return training_facts(folder.training).get("steps", config.train.max_steps) >= config.train.max_steps


def _check_place(config: RunConfig, folder: RunFolder) -> None:
    """Raise if the data of a run are not found from here."""
    data = config.data.dataset
    if data.folder is not None and not (data.simulate or data.folder.is_absolute() or data.folder.is_dir()):
        raise InputError(
            f"data.dataset.folder of {folder.config} must be a folder, and there is no {data.folder} here. It is meant "
            "from the folder in which the training was started: go on from there."
        )


def _damage(detector: Path) -> str:
    """What is wrong with a file of weights; nothing if it is whole."""
    try:
        load_detector(detector)
    except InputError as error:
        return str(error)
    return ""


def _mended(folder: RunFolder) -> Path:
    """A finished run whose detector is damaged, with the best weights in its place: they are the same."""
    if damage := _damage(folder.detector):
        best = folder.best_weights
        if _damage(best):
            raise InputError(f"{damage} {best.name} cannot take its place: copy the run again, or train it again.")
        write_bytes(folder.detector, best.read_bytes())
        log.info("%s was damaged, and is written again.", folder.detector)
    return folder.root


def take_part(out: Path, precision: str) -> None:
    """Take part in the run in ``out``, in the precision of its first process; see ``processes``."""
    folder = RunFolder(out)
    config = read_config(folder.config)
    detector = build_detector(config.model, seed=config.train.seed)
    _run(detector, _clips(config), config, folder, Own(), precision=precision)


def _clips(config: RunConfig) -> ClipDataModule:
    processes = config.train.processes
    device = choose_device(config.train.device)
    if config.data.lanes % processes:
        raise InputError(f"lanes must be a multiple of the {processes} processes, got {config.data.lanes}.")
    if config.data.clip_length * config.data.lanes < 2 * processes:
        raise InputError("clip_length times lanes must be at least 2 to train: batch norm needs more than one frame.")
    if device == "cuda" and processes > torch.cuda.device_count():
        raise InputError(f"train.processes must be at most the {torch.cuda.device_count()} GPUs, got {processes}.")
    if config.data.dataset.folder is not None and not rank():  # the first process has done it for all
        model_of_data(config.model, config.data)  # before tensors are made, which may take hours
        prepare(config.data.dataset)
    clips = ClipDataModule(config.data, batches=config.train.max_steps * config.train.accumulate)
    fitted_model(config.model, clips.dataset.classes, clips.dataset.channels)
    return clips


def _run(
    detector: Detector,
    clips: ClipDataModule,
    config: RunConfig,
    folder: RunFolder,
    own: Own,
    *,
    precision: str | None = None,
) -> Path:
    for part in ("pytorch", "fabric"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.WARNING)
    train = config.train
    folder.checkpoints.mkdir(exist_ok=True)
    device = choose_device(train.device)
    freeze(detector, train.freeze)
    detector.train()
    detector.input = clips.dataset.input
    if train.channels_last:
        detector.to(memory_format=torch.channels_last)
    steps_per_epoch = max(1, clips.order().steps_per_epoch // train.accumulate)
    module = TrainingModule(detector, train, steps_per_epoch=steps_per_epoch, criterion=own.criterion)
    frames_per_step = config.data.clip_length * config.data.lanes * train.accumulate
    validate_steps = train.validate_epochs * steps_per_epoch
    last = folder.last_checkpoint
    begun = None
    if last.is_file():
        begun = read_checkpoint(last, config, names=set(module.state_dict()), has_criterion=own.criterion is not None)
    if begun is not None and precision is None:
        precision = begun["precision"]
    precision = choose_precision(train.precision, device, before=precision)
    with stop_on_signals("this step, or this validation") as is_stopped:
        checkpoints = Checkpoints(
            folder,
            {"config": to_dict(config), "precision": precision, "has_criterion": own.criterion is not None},
            every_steps=train.checkpoint_steps,
            validate_steps=validate_steps,
            keep_steps=train.keep_epochs * steps_per_epoch,
            is_stopped=is_stopped,
        )
        curves = Curves(folder.logs, name="", version="", purge_step=begun and begun["global_step"])
        demo = DemoClips(train.demo_epochs, validate_every=train.validate_epochs, steps_per_epoch=steps_per_epoch)
        shown = TrainingProgress(frames_per_step=frames_per_step, validate_steps=validate_steps)
        callbacks = [shown, demo, *own.callbacks, checkpoints]  # the last sees whether another ends the training
        trainer = Trainer(
            accelerator="gpu" if device == "cuda" else "cpu",
            devices=train.processes,
            strategy=DDPStrategy() if train.processes > 1 else "auto",
            precision=PRECISIONS[precision],
            max_epochs=1,
            max_steps=train.max_steps,
            val_check_interval=validate_steps * train.accumulate,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            accumulate_grad_batches=train.accumulate,
            logger=[curves, *own.loggers],
            callbacks=callbacks,
            plugins=[WholeFiles(callbacks), *([LightningEnvironment()] if train.processes > 1 else [])],
            enable_checkpointing=any(isinstance(each, Checkpoint) for each in own.callbacks),
            enable_progress_bar=any(isinstance(each, ProgressBar) for each in own.callbacks),
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder.root,
        )
        # Its handler of SIGTERM makes several processes wait for each other, and drops a validation without a word.
        trainer._signal_connector.register_signal_handlers = lambda: None
        log.info(
            "Training %d steps of %d frames on %s in %s; everything goes to %s.",
            *(train.max_steps, frames_per_step, device, precision, folder.root),
        )
        with beside(folder, train.processes, precision), quiet_writer(), _telling_of_loaders(folder, is_stopped):
            curves.log_configuration(config)
            for each in own.loggers:
                each.log_hyperparams(dotted(to_dict(config)))
            trainer.fit(module, clips, ckpt_path=last if begun else None, weights_only=True)
            if checkpoints.validated_step != trainer.global_step:
                trainer.validate(module, clips, verbose=False)
            if checkpoints.best_score is not None:
                curves.log_final_score(checkpoints.best_score, trainer.global_step)
    if rank():
        return folder.root
    facts = {
        "format": TRAINING_FORMAT,
        "steps": trainer.global_step,
        "frames": checkpoints.frames,
        "seconds": round(checkpoints.seconds, 1),
        "frames_per_second": round(checkpoints.frames / checkpoints.seconds, 1),
        "validation_AP": checkpoints.best_score,
        "parameters": sum(p.numel() for p in detector.parameters()),
        "device": device,
        "processes": train.processes,
        "left_out": left_out(clips.dataset),
        "precision": precision,
        "dataset": config.data.dataset.folder and str(config.data.dataset.folder.resolve()),
        "versions": versions(),
    }
    if trainer.global_step < train.max_steps:
        log.info("A callback ended the training after step %d of %d.", trainer.global_step, train.max_steps)
    write_bytes(folder.detector, folder.best_weights.read_bytes())
    write_text(folder.training, json.dumps(facts, indent=2))
    return folder.root


@contextmanager
def _telling_how_to_go_on(folder: RunFolder) -> Iterator[None]:
    """Where a run is cut short, by a full disk or by a second signal, say what then."""
    command = proposed("train", "--resume", folder.root)
    try:
        yield
    except (OSError, InputError) as error:
        reason = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(reason, OSError) or reason.errno not in FULL:
            raise
        path = reason.filename or folder.logs  # whose writer does not say
        written = error if isinstance(error, InputError) else f"{path} cannot be written: {reason.strerror}."
        raise InputError(f"{written} Make room, then go on from the last checkpoint: {command}") from error
    except (KeyboardInterrupt, SystemExit) as stop:
        if not isinstance(stop, KeyboardInterrupt) and not isinstance(stop.__context__, KeyboardInterrupt):
            raise  # it is not the end that Lightning makes of Ctrl-C
        raise Stopped(f"Stopped at once. Go on from the last checkpoint: {command}") from stop


@contextmanager
def _telling_of_loaders(folder: RunFolder, is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Where a loader process ends a run, say why and what then."""
    command = proposed("train", "--resume", folder.root)
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        if is_stopped():  # by a signal to all processes, which loaders do not survive
            raise Stopped(f"Stopped at once. Go on from the last checkpoint: {command}") from error
        reason = "was killed, as systems do that run out of memory"
        raise InputError(f"A loader process {reason}. Go on, with fewer data.workers or not: {command}") from error
