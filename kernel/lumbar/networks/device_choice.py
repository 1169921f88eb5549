"""The devices to compute on: the cards that really work, or the CPU."""

import logging
from pathlib import Path

import torch

from lumbar.faults import DeviceError
from lumbar.networks.device import BATCH_CPU, Device
from lumbar.networks.device_names import ALL, device_names

logger = logging.getLogger(__name__)

BATCH_CUDA = 32  # padded: a round of the search segments 5 to 80 slices; 128 take 20% less time per slice
STUDIES_CUDA = 8  # share passes on a card; they take 0.5 GB there
CPU_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # of /proc/cpuinfo; "bf16" is Arm's


def choose_device(device: str = "auto", precision: str = "auto") -> Device:
    """Choose one device and the precision; see ``choose_devices``. Of several cards it is the first."""
    return choose_devices(device, precision, most=1)[0]


def choose_devices(devices: str = "auto", precision: str = "auto", most: int | None = None) -> list[Device]:
    """Choose the devices to compute on, and the precision.

    A card counts only after a small operation has run on it. ``torch.cuda.is_available()`` is not enough: a machine's
    torch may have no kernels for an old card. AMP is float16 on cards and bfloat16 on a CPU that has it in hardware.
    Elsewhere ``amp`` means float32, and ``reason`` notes it.

    Args:
        devices: "auto": every card that works, else the CPU. "cuda": every card. Else a list such as
            "cuda:0,cuda:1", or "cpu". A device that is named twice has two consumers.
        precision: "auto", "amp" or "fp32".
        most: Of the visible cards, only the first so many are tried.

    Raises:
        DeviceError: A device of the list does not work, or it is no such list.
    """
    try:
        device_names(devices)
    except ValueError as error:
        raise DeviceError(str(error)) from error
    if devices not in ALL:
        return [listed_device(name, precision) for name in devices.split(",")]
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())][:most]
    tried = {name: try_device(torch.device(name)) for name in names}
    usable = {name: why for name, (works, why) in tried.items() if works}
    broken = {name: why for name, (works, why) in tried.items() if not works}
    if usable:
        for name, why in broken.items():
            logger.warning("%s is left out: %s", name, why)
        return [cuda_device(name, precision, why) for name, why in usable.items()]
    why = "; ".join(broken.values()) or "no CUDA device"
    if devices == "cuda":
        raise DeviceError(f"got device cuda: {why}. Choose auto or cpu.")
    return [cpu_device(precision, why)]


def listed_device(name: str, precision: str) -> Device:
    """Return a device of a list; DeviceError if it does not work."""
    if name == "cpu":
        return cpu_device(precision, "requested")
    works, why = try_device(torch.device(name))
    if not works:
        raise DeviceError(f"got device {name}: {why}. Choose auto or cpu.")
    return cuda_device(name, precision, why)


def cuda_device(name: str, precision: str, why: str) -> Device:
    autocast_type = None if precision == "fp32" else torch.float16
    device = torch.device(name)
    return Device(device, autocast_type, why, BATCH_CUDA, STUDIES_CUDA, fixed_shapes=True)


def cpu_device(precision: str, why: str) -> Device:
    autocast_type = torch.bfloat16 if precision != "fp32" and cpu_has_bf16() else None
    if precision == "amp" and autocast_type is None:
        why += "; no bfloat16 in this CPU's hardware, so float32"
    return Device(torch.device("cpu"), autocast_type, why, 2 * BATCH_CPU if autocast_type else BATCH_CPU)


def try_device(device: torch.device) -> tuple[bool, str]:
    """Return whether a device computes, and how that is known."""
    if device.type == "cpu":
        return True, "a CPU"
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        return False, "no such CUDA device"
    name = torch.cuda.get_device_name(device)
    try:
        image = torch.ones(1, 1, 8, 8, device=device, dtype=torch.float16)
        torch.nn.functional.conv2d(image, image[..., :3, :3]).sum().item()
    except RuntimeError as error:
        return False, f"{name} is there but does not compute ({str(error).splitlines()[0]})"
    return True, f"{name}, a trial convolution ran"


def cpu_has_bf16() -> bool:
    information = Path("/proc/cpuinfo")
    return information.is_file() and not CPU_BF16_FLAGS.isdisjoint(information.read_text().split())
