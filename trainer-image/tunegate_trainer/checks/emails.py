"""E-mail addresses in a text, in time that grows with its length and no faster.

Presidio's pattern tries every beginning of a long run again: 8 kB of `a.a.a` take seconds. Here each `@` is looked at by
itself, with no more around it than an address may have (RFC 5321, 4.5.3.1). What the domain ends with must be a public
suffix: `corp.local` is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

LOCAL_MOST = 64
DOMAIN_MOST = 255
_LOCAL = re.compile(r"\w[\w!#$%&'*+\-/=?^`{|}~.]*+(?<!\.)\Z")
_DOMAIN = re.compile(r"\w++(?:-++\w++)*+(?:\.\w++(?:-++\w++)*+)++")


def email_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield begin and end of every address; of a longer run before the `@`, as much as may belong to one."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1, at + 1 + DOMAIN_MOST)
        local = _LOCAL.search(text[max(0, at - LOCAL_MOST) : at]) if domain else None
        if domain and local and _is_registered(domain.group()):
            yield at - len(local.group()), domain.end()
        at = text.find("@", at + 1)


@lru_cache(maxsize=4096)
def _is_registered(domain: str) -> bool:
    return bool(_suffixes()(domain).top_domain_under_public_suffix)


@cache
def _suffixes() -> Any:
    """Return the installed snapshot of the public suffix list; by default the library asks the internet for a newer one."""
    import tldextract

    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
