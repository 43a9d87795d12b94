"""libtpu, the compiler and driver of TPUs, on machines that have no TPU."""

import glob
import os

# Without them it looks for the TPU that it runs on, and complains at length that there is none.
_ABSENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-16",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",  # by several processes: there is no TPU to quarrel about
}


def hush() -> None:
    """Keeps it quiet where there is no TPU; to be called before jax looks for devices."""
    if not glob.glob("/dev/accel*") and not glob.glob("/dev/vfio/[0-9]*"):
        for key, value in _ABSENT.items():
            os.environ.setdefault(key, value)
