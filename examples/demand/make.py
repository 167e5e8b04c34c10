"""Makes the days of demand beside it, byte for byte: `python -m examples.demand.make`.

Nobody in them exists. Only `random()` is drawn from, whose values Python promises for a seed.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

SEED = 20261123
FOLDER = Path(__file__).parent
MIDNIGHTS = {
    "IN": datetime(2026, 11, 22, 18, 30, tzinfo=UTC),
    "US": datetime(2026, 11, 23, 5, 0, tzinfo=UTC),
}
MINUTE, HOUR = 60, 3600
DAY = 24 * HOUR


class Row(NamedTuple):
    """A session, as the planner reads it."""

    created_at: str
    ended_at: str
    first_party: str
    second_party: str
    country: str


class Chance:
    """What happens by chance, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def between(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        return least + int(self._random.random() * (most - least + 1))

    def happens(self, probability: float) -> bool:
        """Whether something does."""
        return self._random.random() < probability

    def one_of(self, what: str, count: int, favour: int = 1) -> str:
        """One of so many, each as often as the others; with a larger `favour` the first ones more often."""
        return f"{what}-{1 + int(self._random.random() ** favour * count)}"


def row(country: str, first: str, second: str, starts: int, ends: int) -> Row:
    """A session, its times in seconds from the first day's midnight."""
    created, ended = (
        f"{MIDNIGHTS[country] + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}" for seconds in (starts, ends)
    )
    return Row(created, ended, first, second, country)


def is_busy(second: int, peaks: tuple[range, range]) -> bool:
    """Whether a moment of a day falls into one of its two peaks (hours)."""
    return any(second % DAY // HOUR in peak for peak in peaks)


def ride_hailing(seed: int = SEED, days: int = 1, drivers: int = 55) -> list[Row]:
    """Rides: a session lives from the match to a quarter of an hour after the drop-off, for what was left behind.

    Some are shared, so that a driver has several riders at a time; at the peaks there is no wait between rides.
    """
    chance = Chance(seed)
    rows = []
    for country in MIDNIGHTS:
        for day in range(days):
            for number in range(1, drivers + 1):
                now = day * DAY + chance.between(5 * HOUR, 16 * HOUR)
                home = now + chance.between(5 * HOUR, 9 * HOUR)
                while now < home:
                    rider = chance.one_of(f"rider-{country.lower()}", 900)
                    drop_off = now + chance.between(8 * MINUTE, 30 * MINUTE)
                    driver = f"driver-{country.lower()}-{number}"
                    rows.append(row(country, driver, rider, now, drop_off + 15 * MINUTE))
                    busy = is_busy(now, (range(7, 10), range(17, 20)))
                    shared = chance.happens(0.5 if busy else 0.2)
                    wait = chance.between(0, 3 * MINUTE) if busy else chance.between(5 * MINUTE, 25 * MINUTE)
                    now = now + chance.between(MINUTE, 6 * MINUTE) if shared else drop_off + wait
    return sorted(rows)


def delivery(seed: int = SEED) -> list[Row]:
    """Orders: a courier has one session with the restaurant and one with the customer, up to a while after each."""
    chance = Chance(seed + 1)
    rows = []
    for country in MIDNIGHTS:
        here = country.lower()
        now = 10 * HOUR
        while now < 23 * HOUR:
            courier = chance.one_of(f"courier-{here}", 80)
            restaurant = chance.one_of(f"restaurant-{here}", 40, favour=2)
            customer = chance.one_of(f"customer-{here}", 1200)
            picked_up = now + chance.between(5 * MINUTE, 20 * MINUTE)
            delivered = picked_up + chance.between(8 * MINUTE, 25 * MINUTE)
            rows.append(row(country, courier, restaurant, now, picked_up + 5 * MINUTE))
            rows.append(row(country, courier, customer, now, delivered + 15 * MINUTE))
            busy = is_busy(now, (range(12, 14), range(18, 21)))
            now += chance.between(5, 55) if busy else chance.between(30, 150)
    return sorted(rows)


FILES: dict[str, Callable[[], list[Row]]] = {"ride-hailing-day.csv": ride_hailing, "delivery-day.csv": delivery}


def contents() -> Iterator[tuple[str, str]]:
    """Each file's name, and what it holds."""
    for name, made in FILES.items():
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(made())
        yield name, text.getvalue()


def main(folder: Path) -> None:
    """Write the files."""
    for name, text in contents():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{folder / name}: {text.count(chr(10)) - 1} sessions")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (default: beside this module)")
    main(parser.parse_args().folder)
