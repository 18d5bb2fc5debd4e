"""What is shipped: the wheel holds `auditor/` and nothing else, whole, and the sdist can build it."""

from __future__ import annotations

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import auditor


def _files(directory: Path) -> dict[str, bytes]:
    found = (path.relative_to(directory) for path in directory.rglob("*") if path.is_file())
    kept = (path for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts))
    return {path.as_posix(): (directory / path).read_bytes() for path in kept}


def test_the_wheel_has_one_package_at_top_level(wheel):
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert top == {"auditor", f"auditor-{auditor.__version__}.dist-info"}


def test_the_wheel_holds_every_file_of_the_package_of_configs_and_of_kernels_and_no_other(wheel, root):
    expected = {f"auditor/{name}": content for name, content in _files(root / "auditor").items()}
    for kind in ("configs", "kernels"):
        expected |= {f"auditor/_{kind}/{name}": content for name, content in _files(root / kind).items()}
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name: archive.read(name) for name in archive.namelist() if name.startswith("auditor/")}
    assert shipped.keys() == expected.keys()
    assert [name for name in expected if shipped[name] != expected[name]] == []
    assert any(name.startswith("auditor/_configs/rules/") for name in shipped)
    assert any(name.startswith("auditor/_configs/chips/") for name in shipped)
    assert any(name.startswith("auditor/_kernels/") for name in shipped)


def test_the_metadata_asks_an_inspector_for_two_packages_only(wheel):
    with zipfile.ZipFile(wheel) as archive:
        info = f"auditor-{auditor.__version__}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    required = metadata.get_all("Requires-Dist", [])
    always = {line.split(">")[0].lower() for line in required if "extra ==" not in line}
    assert always == {"pyyaml", "cryptography"}
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "train",
        "cuda",
        "html",
        "terminal",
        "qr",
        "postgres",
        "zstd",
        "parquet",
        "duckdb",
        "fuzz",
        "dev",
    }
    assert scripts.split("\n")[:2] == ["[console_scripts]", "auditor = auditor.cli.main:entry_point"]
    assert "Apache License" in licence
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_sdist_holds_what_builds_and_tests_it(sdist):
    with tarfile.open(sdist) as archive:
        names = {Path(name).relative_to(f"auditor-{auditor.__version__}").as_posix() for name in archive.getnames()}
    for needed in (
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "Makefile",
        ".ci/constraints.txt",
    ):
        assert needed in names
    assert "tests/packaging/conftest.py" in names
    assert "benchmarks/workloads/train_gpt.py" in names
    top = {name.split("/")[0] for name in names}
    assert top <= {
        "PKG-INFO", "docs", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "Makefile", ".ci", ".gitignore",
        "auditor", "configs", "kernels", "tests", "benchmarks",
    }  # fmt: skip
