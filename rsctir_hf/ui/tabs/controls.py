"""What the tabs have alike: the box for words, the rerank, the panel of the open result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rsctir_hf.ui.server.events import PRIVATE, Trigger
from rsctir_hf.ui.views.results import NO_RERANK, RERANK_NAMES

_RERANK_HELP = (
    "SMR and MR also ask how well each picture fits other sentences, so that pictures "
    "that fit everything move down."
)
_MATCH_HELP = " Match reads picture and sentence together."
_INTO_VIEW = "() => document.querySelector('#{id}')?.scrollIntoView({{block: 'nearest'}})"


@dataclass(frozen=True)
class QueryBox:
    """Where a visitor types words.

    Attributes:
        words: the input.
        asked: what to bind an answer to: Enter, the button, an example that was taken.
    """

    words: gr.Textbox
    asked: tuple[Trigger, ...]


def build_query_box(
    label: str, examples: Sequence[str], prefix: str, *, min_width: int, autofocus: bool = False
) -> QueryBox:
    """Place an input with its button and, below them, examples that ask when clicked.

    Args:
        label: of the input.
        examples: the first stands in the empty input.
        prefix: of the ids, which end in ``-query`` and ``-go``.
        min_width: of the input, twice that of the button, in pixels.
        autofocus: the page opens with the cursor here.
    """
    with gr.Row(elem_classes="rs-ask", equal_height=True):
        words = gr.Textbox(
            label=label,
            placeholder=examples[0],
            max_lines=1,
            scale=5,
            min_width=min_width,
            elem_id=f"{prefix}-query",
            autofocus=autofocus,
        )
        button = gr.Button(
            "Search", variant="primary", scale=0, min_width=min_width // 2, elem_id=f"{prefix}-go"
        )
    with gr.Row(elem_classes="rs-chips"):
        chips = [gr.Button(text, size="sm", elem_classes="rs-chip") for text in examples]
    taken = [
        chip.click(lambda text: text, chip, words, queue=False, **PRIVATE).then for chip in chips
    ]
    return QueryBox(words, (words.submit, button.click, *taken))


def build_rerank(elem_id: str, **options: Any) -> gr.Radio:  # noqa: ANN401 - gradio's own
    """Place the rerank switch, without *Match* until the model is known to have it."""
    return gr.Radio(
        rerank_choices(can_match=False),
        value=NO_RERANK,
        label="Rerank",
        info=_RERANK_HELP,
        elem_id=elem_id,
        **options,
    )


def rerank_update(*, can_match: bool) -> Any:  # noqa: ANN401 - a gradio update
    """Offer what the loaded model can do."""
    info = _RERANK_HELP + (_MATCH_HELP if can_match else "")
    return gr.update(choices=rerank_choices(can_match=can_match), info=info)


def rerank_choices(*, can_match: bool) -> list[tuple[str, str]]:
    """Return the rerank switch's (name, value) pairs; *Match* only where the model can."""
    pairs = [(name, value) for value, name in RERANK_NAMES.items()]
    return pairs if can_match else pairs[:-1]


@dataclass(frozen=True)
class DetailPanel:
    """Where a result is shown large, hidden until one is opened.

    Attributes:
        whole: the panel.
        content: picture and facts.
        similar: asks for what looks like the result.
        graph: asks for its region graph.
        into_view: JavaScript that scrolls to the panel.
    """

    whole: gr.Column
    content: gr.HTML
    similar: gr.Button
    graph: gr.Button
    into_view: str


def build_detail_panel(prefix: str) -> DetailPanel:
    """Place the panel, which its own button closes; the ids begin with ``prefix``."""
    elem_id = f"{prefix}-detail"
    with gr.Column(
        visible=False, scale=2, min_width=300, elem_id=elem_id, elem_classes="rs-panel"
    ) as whole:
        content = gr.HTML("")
        with gr.Row():
            similar = _small_button("Find similar", f"{prefix}-similar")
            graph = _small_button("Region graph", f"{prefix}-graph")
            close = _small_button("Close", f"{prefix}-close", min_width=60)
    close.click(lambda: gr.update(visible=False), None, whole, **PRIVATE)
    return DetailPanel(whole, content, similar, graph, _INTO_VIEW.format(id=elem_id))


def _small_button(label: str, elem_id: str, *, min_width: int = 80) -> gr.Button:
    return gr.Button(label, size="sm", min_width=min_width, elem_id=elem_id)


@dataclass(frozen=True)
class ResultTab:
    """What the page refers to of a tab whose results open in other tabs.

    Attributes:
        rerank: its rerank switch.
        detail: where a result is open.
        opened: the states that say which one.
        result: from their values to its picture and the words that found it.
    """

    rerank: gr.Radio
    detail: DetailPanel
    opened: list[gr.State]
    result: Callable[..., tuple[Any, str]]
