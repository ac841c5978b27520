"""What `topics apply` and `tables apply` share: print how things differ from what is declared, ask, and mend it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, TypeVar

import typer

from infra.cli.control import print_json

D = TypeVar("D")

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; changes only with --yes.")]


def bring_up_to_date(
    differences: Callable[[], Coroutine[Any, Any, Sequence[D]]],
    apply: Callable[[Sequence[D]], Coroutine[Any, Any, None]],
    *,
    yes: bool,
    json: bool,
    complete: str,
    reason: Callable[[Exception], str | None],
    mendable: Callable[[D], bool] = lambda _: True,
    plain: Callable[[D], Any] = str,
) -> None:
    """Print every difference, ask unless told `yes`, and apply those that are `mendable`; `complete` is printed when there is none.

    `plain` is a difference in JSON. `reason` puts an expected error into words, None for any other. Raises `typer.Exit` with status 1 after an expected
    error, and when a difference is left that only a person can mend.
    """
    try:
        wanted = asyncio.run(differences())
        mend = [each for each in wanted if mendable(each)]
        if not json:
            for each in wanted:
                typer.echo(f"{'+' if mendable(each) else '!'} {each}")
        done = bool(mend) and (yes or (not json and typer.confirm("Apply this?", abort=True)))
        if done:
            asyncio.run(apply(mend))
    except Exception as error:
        said = reason(error)
        if said is None:
            raise
        typer.echo(f"Error: {said}", err=True)
        raise typer.Exit(1) from error
    if json:
        print_json({"applied": done, "differences": [plain(each) for each in wanted]})
    elif not wanted:
        typer.echo(complete)
    elif done:
        typer.echo("Done.")
    if len(mend) < len(wanted):
        raise typer.Exit(1)
