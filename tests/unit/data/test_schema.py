"""The notation of the schema and the values of a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.readers import reader_of
from raykd.data.schema import Column, InputSchema
from raykd.errors import ConfigError, DataError


def parse(schema: InputSchema, line: str) -> dict[str, object]:
    return dict(schema.parse_row(reader_of("rows.tsv").cells(line, schema.names)))


def test_reads_the_notation() -> None:
    schema = InputSchema.parse("sent:str:1, label:str:1,weight:float:1,logits:float:2")
    assert schema.names == ("sent", "label", "weight", "logits")
    assert schema.column("logits") == Column("logits", "float", 2)
    assert [column.is_list for column in schema.columns] == [False, False, False, True]
    with pytest.raises(ConfigError, match=r"'text' is not a column .* sent, label, weight, logits"):
        schema.column("text")


@pytest.mark.parametrize(
    "text", ["", "sent", "sent:str", "sent:text:1", ":str:1", "sent:str:-1", "sent:str:one", "sent:str:1,"]
)
def test_refuses_other_notations(text: str) -> None:
    with pytest.raises(ConfigError, match="name:type:length"):
        InputSchema.parse(text)


def test_refuses_a_name_given_twice() -> None:
    with pytest.raises(ConfigError, match="'a' twice"):
        InputSchema.parse("a:str:1,b:str:1,a:int:1")


def test_values_of_a_line() -> None:
    schema = InputSchema.parse("text:str:1,count:int:1,logits:float:2,any:int:0", strict=False)
    assert parse(schema, "\t7\t0.5,-1e-3\t1,2,3\tignored\textra") == {
        "text": "",
        "count": 7,
        "logits": [0.5, -0.001],
        "any": [1, 2, 3],
    }


@pytest.mark.parametrize(
    ("schema", "line", "complaint"),
    [
        ("a:str:1", "", "blank"),
        ("a:str:1,b:str:1", "only", "1 column where 2 are needed .a, b."),
        ("a:str:1,b:str:1,c:str:1", "x\ty", "2 columns where 3 are needed"),
        ("a:int:1", "1.5", "'1.5', not a number of type int"),
        ("a:int:1,b:str:1", "\tx", "column 'a' is '', not a number"),
        ("a:float:1,b:str:1", "\tx", "column 'a' is '', not a number"),
        ("a:float:1", "nan", "not a finite number"),
        ("a:int:1", str(2**63), "64 bits"),
        ("a:float:2", "1,2,3", "3 numbers, not 2: '1,2,3'"),
        ("a:float:2", "1,", "'', not a number"),
        ("a:str:1,b:str:1", "x\ty\tz", "3 columns where input_schema has 2 .a, b.; replace tabs"),
        ("a:str:1,b:str:1", "a\tb", "the names of the columns"),
        ("a:float:1", "x" * 1000, r"'x{37}\.\.\.'"),
    ],
)
def test_what_does_not_parse(schema: str, line: str, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        parse(InputSchema.parse(schema), line)


CELLS = st.text(st.characters(blacklist_characters="\t\n", blacklist_categories=("Cs",)))


@given(st.lists(CELLS, min_size=1, max_size=5))
def test_text_comes_through_as_it_is_or_not_at_all(cells: list[str]) -> None:
    schema, line = "a:str:1,b:str:1,c:str:1", "\t".join(cells)
    if len(cells) == 3 and cells != ["a", "b", "c"]:
        assert list(parse(InputSchema.parse(schema), line).values()) == cells
    else:
        with pytest.raises(DataError):
            parse(InputSchema.parse(schema), line)
    if len(cells) >= 3:
        assert list(parse(InputSchema.parse(schema, strict=False), line).values()) == cells[:3]
