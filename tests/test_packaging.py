"""What a newcomer meets first: README commands, Space settings, requirements, versions, sizes."""

import re
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from rsctir_cli.main import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
COMMANDS = re.findall(r"```bash\n(.*?)\n```", README, flags=re.DOTALL)
PAGES = [
    ROOT / "README.md",
    ROOT / "training" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
TEXT_SUFFIXES = {"", ".cfg", ".json", ".jsonl", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
MEGABYTE = 1_000_000
WEIGHTS_LIMIT = 130 * MEGABYTE
# Written in parts, or this file would hold what it looks for.
MACHINE_PATHS = ("/" + "work/", "/" + "opt/pypi")
REGISTRY_HOSTS = ("pypi" + ".org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian")


def requirements(lines):
    return {r.name: r for r in map(Requirement, lines)}


@pytest.fixture(scope="module")
def tracked_files():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files belong to it is unknown")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


def test_readme_opens_with_one_line_that_starts_the_demo_and_one_that_passes_the_tests():
    demo, tests = COMMANDS[:2]
    for command in (demo, tests):
        assert "\n" not in command
        venv, install, last = command.split(" && ")
        assert venv == "python3 -m venv .venv"
        assert install.startswith(".venv/bin/pip install ")
        assert last.startswith(".venv/bin/python ")
        extras = re.search(r'"\.\[(.+)\]"', install).group(1).split(",")
        assert set(extras) <= set(PROJECT["optional-dependencies"])
    assert demo.endswith(" app.py")
    assert tests.endswith(" -m pytest")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_files_that_commands_of_a_page_name_exist(page):
    commands = "\n".join(commands_of(page))
    named = re.findall(r"python (\S+\.py)|training/run\.py (\S+\.yaml)", commands)
    files = {name for pair in named for name in pair if name}
    if page == ROOT / "README.md":
        assert {"app.py", "training/run.py"} <= files
    assert [name for name in sorted(files) if not (ROOT / name).is_file()] == []


def commands_of(page):
    return re.findall(r"```bash\n(.*?)\n```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_command_lines_of_a_page_use_options_that_exist(page):
    commands = typer.main.get_command(app).commands
    text = "\n".join(commands_of(page))
    lines = [line.split() for line in text.splitlines() if "rsctir " in line[:7]]
    if page.stem == "command_line":
        assert {line[1] for line in lines} == set(commands)
    for _, name, *words in lines:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, name


def test_ci_runs_the_test_command_of_the_readme_on_all_tests_and_lets_nothing_skip():
    command = COMMANDS[1].rsplit(".venv/bin/", 1)[-1]
    last = CI.strip().splitlines()[-1]
    assert last.startswith(f'RSCTIR_REQUIRE_ALL=1 {command} -m ""')
    extras = re.search(r'"\.\[(.+?)\]"', COMMANDS[1]).group(1)
    assert f'".[{extras},dev,docs]"' in CI


def test_space_settings_name_the_app_and_versions_the_package_admits():
    settings = yaml.safe_load(README.split("---\n")[1])
    core_and_app = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["app"]
    assert settings["sdk"] == "gradio"
    assert requirements(core_and_app)["gradio"].specifier.contains(settings["sdk_version"])
    assert f">={settings['python_version']}" == PROJECT["requires-python"]
    assert (ROOT / settings["app_file"]).is_file()
    assert len(settings["short_description"]) <= 60  # the Hub refuses longer ones


def test_a_space_installs_the_core_and_the_app_extra_and_pins_no_gradio():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    core_and_app = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["app"]
    assert requirements(listed) == requirements(core_and_app)
    assert "==" not in str(requirements(listed)["gradio"].specifier)


def test_the_long_description_is_a_text_that_stands_alone():
    text = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    assert text.startswith("# ")  # and not with the settings of a Space
    assert all("://" in link for link in re.findall(r"\]\(([^)]+)\)", text))
    named = set(re.findall(r"`(\w+)`", text.split("Extras: ")[1].split("\n\n")[0]))
    assert named <= set(PROJECT["optional-dependencies"])


def test_changelog_and_installed_package_agree_on_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(PROJECT['version'])}\b", changelog, flags=re.MULTILINE)
    try:
        installed = version("rsctir_hf")
    except PackageNotFoundError:
        pytest.skip("run from a checkout that was never installed")
    assert installed == PROJECT["version"]


def test_no_file_names_a_machine_of_ours_or_a_package_registry(tracked_files):
    found = [
        f"{file.relative_to(ROOT)}: {word}"
        for file in tracked_files
        if file.suffix in TEXT_SUFFIXES
        for word in (*MACHINE_PATHS, *REGISTRY_HOSTS)
        if word in file.read_text(encoding="utf-8", errors="replace")
    ]
    assert found == []


def test_weights_in_git_stay_within_their_size():
    sizes = [file.stat().st_size for file in ROOT.glob("checkpoints/*/*.safetensors")]
    assert sum(sizes) <= WEIGHTS_LIMIT
