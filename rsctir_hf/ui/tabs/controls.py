"""What the tabs have alike: the box for words, the rerank, the panel of the open result."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from rsctir_hf.ui.server.events import PRIVATE, Trigger
from rsctir_hf.ui.views.results import FINE, MATCH, NO_RERANK, RERANK_NAMES
from rsctir_hf.ui.views.samples import PictureChooser

_RERANK_HELP = (
    "SMR and MR also ask how well each picture fits other sentences, so that pictures "
    "that fit everything move down."
)
_STEPS = """<div class="rs-steps">
<button type="button" class="rs-before" aria-label="Previous picture">&#8592;</button>
<button type="button" class="rs-after" aria-label="Next picture">&#8594;</button>
<button type="button" class="rs-close">Close</button></div>"""
#: What is said of a rerank that not every launch has.
_HELP = {
    MATCH: " Match reads picture and sentence together.",
    FINE: " Fine compares the patches of pictures with the sentence.",
}


class QueryBox:
    """An input for words with its button and, below them, examples that ask when clicked.

    Args:
        label: of the input.
        examples: the first stands in the empty input.
        prefix: of the ids, which end in ``-query`` and ``-go``.
        min_width: of the input, twice that of the button, in pixels.

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
    ) -> None:
        with gr.Row(elem_classes="rs-ask", equal_height=True):
            self.words = gr.Textbox(
                label=label,
                placeholder=examples[0],
                max_lines=1,
                scale=5,
                min_width=min_width,
                elem_id=f"{prefix}-query",
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
    """Place the rerank switch, without what not every launch has until that is known."""
    return gr.Radio(value=NO_RERANK, label="Rerank", elem_id=elem_id, **rerank_offer(), **options)


def rerank_offer(has: Collection[str] = ()) -> dict[str, Any]:
    """Return choices and help of the rerank switch; ``has`` is what this launch has besides."""
    names = {
        value: name for value, name in RERANK_NAMES.items() if value in has or value not in _HELP
    }
    said = "".join(_HELP.get(value, "") for value in names)
    return {
        "choices": [(name, value) for value, name in names.items()],
        "info": _RERANK_HELP + said,
    }


def arriving(elem_id: str) -> dict[str, Any]:
    """Return what, bound to the end of an answer, shows it where a phone had it out of sight."""
    return {"fn": None, "js": f"() => window.rsctir.arrive('{elem_id}')", **PRIVATE}


class DetailPanel:
    """A lightbox over the page in which a result is shown large; ``app.js`` opens and closes it.

    Args:
        prefix: of the ids.
        grid: id of the element with the cards, between which the arrows go.
        copies: what its last button copies; the content says it (``cards.detail``).

    Attributes:
        content: picture and facts.
        beside: where a tab may put more, below them.
        similar: asks for what looks like the result.
        graph: asks for its region graph.
        download: asks for its file; ``offer`` is given it.
    """

    def __init__(self, prefix: str, *, grid: str, copies: str = "path") -> None:
        dress = f"window.rsctir.dress(element, watch, '{grid}');"
        with (
            gr.Column(elem_id=f"{prefix}-detail", elem_classes="rs-lightbox"),
            gr.Column(elem_classes="rs-panel"),
        ):
            gr.HTML(_STEPS)
            self.content = gr.HTML("", js_on_load=dress, elem_classes="rs-large")
            with gr.Row(elem_classes="rs-actions"):
                self.similar = _small_button("Find similar", f"{prefix}-similar")
                self.graph = _small_button("Explain", f"{prefix}-graph")
                self.download = _small_button("Download", f"{prefix}-download")
                gr.Button(f"Copy {copies}", size="sm", min_width=80, elem_classes="rs-copy")
            self.beside = gr.Column()
            # Out of sight: the file is put here once it is asked for, then the browser takes it.
            self.file = gr.DownloadButton("File", elem_id=f"{prefix}-file", elem_classes="rs-away")
        self._file_id = f"{prefix}-file"

    def offer(self, find: Callable[..., str | None], inputs: list[gr.State]) -> None:
        """Let the download button offer the file that ``find`` returns."""
        self.download.click(find, inputs, self.file, **PRIVATE).then(
            None, js=f"() => window.rsctir.take('{self._file_id}')", **PRIVATE
        )


def _small_button(label: str, elem_id: str) -> gr.Button:
    return gr.Button(label, size="sm", min_width=80, elem_id=elem_id)


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
