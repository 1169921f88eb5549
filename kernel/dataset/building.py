"""``build_dataset.py build``: the kernel and a bundle -> ``dist/dataset`` and ``dist/notebook``, ready to upload.

The same inputs give the same bytes and times. Everything is made in a temporary folder beside the result and
moved into place when it is whole, so an interrupted build leaves the older result, or none.
"""

import argparse
import json
import logging
import os
import re
import shutil
import tempfile
from pathlib import Path

from dataset import metadata, verifying
from dataset.card import card_text
from dataset.completeness import check_bundle
from dataset.notebook import notebook_text
from dataset.wheels import WHEELS, check_wheels, download_wheels
from lumbar.bundle.manifest import MANIFEST, Manifest
from lumbar.faults import BundleError
from lumbar.run.options import CHECKOUT

logger = logging.getLogger(__name__)

# No .csv or .json: a run writes such files.
KERNEL_SUFFIXES = (".py", ".typed", ".css", ".html", ".js", ".toml", ".md", ".txt")
# Weights come as the manifest names them; building a wheel leaves the egg-info behind.
KERNEL_LEFT_OUT = ("__pycache__", "weights", "lumbar.egg-info")
TOP_LEVEL_FILES = ("LICENSE", "requirements.txt")
# Not 1980, where zip's time begins: west of Greenwich that is 1979, and the Kaggle command line's zip fails.
BUILD_TIME = 1704067200  # 2024-01-01 00:00 UTC, in seconds
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. +-]*")  # of files and folders: never hidden, safe in every shell


def build(args: argparse.Namespace) -> str:
    """Build ``args.out``; return its folders and the commands that upload, push and submit.

    Raises:
        BundleError: Kaggle would refuse the metadata, or the bundle does not load or can't grade every site. Also for
            a link or an unknown file in the kernel's folder, and an ``args.out`` that is not an earlier build's.
    """
    licence = args.licence or (metadata.LICENCE if args.bundle is None else metadata.UNTOLD_LICENCE)
    described = metadata.dataset_metadata(args.owner, args.slug, args.title, args.subtitle, licence, "")
    refuse(metadata.dataset_faults(described))
    refuse(metadata.notebook_faults(metadata.notebook_metadata(args.owner, args.slug, args.docker_image)))
    bundle = CHECKOUT if args.bundle is None else args.bundle
    out = Path(os.path.abspath(args.out))  # noqa: PTH100  resolve() would follow a link
    check_replaceable(out)
    manifest = check_bundle(bundle, args.partial)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        made = Path(scratch) / "made"
        fill_dataset(made / "dataset", args, bundle, manifest, described)
        fill_notebook(made / "notebook", args, manifest.name)
        for folder in (made / "dataset", made / "notebook"):
            logger.info("%s", verifying.verify_folder(folder).replace(str(made), str(args.out)))
        settle(made)
        replace(out, made, Path(scratch) / "older")
    return commands(args)


def fill_dataset(
    folder: Path, args: argparse.Namespace, bundle: Path, manifest: Manifest, described: dict
) -> None:
    """Write the data set: known files alone, each copied, none linked."""
    sources = {name: CHECKOUT / name for name in kernel_files(CHECKOUT)}
    sources |= {name: CHECKOUT / name for name in TOP_LEVEL_FILES}
    sources[MANIFEST] = bundle / MANIFEST
    for name in sorted(manifest.files):
        check_name(name, bundle)
        if not name.endswith(".safetensors"):  # so that none takes the place of a file of the kernel
            raise BundleError(f"{bundle}: got the member file {name!r}, expected a .safetensors file")
        sources[name] = bundle / name
    for name, source in sources.items():
        copy(source, folder / name)
    wheels = [] if args.no_wheels else [wheel.file for wheel in WHEELS]
    if wheels:
        fill_wheels(folder / "wheels", args.wheels)
    card = card_text(described, manifest, wheels)
    write_text(folder / "README.md", card)
    write_json(folder / metadata.DATASET_METADATA, described | {"description": card})
    verifying.write_sums(folder)


