"""Why the scheduler finds no node for a pod, as one sentence for people."""

from __future__ import annotations

import re

from tunegate.api.numbers import count_of

REPORT = re.compile(r"\d+/(?P<nodes>\d+) nodes are available: (?P<reasons>.*)", re.DOTALL)
BESIDE = re.compile(r"\.? *(no new claims to deallocate|preemption:).*", re.DOTALL)
"""What the scheduler tried beside: it does not say what is missing."""
REASON = re.compile(r"(?:^|, )(?P<count>\d+) (?P<what>(?:(?!, \d+ ).)+)", re.DOTALL)
PLAIN = (
    (re.compile(r"Insufficient (\S+)"), r"too little free \1"),
    (re.compile(r"Too many pods"), "no room for another pod"),
    (re.compile(r"node\(s\) had untolerated taint\(?s?\)? \{?([^:}]+).*"), r"a taint (\1)"),
    (re.compile(r"node\(s\) didn't match Pod's node affinity/selector"), "labels of another pool"),
    (re.compile(r"node\(s\) were unschedulable"), "been cordoned"),
)


def no_node(message: str) -> str:
    """Return the scheduler's message as a sentence without its end; what is not known stays as it is."""
    report = REPORT.fullmatch(message.strip())
    if report is None:
        return f"no node can take the pod: {message.strip().rstrip('.')}"
    reasons = BESIDE.sub("", report["reasons"]).rstrip(". ")
    found = [f"{reason['count']} {_has(int(reason['count']), reason['what'])}" for reason in REASON.finditer(reasons)]
    return f"no node can take the pod: of {count_of(int(report['nodes']), 'node')}, {', '.join(found) or reasons}"


def _has(count: int, what: str) -> str:
    for pattern, text in PLAIN:
        if pattern.fullmatch(what):
            return f"{'has' if count == 1 else 'have'} {pattern.sub(text, what)}"
    return what
