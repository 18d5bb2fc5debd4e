"""Kills processes that write ledgers: ``killing_program.py PLACE KILLS SWEEPS SEED``; tells what was seen as JSON.

A process of its own: it forks, and the one that runs the tests has threads and much memory.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from auditor.ledger import load_or_create
from tests.ledger import kills
from tests.ledger.conftest import Run


def main(place: Path, num_kills: int, sweeps: int, seed: int) -> None:
    key = load_or_create(place / "key.pem")
    numbers = itertools.count()

    def new_run() -> Run:
        shutil.rmtree(place / "ledgers", ignore_errors=True)
        return Run(place / "ledgers" / f"ledger-{next(numbers)}", key)

    told = {
        "random": asdict(kills.at_random_moments(new_run, num_kills, random.Random(seed))),
        "calls": [asdict(kills.at_every_call(new_run)) for _ in range(sweeps)],
    }
    print(json.dumps(told))


main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
