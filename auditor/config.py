"""Settings in layers, each value with where it came from.

Precedence: argument > environment (``AUDITOR_INTERVAL_S``) > ``./auditor.yaml`` > the packaged defaults.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from auditor import resources
from auditor.documents import read_yaml
from auditor.errors import ConfigError, UnitError
from auditor.levels import Level, parse_levels
from auditor.tally import CounterKind, Purpose
from auditor.units import parse_exact

_FILE = "auditor.yaml"
_PREFIX = "AUDITOR_"
# Paths of the machine, what the first record says in fields of its own, and what changes nothing that is recorded.
# What `auditor run` tells the processes below it; not settings of the user's.
HANDOVER = ("AUDITOR_RUN_DIR", "AUDITOR_RUN_ID", "AUDITOR_RUN_COMMAND", "AUDITOR_LAUNCHER_PID", "AUDITOR_RANK_PID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is in force; ``origins`` says where each value came from."""

    out: Path | None
    model: str
    purpose: Purpose
    strict: bool
    interval_s: float
    sync_every_s: float
    key: Path
    second_opinion: bool
    counter: CounterKind
    probe: bool
    coverage_every: int
    checkpoints: bool
    checkpoint_wait_s: float
    live_sum: bool
    witness: str  # address, or "" for none
    witness_key: str
    rules: tuple[Path, ...]
    alerts: tuple[Level, ...]
    alert_webhook: str  # address, or "" for none
    alert_command: str  # as words of a command line, or "" for none
    alert_timeout_s: float
    answers: Path | None
    origins: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """The settings as environment variables for a child process."""
        values = {name: getattr(self, name) for name in NAMES if name != "out"}
        return {f"{_PREFIX}{name.upper()}": _as_text(value) for name, value in values.items()}

    def recorded(self) -> dict[str, str]:
        """The settings as they go into a ledger; no path of the machine."""
        values = {name: getattr(self, name) for name in NAMES if name not in _OF_THE_MACHINE + _ONLY_TELLING}
        return {name: _as_text(value) for name, value in values.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of the settings as they are recorded."""
        return hashlib.sha256(json.dumps(self.recorded(), sort_keys=True).encode()).hexdigest()


# Or recorded elsewhere, or nothing that changes what is recorded.
_OF_THE_MACHINE = ("out", "key", "model", "purpose", "witness", "witness_key", "live_sum", "rules", "answers")
_ONLY_TELLING = ("alerts", "alert_webhook", "alert_command", "alert_timeout_s")
NAMES = tuple(field.name for field in fields(Settings) if field.name != "origins")


def load(
    arguments: Mapping[str, str | None] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """The settings in force. Arguments that are None were not given.

    Raises: ConfigError: an unknown name, or a value that does not fit; the message says where it came from.
    """
    layers = _from_file(resources.tree("configs") / "defaults.yaml", "the defaults")
    own_file = (directory or Path()) / _FILE
    if own_file.exists():
        layers |= _from_file(own_file, str(own_file))
    layers |= _from_environment(os.environ if environment is None else environment)
    for name, value in (arguments or {}).items():
        if value is not None:
            _known(name, "an argument")
            layers[name] = (value, "an argument")
    values: dict[str, Any] = {name: _PARSERS[name](*layers[name], name) for name in NAMES}
    return Settings(**values, origins={name: origin for name, (_, origin) in layers.items()})


Layer = dict[str, tuple[str, str]]


def _from_file(path: Path, origin: str) -> Layer:
    layer: Layer = {}
    for name, node in read_yaml(path, ConfigError).fields().items():
        _known(name, f"{path}:{node.line}")
        layer[name] = ("" if node.value is None else node.text(), f"{origin}, line {node.line}")
    return layer


def _from_environment(environment: Mapping[str, str]) -> Layer:
    layer: Layer = {}
    for variable, value in environment.items():
        if variable.startswith(_PREFIX) and variable not in HANDOVER:
            name = variable.removeprefix(_PREFIX).lower()
            _known(name, f"the environment variable {variable}")
            layer[name] = (value, f"the environment variable {variable}")
    return layer


def _known(name: str, origin: str) -> None:
    if name not in NAMES:
        near = difflib.get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMES)}"
        raise ConfigError(f"{origin}: unknown setting {name!r}; {hint}")


def _fail(name: str, value: str | None, origin: str, expected: str) -> NoReturn:
    got = "something else" if value is None else repr(value)
    raise ConfigError(f"{name} from {origin}: expected {expected}, got {got}")


def _text(value: str, origin: str, name: str) -> str:  # noqa: ARG001 - one signature for all parsers
    return value


def _path(value: str, origin: str, name: str) -> Path | None:  # noqa: ARG001
    return Path(value).expanduser() if value else None


def _paths(value: str, origin: str, name: str) -> tuple[Path, ...]:  # noqa: ARG001
    return tuple(Path(part).expanduser().absolute() for part in value.split(os.pathsep) if part)


def _absolute(value: str, origin: str, name: str) -> Path | None:  # noqa: ARG001
    return Path(value).expanduser().absolute() if value else None


def _address(value: str, origin: str, name: str) -> str:
    if value and not _is_address(value):
        # What stands in it may be a secret: whoever reads the message finds it where it is set.
        _fail(name, None, origin, "an address that begins with http:// or https://, of printable ASCII without blanks")
    return value


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        port = parts.port  # a ValueError where it is no number that a port may have
    except ValueError:
        return False
    plain = value.isascii() and value.isprintable() and " " not in value
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0


def _words(value: str, origin: str, name: str) -> str:
    try:
        words = shlex.split(value)
    except ValueError:
        words = []
    if value.strip() and not words:
        _fail(name, value, origin, "the words of a command, quoted as in a shell")
    return value.strip()


def _key_path(value: str, origin: str, name: str) -> Path:
    configured = _path(value, origin, name)
    if configured:
        return configured.absolute()
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "auditor" / "key.pem"


def _flag(value: str, origin: str, name: str) -> bool:
    if value not in ("true", "false"):
        _fail(name, value, origin, "true or false")
    return value == "true"


def _seconds(value: str, origin: str, name: str) -> float:
    try:
        seconds = float(parse_exact(value))
    except UnitError:
        _fail(name, value, origin, "a number of seconds")
    if seconds < 0:
        _fail(name, value, origin, "a number of seconds that is not negative")
    return seconds


def _limit_s(value: str, origin: str, name: str) -> float:
    seconds = _seconds(value, origin, name)
    if not seconds:
        _fail(name, value, origin, "a number of seconds above 0")
    return seconds


def _steps(value: str, origin: str, name: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        _fail(name, value, origin, "a whole number of steps, or 0")
    return int(value)


def _levels(value: str, origin: str, name: str) -> tuple[Level, ...]:
    try:
        return parse_levels(value)
    except UnitError as error:
        raise ConfigError(f"{name} from {origin}: {error}") from error


def parse_purpose(value: str, origin: str, name: str = "purpose") -> Purpose:
    """The purpose of that name.

    Raises: ConfigError: there is none; the message names the nearest.
    """
    try:
        return Purpose(value)
    except ValueError:
        _fail(name, value, origin, f"one of {', '.join(map(str, Purpose))}")


def parse_counter(value: str, origin: str, name: str = "counter") -> CounterKind:
    """The kind of counter of that name.

    Raises: ConfigError: there is none.
    """
    try:
        return CounterKind(value)
    except ValueError:
        _fail(name, value, origin, f"one of {', '.join(map(str, CounterKind))}")


_PARSERS: Mapping[str, Any] = {
    "out": _path,
    "model": _text,
    "purpose": parse_purpose,
    "strict": _flag,
    "interval_s": _seconds,
    "sync_every_s": _seconds,
    "key": _key_path,
    "second_opinion": _flag,
    "counter": parse_counter,
    "probe": _flag,
    "coverage_every": _steps,
    "checkpoints": _flag,
    "checkpoint_wait_s": _seconds,
    "live_sum": _flag,
    "witness": _text,
    "witness_key": _text,
    "rules": _paths,
    "alerts": _levels,
    "alert_webhook": _address,
    "alert_command": _words,
    "alert_timeout_s": _limit_s,
    "answers": _absolute,
}


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple) and all(isinstance(part, Level) for part in value):
        return " ".join(part.text for part in value)
    if isinstance(value, tuple):
        return os.pathsep.join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
