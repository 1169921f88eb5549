"""What grading an archive takes, from a sample of its studies, before it is started."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archiving.study_index import REPEATED_FILE, IndexedStudy, StudyIndex

if TYPE_CHECKING:  # needs OpenCV and pydicom, which take long to import
    from lumbar.reading.study import Study

SAMPLE = 20
WORKERS = (1, 4, 16)  # that hours are printed for
GIB = 2**30


@dataclass(frozen=True)
class Costs:
    """Seconds per study, measured one after another on this machine.

    Attributes:
        studies: In the sample.
        reading: Of one reader.
        grading: Of one worker on ``device``, None where no bundle was given.
        device: That graded, in words.
    """

    studies: int
    reading: float
    grading: float | None
    device: str = ""

    def hours(self, studies: int, workers: int, readers: int) -> float:
        """Return the hours that workers take: the slower of reading and grading."""
        per_study = max(self.reading / readers, self.grading or 0.0)
        return studies * per_study / workers / 3600


def measure_costs(sample: Sequence[IndexedStudy], bundle: Path | None, device: str, precision: str) -> Costs:
    """Read the studies of a sample, and grade them if there is a bundle.

    Raises:
        BundleError, DeviceError: The bundle or the device can't be used.
    """
    readable, reading = read_sample(sample)
    if bundle is None or not readable:
        return Costs(len(sample), reading, None)
    from lumbar.bundle.placement import ready_bundle
    from lumbar.grading.study_grading import StudyGrader
    from lumbar.grading.time_limit import Plan
    from lumbar.networks.device_choice import choose_device

    chosen = choose_device(device, precision)
    loaded = ready_bundle(bundle, chosen)
    plan = Plan(len(loaded.detectors), len(loaded.classifiers))
    grader = StudyGrader(loaded, chosen)
    grader.grade(readable[:1], plan)  # warms up
    begun = time.monotonic()
    for first in range(0, len(readable), chosen.studies):
        grader.grade(readable[first : first + chosen.studies], plan)
    grading = (time.monotonic() - begun) / len(readable)
    return Costs(len(sample), reading, grading, f"{chosen.torch}, {chosen.precision}")


def read_sample(sample: Sequence[IndexedStudy]) -> tuple[list["Study"], float]:
    """Return the studies of a sample that have volumes, and the seconds per study.

    A process beside this one reads them, because a damaged file may kill it.
    """
    from lumbar.run.read_ahead import read_ahead
    from lumbar.run.reader_process import Unreadable

    begun = ended = time.monotonic()
    readable = []
    for number, (_, answer) in enumerate(read_ahead([one.ref() for one in sample], workers=1)):
        ended = time.monotonic()
        if number == 0 and len(sample) > 1:  # the first one loads decoders
            begun = ended
        if not isinstance(answer, Unreadable):
            with answer:
                study = answer.open()
            readable += [study] if study.volumes else []
    return readable, (ended - begun) / max(1, len(sample) - 1)


def costs_text(index: StudyIndex, costs: Costs, readers: int) -> str:
    """Return studies, bytes and expected hours as lines."""
    size = f", {index.bytes / GIB:.1f} GiB" if index.bytes else ", of unknown size"
    lines = [f"{index.studies} studies{size}, of {index.data}"]
    if index.repeated:
        lines.append(
            f"{len(index.repeated)} more entries repeat a study of these, see {index.folder / REPEATED_FILE}"
        )
    lines.append(f"a sample of {costs.studies}: {costs.reading:.2f} s of reading per study, with one reader")
    if costs.grading is None:
        lines.append("not measured: grading (give --bundle on a machine like the workers')")
    else:
        lines.append(f"{costs.grading:.2f} s of grading per study on {costs.device}")
    for workers in WORKERS:
        hours = costs.hours(index.studies, workers, readers)
        lines.append(f"{workers} workers with {readers} readers each: about {hours:.1f} h")
    if costs.grading is not None and costs.grading < costs.reading / readers:
        lines.append(
            f"reading is slower: more --readers, up to {costs.reading / costs.grading:.0f}, would help"
        )
    return "\n".join(lines)
