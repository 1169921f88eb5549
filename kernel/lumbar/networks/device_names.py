"""How devices are named on a command line; needs no torch."""

import re

ALL = ("auto", "cuda")  # every card that works, else the CPU; every card
ONE = re.compile(r"cpu|cuda:\d{1,3}")


def device_names(text: str) -> str:
    """Return a text that names devices as it is.

    Args:
        text: "auto", "cuda", or devices of one kind, joined by commas: "cpu", "cuda:0,cuda:1".

    Raises:
        ValueError: It names none, or cards beside the CPU.
    """
    names = text.split(",")
    kinds = {name.partition(":")[0] for name in names}
    if text not in ALL and not (len(kinds) == 1 and all(ONE.fullmatch(name) for name in names)):
        raise ValueError(
            f"got devices {text!r}, expected auto, cuda, cpu, or cards joined by commas such as cuda:0,cuda:1"
        )
    return text
