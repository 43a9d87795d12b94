"""Compiled programs: kept between processes, and called without transfers and with donation."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_study

from bakein.mesh import decoder_shardings, make_mesh
from bakein.model import Decoder
from bakein.rl.rollout import Rollout
from bakein.study.config import resolve
from bakein.study.programs import keep_programs
from bakein.study.rl import rl_programs
from bakein.study.supervised import train_programs
from bakein.train.state import abstract_of, params_on
from bakein.train.step import guarded

PROGRAM = """
import sys, pathlib, jax, jax.numpy as jnp
from bakein.study.programs import keep_programs
keep_programs(pathlib.Path(sys.argv[1]))
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith("cache_hits")))
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((4, 4))).block_until_ready()
print(sum(hits))
"""


def hits_of(folder, **variables):
    """How many programs a new process finds in the cache."""
    kept = {k: v for k, v in os.environ.items() if "CACHE" not in k} | variables
    kept["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"  # it is a small program
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=kept, check=True)
    return int(done.stdout)


def test_the_next_process_finds_what_was_compiled(tmp_path):
    folder = tmp_path / "programs"
    assert hits_of(folder) == 0
    kept = list(folder.glob("*/*-cache"))
    assert kept
    assert list(folder.glob("*/.lockfile"))  # it is bounded, and so it is locked
    assert hits_of(folder) == len(kept)


def test_a_cache_that_the_user_has_named_stays(tmp_path):
    named = jax.config.jax_compilation_cache_dir
    assert named  # by conftest
    keep_programs(tmp_path / "programs")
    assert jax.config.jax_compilation_cache_dir == named
    assert not list(tmp_path.iterdir())


def test_a_transfer_that_nobody_asked_for_is_an_error():
    double = guarded(jax.jit(lambda x: 2 * x))
    assert double(jax.device_put(np.float32(3))) == 6
    with pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device transfer"):
        double(np.float32(3))


def array(*shape, dtype=jnp.int32):
    return jax.ShapeDtypeStruct(shape, dtype)


def test_programs_take_over_the_memory_of_the_state():
    """Every array of the state that goes in is one that comes out; lowered, not compiled."""
    study = resolve(tiny_study.get_config())
    mesh = make_mesh(1, 1, 1, devices=jax.devices()[:1])
    decoder = Decoder(study.model_config(30), **decoder_shardings(mesh))
    pretrain, rl = (study.arms["baked_in"][stage] for stage in ("pretrain", "rl"))
    params = params_on(decoder, mesh)

    def taken_over(program, *arguments):
        return program.lower(*arguments).as_text().count("tf.aliasing_output")

    shardings, start, step = train_programs(decoder, mesh, pretrain, 10)
    assert taken_over(start, params) == len(jax.tree.leaves(params))
    state = abstract_of(jax.eval_shape(start, params), shardings)
    batch = dict.fromkeys(("tokens", "positions", "segments", "targets"), array(8, 32))
    batch["mask"] = array(8, 32, dtype=jnp.float32)
    assert taken_over(step, state, batch) == len(jax.tree.leaves(state))

    _, start, update = rl_programs(decoder, mesh, rl)
    assert taken_over(start, params) == len(jax.tree.leaves(params))
    rows, prompt, new = rl.prompts * rl.group, rl.prompt_length, rl.max_new_tokens
    written = [array(rows, new, dtype=jnp.float32)] * 2
    rollout = Rollout(array(rows, new), *written, array(rows, dtype=bool), array(rows))
    state = abstract_of(jax.eval_shape(start, params), shardings)
    given = array(rows, prompt), array(rows, prompt), rollout, array(rows, dtype=jnp.float32)
    # The reference stays whole: it is needed again.
    assert taken_over(update, state, params, *given) == len(jax.tree.leaves(state))
