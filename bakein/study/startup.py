"""Settings of a process that runs stages, made before jax starts in it."""

import ctypes
import logging
import os


def prepare_jax() -> None:
    """Settings that jax reads once, when it starts."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        # Small programs gain little from threads inside a matrix product. With one thread each,
        # several stages run side by side, and the numbers do not depend on the number of cores.
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    # Orbax logs an error, with its traceback, in each of its threads, and raises it besides.
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """XLA's CPU client asks for scratch memory at every step, and frees it after.

    The C library gives blocks of that size back to the kernel at once. To be handed empty pages
    anew, step by step, costs a small model a sixth of its training.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc has it
        for threshold in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            libc.mallopt(threshold, 2**30)
