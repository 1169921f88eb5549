"""Faults of one study, by name: the damage, the reasons in run.json, the outcome of its rows."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    RLELossless,
)

from lumbar.faults import FILE_REASONS
from lumbar.sites import SAGITTAL_T1
from tests.faults import file_damage as harms
from tests.faults.file_damage import Harm, on_bytes, on_dataset, pixels_as, replaced_by, tags
from tests.faults.study_set import Copy

ANY = tuple(FILE_REASONS)
PRESENTATION, REPORT = "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.88.22"
MANY = 500  # slices
SAME, GRADED, SOME_PRIOR, PRIOR = "same", "graded", "prior at some sites", "prior"


@dataclass(frozen=True)
class StudyFault:
    """A way to harm one study.

    Attributes:
        reasons: At least one of them must be among the study's in run.json. Empty: none is due.
        outcome: The ``SAME`` rows as unharmed, ``GRADED`` without a fallback, ``SOME_PRIOR`` or ``PRIOR``.
    """

    harm: Harm
    reasons: tuple[str, ...]
    outcome: str


def folder_harm(change) -> Harm:
    """Return a harm of the sagittal T1 series' folder."""
    return lambda study, rng: change(study.series[SAGITTAL_T1])


def in_every_series(harm) -> Harm:
    def all_series(study: Copy, rng: np.random.Generator) -> None:
        for folder in study.series.values():
            harm(folder)

    return all_series


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def replaced_by_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


def first_only(folder: Path) -> None:
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()


def many(folder: Path) -> None:
    first = min(folder.iterdir())
    for number in range(100, 100 + MANY):
        os.link(first, folder / f"{number}.dcm")


def renamed(folder: Path) -> None:
    for path, name in zip(sorted(folder.iterdir()), ("a b", "ü\n\x1b[31m", "$(reboot);'\""), strict=True):
        path.rename(folder / name)


def beside(name: str, content: bytes) -> Harm:
    return folder_harm(lambda folder: (folder / name).write_bytes(content))


def same_value(keyword: str) -> Harm:
    """Return a harm that gives every file of the series the first one's value."""

    def harm(study: Copy, rng: np.random.Generator) -> None:
        import pydicom

        value = getattr(pydicom.dcmread(study.files(SAGITTAL_T1)[0]), keyword)
        tags(True, **{keyword: value})(study, rng)

    return harm


def flat(value: int) -> Harm:
    def change(dataset) -> None:
        dataset.PixelData = np.full(dataset.Rows * dataset.Columns, value, "<u2").tobytes()

    return on_dataset(change, every=True)


def smaller(dataset) -> None:
    pixels = dataset.pixel_array[::2, ::2]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()


def described(text: str) -> Harm:
    """Return a harm that spells the series' description otherwise."""

    def harm(study: Copy, rng: np.random.Generator) -> None:
        next(row for row in study.rows if row[2] == SAGITTAL_T1)[2] = text

    return harm


def repeated_rows(study: Copy, rng: np.random.Generator) -> None:
    study.rows += [list(row) for row in study.rows] * 2


def unlisted_series(study: Copy, rng: np.random.Generator) -> None:
    shutil.copytree(study.series[SAGITTAL_T1], study.folder / "99")


def unsafe_rows(study: Copy, rng: np.random.Generator) -> None:
    unsafe = ("../healthy-0/2", "/etc", "..", "a/b", "a\\b", "=1+1", "", "~", "a\nb", "x" * 300)
    study.rows += [[study.study_id, series, SAGITTAL_T1] for series in unsafe]


def no_images(study: Copy, rng: np.random.Generator) -> None:
    shutil.rmtree(study.folder)


def no_rows(study: Copy, rng: np.random.Generator) -> None:
    study.rows.clear()


def cut(lowest: float, highest: float) -> Harm:
    return on_bytes(lambda data, rng: data[: int(len(data) * rng.uniform(lowest, highest))])


