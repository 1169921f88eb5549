"""DICOMweb -> pages of studies (QIDO-RS), and a study's files (WADO-RS), by dicomweb-client (PS3.18).

Credentials come from DICOMWEB_USERNAME and DICOMWEB_PASSWORD, from DICOMWEB_TOKEN, or from ~/.netrc. They are in no
reference, message or log. De-identified files have no Modality, so no query relies on ModalitiesInStudy.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from lumbar.faults import DataNotFoundError, DicomError
from lumbar.reading.references import StudyRef
from lumbar.reading.sources.locations import DICOMWEB, credentials_remedy
from lumbar.reading.sources.retries import retried
from lumbar.reading.sources.study_source import required
from lumbar.reading.study_groups import plain_id

logger = logging.getLogger(__name__)

PAGE = 500  # studies of a task: some 0.3 MB of JSON
SECONDS_TO_ANSWER = (10.0, 60.0)  # to connect, and without a byte
UID = r"[0-9A-Za-z._-]+"  # letters: some anonymisers write them
STUDY = re.compile(f"(.+)/studies/({UID})")
STUDY_UID, INSTANCE_UID = "0020000D", "00080018"
INSTANCES = "00201208"  # NumberOfStudyRelatedInstances
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses that may pass
GONE = (404, 410)
EVERYTHING, ONE_STUDY = "all", "study"


@dataclass(frozen=True)
class DicomWeb:
    """The studies of a DICOMweb service, or one of them: ``dicomweb+https://HOST/ROOT[/studies/UID]``."""

    url: str

    def tasks(self) -> Iterator[str]:
        """Yield the pages by their first study's number.

        The number of studies is found by a search with queries for one study each. All is one task where the server
        ignores ``offset``.
        """
        if STUDY.fullmatch(self.url):
            yield ONE_STUDY
        elif (number := listing(self.url, lambda: self.count())) is None:
            yield EVERYTHING
        else:
            yield from map(str, range(0, number, PAGE))

    def references(self, task: str) -> Iterator[StudyRef]:
        """Yield the studies of a page; studies that arrive or go meanwhile shift the pages."""
        if task == ONE_STUDY:
            match = STUDY.fullmatch(self.url)
            assert match, self.url
            yield StudyRef(plain_id(match[2], ()), location=self.url)
        elif task == EVERYTHING:
            answers = listing(self.url, lambda: self.search())
            yield from self.refs(answers, set())
            message = "%s: the server ignores offset; it names %d studies in one answer, and may hide others"
            logger.warning(message, self.url, len(answers))
        else:
            seen: set[str] = set()
            offset = int(task)
            while len(seen) < PAGE:
                limit, first = PAGE - len(seen), offset
                answers = listing(self.url, lambda first=first, limit=limit: self.search(first, limit))
                known = len(seen)
                yield from self.refs(answers, seen)
                if len(seen) == known:  # the end, or a server that repeats itself
                    return
                offset += len(answers)

    def refs(self, answers: list[dict], seen: set[str]) -> Iterator[StudyRef]:
        """Yield the studies of an answer that are not in ``seen``, which grows."""
        for answer in answers:
            uid = first_value(answer, STUDY_UID)
            if not re.fullmatch(UID, uid):
                logger.warning("%s: got a study with the UID %r, which can't be fetched", self.url, uid)
            elif uid not in seen:
                seen.add(uid)
                number = first_value(answer, INSTANCES)
                files = int(number) if str(number).isdigit() else None
                yield StudyRef(plain_id(uid, ()), location=f"{self.url}/studies/{uid}", files=files)

    def count(self) -> int | None:
        """Return the number of studies, None where the server ignores ``offset``."""
        first, second = self.search(0, 1), self.search(1, 1)
        if not first or not second:
            return len(first)
        if first_value(first[0], STUDY_UID) == first_value(second[0], STUDY_UID):
            return None
        there, absent = 1, 2  # offsets
        while self.search(absent, 1):
            there, absent = absent, 2 * absent
            if absent > 2**40:  # it ignores the offset, in an order that changes
                return None
        while absent - there > 1:
            middle = (there + absent) // 2
            there, absent = (middle, absent) if self.search(middle, 1) else (there, middle)
        return absent

    def search(self, offset: int | None = None, limit: int | None = None) -> list[dict]:
        """Return the studies of one query, as DICOM JSON."""
        try:
            return connect(self.url).search_for_studies(offset=offset, limit=limit)
        except Exception as error:
            if offset and status_of(error) in GONE:  # as some servers answer beyond the end
                return []
            raise


