"""Both distributions, built for real, and the wheel installed twice: for a trainer and for an inspector."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(sysconfig.get_path("purelib"))
INSPECTORS_NEED = ("yaml", "_yaml", "cryptography", "cffi", "_cffi_backend*", "pycparser")


@dataclass(frozen=True)
class Environment:
    """A virtual environment outside the checkout."""

    directory: Path

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def site(self) -> Path:
        return next(self.directory.glob("lib/python3*/site-packages"))

    def run(self, *command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``auditor ...`` or ``python ...`` of this environment."""
        program = str(self.directory / "bin" / command[0])
        path = {"PATH": f"{self.directory / 'bin'}:/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [program, *command[1:]],
            cwd=cwd,
            env=path | environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def distributions(tmp_path_factory) -> Path:
    """The directory with the sdist and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("distributions")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    return out


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    (found,) = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def sdist(distributions: Path) -> Path:
    (found,) = distributions.glob("*.tar.gz")
    return found


def _with_wheel(directory: Path, wheel: Path) -> Environment:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True, timeout=120)
    environment = Environment(directory)
    install = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--python", str(environment.python), *install]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    return environment


@pytest.fixture(scope="session")
def trainer(tmp_path_factory, wheel: Path) -> Environment:
    """The wheel beside everything that the tests run with, but without the checkout."""
    environment = _with_wheel(tmp_path_factory.mktemp("trainer"), wheel)
    # A path named in a .pth file is searched; .pth files in it, such as an editable install's, are not read.
    (environment.site / "tests_run_with.pth").write_text(f"{SITE}\n")
    return environment


@pytest.fixture(scope="session")
def inspector(tmp_path_factory, wheel: Path) -> Environment:
    """The wheel and what it depends on, no more: torch is not there."""
    environment = _with_wheel(tmp_path_factory.mktemp("inspector"), wheel)
    for pattern in INSPECTORS_NEED:
        for found in SITE.glob(pattern):
            (environment.site / found.name).symlink_to(found)
    return environment
