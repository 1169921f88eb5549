"""Mutated DICOM files through the reader: read, or refused by a reason; never a crash, a hang or a flood.

python -m tests.faults.fuzz --inputs 20000 --seed 1
"""

import argparse
import contextlib
import logging
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lumbar.faults import FILE_REASONS, DicomError
from lumbar.reading.dicom_file import read_file
from lumbar.reading.library_warnings import gathered_warnings
from lumbar.reading.normalization import normalize_slice
from tests.faults.file_damage import in_syntax
from tests.faults.study_set import Copy
from tests.making.dicom_writer import SAGITTAL, write_slice

SECONDS = 5  # for one input
MEMORY = 3 * 2**30  # bytes of data beyond those in use
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)
# Little-endian numbers that lengths and counts are likely to trip over.
CHANGES = [0.22, 0.36, 0.06, 0.08, 0.02, 0.08, 0.08, 0.1]  # how often each kind below
PADDING = 64  # zeros at the end: or most inputs are merely truncated
NUMBERS = [0, 1, 2, 7, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1]


class HangError(BaseException):
    """An input took too long; no reader may catch this."""


def corpus(folder: Path) -> list[bytes]:
    """Return small files in every syntax, one and several frames."""
    from lumbar.sites import SAGITTAL_T1

    files = []
    for syntax in SYNTAXES:
        for frames in (1, 3):
            path = folder / "1" / "1.dcm"
            pixels = np.random.default_rng(frames).integers(0, 4096, (12 * frames, 10)).astype(np.uint16)
            write_slice(path, pixels, InstanceNumber=1, ImageOrientationPatient=SAGITTAL, PixelSpacing=[1, 1])
            if frames > 1:
                dataset = pydicom.dcmread(path)
                dataset.NumberOfFrames, dataset.Rows = frames, 12
                dataset.save_as(path)
            if syntax != ExplicitVRLittleEndian and not (syntax == ExplicitVRBigEndian and frames > 1):
                copy = Copy("1", 0, folder, {SAGITTAL_T1: path.parent})
                in_syntax(syntax)(copy, np.random.default_rng(0))
            files.append(path.read_bytes())
            path.unlink()
    return files


def mutate(files: list[bytes], rng: np.random.Generator) -> bytes:
    """Return a file with one to four changes that know where tags, lengths and values lie."""
    data = bytearray(files[rng.integers(len(files))])
    for _ in range(rng.geometric(0.6)):
        if len(data) < 8:
            break
        place = int(rng.integers(len(data) - 4))
        if rng.random() < 0.6 and (
            tags := [i for i in range(132, min(len(data) - 12, 900)) if is_tag(data, i)]
        ):
            place = tags[rng.integers(len(tags))] + int(rng.choice([0, 2, 4, 6, 8, 10]))
        width = int(rng.choice([1, 2, 4]))
        match rng.choice(8, p=CHANGES):
            case 0:
                data[place : place + width] = rng.bytes(width)
            case 1:
                number = NUMBERS[rng.integers(len(NUMBERS))] % 2 ** (8 * width)
                data[place : place + width] = number.to_bytes(
                    width, "little" if rng.random() < 0.8 else "big"
                )
            case 2:
                del data[place : place + int(rng.integers(1, 40))]
            case 3:
                data[place:place] = rng.bytes(int(rng.integers(1, 40)))
            case 4:
                data = data[: max(8, place)]
            case 5:
                other = files[rng.integers(len(files))]
                data = data[:place] + other[min(place, len(other)) :]
            case 6:
                start = int(rng.integers(len(data)))
                data[place:place] = data[start : start + 60]
            case 7:
                data[place : place + width] = bytes(
                    b ^ (1 << int(rng.integers(8))) for b in data[place : place + width]
                )
    return bytes(data) + bytes(PADDING if rng.random() < 0.7 else 0)


def is_tag(data: bytearray, place: int) -> bool:
    """Return whether a little-endian tag of a group that images have seems to begin here."""
    return data[place : place + 2] in (b"\x08\0", b"\x18\0", b"\x20\0", b"\x28\0", b"\xe0\x7f", b"\x02\0")


@contextlib.contextmanager
def guarded():
    """Bound the time of each input (by ``signal.alarm``) and the memory of this process."""

    def hang(*_):
        raise HangError

    limits = resource.getrlimit(resource.RLIMIT_DATA)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    before = signal.signal(signal.SIGALRM, hang)
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, limits[1]))
    logging.disable(logging.CRITICAL)
    try:
        with gathered_warnings("mutated files"):
            yield
    finally:
        signal.alarm(0)
        logging.disable(logging.NOTSET)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def fuzz(inputs: int, seed: int, folder: Path) -> tuple[Counter[str], list[str], float]:
    """Read mutated files; return counts by outcome, the violations, and the slowest input's seconds."""
    rng = np.random.default_rng(seed)
    files, counts, wrong, slowest = corpus(folder), Counter(), [], 0.0
    path = folder / "mutated.dcm"
    with guarded():
        for number in range(inputs):
            data = mutate(files, rng)
            path.write_bytes(data)
            begun = time.monotonic()
            signal.alarm(SECONDS)
            try:
                slices, _ = read_file(path)
                for one in slices:
                    assert one.pixels.ndim == 2 and one.pixels.size, "no picture"
                    normalize_slice(one.pixels)
                counts["read"] += 1
            except DicomError as error:
                counts[error.reason] += 1
                if error.reason not in FILE_REASONS:
                    wrong.append(f"input {number}: reason {error.reason!r} is not documented")
            except (Exception, HangError) as error:
                counts[type(error).__name__] += 1
                wrong.append(f"input {number}: {type(error).__name__}\n{traceback.format_exc()}")
            finally:
                signal.alarm(0)
            slowest = max(slowest, seconds := time.monotonic() - begun)
            if seconds >= SECONDS:
                wrong.append(f"input {number}: {seconds:.1f} s")
    return counts, wrong, slowest


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        counts, wrong, slowest = fuzz(args.inputs, args.seed, Path(folder))
    for name, count in counts.most_common():
        print(f"{name:24}{count:8}")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{args.inputs} inputs in {time.monotonic() - begun:.0f} s: {len(wrong)} crashes, hangs or floods; "
        f"slowest {slowest:.2f} s, peak memory {memory:.0f} MB"
    )
    for text in wrong[:10]:
        print(text)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