def listing(url: str, attempt: Callable):
    """Return the answer of a query; DataNotFoundError if it fails for good."""
    try:
        return retried(url, attempt, lambda error: lasting(url, error))
    except DicomError as error:
        raise DataNotFoundError(str(error)) from error


def fetch_dicomweb(location: str, folder: Path) -> int:
    """Write the files of a study into a folder, those of each series in one of their own; return their number.

    Raises:
        DicomError: ``study_gone``, ``not_fetched`` or ``no_room``.
    """
    match = STUDY.fullmatch(location)
    assert match, location
    root, uid = match.groups()
    number = retried(location, lambda: fetch_instances(root, uid, folder), lambda e: lasting(location, e))
    if not number:
        raise DicomError("study_gone", f"{location}: the server has no file of the study; list it again")
    return number


def fetch_headers(location: str, wanted: Collection[str]) -> dict[str, Dataset]:
    """Return the headers of instances of a study, by SOP Instance UID, without fetching pixels.

    Raises:
        DicomError: ``study_gone`` or ``not_fetched``.
    """
    match = STUDY.fullmatch(location)
    assert match, location
    root, uid = match.groups()
    found = retried(
        location, lambda: connect(root).retrieve_study_metadata(uid), lambda error: lasting(location, error)
    )
    named = {first_value(one, INSTANCE_UID): one for one in found}
    return {uid: Dataset.from_json(named[uid]) for uid in wanted if uid in named}


def fetch_instances(root: str, uid: str, folder: Path) -> int:
    """Write a study's files, which stay in the transfer syntax that the server has them in."""
    written = 0  # names are the same at every try, so that none is left of the one before but by its own name
    for path in folder.rglob("*.dcm"):
        path.unlink()
    for dataset in connect(root).iter_study(uid, media_types=(("application/dicom", "*"),)):
        series = folder / plain_id(str(dataset.get("SeriesInstanceUID") or "series"), ())
        series.mkdir(exist_ok=True)
        dataset.save_as(series / f"{written:06}.dcm")
        written += 1
    return written


def connect(url: str):
    """Return a client of a service, with the environment's credentials."""
    client = required("dicomweb_client", "dicomweb-client", "a dicomweb+https:// source")
    requests = required("requests", "requests", "a dicomweb+https:// source")
    session = requests.Session()
    token = os.environ.get("DICOMWEB_TOKEN")
    if token:
        session.auth = lambda request: request.headers.update(Authorization=f"Bearer {token}") or request
    elif name := os.environ.get("DICOMWEB_USERNAME"):
        session.auth = (name, os.environ.get("DICOMWEB_PASSWORD", ""))
    scheme, _, rest = url.partition("://")
    service = f"{DICOMWEB[scheme]}://{rest}"
    made = client.DICOMwebClient(service, session=session, permissive_uid=True, timeout=SECONDS_TO_ANSWER)
    made.set_http_retry_params(retry=False)  # ``retried`` covers the content of an answer too
    return made


def lasting(url: str, error: Exception) -> DicomError | None:
    """Return the error for a failure that no other try mends: None for those of the network and busy servers."""
    status = status_of(error)
    if status in GONE:
        return DicomError("study_gone", f"{url}: the server answers {status}: not there; check the URL")
    if status in (401, 403):
        remedy = credentials_remedy("dicomweb+https")
        return DicomError("not_fetched", f"{url}: the server answers {status}: no permission; {remedy}")
    if isinstance(error, DataNotFoundError):
        raise error
    if status is None and isinstance(error, OSError):  # as requests' own errors are
        return None
    if status in TRANSIENT:
        return None
    return DicomError("not_fetched", f"{url}: {type(error).__name__}: {error}")


def status_of(error: Exception) -> int | None:
    """Return the HTTP status that an error of requests carries."""
    return getattr(getattr(error, "response", None), "status_code", None)


def first_value(answer: dict, tag: str) -> str:
    """Return the first value of an attribute of DICOM JSON, "" without one."""
    return str(next(iter(answer.get(tag, {}).get("Value") or ()), ""))
