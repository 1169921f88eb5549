"""The subcommands of ``archive.py``, after the command line is parsed."""

import argparse
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from archiving.archive_folder import ArchiveFolder
from archiving.optional_packages import need_packages

EXIT_PROBLEMS = 1  # of verify and push


def index_archive(args: argparse.Namespace) -> int:
    """List the studies of ``--data`` and print what grading them takes."""
    need_packages("pyarrow")
    from archiving.expected_costs import SAMPLE, costs_text, measure_costs
    from archiving.index_writing import write_index
    from lumbar.reading.sources.opening import open_source

    archive = ArchiveFolder(args.out)
    source = open_source(args.data, args.split)
    with archive.lock():
        index = write_index(source, archive.index, args.workers)
    costs = measure_costs(index.sample(SAMPLE), args.bundle, args.device, args.precision)
    print(costs_text(index, costs, args.readers))
    return 0


def grade_archive(args: argparse.Namespace) -> int:
    """Grade all studies that are not committed yet."""
    need_packages("pyarrow", *(["ray"] if args.engine == "ray" else []))
    from archiving.driver import DriverSettings
    from archiving.grading_run import grade_pending
    from lumbar.bundle.manifest import read_manifest
    from lumbar.run.summary import versions

    manifest = read_manifest(args.bundle)
    about = {"bundle_name": manifest.name, "trained_on": manifest.trained_on}
    about |= {"engine": args.engine, "versions": versions()}
    settings = DriverSettings(args.chunk, args.tries, args.study_limit)
    archive = ArchiveFolder(args.archive)
    engine = partial(open_engine, args)
    grade_pending(archive, manifest.fingerprint, manifest.prior, settings, engine, about)
    return show_status(args)


def open_engine(args: argparse.Namespace):
    """Return the engine of ``--engine``."""
    from archiving.worker import WorkerSettings

    def settings(threads: int | None) -> WorkerSettings:
        calibrated, zero = args.calibration, args.missing == "zero"
        return WorkerSettings(args.bundle.resolve(), args.precision, zero, calibrated, args.readers, threads)

    if args.engine == "ray":
        from archiving.engine_ray import RayEngine, RayResources

        device = "cuda" if args.gpus_per_worker else "cpu"
        resources = RayResources(args.address, args.gpus_per_worker, args.workers)
        return RayEngine(settings(None if args.gpus_per_worker else args.readers), resources, device)
    from archiving.engine_local import LocalEngine
    from lumbar.networks.device_choice import choose_devices

    found = [str(device.torch) for device in choose_devices(args.device, args.precision)]
    workers = args.workers or len(found)
    devices = [found[number % len(found)] for number in range(workers)]
    threads = None if workers == 1 else max(1, (os.cpu_count() or 1) // workers)
    return LocalEngine(devices, settings(threads))


def show_status(args: argparse.Namespace) -> int:
    """Print how far the archive is."""
    need_packages("pyarrow")
    from archiving.progress import read_progress
    from archiving.study_index import StudyIndex

    archive = ArchiveFolder(args.archive)
    print(read_progress(archive, StudyIndex(archive.index)).text())
    return 0


def merge_archive(args: argparse.Namespace) -> int:
    """Write one table of each kind."""
    need_packages("pyarrow")
    from archiving.merging import merge
    from archiving.study_index import StudyIndex

    archive = ArchiveFolder(args.archive)
    for path in merge(archive, StudyIndex(archive.index), args.csv):
        print(path)
    return show_status(args)


def verify_archive(args: argparse.Namespace) -> int:
    """Print the problems of an archive; the exit status is 1 if there is any."""
    need_packages("pyarrow")
    from archiving.study_index import StudyIndex
    from archiving.verifying import problems

    archive = ArchiveFolder(args.archive)
    found = list(problems(archive, StudyIndex(archive.index)))
    print("\n".join(found or [f"{args.archive}: every part is whole, no study is graded twice"]))
    if found:
        return EXIT_PROBLEMS
    return show_status(args)


def push_reports(args: argparse.Namespace) -> int:
    """Store the reports of an archive, or of a folder of infer.py --sr; the exit status is 1 if one is not stored."""
    from lumbar.outputs.pacs.push import LEDGER, folder_reports, push

    archive = ArchiveFolder(args.archive)
    if archive.index.is_dir():
        need_packages("pyarrow")
        from archiving.pushing import archive_reports

        reports = archive_reports(archive)
    else:
        reports = folder_reports(args.archive)
    summary = push(reports, args.to, args.archive / LEDGER)
    print(summary.text())
    return EXIT_PROBLEMS if summary.failures else 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "index": index_archive,
    "grade": grade_archive,
    "status": show_status,
    "merge": merge_archive,
    "verify": verify_archive,
    "push": push_reports,
}


def existing_archive(text: str) -> Path:
    """Return the path of an archive; ValueError if there is no folder."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: no such folder; archive.py index makes it")
    return Path(text)
