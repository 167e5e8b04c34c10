"""Faults that the network makes on purpose, by probability and seed."""

from __future__ import annotations

import random

from pydantic import BaseModel, ConfigDict, Field

Probability = float


class ChaosSwitches(BaseModel):
    """How often each fault happens to a report (an event, a recording), from 0 (never) to 1 (always).

    Attributes:
        drop: a try is lost, on its way there or its answer on the way back; the network tries again. Of a question
            what to do only the first answer is.
        duplicate: it is sent once more, later.
        delay: it comes late, and all later ones of its call with it.
        reorder: it comes late, and later ones of its call overtake it.
        late_by: how late at most, simulated seconds.
        seed: the same seed makes the same choices in the same order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    drop: Probability = Field(default=0.0, ge=0, le=0.9)
    duplicate: Probability = Field(default=0.0, ge=0, le=1)
    delay: Probability = Field(default=0.0, ge=0, le=1)
    reorder: Probability = Field(default=0.0, ge=0, le=1)
    late_by: float = Field(default=5.0, ge=0, le=3600)
    seed: int = 0


class Chaos:
    """Draws the faults. Nothing security depends on this chance: it is for repeatable disturbances."""

    def __init__(self, switches: ChaosSwitches) -> None:
        self.switches = switches
        self._chance = random.Random(switches.seed)  # noqa: S311 repeatable on purpose

    def loses_request(self) -> bool:
        """Whether a try never arrives."""
        return self._happens(self.switches.drop / 2)

    def loses_answer(self) -> bool:
        """Whether a try arrives and its answer does not."""
        return self._happens(self.switches.drop / 2)

    def duplicates(self) -> bool:
        """Whether a report is sent once more."""
        return self._happens(self.switches.duplicate)

    def delays(self) -> bool:
        """Whether a report, and what follows it, comes late."""
        return self._happens(self.switches.delay)

    def reorders(self) -> bool:
        """Whether a report is overtaken."""
        return self._happens(self.switches.reorder)

    def lateness(self) -> float:
        """How late, simulated seconds."""
        return self._chance.uniform(0, self.switches.late_by)

    def _happens(self, probability: Probability) -> bool:
        return probability > 0 and self._chance.random() < probability


NO_CHAOS = Chaos(ChaosSwitches())
