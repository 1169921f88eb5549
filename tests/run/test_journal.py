"""The journal: whole records only, of this run only, whatever a kill or a disk did to it."""

import errno

import pytest

from lumbar.run.journal import Journal, JournalError, decode, encode

RUN = {"bundle": "b", "device": "cpu"}
STUDIES = {"1", "2", "3"}


def journal(path, run=RUN) -> Journal:
    return Journal(path / "s.journal", run, STUDIES)


def write(path, *study_ids: str) -> bytes:
    one = journal(path)
    for study_id in study_ids:
        one.append({"study_id": study_id, "probabilities": [0.1, 1 / 3]})
    one.close()
    return one.path.read_bytes()


def found(path) -> list[str]:
    one = journal(path)
    ids = [record["study_id"] for record in one.records()]
    one.close()
    return ids


def test_records_come_back_exactly(tmp_path):
    write(tmp_path, "1", "2")
    one = journal(tmp_path)
    assert [record["probabilities"] for record in one.records()] == [[0.1, 1 / 3]] * 2
    one.discard()
    assert not one.path.exists()


def test_cut_anywhere_it_holds_the_whole_lines(tmp_path):
    """Every prefix of a journal is a journal; what is torn is dropped and written over."""
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


def test_another_run_without_a_study_is_no_loss(tmp_path):
    write(tmp_path)
    journal(tmp_path, {"bundle": "c"}).close()
    with pytest.raises(JournalError, match="other bundle"):
        write(tmp_path, "1"), journal(tmp_path, {"bundle": "d"})


@pytest.mark.parametrize("record", [{"study_id": "9"}, {"run": RUN}, {}, {"study_id": ["1"]}])
def test_records_of_no_study_of_this_run_are_refused(tmp_path, record):
    raw = write(tmp_path, "1")
    (tmp_path / "s.journal").write_bytes(raw + encode(record))
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
    one.append({"study_id": "1"})
    one.file, file = FullDisk(one.file, room), one.file
    one.append({"study_id": "2"})
    one.append({"study_id": "3"})
    assert len(caplog.records) == 1 and "No space left" in caplog.text
    assert not one.complete
    one.file = file
    one.append({"study_id": "3"})
    one.close()
    assert found(tmp_path) == ["1", "3"]


def test_lines_are_checked():
    line = encode({"study_id": "1"})
    assert decode(line) == {"study_id": "1"}
    for wrong in (line[:-1], line[1:], b"\n", b"", encode([1]), b"0" * 8 + line[8:]):
        assert decode(wrong) is None
