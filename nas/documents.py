"""Documents: the one reader behind every door that takes a YAML, and the base of typed values.

Stricter than YAML itself where a person's mistake would pass unseen, and safe with any bytes:

- a key that stands twice in a mapping is an error (YAML libraries keep the last without a word);
- aliases may not unfold into more than MOST_VALUES values, nor hold themselves;
- UTF-8 and UTF-16 are read with or without a mark, UTF-32 with one; another encoding is named as
  the mistake that it is, apart from a path that can't be read and from text that is no YAML.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from nas import NasError

MOST_VALUES: Final = 1_000_000
"""Values in a document, each alias counted as what it stands for: far above any file of ours."""

DEEPEST: Final = 100
"""Lists and mappings inside one another."""

MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""What a file of an encoding begins with (UTF-32's mark begins with UTF-16's)."""

_MERGE: Final = "tag:yaml.org,2002:merge"


class Strict(BaseModel):
    """A document, or a part of one, as a typed value: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Form = TypeVar("Form", bound=BaseModel)


def read_json(
    path: Path,
    form: type[Form],
    what: str,
    error: type[NasError],
    remedy: Callable[[], str] = str,
) -> Form:
    """The value in a JSON file that this program wrote; `error` where it is of another form.

    what    the file's kind with its article and format, for messages
    remedy  says what to do where the form is broken; a file that can't be read is to be deleted
    """
    try:
        return form.model_validate_json(path.read_bytes())
    except OSError as problem:
        got = problem.strerror or str(problem)
        raise error(str(path), "the file can be read", got, "Delete it") from None
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        got = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise error(str(path), f"the file is {what}", got, remedy()) from None


Amend = Callable[[yaml.Node], None]
"""Changes the nodes of a document before they become values, such as the kind of a scalar."""


def read_yaml(
    path: Path, what: str, error: type[NasError] = NasError, amend: Amend | None = None
) -> Any:
    """The document in a YAML file; `error` where there is none.

    what   the file's kind with its article, for messages: "a recipe"
    """
    return parse_yaml(read_text(path, what, error), str(path), error, amend)


def read_text(
    path: Path, what: str, error: type[NasError] = NasError, *, is_lenient: bool = False
) -> str:
    """The text of a file, as Windows' editors and shells write it too; `error` where there is none.

    is_lenient  what can't be decoded is replaced, where only plain letters and digits matter
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise error(str(path), f"{what} exists", "no such file", "Correct the path") from None
    except OSError as problem:
        got = problem.strerror or str(problem)
        remedy = "Name a file that you may read"
        raise error(str(path), f"{what} is a readable file", got, remedy) from None
    return decoded(content, str(path), error, is_lenient=is_lenient)


def decoded(
    content: bytes, where: str, error: type[NasError] = NasError, *, is_lenient: bool = False
) -> str:
    """The text of a file by its mark, else as UTF-8; `error` where it is in another encoding."""
    marked = (name for mark, name in MARKS if content.startswith(mark))
    encoding = next(marked, None) or _unmarked(content)
    if is_lenient:
        return content.decode(encoding, errors="replace")
    try:
        if encoding != "utf-8" or b"\0" not in content:
            return content.decode(encoding)
        start = content.index(b"\0")
    except UnicodeDecodeError as problem:
        start = problem.start
    raise error(
        where,
        "the file's text is in UTF-8, or in UTF-16 with a mark",
        f"bytes of another encoding, first in line {content[:start].count(10) + 1}",
        "Save it as UTF-8 in an editor, or: "
        "iconv -f ITS_ENCODING -t UTF-8 FILE > NEW (GBK, CP1252, UTF-16LE, ...)",
    )


def _unmarked(content: bytes) -> str:
    """The encoding of a text without a mark: every second byte of Latin text in UTF-16 is zero."""
    if len(content) >= 2 and len(content) % 2 == 0:
        even, odd = content[0::2].count(0), content[1::2].count(0)
        if odd > len(content) // 4 and even == 0:
            return "utf-16-le"
        if even > len(content) // 4 and odd == 0:
            return "utf-16-be"
    return "utf-8"


