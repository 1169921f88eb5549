"""Ways to harm the files of a study: one file of its sagittal T1 series, or all of them."""

import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from lumbar.sites import SAGITTAL_T1
from tests.faults.study_set import Copy

Harm = Callable[[Copy, np.random.Generator], None]
BOMB_BYTES = 2**29 + 2**20  # inflated


def on_bytes(change: Callable[[bytes, np.random.Generator], bytes]) -> Harm:
    """Return a harm that rewrites one file of the sagittal T1 series."""

    def harm(study: Copy, rng: np.random.Generator) -> None:
        path = one_file(study, rng)
        path.write_bytes(change(path.read_bytes(), rng))

    return harm


def on_dataset(change: Callable[[pydicom.Dataset], None], every: bool = False) -> Harm:
    """Return a harm that changes the tags of one file, or of every file of the series."""

    def harm(study: Copy, rng: np.random.Generator) -> None:
        for path in study.files(SAGITTAL_T1) if every else [one_file(study, rng)]:
            dataset = pydicom.dcmread(path)
            change(dataset)
            save(dataset, path)

    return harm


def tags(every: bool = False, **values) -> Harm:
    """Return a harm that sets tags, raw: what pydicom would refuse to write too; None removes one."""

    def change(dataset: pydicom.Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            elif isinstance(value, bytes):
                tag = pydicom.datadict.tag_for_keyword(keyword)
                raw = (Tag(tag), pydicom.datadict.dictionary_VR(tag), len(value), value, 0, False, True)
                dataset._dict[raw[0]] = RawDataElement(*raw)
            else:
                setattr(dataset, keyword, value)

    return on_dataset(change, every)


def save(dataset: pydicom.Dataset, path: Path, syntax: UID | None = None) -> None:
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    syntax = dataset.file_meta.TransferSyntaxUID
    pydicom.dcmwrite(
        path,
        dataset,
        implicit_vr=syntax == ImplicitVRLittleEndian,
        little_endian=syntax != ExplicitVRBigEndian,
        enforce_file_format=True,
    )


def one_file(study: Copy, rng: np.random.Generator) -> Path:
    files = study.files(SAGITTAL_T1)
    return files[rng.integers(len(files))]


def replaced_by(make: Callable[[Path], None]) -> Harm:
    """Return a harm that puts something else in a file's place."""

    def harm(study: Copy, rng: np.random.Generator) -> None:
        path = one_file(study, rng)
        path.unlink()
        make(path)

    return harm


def no_permission(study: Copy, rng: np.random.Generator) -> None:
    one_file(study, rng).chmod(0)


def in_syntax(syntax: UID) -> Harm:
    """Return a harm that is none: every file of the series stored in another transfer syntax."""

    def change(dataset: pydicom.Dataset) -> None:
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
            dataset.file_meta.TransferSyntaxUID = syntax
        elif syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax

    return on_dataset(change, every=True)


def broken_rle(dataset: pydicom.Dataset) -> None:
    dataset.compress(RLELossless)
    dataset.PixelData = dataset.PixelData[:16] + bytes(64) + dataset.PixelData[80:]


@cache
def bomb() -> bytes:
    """Return a deflated file with a dataset that inflates to more than the reader's bound."""
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = b"".join(deflater.compress(bytes(2**24)) for _ in range(BOMB_BYTES // 2**24 + 1))
    return packed + deflater.flush()


def deflate_bomb(study: Copy, rng: np.random.Generator) -> None:
    path = one_file(study, rng)
    dataset = pydicom.dcmread(path)
    dataset.clear()
    save(dataset, path, DeflatedExplicitVRLittleEndian)
    head = path.read_bytes()
    start = 144 + int.from_bytes(head[140:144], "little")
    path.write_bytes(head[:start] + bomb())


def pixels_as(dtype, keyword: str = "PixelData", **values) -> Harm:
    """Return a harm that stores a series' pixels in another type, scaled to its range."""

    def change(dataset: pydicom.Dataset) -> None:
        pixels = dataset.pixel_array.astype(np.float64) / 4095
        kind = np.dtype(dtype)
        top = np.iinfo(kind).max if kind.kind in "iu" else 1.0
        del dataset.PixelData
        dataset.BitsAllocated = dataset.BitsStored = kind.itemsize * 8
        dataset.HighBit = dataset.BitsStored - 1
        dataset.PixelRepresentation = int(kind.kind == "i")
        setattr(dataset, keyword, (pixels * top).astype(kind).tobytes())
        if keyword == "PixelData":
            dataset["PixelData"].VR = "OW"
        for tag, value in values.items():
            setattr(dataset, tag, value)

    return on_dataset(change, every=True)


def multi_frame(study: Copy, rng: np.random.Generator) -> None:
    files = study.files(SAGITTAL_T1)
    datasets = [pydicom.dcmread(path) for path in files]
    datasets[0].NumberOfFrames = len(datasets)
    datasets[0].PixelData = b"".join(dataset.PixelData for dataset in datasets)
    save(datasets[0], files[0])
    for path in files[1:]:
        path.unlink()


def colour(dataset: pydicom.Dataset) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.PixelData = dataset.PixelData * 3


def no_image(storage: str) -> Callable[[pydicom.Dataset], None]:
    """Return a change to another object's class, which has no pixels."""

    def change(dataset: pydicom.Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(storage)
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(dataset, keyword)

    return change


def huge_length(data: bytes, rng: np.random.Generator) -> bytes:
    """Let the pixel data's length claim 4 GB."""
    place = data.rindex(b"\xe0\x7f\x10\x00") + 8
    return data[:place] + (0xFFFFFFF0).to_bytes(4, "little") + data[place + 4 :]


def relabel(dataset: pydicom.Dataset, syntax: str) -> None:
    """Declare a compression that the pixels do not have."""
    dataset.PixelData = pydicom.encaps.encapsulate([dataset.PixelData])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
