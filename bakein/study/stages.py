"""Running one node of a study, and saying in its stage.json what came of it."""

import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any

from bakein import processes
from bakein.model import count_params
from bakein.paths import unanswered
from bakein.processes import Preempted
from bakein.study.dag import Node
from bakein.study.description import device_name, provenance
from bakein.study.digest import plain
from bakein.study.errors import Stopped
from bakein.study.evaluation import run_evaluation, run_probe
from bakein.study.rl import run_rl
from bakein.study.shop import Shop
from bakein.study.supervised import run_supervised
from bakein.train.checkpoints import NoUsableCheckpoint
from bakein.train.state import Params
from bakein.train.stopwatch import Stopwatch

_RUN = {"supervised": run_supervised, "rl": run_rl, "eval": run_evaluation, "probe": run_probe}


def run_claimed(node: Node, shop: Shop, progress: Callable[[float], None]) -> bool:
    """Runs a node, unless another process does; arguments and errors as for `run_node`.

    Returns:
        Whether the node is finished; False where another process is at it.
    """
    if shop.preempted():  # also of a process that waits for others to be done
        raise Preempted
    with shop.workdir.claim(node.id) as claimed:
        if not claimed:
            return False
        if processes.agree(
            lambda: shop.folder(node.id).finished
        ):  # by another process, since this one looked
            return True
        try:
            progress(0.0)
            run_node(node, shop, progress)
        except (Stopped, Preempted):
            raise
        except Exception as error:
            error.add_note(f"stage: {node.name} ({node.id})")
            raise
    return True


def run_node(node: Node, shop: Shop, progress: Callable[[float], None]) -> None:
    """Runs a node to its end, or from where it was interrupted; its claim is held.

    Args:
        node: what to run; its parent is finished.
        shop: what it works with.
        progress: called with the share that is done; may raise `Stopped`.

    Raises:
        Stopped: `progress` did.
        Preempted: the machine is wanted back; the node goes on from here next time.
        NonFinite: the training broke down.
        DataError: the data cannot be used as the configuration says.
        NoUsableCheckpoint: a checkpoint that is needed is damaged.
        OSError: the disk is full, or a file of the work directory is damaged.
    """
    folder = shop.folder(node.id)
    folder.create()
    before = folder.info()
    spent, made_by = before.get("time", {}), before.get("made_by", [])
    here = provenance(device_name())
    killed = spent.get("killed", 0.0) + folder.unsaid_seconds()
    watch = Stopwatch(time.monotonic, {**spent, "killed": killed} if killed else spent)
    begun = {
        "id": node.id,
        "kind": node.kind,
        "stage": node.stage,
        "seed": node.seed,
        "parents": [node.parent] if node.parent else [],
        "config": plain(node.config),
        "fingerprint": node.fingerprint,
        "params": count_params(shop.decoder.config),
        "made_by": made_by if here in made_by else [*made_by, here],
    }

    def write(status: str, **more: Any) -> None:
        # Over all sessions; of those that were killed, until they wrote their last file.
        spent = watch.seconds()
        seconds = round(sum(spent.values()), 3)
        folder.write_info({**begun, "status": status, **more, "time": spent, "seconds": seconds})

    write("running")
    try:
        with contextlib.closing(folder.records):
            initial = functools.partial(_initial_params, node, shop, progress)
            result = _RUN[node.kind](node, shop, folder, initial, progress, watch)
    except Exception as error:
        if unanswered(error):  # as this would be
            raise
        broken = {} if isinstance(error, Stopped | Preempted) else {"reason": str(error)}
        with contextlib.suppress(OSError):  # the disk may be full
            write("failed" if broken else "running", **broken)
        raise
    write("finished", **result)


def _initial_params(node: Node, shop: Shop, progress: Callable[[float], None]) -> Params:
    """The parameters that a node starts from: random ones, or those that its parent ended with.

    A parent whose last checkpoint was damaged after it had finished is run again from the one
    before, and ends with the same parameters.
    """
    if not node.parent:
        return shop.init_params(node)
    with shop.mending:
        params = shop.load_params(node.parent)
        if params is None:
            # Another process may be mending it: then it is whole when the claim is free.
            with shop.workdir.claim(node.parent, wait=True):
                run_node(shop.dag.nodes[node.parent], shop, lambda _: progress(0.0))
            params = shop.load_params(node.parent)
    if params is None:
        raise NoUsableCheckpoint(
            f"the parameters under {shop.checkpoints(node.parent).path} cannot be read back, even "
            "after they were written again; is the disk sound?"
        )
    return params
