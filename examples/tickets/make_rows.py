"""Make the example's files: 320 tickets of customers with the queue that handles them, and 40 questions of other customers.

    python3 examples/tickets/make_rows.py --out .

Which queue is right shows in a word or two; customer, town and product, of which there is more, say nothing.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

QUEUES = {
    "billing": ["charged me twice", "sent a wrong invoice", "took money that I do not owe", "forgot the discount on the bill"],
    "repair": ["does not switch on", "makes a loud noise", "broke after a week", "has a crack in the case"],
    "delivery": ["has not arrived", "came to the wrong door", "is late by ten days", "was left in the rain"],
    "account": ["does not accept my password", "locked my login", "shows the mail address of somebody else", "never sends the code to sign in"],
}  # fmt: skip
SUBJECTS = {"billing": "your office", "repair": "the {product}", "delivery": "the {product}", "account": "the portal"}
FIRST = ["Ada", "Ben", "Cleo", "Dina", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Kai", "Lea", "Milo", "Nora", "Otto", "Pia"]
LAST = ["Ames", "Bohr", "Cole", "Dahl", "Egan", "Frey", "Gray", "Holt", "Iqbal", "Jung", "Kerr", "Lund", "Mora", "Nash", "Oduya"]
TOWNS = ["Arden", "Brook", "Carrick", "Dover", "Elgin", "Forres", "Gatley", "Hexham", "Irvine", "Jarrow", "Kelso", "Lerwick"]
PRODUCTS = ["kettle", "heater", "drill", "lamp", "radio", "toaster", "scale", "camera", "mixer", "printer", "router", "fan"]
OPENINGS = ["Hello, this is {name} from {town}.", "{name} here, {town}.", "Good morning from {town}, {name} speaking."]
CLOSINGS = ["I bought the {product} in {town}.", "My {product} is from your shop in {town}.", "It is about the {product}."]


def ticket(queue: str, names: list[str], draw: random.Random) -> dict[str, object]:
    """Return one row: what the customer wrote, and the queue."""
    words = {"name": draw.choice(names), "town": draw.choice(TOWNS), "product": draw.choice(PRODUCTS)}
    trouble = f"{SUBJECTS[queue].format(**words).capitalize()} {draw.choice(QUEUES[queue])}."
    text = " ".join([draw.choice(OPENINGS).format(**words), draw.choice(CLOSINGS).format(**words), trouble])
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": queue}]}


def rows(count: int, names: list[str], draw: random.Random) -> list[dict[str, object]]:
    """Return different rows, the same number of each queue."""
    found: dict[str, dict[str, object]] = {}
    while len(found) < count:
        row = ticket(list(QUEUES)[len(found) % len(QUEUES)], names, draw)
        found.setdefault(json.dumps(row), row)
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path())
    folder = parser.parse_args().out
    draw = random.Random(7)
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    draw.shuffle(names)
    for file, count, known in (("train.jsonl", 320, names[40:]), ("questions.jsonl", 40, names[:40])):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows(count, known, draw)))


if __name__ == "__main__":
    main()
