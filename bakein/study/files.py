"""Files that are replaced whole or not at all, whenever the process is killed."""

import json
import os
import pathlib
from typing import Any

from bakein.study.errors import WorkdirError


def write_text(path: pathlib.Path, text: str) -> None:
    """Replaces a file atomically: a reader sees the old text or the new one, never a part."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def write_json(path: pathlib.Path, value: dict[str, Any]) -> None:
    """Replaces a JSON file atomically."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        WorkdirError: the file holds anything else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # broken JSON and broken UTF-8 alike
        raise WorkdirError(f"{path} is damaged ({error}); delete it and run again") from error
    if not isinstance(value, dict):
        raise WorkdirError(f"{path} is damaged (not an object); delete it and run again")
    return value


def json_lines(records: list[dict[str, Any]]) -> str:
    """Records as JSON lines."""
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
