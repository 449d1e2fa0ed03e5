"""Laws of the YAML reader: what every door that takes a YAML relies on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nas import NasError
from nas.documents import DEEPEST, parse_yaml, read_yaml

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=20,
)


def message(text: str) -> str:
    with pytest.raises(NasError) as caught:
        parse_yaml(text, "f.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@given(DOCUMENTS)
def test_reads_what_a_writer_wrote(document: object) -> None:
    # As text: NaN is no equal of itself.
    text = yaml.safe_dump(document, sort_keys=False)
    assert repr(parse_yaml(text, "f.yaml")) == repr(document)


@given(st.text(alphabet=st.sampled_from("ab:-?&*<![]{}#|>'\"\n\t ,1.~%@\x00é"), max_size=60))
@settings(max_examples=500)
def test_any_text_is_a_document_or_one_message(text: str) -> None:
    told = "f.yaml"
    try:
        parse_yaml(text, "f.yaml")
    except NasError as error:
        told = str(error)
    assert told.startswith("f.yaml")
    assert "\n" not in told


@given(st.binary(max_size=40))
def test_any_bytes_are_a_document_or_one_message(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.yaml"
    path.write_bytes(content)
    told = str(path)
    try:
        read_yaml(path, "a file")
    except NasError as error:
        told = str(error)
    assert told.startswith(str(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.yaml").write_bytes("name: Zelle ä 细胞\n".encode(encoding))
    assert read_yaml(tmp_path / "a.yaml", "a file") == {"name": "Zelle ä 细胞"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_plain_letters_in_utf_16_are_read_without_a_mark(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.yaml").write_bytes("nc: 1\nname: cell\n".encode(encoding))
    assert read_yaml(tmp_path / "a.yaml", "a file") == {"nc": 1, "name": "cell"}


@pytest.mark.parametrize("encoding", ["gbk", "latin-1"])
def test_another_encoding_is_told_from_another_path(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.yaml").write_bytes("nc: 1\nname: ¤°\n".encode(encoding))
    with pytest.raises(NasError) as caught:
        read_yaml(tmp_path / "a.yaml", "a file")
    assert "the file's text is in UTF-8, or in UTF-16 with a mark" in str(caught.value)
    assert "first in line 2. Save it as UTF-8" in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    for path, expected in ((tmp_path / "no.yaml", "a recipe exists"), (tmp_path, "a recipe is a")):
        with pytest.raises(NasError, match=expected):
            read_yaml(path, "a recipe")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nc: 3\nnames: [a]\nnc: 4\n", "f.yaml:3: a key stands once in a mapping; got nc again"),
        ("a:\n  - {b: 1, 'b': 2}\n", "f.yaml:2: a key stands once in a mapping; got b again"),
        ("1: a\n1.0: b\n", "got 1.0 again (first in line 1)"),
        ("? &k nc\n: 1\n*k : 2\n", "got nc again"),
        ("? [1]\n: 2\n", "f.yaml:1: a key is a plain value; got a list"),
        ("a: &x [*x]\n", "a value does not hold itself"),
        ("[" * 5000, f"lie at most {DEEPEST} deep in one another"),
        ("[" * 200 + "]" * 200, f"lie at most {DEEPEST} deep in one another"),
        ("a: !!python/object/apply:os.getcwd []\n", "plain YAML (no code, no tags)"),
        ("a: !!bool maybe\n", "a value that is none"),
        ("a: 2026-13-45\n", "Put it in quotes"),
        ("a: " + "9" * 5000 + "\n", "a value that is none"),
        ("a: b: c\n", "mapping values are not allowed here in line 1"),
        ("a:\n\tb: 1\n", r"found character '\t' that cannot start any token in line 2"),
        ("a: \0\n", "the file is text; got the character U+0000"),
        ("a: 1\n---\nb: 2\n", "another document in line 2"),
    ],
)
def test_a_mistake_gets_one_message(text: str, expected: str) -> None:
    assert expected in message(text)


def test_aliases_and_merge_keys_are_read_and_not_unfolded_without_end() -> None:
    text = "base: &b {x: 1, y: 2}\nown:\n  <<: *b\n  x: 3\nagain: *b\n"
    found = parse_yaml(text, "f.yaml")
    assert found["own"] == {"x": 3, "y": 2}
    assert found["again"] == {"x": 1, "y": 2}
    levels = ["a0: &a0 [1]"] + [
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)
    ]
    assert "once its aliases are unfolded" in message("\n".join(levels))
