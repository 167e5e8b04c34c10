"""The applications of the network's customer, and the numbers that it has rented."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from masking.carriers.simulator.application import VoiceApplication, Webhook


@dataclass
class StoredApplication:
    """An application under its name."""

    app_id: str
    name: str
    runs: VoiceApplication


@dataclass
class Rented:
    """A number of the network and what runs on it: an application, or what it was bound to without one."""

    number: str
    bound: VoiceApplication | None = None
    app_id: str | None = None


@dataclass
class Inventory:
    """Applications by id, numbers by number (E.164)."""

    applications: dict[str, StoredApplication] = field(default_factory=dict)
    _numbers: dict[str, Rented] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.count(20468599130939380))

    def create(self, name: str, runs: VoiceApplication) -> StoredApplication:
        """A new application."""
        application = StoredApplication(str(next(self._ids)), name, runs)
        self.applications[application.app_id] = application
        return application

    def named(self, name: str) -> StoredApplication | None:
        """The application with a name."""
        return next((each for each in self.applications.values() if each.name == name), None)

    def rent(self, numbers: Iterable[str]) -> None:
        """Have numbers, on which nothing runs yet."""
        for number in numbers:
            self._numbers.setdefault(number, Rented(number))

    def bind(self, number: str, runs: VoiceApplication) -> None:
        """Have a number on which this runs, without any application."""
        self._numbers[number] = Rented(number, bound=runs)

    def attach(self, number: str, app_id: str | None) -> None:
        """Have an application run on a rented number, or nothing."""
        self._numbers[number] = Rented(number, app_id=app_id)

    def rented(self, number: str) -> Rented | None:
        """A number of the network; None for one that it does not have."""
        return self._numbers.get(number)

    def all_rented(self) -> list[Rented]:
        """The numbers, in the order in which they came."""
        return list(self._numbers.values())

    def runs_on(self, number: str) -> VoiceApplication | None:
        """What runs when a number is called; None where nothing does."""
        rented = self._numbers.get(number)
        if rented is None:
            return None
        application = self.applications.get(rented.app_id or "")
        return application.runs if application is not None else rented.bound

    def bound(self) -> Iterator[tuple[str, VoiceApplication]]:
        """The numbers on which something runs, and what."""
        for number in self._numbers:
            if (runs := self.runs_on(number)) is not None:
                yield number, runs


def voice_application(answer_url: str, hangup_url: str, fallback_url: str = "") -> VoiceApplication:
    """What runs, all of it asked by POST."""
    return VoiceApplication(Webhook(answer_url), Webhook(hangup_url), Webhook(fallback_url))
