"""A study in shared memory: its pickle is small, its volumes are whole, and no memory is left behind."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from lumbar.reading.listing import find_dataset
from lumbar.reading.study import Study, read_study
from lumbar.reading.volume import Volume
from lumbar.run.shared_study import SharedStudy
from tests.making.small_study import write_studies

MOST_PICKLED = 2**20  # bytes per study that go through a pipe
SLICES = 100  # of a usual study, in all


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    return read_study(find_dataset(write_studies(tmp_path_factory.mktemp("studies"))).studies[0])


def large(study: Study) -> Study:
    """Return a study with as many slices as a usual one."""
    (volume,) = list(study.volumes.values())[:1]
    times = -(-SLICES // len(volume))
    grid256, grid512 = (np.concatenate([grid] * times) for grid in (volume.grid256, volume.grid512))
    longer = Volume(volume.description, grid256, grid512, volume.headers * times, "")
    return Study("large", {volume.description: longer})


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def assert_same(study: Study, other: Study) -> None:
    assert (study.study_id, study.faults, study.volumes.keys()) == (
        other.study_id,
        other.faults,
        other.volumes.keys(),
    )
    for description, volume in study.volumes.items():
        assert volume.headers == other.volumes[description].headers
        np.testing.assert_array_equal(volume.grid256, other.volumes[description].grid256)
        np.testing.assert_array_equal(volume.grid512, other.volumes[description].grid512)


def test_a_study_is_the_same_in_shared_memory(study):
    before = open_descriptors()
    for one in (study, large(study), Study("empty")):
        with SharedStudy.of(one) as shared:
            opened = shared.open()
        assert_same(opened, one)  # it lives on
    assert open_descriptors() == before


def test_less_than_a_megabyte_is_pickled(study):
    one = large(study)
    with SharedStudy.of(one) as shared:
        assert sum(shared.sizes) == sum(v.grid256.nbytes + v.grid512.nbytes for v in one.volumes.values())
        assert len(shared.pickled) < MOST_PICKLED


def send(connection, study: Study) -> None:
    with SharedStudy.of(study) as shared:
        shared.send(connection)
    os.kill(os.getpid(), signal.SIGKILL)


def send_half(connection, study: Study) -> None:
    with SharedStudy.of(study) as shared:
        connection.send((shared.pickled, shared.sizes))
    os.kill(os.getpid(), signal.SIGKILL)


def received(sender, study: Study) -> SharedStudy:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=sender, args=(theirs, study))
    process.start()
    theirs.close()
    message = ours.recv()
    process.join()
    return SharedStudy.receive(message, ours)


def test_it_outlives_its_sender(study):
    with received(send, study) as shared:
        assert_same(shared.open(), study)


def test_a_sender_that_dies_before_the_descriptor_is_noticed(study):
    with pytest.raises(EOFError):
        received(send_half, study)


def test_memory_is_given_back(study):
    """No name is left in any file system, and shared memory is as before when the last array is gone."""
    names = set(Path("/dev/shm").iterdir())
    before = shared_kb()
    with SharedStudy.of(large(study)) as shared:
        opened = shared.open()
        for volume in opened.volumes.values():
            volume.grid512.sum()  # pages count once they are read
        assert shared_kb() - before > 20_000
        assert set(Path("/dev/shm").iterdir()) == names
    del opened, volume
    end = time.monotonic() + 10
    while shared_kb() - before > 20_000 and time.monotonic() < end:
        time.sleep(0.05)  # the system counts in its own time
    assert shared_kb() - before < 20_000


def shared_kb() -> int:
    (line,) = [
        one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssShmem")
    ]
    return int(line.split()[1])


def test_too_little_memory_is_an_error_of_this_study(study, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    before = open_descriptors()
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(MemoryError, match="No space left"):
        SharedStudy.of(study)
    assert open_descriptors() == before
