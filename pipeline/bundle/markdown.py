"""Lines of Markdown that hold whatever text a run's report, data and recipe have: none of it becomes mark-up.

A run's folder may be a stranger's, and a card is read in a browser: a text in it loads no picture and makes no link.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

# what is mark-up within a line: * is not where blanks are on both sides, _ where letters are
_WITHIN = re.compile(r"[\\`\[\]|~]|\*(?=\S)|(?<=\S)\*|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# and at its start: headings, quotations, lists, rules
_FIRST = re.compile(r"^([#>]|[-+=*](?=[-+=*]*(\s|$))|\d{1,9}(?=[.)](\s|$)))")
# HTML, entities of the text's own, and what some readers make a link of by itself: schemes, hosts, addresses
_ENTITY = re.compile(r"(?i)[&<]|(?:https?|ftp|mailto|xmpp):|www\.|@(?=\S)")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table of texts, whatever is in them."""
    yield f"| {' | '.join(header)} |"
    yield "|" + "---|" * len(header)
    yield from (f"| {' | '.join(map(plain, row))} |" for row in rows)


def plain(value: object) -> str:
    """Return a text in one line of which no reader of Markdown takes anything for mark-up: it looks as it is."""
    line = _WITHIN.sub(r"\\\g<0>", " ".join(str(value).split()))
    return _ENTITY.sub(lambda found: f"{found[0][:-1]}&#{ord(found[0][-1])};", _FIRST.sub(_escaped, line))


def _escaped(found: re.Match[str]) -> str:
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def code(value: object) -> str:
    """Return a text in one line as code, in which Markdown takes nothing for mark-up; not for a table."""
    line = " ".join(str(value).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    room = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{room}{line}{room}{fence}"
