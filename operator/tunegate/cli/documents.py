"""YAML files that people write, read as the API server's own tools read them: into what JSON can say."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from tunegate.cli.failure import CommandFailure, WrongUsage

NUMBER_WITH_EXPONENT = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+\Z")
"""PyYAML takes `1e-3` for text, since YAML 1.1 wants a point and a sign; kubectl and YAML 1.2 take it for a number. To the end: PyYAML asks whether a text
begins like this, and a UID may."""


class Loader(yaml.SafeLoader):
    """Reads a day as text, since JSON has no days, and refuses a field that is given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the mapping as it is written, before others are merged into it.

        Raises ``yaml.YAMLError`` for a key that stands there twice.
        """
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        known: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in known:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
                known.add(key.value)
        return node


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:float", NUMBER_WITH_EXPONENT, list("-+.0123456789"))


def read_documents(filename: str) -> list[Any]:
    """Return the documents of a file, or of standard input for `-`.

    A list, as `kubectl get -o yaml` prints it, is as many documents as it has items. Raises ``WrongUsage`` when the file
    cannot be read, and ``CommandFailure`` when it is no YAML.
    """
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
        found = [document for document in yaml.load_all(text, Loader) if document]
    except OSError as error:
        raise WrongUsage(f"{filename}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise CommandFailure(f"{filename}: not YAML: {error}") from error
    lists = [one["items"] if isinstance(one, dict) and isinstance(one.get("items"), list) else [one] for one in found]
    return [document for documents in lists for document in documents]
