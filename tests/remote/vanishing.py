"""A study that goes between ``archive.py index`` and ``grade``, wherever it lies."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lumbar.outputs.submission import read_submission
from tests.remote.conftest import same_grades


def check_that_one_is_gone(
    data: str | Path,
    lost: str,
    remove: Callable[[], object],
    bundle: Path,
    from_disk: dict[str, np.ndarray],
    place: Path,
) -> None:
    """Check that the lost study gets the prior and ``study_gone``, and the others their grades.

    Args:
        data: For ``index``.
        lost: Id of the study.
        remove: Removes it from the data.
        bundle: To grade with.
        from_disk: Grades by row, with all studies there.
        place: Of the archive.
    """
    pytest.importorskip("pyarrow", reason="no pyarrow: pip install pyarrow")
    import pyarrow.parquet as pq

    import archive

    assert archive.main(["index", "--data", str(data), "--out", str(place), "--workers", "1"]) == 0
    remove()
    grade = ["grade", str(place), "--bundle", str(bundle), "--readers", "1", "--precision", "fp32"]
    assert archive.main([*grade, "--device", "cpu"]) == 0
    assert archive.main(["merge", str(place), "--csv"]) == 0
    found = dict(zip(*read_submission(place / "merged/submission.csv"), strict=True))
    assert found.keys() == from_disk.keys()
    kept = {row: values for row, values in found.items() if not row.startswith(lost)}
    assert same_grades(kept, {row: from_disk[row] for row in kept}) and len(found) - len(kept) == 25
    studies = pq.read_table(place / "merged/studies.parquet").to_pylist()
    (failed,) = [study for study in studies if study["fallback"] == "prior"]
    assert failed["study_id"] == lost
    assert failed["faults"][0]["reason"] == "study_gone"
