"""What is released: version, notes of a tag, citation, and what wheel and sdist hold."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from release_notes import release_notes

from tests.test_packaging import PROJECT, README, ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
BUILD = "from setuptools import build_meta as b; b.build_sdist('out'); b.build_wheel('out')"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of a copy of the checkout, as lists of names."""
    copy = tmp_path_factory.mktemp("build") / "checkout"
    left = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "*.safetensors", "build")
    shutil.copytree(ROOT, copy, ignore=left)
    subprocess.run([sys.executable, "-c", BUILD], cwd=copy, check=True, capture_output=True)
    [wheel], [sdist] = (copy / "out").glob("*.whl"), (copy / "out").glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive, tarfile.open(sdist) as other:
        files = [Path(each.name) for each in other.getmembers() if each.isfile()]
        names = ["/".join(file.parts[1:]) for file in files]
        return archive.namelist(), names


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_package_and_nothing_of_the_workshop(built):
    wheel, sdist = built
    record = f"rsctir_hf-{PROJECT['version']}.dist-info"
    assert {name.split("/")[0] for name in wheel} == {"rsctir_hf", "rsctir_cli", record}
    folders = {"rsctir_hf", "rsctir_cli", "rsctir_hf.egg-info", "docs"}
    files = {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "MANIFEST.in"}
    files |= {"pyproject.toml", "setup.cfg", "PKG-INFO"}
    assert {name.split("/")[0] for name in sdist} == folders | files
    assert [name for name in sdist if name.startswith("docs/")] == [PROJECT["readme"]]
    for names in built:
        assert {"rsctir_hf/py.typed", "rsctir_hf/ui/app.css"} <= set(names)
        assert sum(name.startswith("rsctir_hf/sample/scenes/") for name in names) == 201


@pytest.mark.slow
def test_the_script_prints_the_notes_of_a_tag():
    version = PROJECT["version"]
    command = [sys.executable, ROOT / "docs" / "release_notes.py", f"v{version}", "--unreleased"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == release_notes(f"v{version}", CHANGELOG, version=version, unreleased=True)
    done = subprocess.run([*command[:2], "v9"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1) and "'v9'" in done.stderr


def test_the_notes_of_a_tag_are_its_section_alone():
    text = "# Changelog\n\nAbout.\n\n## 1.1.0 (today)\n\n### Added\n- B.\n\n## 1.0.0\n\n- A.\n"
    assert release_notes("v1.1.0", text, version="1.1.0") == "### Added\n- B.\n"
    assert release_notes("v1.0.0", text, version="1.0.0") == "- A.\n"
    for tag in ("v1.2.0", "1.1.0", "", "v"):
        with pytest.raises(ValueError, match=r"expected one of v1\.1\.0, v1\.0\.0"):
            release_notes(tag, text, version="1.1.0")


def test_a_tag_of_another_version_and_an_unreleased_section_are_refused():
    text = "## 1.1.0 (unreleased)\n\n- B (unreleased).\n\n## 1.0.0 (today)\n\n- A (unreleased).\n"
    with pytest.raises(ValueError, match=r"'v1\.0\.0' is not the version .* 1\.1\.0"):
        release_notes("v1.0.0", text, version="1.1.0")
    with pytest.raises(ValueError, match="add --unreleased"):
        release_notes("v1.1.0", text, version="1.1.0")
    notes = release_notes("v1.1.0", text, version="1.1.0", unreleased=True)
    assert notes == "- B (unreleased).\n"
    assert release_notes("v1.0.0", text, version="1.0.0") == "- A (unreleased).\n"


def test_the_citation_is_of_this_version_and_names_the_papers_of_the_readme():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    papers = {each["identifiers"][0]["value"] for each in citation["references"]}
    assert papers == set(re.findall(r"arXiv:\d+\.\d+", README))


def test_ci_makes_sdist_and_wheel_and_uses_the_wheel():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "python -m build" in script and "python .ci/wheel_smoke.py" in script


def test_ci_prints_the_notes_where_head_is_tagged():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "git tag --points-at HEAD" in script
    assert 'python docs/release_notes.py "$tag"' in script
    assert '" print_release_notes\n' in script
