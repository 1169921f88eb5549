"""Faults of members and of time: slow, hanging, not finite, out of memory, failing."""

from collections.abc import Callable

import numpy as np

from tests.faults.cases import ANY_SHARE, EXIT_FALLBACKS, Case
from tests.faults.checks import fallback_of, reasons_of, study_lines
from tests.faults.study_runs import PRIOR_LINE, Stage
from tests.faults.study_set import HEALTHY

LIMIT = 12  # seconds: a healthy run of three studies takes a few


def slow_members(stage: Stage, rng: np.random.Generator) -> None:
    """Members are dropped, never studies; the run ends before its limit and lists the members of each study."""
    case = Case(stage, wide=True, more=tuple(f"more-{n}" for n in range(5)))
    outcome = case.run(more=("--time-limit", 4 * LIMIT), patches={"slow_members": [1.0]})
    assert outcome.seconds < 4 * LIMIT, outcome.seconds
    run = outcome.run
    assert run["fewer_members"] and not run["fallbacks"], run
    assert "graded by fewer" in outcome.log
    assert all(plan["classifiers"] >= 1 for plan in run["fewer_members"].values())
    assert PRIOR_LINE not in case.rows().values()


def no_time(stage: Stage, rng: np.random.Generator) -> None:
    """Even one member is too slow: the rest gets the prior, before the limit."""
    case = Case(stage, more=tuple(f"more-{n}" for n in range(20)))
    limit = ("--time-limit", LIMIT)
    outcome = case.run(EXIT_FALLBACKS, limit, patches={"slow_members": [4.0]})
    assert outcome.seconds < LIMIT, outcome.seconds
    late = [f for f in outcome.run["fallbacks"] if "time_limit" in f["reasons"]]
    assert late and "no time left" in outcome.log
    case.rows()


def hanging_member(stage: Stage, rng: np.random.Generator) -> None:
    """A member hangs for ever: the process ends before the limit all the same."""
    case = Case(stage)
    outcome = case.run(EXIT_FALLBACKS, ("--time-limit", LIMIT), patches={"hanging_member": [1]})
    assert outcome.seconds < LIMIT, outcome.seconds
    graded = HEALTHY - len(outcome.run["fallbacks"])
    assert graded <= 1, outcome.run
    case.rows()


def hanging_reading(stage: Stage, rng: np.random.Generator) -> None:
    """The thread that reads hangs for ever: the time limit ends the process, with the rows that it has."""
    case = Case(stage)
    outcome = case.run(EXIT_FALLBACKS, ("--time-limit", LIMIT / 2), patches={"hanging_reading": [1]})
    assert "the run did not end before the time limit" in outcome.log
    assert len(outcome.run["fallbacks"]) >= HEALTHY - 1, outcome.run
    case.rows()


def limit_of_a_second(stage: Stage, rng: np.random.Generator) -> None:
    case = Case(stage)
    case.run(EXIT_FALLBACKS, ("--time-limit", "1s"))
    assert set(case.rows().values()) == {PRIOR_LINE}


def failing(times: int, error: str, reason: str | None, wide: bool = False) -> Callable:
    """Return a check of a classifier that fails the first ``times`` times."""

    def check(stage: Stage, rng: np.random.Generator) -> None:
        case = Case(stage, wide)
        values = [times, error, "a"]
        outcome = case.run(more=ANY_SHARE, patches={"failing_member": values})
        first = outcome.run["faults"][0]["study_id"] if reason else None
        rows = case.rows()
        for model in range(HEALTHY):
            study_id = f"healthy-{model}"
            if study_id == first and not wide:
                assert reasons_of(outcome.run, study_id) == {reason}
                assert fallback_of(outcome.run, study_id) == "prior"
                assert set(study_lines(rows, study_id)) == {PRIOR_LINE}
            elif not wide:
                assert study_lines(rows, study_id) == stage.healthy[model]
            else:
                assert fallback_of(outcome.run, study_id) is None
        if wide:
            assert reasons_of(outcome.run, first) == {reason}

    return check


def small_device(stage: Stage, rng: np.random.Generator) -> None:
    """Batches over two images do not fit: halved, logged once per cause, the same grades but for rounding."""
    case = Case(stage)
    outcome = case.run(patches={"small_device": [2]})
    assert outcome.log.count("batch halved") == 1, outcome.log
    rows = case.rows()
    for model in range(HEALTHY):
        found, unharmed = (
            np.array([line.split(",") for line in lines], float)
            for lines in (study_lines(rows, f"healthy-{model}"), stage.healthy[model])
        )
        assert np.abs(found - unharmed).max() < 1e-4


MEMBER_FAULTS = {
    "slow members": slow_members,
    "no time for one member": no_time,
    "hanging member": hanging_member,
    "hanging reading": hanging_reading,
    "a limit of one second": limit_of_a_second,
    "NaN once": failing(1, "nan", None),
    "NaN twice": failing(2, "nan", "not_finite"),
    "NaN in one of three": failing(2, "nan", "not_finite", wide=True),
    "a bug in a member": failing(1, "bug", "grading_failed"),
    "no memory in a member": failing(1, "memory", "out_of_memory"),
    "no memory for the allocator": failing(1, "allocator", "out_of_memory"),
    "a device too small": small_device,
}
