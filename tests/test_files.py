"""Reading files: what is in them, or one line that says what is wrong and where."""

import json

import pytest

from bakein.data.errors import DataError
from bakein.data.files import read_jsonl, read_text


def test_text_comes_as_it_is_without_byte_order_mark(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffGrüße\r\n\nzwei".encode())
    assert read_text(path) == "Grüße\r\n\nzwei"


def test_jsonl_fields_in_the_order_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [{"q": "1+1", "a": "2", "more": 3}, {"a": "line\u2028separator", "q": ""}]
    path.write_text("\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\r\n")
    assert read_jsonl(path, ("a", "q")) == [("2", "1+1"), ("line\u2028separator", "")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, ": cannot be read: No such file"),
        (b"", ": empty"),
        (b" \n\t\n", ": empty"),
        (b'{"q": "a"}\n\n{"q": "\xff"}\n', ":3: not UTF-8: byte 0xff"),
        (b'\xef\xbb\xbf{"q": "a"}\n{"q": "\xc3', ":2: not UTF-8: byte 0xc3"),
        (b'{"q": "a"}\n{"q": "a"\n', ":2: not JSON: Expecting ',' delimiter"),
        (b'{"q": "a"}\n["q"]\n', ":2: a JSON list, must be an object"),
        (b'{"q": "a"}\n{"p": "b", "r": 1}\n', r":2: no field 'q', only \['p', 'r'\]"),
        (b'{"q": 7}\n', ":1: field 'q' is int, must be a string"),
        (b'{"q": "a"}\n{"q": "\\ud83d"}\n', ":2: field 'q' holds half a surrogate pair"),
        (b"[" * 100_000, ":1: not JSON"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path, content, message):
    path = tmp_path / "data.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"data.jsonl{message}") as told:
        read_jsonl(path, ("q",))
    assert "\n" not in str(told.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
