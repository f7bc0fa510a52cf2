"""Tables for people: aligned columns, of which some give way on a narrow terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

DIM = "2"


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    gives_way: Sequence[str] = (),
    last: int = 0,
    least: Sequence[int] = (),
    colour: bool = False,
    styles: Sequence[str] = (),
) -> Iterator[str]:
    """Yield the lines of a table: the header, and a line for each row.

    :param rows: escaped text, a cell for each column; the last column is as wide as it is.
    :param width: columns of the terminal, at which a line ends with `…`; None cuts nothing.
    :param gives_way: columns that are left out, in this order, until a line fits.
    :param last: characters of the last column that have to fit.
    :param least: characters that each column has at least.
    :param styles: the colour of each row, as a number of SGR (ECMA-48).
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    widths = list(map(max, widths, least or widths))
    shown = list(range(len(header)))
    for name in gives_way:
        total = sum(widths[place] + 2 for place in shown[:-1]) + last
        if width is None or total <= width:
            break
        shown.remove(header.index(name))

    def line(row: Sequence[str]) -> str:
        cells = [f"{row[place]:<{widths[place]}}" for place in shown[:-1]]
        return cut("  ".join([*cells, row[-1]]).rstrip(), width)

    yield painted(line(header), DIM, colour=colour)
    for number, row in enumerate(rows):
        yield painted(line(row), styles[number] if styles else "0", colour=colour)


def cut(text: str, width: int | None) -> str:
    """Return the text, ended with `…` where the terminal ends."""
    return text if width is None or len(text) <= width else text[: max(0, width - 1)] + "…"


def painted(text: str, style: str, *, colour: bool) -> str:
    """Return the text in a colour or style of the terminal."""
    return f"\x1b[{style}m{text}\x1b[0m" if colour and style != "0" else text
