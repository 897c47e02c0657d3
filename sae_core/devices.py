"""The devices that torch can compute on here, and how fast each is."""

import time
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Device:
    name: str  # as torch.device takes it
    title: str
    memory: int  # bytes; 0 where torch does not say


def devices() -> list[Device]:
    """The CPU, then every accelerator."""
    found = [Device("cpu", f"CPU, {torch.get_num_threads()} threads", 0)]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(Device(f"cuda:{index}", properties.name, properties.total_memory))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", 0))
    return found


def matmul_flops(device: str, size: int = 1024, seconds: float = 0.5) -> float:
    """Floating-point operations per second of float32 (size, size) @ (size, size)."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(size, size, generator=generator).to(device) for _ in range(2))
    (a @ b).sum().item()  # the first call plans, and .item() waits for the device
    count = 0
    start = time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        (a @ b).sum().item()
        count += 1
    return count * 2 * size**3 / taken
