"""The largest memory that this process has taken."""

import re
import resource
from pathlib import Path

import torch


def peak_memory() -> dict[str, float]:
    """Return the largest resident memory of this process and the largest allocation on the card, in MB.

    On Linux not by ``getrusage``: its figure begins with that of the process that started this one.
    """
    card = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else 0
    status = Path("/proc/self/status")
    if status.is_file() and (peak := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        process = int(peak[1]) / 1024
    else:
        process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"process": process, "card": card / 2**20}
