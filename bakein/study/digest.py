"""Values as canonical JSON, hashes of them, and seeds made of names."""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import math
import types
from collections.abc import Mapping
from typing import Any

from bakein.study.errors import ConfigError


def plain(value: Any) -> Any:
    """A value of a configuration as JSON: dataclasses by their fields, functions by their source.

    Of a function that holds values (default arguments, captured variables, a method's instance)
    they count too: it is written as `functools.partial` of them would be. What it finds in its
    module as it runs does not count.

    Raises:
        ConfigError: a value that a configuration cannot hold, or that a function in it holds.
    """
    return _plain(value, "", ())


def _plain(value: Any, path: str, within: tuple[Any, ...]) -> Any:
    """`plain` of what stands at `path`, inside the functions and classes `within`."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # which JSON has no number for
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_plain(item, path, within) for item in value]
    if isinstance(value, Mapping):
        return _items(value, path, within)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
        # Where the class is a function with parameters, its source counts as a function's does.
        kind = type(value)
        made_of = _plain(kind, path, within) if callable(value) else _name(kind)
        return {"class": made_of, **_items(fields, path, within)}
    if isinstance(value, functools.partial):
        return {
            "function": _plain(value.func, path, within),
            "args": _plain(value.args, path, within),
            "keywords": _plain(value.keywords, path, within),
        }
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"  # which a function may capture
    if not (isinstance(value, type) or _is_function(value)):
        shown = " ".join(repr(value).split())[:60]
        raise ConfigError(
            f"{path}{': ' if path else ''}{shown} of type {type(value).__name__} cannot stand in a "
            "configuration; make it a frozen dataclass or functools.partial of numbers, text, "
            "lists, dicts or functions"
        )
    named = f"{_name(value)} {_source_digest(value)}"
    if value in within:
        return f"{named} again"  # a function that captures itself
    instance, variables = _held(value)
    if not (instance or variables):
        return named
    within = (*within, value)
    return {
        "function": named,
        "args": _plain(instance, path, within),
        "keywords": _items(variables, path, within),
    }


def _items(values: Mapping[Any, Any], path: str, within: tuple[Any, ...]) -> dict[str, Any]:
    stem = f"{path}." if path else ""
    return {str(key): _plain(item, f"{stem}{key}", within) for key, item in values.items()}


def _is_function(value: Any) -> bool:
    """Not an instance called like one: it has a state, which its name and source do not say."""
    if not (callable(value) and hasattr(value, "__qualname__")):
        return False
    return not inspect.isfunction(type(value).__call__)


def _held(thing: Any) -> tuple[list[Any], dict[str, Any]]:
    """What a function or class holds that its source does not say: [instance], variables."""
    if isinstance(thing, type):
        return [], _variables_of_methods(thing) if "<locals>" in thing.__qualname__ else {}
    instance = getattr(thing, "__self__", None)
    if isinstance(instance, types.ModuleType):  # as that of `len` is
        instance = None
    function = getattr(thing, "__func__", thing)
    inner = _inner(function)
    variables = _variables(inner)
    # A wrapper made in C of what is written in a module, as `numpy.mean`, is known by its name.
    if inner is not function and "<" not in inner.__code__.co_qualname:
        variables = {}
    return [] if instance is None else [instance], variables


def _variables_of_methods(cls: type) -> dict[str, Any]:
    """Of those that are written in the class, not of those that `dataclass` made for it."""
    return {
        f"{method.__name__}.{name}": value
        for method in vars(cls).values()
        if inspect.isfunction(method)
        and method.__code__.co_qualname.startswith(f"{cls.__qualname__}.")
        for name, value in _variables(method).items()
        if name != "__class__"  # which `super()` captures
    }


def _variables(function: Any) -> dict[str, Any]:
    """Default arguments and captured variables by their names; none where it is made in C."""
    if not inspect.isfunction(function):
        return {}
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    variables = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    variables |= function.__kwdefaults__ or {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not assigned yet
            variables[name] = cell.cell_contents
    return variables


def _inner(function: Any) -> Any:
    """The Python function in wrappers made in C, such as `functools.cache`'s."""
    inner = function
    while not inspect.isfunction(inner) and hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    return inner if inspect.isfunction(inner) else function


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None) or "builtins"  # methods made in C have none
    return f"{module.rpartition('.')[2]}.{thing.__qualname__}"


def _source_digest(thing: Any) -> str:
    """A changed function is a changed configuration; so its source is part of its name."""
    inner = _inner(getattr(thing, "__func__", thing))
    if inspect.isfunction(inner) and hasattr(inner, "__wrapped__"):
        inner = inner.__code__  # the decorator's source; what it wraps is a variable of it
    try:
        source = inspect.getsource(inner)
    except (OSError, TypeError):  # made in C, or typed at a prompt
        source = repr(thing.__qualname__)
    if inspect.isfunction(inner) and inner.__name__ == "<lambda>":  # others may share its lines
        source += repr([columns for _, _, *columns in inner.__code__.co_positions()])
    return hashlib.blake2b(source.encode(), digest_size=4).hexdigest()


def digest(value: Any) -> str:
    """24 hexadecimal digits that stand for a value."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def seed_of(*names: int | str) -> int:
    """A 32-bit seed for a purpose: a function of the names alone."""
    text = json.dumps(names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big")
