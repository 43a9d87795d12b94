"""How a command ends: its exit code, and one line where something went wrong."""

import sys
from collections.abc import Callable


def outcome_of(command: Callable[[], int]) -> tuple[int, str]:
    """Runs a command: its exit code, and the line that says what went wrong, "" for nothing.

    Raises:
        Exception: a programmer's mistake, or a bucket that did not answer.
    """
    from bakein.data.errors import DataError
    from bakein.paths import unanswered
    from bakein.processes import PREEMPTED, Preempted
    from bakein.report.records import RecordError
    from bakein.study.errors import ConfigError, WorkerDied
    from bakein.train.checkpoints import NoUsableCheckpoint
    from bakein.train.loop import NonFinite

    try:
        return command(), ""
    except (ConfigError, DataError, RecordError, NoUsableCheckpoint, OSError) as error:
        if unanswered(error):
            raise
        return 2, line_of(error)
    except (NonFinite, WorkerDied) as error:
        return 1, line_of(error)
    except Preempted:
        return PREEMPTED, "asked to leave (SIGTERM): all is saved; the same command goes on"
    except KeyboardInterrupt:
        return 130, "interrupted; the same command goes on from here"


def say(code: int, line: str) -> int:
    """Says a line, "" for none, as the last words of the command; returns the code."""
    if line:
        print(f"bakein: {line}", file=sys.stderr)
    return code


def silence_of(error: Exception) -> str:
    """The line of a bucket that did not answer."""
    return f"the bucket does not answer, the same command goes on: {line_of(error)}"


def line_of(error: BaseException) -> str:
    """What an error says, in one line, and where."""
    text = str(error)
    if isinstance(error, OSError) and error.errno and error.filename:
        text = f"{error.filename}: {error.strerror}"
    # Ours have one line; grain adds longer ones about its own traceback.
    notes = [note for note in getattr(error, "__notes__", ()) if "\n" not in note]
    where = "".join(f" [{note}]" for note in notes)
    return f"{' '.join(text.split())}{where}"
