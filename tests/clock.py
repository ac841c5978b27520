"""A clock for tests."""


class HandClock:
    """Stands until a test moves it."""

    def __init__(self, us: int = 1_790_000_000_000_000) -> None:
        self.us = us

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return self.us / 1e6

    def forward(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)
