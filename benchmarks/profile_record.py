"""Where the time of scoring and of training goes: the share of each operation.

python benchmarks/profile_record.py [--models 70m 0.5m] [--rows N] [--threads 2]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import workload
from bench_score import score
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from smalltolarge.lm import models
from smalltolarge.lm.device import find_device, fixed, uses_bfloat16
from smalltolarge.lm.recording import find_losses
from smalltolarge.lm.training import Training

_SHOWN = 10


def shares(name: str, work: Callable[[], object]) -> None:
    """Run once to warm up, once measured; print the largest shares."""
    work()
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
        work()
    spent = {event.key: event.self_cpu_time_total for event in found.key_averages()}
    total = sum(spent.values())
    largest = sorted(spent, key=lambda key: -spent[key])[:_SHOWN]
    print(f"  {name}, {total / 1e6:.2f} s:")
    print("   ", ", ".join(f"{key} {spent[key] / total:.1%}" for key in largest), flush=True)


def busy(work: Callable[[], object], device: torch.device) -> tuple[float, dict[str, float]]:
    """Run once; give the seconds in which a kernel runs on a GPU, and the seconds of each kernel.

    On a CPU its operations count as kernels.
    """
    on_gpu = device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    with profile(activities=[activity], acc_events=True) as found:
        work()
        if on_gpu:
            torch.cuda.synchronize()
    kind = DeviceType.CUDA if on_gpu else DeviceType.CPU
    kernels: dict[str, float] = {}
    total, end = 0.0, 0.0
    events = (event for event in found.events() if event.device_type == kind)
    for event in sorted(events, key=lambda event: event.time_range.start):
        reach = event.time_range
        total += max(0.0, reach.end - max(reach.start, end))
        end = max(end, reach.end)
        spent = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        kernels[event.name] = kernels.get(event.name, 0.0) + spent / 1e6
    return total / 1e6, kernels


def main() -> None:
    """Print both for every model."""
    given = workload.arguments(__doc__, models=["70m", "0.5m"], rows=0)
    device = find_device(given.device)
    threads = given.threads[-1]
    with fixed(threads, device):
        for model in given.models:
            n = given.rows or (32 if model == "70m" else 1000)
            prepared = workload.rows(n, model, batch_size=min(n, 32), device=str(device))
            built = models.load(prepared.model, 0).to(device)
            losses = find_losses(prepared, built, device, uses_bfloat16("auto", device))
            training = Training(prepared, losses, device)
            print(f"\n{model}: {n:,} rows; {workload.machine(device, threads)}")
            built.eval()
            shares("scoring", lambda p=prepared, f=losses: score(p, f, device))  # type: ignore[misc]
            shares("training step", training.advance)


if __name__ == "__main__":
    main()