def parse_yaml(
    text: str, where: str, error: type[NasError] = NasError, amend: Amend | None = None
) -> Any:
    """The document in YAML text; `error` names `where`, the line and the rule."""
    rule = "the file is plain YAML (no code, no tags)"
    loader = yaml.SafeLoader("")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if amend is not None:
            amend(root)
        _check(loader, root, where, error)
        return loader.construct_document(root)
    except yaml.MarkedYAMLError as problem:
        raise error(where, rule, _told(problem), "Correct that line") from None
    except yaml.reader.ReaderError as problem:
        got = f"the character {_character(problem)} at position {problem.position}"
        raise error(where, "the file is text", got, "Take it out") from None
    except RecursionError:
        raise _too_deep(where, error) from None
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as problem:
        # A tag or a date that does not fit its value: PyYAML's constructors check nothing.
        got = " ".join(str(problem).split())[:200]
        raise error(where, rule, f"a value that is none ({got})", "Put it in quotes") from None
    finally:
        loader.dispose()


def _told(problem: yaml.MarkedYAMLError) -> str:
    """What the parser objects to, and where, in a line."""
    mark = problem.problem_mark or problem.context_mark
    parts = [problem.context, problem.problem]
    reason = ", ".join(" ".join(part.split())[:200] for part in parts if part)
    return f"{reason} in line {mark.line + 1}" if mark else reason


def _character(problem: yaml.reader.ReaderError) -> str:
    code = problem.character if isinstance(problem.character, int) else ord(problem.character)
    return unicodedata.name(chr(code), f"U+{code:04X}")


def _check(loader: yaml.SafeLoader, root: yaml.Node, where: str, error: type[NasError]) -> None:
    """Raises where a key stands twice, or the document is too deep or too large to unfold.

    Nodes are visited children first, so that each knows how many values it stands for.
    """
    sizes: dict[int, int] = {}
    open_now: set[int] = set()
    todo: list[tuple[yaml.Node, bool]] = [(root, False)]
    while todo:
        node, is_done = todo.pop()
        if is_done:
            open_now.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
            if sizes[id(node)] > MOST_VALUES:
                got = "more, once its aliases are unfolded"
                rule = f"a document holds at most {MOST_VALUES:,} values"
                raise error(f"{where}:{_line(node)}", rule, got, "Write it out without aliases")
            continue
        if id(node) in open_now:
            got = "an alias for what it lies in"
            raise error(f"{where}:{_line(node)}", "a value does not hold itself", got, "Remove it")
        if id(node) in sizes:
            continue
        open_now.add(id(node))
        if len(open_now) > DEEPEST:
            raise _too_deep(where, error)
        todo.append((node, True))
        if isinstance(node, yaml.MappingNode):
            _check_keys(loader, node, where, error)
        todo += [(child, False) for child in _children(node)]


def _check_keys(
    loader: yaml.SafeLoader, mapping: yaml.MappingNode, where: str, error: type[NasError]
) -> None:
    """Raises where a key is no plain value, or stands twice; merged keys may be given again."""
    lines: dict[Hashable, int] = {}
    for node, _ in mapping.value:
        if node.tag == _MERGE:
            continue
        if not isinstance(node, yaml.ScalarNode):
            got = "a list or a mapping for a key"
            raise error(f"{where}:{_line(node)}", "a key is a plain value", got, "Correct it")
        key: Hashable = loader.construct_object(node)
        if key in lines:
            raise error(
                f"{where}:{_line(node)}",
                "a key stands once in a mapping",
                f"{node.value} again (first in line {lines[key]})",
                "Remove one of the two",
            )
        lines[key] = _line(node)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [one for pair in node.value for one in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _too_deep(where: str, error: type[NasError]) -> NasError:
    rule = f"lists and mappings lie at most {DEEPEST} deep in one another"
    return error(where, rule, "more", "Correct its brackets")
