"""A worker without networks: grades follow from the study's id, which also makes it die, hang or fail."""

import hashlib
import os
import queue
import signal
import time
from dataclasses import replace

import numpy as np

from archiving.study_rows import POINT, StudyRows, ungraded_rows
from lumbar.sites import SEVERITIES, SITE_NAMES

BUNDLE = "stub"
PRIOR = np.tile([0.9, 0.07, 0.03], (len(SITE_NAMES), 1))


def stub_rows(study_id: str) -> StudyRows:
    """Return rows that follow from the id alone, but for the seconds; without torch, which takes long to import."""
    seed = int.from_bytes(hashlib.sha256(study_id.encode()).digest()[:4], "little")
    random = np.random.default_rng(seed)
    faults = [{"file": "file", "reason": "truncated", "message": "it ends early"}] if seed % 5 == 0 else []
    rows = ungraded_rows(study_id, "", "")
    graded = {"fallback": None, "faults": faults, "detectors": 1, "seconds": f'{{"x": {time.time()}}}'}
    return replace(
        rows,
        probabilities=random.dirichlet(np.ones(len(SEVERITIES)), len(SITE_NAMES)),
        reasons=((None, (), ()),) * len(SITE_NAMES),
        point_names=(("stub",) * len(SITE_NAMES), tuple(range(len(SITE_NAMES)))),
        points=random.integers(0, 100, (len(SITE_NAMES), len(POINT))).astype(float),
        study=rows.study | graded,
    )


class StubWorker:
    """A worker by the interface of ``archiving.worker.Worker``."""

    seconds = 0.0  # per study

    def __init__(self, settings, device: str):
        self.facts = {"bundle": BUNDLE, "device": device, "precision": settings.precision}
        self.given: queue.SimpleQueue = queue.SimpleQueue()

    def give(self, studies) -> None:
        for study in studies:
            self.given.put(study.ref().study_id)

    def rows(self):
        while True:
            study_id = self.given.get()
            if "poison" in study_id:
                os.kill(os.getpid(), signal.SIGKILL)
            while "hang" in study_id:
                time.sleep(1)
            if "gone" in study_id:
                yield ungraded_rows(study_id, "study_gone", "404")
            elif "unfetched" in study_id:
                yield ungraded_rows(study_id, "not_fetched", "no route")
            else:
                time.sleep(self.seconds)
                yield stub_rows(study_id)


class SlowStub(StubWorker):
    """Takes long enough to be killed in the middle."""

    seconds = 0.02


class SlowerStub(StubWorker):
    """Takes long enough to be killed twenty times."""

    seconds = 0.15
