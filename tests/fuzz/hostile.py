"""What hostile input is made of: odd values and texts, and good files and documents spoilt.

Everything here is a hypothesis strategy, so one seed gives the same inputs again.
"""

import json
import struct
from collections.abc import Mapping
from copy import deepcopy

from hypothesis import settings
from hypothesis import strategies as st

MARKUP = "<script>alert(1)</script>"
_DEEP = 20_000  # levels of nesting, more than Python's own stack holds
ODD_TEXTS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x1b[31m",
    "\r\n\t",
    "\ud800",
    "\udcff.png",
    "\u202etxt.exe",
    "\ufeff",
    "e\u0301" * 500,
    "🛰️" * 100,
    "x" * 5_000,
    "x" * 100_000,
    MARKUP,
    '"><img src=x onerror=alert(1)>',
    "{{7*7}} ${7*7} `7`",
    "'; DROP TABLE pictures; --",
    "../../../../etc/passwd",
    "/etc/passwd",
    "..",
    "~",
    "%s%n%d {0} {x}",
    "file:///etc/passwd",
    "/vsicurl/http://127.0.0.1/a.tif",
    "NaN",
    "-1",
    "1e999",
    "null",
    "*",
    "[",
)
ODD_NUMBERS = (
    0,
    -1,
    1,
    2,
    2**31 - 1,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**400,
    0.5,
    -0.0,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
)
#: What stands for a key or element that is taken out.
GONE = object()
_PACKED = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"\x80\0\0\0",
)
_TOKENS = (
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"[" * _DEEP,
    b'{"a":' * _DEEP,
    b"NaN",
    b"1e999",
)
_TOKENS += (b"9" * 5_000, b"&a [*a,*a]", b"!!python/object/apply:os.system ['true']", b"\r\n\r\n")
_KINDS = ("cut", "flip", "splice", "double", "number", "token")


def often(times):
    """Let a test have that many times the usual number of examples."""
    return settings(max_examples=times * settings.default.max_examples)


def texts():
    """Any text, odd ones often."""
    return st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=40))


def numbers():
    """Any number, odd ones often."""
    return st.one_of(st.sampled_from(ODD_NUMBERS), st.floats(), st.integers())


def plain():
    """None, a truth value, a number or a text."""
    return st.one_of(st.none(), st.booleans(), numbers(), texts())


def values():
    """Whatever JSON and YAML hold."""
    return st.one_of(
        plain(),
        st.lists(plain(), max_size=4),
        st.dictionaries(texts(), plain(), max_size=3),
        st.lists(st.dictionaries(st.sampled_from(["a", "raw", "path"]), plain()), max_size=2),
    )


def mutated(corpus):
    """One of some files, or several, spoilt in up to four places."""
    change = st.tuples(
        st.sampled_from(_KINDS),
        st.integers(0, 9_999),
        st.integers(0, 9_999),
        st.integers(0, 255),
        st.sampled_from(corpus),
    )
    return st.builds(_changed, st.sampled_from(corpus), st.lists(change, min_size=1, max_size=4))


def _changed(content, changes):
    for kind, first, second, byte, other in changes:
        # Headers are short, so the first places of a file are drawn more often.
        start = int(len(content) * (first / 10_000) ** 2)
        stop = start + 1 + int((len(content) - start) * second / 10_000)
        if kind == "cut":
            content = content[:start]
        elif kind == "double":
            content = content[:stop] + content[start:]
        else:
            content = _replaced(content, kind, start=start, byte=byte, other=other)
    return content


def _replaced(content, kind, *, start, byte, other):
    """Return content with something else at one place."""
    if kind == "flip":
        return content[:start] + bytes([byte]) + content[start + 1 :]
    if kind == "splice":
        return content[:start] + other[start:]
    if kind == "number":
        odd = _PACKED[byte % len(_PACKED)]
        return content[:start] + odd + content[start + len(odd) :]
    return content[:start] + _TOKENS[byte % len(_TOKENS)] + content[start:]


def spoilt(document):
    """A document with up to three of its values replaced, or taken out."""
    change = st.tuples(st.integers(0, 9_999), st.one_of(values(), st.just(GONE)))
    changes = st.lists(change, min_size=1, max_size=3)
    return changes.map(lambda each: _spoil(deepcopy(document), each))


def _spoil(document, changes):
    for place, value in changes:
        places = list(_places(document))
        if not places:
            return document
        holder, key = places[place % len(places)]
        if value is GONE:
            del holder[key]
        else:
            holder[key] = deepcopy(value)
    return document


def _places(document):
    """List every (mapping or list, key or position) of a document."""
    keys = []
    if isinstance(document, Mapping):
        keys = list(document)
    elif isinstance(document, list):
        keys = list(range(len(document)))
    below = (place for key in keys for place in _places(document[key]))
    return [(document, key) for key in keys] + list(below)


def as_json(document) -> bytes:
    """Write a document as JSON, lone surrogates and all."""
    return json.dumps(document).encode()


def spoilt_json(document):
    """A JSON file spoilt in its values or in its bytes."""
    return st.one_of(spoilt(document).map(as_json), mutated([as_json(document)]))


def spoilt_lines(rows):
    """A file of a JSON document a line, spoilt in its values or in its bytes."""
    good = b"".join(as_json(row) + b"\n" for row in rows)
    lines = spoilt(list(rows)).map(lambda each: b"".join(as_json(row) + b"\n" for row in each))
    return st.one_of(lines, mutated([good]))


def spoilt_safetensors(content):
    """A safetensors file spoilt in its header, in the header's length or in its bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]

    def joined(spoilt_header, off) -> bytes:
        text = as_json(spoilt_header)
        return struct.pack("<Q", (len(text) + off) % 2**64) + text + data

    off = st.sampled_from([0, 0, 0, 1, -1, 2**40, 2**63])
    return st.one_of(st.builds(joined, spoilt(header), off), mutated([content]))
