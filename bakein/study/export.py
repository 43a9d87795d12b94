"""A source's documents as a TFDS data set."""

import pathlib

from bakein.data import tfds_export
from bakein.study.errors import ConfigError, unknown
from bakein.study.materials import Materials
from bakein.study.schema import Study, TextSource, WorldSource


def export_source(
    study: Study, name: str, documents: int, out: pathlib.Path
) -> tuple[int, pathlib.Path]:
    """Writes the first documents of a source.

    Args:
        study: the study.
        name: of the source.
        documents: how many, if there are as many.
        out: the folder to write to.

    Returns:
        How many were written, and where.

    Raises:
        ConfigError: there is no such source, or it is a data set already.
    """
    if name not in study.sources:
        raise unknown("--source", name, study.sources)
    if documents < 1:
        raise ConfigError(f"--documents is {documents}; it must be at least 1")
    source = study.sources[name]
    if isinstance(source, WorldSource):
        world = study.worlds[source.world]
        problems = world.train(study.seed)
        count = min(documents, source.documents or documents, len(problems))
        rows = tfds_export.rows(world, (problems[i] for i in range(count)), (source.form,))
    elif isinstance(source, TextSource):
        windows = Materials(study).windows(name)
        count = min(documents, len(windows))
        rows = tfds_export.text_rows(windows[:count])
    else:
        raise ConfigError(f"--source {name}: is a data set already")
    return count, tfds_export.write(out, name, {"train": rows})
