"""The time from a process's start to its first grades, by part: imports, networks, warm-up, passes.

Every pass is followed by a wait for the card, so that its seconds are its own.
"""

import time
from collections.abc import Callable
from pathlib import Path


def profile_start(
    work: Path, bundle: Path, device_name: str, studies: int, save: Callable[[dict], None]
) -> None:
    """Load a bundle and grade a few studies, one by one and then side by side; save seconds by part and pass.

    Args:
        work: Folder with the phantoms.
        bundle: Folder of the bundle.
        device_name: Of ``choose_device``.
        studies: How many to grade.
        save: Called with the figures so far.
    """
    last, start = time.perf_counter(), {}

    def mark(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        start[name], last = now - last, now
        save({"start": start})

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
    device = choose_device(device_name)
    mark("choose the device")
    members = ready_bundle(bundle, device)
    mark("ready the bundle")
    grader = StudyGrader(members, device)
    for run in grader.warm_ups():
        run()
    wait = torch.cuda.synchronize if device.torch.type == "cuda" else lambda: None
    wait()
    mark("warm up")
    read = [read_study(ref) for ref in find_dataset(work / "phantoms").studies[:studies]]
    mark("read the studies")

    passes: list[dict] = []
    groups = [*([one] for one in read), read]
    graded: list[dict] = []
    run_pass = BatchRunner.run

    def timed_run(self, function, network, images, cause, images_per_slice=1):
        wait()
        started = time.perf_counter()
        given = run_pass(self, function, network, images, cause, images_per_slice)
        wait()
        seconds = time.perf_counter() - started
        passes.append({"group": len(graded), "pass": cause, "shape": list(images.shape), "s": seconds})
        return given

    BatchRunner.run = timed_run
    plan = Plan(len(members.detectors), len(members.classifiers))
    for group in groups:
        started = time.perf_counter()
        seconds = grader.grade(group, plan)[0].seconds
        wait()
        graded.append(seconds | {"studies": len(group), "total": time.perf_counter() - started})
        save({"start": start, "groups": graded, "passes": passes})
