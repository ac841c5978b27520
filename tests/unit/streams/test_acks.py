"""An event is acknowledged once, when its last obligation is released."""

from streams.acks import Ack


def test_the_last_release_acknowledges_and_only_once() -> None:
    released: list[int] = []
    ack = Ack(lambda: released.append(1))
    ack.hold()
    ack.hold()
    ack.done()
    ack.done()
    assert released == []
    ack.done()
    assert released == [1]
