"""Use a wheel as somebody who has no clone does: beside its dependencies alone, in a new folder.

    python .ci/wheel_smoke.py WHEEL MODEL_FOLDER

Downloading torch again would take minutes. The environment made here is empty but for links to what
the wheel's own dependencies, and theirs, have installed in the environment that runs this; extras
and the editable install are out of its sight.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

PROBE = """
import importlib.util, json, sys
from pathlib import Path
import rsctir_cli, rsctir_hf
from rsctir_hf.sample import read_caption_bank, sample_folder
print(json.dumps({
    "files": [rsctir_cli.__file__, rsctir_hf.__file__],
    "typed": Path(rsctir_hf.__file__).with_name("py.typed").is_file(),
    "scenes": len(list(sample_folder().rglob("*.jpg"))),
    "sentences": len(read_caption_bank()),
    "strangers": [name for name in ("gradio", "rasterio", "drawn_scenes", "training", "tests")
                  if importlib.util.find_spec(name)],
}))
"""


def main(wheel: Path, model: Path) -> None:
    """Make the environment, install the wheel in it, and go the way of a newcomer."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = folder / "env"
        venv.create(environment, with_pip=False)
        python = environment / "bin" / "python"
        site = next((environment / "lib").glob("python*/site-packages"))
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        run(*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel), cwd=folder)
        print(f"{link_dependencies(site)} distributions beside the wheel")
        run(*pip, "check", cwd=folder)
        check_package(json.loads(run(str(python), "-c", PROBE, cwd=folder)), site)
        check_commands(environment / "bin" / "rsctir", model, folder)


def link_dependencies(site: Path) -> int:
    """Link the files of all that the wheel needs into a folder; return how many distributions."""
    [record] = site.glob("rsctir_hf-*.dist-info/METADATA")
    lines = re.findall(r"^Requires-Dist: (.*)$", record.read_text(encoding="utf-8"), re.MULTILINE)
    waiting, linked = [(Requirement(line), frozenset[str]()) for line in lines], set[str]()
    seen = set[tuple[str, frozenset[str]]]()
    while waiting:
        needed, asked_by = waiting.pop()
        if needed.marker and not any(
            needed.marker.evaluate({"extra": extra}) for extra in asked_by or {""}
        ):
            continue
        key = needed.name.lower(), frozenset(needed.extras)
        if key in seen:
            continue
        seen.add(key)
        try:
            found = distribution(needed.name)
        except PackageNotFoundError:
            sys.exit(f"{needed} is needed and not installed here")
        linked.add(needed.name.lower())
        for file in found.files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))).resolve())
        waiting += [(Requirement(line), frozenset(needed.extras)) for line in found.requires or ()]
    return len(linked)


def check_package(found: dict[str, Any], site: Path) -> None:
    """Refuse a wheel that lacks package data, or another package than the wheel's."""
    print(f"wheel: {found['scenes']} drawn scenes, {found['sentences']} sentences")
    for file in found["files"]:
        if site.resolve() not in Path(file).resolve().parents:
            sys.exit(f"looked at {file} instead of the wheel")
    if found["strangers"]:
        sys.exit(f"the environment holds more than the wheel needs: {found['strangers']}")
    if not found["typed"] or found["scenes"] < 200 or found["sentences"] < 1000:
        sys.exit("the wheel lacks package data")


def check_commands(rsctir: Path, model: Path, folder: Path) -> None:
    """Index the gallery and search it; without a model at hand, expect to hear where models are."""
    print(run(str(rsctir), "--help", cwd=folder).strip().splitlines()[0].strip())
    index = ["index", "--images", "sample", "--index", "gallery", "--model"]
    check_hint(run(str(rsctir), *index, "checkpoints/cmpagl-rs", cwd=folder, code=2))
    print(run(str(rsctir), *index, str(model), cwd=folder).strip())
    search = ["search", "--index", "gallery", "--text", "planes at an airport"]
    hits = run(str(rsctir), *search, cwd=folder).splitlines()
    print(hits[0])
    if len(hits) != 5 or "airport" not in hits[0]:
        sys.exit(f"expected five pictures, airports first: {hits}")
    absent = ["search", "--index", "gallery", "--model", "checkpoints/galr-rs", "--text", "x"]
    check_hint(run(str(rsctir), *absent, cwd=folder, code=2))


def check_hint(said: str) -> None:
    """Refuse an error about a model that is not there unless it says, in a line, where some are."""
    if "OWNER/NAME" not in said or "git clone --depth 1" not in said or said.count("\n") != 1:
        sys.exit(f"nobody learns from this where models are: {said}")


def run(*command: str, cwd: Path, code: int = 0) -> str:
    """Run a command outside of the clone; return what it printed, of an expected error that."""
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stderr if code else done.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
