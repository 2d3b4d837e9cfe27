"""Reads a table as text: UTF-8, or UTF-16 with its byte order mark. Refuses a workbook in words."""

from __future__ import annotations

import codecs
from pathlib import Path

from ....core.protocols import DataError

AS_UTF8 = (
    'Save it as CSV UTF-8: in Excel with File > Save As > "CSV UTF-8", in LibreOffice as "Text CSV" with the character '
    "set UTF-8, in Google Sheets with File > Download > Comma-separated values."
)
_NUM_SEEN = 1000


def text_of(table: Path) -> str:
    """Returns the whole text; bytes that are not UTF-8 become lone surrogates, so that their lines can be reported.

    Raises `DataError` for a file that cannot be read, a workbook (.xlsx, .xls, .ods), and UTF-16 without its mark.
    """
    try:
        data = table.read_bytes()
    except OSError as err:
        raise DataError(f"cannot be read: {err.strerror}.", where=str(table)) from err
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise DataError("this is a workbook (.xlsx, .ods, .xls), not a text table.", where=str(table), fix=AS_UTF8)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as err:
            raise DataError(f"not UTF-16 at byte {err.start}.", where=str(table), fix=AS_UTF8) from err
    if b"\0" in data[:_NUM_SEEN]:
        what = "not UTF-8 text: it has zero bytes, as UTF-16 without a byte order mark has."
        raise DataError(what, where=str(table), fix=AS_UTF8)
    return data.decode("utf-8-sig", errors="surrogateescape")


def is_utf8(text: str) -> bool:
    """Returns whether all bytes of a text of `text_of` were UTF-8."""
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)
