"""The outcome of a run: ``run.json`` and the closing summary."""

import json
import platform
import time
from collections import Counter, defaultdict
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy
import pandas
import pydicom
import safetensors
import timm
import torch

from lumbar.atomic_files import write_atomically
from lumbar.bundle.members import LeftOut
from lumbar.grading.graded_study import PRIOR, ZERO_CROPS
from lumbar.grading.study_record import SOME_PRIOR, StudyRecord
from lumbar.grading.time_limit import Plan
from lumbar.run.peak_memory import peak_memory

EXIT_FALLBACKS = 3
LEAST_WAIT = 0.01  # share of the time that counts as waiting
MODULES = (
    torch,
    timm,
    pydicom,
    numpy,
    pandas,
    cv2,
    safetensors,
)  # not distributions: OpenCV comes as any of four


class Summary:
    """The outcome of a run: ``run.json`` and the lines that a person reads in ten seconds.

    Args:
        about: Facts that are known before the first study: versions, device, members, files to write.
        started: Seconds, on the clock of ``time.monotonic``.
        max_fallback_share: Of the studies, above which the exit status is ``EXIT_FALLBACKS``.
        members: The bundle's detectors and classifiers.
    """

    def __init__(self, about: dict, started: float, max_fallback_share: float, members: Plan):
        self.about = about
        self.started = started
        self.max_fallback_share = max_fallback_share
        self.members = members
        self.left_out: tuple[LeftOut, ...] = ()
        self.studies = 0
        self.earlier = 0  # of them, taken over from an earlier run's journal
        self.fallbacks: list[dict] = []
        self.fallback_sites: Counter[str] = Counter()
        self.faults: list[dict] = []
        self.flags: list[dict] = []
        self.doubts: dict[str, dict[str, tuple[str, ...]]] = {}
        self.fewer_members: dict[str, dict] = {}
        self.report_failures: list[str] = []
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.waits: dict[str, float] = {}  # seconds that devices waited for studies, and readers for devices
        self.compilers: dict[str, str] = {}  # what became of each device's compiler
        self.process_memory: dict[str, dict[str, float]] = {}  # MB of consumers' processes, by device

    def add(self, record: StudyRecord) -> None:
        """Count a study's record."""
        study = {"study_id": record.study_id}
        reasons = {fault.reason: fault.message for fault in record.faults}
        self.studies += 1
        self.faults += [study | fault._asdict() for fault in record.faults]
        self.flags += [study | flag._asdict() for flag in record.flags]
        if record.doubts:
            self.doubts[record.study_id] = record.doubts
        for stage, seconds in record.seconds.items():
            self.seconds[stage] += seconds
        if record.plan != self.members and record.plan.detectors:
            self.fewer_members[record.study_id] = asdict(record.plan)
        self.fallback_sites.update(record.fallback_sites)
        if record.fallback:
            why = {"descriptions": list(record.fallbacks), "reasons": reasons}
            self.fallbacks.append(study | {"fallback": record.fallback} | why)

    @property
    def fallback_share(self) -> float:
        return len(self.fallbacks) / max(1, self.studies)

    @property
    def too_many_fallbacks(self) -> bool:
        return self.fallback_share > self.max_fallback_share

    @property
    def exit_status(self) -> int:
        return EXIT_FALLBACKS if self.too_many_fallbacks or self.left_out else 0

    @property
    def waited_share(self) -> dict[str, float]:
        """The share of the time, since the first study was read, that devices and readers waited for each other."""
        working = time.monotonic() - self.started - self.seconds["start"]
        return {who: seconds / working for who, seconds in self.waits.items() if working > 0}

    @property
    def bound_by(self) -> str | None:
        """The slower side, ``"reading"`` or ``"devices"``; None if neither waited for the other."""
        shares = self.waited_share
        if max(shares.values(), default=0) < LEAST_WAIT:
            return None
        return "reading" if shares["devices"] > shares["readers"] else "devices"

    def as_dict(self) -> dict:
        """Return the content of ``run.json``; seconds of wall time, memory in MB."""
        return self.about | {
            "studies": self.studies,
            "seconds": {"total": time.monotonic() - self.started} | dict(self.seconds),
            "waited_share": self.waited_share,
            "bound_by": self.bound_by,
            "compile": self.compilers,
            "peak_memory_mb": peak_memory() | self.process_memory,
            "fallbacks": self.fallbacks,
            "fallback_share": self.fallback_share,
            "fallback_sites": dict(self.fallback_sites),
            "left_out": [one._asdict() for one in self.left_out],
            "fewer_members": self.fewer_members,
            "faults": self.faults,
            "flags": self.flags,
            "flag_counts": dict(Counter(flag["reason"] for flag in self.flags)),
            "doubtful_sites": self.doubts,
            "report_failures": self.report_failures,
            "exit_status": self.exit_status,
        }

    def write(self, paths: list[Path]) -> None:
        for path in paths:
            write_atomically(path, json.dumps(self.as_dict(), indent=1) + "\n")

    def text(self) -> str:
        """Return the closing summary: studies, rate, device, members, fallbacks, where the files are."""
        seconds = time.monotonic() - self.started
        now = self.studies - self.earlier
        earlier = f", {self.earlier} of them before" if self.earlier else ""
        kinds = Counter(f["fallback"] for f in self.fallbacks)
        lines = [
            f"{self.studies} studies{earlier} in {seconds:.0f} s ({seconds / max(1, now):.1f} s each) "
            f"on {self.about['device']}, {self.about['precision']}",
            f"{self.members.detectors} detectors x {self.members.classifiers} classifiers of {self.about['bundle']!r}",
            *self.bound_lines(),
            *(
                f"{device}: classifiers {state}"
                for device, state in self.compilers.items()
                if state.startswith(("compiled", "failed"))
            ),
            f"fallbacks: {kinds[PRIOR]} studies with the prior, {kinds[SOME_PRIOR]} with the prior at some sites, "
            f"{kinds[ZERO_CROPS]} with zero crops; {self.fallback_sites.total()} sites"
            + (
                f" ({self.fallback_share:.0%} of studies, above the limit)" if self.too_many_fallbacks else ""
            ),
        ]
        if self.left_out:
            names = "; ".join(one.member for one in self.left_out)
            lines.append(f"left out, can't be used here (run.json has the reasons): {names}")
        if self.fewer_members:
            plans = Counter((plan["detectors"], plan["classifiers"]) for plan in self.fewer_members.values())
            told = [f"{count} studies by {d} x {c} members" for (d, c), count in sorted(plans.items())]
            lines.append(f"graded by fewer: {', '.join(told)}; which is in run.json")
        if late := sum("time_limit" in fallback["reasons"] for fallback in self.fallbacks):
            lines.append(f"no time left: {late} studies, with the prior")
        if self.flags:
            studies = len({flag["study_id"] for flag in self.flags})
            reasons = Counter(flag["reason"] for flag in self.flags).most_common()
            told = ", ".join(f"{number} x {reason}" for reason, number in reasons)
            lines.append(f"implausible: {studies} studies ({told}), see run.json")
        if self.doubts:
            sites = [reasons for study in self.doubts.values() for reasons in study.values()]
            reasons = Counter(reason for site in sites for reason in site).most_common()
            counts = ", ".join(f"{number} x {reason}" for reason, number in reasons)
            lines.append(
                f"doubtful: {len(sites)} sites of {len(self.doubts)} studies ({counts}), see run.json"
            )
        lines += [f"{key}: {path}" for key, path in self.about["files"].items()]
        return "\n".join(lines)

    def bound_lines(self) -> list[str]:
        """Return the line about the slower side, if there is one."""
        if not self.bound_by:
            return []
        shares = self.waited_share
        return [
            f"bound by {self.bound_by}: devices waited for studies {shares['devices']:.0%} of the time,"
            f" readers for devices {shares['readers']:.0%}"
        ]


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide the numbers."""
    return {"python": platform.python_version()} | {module.__name__: module.__version__ for module in MODULES}
