"""Texts that are too many for one statement, in lists that are not."""

from collections.abc import Iterator, Sequence


def batches(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """The texts in their order, in lists of so many bytes of UTF-8 at most, or of one text that has more."""
    batch: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode())
        if batch and size + length > most:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += length
    if batch:
        yield batch
