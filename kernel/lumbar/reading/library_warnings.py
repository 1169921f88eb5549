"""Warnings of the DICOM library while files are read -> one log line for all of them.

Nothing is changed for the rest of the process: a program that imports this package keeps its own settings.
"""

import contextlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator

from pydicom import config

logger = logging.getLogger(__name__)

SHOWN = 300  # characters of a warning
LOGGERS = ("pydicom", "pydicom.pixels.decoders.base")


@contextlib.contextmanager
def gathered_warnings(where: object) -> Iterator[None]:
    """Gather pydicom's warnings inside a ``with`` block and log their number and the first one.

    pydicom reports every warning twice, as a log record and as a Python warning. It also logs every plugin that
    fails, although its error reaches the caller. Invalid UIDs, which all files of the competition have, are
    not checked. May be nested: the inner block logs its own.

    Args:
        where: File, folder or series that the log line names.
    """
    texts: Counter[str] = Counter()  # of all but the first the number alone, however many there are

    def keep(record: logging.LogRecord) -> bool:
        if record.levelno == logging.WARNING:
            first = next(iter(texts), None)
            texts[first or " ".join(record.getMessage().split())[:SHOWN]] += 1
        return False

    mode = config.settings.reading_validation_mode
    config.settings.reading_validation_mode = config.IGNORE
    for name in LOGGERS:
        logging.getLogger(name).addFilter(keep)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
            yield
    finally:
        for name in LOGGERS:
            logging.getLogger(name).removeFilter(keep)
        config.settings.reading_validation_mode = mode
        if texts:
            ((first, number),) = texts.items()
            logger.warning("%s: %d warnings of pydicom. The first: %s", where, number, first)
