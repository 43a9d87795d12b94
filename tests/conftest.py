"""Settings that the whole suite shares: eight fake CPU devices, set before jax is imported."""

import atexit
import contextlib
import fcntl
import io
import os
import shutil
import sys
import tempfile

import pytest

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_cpu_multi_thread_eigen=false "
    # Compiling takes longer than running here.
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1"
)

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # One cache of compiled programs for the processes of this session, which inherit it. With a
    # bound on its size jax locks it, and nobody reads an entry that is half written; but then it
    # looks at all entries to add one, so that small programs cost more than they save.
    cache = tempfile.mkdtemp(prefix="bakein-programs-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ |= {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }


@pytest.fixture
def one_device(monkeypatch):
    """A machine with one device, as `bakein run` meets it on a laptop."""
    import jax

    devices = jax.devices()
    monkeypatch.setattr(jax, "devices", lambda *_: devices[:1])


@pytest.fixture(scope="session")
def _stand_in():
    """For the whole process: its clients remember where they asked first."""
    import bucket

    found = bucket.Bucket()
    with bucket.serving(found) as url, pytest.MonkeyPatch.context() as patch:
        for name, value in bucket.environment(url).items():
            patch.setenv(name, value)
        yield found


@pytest.fixture
def bucket(_stand_in):
    """An empty bucket, gs://bucket."""
    _stand_in.reset()
    return _stand_in


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The TPU scripts in a small repository: its commit is quickly brought to a worker."""
    from tpu_cloud import project

    return project(tmp_path_factory.mktemp("tpu") / "project")


@pytest.fixture
def cloud(tmp_path, scripts):
    """A cloud that until_done.sh asks for spot capacity, through its queue."""
    from tpu_cloud import Cloud

    cloud = Cloud(tmp_path, scripts)
    cloud.config(QUEUED="yes", SPOT="yes")
    yield cloud
    cloud.power_off()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The work directory of the tiny study after `bakein run`: to be read, and copied to change.

    Processes that test side by side share it: the first makes it while the others wait.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    workdir = shared / "finished_run"
    with (shared / "finished_run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (workdir / "errors.txt").exists():
            _run_tiny_study(workdir)
    return workdir


def _run_tiny_study(workdir):
    import jax
    import tiny_study

    from bakein.cli import main

    output = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        devices = jax.devices()
        patch.setattr(jax, "devices", lambda *_: devices[:1])
        with contextlib.redirect_stdout(output[0]), contextlib.redirect_stderr(output[1]):
            assert main(["run", tiny_study.FILE, "--workdir", str(workdir)]) == 0
    (workdir / "output.txt").write_text(output[0].getvalue())
    (workdir / "errors.txt").write_text(output[1].getvalue())


@pytest.fixture(autouse=True)
def _own_path(monkeypatch):
    """Loading an experiment puts its folder on the path; that ends with the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
