"""The queue between readers and consumers: who gets what, and who waited."""

import threading
import time

import pytest

from lumbar.reading.references import StudyRef
from lumbar.reading.study import Study
from lumbar.run import waiting_studies
from lumbar.run.reader_process import Unreadable
from lumbar.run.shared_study import SharedStudy
from lumbar.run.waiting_studies import WaitingStudies

READ = [(StudyRef(str(n), ()), Unreadable("reader_died", "")) for n in range(8)]


def numbers(taken) -> list[int]:
    return [int(ref.study_id) for ref, _ in taken]


def filled(room: int, consumers: int = 1) -> WaitingStudies:
    studies = WaitingStudies(lambda closed: iter(READ), room, consumers)
    end = time.monotonic() + 10
    while len(studies.waiting) < min(room, len(READ)) and time.monotonic() < end:
        time.sleep(0.01)
    return studies


def test_what_waits_is_taken_together_up_to_as_many_as_are_wanted():
    studies = filled(8)
    assert numbers(studies.take(5)) == [0, 1, 2, 3, 4]
    assert numbers(studies.take(5)) == [5, 6, 7]
    assert studies.take(5) == [] and not studies.any_left()
    studies.close()


def test_several_consumers_share_what_waits():
    studies = filled(8, consumers=2)
    assert [len(studies.take(8)) for _ in range(5)] == [4, 2, 1, 1, 0]
    studies.close()


def test_no_more_is_read_than_there_is_room_for():
    given = []

    def read(closed):
        for one in READ:
            given.append(one)
            yield one

    studies = WaitingStudies(read, room=2)
    time.sleep(0.3)
    assert len(given) == 3  # two wait, one is held
    assert numbers(studies.take(2)) == [0, 1]
    time.sleep(0.3)
    studies.close()
    assert 0.2 < studies.seconds_without_room < 0.55  # without those before the first was taken


def test_studies_that_are_given_back_are_the_next_ones():
    studies = filled(4)
    taken = studies.take(3)
    studies.give_back(taken)
    assert numbers(studies.take(2)) == [0, 1]
    assert studies.any_left()
    studies.close()


def test_an_error_while_reading_reaches_the_consumer():
    def read(closed):
        yield READ[0]
        raise ValueError("on purpose")

    studies = WaitingStudies(read, room=2)
    studies.thread.join()
    with pytest.raises(ValueError, match="on purpose"):
        studies.take(1)
    studies.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_end_that_there_was_no_memory_to_announce_is_found(monkeypatch):
    monkeypatch.setattr(waiting_studies, "SECONDS_BETWEEN_LOOKS", 0.05)

    def refuse():
        raise MemoryError

    def read(closed):
        time.sleep(0.2)  # until the consumer waits
        studies.changed.notify_all = refuse
        raise ValueError("on purpose")
        yield

    studies = WaitingStudies(read, room=2)
    with pytest.raises(ValueError, match="on purpose"):
        studies.take(1)
    studies.thread.join()


def test_reading_that_does_not_end_is_left_behind(monkeypatch, caplog):
    monkeypatch.setattr(waiting_studies, "SECONDS_TO_END", 0.1)
    release = threading.Event()

    def read(closed):
        yield READ[0]
        release.wait(30)

    studies = WaitingStudies(read, room=2)
    studies.close()
    assert studies.thread.is_alive() and "did not end within" in caplog.text
    release.set()
    studies.thread.join()


def test_closing_ends_the_reading_and_lets_go_of_what_waits():
    closed_at = []

    def read(closed):
        yield StudyRef("1", ()), SharedStudy.of(Study("1"))
        while not closed():
            time.sleep(0.01)
        closed_at.append(time.monotonic())

    studies = WaitingStudies(read, room=2)
    while not studies.waiting:
        time.sleep(0.01)
    studies.close()
    assert closed_at and not studies.waiting and not studies.thread.is_alive()


def test_the_wait_for_the_first_study_is_start_and_not_counted():
    release = threading.Event()

    def read(closed):
        time.sleep(0.3)
        yield READ[0]
        release.wait(10)
        time.sleep(0.3)
        yield READ[1]

    studies = WaitingStudies(read, room=2)
    studies.take(1)
    release.set()
    studies.take(1)
    assert 0.25 < studies.seconds_without_studies < 0.55
    studies.close()
