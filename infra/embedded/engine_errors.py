"""What an engine exception means over HTTP: its code and the status ClickHouse's own server answers with."""

import re

_CODE = re.compile(r"Code: (\d+)\.")
_NAME = re.compile(r"\(([A-Z0-9_]+)\)\s*\Z")
_TWICE = re.compile(r"\A(Code: \d+\. DB::Exception: )\1")

_STATUS: dict[int, int] = {
    194: 401,  # REQUIRED_PASSWORD
    **dict.fromkeys((192, 193, 497, 516), 403),  # unknown user, wrong password, access denied, authentication failed
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 81, 82, 86, 115, 511), 404),  # UNKNOWN_*
    **dict.fromkeys((6, 25, 26, 27, 36, 38, 41, 42, 43, 53, 62, 70, 72, 117, 167, 168, 169, 321, 69), 400),
    48: 501,  # NOT_IMPLEMENTED
    202: 503,  # TOO_MANY_SIMULTANEOUS_QUERIES
    209: 503,  # SOCKET_TIMEOUT
    223: 413,  # QUERY_IS_TOO_LARGE
}


class EngineFailure(Exception):
    """A request that the engine, or the door in front of it, refused."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def name(self) -> str:
        """The code in words, such as SYNTAX_ERROR; empty when the message has none."""
        match = _NAME.search(self.message)
        return match.group(1) if match else ""


def failure(code: int, name: str, text: str) -> EngineFailure:
    """A refusal of our own in the words of the server: `Code: N. DB::Exception: text. (NAME)`."""
    return EngineFailure(code, f"Code: {code}. DB::Exception: {text}. ({name})")


def from_engine(error: BaseException) -> EngineFailure:
    """Read the code out of the engine's message; 1002 (UNKNOWN_EXCEPTION) when there is none."""
    text = _TWICE.sub(r"\1", str(error))
    match = _CODE.search(text)
    if match is None:
        return EngineFailure(1002, f"Code: 1002. DB::Exception: {text}. (UNKNOWN_EXCEPTION)")
    return EngineFailure(int(match.group(1)), text)


def status_of(code: int) -> int:
    """The HTTP status for an exception code; 500 for all that have none of their own."""
    return _STATUS.get(code, 500)
