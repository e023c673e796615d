"""How often something happens, by a clock that the test holds."""

from __future__ import annotations

from nerfblendshape_ns.common import rate


def test_events_of_the_last_two_seconds_are_counted_however_many(monkeypatch):
    now = 0.0
    monkeypatch.setattr(rate.time, "monotonic", lambda: now)
    events = rate.Rate()
    assert events.per_second() == 0.0
    for number in range(1000):
        now = number / 256
        events.happened()
    assert events.per_second() == 256.5  # Both ends counted.
    assert len(events._times) == 513, "older ones are forgotten"
    now += 1.5
    assert events.per_second() == 64.5
    now += 10.0
    assert events.per_second() == 0.0
