"""The rate card of docs/billing.md can be gone by, and costs what it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from masking.domain.bill.quotes import quoted
from masking.domain.bill.rates import Legs
from masking.rate_card import party, read_rate_card

PAGE = (Path(__file__).parent.parent.parent / "docs" / "billing.md").read_text()
(CARD,) = re.findall(r"^```toml\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL)
LEGS = Legs(party("+12025550101"), party("+919812345678"))


def test_the_pages_card_prices_a_call_as_it_says(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(CARD)
    card = read_rate_card(path)

    december = quoted(card, LEGS, (66, 61), datetime(2026, 12, 1, tzinfo=UTC))
    # 2 × 0.0085; 66 × 0.02 / 60 + 0.002; the fee; and 2 × 0.005 + 2 × 0.0095
    assert [str(leg.price and leg.price.amount) for leg in december.legs] == ["0.01700", "0.02400"]
    assert (str(december.amount), str(december.cost)) == ("0.05100", "0.02900")

    back = Legs(LEGS.callee or LEGS.caller, LEGS.caller)
    new_years_eve = datetime(2026, 12, 31, tzinfo=UTC)
    in_india = [card.price(back.caller, back.caller_direction, new_years_eve + timedelta(days=n)) for n in (0, 1)]
    assert [each and str(each.rate.per_minute) for each in in_india] == ["0.015", "0.017"]


def test_the_page_tells_every_word_of_a_card() -> None:
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE))))
    assert {"country", "prefix", "direction", "per_minute", "increments", "minimum", "connection_fee",
            "valid_from", "valid_until"} <= told  # fmt: skip
