"""Loading an experiment file and applying `--config.key=value` overrides to what it returns."""

import importlib.util
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

from bakein.data.errors import DataError
from bakein.study.errors import ConfigError, unknown


def load_experiment(experiment: str, overrides: Sequence[str]) -> ConfigDict:
    """Calls `get_config(ARG)` of `FILE.py:ARG`, locks the result and overrides it.

    Args:
        experiment: path of the file, with the argument after a colon if there is one.
        overrides: `--config.path.of.key=value`, of the type that the key has.

    Returns:
        The locked configuration.

    Raises:
        ConfigError: no such file, no `get_config`, or an override that does not fit.
    """
    name, _, argument = experiment.partition(":")
    path = Path(name)
    if not path.is_file():
        raise ConfigError(f"experiment {name}: there is no such file")
    module_name = f"experiment.{path.stem}"  # which no installed module has
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"experiment {name}: it must be a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    # Registered, so that functions and classes of the file can be found by their module.
    sys.modules[module_name] = module
    if str(path.parent) not in sys.path:  # as for a script: it may import its neighbours
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
        if not hasattr(module, "get_config"):
            raise ConfigError(f"experiment {name}: it must define get_config(arg=None)")
        config = module.get_config(argument or None)
    except (ConfigError, DataError):
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f":{f.lineno}" for f in frames if Path(f.filename).resolve() == path.resolve()]
        place = lines[-1] if lines else ""
        raise ConfigError(f"experiment {name}{place}: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"experiment {name}: get_config must return a ConfigDict")
    return apply_overrides(config, overrides)


def apply_overrides(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Overrides keys of a configuration by ml_collections' own flags.

    Raises:
        ConfigError: an argument that is not an override, an unknown key, or a wrong type.
    """
    for argument in overrides:
        key, given, _ = argument.partition("=")
        if not key.startswith("--config.") or not given:
            raise ConfigError(f"{argument}: not an argument; overrides are --config.key=value")
        _check_path(config, key.removeprefix("--"))
    values = flags.FlagValues()
    argv = ["bakein", *overrides]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv)
    except (flags.Error, TypeError, ValueError) as error:
        raise ConfigError(" ".join(str(error).split())) from error
    return values.config


def _check_path(config: ConfigDict, path: str) -> None:
    """Says which part of a path does not exist, before the flags say it with a traceback."""
    node, walked = config, "config"
    for part in path.split(".")[1:]:
        if not isinstance(node, ConfigDict):
            raise ConfigError(f"{path}: {walked} is {node!r}, and has no keys in it")
        if part not in node:
            raise unknown(walked, part, node)
        node, walked = node[part], f"{walked}.{part}"
    if isinstance(node, ConfigDict):
        raise ConfigError(f"{path}: is a group of keys ({', '.join(sorted(node))}); name one")
    if callable(node):
        raise ConfigError(f"{path}: is a function; change it in the experiment file")
