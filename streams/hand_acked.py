"""Faust's events, acknowledged by hand and by nobody else."""

import faust


class HandAcked(faust.Event):
    """An event whose offset may be committed once `done` is called.

    Faust's own stream acknowledges the records it skips while partitions move, also in a stream that asked for no acknowledgements
    (the interpreted `Stream`; the compiled one does not). A record that is skipped was not handled.
    """

    def ack(self) -> bool:
        """Do nothing; it is Faust that calls this."""
        return False

    def done(self) -> None:
        """Everything the record asked for is done."""
        super().ack()
