"""Windows that one `refresh` brings up to date in every grain; the refresher is told so with `grains=()`."""

from schemas import position
from schemas.windows import Grain
from streams.publish_windows import WindowWriter
from streams.refresher import Batch, Redefinition, Subject


class WholeRefresh:
    """What such windows answer to the refresher beside `refresh`, and how far those of each subject are."""

    ending = False
    """Whether they have the second of a kind's watermarks, as `WindowWriter.watermark` tells them apart."""

    def __init__(self, writer: WindowWriter) -> None:
        self._writer = writer
        self._positions: dict[Subject, position.Positions] = {}

    async def refresh_window(self, subject: Subject, grain: Grain, start_us: int) -> None:
        """Nothing: `refresh` has done it."""

    async def redefined(self, subject: Subject) -> Redefinition | None:
        """Nothing is left to compute anew: `refresh` does it all."""
        return None

    async def caught_up(self, subject: Subject, positions: position.Positions, redefinition: int) -> None:
        """Nothing is left to say: the watermark of `refresh` holds for every window."""

    def forget(self) -> None:
        """Drop everything cached: subjects may have gone to another worker."""
        self._positions.clear()
        self._writer.forget()

    async def _merged(self, subject: Subject, batch: Batch) -> position.Positions:
        """What the subject's windows include once they include the batch. Raises ClickHouseError."""
        known = self._positions.get(subject)
        if known is None:
            known = (await self._writer.reached(subject.tenant, subject.name, ending=self.ending)).positions
        return position.merge(known, batch.positions)

    async def _reached(self, subject: Subject, positions: position.Positions) -> None:
        """Say that every window of the subject includes these positions. Raises ClickHouseError."""
        await self._writer.watermark(subject.tenant, subject.name, positions, ending=self.ending)
        self._positions[subject] = positions
