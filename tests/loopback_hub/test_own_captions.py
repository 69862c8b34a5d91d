"""Page and notebook "Fine-tune on my captions", run as they stand, against a Hub of our own.

The model that ships is a tiny one here, the epochs are fewer and OWNER has a name. Of the app what
stands behind its page is opened.
"""

import json
import os
import re
import shlex
from types import SimpleNamespace

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.loopback_hub.conftest import WRITER, save_family
from tests.loopback_hub.repositories import MAIN

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "tasks" / "fine_tune.md"
NOTEBOOK = ROOT / "examples" / "fine_tune.ipynb"
OWNER, COMPANY = "writer", "org"  # of the page and of the notebook
FEW = ["--num_train_epochs", "1", "--report_to", "none"]
TRAINING = '"drawn by rsctir_hf"\n'  # ends the line of the page that trains
MOST_BYTES = 3_000_000  # of an adapter
OPEN_APP = """
import os, sys, time
from pathlib import Path
from rsctir_hf.ui.server.settings import parse_settings
from rsctir_hf.ui.server.workbench import Workbench
bench = Workbench(parse_settings(sys.argv[1:], os.environ, root=Path.cwd()))
bench.start()
while not bench.status.over:
    time.sleep(0.1)
print(bench.model, len(bench.retriever()), bench.retriever().search("boats", top_k=1)[0].path)
"""


def link_checkout(folder):
    """Make a folder look like the root of a clone with a tiny model; return variables."""
    for entry in ROOT.iterdir():
        if not entry.name.startswith((".", "outputs", "checkpoints")):
            (folder / entry.name).symlink_to(entry)
    save_family("cmpagl", folder / "checkpoints" / "cmpagl-rs", seed=1)
    return {"HF_HOME": str(folder / "_cache")}  # not in the package, which is linked here


def blocks():
    """Language and text of each block of code on the page, in order."""
    return re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def steps_of(root):
    """Return every block and line of the page as what ``run_commands`` takes, by its text."""
    (root / "open_app.py").write_text(OPEN_APP)
    steps = {}
    for number, (language, text) in enumerate(blocks()):
        if language == "python":
            name = f"block_{number}.py"
            (root / name).write_text(text.replace("OWNER", OWNER))
            steps[name] = [name]
            continue
        for line in text.splitlines(keepends=True):
            words = shlex.split(line.replace("OWNER", OWNER))
            if words[0] != "pip":  # needs a network
                steps[line] = command(words)
    return steps


def command(words):
    if words[:2] == ["python", "app.py"]:
        return ["open_app.py", *words[2:]]
    return [*words[1:], *FEW] if words[0] == "python" else words[1:]


@pytest.fixture(scope="module")
def page(hub, new_client):
    """What each block of the page has said, and where it has written."""
    client = new_client()
    cache = link_checkout(client.home)
    steps = steps_of(client.home)
    answers = client.commands(*steps.values(), token=WRITER, **cache)
    said = dict(zip(steps, answers, strict=True))
    failed = {step: answer.err for step, answer in said.items() if answer.code}
    assert not failed, failed

    def answer(part):
        (found,) = [said[step] for step in said if part in step]
        return found

    return SimpleNamespace(root=client.home, client=client, said=said, answer=answer)


def files_of(hub, kind, name):
    repository = hub.repository(kind, name)
    return repository, repository.commits[repository.branches[MAIN]]


def space_shows(client, space):
    """Open the app with what a Space is told; return its model and how many pictures it has."""
    told = space.variables | {"SPACE_ID": "any", "HF_HOME": str(client.home / "_space")}
    (opened,) = client.commands([told, "open_app.py"], token=WRITER)
    assert opened.code == 0, opened.err
    model, count, _ = opened.out.split()
    return model, int(count)


def test_the_one_command_says_what_it_does_and_ends_with_a_verdict(page):
    dry = page.answer("--dry_run").err
    assert "pictures by column file_name, captions by caption" in dry
    assert "my_captions, read as: " in dry and "Time:" in dry
    log = page.answer(TRAINING).err
    assert "My captions, training: " in log or "Validation of My captions" in log
    assert re.search(r"(Better|NOT better) than the base: mR .* on My captions", log)
    wanted = {"model.safetensors", "README.md", "results.json", "recipe.yaml", "report.html"}
    assert wanted <= set(os.listdir(page.root / "outputs" / "finetune"))


def test_the_last_lines_of_a_run_are_the_commands_of_the_page(page):
    printed = re.findall(r"^  ((?:rsctir|python) \S+)", page.answer(TRAINING).err, re.M)
    assert printed == ["rsctir evaluate", "rsctir index", "rsctir search", "python app.py",
                       "rsctir push"]  # fmt: skip
    on_the_page = {" ".join(shlex.split(step)[:2]) for step in page.said}
    assert set(printed) <= on_the_page


def test_the_last_lines_of_a_run_work_as_they_stand(page):
    printed = re.findall(r"^  ((?:rsctir|python) .+)", page.answer(TRAINING).err, re.M)
    steps = [command(shlex.split(line.replace("OWNER", OWNER))) for line in printed]
    answers = page.client.commands(*steps, token=WRITER, HF_HOME=str(page.root / "_cache"))
    assert not {line: each.err for line, each in zip(printed, answers, strict=True) if each.code}
    record = json.loads((page.root / "outputs" / "finetune" / "results.json").read_text())
    assert f"{record['validation'][0]['mR']:.2f}" in answers[0].out


