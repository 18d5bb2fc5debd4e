"""`auditor run`."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

from auditor import config
from auditor.distributed import LAUNCHING_MODULES
from auditor.errors import UsageError
from auditor.integrations import script
from auditor.integrations.naming import new_directory
from auditor.warning import lookout


def run(options: argparse.Namespace) -> int:
    """Run the command under audit; the code is the command's own."""
    words = _words(options)
    settings = config.load(
        {
            "out": options.out,
            "model": options.model,
            "purpose": options.purpose,
            "key": options.key,
            "strict": "true" if options.strict else None,
            "second_opinion": "false" if options.no_second_opinion else None,
            "counter": options.counter,
            "probe": "true" if options.probe else None,
            "coverage_every": options.coverage_every,
            "live_sum": "true" if options.live_sum else None,
            "rules": os.pathsep.join(options.rules) or None,
            "alerts": " ".join(options.alert) or None,
        }
    )
    if settings.rules or settings.alerts:  # what does not fit is told before the training begins
        lookout.read_law(settings.alerts, settings.rules, settings.answers)
    if not settings.model:
        settings = dataclasses.replace(settings, model=_name_of(words))
    directory = (settings.out or new_directory()).absolute()
    return script.run(words, settings, directory)


def _words(options: argparse.Namespace) -> list[str]:
    if options.module is not None:
        if not options.module:
            raise UsageError("run -m: the module is missing")
        return [sys.executable, "-m", *options.module]
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not words or not words[0]:
        raise UsageError("run: no command was given", remedy="For example: auditor run -- python train.py")
    return list(words)


def _name_of(words: list[str]) -> str:
    """The script's or module's name stands for the model until somebody names it."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word.endswith(".py"):
            return Path(word).stem
        if word == "-m" and not following.startswith(LAUNCHING_MODULES):
            return following
    return Path(words[0]).name
