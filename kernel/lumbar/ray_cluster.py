"""A Ray cluster to compute on: one that runs already, or one of this machine. Archives and recipes start it alike."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

STORE_BYTES = 100 * 2**20  # of the object store: references, rows and labels travel through it, pixels do not
KERNEL = Path(__file__).resolve().parents[1]


@contextmanager
def ray_cluster(address: str | None, variables: dict[str, str] | None = None) -> Iterator[ModuleType]:
    """Yield ``ray``, connected; the connection, and a cluster that was started here, end with the ``with`` block.

    A connection that this process has already is taken over.

    Args:
        address: Of a cluster that runs, such as ``"auto"``; None starts one on this machine.
        variables: Further environment variables of its processes, which find this checkout's packages.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError, ValueError: No cluster is at the address.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    with ExitStack() as stack:
        place: dict[str, Any] = {"address": address}
        if address is None:
            # The names of sockets below it may have 107 bytes.
            scratch = tempfile.TemporaryDirectory(prefix="lumbar-", ignore_cleanup_errors=True)
            place = {"address": "local", "_temp_dir": stack.enter_context(scratch)}
            place |= {"_node_ip_address": "127.0.0.1", "object_store_memory": STORE_BYTES}
            place |= {"include_dashboard": False}
        if not ray.is_initialized():
            paths = [str(KERNEL), *filter(None, [os.environ.get("PYTHONPATH")])]
            environment = {"PYTHONPATH": os.pathsep.join(paths)} | (variables or {})
            ray.init(runtime_env={"env_vars": environment}, logging_level=logging.WARNING, **place)
        stack.callback(ray.shutdown)
        yield ray
