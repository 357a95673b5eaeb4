"""A table in a text file, as sites save it: commas, semicolons or tabs, with or without a byte order mark."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.problem import WrongInput


@dataclass(frozen=True, slots=True)
class Row:
    """`line` is where it ends in the file, `cells` are by column."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """Names of columns are in lower case. With a decimal comma, 0,5 is a number."""

    path: Path
    sha256: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    decimal_comma: bool

    def needs(self, column: str, what: str) -> None:
        """Raises WrongInput where there is no such column; `what` it is for."""
        if column not in self.columns:
            raise WrongInput(
                f"{self.path}, line 1: there is no column '{column}' ({what}) among"
                f" {', '.join(self.columns)}: add it, or name it so."
            )

    def problem(self, row: Row, column: str, what: str) -> WrongInput:
        """What is wrong with a cell and what to do, with its place."""
        return WrongInput(f"{self.path}, line {row.line}, column {column}: {what}")

    def number(self, row: Row, column: str) -> float:
        """The number in a cell; raises WrongInput where there is none."""
        text = row.cells[column]
        try:
            return float(text.replace(",", ".") if self.decimal_comma else text)
        except ValueError:
            raise self.problem(row, column, "it is no number: correct it.") from None


def read_sheet(path: Path) -> Sheet:
    """Raises WrongInput where the file is no table with a header and at least one row."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WrongInput(
            f"{path} cannot be read: {error.strerror}. Check its name and permissions."
        ) from None
    text = _decoded(path, content)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        table = list(_table(text, delimiter))
    except csv.Error as error:
        raise WrongInput(f"{path} is no CSV file ({error}): save the table as CSV.") from None
    if not table:
        raise WrongInput(f"{path} is empty: it needs a header and a row for each case.")
    (_, header), *body = table
    columns = _columns(path, header)
    if not body:
        raise WrongInput(f"{path} has a header and no rows: add a row for each case.")
    rows = tuple(Row(line, _cells(path, line, columns, cells)) for line, cells in body)
    return Sheet(path, hashlib.sha256(content).hexdigest(), columns, rows, delimiter != ",")


def _decoded(path: Path, content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        # Excel saves CSV in the code page of Windows.
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise WrongInput(f"{path} is no text file: save the table as CSV (UTF-8).")


def _table(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each line that is not blank, with its number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    for cells in reader:
        stripped = [cell.strip() for cell in cells]
        if any(stripped):
            yield reader.line_num, stripped


def _columns(path: Path, header: list[str]) -> tuple[str, ...]:
    columns = tuple(name.lower() for name in header)
    for number, name in enumerate(columns, 1):
        if not name:
            raise WrongInput(f"{path}, line 1: column {number} has no name: name it or delete it.")
        if columns.count(name) > 1:
            raise WrongInput(f"{path}, line 1: two columns are named '{name}': rename or delete one.")
    return columns


def _cells(path: Path, line: int, columns: tuple[str, ...], cells: list[str]) -> Mapping[str, str]:
    if len(cells) != len(columns):
        raise WrongInput(
            f"{path}, line {line}: {len(cells)} cells where the header has {len(columns)} columns:"
            " correct the line, with quotes around text that holds a separator."
        )
    return dict(zip(columns, cells, strict=True))
