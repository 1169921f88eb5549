"""The time limit, with a clock that the test controls."""

import pytest

from lumbar.grading.time_limit import FAIR_SHARES, RESERVE_LEAST, WINDOW, Budget, Plan, parse_duration

DETECTORS, CLASSIFIERS = ["d1", "d2"], ["c1", "c2", "c3"]


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taught(
    limit: float | None, detector: float, classifier: float, other: float = 0.0
) -> tuple[Budget, Clock]:
    """Return a budget that has measured its members twice."""
    clock = Clock()
    budget = Budget(limit, clock.now, clock)
    for _ in range(2):
        for name in DETECTORS:
            budget.learn(f"detector {name}", detector)
        for name in CLASSIFIERS:
            budget.learn(f"classifier {name}", classifier)
        budget.learn("other", other)
    return budget, clock


def test_without_a_limit_everything_runs():
    budget, clock = taught(None, 1e6, 1e6)
    clock.now += 1e9
    assert budget.plan(1000, DETECTORS, CLASSIFIERS) == Plan(2, 3)
    assert budget.deadline(1000) == float("inf")


@pytest.mark.parametrize(
    "limit,plan",
    [
        (98, Plan(2, 3)),
        (70, Plan(2, 2)),
        (50, Plan(2, 1)),
        (35, Plan(1, 1)),
        (12, Plan(1, 1)),
        (5, Plan(0, 0)),
    ],
)
def test_classifiers_go_before_detectors_and_studies_last(limit, plan):
    """A detector takes 1 s and a classifier 1 s a detector: 8, 6, 4 and 2 s a study; ten studies are left."""
    budget, _ = taught(limit + budget_reserve(limit), 1.0, 1.0)
    expected = {98: 8, 70: 6, 50: 4, 35: 2, 12: 2, 5: None}[limit]
    if expected is None:
        budget, clock = taught(limit + RESERVE_LEAST, 1.0, 1.0)
        clock.now += limit - 1  # one second is left, a study by the smallest plan takes two
    assert budget.plan(10, DETECTORS, CLASSIFIERS) == plan
    if expected:
        assert budget.seconds(plan, DETECTORS, CLASSIFIERS) == expected


def budget_reserve(limit: float) -> float:
    return max(RESERVE_LEAST, 0.02 * limit / 0.98)


def test_the_smallest_plan_goes_on_while_there_is_time_for_one_study():
    budget, clock = taught(58 + RESERVE_LEAST, 2.0, 3.0)
    graded = 0
    while budget.plan(1000 - graded, DETECTORS, CLASSIFIERS).detectors:
        clock.now += budget.seconds(Plan(1, 1), DETECTORS, CLASSIFIERS)
        graded += 1
    assert graded == 11  # of 5 s each in 58 s
    assert budget.elapsed() <= 58


def test_one_slow_start_does_not_drop_members():
    """The first study waits three minutes for a reader that hangs; 700 studies of 2 s remain in 8.5 h."""
    clock = Clock()
    budget = Budget(8.5 * 3600, clock.now, clock)
    for seconds in (180.0, 2.0, 2.0):
        budget.learn("other", seconds)
        clock.now += seconds
        if seconds < 180:
            assert budget.plan(700, DETECTORS, CLASSIFIERS) == Plan(2, 3)


def test_a_change_of_pace_is_believed_and_members_come_back():
    budget, _ = taught(1000.0, 1.0, 1.0)
    assert budget.plan(100, DETECTORS, CLASSIFIERS) == Plan(2, 3)
    for _ in range(WINDOW):
        budget.learn("classifier c1", 10.0)
    assert budget.plan(100, DETECTORS, CLASSIFIERS) == Plan(1, 1)
    for _ in range(WINDOW):
        budget.learn("classifier c1", 1.0)
    assert budget.plan(100, DETECTORS, CLASSIFIERS) == Plan(2, 3)


def test_what_was_never_measured_costs_nothing_but_a_study_has_its_share():
    clock = Clock()
    budget = Budget(100 + RESERVE_LEAST, clock.now, clock)
    assert budget.plan(50, DETECTORS, CLASSIFIERS) == Plan(2, 3)
    share = FAIR_SHARES * 100 / 50
    assert budget.deadline(50) == clock.now + share
    assert budget.deadline(50, studies=8) == clock.now + 8 * share  # side by side they take as long together
    assert budget.deadline(2) == clock.now + 100  # never beyond the time that is left
    clock.now += 200
    assert budget.deadline(50) < clock.now


def test_several_consumers_share_the_studies():
    """Ten studies of 8 s in 44 s: two consumers take 5 turns each, one would have to drop members."""
    budget, clock = taught(44 + RESERVE_LEAST, 1.0, 1.0)
    assert budget.plan(10, DETECTORS, CLASSIFIERS) == Plan(2, 1)
    budget.consumers = 2
    assert budget.plan(10, DETECTORS, CLASSIFIERS) == Plan(2, 3)
    assert budget.plan(11, DETECTORS, CLASSIFIERS) == Plan(2, 2)  # six turns, of which one is half idle
    assert budget.deadline(10) == clock.now + FAIR_SHARES * 44 / 5


def test_simulated_runs_always_end_in_time():
    """Any pace, any limit: with members as measured, no run passes its limit."""
    for limit in (30.0, 100.0, 1000.0):
        for pace in (0.01, 0.3, 2.0, 9.0):
            clock = Clock()
            budget = Budget(limit, clock.now, clock)
            for left in range(200, 0, -1):
                plan, deadline = budget.plan(left, DETECTORS, CLASSIFIERS), budget.deadline(left)
                if not plan.detectors:
                    break
                for number, name in enumerate(DETECTORS[: plan.detectors]):
                    if number and clock.now >= deadline:
                        break
                    clock.now += pace
                    budget.learn(f"detector {name}", pace)
                for number, name in enumerate(CLASSIFIERS[: plan.classifiers]):
                    if number and clock.now >= deadline:
                        break
                    clock.now += pace * plan.detectors
                    budget.learn(f"classifier {name}", pace)
            assert budget.elapsed() < limit, (limit, pace)


@pytest.mark.parametrize(
    "text,seconds", [("8.5h", 30600), ("90m", 5400), ("30s", 30), ("45", 45), (" 1 h ", 3600)]
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1h", "0", "1d", "1e3", "nan", "١h"])
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_the_watchdog_leaves_time_for_the_last_write():
    """Half of the reserve for a study in hand, a quarter for a write that is going on, a quarter for the last one."""
    clock = Clock()
    budget = Budget(1000.0, clock.now, clock)
    assert budget.seconds_to_last_write() == pytest.approx(1000 - 0.5 * budget.reserve())
    assert budget.patience() == pytest.approx(0.25 * budget.reserve())
    assert budget.seconds_to_last_write() + budget.patience() < budget.limit
    assert Budget(None, clock.now, clock).seconds_to_last_write() == float("inf")