def test_own_captions_are_pushed_with_what_their_owner_says_or_is_asked_for(hub, page):
    push = ["convert", "--data", "my_test", "--push", f"{OWNER}/my-test", "--private"]
    said = ["--data_licence", "cc-by-4.0", "--data_source", "drawn by rsctir_hf"]
    cards = []
    for more in ([], [*said, "--data_name", "My pictures"], ["--data_source", "somebody else"]):
        (answer,) = page.client.commands([*push, *more], token=WRITER)
        assert answer.code == 0, answer.err
        assert answer.out == f"{OWNER}/my-test: train 9 pictures.\n"
        repository, files = files_of(hub, "dataset", f"{OWNER}/my-test")
        cards.append(files["README.md"].content.decode())
    asked, complete, later = cards
    assert "# my_test" in asked and "please add `--data_source`" in asked
    assert "license:" not in asked and repository.private
    assert "# My pictures" in complete and "license: cc-by-4.0" in complete
    assert "Source: drawn by rsctir_hf. Licence: cc-by-4.0." in complete
    assert later == complete  # what is complete stays as it is
    (scored,) = page.client.commands(
        ["evaluate", "--model", "outputs/finetune", "--data", f"{OWNER}/my-test", "--split",
         "train", "--json"], token=WRITER,
    )  # fmt: skip
    assert json.loads(scored.out)["images"] == 9, scored.err


def test_the_adapter_is_small_and_searches(page):
    adapter = page.root / "outputs" / "adapter"
    size = sum(file.stat().st_size for file in adapter.glob("*.safetensors"))
    assert 0 < size <= MOST_BYTES
    assert "outputs/adapter" in (page.root / "outputs/adapter_index/index.json").read_text()
    assert len(page.answer("outputs/adapter_index --text").out.splitlines()) > 1


def test_the_model_is_scored_searched_with_and_shown(page):
    report = json.loads((page.root / "my_test.json").read_text())
    assert (report["images"], report["data"]) == (9, "my_test")
    assert any(re.match(r"mR \d", answer.out) for answer in page.said.values())
    model, count, path = page.answer("python app.py").out.split()
    assert model.endswith("outputs/finetune") and count == "25" and path.endswith(".jpg")


def test_the_page_publishes_model_and_pictures_and_a_space_that_shows_them(hub, page):
    model, files = files_of(hub, "model", f"{OWNER}/my-model")
    card = files["README.md"].content.decode()
    assert model.private and "My captions" in card and "cc-by-4.0" in card
    assert "my_test" in card and f"{OWNER}/my-model" in card
    assert "report.html" not in files and not [name for name in files if name.startswith("_")]
    space, _ = files_of(hub, "space", f"{OWNER}/my-search")
    assert space.private and space_shows(page.client, space) == (f"{OWNER}/my-model", 25)


@pytest.fixture(scope="module")
def notebook(hub, new_client):
    """The notebook after a run, with a name to publish under."""
    client = new_client()
    cache = link_checkout(client.home)
    book = nbformat.read(NOTEBOOK, as_version=4)
    (named,) = [cell for cell in book.cells if cell.source == 'owner = ""']
    named.source = f'owner = "{COMPANY}"'
    folder = {"metadata": {"path": str(client.home / "examples")}}
    environment = client.environment(HF_TOKEN=WRITER, PYTHONPATH=str(client.home), **cache)
    NotebookClient(book, timeout=900, resources=folder).execute(env=environment)
    return SimpleNamespace(root=client.home, client=client, cells=book.cells)


def printed(notebook, part):
    """Return what the cell with some code has printed."""
    (cell,) = [cell for cell in notebook.cells if part in cell.source and cell.cell_type == "code"]
    return "".join(output.get("text", "") for output in cell.outputs)


def test_the_notebook_trains_from_its_csv_and_shows_what_has_changed(notebook):
    assert "My captions" in printed(notebook, "--dry_run")
    log = printed(notebook, "main(command)")
    assert re.search(r"(Better|NOT better) than the base: mR .* on My captions", log)
    (shown,) = [cell for cell in notebook.cells if "<iframe" in cell.source]
    assert "&lt;svg" in shown.outputs[0].data["text/html"]
    assert len(printed(notebook, "top_k=3").splitlines()) >= 3


def test_the_notebook_publishes_what_it_has_made_under_the_name_it_is_given(hub, notebook):
    model, files = files_of(hub, "model", f"{COMPANY}/my-model")
    assert model.private and str(notebook.root) not in files["README.md"].content.decode()
    assert str(notebook.root) not in files["recipe.yaml"].content.decode()
    assert printed(notebook, "later = ").splitlines()[-1] == "True"
    space, _ = files_of(hub, "space", f"{COMPANY}/my-search")
    (notebook.root / "open_app.py").write_text(OPEN_APP)
    assert space.private and space_shows(notebook.client, space) == (f"{COMPANY}/my-model", 50)


def test_nothing_is_published_as_the_notebook_stands():
    book = nbformat.read(NOTEBOOK, as_version=4)
    publishing = [c.source for c in book.cells if re.search("push_|deploy_space\\(", c.source)]
    code = [text for text in publishing if "import" not in text]
    assert code and all(text.startswith("if owner:\n") for text in code)
    assert [cell.source for cell in book.cells].count('owner = ""') == 1
