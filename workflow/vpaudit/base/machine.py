"""What this machine is; without torch."""

import contextlib
import ctypes
import fcntl
import os
import platform
import tempfile
import time
from pathlib import Path

_claimed: dict[str, tuple[int, object]] = {}  # of this process, by folder; the open file holds the lock


def cpu_has_bfloat16() -> bool:
    """True where matrix products in bfloat16 are done by the processor itself (avx512_bf16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next array, instead of handing it back to the system and asking again.

    The system clears every page that it hands out. Arrays of more than 32 MB are handed back each time, and clearing
    them anew took a third of the processor seconds of LPIPS. Nothing is done where the C library has no mallopt.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def claim_gpu(count: int, folder: str | Path | None = None, pause: float = 2.0) -> int:
    """The number, below `count`, of a GPU that no other process of this machine has claimed; kept until this one ends.

    A lock on a file a GPU: freed by the system when its process ends, also by kill -9. If all are taken, wait.

    Args:
        count: of the GPUs that are visible here, >= 1.
        folder: where the lock files lie (default: the system's folder for temporary files).
        pause: seconds between tries.
    """
    folder = Path(folder or tempfile.gettempdir())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    if str(folder) in _claimed or count == 1:
        return _claimed.get(str(folder), (0, None))[0]
    said = False
    while True:
        for number in range(count):
            name = visible[number] if len(visible) == count else str(number)
            path = folder / f"vpaudit-gpu-{name.strip().replace('/', '-')}.lock"
            file = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _claimed[str(folder)] = (number, file)
                return number
            os.close(file)
        if not said:
            print(f"all {count} GPUs are in use by other jobs of vpaudit; waiting for one", flush=True)
            said = True
        time.sleep(pause)


def describe() -> dict:
    """For summaries and cards."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "bfloat16": cpu_has_bfloat16(),
        "python": platform.python_version(),
    }
