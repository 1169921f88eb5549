"""Seconds of pieces that a card still computes while Python launches the next ones."""

from collections.abc import Iterator

import pytest
import torch

from lumbar.networks import stopwatch
from lumbar.networks.device import Device
from lumbar.networks.stopwatch import LAG, Stopwatch

CPU = Device(torch.device("cpu"), None, "test", batch=4)


class Card:
    """A card that computes each piece in a second, one after another; its clock moves only while Python waits."""

    def __init__(self):
        self.now = 0.0
        self.in_flight: list[float] = []

    def event(self, _device: Device) -> "Event":
        ends = max([self.now, *self.in_flight]) + 1
        self.in_flight.append(ends)
        return Event(self, ends)


class Event:
    def __init__(self, card: Card, ends: float):
        self.card, self.ends = card, ends

    def synchronize(self) -> None:
        self.card.now = max(self.card.now, self.ends)
        self.card.in_flight.remove(self.ends)


@pytest.fixture
def card(monkeypatch) -> Card:
    card = Card()
    monkeypatch.setattr(stopwatch, "launched_so_far", card.event)
    return card


def test_a_card_has_the_next_piece_before_it_ends_one(card):
    watch = Stopwatch(CPU, lambda: card.now)
    for name in "abca":
        watch.lap(name)
        assert len(card.in_flight) <= LAG
    assert watch.seconds == {"a": 1, "b": 1, "c": 1}  # the second "a" is in flight
    watch.stop()
    assert watch.seconds == {"a": 2, "b": 1, "c": 1} and not card.in_flight


def test_a_cpu_has_ended_a_piece_when_it_was_launched():
    seconds: Iterator[float] = iter([10.0, 13.0, 18.0])
    watch = Stopwatch(CPU, lambda: next(seconds))
    watch.lap("a")
    watch.lap("b")
    assert watch.seconds == {"a": 3, "b": 5}
