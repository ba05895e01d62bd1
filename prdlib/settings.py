"""Frozen dataclasses as settings: fields with help and range, filled from plain values that are checked one by one.

Knows no setting by name; those are in :mod:`prdlib.config`. Whatever does not fit is a :class:`ConfigError` of one sentence.
"""

from __future__ import annotations

import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, field, fields, is_dataclass
from typing import Any


class ConfigError(ValueError):
    """A setting that does not exist or cannot have this value."""


def setting(default: Any, help: str, *, low: float | None = None, high: float | None = None, choices=None) -> Any:
    """A dataclass field with its help text and, where it has one, its range (both ends included) or its choices."""
    metadata = {"help": help, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


def default_of(part: Field) -> Any:
    """The value that a field has when it is not set; lists are tuples, so that only a mapping is made anew."""
    return part.default_factory() if part.default_factory is not MISSING else part.default


def undotted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """{"training.epochs": 3} as {"training": {"epochs": 3}}; nested mappings stay as they are."""
    result: dict[str, Any] = {}
    for key, value in settings.items():
        head, _, rest = str(key).partition(".")
        value = undotted({rest: value}) if rest else (undotted(value) if isinstance(value, Mapping) else value)
        result = merge(result, {head: value})
    return result


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``over`` laid over it, level by level."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def build(cls: type, values: Any) -> Any:
    """``cls``, a dataclass of settings and of dataclasses of settings, from nested ``values``; the rest keeps its defaults.

    Raises ConfigError for an unknown key (naming the nearest known one) and for a value of another type or out of range.
    """
    return _build(cls, values, "", [row["setting"] for row in reference(cls)])


def _build(cls: type, values: Any, prefix: str, keys: list[str]) -> Any:
    if not isinstance(values, Mapping):
        raise ConfigError(f"Setting {prefix.rstrip('.')} needs keys below it, not {values!r}.")
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        if key not in known:
            tails = [name.rpartition(".")[2] for name in keys]
            groups = known if not prefix and str(key) not in tails else ()
            hint = nearest(str(key), groups) or nearest(str(key), keys, prefix)
            raise ConfigError(f"Unknown setting {prefix + str(key)!r}{hint}.")
        hint = hints[key]
        if is_dataclass(hint):
            arguments[key] = _build(hint, value, f"{prefix}{key}.", keys)
        else:
            arguments[key] = _check(hint, value, prefix + key, known[key].metadata)
    return cls(**arguments)


def _check(hint: Any, value: Any, key: str, metadata: Mapping[str, Any]) -> Any:
    if typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        if isinstance(value, str) or not isinstance(value, list | tuple) or not value:
            raise ConfigError(f"Setting {key} needs a list of {item.__name__}, not {value!r}.")
        checked = tuple(_check(item, part, key, {}) for part in value)
        if len(set(checked)) < len(checked):
            raise ConfigError(f"Setting {key} names a value twice: {list(checked)}.")
        return checked
    plain = typing.get_origin(hint) or hint
    if plain is dict and isinstance(value, Mapping):
        return {str(name): _check(typing.get_args(hint)[1], part, f"{key}.{name}", {}) for name, part in value.items()}
    if plain is types.UnionType:  # as it comes, of one of these types
        if not isinstance(value, typing.get_args(hint)):
            raise ConfigError(f"Setting {key} needs one of {str(hint).replace(' | ', ', ')}, not {value!r}.")
        return value
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, plain) or (plain is int and isinstance(value, bool)):
        raise ConfigError(f"Setting {key} needs a {plain.__name__}, not {value!r}.")
    if plain is float and not math.isfinite(value):
        raise ConfigError(f"Setting {key} is {value}: it must be a finite number.")
    low, high, choices = metadata.get("low"), metadata.get("high"), metadata.get("choices")
    if choices and value not in choices:
        names = [str(choice) for choice in choices]
        raise ConfigError(f"Setting {key} is {value!r}{nearest(str(value), names)}: choose one of {', '.join(names)}.")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        span = f"at least {low}" if high is None else f"{low} to {high}"
        raise ConfigError(f"Setting {key} is {value}: it must be {span}.")
    return value


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """' (did you mean ...?)' for a word that is not known, or ''."""
    known = list(known)
    tails = {name.rpartition(".")[2]: name for name in known}
    close = difflib.get_close_matches(prefix + word, known, 1, 0.6) or difflib.get_close_matches(word, tails, 1, 0.6)
    return f" (did you mean {tails.get(close[0], close[0])!r}?)" if close else ""


def reference(cls: type) -> list[dict[str, Any]]:
    """Every setting of ``cls`` with its default, its range and its help: rows for the README's settings table."""
    rows = []
    for top in fields(cls):
        parts = fields(top.default_factory) if is_dataclass(top.default_factory) else ()
        for part in parts or (top,):
            name = f"{top.name}.{part.name}" if parts else top.name
            meta = part.metadata
            default = default_of(part)
            default = list(default) if isinstance(default, tuple) else default
            span = ", ".join(map(str, meta["choices"])) if meta.get("choices") else (
                "" if meta.get("low") is None else f"{meta['low']} to {'' if meta.get('high') is None else meta['high']}".strip()
            )  # fmt: skip
            rows.append({"setting": name, "default": default, "range": span, "help": meta["help"]})
    return rows
