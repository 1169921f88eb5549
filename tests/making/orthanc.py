"""Orthanc, an archive from Debian's packages, started for a test on a free port of this machine."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PLUGINS = Path("/usr/share/orthanc/plugins")
LIBRARIES = {"orthanc-webviewer": "libOrthancWebViewer.so", "orthanc-dicomweb": "libOrthancDicomWeb.so"}
STARTS = 100  # tenths of a second


@contextmanager
def running_orthanc(folder: Path, plugin: str = "", **settings) -> Iterator[str]:
    """Run an archive and yield its address; skip the test without the program or the plugin.

    Args:
        folder: Of its settings and its store.
        plugin: Debian's package of a plugin.
        settings: Entries of its configuration.
    """
    program = shutil.which("Orthanc")
    if program is None:
        pytest.skip("no Orthanc: apt-get install orthanc")
    plugins = [str(PLUGINS / LIBRARIES[plugin])] if plugin else []
    if not all(Path(file).exists() for file in plugins):
        pytest.skip(f"no {plugin}: apt-get install {plugin}")
    port = free_port()
    store_folders = {key: str(folder / "db") for key in ("StorageDirectory", "IndexDirectory")}
    closed = {"HttpPort": port, "DicomServerEnabled": False, "AuthenticationEnabled": False}
    configuration = closed | store_folders | {"Plugins": plugins} | settings
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    process = subprocess.Popen([program, str(folder / "orthanc.json")], stderr=subprocess.DEVNULL)
    try:
        yield answering(f"http://127.0.0.1:{port}")
    finally:
        process.kill()  # its own end takes 6 s, and the store goes anyhow
        process.wait()


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def answering(address: str) -> str:
    """Wait until an archive answers and return its address."""
    for _ in range(STARTS):
        try:
            urllib.request.urlopen(f"{address}/system").read()
            return address
        except urllib.error.HTTPError:  # it requires a password
            return address
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"{address}: no answer of Orthanc within {STARTS / 10:.0f} s")


def store(address: str, file: Path) -> dict:
    """Store a DICOM file in an archive and return its answer."""
    answer = json.load(urllib.request.urlopen(f"{address}/instances", data=file.read_bytes()))
    assert answer["Status"] == "Success"
    return answer
