"""What the command line says of several processes, checked; and joining them."""

from bakein.processes import Peers, join
from bakein.study.errors import ConfigError


def join_cluster(
    distributed: bool, coordinator: str | None, processes: int | None, process: int | None
) -> Peers | None:
    """Makes this process one of several, before anything touches a device.

    Args:
        distributed: whether the others are to be found by what jax knows of clusters.
        coordinator: or else HOST:PORT where the first one listens,
        processes: how many there are,
        process: and which this is.

    Returns:
        The others; None where nothing was said of any.

    Raises:
        ConfigError: the values do not belong together, or nobody was found.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    if distributed and any(given):
        raise ConfigError("--distributed finds the others itself: not with --coordinator")
    if any(given) and not all(given):
        raise ConfigError("--coordinator, --processes and --process go together")
    if not (distributed or any(given)):
        return None
    if coordinator is not None:
        _check(coordinator, processes, process)
    try:
        return join(coordinator, processes, process)
    except (ValueError, RuntimeError, OSError) as error:
        if coordinator:
            raise ConfigError(f"--coordinator {coordinator}: {error}") from error
        raise ConfigError(
            "--distributed: there is no cluster that jax knows (TPU metadata, GKE, SLURM, MPI): "
            f"{str(error).rstrip('.')}; give --coordinator HOST:PORT --processes N --process I"
        ) from error


def _check(coordinator: str, processes: int, process: int) -> None:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--coordinator is {coordinator!r}; it must be HOST:PORT")
    if processes < 1:
        raise ConfigError(f"--processes is {processes}; it must be at least 1")
    if not 0 <= process < processes:
        raise ConfigError(f"--process is {process}; it must be between 0 and {processes - 1}")
