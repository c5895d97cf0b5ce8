"""What this machine is; without torch."""

import os
import platform
from pathlib import Path


def cpu_has_bfloat16() -> bool:
    """True where matrix products in bfloat16 are done by the processor itself (avx512_bf16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def describe() -> dict:
    """For summaries and cards."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "bfloat16": cpu_has_bfloat16(),
        "python": platform.python_version(),
    }
