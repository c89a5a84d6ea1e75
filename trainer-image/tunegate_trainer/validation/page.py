"""The data statement as one HTML page for a data steward, with examples. It quotes rows: it is kept apart, like answers.

Self-contained and without scripts: its own content security policy lets a browser load nothing and apply this one style
sheet. Every text goes through `escape`, on its way into the markup and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from tunegate.api.datastatement import DataStatement
from tunegate.api.numbers import count_of, percent
from tunegate_trainer.validation.shown_rows import Example, Piece

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --line: #c9c9c9; --soft: #f2f2f2; --bar: #3b6fb6;
  --trained: #cfe8c9; --special: #7a4b00; --bad: #a3161a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --paper: #161616; --line: #484848; --soft: #222;
  --bar: #7aa7e0; --trained: #24522c; --special: #f0b95a; --bad: #ff8f8f; } }
body { font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); }
td.text { overflow-wrap: anywhere; }
th[scope=row] { white-space: nowrap; font-weight: 600; }
.block { color: var(--bad); font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); border: 1px solid var(--line);
  padding: .75rem; font: .9rem/1.5 ui-monospace, monospace; }
mark { background: var(--trained); color: inherit; text-decoration: underline; text-decoration-thickness: 1px; }
code { color: var(--special); font: inherit; font-weight: 600; }
svg { width: 100%; height: auto; }
rect { fill: var(--bar); }
text { fill: var(--ink); font: 12px system-ui, sans-serif; text-anchor: middle; }
""".strip()
POLICY = f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
BAR, GAP, HEIGHT, MARGIN = 60, 12, 160, 20
"""Of the histogram, in SVG units."""


def render_page(statement: DataStatement, examples: Sequence[Example]) -> str:
    """Return the page, a whole HTML document."""
    title = f"Training data of {statement.namespace}/{statement.job}"
    body = "\n".join((
        f"<h1>{escape(title)}</h1>",
        _facts(statement),
        "<h2>Findings</h2>", _findings(statement),
        "<h2>Checks</h2>", _checks(statement),
        "<h2>Length of rows</h2>", _histogram(statement.token_histogram),
        "<h2>What the model sees</h2>", _examples(examples),
    ))  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _facts(statement: DataStatement) -> str:
    rows = (
        f'<tr><th scope="row">{escape(name)}</th><td class="text">{escape(value)}</td></tr>'
        for name, value in statement.facts().items()
    )
    return f"<table>{''.join(rows)}</table>"


def _findings(statement: DataStatement) -> str:
    if not statement.findings:
        return "<p>None.</p>"
    rows = []
    for finding in statement.findings:
        rows.append(
            f'<tr><td class="{finding.action.lower()}">{finding.action}</td><td>{escape(finding.check)}</td>'
            f'<td class="text">{escape(finding.message)}</td><td>{escape(finding.places())}</td></tr>'
        )
    return _table(("Action", "Check", "What was found", "Rows"), rows)


def _checks(statement: DataStatement) -> str:
    rows = []
    for setting in statement.checks:
        found = [finding for finding in statement.findings if finding.check == setting.name]
        answer = (
            "not looked for" if setting.action == "Off" else count_of(len(found), "finding") if found else "nothing"
        )
        share = percent(float(setting.max_share)) if setting.action == "Block" else ""
        cells = (setting.name, setting.action, share, answer)
        rows.append(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>")
    return _table(("Check", "Action", "Blocks above this share of the rows", "Result"), rows)


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _histogram(counts: dict[str, int]) -> str:
    """Return bars; ``counts``: the greatest number of tokens to the number of rows."""
    ordered = sorted((int(bound), count) for bound, count in counts.items())
    if not ordered:
        return "<p>No row could be read.</p>"
    most = max(count for _, count in ordered)
    width = GAP + len(ordered) * (BAR + GAP)
    parts = []
    for index, (bound, count) in enumerate(ordered):
        left = GAP + index * (BAR + GAP)
        tall = max(1, round(HEIGHT * count / most))
        top = MARGIN + HEIGHT - tall
        parts.append(
            f'<rect x="{left}" y="{top}" width="{BAR}" height="{tall}"/>'
            f'<text x="{left + BAR // 2}" y="{top - 5}">{count}</text>'
            f'<text x="{left + BAR // 2}" y="{MARGIN + HEIGHT + 16}">≤ {bound}</text>'
        )
    said = "; ".join(f"{count_of(count, 'row')} of up to {bound} tokens" for bound, count in ordered)
    return (
        f'<svg viewBox="0 0 {width} {HEIGHT + 2 * MARGIN + 6}" role="img"><title>{said}</title>{"".join(parts)}</svg>'
        "<p>Number of rows above each bar, tokens of a row below it.</p>"
    )


def _examples(examples: Sequence[Example]) -> str:
    if not examples:
        return "<p>No row can be shown: a check found something in each, or they are too long to read.</p>"
    legend = (
        "<p>Rows from the shortest to the longest in which no check found anything, behind the chat template. "
        "The loss is on <mark>marked</mark> tokens only; <code>special tokens</code> are one token each. "
        "This page quotes the data: handle it like the data.</p>"
    )
    return legend + "".join(map(_example, examples))


def _example(example: Example) -> str:
    tokens = sum(piece.tokens for piece in example.pieces)
    trained = sum(piece.tokens for piece in example.pieces if piece.trained)
    head = f"Row {example.place}: {tokens} tokens, {trained} trained on"
    # The first line break of a pre element is dropped by browsers: one that is ours goes before the row's own.
    return f"<h3>{escape(head)}</h3>\n<pre>\n{''.join(map(_piece, example.pieces))}</pre>"


def _piece(piece: Piece) -> str:
    text = escape(piece.text)
    text = f"<code>{text}</code>" if piece.special else text
    return f"<mark>{text}</mark>" if piece.trained else text
