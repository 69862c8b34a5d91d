"""results/README.md lists every results file, each with a command that can be run."""

import re
from dataclasses import fields
from pathlib import Path

from rsctir_hf.training.recipe_args import RetrievalTrainingArguments

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
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


def test_every_file_is_listed_and_every_name_in_the_list_is_a_file():
    assert not [file for file in FILES if not any(each.match(file) for each in PATTERNS)]
    assert not [each for each in PATTERNS if not any(each.match(file) for file in FILES)]


def test_every_command_can_be_given():
    refused = []
    for _, command in rows():
        if not re.search(r"\w\.(py|yaml)\b|rsctir |nox -s ", command):
            refused.append(command)
        sessions = re.findall(r"nox -s (\w+)", command)
        refused += [name for name in sessions if f"def {name}(session: nox.Session" not in NOXFILE]
        paths = re.findall(r"[\w/]+\.(?:py|yaml)", command)
        refused += [path for path in paths if not (ROOT / path).is_file()]
        said = re.split(r"`(?=python |OMP_|rsctir |nox )", command)[
            1:
        ]  # what adds a flag stands behind
        flags = [(script_of(each), flag) for each in said for flag in flags_of(each)]
        refused += [f"{script} --{flag}" for script, flag in flags if not knows(script, flag)]
    assert not refused


def script_of(command):
    """Return the script of a command, or the folder that holds the commands of ``rsctir``."""
    found = re.search(r"python ([\w/]+\.py)", command)
    return found[1] if found else "rsctir_cli"


def flags_of(command):
    return re.findall(r"--([a-z-]+)", command)


def knows(script, flag):
    """Whether a script defines a flag itself or takes its parser from a module beside it."""
    if script == "training/run.py":  # fields of dataclasses, ours and those of transformers
        return flag in {field.name for field in fields(RetrievalTrainingArguments)}
    if script == "rsctir_cli":  # typer: parameters of functions
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


def test_a_script_names_the_file_that_it_is_said_to_write():
    assert not [(name, script) for name, script in NAMED if name not in source_of(script)]


def test_flags_of_another_script_are_noticed():
    assert knows("benchmarks/faults.py", "output") and not knows("benchmarks/faults.py", "data")
    assert knows("training/run.py", "seed") and not knows("training/run.py", "sead")
    assert knows("rsctir_cli", "rerank") and not knows("rsctir_cli", "re-rank")


def test_a_file_that_nobody_lists_would_be_noticed():
    assert not any(each.match("made_up.json") for each in PATTERNS)
    assert any(each.match("first/anything.json") for each in PATTERNS)
