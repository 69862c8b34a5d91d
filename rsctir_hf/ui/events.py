"""How events are bound: options of gradio's listeners that the tabs share."""

from collections.abc import Callable
from typing import Any

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
#: Redraws what is there already.
REDRAW: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
