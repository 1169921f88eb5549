"""Warnings of the DICOM library: one log line a series, and the process' own settings stay as they were."""

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from pydicom import config

from lumbar.reading.library_warnings import gathered_warnings
from lumbar.reading.series import read_series
from lumbar.sites import SAGITTAL_T1
from tests.making.dicom_writer import write_series

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def test_a_series_logs_one_line_whatever_its_files_provoke(tmp_path, caplog, recwarn):
    write_series(tmp_path / "7", 9)
    for path in (tmp_path / "7").iterdir():  # explicit data, called implicit
        content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0", 1)
        path.write_bytes(content)
    caplog.set_level(logging.WARNING)
    assert len(read_series(tmp_path / "7", SAGITTAL_T1).slices) == 9
    (record,) = caplog.records
    assert "9 warnings of pydicom" in record.getMessage() and str(tmp_path / "7") in record.getMessage()
    assert not recwarn.list


def test_settings_of_the_process_come_back(recwarn):
    before = config.settings.reading_validation_mode, list(logging.getLogger("pydicom").filters)
    with pytest.raises(ValueError, match="inside"), gathered_warnings("x"):
        assert config.settings.reading_validation_mode == config.IGNORE
        raise ValueError("inside")
    assert (config.settings.reading_validation_mode, logging.getLogger("pydicom").filters) == before
    with gathered_warnings("x"):
        warnings.warn("of somebody else", UserWarning, stacklevel=1)
    assert [str(one.message) for one in recwarn.list] == ["of somebody else"]


def test_importing_changes_nothing():
    code = (
        "import logging, warnings; from pydicom import config; before = list(warnings.filters);"
        "mode = config.settings.reading_validation_mode; import lumbar.reading.study;"
        "assert config.settings.reading_validation_mode == mode and not logging.getLogger('pydicom').filters;"
        "assert not [f for f in warnings.filters if f not in before and f[3] and 'pydicom' in str(f[3])]"
    )
    subprocess.run([sys.executable, "-c", code], cwd=KERNEL, check=True)
