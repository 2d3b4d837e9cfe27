"""Records the Java tokenizer's answers to a grid of addresses, tags and odd characters in `ptb_java_grid.json`.

python tests/metrics/record_java.py
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

from java_tokenizer import JAVA, without_punctuation

HOSTS = (
    *("www.a.com", "WWW.Foo.NET", "www.foo-bar.co.uk", "www.x_y.zz", "www.foo.info", "www.foo"),
    *("foo.com", "1.com", "\u00e9.com", "a@b.org"),
)
PATHS = (
    *("", "/", "/a", "/a/b.html", "/a.", "/a,", "/a?b=c&d=e", "/~x", "/#y", "?q=1", "/(x)", "/a's", ":80/x"),
    *("/\u00e9", "/1", "//", "/\U0001f600", "/\U0001d7d7", "/a\xa0"),
)
AROUND = ("see {} now", "{}.", "({}), ok")
VALUES = (
    "",
    "=",
    "=v",
    "=v1",
    '="v"',
    "='v'",
    '="a b"',
    '=""',
    " = v",
    ' = "v"',
    '="(v)"',
    "=#fff",
    "=10%",
    '="v>',
    "=é",
)
TAGS = ("<a b{}>", "<img b{}/>", "<p b{} c='d'>", "<x:y b-c{} >", "see <b a{}>now</b>")
OTHER_TAGS = "<br> <br/> <br /> </p> </p > </a b> <!-- x --> <!a (b)> <?xml (v)?> <1> <é> < b> <a  b> <a\xa0b> <_a>"
ODD = (
    "\U0001d7d7",
    "\U0001f600",
    "\U0001d482",
    "\u0669",
    "\u1090",
    "\ua620",
    "\u0527",
    "\u0528",
    "\u4e2d",
    "\xb2",
    "\u2163",
)
ODD_IN = ("{}", "a {} dog", "a{}b", "1{}2", "{}.", "No. {}", "{}/2", "Jan.{}", ":){}", "x.{}y", "www.a.com/{}", "#{}a")
ACROSS = (
    *(
        "No. 5",
        "no.  5",
        "figs. 2 and 3",
        "3 1/2",
        "3  1/2",
        "(555) 123 4567",
        "555 123 4567",
        "555 1234",
        "12 (34) 5678",
    ),
    *(
        "Co. Ltd",
        "co. lim",
        "co. dog",
        "Pty. Ltd",
        ". . .",
        "a . . b",
        ". . .5",
        "dog. . . The",
        "K. The dog",
        "K.  The dog",
    ),
    *(
        "K.\tThe dog",
        "K. the dog",
        "K. <b> dog",
        "U.S. The dog",
        "K. \xa0The dog",
        "Jan. The",
        "a b. He runs",
        "5. He",
        "e. 5",
    ),
    *(
        "a www.a.com/x\xa0",
        "www.a.com/x\xa0 b",
        "www.a.com/x\xa0.",
        "3\xa01/2",
        "a <b c",
        "d> e",
        "<b c='d e'> f",
        ":) (",
        ") 5 (",
    ),
)


def grid() -> list[str]:
    """Captions, each followed by a plain one, so that none looks at another."""
    addresses = [around.format(host + path) for host, path, around in product(HOSTS, PATHS, AROUND)]
    tags = [tag.format(value) for tag, value in product(TAGS, VALUES)] + OTHER_TAGS.split(" ")
    odd = [around.format(character) for character, around in product(ODD, ODD_IN)]
    across = [around.format(text) for text, around in product(ACROSS, ("{}", "a {} b", "a {}. The"))]
    return [caption for text in (*addresses, *tags, *odd, *across) for caption in (text, "two dogs")]


def main() -> None:
    """Writes the file anew."""
    captions = grid()
    pairs = list(zip(captions, map(without_punctuation, JAVA.lines(captions)), strict=True))
    lines = ",\n  ".join(json.dumps(pair) for pair in pairs[::2])
    Path(__file__).with_name("ptb_java_grid.json").write_text(
        f'{{\n "made_with": "{JAVA.name}; \\"two dogs\\" after every caption",\n "captions": [\n  {lines}\n ]\n}}\n',
        "utf-8",
    )


if __name__ == "__main__":
    main()
