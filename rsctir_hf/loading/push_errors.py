"""What the Hub refuses when something is pushed to it, in one sentence and a remedy."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.errors import HFValidationError, HTTPError

from rsctir_hf.errors import PushError


@contextmanager
def explained_push(what: str, repo_id: str) -> Iterator[None]:
    """Turn what huggingface_hub, datasets and transformers raise into a ``PushError``.

    Args:
        what: is pushed, as the message's subject.
        repo_id: where to.

    Raises:
        PushError: no token, no right to write, a malformed name, or the Hub cannot be reached.
    """
    try:
        yield
    except HFValidationError as error:
        raise PushError(
            f"{repo_id!r} is no repository name: {error} Expected OWNER/NAME."
        ) from error
    except (HTTPError, OSError, ValueError) as error:
        raise PushError(
            f"{what} could not be pushed to {repo_id}: {' '.join(str(error).split())} "
            "Log in with `hf auth login` and a token that may write there, and check the network."
        ) from error
