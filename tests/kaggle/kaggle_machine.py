"""A machine as Kaggle's, for tests: ``/kaggle/input`` read-only, ``/kaggle/working``, no network.

It consists of namespaces: mount and network, and a user namespace where the test is not run by root. The machine's own
folders stay as they are, below a new root that has ``/kaggle`` beside them. Without namespaces ``/kaggle`` is a link
for the time of the test, and the network is not cut.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

OWNER, SLUG = "someone", "lumbar-spine-kernel"
COMPETITION = "rsna-2024-lumbar-spine-degenerative-classification"
MOUNTS = {
    "new": (f"competitions/{COMPETITION}", f"datasets/{OWNER}/{SLUG}"),
    "old": (COMPETITION, SLUG),
    "mixed": (f"competitions/{COMPETITION}", SLUG),
}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1  # netdevice(7)
NAMESPACES = ["unshare", "--mount", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
# $1: an empty folder for the new root, $2: what lies under /kaggle, the rest: the command
NEW_ROOT = """
set -e
root=$1 kaggle=$2
shift 2
mount -t tmpfs none "$root"
for entry in /*; do
  name=${entry#/}
  if [ "$name" = kaggle ]; then continue
  elif [ -L "$entry" ]; then cp -P "$entry" "$root/$name"
  elif [ -d "$entry" ]; then mkdir "$root/$name" && mount --rbind "$entry" "$root/$name"
  fi
done
mkdir "$root/kaggle" && mount --rbind "$kaggle" "$root/kaggle"
mount --bind "$kaggle/input" "$root/kaggle/input"
mount -o remount,bind,ro "$root/kaggle/input"
exec chroot "$root" "$@"
"""


def has_namespaces() -> bool:
    """Return whether this machine lets a test make mount and network namespaces."""
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*NAMESPACES, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode
        == 0
    )


def can_be_had() -> bool:
    """Return whether there can be a ``/kaggle``, one way or the other."""
    return has_namespaces() or (os.access("/", os.W_OK) and not os.path.lexists("/kaggle"))


def execute_notebook(
    notebook: Path, kaggle: Path, environment: dict[str, str], cell_seconds: int = 200
) -> subprocess.CompletedProcess:
    """Execute a notebook where ``kaggle/input`` and ``kaggle/working`` are at ``/kaggle``, as Kaggle does.

    The executed notebook is written to ``kaggle/working/executed.ipynb`` also if a cell raised. The status is then
    not 0 and the error in ``stderr``.

    Args:
        cell_seconds: Limit of a cell.
    """
    home, root = kaggle.parent / "home", kaggle.parent / "root"
    home.mkdir(exist_ok=True)
    root.mkdir(exist_ok=True)
    command = [sys.executable, str(Path(__file__).resolve()), str(notebook), str(cell_seconds)]
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    environment = kept | {"HOME": str(home), "KAGGLE_KERNEL_RUN_TYPE": "Batch"} | environment
    options = {"env": environment, "capture_output": True, "text": True, "timeout": cell_seconds + 40}
    if has_namespaces():
        namespaces = [*NAMESPACES, "sh", "-c", NEW_ROOT, "sh", str(root), str(kaggle)]
        return subprocess.run([*namespaces, *command], **options)
    Path("/kaggle").symlink_to(kaggle)
    try:
        return subprocess.run(command, **options)
    finally:
        Path("/kaggle").unlink()


def lay_out(place: Path, style: str, dist: Path, competition: Path) -> Path:
    """Make ``kaggle/input`` with both data sets at the style's mounts, and ``kaggle/working``; return ``kaggle``.

    Files are hard links: ``place`` must be on the file system of both, and nothing may change a file in place.
    """
    kaggle = place / "kaggle"
    for mount, source in zip(MOUNTS[style], (competition, dist / "dataset"), strict=True):
        shutil.copytree(source, kaggle / "input" / mount, copy_function=os.link)  # weights may be gigabytes
    (kaggle / "input" / MOUNTS[style][1] / "dataset-metadata.json").unlink()  # is not uploaded
    (kaggle / "working").mkdir()
    return kaggle


def printed(kaggle: Path) -> str:
    """Return all text that the executed notebook's cells printed."""
    cells = nbformat.read(kaggle / "working/executed.ipynb", as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.get("text", "") + str(output.get("data", "")) for output in outputs)


def main(notebook: Path, cell_seconds: int) -> None:
    """Execute the notebook; runs on the machine that ``execute_notebook`` makes."""
    working = Path("/kaggle/working")
    print("network:", *(name for _, name in socket.if_nameindex()))
    loopback_up()
    cells = nbformat.read(notebook, as_version=4)
    client = NotebookClient(cells, timeout=cell_seconds, resources={"metadata": {"path": str(working)}})
    try:
        client.execute()
    finally:
        nbformat.write(cells, working / "executed.ipynb")


def loopback_up() -> None:
    """Bring ``lo`` up, which a new network namespace has down and a notebook's kernel talks through."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16s16x", b"lo"))
        flags = struct.unpack("16xh14x", answer)[0]
        if not flags & IFF_UP:
            fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
