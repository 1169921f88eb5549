"""The journal: whole records only, of this run only, whatever a kill or a disk did to it."""

import errno

import numpy as np
import pytest

from lumbar.grading.study_record import VERSION, StudyRecord
from lumbar.run.journal import Journal, JournalError, decode, encode

RUN = {"bundle": "b", "device": "cpu"}
STUDIES = {"1", "2", "3"}


def journal(path, run=RUN) -> Journal:
    return Journal(path / "s.journal", run, STUDIES)


def record(study_id: str) -> StudyRecord:
    return StudyRecord(study_id, probabilities=np.full((25, 3), 1 / 3))


def write(path, *study_ids: str) -> bytes:
    one = journal(path)
    for study_id in study_ids:
        one.append(record(study_id))
    one.close()
    return one.path.read_bytes()


def found(path) -> list[str]:
    one = journal(path)
    ids = [found.study_id for found in one.records()]
    one.close()
    return ids


def test_records_come_back_exactly(tmp_path):
    write(tmp_path, "1", "2")
    one = journal(tmp_path)
    assert [found.to_json() for found in one.records()] == [record("1").to_json(), record("2").to_json()]
    one.discard()
    assert not one.path.exists()


def test_cut_anywhere_it_holds_the_whole_lines(tmp_path):
    """Every prefix of a journal is a journal; a torn end is dropped and written over."""
    raw = write(tmp_path, "1", "2")
    ends = [i + 1 for i, byte in enumerate(raw) if byte == ord("\n")]
    for size in range(len(raw) + 1):
        (tmp_path / "s.journal").write_bytes(raw[:size])
        assert found(tmp_path) == ["1", "2"][: max(0, sum(end <= size for end in ends) - 1)]
        write(tmp_path, "3")
        assert found(tmp_path)[-1] == "3"


def test_a_flipped_bit_in_the_last_line_costs_that_line(tmp_path):
    raw = write(tmp_path, "1", "2")
    (tmp_path / "s.journal").write_bytes(raw[:-9] + b"#" + raw[-8:])
    assert found(tmp_path) == ["1"]


def test_a_flipped_bit_before_is_refused(tmp_path):
    raw = write(tmp_path, "1", "2", "3")
    second = raw.index(b"\n") + 30
    (tmp_path / "s.journal").write_bytes(raw[:second] + b"#" + raw[second + 1 :])
    with pytest.raises(JournalError, match="line 2 is damaged; delete the file"):
        journal(tmp_path)
    assert (tmp_path / "s.journal").stat().st_size == len(raw)


def test_another_run_is_refused_by_name(tmp_path):
    raw = write(tmp_path, "1")
    with pytest.raises(JournalError, match="other bundle, precision; delete it"):
        journal(tmp_path, {"bundle": "c", "device": "cpu", "precision": "fp32"})
    assert (tmp_path / "s.journal").read_bytes() == raw


@pytest.mark.parametrize("version", [1, 99])
def test_another_versions_journal_is_refused_by_name(tmp_path, version):
    """Whatever else of the run has changed: the message names the version."""
    raw = write(tmp_path)
    content = record("1").to_json() | {"version": version}
    if version == 1:  # as it was before records had a version
        del content["version"]
    raw += encode(content)
    (tmp_path / "s.journal").write_bytes(raw)
    for run in (RUN, {"bundle": "c"}):
        with pytest.raises(
            JournalError, match=f"got a record of version {version}, expected version {VERSION}; delete it"
        ):
            Journal(tmp_path / "s.journal", run, STUDIES)
    assert (tmp_path / "s.journal").read_bytes() == raw


def test_another_run_without_a_study_is_no_loss(tmp_path):
    write(tmp_path)
    journal(tmp_path, {"bundle": "c"}).close()
    with pytest.raises(JournalError, match="other bundle"):
        write(tmp_path, "1"), journal(tmp_path, {"bundle": "d"})


@pytest.mark.parametrize("content", [record("9").to_json(), {"run": RUN}, {}, {"study_id": ["1"]}])
def test_records_of_no_study_of_this_run_are_refused(tmp_path, content):
    raw = write(tmp_path, "1")
    (tmp_path / "s.journal").write_bytes(raw + encode(content))
    with pytest.raises(JournalError, match="line 3 is no record"):
        journal(tmp_path)


def test_it_is_one_runs_at_a_time(tmp_path):
    first = journal(tmp_path)
    with pytest.raises(JournalError, match="another run is writing it"):
        journal(tmp_path)
    first.close()
    journal(tmp_path).close()


class FullDisk:
    """A file on a disk that takes ``room`` bytes more."""

    def __init__(self, file, room: int):
        self.file, self.room = file, room

    def write(self, data) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return written

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 1, 20])
def test_a_full_disk_costs_the_record_and_is_said_once(tmp_path, caplog, room):
    one = journal(tmp_path)
    one.append(record("1"))
    one.file, file = FullDisk(one.file, room), one.file
    one.append(record("2"))
    one.append(record("3"))
    assert len(caplog.records) == 1 and "No space left" in caplog.text
    assert not one.complete
    one.file = file
    one.append(record("3"))
    one.close()
    assert found(tmp_path) == ["1", "3"]


def test_lines_are_checked():
    line = encode({"study_id": "1"})
    assert decode(line) == {"study_id": "1"}
    for wrong in (line[:-1], line[1:], b"\n", b"", encode([1]), b"0" * 8 + line[8:]):
        assert decode(wrong) is None
