"""How events are bound and read, and what they say of errors: what the tabs share of gradio."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, TypeVar

import gradio as gr

from rsctir_hf.errors import RsctirError
from rsctir_hf.ui.server.messages import without_folders

Item = TypeVar("Item")

#: Something to bind a handler to: an event of a component, or the end of another handler.
Trigger = Callable[..., Any]

#: Not part of the API that clients see.
PRIVATE: dict[str, Any] = {"api_visibility": "private"}
#: Runs a model: one such event at a time.
MODEL: dict[str, Any] = {
    **PRIVATE,
    "concurrency_id": "model",
    "concurrency_limit": 1,
    "show_progress": "minimal",
}
#: Also while the one before is answered; ``app.js`` sends of several in a row the last one alone.
#: Gradio's own mode for that sends the place of the first one.
SELECTION: dict[str, Any] = {**PRIVATE, "trigger_mode": "multiple", "show_progress": "minimal"}
#: Redraws what is there already.
REDRAW: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}


def item_of(event: gr.EventData, items: Sequence[Item]) -> Item:
    """Return which of the items that are shown was clicked; the event has its place in the list.

    Raises:
        gr.Error: the click names nothing that is shown: the list has changed meanwhile, or the
            event does not come from the page.
    """
    place = event._data.get("item") if isinstance(event._data, dict) else None
    if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(items):
        raise gr.Error("This is not shown any more. Search again.", print_exception=False)
    return items[place]


@contextmanager
def told_to_visitors() -> Iterator[None]:
    """Turn an error of the library into one that page and clients show with the same text.

    The page takes the text for HTML.
    """
    try:
        yield
    except RsctirError as error:
        raise gr.Error(
            escape(without_folders(error), quote=False), print_exception=False
        ) from error
