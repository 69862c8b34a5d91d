"""results/README.md lists every results file, each with a command that can be run."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from rsctir_hf.training.recipe_args import RetrievalTrainingArguments

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
#: What stands for a name in the list.
STANDS_FOR = {"NAME": r"[\w-]+?", "MODEL": r"[\w-]+?", "RERANK": r"[a-z]+", "...": r"[\w.-]+"}


def rows():
    """Return (files, command) of each row of the list."""
    text = (RESULTS / "README.md").read_text(encoding="utf-8").split("\n## ")[0]
    cells = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`([^`]+)`", row[0]), row[-1]) for row in cells]


def pattern(listed):
    """Return what fits the files that a name in the list stands for."""
    whole = re.escape(listed)
    for name, fits in STANDS_FOR.items():
        whole = whole.replace(re.escape(name), fits)
    return re.compile(whole + ("" if listed.endswith("/") else "$"))


PATTERNS = [pattern(listed) for names, _ in rows() for listed in names]
FILES = sorted(
    path.relative_to(RESULTS).as_posix()
    for path in RESULTS.rglob("*")
    if path.suffix in (".json", ".svg")
)


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_listed(file):
    assert any(each.match(file) for each in PATTERNS)


@pytest.mark.parametrize("listed", [name for names, _ in rows() for name in names])
def test_every_name_in_the_list_is_a_file(listed):
    assert any(pattern(listed).match(file) for file in FILES)


@pytest.mark.parametrize("command", [command for _, command in rows()])
def test_every_command_can_be_given(command):
    assert re.search(r"\w\.(py|yaml)\b|rsctir |nox -s ", command)
    for session in re.findall(r"nox -s (\w+)", command):
        assert f"def {session}(session: nox.Session" in (ROOT / "noxfile.py").read_text()
    for path in re.findall(r"[\w/]+\.(?:py|yaml)", command):
        assert (ROOT / path).is_file(), path
    said = re.split(r"`(?=python |OMP_|rsctir |nox )", command)[
        1:
    ]  # what adds a flag stands behind
    for script, flag in [(script_of(each), flag) for each in said for flag in flags_of(each)]:
        assert knows(script, flag), f"{script} has no --{flag}"


def script_of(command):
    """Return the script of a command, or the folder that holds the commands of ``rsctir``."""
    found = re.search(r"python ([\w/]+\.py)", command)
    return found[1] if found else "rsctir_hf/cli"


def flags_of(command):
    return re.findall(r"--([a-z-]+)", command)


def knows(script, flag):
    """Whether a script defines a flag itself or takes its parser from a module beside it."""
    if script == "training/run.py":  # fields of dataclasses, ours and those of transformers
        return flag in {field.name for field in fields(RetrievalTrainingArguments)}
    if script == "rsctir_hf/cli":  # typer: parameters of functions
        sources = [path.read_text(encoding="utf-8") for path in (ROOT / script).glob("*.py")]
        return any(f"{flag.replace('-', '_')}:" in each for each in sources)
    return f'"--{flag}"' in source_of(script)


def source_of(script):
    """Return the text of a benchmark and of those that it imports."""
    text = (ROOT / script).read_text(encoding="utf-8")
    beside = [f"benchmarks/{name}.py" for name in re.findall(r"^from (\w+) import", text, re.M)]
    return text + "".join(source_of(each) for each in beside if (ROOT / each).is_file())


#: Files whose whole name the script knows: no model's name, which has a hyphen, is part of it.
NAMED = [
    (name, "noxfile.py" if "nox -s" in command else script_of(command))
    for names, command in rows()
    for name in names
    if re.search("python benchmarks/|nox -s", command)
    and re.fullmatch(r"[a-z_]+\.(json|svg)", name)
]


@pytest.mark.parametrize(("name", "script"), NAMED)
def test_a_script_names_the_file_that_it_is_said_to_write(name, script):
    assert name in source_of(script)


def test_flags_of_another_script_are_noticed():
    assert knows("benchmarks/faults.py", "output") and not knows("benchmarks/faults.py", "data")
    assert knows("training/run.py", "seed") and not knows("training/run.py", "sead")
    assert knows("rsctir_hf/cli", "rerank") and not knows("rsctir_hf/cli", "re-rank")


def test_a_file_that_nobody_lists_would_be_noticed():
    assert not any(each.match("made_up.json") for each in PATTERNS)
    assert any(each.match("first/anything.json") for each in PATTERNS)