STUDY_FAULTS = {
    # folders
    "empty series folder": StudyFault(folder_harm(emptied), ("empty_folder",), SOME_PRIOR),
    "missing series folder": StudyFault(folder_harm(shutil.rmtree), ("folder_missing",), SOME_PRIOR),
    "a file for a series folder": StudyFault(
        folder_harm(replaced_by_a_file), ("folder_missing",), SOME_PRIOR
    ),
    "folder without permission": StudyFault(
        folder_harm(lambda f: f.chmod(0)), ("no_permission",), SOME_PRIOR
    ),
    "every folder empty": StudyFault(in_every_series(emptied), ("empty_folder",), PRIOR),
    "study without images": StudyFault(no_images, ("folder_missing",), PRIOR),
    "one slice a series": StudyFault(in_every_series(first_only), (), GRADED),
    "500 slices": StudyFault(folder_harm(many), ("same_position",), GRADED),
    "file names with anything": StudyFault(folder_harm(renamed), (), SAME),
    "hidden file beside": StudyFault(beside(".DS_Store", b"\0\0\0\1Bud1"), (), SAME),
    "text file beside": StudyFault(beside("notes.txt", b"no DICOM " * 99), ("not_dicom",), SAME),
    "folder beside": StudyFault(folder_harm(lambda f: (f / "9.dcm").mkdir()), ("not_a_file",), SAME),
    "unlisted series": StudyFault(unlisted_series, (), SAME),
    # files that are none
    "file of 0 bytes": StudyFault(on_bytes(lambda data, rng: b""), ("empty_file",), GRADED),
    "random bytes": StudyFault(on_bytes(lambda data, rng: rng.bytes(5000)), ("not_dicom",), GRADED),
    "text": StudyFault(on_bytes(lambda data, rng: b"<html></html>" * 50), ("not_dicom",), GRADED),
    "directory named as a file": StudyFault(replaced_by(Path.mkdir), ("not_a_file",), GRADED),
    "pipe": StudyFault(replaced_by(os.mkfifo), ("not_a_file",), GRADED),
    "broken link": StudyFault(replaced_by(lambda p: p.symlink_to("nowhere")), ("broken_link",), GRADED),
    "link to itself": StudyFault(replaced_by(lambda p: p.symlink_to(p)), ANY, GRADED),
    "no read permission": StudyFault(harms.no_permission, ("no_permission",), GRADED),
    # cut, longer, damaged
    "truncated anywhere": StudyFault(cut(0, 1), ANY, GRADED),
    "truncated in the header": StudyFault(cut(0.02, 0.05), ANY, GRADED),
    "truncated in the pixels": StudyFault(cut(0.2, 0.98), ("truncated",), GRADED),
    "no preamble": StudyFault(on_bytes(lambda data, rng: data[132:]), (), SAME),
    "4 GB claimed": StudyFault(on_bytes(harms.huge_length), (), SAME),
    "zeros in the middle": StudyFault(on_bytes(lambda d, r: d[:200] + bytes(200) + d[400:]), ANY, GRADED),
    "no pixel data": StudyFault(tags(PixelData=b""), ("truncated",), GRADED),
    "longer pixel data": StudyFault(
        on_dataset(lambda d: setattr(d, "PixelData", d.PixelData + bytes(640))), ("long_pixel_data",), SAME
    ),
    "broken RLE": StudyFault(on_dataset(harms.broken_rle), ("undecodable", "truncated"), GRADED),
    # not this kind of image
    "structured report": StudyFault(on_dataset(harms.no_image(REPORT)), ("not_an_image",), GRADED),
    "presentation state": StudyFault(on_dataset(harms.no_image(PRESENTATION)), ("not_an_image",), GRADED),
    "localizer": StudyFault(tags(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), ("localizer",), GRADED),
    "colour": StudyFault(on_dataset(harms.colour), ("colour",), GRADED),
    "palette": StudyFault(tags(PhotometricInterpretation="PALETTE COLOR"), ("colour",), GRADED),
    "mixed orientations": StudyFault(
        tags(ImageOrientationPatient=[1, 0, 0, 0, 1, 0]), ("other_orientation",), GRADED
    ),
    "mixed sizes": StudyFault(on_dataset(smaller), ("mixed_sizes",), GRADED),
    # tags
    "no position": StudyFault(tags(ImagePositionPatient=None), ("no_position",), GRADED),
    "malformed position": StudyFault(tags(ImagePositionPatient=b"1\\two\\3 "), ("malformed_tag",), GRADED),
    "position of two": StudyFault(tags(ImagePositionPatient=b"1\\2 "), ("malformed_tag",), GRADED),
    "position NaN": StudyFault(tags(ImagePositionPatient=b"NaN\\0\\0 "), ("malformed_tag",), GRADED),
    "one position for all": StudyFault(same_value("ImagePositionPatient"), ("same_position",), GRADED),
    "no orientation": StudyFault(tags(True, ImageOrientationPatient=None), ("no_orientation",), SAME),
    "malformed orientation": StudyFault(
        tags(True, ImageOrientationPatient=b"0\\0\\0\\0\\0\\0 "), ("malformed_tag",), SAME
    ),
    "no spacing": StudyFault(tags(True, PixelSpacing=None), ("no_spacing",), SAME),
    "malformed spacing": StudyFault(tags(True, PixelSpacing=b"wide "), ("malformed_tag",), SAME),
    "negative spacing": StudyFault(tags(True, PixelSpacing=b"-1\\0 "), ("malformed_tag",), SAME),
    "no rows": StudyFault(tags(Rows=None), ("bad_header",), GRADED),
    "rows of 0": StudyFault(tags(Rows=0), ("bad_header", "truncated"), GRADED),
    "no bits allocated": StudyFault(tags(BitsAllocated=None), ("bad_header",), GRADED),
    "7 bits allocated": StudyFault(tags(BitsAllocated=7), ("bad_header",), GRADED),
    "99 bits stored": StudyFault(tags(BitsStored=99), ("assumed_bits",), GRADED),
    "no instance numbers": StudyFault(tags(True, InstanceNumber=None), (), SAME),
    "one instance number for all": StudyFault(same_value("InstanceNumber"), ("same_number",), SAME),
    "one SOP instance UID for all": StudyFault(same_value("SOPInstanceUID"), (), SAME),
    "malformed slope": StudyFault(tags(True, RescaleSlope=b"steep "), ("malformed_tag",), SAME),
    "HTML in the patient's name": StudyFault(tags(True, PatientName="<script>alert(1)</script>"), (), SAME),
    # bombs
    "65535 x 65535": StudyFault(tags(Rows=65535, Columns=65535), ("too_large",), GRADED),
    "2 billion frames": StudyFault(tags(NumberOfFrames=b"2147483647"), ("too_large",), GRADED),
    "deflate bomb": StudyFault(harms.deflate_bomb, ("too_large",), GRADED),
    # other pixels that are fine
    "8 bit": StudyFault(pixels_as(np.uint8), (), GRADED),
    "32 bit": StudyFault(pixels_as(np.uint32), (), GRADED),
    "signed": StudyFault(pixels_as(np.int16), (), GRADED),
    "float pixels": StudyFault(pixels_as(np.float32, "FloatPixelData"), (), GRADED),
    "MONOCHROME1": StudyFault(tags(True, PhotometricInterpretation="MONOCHROME1"), (), GRADED),
    "constant slices": StudyFault(flat(700), (), GRADED),
    "all-zero series": StudyFault(flat(0), (), GRADED),
    "multi-frame": StudyFault(harms.multi_frame, ("no_position",), GRADED),
    "implicit VR": StudyFault(harms.in_syntax(ImplicitVRLittleEndian), (), SAME),
    "big endian": StudyFault(harms.in_syntax(ExplicitVRBigEndian), (), SAME),
    "deflated": StudyFault(harms.in_syntax(DeflatedExplicitVRLittleEndian), (), SAME),
    "RLE": StudyFault(harms.in_syntax(RLELossless), (), SAME),
    "compressed without a decoder": StudyFault(
        on_dataset(lambda d: harms.relabel(d, JPEGLosslessSV1)), ("no_decoder",), GRADED
    ),
    "unknown transfer syntax": StudyFault(on_dataset(lambda d: harms.relabel(d, "1.2.3.4")), ANY, GRADED),
    # rows of the table of series
    "unknown description": StudyFault(described("Coronal PD"), ("unknown_description",), SOME_PRIOR),
    "empty description": StudyFault(described(""), ("unknown_description",), SOME_PRIOR),
    "description spelled otherwise": StudyFault(described("  SAG  t1 "), (), SAME),
    "repeated rows": StudyFault(repeated_rows, (), SAME),
    "ids that leave the folder": StudyFault(unsafe_rows, (), SAME),
    "images without a row": StudyFault(no_rows, ("no_series",), PRIOR),
}
LEADING_ZEROS = "leading zeros"  # an id as 007: harmless, and the harness' own
STUDY_FAULTS[LEADING_ZEROS] = StudyFault(lambda study, rng: None, (), SAME)
