"""Sections of docs/benchmarks.md that belong to one script each. Knows marks in a text, nothing else."""

import re


def _marks(name):
    return f"<!-- {name} -->", f"<!-- /{name} -->"


def _pattern(name):
    begin, end = _marks(name)
    return re.compile(re.escape(begin) + r"\n.*?" + re.escape(end) + r"\n?", re.S)


def put(path, name, text):
    """Puts a section into the file, in the place of its older self, or at the end."""
    begin, end = _marks(name)
    whole = f"{begin}\n{text.strip()}\n{end}\n"
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    if _pattern(name).search(old):
        path.write_text(_pattern(name).sub(lambda _: whole, old))
    else:
        path.write_text(old.rstrip("\n") + "\n\n" + whole)


def carry(old, new):
    """`new`, with the sections of `old` at its end: who writes the rest of the file has not made them."""
    for m in re.finditer(r"<!-- (\w+) -->\n.*?<!-- /\1 -->\n?", old, re.S):
        new = new.rstrip("\n") + "\n\n" + m[0].rstrip("\n") + "\n"
    return new
