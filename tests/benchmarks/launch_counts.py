"""Count the work of the host per study on a card, without a card, in two checkouts of the kernel.

    git worktree add --detach ../before 1f2763f
    python -m tests.benchmarks.launch_counts --before ../before

The command grades phantoms on the CPU, with networks rewritten and batches as on a card. Counted per study: operators
that Python dispatches, reads of the device, bytes through pipes between processes, and distinct convolution shapes of
the whole run. A pass of fixed shape counts as one operator, as a card replays it.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from tests.making.operator_count import OperatorCount

REPOSITORY = Path(__file__).resolve().parents[2]
STUDIES, SEED = 8, 6  # phantoms; as many share passes on a card
MOST_READS, MOST_PIPED = 3, 10**6  # per study
MOST_OPERATORS = 0.25  # of those before
READS = ("aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal")
CONVOLUTIONS = "aten::conv"  # conv2d, conv_transpose2d, ...


class HostWork(OperatorCount):
    """Counts operators, reads of the device, bytes through pipes and shapes of convolutions.

    Attributes:
        reads: Calls that make Python wait for a device.
        piped: Bytes of all messages.
        shapes: Input and weight of each distinct convolution.
    """

    def __init__(self):
        super().__init__()
        self.reads = self.piped = 0
        self.shapes: set[tuple] = set()
        self.replayed = False  # whether the operators are those of one captured pass

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().partition(".")[0]
        if name.startswith(CONVOLUTIONS):
            self.shapes.add((tuple(args[0].shape), tuple(args[1].shape)))
        if self.replayed:
            return function(*args, **(kwargs or {}))
        by_mask = name == "aten::index" and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        self.reads += name in READS or by_mask
        return super().__torch_dispatch__(function, types, args, kwargs)

    def as_one(self, run: Callable) -> Callable:
        """Return a call of a captured pass that counts as one operator."""

        def call(*args):
            self.operators += 1
            self.replayed = True
            try:
                return run(*args)
            finally:
                self.replayed = False

        return call

    def reading(self, read: Callable) -> Callable:
        """Return a method of tensors that counts as a read."""

        def call(tensor: Tensor, *args, **kwargs):
            self.reads += 1
            return read(tensor, *args, **kwargs)

        return call

    def counting(self, grade: Callable) -> Callable:
        """Return a function within which operators and reads count."""

        def call(*args, **kwargs):
            with self, ExitStack() as patched:
                for name in ("cpu", "tolist"):
                    patched.enter_context(patch.object(Tensor, name, self.reading(getattr(Tensor, name))))
                return grade(*args, **kwargs)

        return call

    def watch_pipes(self) -> None:
        """Count all messages that this process sends and receives from now on."""
        receive, send = Connection._recv_bytes, Connection._send_bytes

        def receive_counted(connection, maxsize=None):
            message = receive(connection, maxsize)
            self.piped += message.getbuffer().nbytes
            return message

        def send_counted(connection, message):
            self.piped += len(message)
            return send(connection, message)

        Connection._recv_bytes, Connection._send_bytes = receive_counted, send_counted


def count(checkout: Path, result: Path, command: list[str]) -> None:
    """Run the command of a checkout that ``sys.path`` leads to; write the counts of all its studies."""
    torch.backends.mkldnn.is_available = lambda: False  # networks are rewritten as for a card
    work = HostWork()
    work.watch_pipes()
    if (checkout / "kernel/lumbar/networks").is_dir():
        as_on_a_card(work)
    else:
        as_on_a_card_before(work)
    sys.argv = [str(checkout / "kernel/infer.py"), *command]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    counts = {"operators": work.operators, "reads": work.reads, "piped bytes": work.piped}
    result.write_text(json.dumps(counts | {"shapes": len(work.shapes)}))


def as_on_a_card(work: HostWork) -> None:
    """Let the CPU take batches as a card does, ``STUDIES`` at once, and count what grades them."""
    from lumbar.grading.study_grading import StudyGrader
    from lumbar.networks import device_choice
    from lumbar.networks.captured_pass import CapturedPass
    from lumbar.run.waiting_studies import WaitingStudies

    take = WaitingStudies.take

    def take_full(self, most):
        with self.changed:
            self.changed.wait_for(lambda: len(self.waiting) >= most or self.ended)
        return take(self, most)

    card = device_choice.cuda_device("cpu", "fp32", "as on a card")
    device_choice.cpu_device = lambda *_: card
    WaitingStudies.take = take_full
    CapturedPass.run = work.as_one(CapturedPass.run)
    StudyGrader.grade = work.counting(StudyGrader.grade)


def as_on_a_card_before(work: HostWork) -> None:
    """Do the same at commit 1f2763f, which grades study by study."""
    device, pipeline = import_module("lumbar.device"), import_module("lumbar.pipeline")
    device.BATCH_CPU = device.BATCH_CUDA
    pipeline.grade_study = work.counting(pipeline.grade_study)


def counts_of(checkout: Path, data: Path, bundle: Path, studies: int) -> dict[str, float]:
    """Return the counts per study of a checkout's command; ``shapes`` are those of the whole run."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "counts.json"
        command = ["--data", str(data), "--bundle", str(bundle), "--out", str(Path(folder) / "out.csv")]
        command += ["--device", "cpu", "--precision", "fp32"]
        paths = [str(path) for path in (checkout / "kernel", REPOSITORY, REPOSITORY / "kernel")]
        finished = subprocess.run(
            [sys.executable, "-m", __spec__.name, "--count", str(checkout), str(result), *command],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            raise RuntimeError(
                f"{checkout}: status {finished.returncode}, expected 0\n{finished.stderr[-2000:]}"
            )
        found = json.loads(result.read_text())
    return {name: value if name == "shapes" else value / studies for name, value in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="checkout to compare with")
    args = parser.parse_args()
    from tests.benchmarks.members import phantoms, random_members

    data, within = phantoms(STUDIES, SEED, "test"), True
    # Of the shipped bundle each checkout has its own.
    bundles = {"shipped": None, "family A x convnext_tiny": random_members(1, 1)}
    for name, bundle in bundles.items():
        before, after = (
            counts_of(checkout, data, bundle or checkout, STUDIES)
            for checkout in (args.before.resolve(), REPOSITORY)
        )
        for what, value in before.items():
            print(f"{name}: {what}: {value:,.1f} before, {after[what]:,.1f} now", flush=True)
        within &= after["operators"] <= MOST_OPERATORS * before["operators"]
        within &= after["reads"] <= MOST_READS and after["piped bytes"] < MOST_PIPED
    return int(not within)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--count"]:
        count(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        sys.exit(main())
