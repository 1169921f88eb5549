"""The text of ``--data`` -> a path, or a URL without credentials."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from lumbar.faults import DataNotFoundError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
DICOMWEB = {"dicomweb+https": "https", "dicomweb+http": "http"}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def data_location(text: str | Path) -> Path | str:
    """Return a path, or a URL as it was given; ``file://`` is a path."""
    if isinstance(text, Path) or not URL.match(text):
        return Path(text)
    return Path(urlsplit(text).path) if text.lower().startswith("file://") else text


def checked_url(url: str) -> str:
    """Return a URL without a slash at its end.

    Raises:
        DataNotFoundError: It carries a user, a password, a query or a fragment, which would enter records and logs,
            or it leads to DICOMweb of another machine without encryption. The message has none of them.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    shown = f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    if "@" in parts.netloc or parts.query or parts.fragment:
        what = "a user or password" if "@" in parts.netloc else "a query or fragment"
        message = (
            f"{shown}: got {what} in the URL, expected none, because URLs are written to records and logs"
        )
        raise DataNotFoundError(f"{message}; {credentials_remedy(scheme)}")
    if scheme in ("http", "https"):
        raise DataNotFoundError(f"{shown}: got a web page's URL; for DICOMweb write dicomweb+{shown}")
    if scheme in DICOMWEB and not parts.hostname:
        raise DataNotFoundError(f"{shown}: got no host, expected {scheme}://HOST/ROOT of a DICOMweb service")
    if scheme == "dicomweb+http" and parts.hostname not in LOOPBACK:
        message = f"{shown}: got DICOMweb without encryption, expected it for this machine alone"
        raise DataNotFoundError(f"{message}; write dicomweb+https://, or use a tunnel to localhost")
    return shown.rstrip("/")


def credentials_remedy(scheme: str) -> str:
    """Return where credentials of a kind of source belong."""
    if scheme in DICOMWEB:
        return "put them into DICOMWEB_USERNAME and DICOMWEB_PASSWORD, into DICOMWEB_TOKEN, or into ~/.netrc"
    return "put them where the store's library looks, such as AWS_ACCESS_KEY_ID or ~/.aws for s3://"
