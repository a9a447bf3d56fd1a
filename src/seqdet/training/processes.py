"""Several processes that train one detector, each on lanes of its own.

The process that the user started is the first. It starts the others by
``python -m seqdet.training FOLDER PRECISION``. These build the same detector and data from the configuration in the
folder of the run, so no script runs twice.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import torch
from torch import distributed

from ..checks import InputError, proposed
from ..evaluation.coco import CocoEvaluator
from ..locks import kept_from_forks
from ..runs import RunFolder
from ..structures import State

READY = "ready"
ERROR = "seqdet: error: "
RANK = "LOCAL_RANK"
OTHERS = {"MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "WORLD_SIZE", "OMP_NUM_THREADS"}
"""Environment variables by which Lightning knows its place, and which it or we set."""
PATIENCE_S = 10


def rank() -> int:
    """The number of this process: 0 for the first."""
    return int(os.environ.get(RANK, 0))


def check_first() -> None:
    """Raise if a launcher started this process as one of several."""
    if RANK in os.environ:
        raise InputError(
            "train.processes must say how many processes train, as seqdet starts them itself, got a launcher that set "
            f"{RANK}. Start seqdet once, without torchrun."
        )


@contextmanager
def beside(folder: RunFolder, processes: int, precision: str) -> Iterator[None]:
    """The other processes of a training, within the block. In one of them, says that it is ready.

    What they say goes to ``process-1.log`` and so on in the logs of the run.

    Raises:
        InputError: what one of them raised.
    """
    if rank():
        sys.stdout.write(f"{READY}\n")
        sys.stdout.flush()
    if processes == 1 or rank():
        yield
        return
    before = {name: os.environ.get(name) for name in (RANK, *OTHERS)}
    threads = torch.get_num_threads()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0", "WORLD_SIZE": str(processes)}
    os.environ.update(place)
    started: list[subprocess.Popen[str]] = []
    pipes = ExitStack()
    try:
        for number in range(1, processes):
            started.append(process := _start(folder, number, precision))
            assert process.stdin is not None
            pipes.enter_context(kept_from_forks(process.stdin.fileno()))
        for number, process in enumerate(started, 1):
            assert process.stdout is not None
            if not any(line.strip() == READY for line in process.stdout):
                raise _ended(folder, number, process)
        os.environ[RANK] = "0"
        try:
            yield
        except RuntimeError as error:  # a connection that another process closed as it ended
            for number, process in enumerate(started, 1):
                with suppress(subprocess.TimeoutExpired):
                    if process.wait(PATIENCE_S):
                        raise _ended(folder, number, process) from error
            raise
        for process in started:
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
    finally:
        pipes.close()
        for process in started:
            process.kill()
            process.communicate()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        torch.set_num_threads(threads)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def end_with_first() -> None:
    """End this process, which is not the first one, as soon as that is gone, however that was, and whatever this does.

    While processes connect, and while they wait for each other, they would not notice for half an hour.
    """

    def watch() -> None:
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def gathered(state: State | None) -> State | None:
    """The state of the lanes of all processes, in their order; every process gets it."""
    if state is None or not distributed.is_initialized():
        return state
    whole = []
    for tensor in state:
        mine = tensor.contiguous()
        parts = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, mine)
        is_channels_last = tensor.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_channels_last else torch.contiguous_format
        whole.append(torch.cat(parts).contiguous(memory_format=layout))
    return tuple(whole)


def own_lanes(state: State, place: int, processes: int) -> State:
    """The part of the state of all lanes, (B, ...), that process number ``place`` of ``processes`` goes on with."""
    return tuple(tensor.chunk(processes)[place] for tensor in state)


def merged(evaluator: CocoEvaluator) -> CocoEvaluator:
    """The frames that all processes have gathered; every process gets them."""
    if not distributed.is_initialized():
        return evaluator
    parts: list[CocoEvaluator] = [evaluator] * distributed.get_world_size()
    distributed.all_gather_object(parts, evaluator)
    whole = CocoEvaluator(evaluator.classes)
    for part in parts:
        whole.merge(part)
    return whole


def _start(folder: RunFolder, number: int, precision: str) -> subprocess.Popen[str]:
    folder.logs.mkdir(exist_ok=True)
    path = folder.logs / f"process-{number}.log"
    path.unlink(missing_ok=True)  # a run of others may have a link there
    with path.open("w", encoding="utf-8") as log:
        command = [sys.executable, "-P", "-m", "seqdet.training", str(folder.root), precision]
        environment = os.environ | {RANK: str(number)}
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,  # which says nothing, and ends when this process does: see ``end_with_first``
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,  # where Ctrl-C is not heard: the first process says when to stop
        )


def _ended(folder: RunFolder, number: int, process: subprocess.Popen[str]) -> Exception:
    """Why another process ended."""
    if (code := process.wait()) < 0:
        onward = proposed("train", "--resume", folder.root)
        return InputError(f"Process {number} was killed by signal {-code}. Go on with: {onward}")
    path = folder.logs / f"process-{number}.log"
    said = path.read_text(encoding="utf-8", errors="replace").strip()
    if (last := said.rpartition("\n")[2]).startswith(ERROR):
        return InputError(last.removeprefix(ERROR))
    return RuntimeError(f"Process {number} ended: {said}")
