"""Text files and JSON lines, read whole; what is wrong with one is said with its path and line."""

import json
from os import PathLike
from pathlib import Path

from bakein.data.errors import DataError


def read_text(path: str | PathLike) -> str:
    """The text of a UTF-8 file (a byte order mark is dropped).

    Raises:
        DataError: If the file is missing, unreadable, not UTF-8 (with the line), or blank.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # error.object and not raw: the codec reports offsets after the byte order mark.
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise DataError(f"{path}:{line}: not UTF-8: byte 0x{byte:02x}") from error
    if not text.strip():
        raise DataError(f"{path}: empty, must hold at least one line of text")
    return text


def read_jsonl(path: str | PathLike, fields: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The named string fields of every line of a JSON lines file; blank lines are passed over.

    Raises:
        DataError: As `read_text`; besides, with path:line, for a line that is not a JSON object
            or a field that is missing or not a string.
    """
    rows = []
    # Not splitlines(): a JSON string may hold U+2028 and its kind unescaped.
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(record, dict):
            kind = type(record).__name__
            raise DataError(f"{path}:{number}: a JSON {kind}, must be an object")
        for field in fields:
            if field not in record:
                raise DataError(f"{path}:{number}: no field {field!r}, only {sorted(record)}")
            if not isinstance(record[field], str):
                kind = type(record[field]).__name__
                raise DataError(f"{path}:{number}: field {field!r} is {kind}, must be a string")
            if any("\ud800" <= character <= "\udfff" for character in record[field]):
                raise DataError(f"{path}:{number}: field {field!r} holds half a surrogate pair")
        rows.append(tuple(record[field] for field in fields))
    return rows
