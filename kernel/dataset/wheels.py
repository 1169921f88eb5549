"""The offline wheels of the data set, by name and SHA-256: packages for inference that the Kaggle image lacks.

pylibjpeg with pylibjpeg-rle decodes RLE Lossless, which the competition's files are, in 1 ms a slice where
pydicom's own decoder takes 7. One wheel for each CPython that the image has or may soon have; the kernel runs
without them too, only slower.
"""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lumbar.faults import BundleError

PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64")


@dataclass(frozen=True)
class Wheel:
    """One file of a package.

    Attributes:
        python: Version that pip is called with; any for a pure package.
    """

    package: str
    version: str
    python: str
    file: str
    sha256: str


WHEELS = (
    Wheel(
        "pylibjpeg",
        "2.1.0",
        "3.12",
        "pylibjpeg-2.1.0-py3-none-any.whl",
        "25df9496a69e64e98c887fddee12a1271e275b5f74ba804f9bf98a08bb80993e",
    ),
    Wheel(
        "pylibjpeg-rle",
        "2.2.0",
        "3.11",
        "pylibjpeg_rle-2.2.0-cp311-cp311-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "882e0bf2a40b9b5785592bc8ddd8c578387dac9c223e782d15827b2a87ceb2ac",
    ),
    Wheel(
        "pylibjpeg-rle",
        "2.2.0",
        "3.12",
        "pylibjpeg_rle-2.2.0-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "1efa710f773d5d1e6420568d4fcc3c00fc8bb8147f9c6ef9f032483eb625d6f5",
    ),
    Wheel(
        "pylibjpeg-rle",
        "2.2.0",
        "3.13",
        "pylibjpeg_rle-2.2.0-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "3ed4a5bd0e95266609c66773f01d0c1f769297f0f1a734cfeddb3e5da2a31259",
    ),
)
PACKAGES = tuple(dict.fromkeys(wheel.package for wheel in WHEELS))


def download_wheels(folder: Path) -> None:
    """Download every wheel of ``WHEELS`` into ``folder`` with pip, and check it.

    Raises:
        BundleError: pip failed, with its last line in the message, or a hash is wrong.
    """
    for wheel in WHEELS:
        platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--python-version", wheel.python, *platforms]
        command += ["--dest", str(folder), f"{wheel.package}=={wheel.version}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise BundleError(
                f"{wheel.file}: pip could not download it ({reason}); "
                "try again with a network, or build with --wheels DIR or --no-wheels"
            )
    check_wheels(folder)


def check_wheels(folder: Path) -> None:
    """Check that every wheel of ``WHEELS`` lies in ``folder`` with its SHA-256.

    Raises:
        BundleError: A wheel is missing or another file.
    """
    for wheel in WHEELS:
        path = folder / wheel.file
        if not path.is_file():
            raise BundleError(
                f"{path}: no such file, expected every wheel that the build knows; download again"
            )
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != wheel.sha256:
            raise BundleError(
                f"{path}: got SHA-256 {digest}, expected {wheel.sha256}; refused, as it is not the file "
                "that was looked at when its hash was written down"
            )
