"""Every fault of the harness once: the kernel goes on, or ends as documented, its file valid.

python -m pytest tests/run/test_faults.py -m "not long"     all but those that take minutes
python -m pytest tests/run/test_faults.py -m long           these: fifty kills, the soak of 500 studies and others
"""

from pathlib import Path

import numpy as np
import pytest

from tests.faults.fuzz import fuzz
from tests.faults.injection import RUN_FAULTS
from tests.faults.soak import MOST_GROWTH_MB, grown, soak
from tests.faults.study_faults import STUDY_FAULTS
from tests.faults.study_runs import run_harmed, set_stage

pytestmark = pytest.mark.timeout(900)
MARKS = {
    "member: hanging member": pytest.mark.slow,
    "process: reader hangs": pytest.mark.slow,
    "member: slow members": pytest.mark.long,
    "process: reader stopped": pytest.mark.long,
    "process: standard error closed": pytest.mark.long,
    "process: no network": pytest.mark.long,
    "process: pipe whose reader left": pytest.mark.long,
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    stage = set_stage(Path(tmp_path_factory.mktemp("faults")))
    yield stage
    stage.starter.close()


def test_there_are_enough_faults():
    assert len(STUDY_FAULTS) + len(RUN_FAULTS) >= 60


@pytest.mark.slow
def test_every_harm_of_a_study(stage):
    """All in one run: the unharmed studies' rows do not change by a byte, each harm is named."""
    names = list(STUDY_FAULTS)
    wrong = run_harmed(stage, names, np.random.default_rng(0), "every harm")
    assert not wrong, {names[number]: message for number, message in wrong.items()}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in RUN_FAULTS])
def test_every_fault_of_a_run(stage, name):
    RUN_FAULTS[name](stage, np.random.default_rng(0))


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=[pytest.mark.long, pytest.mark.timeout(3000)])])
def test_kills_at_random_moments(stage, kills):
    rng = np.random.default_rng(kills)
    for _ in range(kills):
        RUN_FAULTS["process: kill -9 and resume"](stage, rng)


def test_mutated_files_are_read_or_refused(tmp_path):
    _, wrong, _ = fuzz(300, 0, tmp_path)
    assert not wrong, wrong[0]


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_a_long_run_stays_flat(stage):
    table, memory, descriptors = grown(soak(stage, 500)[1])
    assert memory < MOST_GROWTH_MB and descriptors <= 0, table
