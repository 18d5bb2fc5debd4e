"""The commands of the first screen: what they need is pinned, what continuous integration calls exists."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from pathlib import Path


def _pins(root: Path) -> dict[str, str]:
    lines = (root / ".ci" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    names = [canonicalize_name(name) for name, _ in pairs]
    assert len(set(names)) == len(names)
    return dict(zip(names, (version for _, version in pairs), strict=True))


def test_every_dependency_is_pinned_within_its_bounds(root):
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"].values()
    texts = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    pins = _pins(root)
    for requirement in map(Requirement, [*texts, *(text for extra in extras for text in extra)]):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_make_installs_the_pinned_torch_first(root):
    installs = re.findall(r"\$\(PIP\) install (.+)", (root / "Makefile").read_text(encoding="utf-8"))
    installs = [line for line in installs if "--target" not in line]  # a folder of its own, pinned in its own file
    assert installs[0] == f"torch=={_pins(root)['torch']}"
    assert all("$(CONSTRAINTS)" in line for line in installs[1:])


def test_what_continuous_integration_calls_exists(root):
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):(?!=)", makefile, re.MULTILINE))
    workflow = yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step.get("run", "") for job in workflow["jobs"].values() for step in job["steps"]]
    called = re.findall(r"make ([\w-]+)", "\n".join([*steps, (root / ".ci" / "run").read_text(encoding="utf-8")]))
    assert {"test", "bench"} <= set(called) <= targets


@pytest.mark.parametrize(("version", "code"), [((3, 10, 14), 2), ((3, 11, 0), 0)])
def test_an_old_python_is_refused_by_name(root, tmp_path, version, code):
    python = tmp_path / "python-of-old"
    pretend = f"import sys; sys.version_info = {version}; sys.version = '{'.'.join(map(str, version))} (old)'"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{pretend}; exec(sys.argv[1])" "$2"\n')
    python.chmod(0o755)
    command = ["make", "-s", "-C", str(root), "python-version", f"PYTHON={python}", "VENV="]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    if code:
        assert "needs Python 3.11 or newer" in done.stderr
        assert "3.10.14" in done.stderr
