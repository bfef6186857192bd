# Copyright: (c) 2026, tethys.channels contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated answers through the boundary: how many are accepted, and whether one breaks it.

Started by `make bench`; by hand from the collection's folder, which must be at .../ansible_collections/tethys/channels:

    PYTHONPATH=<the folder above ansible_collections> python tests/bench/bench_boundary.py [ANSWERS]

Each answer is made by one of the schemas, then damaged in one or several ways or not at all. The exit code is 1 if the
boundary raises anything but its own error, or lets a key through that the schema does not list.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import resource
import sys
import time
import unicodedata
from collections import Counter
from typing import Any, Callable

from ansible_collections.tethys.channels.plugins.module_utils import boundary, facts

ANSWERS = 20_000
SEED = 17
SCHEMAS = {name: each for name, each in vars(facts).items() if isinstance(each, boundary.Record)}
ROOTS_OWN = ("user", "group", "site_packages", "python", "prefix_owner", "access", "config", "ansible_facts", "failed")
SIGNS = [
    "\x00",
    "\x1b]0;x\x07",
    "\x1b[2J",
    "\x7f",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u2028",
    "\ufeff",
    "\ud800",
    "\n",
    "\r\n",
]
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        -1,
        2**70,
        10**400,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "x" * 30_000,
        [],
        {},
        [[]],
        {"": None},
    ),
    *SIGNS,
]


def made(kind: Any, dice: random.Random) -> Any:
    """Return a value that this kind accepts."""
    if isinstance(kind, boundary.Record):
        chosen = [key for key in kind.fields if key in kind.needs or dice.random() < 0.7]
        return {key: made(kind.fields[key], dice) for key in chosen}
    if isinstance(kind, boundary.Maybe):
        return None if dice.random() < 0.3 else made(kind.kind, dice)
    if isinstance(kind, boundary.Either):
        return made(dice.choice(kind.kinds), dice)
    if isinstance(kind, boundary.Listing):
        return [made(kind.kind, dice) for _each in range(dice.randrange(4))]
    if isinstance(kind, boundary.Table):
        return {made(kind.key, dice): made(kind.kind, dice) for _each in range(dice.randrange(4))}
    if isinstance(kind, boundary.OneOf):
        return dice.choice(kind.choices)
    if isinstance(kind, boundary.Match):
        return "".join(dice.choice("0123456789") for _each in range(dice.randrange(1, 9)))
    if isinstance(kind, (boundary.Whole, boundary.Number)):
        return dice.randrange(int(kind.least), int(min(kind.most, 10**6)) + 1)
    simple: dict[type, Callable[[], Any]] = {
        boundary.Flag: lambda: dice.random() < 0.5,
        boundary.Plain: lambda: {"a": [1, "b", None, {"c": 1.5}]},
    }
    return simple.get(type(kind), lambda: "".join(dice.choice("abü /.-_洪") for _each in range(dice.randrange(30))))()


def holders(value: Any) -> list[Any]:
    """Return every list and mapping in a value, itself among them."""
    found = [value] if isinstance(value, (list, dict)) else []
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        found += holders(item)
    return found


def damage(value: dict[str, Any], dice: random.Random) -> None:
    """Change one thing in an answer to something that a hostile app could send."""
    place = dice.choice(holders(value))
    odd = copy.deepcopy(dice.choice(ODD))
    if isinstance(place, dict):
        keys = [*place, dice.choice(ROOTS_OWN), "a" + dice.choice(SIGNS)]
        place[dice.choice(keys)] = odd if dice.random() < 0.7 else f"a{dice.choice(SIGNS)}b"
    else:
        place.insert(0, odd)


def written(value: dict[str, Any], dice: random.Random) -> bytes:
    """Return an answer as bytes, some of them damaged too."""
    raw = json.dumps(value, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    way = dice.randrange(12)
    if way == 0:
        raw = raw[: dice.randrange(len(raw) + 1)]
    elif way == 1:
        spot = dice.randrange(len(raw))
        raw = raw[:spot] + bytes([dice.randrange(256)]) + raw[spot + 1 :]
    elif way == 2:
        raw = b'{"a": ' * dice.choice([5, 50, 20_000]) + raw
    elif way == 3:
        raw = raw[:-1] + b"," + raw[1:]
    elif way == 4:
        raw = raw[:-1] + b', "n": ' + b"9" * dice.choice([30, 5000, 500_000]) + b"}"
    return raw


def unlisted(value: Any, kind: Any) -> list[str]:
    """Return the keys of records in an accepted value that the schema does not list."""
    if isinstance(kind, boundary.Record) and isinstance(value, dict):
        below = [
            key for name, item in value.items() if name in kind.fields for key in unlisted(item, kind.fields[name])
        ]
        return [key for key in value if key not in kind.fields] + below
    if isinstance(kind, boundary.Maybe):
        return unlisted(value, kind.kind)
    if isinstance(kind, boundary.Listing):
        return [key for item in value for key in unlisted(item, kind.kind)]
    if isinstance(kind, boundary.Either) and isinstance(value, list):
        return unlisted(value, kind.kinds[-1])
    return []


def hidden(value: Any) -> bool:
    """Return whether a text in an accepted value, or a key, holds a control character."""
    if isinstance(value, str):
        return any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp") for sign in value)
    if isinstance(value, dict):
        return any(hidden(key) or hidden(item) for key, item in value.items())
    return isinstance(value, list) and any(map(hidden, value))


def through(answers: int, seed: int = SEED) -> Counter[str]:
    """Pass so many answers through the boundary and count what came of them."""
    dice = random.Random(seed)  # noqa: S311 - the same answers each time
    found = Counter[str]()
    for _each in range(answers):
        schema = SCHEMAS[dice.choice(sorted(SCHEMAS))]
        value = made(schema, dice)
        for _again in range(dice.choice([0, 1, 1, 2, 5])):
            damage(value, dice)
        try:
            accepted = boundary.accept(written(value, dice), schema)
        except boundary.Rejected as error:
            found["rejected"] += 1
            found["sentences with control characters"] += hidden(str(error))
        except Exception as error:  # what this is to find
            found["tracebacks"] += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        else:
            found["accepted"] += 1
            found["unlisted keys"] += len(unlisted(accepted, schema))
            found["values with control characters"] += hidden(accepted)
    return found


def main() -> None:
    """Count, print and fail where something came through."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("answers", type=int, nargs="?", default=ANSWERS)
    answers = parser.parse_args().answers
    started = time.monotonic()
    found = through(answers)
    bad = sum(found.values()) - found["accepted"] - found["rejected"]
    told = ", ".join(f"{found[name]} {name}" for name in ("accepted", "rejected", "tracebacks", "unlisted keys"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{answers} generated answers: {told}; {time.monotonic() - started:.0f} s, {peak} MiB at most")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
