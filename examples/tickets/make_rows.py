"""Make the example's files: 320 tickets of customers with the queue that handles them, and 40 questions of other customers.

    python3 examples/tickets/make_rows.py --out .

Which queue is right shows in one word. Names, towns and products are many, so the most similar old ticket is often of another queue.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

QUEUES = {
    "billing": ["the price", "a refund", "the invoice", "the discount"],
    "repair": ["a crack", "the noise", "the smoke", "a broken switch"],
    "delivery": ["the parcel", "the courier", "the missing shipment", "the late arrival"],
    "account": ["my password", "my login", "the sign-in code", "my locked profile"],
}
FIRST = [
    "Ada",
    "Ben",
    "Cleo",
    "Dina",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "Jana",
    "Kai",
    "Lea",
    "Milo",
    "Nora",
    "Otto",
    "Pia",
]
LAST = [
    "Ames",
    "Bohr",
    "Cole",
    "Dahl",
    "Egan",
    "Frey",
    "Gray",
    "Holt",
    "Iqbal",
    "Jung",
    "Kerr",
    "Lund",
    "Mora",
    "Nash",
    "Oduya",
]
TOWNS = [
    "Arden",
    "Brook",
    "Carrick",
    "Dover",
    "Elgin",
    "Forres",
    "Gatley",
    "Hexham",
    "Irvine",
    "Jarrow",
    "Kelso",
    "Lerwick",
    "Melrose",
    "Nairn",
    "Oban",
    "Paisley",
    "Quorn",
    "Rugby",
    "Selby",
    "Troon",
    "Usk",
    "Ventnor",
    "Wick",
    "Yarm",
    "Alloa",
    "Bala",
    "Cupar",
    "Diss",
    "Epsom",
    "Fleet",
    "Girvan",
    "Hove",
    "Ilkley",
    "Jura",
    "Keith",
    "Leek",
]
PRODUCTS = [
    "kettle",
    "heater",
    "drill",
    "lamp",
    "radio",
    "toaster",
    "scale",
    "camera",
    "mixer",
    "printer",
    "router",
    "fan",
    "blender",
    "iron",
    "speaker",
    "clock",
    "freezer",
    "oven",
    "grill",
    "vacuum",
    "shaver",
    "keyboard",
    "monitor",
    "tripod",
    "scooter",
    "cooker",
    "sander",
    "mower",
    "humidifier",
    "projector",
    "scanner",
    "charger",
    "headset",
    "tent",
    "stroller",
    "piano",
]
OPENINGS = ["Hello, this is {name} from {town}.", "{name} here, {town}.", "Good morning from {town}, {name} speaking."]
PURCHASES = [
    "I bought the {product} in {town}.",
    "My {product} is from your shop in {town}.",
    "It is about the {product}.",
]
MATTERS = ["I write about {matter}.", "Please look into {matter}.", "The matter is {matter}."]


def ticket(queue: str, names: list[str], draw: random.Random) -> dict[str, object]:
    """Return one row: what the customer wrote, and the queue."""
    words = {"name": draw.choice(names), "town": draw.choice(TOWNS), "product": draw.choice(PRODUCTS)}
    parts = [draw.choice(kind) for kind in (OPENINGS, PURCHASES, MATTERS)]
    text = " ".join(parts).format(matter=draw.choice(QUEUES[queue]), **words)
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
    draw = random.Random(7)  # noqa: S311 (the same rows each time)
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    draw.shuffle(names)
    for file, count, known in (("train.jsonl", 320, names[40:]), ("questions.jsonl", 40, names[:40])):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows(count, known, draw)))


if __name__ == "__main__":
    main()
