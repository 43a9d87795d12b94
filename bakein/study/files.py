"""JSON in the files of a work directory."""

import json
from typing import Any

from bakein.paths import Path, write_text
from bakein.study.errors import WorkdirError


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replaces a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; {} where there is no file.

    Raises:
        WorkdirError: the file holds anything else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:  # broken JSON and broken UTF-8 alike
        raise WorkdirError(f"{path} is damaged ({error}); delete it and run again") from error
    if not isinstance(value, dict):
        raise WorkdirError(f"{path} is damaged (not an object); delete it and run again")
    return value


def json_lines(records: list[dict[str, Any]]) -> str:
    """Records as JSON lines."""
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
