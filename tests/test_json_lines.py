"""Files of JSON lines: entries outlive a kill, a torn last line counts for nothing, damage is named."""

import pytest

from lumbar.faults import DataNotFoundError
from lumbar.json_lines import JsonLines


@pytest.mark.parametrize("torn", [b"", b'{"n', b'{"n": 3}'])
def test_entries_come_back_without_a_torn_one(tmp_path, torn):
    path = tmp_path / "folder/lines.jsonl"
    JsonLines(path).append({"n": 1})
    with path.open("ab") as file:
        file.write(torn)
    lines = JsonLines(path)
    assert lines.entries == [{"n": 1}]
    assert (
        path.read_bytes() == b'{"n": 1}\n' + torn
    )  # reading changes nothing: another process may be writing
    lines.append({"n": 2})
    lines.append({"n": "ü"})
    assert [entry["n"] for entry in JsonLines(path).entries] == [1, 2, "ü"]


@pytest.mark.parametrize("line", [b"nonsense", b"", b"7", b"\xff"])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"n": 1}\n' + line + b'\n{"n": 2}\n')
    with pytest.raises(DataNotFoundError, match=r"lines\.jsonl: line 2 is damaged.*delete the line"):
        JsonLines(path)
