"""An Orthanc with its DICOMweb plug-in, for tests of sources."""

import base64
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.making.orthanc import free_port, running_orthanc


@dataclass(frozen=True)
class Orthanc:
    """A server: its address for HTTP, the port for DIMSE (its title is ORTHANC), and passwords by name."""

    address: str
    dicom_port: int
    users: dict[str, str]

    @property
    def dicomweb(self) -> str:
        """The URL that ``--data`` takes."""
        return f"dicomweb+{self.address}/dicom-web"

    def rest(self, path: str, method: str = "GET", data: bytes | None = None):
        """Return the JSON answer of Orthanc's own interface."""
        request = urllib.request.Request(f"{self.address}/{path}", data=data, method=method)
        for name, secret in self.users.items():
            token = base64.b64encode(f"{name}:{secret}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        return json.load(urllib.request.urlopen(request))


@contextmanager
def running_dicomweb(folder: Path, users: dict[str, str] | None = None) -> Iterator[Orthanc]:
    """Run a server in a ``with`` block; skip the test without one.

    Args:
        folder: For its settings and its store.
        users: Passwords by name; None lets everyone in.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    settings = {
        "DicomServerEnabled": True,
        "DicomPort": port,
        "DicomAlwaysAllowStore": True,
        "UnknownSopClassAccepted": True,
        "AuthenticationEnabled": users is not None,
        "RegisteredUsers": users or {},
    }
    with running_orthanc(folder, "orthanc-dicomweb", **settings) as address:
        yield Orthanc(address, port, users or {})
