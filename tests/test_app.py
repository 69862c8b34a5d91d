"""The endpoints, through gradio_client and as MCP tools, on app.py in its own process."""

import ast
import asyncio
import base64

import pyarrow.parquet as pq
import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'app'")

from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from tests.app_server import running_app
from tests.ui.bad_uploads import write_bad, write_good
from tests.ui.tiny_models import save_launch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    flags = [*save_launch(folder), "--mcp"]
    with running_app(flags, folder / "log.txt") as url:
        yield folder, Client(url, verbose=False)


def test_words_find_pictures(launch):
    _, client = launch
    answer = client.predict("boats moored beside a pier", "smr", 4, api_name="/text_to_image")
    assert [hit["rank"] for hit in answer["results"]] == [1, 2, 3, 4]
    assert answer["results"][0]["file"].startswith("block_")
    assert answer["model"] == "cmpagl"


def test_a_picture_finds_sentences_pictures_and_regions(launch):
    folder, client = launch
    picture = handle_file(folder / "gallery" / "block_03.png")
    sentences = client.predict(picture, api_name="/image_to_text")
    assert len(sentences["results"]) == 5
    pictures = client.predict(picture, api_name="/image_to_image")
    assert pictures["results"][0]["file"] == "block_03.png"
    assert pictures["results"][0]["score"] == pytest.approx(1, abs=1e-4)
    graph = client.predict(picture, api_name="/region_graph")
    assert {"x1", "salience", "kept"} <= set(graph["nodes"][0])


def test_language_models_find_the_same_answers_as_tools(launch):
    folder, client = launch
    picture = folder / "gallery" / "block_03.png"
    data = f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"

    async def ask():
        address = f"{client.src.rstrip('/')}/gradio_api/mcp/"
        async with (
            streamablehttp_client(address) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            query = {"query": "boats moored beside a pier", "top_k": 3}
            return (
                await session.list_tools(),
                await session.call_tool("find_pictures", query),
                await session.call_tool("region_graph", {"picture": data}),
            )

    listed, answer, graph = asyncio.run(ask())
    tools = {tool.name: tool for tool in listed.tools}
    names = {"find_pictures", "find_sentences", "find_similar_pictures", "region_graph"}
    names |= {"find_composed", "list_filters", "search_again", "export_pictures", "find_by_labels"}
    assert set(tools) == names
    for tool in tools.values():
        assert len(tool.description) > 40
        assert all(given["description"] for given in tool.inputSchema["properties"].values())
    expected = client.predict("boats moored beside a pier", "none", 3, api_name="/text_to_image")
    # gradio writes the mapping as a Python literal
    assert ast.literal_eval(answer.content[0].text)["results"] == expected["results"]
    expected = client.predict(handle_file(picture), api_name="/region_graph")
    assert ast.literal_eval(graph.content[0].text)["nodes"] == expected["nodes"]


def test_a_program_drives_the_loop_from_words_to_a_file(launch):
    _, client = launch
    listed = client.predict("", api_name="/filters")
    assert {"name": "category", "count": 20}.items() <= listed["columns"][0].items()
    asked = ("boats\nnot: two tennis courts", None, "category=test_block", "all", 3)
    found = client.predict(*asked, api_name="/composed_query")["results"]
    good, bad, new = (hit["name"] for hit in found)
    learnt = client.predict("boats", good, bad, "", "", 20, api_name="/marks")
    rest = {hit["name"] for hit in learnt["results"]}
    assert len(rest) == 18 and new in rest and not {good, bad} & rest
    again = client.predict("", "", new, learnt["concept"], "", 20, api_name="/marks")
    assert len(again["results"]) == 17
    file = client.predict(f"{good} | the first\n{new}", "geoparquet", "two", api_name="/export")
    assert pq.read_table(file)["note"].to_pylist() == ["the first", ""]
    with pytest.raises(AppError, match="no picture gone"):
        client.predict("", "gone.png", "", "", "", 5, api_name="/marks")


def test_bad_input_is_refused_with_words_and_the_app_stays_up(launch, tmp_path):
    _, client = launch
    with pytest.raises(AppError, match="query is empty"):
        client.predict("", api_name="/text_to_image")
    for path in write_bad(tmp_path):
        with pytest.raises(AppError) as caught:
            client.predict(handle_file(path), api_name="/image_to_text")
        assert path.name in str(caught.value)
        assert "Traceback" not in str(caught.value)
    assert client.predict("🚤", api_name="/text_to_image")["hint"]


def test_unusual_pictures_are_answered(launch, tmp_path):
    _, client = launch
    for path in write_good(tmp_path):
        answer = client.predict(handle_file(path), api_name="/image_to_text")
        assert len(answer["results"]) == 5, path.name


def test_a_launch_without_its_model_shows_a_page_that_says_so(tmp_path):
    (tmp_path / "bank.txt").write_text("a pier\n")
    flags = ["--model", str(tmp_path / "absent-model"), "--bank", str(tmp_path / "bank.txt")]
    with running_app(flags, tmp_path / "log.txt") as url:
        client = Client(url, verbose=False)
        with pytest.raises(AppError, match="absent-model"):
            client.predict("a pier", api_name="/text_to_image")
