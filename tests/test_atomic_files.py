"""One way to write files: whole or absent, whatever writer fills them and whenever it fails."""

import numpy as np
import pytest
import safetensors.numpy

from lumbar.atomic_files import atomic_path, remove_leftovers, write_atomically

WRITERS = {
    "points.npz": lambda path: np.savez(path, points=np.arange(3)),  # appends .npz to any other suffix
    "weights.safetensors": lambda path: safetensors.numpy.save_file({"w": np.arange(3.0)}, path),
    "no_suffix": lambda path: path.write_text("text"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_the_file_appears_when_the_block_ends(tmp_path, name):
    place = tmp_path / "new" / name
    with atomic_path(place) as beside:
        assert beside.parent == place.parent and not place.exists()
        WRITERS[name](beside)
    assert [path.name for path in place.parent.iterdir()] == [name]
    assert place.stat().st_size > 0 and place.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", WRITERS)
def test_a_block_that_fails_leaves_the_old_file_alone(tmp_path, name, error):
    (tmp_path / name).write_text("old")
    with pytest.raises(type(error)), atomic_path(tmp_path / name) as beside:
        WRITERS[name](beside)
        raise error
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"


@pytest.mark.parametrize("name", WRITERS)
def test_what_a_kill_left_is_found_by_its_name(tmp_path, name):
    with atomic_path(tmp_path / name) as beside:
        left = beside.name
    (tmp_path / left).touch()
    remove_leftovers(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_bytes_and_text_are_written_as_they_are(tmp_path):
    assert write_atomically(tmp_path / "a", b"\x00\xff").read_bytes() == b"\x00\xff"
    assert write_atomically(tmp_path / "b", "ü\r\n").read_bytes() == "ü\r\n".encode()
