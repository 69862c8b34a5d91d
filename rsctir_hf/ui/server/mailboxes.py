"""Messages that wait for visitors: one mailbox a session, in the place of gradio's own map.

Gradio's queue looks a session's mailbox up for every message, in the one loop that serves all
visitors. Its own map forgets the session that came first as soon as 2,000 others came, also one
that waits for an answer, and a visitor who leaves takes the mailbox along. The lookup then fails,
the loop ends, and every visitor is told "Queue is stopped" until the app is started anew (seen in
gradio 6.31 with fifty visitors for a quarter of an hour).
"""

import asyncio
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any

import gradio as gr

Mailbox = asyncio.Queue[Any]


class Mailboxes(OrderedDict[str, Mailbox]):
    """A mailbox for each session; the one unheard longest is forgotten first.

    A visitor who waits is heard every few seconds. A message to a session that is forgotten is
    dropped.

    Args:
        most: sessions that are remembered.
        unanswered: gradio's requests without an answer, by session; those of a forgotten session
            are forgotten too.
    """

    def __init__(self, most: int, unanswered: MutableMapping[str, Any]) -> None:
        super().__init__()
        self.most = most
        self.unanswered = unanswered

    def __setitem__(self, session: str, mailbox: Mailbox) -> None:
        super().__setitem__(session, mailbox)
        self.move_to_end(session)
        if len(self) > self.most:
            oldest = next(iter(self))
            del self[oldest]
            self.unanswered.pop(oldest, None)

    def __getitem__(self, session: str) -> Mailbox:
        mailbox = super().__getitem__(session)
        if session in self:
            self.move_to_end(session)
        return mailbox

    def __missing__(self, session: str) -> Mailbox:
        return asyncio.Queue()


def keep_mailboxes(demo: gr.Blocks, most: int) -> None:
    """Give the queue of a page such mailboxes; after ``demo.queue``, before the launch."""
    queue: Any = demo._queue
    queue.pending_messages_per_session = Mailboxes(most, queue.pending_event_ids_session)
