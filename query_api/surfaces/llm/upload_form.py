"""A form with a file, as a request carries it."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final, NamedTuple

from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from infra.runtime.errors import ValidationFailed
from query_api.domain.dataset_files import SentFile

_MAX_FIELDS: Final = 10_000


class UploadForm(NamedTuple):
    """The fields of a form and its one file."""

    fields: Mapping[str, Sequence[str]]
    file: SentFile


async def read_form(headers: Headers, body: bytes) -> UploadForm:
    """Takes a multipart body apart (RFC 7578). Raises ValidationFailed for one that is broken or has no part `file`."""
    try:
        form = await MultiPartParser(headers, _once(body), max_files=1, max_fields=_MAX_FIELDS).parse()
    except (MultiPartException, ValueError, KeyError) as error:
        raise ValidationFailed(f"The multipart body is broken: {getattr(error, 'message', error)}") from error
    file, fields = None, dict[str, list[str]]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            file = (name, value)
        else:
            fields.setdefault(name, []).append(value)
    if file is None or file[0] != "file":
        raise ValidationFailed("The form has no part `file` with a file name; it carries the examples.")
    sent = file[1]
    body = await sent.read()
    await form.close()
    return UploadForm(fields, SentFile(sent.filename or "", sent.content_type or "", sent.headers.get("content-encoding", ""), body))


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
