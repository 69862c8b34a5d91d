"""What a Space needs of a checkout, and that the app runs from exactly that."""

import re

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

from gradio_client import Client

from rsctir_cli.commands import DeploySpace
from rsctir_hf.cli.hub import deploy_space
from rsctir_hf.errors import DataLayoutError, QueryError
from rsctir_hf.hub.space import VARIABLES, copy_space, space_parts
from rsctir_hf.sample import VECTORS_FOLDER
from rsctir_hf.ui.server import settings
from tests.app_server import running_app
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "app.md").read_text(encoding="utf-8")
MODELS = {"checkpoints/cmpagl-rs", "checkpoints/galr-rs"}


@pytest.fixture(scope="module")
def space(tmp_path_factory, all_checkpoints):
    folder = tmp_path_factory.mktemp("space")
    return folder, copy_space(folder, space_parts({}))


def test_a_space_holds_the_app_its_models_and_nothing_of_the_workshop(space):
    _, files = space
    assert {name.split("/")[0] for name in files} == {
        *("README.md", "LICENSE", "app.py", "requirements.txt", "rsctir_hf", "checkpoints")
    }
    assert {"/".join(n.split("/")[:2]) for n in files if n.startswith("checkpoints/")} == MODELS
    assert {"rsctir_hf/ui/app.css", "rsctir_hf/sample/caption_bank.txt"} <= set(files)
    assert sum(name.startswith("rsctir_hf/sample/scenes/") for name in files) == 201
    assert not [name for name in files if "__pycache__" in name or "/." in name]


def test_the_vectors_of_bank_and_drawn_scenes_come_along(space):
    shipped = {f"rsctir_hf/sample/vectors/{file.name}" for file in VECTORS_FOLDER.iterdir()}
    assert len(shipped) == 6
    assert shipped <= set(space[1])


@pytest.mark.slow
def test_the_app_answers_a_search_from_the_files_of_a_space_alone(space, tmp_path):
    folder, _ = space
    (folder / "rsctir_cli.py").write_text("raise ImportError('a Space has no command line')")
    with running_app([], tmp_path / "log.txt", root=folder) as url:
        client = Client(url, verbose=False)
        answer = client.predict("some planes at the airport", api_name="/text_to_image")
    assert len(answer["results"]) == 5
    assert answer["model"] == "cmpagl-rs"


def test_checkpoints_that_variables_name_come_along_and_the_others_stay(all_checkpoints):
    def models(**variables):
        parts = space_parts({f"RSCTIR_{key}": value for key, value in variables.items()})
        return [part.split("/")[1] for part in parts if part.startswith("checkpoints/")]

    assert models(MODEL="checkpoints/galr-rs") == ["galr-rs"]
    assert models(MODEL="org/model", REGION_MODEL="") == []
    with_detector = models(REGIONS="checkpoints/overhead-rsod")
    assert with_detector == ["cmpagl-rs", "galr-rs", "overhead-rsod"]


def test_what_cannot_become_a_space_is_refused(tmp_path):
    with pytest.raises(DataLayoutError, match=r"no README.md in .* made from a checkout"):
        space_parts({}, checkout=tmp_path)
    with pytest.raises(DataLayoutError, match="no checkpoints/mine in"):
        space_parts({"RSCTIR_MODEL": "checkpoints/mine"})
    with pytest.raises(QueryError, match=r"no variable RSCTIR_GALERY. Known: RSCTIR_MODEL"):
        space_parts({"RSCTIR_GALERY": "sample"})


@pytest.mark.parametrize(
    "name",
    [
        ".",
        "checkpoints",
        "checkpoints/..",
        "checkpoints/../tests",
        "/models/mine",
        "../mine",
        "~/m",
    ],
)
def test_a_folder_that_a_space_would_not_hold_is_refused(name):
    with pytest.raises(QueryError, match=r"RSCTIR_REGIONS is '.*Expected checkpoints/NAME"):
        space_parts({"RSCTIR_REGIONS": name})


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("RSCTIR_GALLERY", "my_pictures", "would not hold. Expected 'sample' or the id"),
        ("RSCTIR_BANK", "sentences.txt", "names a file, which a Space would not hold"),
        ("RSCTIR_MCP", "yes", "expected one of 0, false, 1, true"),
        ("RSCTIR_NO_CACHE", "no", "RSCTIR_NO_CACHE is 'no'; expected one of 0, false, 1, true"),
        ("RSCTIR_MODEL", "", "RSCTIR_MODEL is empty"),
    ],
)
def test_a_value_that_would_not_work_on_a_space_is_refused(variable, value, said):
    with pytest.raises(QueryError, match=said):
        space_parts({variable: value})


def test_a_dry_run_lists_the_files_and_uploads_nothing(space, capsys):
    deploy_space(DeploySpace(repo="org/demo", dry_run=True, variables=["OTHER=1=2"]))
    *listed, total = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in listed] == space[1]
    assert total.startswith(f"{len(listed)} files, ")


def test_the_page_of_the_app_lists_the_environment_variables_of_the_app():
    listed = re.findall(r"^\| `(RSCTIR_\w+)` \|", PAGE, flags=re.MULTILINE)
    assert tuple(listed) == VARIABLES


def test_every_variable_that_the_settings_read_is_named_and_in_the_help():
    source = (ROOT / "rsctir_hf" / "ui" / "server" / "settings.py").read_text(encoding="utf-8")
    assert set(re.findall(r"RSCTIR_[A-Z_]*[A-Z]", source)) == set(VARIABLES)
    shown = settings._parser({}, ROOT).format_help()
    assert [name for name in VARIABLES if name not in shown] == []
