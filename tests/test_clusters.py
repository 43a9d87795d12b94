"""What `--distributed` finds in the surroundings of each cluster: two real processes that meet."""

import contextlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

PROGRAM = """
import json, os, sys
import jax
if "GCE_METADATA_IP" in os.environ:
    del os.environ["TPU_SKIP_MDS_QUERY"]  # jax sees that there are no chips
from bakein.study.cluster import join_cluster
peers = join_cluster(True, None, None, None)
from jax.experimental import multihost_utils
seen = multihost_utils.process_allgather(jax.process_index()).tolist()
found = [jax.process_index(), jax.process_count(), len(jax.devices()), seen]
print("found", json.dumps(found), flush=True)
peers.leave()
"""

PLAIN = {
    **os.environ,
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    "NO_PROXY": "*",
}
TPU_VM = {"JAX_FORCE_TPU_INIT": "1"}  # as on a machine with chips


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def slurm(index):
    return {
        "SLURM_JOB_ID": "417",
        "SLURM_STEP_NODELIST": "localhost,node[002-004]",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": f"{index}",
        "SLURM_LOCALID": "0",
    }


def open_mpi(index):
    return {
        "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1,10.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": f"{index}",
        "OMPI_COMM_WORLD_LOCAL_RANK": f"{index}",
    }


def gke_slice(index):
    hosts = {"TPU_WORKER_HOSTNAMES": "localhost,localhost", "TPU_WORKER_ID": f"{index}"}
    slices = {"COORDINATOR_ADDRESS": "", "NUM_SLICES": "1", "SLICE_ID": "0"}
    return TPU_VM | hosts | {f"MEGASCALE_{key}": value for key, value in slices.items()}


def gke_slices(index):
    return TPU_VM | {
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        "MEGASCALE_COORDINATOR_ADDRESS": "localhost:8080",
        "MEGASCALE_NUM_SLICES": "2",
        "MEGASCALE_SLICE_ID": f"{index}",
    }


@pytest.fixture
def gce(request):
    """Metadata servers of two TPU VMs, as `GCE_METADATA_IP` has them."""

    def serve(index):
        attributes = {
            "agent-worker-number": f"{index}",
            "worker-network-endpoints": "unknown:0:127.0.0.1,unknown:1:127.0.0.1",
            "tpu-env": "ACCELERATOR_TYPE: 'v5p-16'\nZONE: 'us-east5-a'",
        }

        class Attributes(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                folder, _, key = self.path.rpartition("/")
                known = folder == "/computeMetadata/v1/instance/attributes" and key in attributes
                self.send_response(200 if known else 404)
                self.end_headers()
                self.wfile.write(attributes.get(key, "").encode())

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Attributes)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        request.addfinalizer(server.server_close)
        request.addfinalizer(server.shutdown)
        return TPU_VM | {"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"}

    return serve


@pytest.fixture
def surroundings(request):
    return request.getfixturevalue("gce") if request.param == "gce" else request.param


@pytest.mark.parametrize(
    "surroundings", [slurm, open_mpi, gke_slice, gke_slices, "gce"], indirect=True
)
def test_two_processes_find_each_other(surroundings):
    port = {"JAX_COORDINATOR_PORT": f"{free_port()}"}  # for tests that run side by side
    with contextlib.ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM],
                    env={**PLAIN, **port, **surroundings(index)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
            for index in (0, 1)
        ]
        stack.callback(lambda: [process.kill() for process in running])
        for index, process in enumerate(running):
            printed = process.communicate(timeout=240)[0]
            assert process.returncode == 0, printed
            assert f"found {json.dumps([index, 2, 4, [0, 1]])}" in printed


def test_metadata_that_cannot_be_asked_are_one_line():
    nobody = {"GCE_METADATA_IP": f"127.0.0.1:{free_port()}", "TPU_WORKER_HOSTNAMES": "localhost"}
    done = subprocess.run(
        [sys.executable, "-m", "bakein", "run", "experiments/quickstart.py", "--distributed"],
        env={**PLAIN, **TPU_VM, **nobody, "TPU_SKIP_MDS_QUERY": "1"},
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("bakein: --distributed: there is no cluster that jax knows")
    assert "tpu-env" in done.stderr
    assert done.stderr.count("\n") == 1
