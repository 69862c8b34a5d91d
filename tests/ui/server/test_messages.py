"""What visitors read of an error."""

import gradio as gr
import pytest

from rsctir_hf.errors import QueryError
from rsctir_hf.ui.server.events import told_to_visitors
from rsctir_hf.ui.server.messages import counted, without_folders


def test_messages_do_not_show_the_folders_of_the_server():
    text = "/tmp/gradio/ab12/pier 1.png is empty; see '/srv/models/x/config.json', or a/b."
    assert without_folders(text) == "pier 1.png is empty; see 'config.json', or a/b."


def test_an_error_of_the_library_is_told_without_folders_and_any_other_goes_through():
    with pytest.raises(gr.Error, match=r"^'pier.png is no upload'$"), told_to_visitors():
        raise QueryError("/srv/pictures/pier.png is no upload")
    with pytest.raises(gr.Error, match="&lt;script&gt;"), told_to_visitors():
        raise QueryError("rerank is <script>")
    with pytest.raises(KeyError), told_to_visitors():
        raise KeyError("/srv")


def test_a_number_agrees_with_its_noun():
    assert [counted(count, "tie") for count in (0, 1, 2)] == ["0 ties", "1 tie", "2 ties"]
