"""Fuzzes the verifier with atheris: ``fuzzing_program.py SECONDS WORK_DIR CASE_DIR``.

A case that raises anything but the project's own errors, takes more than ten seconds or too much memory ends it; what
it was lies in WORK_DIR. The corpus grows there from the seeds in ``corpus``; each case is a ledger in CASE_DIR.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import atheris

with atheris.instrument_imports(include=["auditor.ledger", "auditor.lines", "auditor.operations", "auditor.tally"]):
    import auditor.ledger  # noqa: F401

from tests.ledger.mutations import golden, judge, mutant

_MOST_MIB = 512
_MOST_S = 10


def main(seconds: int, work: Path, place: Path) -> None:
    place /= "case"
    golden()

    def one(data: bytes) -> None:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        judge(mutant(data), place)

    (work / "corpus").mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-timeout={_MOST_S}", f"-rss_limit_mb={_MOST_MIB}", "-max_len=120"]
    places = [f"-artifact_prefix={work}/", str(work / "corpus"), str(Path(__file__).with_name("corpus"))]
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", *places], one)
    atheris.Fuzz()


main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
