"""One run over healthy and harmed studies, each with a fault of its own, and its expected outcome."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lumbar.sites import DESCRIPTION_SITES, SAGITTAL_T1
from tests.faults.checks import check_log, fallback_of, reasons_of, rows_of, study_lines
from tests.faults.kernels import KernelStarter
from tests.faults.study_faults import (
    GRADED,
    LEADING_ZEROS,
    PRIOR,
    SAME,
    SOME_PRIOR,
    STUDY_FAULTS,
    StudyFault,
)
from tests.faults.study_set import HEALTHY, Competition, Copy, write_bundles, write_models

PRIOR_LINE = "0.700000000,0.200000000,0.100000000"


@dataclass
class Stage:
    """What all runs share: a starter, bundles, healthy studies and their rows, a folder for the rest."""

    starter: KernelStarter
    folder: Path
    models: Path
    small: Path
    wide: Path
    healthy: list[list[str]]  # by model: the 25 lines that the small bundle gives

    def competition(self, name: str, healthy: bool = True) -> Competition:
        """Return a new competition, with the healthy studies in it."""
        root = self.folder / name
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        competition = Competition(root, self.models)
        if healthy:
            competition.add_healthy()
        return competition

    def check_healthy(self, rows: dict[str, str]) -> None:
        for model in range(HEALTHY):
            assert study_lines(rows, f"healthy-{model}") == self.healthy[model], f"healthy-{model} changed"


def set_stage(folder: Path) -> Stage:
    """Write the models and the bundles, and run the kernel on healthy studies alone."""
    small, wide = write_bundles(folder / "bundles")
    stage = Stage(KernelStarter(), folder, write_models(folder / "models"), small, wide, [])
    competition = stage.competition("healthy")
    root = competition.write_tables()
    outcome = stage.starter.run(["--data", root, "--bundle", small, "--workers", 1], folder / "healthy-out")
    assert outcome.status == 0, outcome.log
    rows = rows_of(outcome.submission, competition.row_ids())
    stage.healthy = [study_lines(rows, f"healthy-{model}") for model in range(HEALTHY)]
    assert len({tuple(lines) for lines in stage.healthy}) == HEALTHY
    assert not outcome.run["faults"] and not outcome.run["fallbacks"], outcome.run
    return stage


def run_harmed(stage: Stage, names: list[str], rng: np.random.Generator, name: str) -> dict[int, str]:
    """Inject the named faults into a study each and run the kernel once.

    Returns what went wrong by position in ``names``; raises AssertionError for what concerns the whole run.
    """
    competition = stage.competition(name)
    copies = []
    for number, fault in enumerate(names):
        study_id = f"00{number}" if fault == LEADING_ZEROS else f"harmed_{number}"
        copies.append(competition.add(study_id, int(rng.integers(HEALTHY))))
        STUDY_FAULTS[fault].harm(copies[-1], rng)
    order = rng.permutation(len(competition.studies))
    competition.studies = [competition.studies[i] for i in order]
    arguments = ["--data", competition.write_tables(), "--bundle", stage.small, "--max-fallback-share", 1]
    outcome = stage.starter.run([*arguments, "--workers", 2], stage.folder / f"{name}-out")
    assert outcome.status == 0, f"status {outcome.status}\n{outcome.log[-3000:]}"
    check_log(outcome.log)
    rows = rows_of(outcome.submission, competition.row_ids())
    stage.check_healthy(rows)
    wrong = {}
    for number, (fault, copy) in enumerate(zip(names, copies, strict=True)):
        try:
            check_study(STUDY_FAULTS[fault], copy, outcome.run, rows, stage)
        except AssertionError as error:
            wrong[number] = str(error)
    shutil.rmtree(competition.root, ignore_errors=True)
    return wrong


def check_study(fault: StudyFault, copy: Copy, run: dict, rows: dict[str, str], stage: Stage) -> None:
    """Check the reason, the fallback and the rows of one harmed study."""
    reasons, fallback = reasons_of(run, copy.study_id), fallback_of(run, copy.study_id)
    assert not fault.reasons or reasons & set(fault.reasons), f"reasons {reasons}, fallback {fallback}"
    expected = {SAME: None, GRADED: None, SOME_PRIOR: SOME_PRIOR, PRIOR: PRIOR}[fault.outcome]
    assert fallback == expected, f"fallback {fallback}, reasons {reasons}"
    lines, unharmed = study_lines(rows, copy.study_id), stage.healthy[copy.model]
    if fault.outcome == SAME:
        assert lines == unharmed, "other rows than unharmed"
    elif fault.outcome == PRIOR:
        assert set(lines) == {PRIOR_LINE}, "not the prior"
    elif fault.outcome == SOME_PRIOR:
        lost = range(len(lines))[DESCRIPTION_SITES[SAGITTAL_T1]]  # all such faults harm this series
        ungraded = [number for number, line in enumerate(lines) if line == PRIOR_LINE]
        assert ungraded == list(lost), f"the prior at the sites {ungraded}"
    else:
        assert PRIOR_LINE not in lines, "the prior, without being counted as a fallback"
