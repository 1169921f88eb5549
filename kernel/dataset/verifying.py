"""Is a folder fit for upload: ``SHA256SUMS``, the metadata's rules, Kaggle's limits, a bundle that grades.

``dataset-metadata.json`` is not in ``SHA256SUMS``. The Kaggle command line reads it and does not upload it, and it may
be edited before the upload. So ``sha256sum -c SHA256SUMS`` passes in the mounted data set too.
"""

import argparse
import hashlib
import json
from pathlib import Path

from dataset.completeness import check_bundle
from dataset.metadata import (
    DATASET_METADATA,
    NOTEBOOK,
    NOTEBOOK_METADATA,
    dataset_faults,
    notebook_faults,
)
from dataset.trial import trial_run
from lumbar.faults import BundleError

SUMS = "SHA256SUMS"
MOST_BYTES = 200 * 10**9
MOST_TOP_LEVEL = 50  # files and folders: a folder is uploaded as one zip
# Left out by the Kaggle command line wherever they are, or taken for something else at the top level.
NOT_UPLOADED_FOLDERS = (".git", ".cache", ".huggingface")
NOT_UPLOADED_FILES = (
    *(DATASET_METADATA, "datapackage.json", NOTEBOOK_METADATA, "model-metadata.json"),
    *("model-instance-metadata.json", "dataset-cover-image.png", "dataset-cover-image.jpg"),
    *("dataset-cover-image.jpeg", "dataset-cover-image.webp"),
)


def verify(args: argparse.Namespace) -> str:
    """Check the folders, load the bundle of a data set and try it; return a line or two for each.

    Raises:
        BundleError: A folder breaks rules, all of which the message lists. Or a member can't be built, the bundle
            can't grade every site and ``--partial`` is not given, or the trial run fails.
    """
    lines = []
    for folder in args.folder:
        lines.append(verify_folder(folder))
        if (folder / DATASET_METADATA).is_file():
            check_bundle(folder, args.partial)
            if not args.no_trial:
                lines.append(trial_run(folder, args.partial))
    return "\n".join(lines)


def verify_folder(folder: Path) -> str:
    """Check a data set's or a notebook's folder, whichever metadata it has; return its size."""
    if (folder / NOTEBOOK_METADATA).is_file():
        faults = notebook_faults(read_json(folder / NOTEBOOK_METADATA))
        if not (folder / NOTEBOOK).is_file():
            faults.append(f"{NOTEBOOK}: missing, expected the notebook; build again")
        size = f"{NOTEBOOK_METADATA} and {NOTEBOOK}"
    elif (folder / DATASET_METADATA).is_file():
        faults = dataset_faults(read_json(folder / DATASET_METADATA)) + content_faults(folder)
        size = size_text(folder)
    else:
        raise BundleError(
            f"{folder}: got neither {DATASET_METADATA} nor {NOTEBOOK_METADATA}, expected a folder that "
            "build_dataset.py build has made"
        )
    if faults:
        raise BundleError("\n".join(f"{folder}: {fault}" for fault in faults))
    return f"{folder}: {size}, fit for upload"


def content_faults(folder: Path) -> list[str]:
    """Return how a data set's files differ from its ``SHA256SUMS`` and break Kaggle's limits."""
    links = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink()]
    if links:
        return [f"{link}: is a link, expected plain files and folders" for link in sorted(links)]
    if not (folder / SUMS).is_file():
        return [f"{SUMS}: missing; build again"]
    expected = read_sums(folder / SUMS)
    found = {name for name in listed_files(folder) if name not in (SUMS, DATASET_METADATA)}
    faults = [f"{name}: missing, listed in {SUMS}" for name in sorted(expected.keys() - found)]
    faults += [f"{name}: surplus, {SUMS} does not know it" for name in sorted(found - expected.keys())]
    for name in sorted(found & expected.keys()):
        digest = sha256_of(folder / name)
        if digest != expected[name]:
            faults.append(f"{name}: changed, got SHA-256 {digest[:12]}..., expected {expected[name][:12]}...")
    return faults + limit_faults(folder)


def limit_faults(folder: Path) -> list[str]:
    """Return which of Kaggle's limits a data set's folder breaks, and what would not be uploaded."""
    faults = []
    top = [path.name for path in folder.iterdir() if path.name != DATASET_METADATA]
    if len(top) > MOST_TOP_LEVEL:
        faults.append(f"got {len(top)} files and folders at the top level, expected at most {MOST_TOP_LEVEL}")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        faults.append(f"got {size / 1e9:.1f} GB, expected at most {MOST_BYTES / 1e9:.0f} GB")
    faults += [f"{name}: the Kaggle command line does not upload a file of this name" for name in
               sorted(set(top) & set(NOT_UPLOADED_FILES))]  # fmt: skip
    faults += [f"{name}: the Kaggle command line leaves such a folder out" for name in listed_files(folder)
               if set(Path(name).parts[:-1]) & set(NOT_UPLOADED_FOLDERS)]  # fmt: skip
    return faults


def size_text(folder: Path) -> str:
    """Return a data set's size beside Kaggle's limits."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    top = sum(1 for path in folder.iterdir() if path.name != DATASET_METADATA)
    size = sum(path.stat().st_size for path in files)
    return (
        f"{len(files)} files, {size / 1e6:.1f} MB of {MOST_BYTES / 1e9:.0f} GB, "
        f"{top} of {MOST_TOP_LEVEL} at the top level"
    )


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` of all files but itself and ``dataset-metadata.json``, sorted by path."""
    names = [name for name in listed_files(folder) if name not in (SUMS, DATASET_METADATA)]
    (folder / SUMS).write_text(
        "".join(f"{sha256_of(folder / name)}  {name}\n" for name in names), encoding="utf-8", newline=""
    )


def read_sums(path: Path) -> dict[str, str]:
    """Return path -> SHA-256 of a ``SHA256SUMS``; BundleError for a line that is not one of it."""
    sums = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, separator, name = line.partition("  ")
        if len(digest) != 64 or not separator or not name or name in sums:
            raise BundleError(
                f"{path}: line {number}: got {line[:80]!r}, expected a hash and a path; build again"
            )
        sums[name] = digest
    return sums


def listed_files(folder: Path) -> list[str]:
    """Return the files of a folder as POSIX paths relative to it, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path}: not JSON ({error}); build again") from error
