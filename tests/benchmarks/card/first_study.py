"""The time of a process's first study, by part: start, networks, passes, layers.

Every pass is followed by a wait for the card, so that its seconds are its own. Layers are timed one by one at their
first and at their second call with the same shapes: the difference is the cost of loading, searching and compiling.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path


def profile_start(work: Path, bundle: Path, options: dict, save: Callable[[dict], None]) -> None:
    """Load a bundle and grade a few studies; save seconds by part, pass and layer.

    Args:
        work: Folder with the phantoms.
        bundle: Folder of the bundle.
        options: ``device``, ``precision``, ``studies`` to grade, and whether to time ``layers``, to switch on
            cuDNN's ``benchmark``, to use the ``profiler`` of torch.
        save: Called with the figures so far.
    """
    marks = [("before", 0.0, time.perf_counter())]

    def mark(name: str) -> None:
        marks.append((name, time.perf_counter() - marks[-1][2], time.perf_counter()))
        save(result | {"start": {name: seconds for name, seconds, _ in marks[1:]}})

    result: dict = {}
    import torch

    mark("import torch")
    from lumbar.bundle.placement import ready_bundle
    from lumbar.grading.study_grading import StudyGrader
    from lumbar.grading.time_limit import Plan
    from lumbar.networks.batch_runner import BatchRunner
    from lumbar.networks.device_choice import choose_device
    from lumbar.reading.listing import find_dataset
    from lumbar.reading.study import read_study

    mark("import lumbar")
    device = choose_device(options["device"], options["precision"])
    mark("choose the device")
    if options.get("benchmark"):
        torch.backends.cudnn.benchmark = True
    members = ready_bundle(bundle, device)
    mark("ready the bundle")
    studies = [read_study(ref) for ref in find_dataset(work / "phantoms").studies[: options["studies"]]]
    mark("read the studies")

    wait = torch.cuda.synchronize if device.torch.type == "cuda" else lambda: None
    passes: list[dict] = []
    run = BatchRunner.run

    def timed_run(self, function, network, images, cause, images_per_slice=1):
        wait()
        started = time.perf_counter()
        given = run(self, function, network, images, cause, images_per_slice)
        wait()
        shape = list(images.shape)
        passes.append(
            {"study": len(graded), "pass": cause, "shape": shape, "s": time.perf_counter() - started}
        )
        return given

    BatchRunner.run = timed_run
    layers = LayerTimes(wait)
    if options.get("layers"):
        for detector in members.detectors:
            for description, network in detector.networks.items():
                layers.watch(network, description)
        for member in members.classifiers:
            layers.watch(member.network, member.name)
    grader, graded = StudyGrader(members, device), []
    plan = Plan(len(members.detectors), len(members.classifiers))
    with profiler(options.get("profiler", False)) as trace:
        for study in studies:
            started = time.perf_counter()
            seconds = grader.grade([study], plan)[0].seconds
            wait()
            graded.append(seconds | {"total": time.perf_counter() - started})
            result |= {"studies": graded, "passes": passes, "layers": layers.table()}
            save(result | {"start": {name: seconds for name, seconds, _ in marks[1:]}})
            if trace:
                break
    if trace:
        for order in ("self_cpu_time_total", "self_device_time_total"):
            print(trace.key_averages().table(sort_by=order, row_limit=45, max_name_column_width=70))
    sys.stdout.flush()


def profiler(wanted: bool):
    """Return torch's profiler of the CPU and the card, or a context that does nothing."""
    import contextlib

    import torch

    return torch.profiler.profile() if wanted else contextlib.nullcontext()


class LayerTimes:
    """Seconds of each layer's calls, by layer and by the shapes of its inputs."""

    def __init__(self, wait: Callable[[], None]):
        self.wait = wait
        self.calls: dict[tuple, list[float]] = defaultdict(list)
        self.begun: dict[int, float] = {}

    def watch(self, network, name: str) -> None:
        """Time all leaves of a network; a layer that two members share is watched once."""
        for path, module in network.named_modules():
            if next(module.children(), None) is None and id(module) not in self.begun:
                self.begun[id(module)] = 0.0
                module.register_forward_pre_hook(self.before)
                module.register_forward_hook(self.recorder(f"{name}.{path}"))

    def before(self, module, _inputs) -> None:
        self.wait()
        self.begun[id(module)] = time.perf_counter()

    def recorder(self, path: str):
        def after(module, inputs, _output) -> None:
            self.wait()
            seconds = time.perf_counter() - self.begun[id(module)]
            seen = tuple(inputs[0].shape) if inputs and hasattr(inputs[0], "shape") else ()
            kind = str(inputs[0].dtype) if seen else ""
            self.calls[kind_of(module), path, seen, kind].append(seconds)

        return after

    def table(self) -> list[dict]:
        """Return by kind of layer: layers, calls, distinct (layer, shape), seconds of first and of later calls."""
        kinds: dict[str, dict] = {}
        for (kind, path, *_), seconds in self.calls.items():
            row = kinds.setdefault(
                kind, {"kind": kind, "layers": set(), "shapes": 0, "first_s": 0.0, "later": []}
            )
            row["layers"].add(path)
            row["shapes"] += 1
            row["first_s"] += seconds[0]
            row["later"] += seconds[1:]
        rows = [
            row
            | {
                "layers": len(row["layers"]),
                "later": len(row["later"]),
                "later_mean_s": sum(row["later"]) / max(1, len(row["later"])),
            }
            for row in kinds.values()
        ]
        return sorted(rows, key=lambda row: -row["first_s"])


def kind_of(module) -> str:
    """Name a layer by the properties that a library may treat apart: type, kernel, stride and groups."""
    name = type(module).__name__
    if hasattr(module, "kernel_size") and hasattr(module, "groups"):
        depth = (
            "depthwise" if module.groups == module.in_channels > 1 else "grouped" if module.groups > 1 else ""
        )
        return f"{name} {module.kernel_size[0]}x{module.kernel_size[0]} stride {module.stride[0]} {depth}".strip()
    return name