def fill_wheels(folder: Path, given: Path | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        if given is None:
            logger.info("downloading %d wheels", len(WHEELS))
            download_wheels(Path(scratch))
        else:
            check_wheels(given)
        for wheel in WHEELS:
            copy((given or Path(scratch)) / wheel.file, folder / wheel.file)
    check_wheels(folder)


def fill_notebook(folder: Path, args: argparse.Namespace, bundle_name: str) -> None:
    described = metadata.notebook_metadata(args.owner, args.slug, args.docker_image)
    write_json(folder / metadata.NOTEBOOK_METADATA, described)
    write_text(folder / metadata.NOTEBOOK, notebook_text(args.owner, args.slug, bundle_name))


def kernel_files(checkout: Path) -> list[str]:
    """Return the kernel's files relative to the checkout, sorted; BundleError for a link or an unknown kind."""
    names = []
    for folder, subfolders, files in os.walk(checkout / "kernel"):
        here = Path(folder).relative_to(checkout)
        subfolders[:] = sorted(s for s in subfolders if s not in KERNEL_LEFT_OUT and not s.startswith("."))
        for subfolder in subfolders:
            if (checkout / here / subfolder).is_symlink():
                raise BundleError(f"{checkout / here / subfolder}: is a link, expected a folder; refused")
        for file in files:
            path = checkout / here / file
            if file.startswith(".") or path.suffix == ".pyc":
                continue
            if path.suffix not in KERNEL_SUFFIXES:
                raise BundleError(
                    f"{path}: got a file of an unknown kind, expected {', '.join(KERNEL_SUFFIXES)} under kernel/; "
                    "move it away, or add its kind to KERNEL_SUFFIXES in kernel/dataset/building.py"
                )
            check_name((here / file).as_posix(), checkout)
            names.append((here / file).as_posix())
    return sorted(names)


def check_name(name: str, where: Path) -> None:
    if not all(NAME.fullmatch(part) for part in name.split("/")):
        raise BundleError(
            f"{where}: got the path {name!r}, expected letters, digits, '_', '-', '+', '.' and spaces in each part and "
            "no leading dot, as Kaggle may drop others; rename it"
        )


def copy(source: Path, target: Path) -> None:
    """Copy one plain file; BundleError for a link."""
    if source.is_symlink() or not source.is_file():
        raise BundleError(f"{source}: got a link or no file, expected a plain file; refused")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target, follow_symlinks=False)


def write_json(path: Path, content: dict) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")  # the folder is moved into place when it is whole


def settle(folder: Path) -> None:
    """Give every file and folder the same mode and time in every build."""
    for path in sorted(folder.rglob("*"), reverse=True):  # a folder after its content
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (BUILD_TIME, BUILD_TIME))
    folder.chmod(0o755)


def check_replaceable(out: Path) -> None:
    """Refuse an ``--out`` that holds anything an earlier build did not make."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise BundleError(f"{out}: is a link or a file, expected a folder to make or an earlier build")
    if not out.is_dir():
        return
    made = {"dataset", "notebook"}
    strange = sorted(path.name for path in out.iterdir() if path.name not in made or path.is_symlink())
    if (out / "dataset").is_dir() and not (out / "dataset" / verifying.SUMS).is_file():
        strange.append(f"dataset without {verifying.SUMS}")
    elif (out / "dataset").is_dir():
        strange += [fault for fault in verifying.content_faults(out / "dataset") if ": surplus" in fault]
    if (out / "notebook").is_dir():
        known = {metadata.NOTEBOOK, metadata.NOTEBOOK_METADATA}
        strange += [
            f"notebook/{name}" for name in verifying.listed_files(out / "notebook") if name not in known
        ]
    strange = [name for name in strange if "__pycache__" not in name]  # of a kernel tried out in place
    if strange:
        raise BundleError(
            f"{out}: got {strange[:5]}, expected nothing that a build did not make; move it away, or give another --out"
        )


def replace(out: Path, made: Path, older: Path) -> None:
    """Move ``made`` to ``out``; an earlier build goes to ``older``, and comes back if the move fails."""
    if out.exists():
        out.rename(older)
    try:
        made.rename(out)
    except BaseException:
        if older.exists():
            older.rename(out)
        raise


def refuse(faults: list[str]) -> None:
    if faults:
        raise BundleError("\n".join(faults))


def commands(args: argparse.Namespace) -> str:
    """Return the commands that upload, push and submit, in the order in which they are needed."""
    dataset, notebook = args.out / "dataset", args.out / "notebook"
    identifier = f"{args.owner}/{args.slug}"
    return f"""made {dataset} and {notebook}

upload (-r zip, or the folders are skipped in silence):
  kaggle datasets create -p {dataset} -r zip
later, a new version:
  kaggle datasets version -p {dataset} -r zip -m "MESSAGE"
when the data set is ready ("kaggle datasets status {identifier}"), push and run the notebook:
  kaggle kernels push -p {notebook}
  kaggle kernels status {identifier}
when it is complete, submit (N is the version that push printed):
  kaggle competitions submit {metadata.COMPETITION} -k {identifier} -f submission.csv -v N -m "MESSAGE\""""
