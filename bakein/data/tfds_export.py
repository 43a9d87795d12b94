"""Documents of a world as a TFDS data set on disk, in ArrayRecord; no TensorFlow, no network.

```
write("data", "registers", {"train": rows(world, problems, ("trace", "direct"))})
documents = read("data/registers/1.0.0", "train")      # a random-access sequence of Document
```

The only file that imports TensorFlow Datasets: import it where it is needed.
"""

import contextlib
import io
import itertools
import operator
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from bakein.data.errors import DataError
from bakein.data.worlds.world import Document, Problem, World

VERSION = "1.0.0"

Row = dict[str, str | int]


def rows(world: World, problems: Iterable[Problem], forms: Sequence[str]) -> Iterator[Row]:
    """The rows of the problems' right documents: every problem in every form."""
    for problem in problems:
        for form in forms:
            document = world.document(problem, form, problem.steps)
            yield {
                "prompt": document.prompt,
                "completion": document.completion,
                "answer": problem.answer,
                "level": problem.level,
                "form": form,
            }


def text_rows(documents: Iterable[Document]) -> Iterator[Row]:
    """The rows of documents that are no problem's: windows of text."""
    for document in documents:
        yield {
            "prompt": document.prompt,
            "completion": document.completion,
            "answer": "",
            "level": 0,
            "form": "text",
        }


class WorldDocuments(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Builds a data set of documents; the same rows give the same files.

    Args:
        name: Of the data set.
        splits: Rows of each split, written in this order.
        data_dir: Where data sets lie; this one goes to `data_dir/name/VERSION`.
    """

    VERSION = tfds.core.Version(VERSION)
    # Where TFDS looks for checksums of downloads, of which there are none. Finding it out needs
    # importlib_resources, which TFDS 4.9.10 does not require on new Pythons.
    code_path = None

    def __init__(self, *, name: str, splits: Mapping[str, Iterable[Row]], data_dir: str):
        self.name = name
        self._splits = splits
        super().__init__(data_dir=data_dir)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Training documents of a bakein study.",
            features=tfds.features.FeaturesDict(
                {
                    "prompt": tfds.features.Text(),
                    "completion": tfds.features.Text(),
                    "answer": tfds.features.Text(),
                    "level": tfds.features.Scalar(np.int32),
                    "form": tfds.features.Text(),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator[tuple[int, Row]]]:
        return {split: self._generate_examples(rows) for split, rows in self._splits.items()}

    def _generate_examples(self, rows: Iterable[Row]) -> Iterator[tuple[int, Row]]:
        yield from enumerate(rows)


def write(directory: str | os.PathLike, name: str, splits: Mapping[str, Iterable[Row]]) -> Path:
    """Writes a data set and returns its directory, `directory/name/VERSION`.

    Raises:
        DataError: There is such a data set already, its name is not an identifier in lower case,
            or a split has no rows.
    """
    if not (name.isidentifier() and name.islower()):
        raise DataError(f"data set name: {name!r}; lower case letters, digits and _ are allowed")
    path = Path(directory) / name / VERSION
    if path.exists():
        raise DataError(f"{path}: exists; remove it to write it anew")
    whole = {}
    for split, some in splits.items():
        iterator = iter(some)
        first = next(iterator, None)
        if first is None:
            raise DataError(f"{path}: no rows for the split {split!r}")
        whole[split] = itertools.chain([first], iterator)
    builder = WorldDocuments(name=name, splits=whole, data_dir=os.fspath(directory))
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):  # it says that it downloads, which it does not
        builder.download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )
    return path


def read(directory: str | os.PathLike, split: str) -> "DocumentSource":
    """Opens a split of the data set in `directory`, as `write` returned it.

    Raises:
        DataError: There is no such data set or split, or it has no documents.
    """
    if not (Path(directory) / "dataset_info.json").is_file():
        raise DataError(f"{directory}: not a data set; no dataset_info.json in it")
    try:
        builder = tfds.builder_from_directory(directory)
        splits, fields = builder.info.splits, set(builder.info.features)
        if split in splits:
            source = builder.as_data_source(split=split)
            _ = source[0], source[len(source) - 1]  # a missing or cut file shows here
    except Exception as error:  # TFDS and ArrayRecord raise many kinds
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(f"{directory}: cannot be read: {reason}") from error
    if split not in splits:
        raise DataError(f"{directory}: no split {split!r}; {', '.join(sorted(splits))} are allowed")
    missing = {"prompt", "completion"} - fields
    if missing:
        raise DataError(f"{directory}: no field {min(missing)!r}; not a data set of documents")
    return DocumentSource(source)


class DocumentSource(Sequence[Document]):
    """The documents of a TFDS data source, by index."""

    def __init__(self, source: Sequence[Mapping]):
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Document:
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        row = self._source[index]
        return Document(row["prompt"].decode(), row["completion"].decode())
