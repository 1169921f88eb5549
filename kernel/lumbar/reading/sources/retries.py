"""An attempt over a network, made again if its failure may pass."""

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

from lumbar.faults import DicomError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

SECONDS_BETWEEN = (1.0, 4.0, 15.0)  # so four tries in some 20 s: a server restarts, a switch comes back


def retried(
    where: str, attempt: Callable[[], Result], lasting: Callable[[Exception], DicomError | None]
) -> Result:
    """Return the result of an attempt that may be made several times.

    Args:
        where: A URL without credentials, for messages.
        attempt: It starts from nothing each time.
        lasting: Returns the error to raise for a failure that no other try mends, None where one may.

    Raises:
        DicomError: ``no_room`` for a full disk, ``lasting``'s, or ``not_fetched`` after the last try.
    """
    for pause in (*SECONDS_BETWEEN, None):
        try:
            return attempt()
        except (DicomError, MemoryError):
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                message = f"{where}: {error}; make room in the temporary folder, or set TMPDIR to another one"
                raise DicomError("no_room", message) from error
            if (final := lasting(error)) is not None:
                raise final from error
            what = f"{type(error).__name__}: {error}"
            if pause is None:
                tries = f"{len(SECONDS_BETWEEN) + 1} tries failed"
                message = f"{where}: {tries}, the last with {what}; check the connection and run again"
                raise DicomError("not_fetched", message) from error
            logger.warning("%s: %s; tried again in %.0f s", where, what, pause)
            time.sleep(pause)
    raise AssertionError("the last pause is None")
