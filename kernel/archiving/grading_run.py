"""One run over an archive: the committed studies, the driver, and the identity that all results share."""

import logging
from collections.abc import Callable

import numpy as np

from archiving.archive_folder import ArchiveError, ArchiveFolder
from archiving.death_ledger import DeathLedger
from archiving.driver import Driver, DriverSettings
from archiving.engine import Engine
from archiving.parts import PartWriter, committed_numbers
from archiving.study_index import StudyIndex

logger = logging.getLogger(__name__)


def grade_pending(
    archive: ArchiveFolder,
    bundle: str,
    prior: np.ndarray,
    settings: DriverSettings,
    open_engine: Callable[[], Engine],
    about: dict | None = None,
) -> None:
    """Grade all studies of an archive's index that no part has.

    Args:
        archive: With a complete index.
        bundle: Fingerprint that every worker's bundle must have.
        prior: (25, 3), for sites without a grade.
        settings: How studies are given out.
        open_engine: Starts the engine; is not called if nothing is left.
        about: Further facts for ``run.json``.

    Raises:
        ArchiveError: The archive is another's or in use, or the driver can't go on.
        OSError: A part can't be written; committed parts stay.
    """
    index = StudyIndex(archive.index)
    expected = {"index": index.sha256, "bundle": bundle}
    writers: list[PartWriter] = []

    def open_parts(facts: dict) -> PartWriter:
        if facts["bundle"] != bundle:
            message = f"got the bundle {facts['bundle']}, this command has {bundle}"
            raise ArchiveError(f"{message}; copy the same bundle to each machine")
        identity = facts | {"index": index.sha256}
        archive.claim(identity, {"data": index.data} | (about or {}))
        if not writers:
            writers.append(PartWriter(archive, identity, prior))
        return writers[0]

    with archive.lock():
        run = archive.read_run()
        if run is not None:  # before any worker starts
            archive.claim(run["identity"] | expected, {})
        done = index.done(committed_numbers(archive))
        left = int((~done).sum())
        logger.info("%s: %d studies are done, %d to grade", archive.path, index.studies - left, left)
        if left:
            ledger = DeathLedger(archive.deaths)
            Driver(open_engine(), index.pending(done), left, ledger, settings, open_parts).run()
