"""What the tabs have alike: the box for words, the rerank, the panel of the open result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rsctir_hf.ui.server.events import PRIVATE, Trigger
from rsctir_hf.ui.views.results import NO_RERANK, RERANK_NAMES
from rsctir_hf.ui.views.samples import PictureChooser

_RERANK_HELP = (
    "SMR and MR also ask how well each picture fits other sentences, so that pictures "
    "that fit everything move down."
)
_MATCH_HELP = " Match reads picture and sentence together."


class QueryBox:
    """An input for words with its button and, below them, examples that ask when clicked.

    Args:
        label: of the input.
        examples: the first stands in the empty input.
        prefix: of the ids, which end in ``-query`` and ``-go``.
        min_width: of the input, twice that of the button, in pixels.
        autofocus: the page opens with the cursor here.

    Attributes:
        words: the input.
        asked: what to bind an answer to: Enter, the button, an example that was taken.
    """

    def __init__(
        self,
        label: str,
        examples: Sequence[str],
        prefix: str,
        *,
        min_width: int,
        autofocus: bool = False,
    ) -> None:
        with gr.Row(elem_classes="rs-ask", equal_height=True):
            self.words = gr.Textbox(
                label=label,
                placeholder=examples[0],
                max_lines=1,
                scale=5,
                min_width=min_width,
                elem_id=f"{prefix}-query",
                autofocus=autofocus,
            )
            button = gr.Button(
                "Search",
                variant="primary",
                scale=0,
                min_width=min_width // 2,
                elem_id=f"{prefix}-go",
            )
        with gr.Row(elem_classes="rs-chips"):
            chips = [gr.Button(text, size="sm", elem_classes="rs-chip") for text in examples]
        taken = [
            chip.click(lambda text: text, chip, self.words, queue=False, **PRIVATE)
            for chip in chips
        ]
        self.asked: tuple[Trigger, ...] = (
            self.words.submit,
            button.click,
            *(event.then for event in taken),
        )


def build_rerank(elem_id: str, **options: Any) -> gr.Radio:  # noqa: ANN401 - gradio's own
    """Place the rerank switch, without *Match* until the model is known to have it."""
    offered = rerank_offer(can_match=False)
    return gr.Radio(value=NO_RERANK, label="Rerank", elem_id=elem_id, **offered, **options)


def rerank_offer(*, can_match: bool) -> dict[str, Any]:
    """Return choices and help of the rerank switch; *Match* only where the model can."""
    pairs = [(name, value) for value, name in RERANK_NAMES.items()]
    if can_match:
        return {"choices": pairs, "info": _RERANK_HELP + _MATCH_HELP}
    return {"choices": pairs[:-1], "info": _RERANK_HELP}


class DetailPanel:
    """Where a result is shown large: hidden until one is opened, closed by a button of its own.

    Args:
        prefix: of the ids.

    Attributes:
        whole: the panel.
        content: picture and facts.
        similar: asks for what looks like the result.
        graph: asks for its region graph.
        into_view: JavaScript that scrolls to the panel.
    """

    def __init__(self, prefix: str) -> None:
        elem_id = f"{prefix}-detail"
        with gr.Column(
            visible=False, scale=2, min_width=300, elem_id=elem_id, elem_classes="rs-panel"
        ) as self.whole:
            self.content = gr.HTML("")
            with gr.Row():
                self.similar = _small_button("Find similar", f"{prefix}-similar")
                self.graph = _small_button("Region graph", f"{prefix}-graph")
                close = _small_button("Close", f"{prefix}-close", min_width=60)
        close.click(lambda: gr.update(visible=False), None, self.whole, **PRIVATE)
        found = f"document.querySelector('#{elem_id}')"
        self.into_view = f"() => {found}?.scrollIntoView({{block: 'nearest'}})"


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


@dataclass(frozen=True)
class QueryTab:
    """What the page refers to of a tab that a picture is given to.

    Attributes:
        chooser: where the picture is given.
        control: what else decides the answer: the rerank switch, or the words.
        answer: binds the answer for the picture to a trigger.
    """

    chooser: PictureChooser
    control: gr.components.Component
    answer: Callable[[Trigger], None]
