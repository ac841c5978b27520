"""Where an INSERT's data starts, and what a reader may not say."""

import pytest

from infra.embedded.engine_sql import insert_head, look


@pytest.mark.parametrize(
    ("sql", "data", "reading"),
    [
        (b"INSERT INTO t FORMAT ArrowStream\n\xff\x00", b"\xff\x00", "INSERT INTO t FROM INFILE '/p' COMPRESSION 'none' FORMAT ArrowStream"),
        (b"insert into t (a, format) format Native", b"", "insert into t (a, format) FROM INFILE '/p' COMPRESSION 'none' FORMAT Native"),
        (
            b"INSERT INTO t SETTINGS a = 1, b = 'FORMAT x' FORMAT CSV;\r\n1",
            b"1",
            "INSERT INTO t FROM INFILE '/p' COMPRESSION 'none' SETTINGS a = 1, b = 'FORMAT x' FORMAT CSV",
        ),
        (
            b"INSERT INTO t SELECT f('FORMAT'), b FROM input('a UInt8, b String') WHERE x IN (SELECT 1) FORMAT Protobuf \n\x08",
            b"\x08",
            "INSERT INTO t SELECT f('FORMAT'), b FROM file('/p', 'Protobuf', 'a UInt8, b String', 'none') WHERE x IN (SELECT 1)",
        ),
        ("INSERT INTO t /* ü FORMAT */ SELECT 'é', a FROM input($$a String$$) FORMAT JSONEachRow".encode(), b"", None),
        (
            b'-- words\nINSERT INTO `input` (a) FORMAT JSONEachRow {"a":1}',
            b'{"a":1}',
            "-- words\nINSERT INTO `input` (a) FROM INFILE '/p' COMPRESSION 'none' FORMAT JSONEachRow",
        ),
    ],
)
def test_insert_heads(sql: bytes, data: bytes, reading: str | None) -> None:
    head = insert_head(sql)
    assert head is not None
    assert sql[head.data_start :] == data
    text = head.reading("/p")
    if reading is None:
        assert "file('/p', 'JSONEachRow', $$a String$$, 'none')" in text
        assert "'é'" in text
    else:
        assert " ".join(text.split(" ")).replace("  ", " ").strip() == reading


@pytest.mark.parametrize(
    "sql",
    [
        b"",
        b"SELECT 1 FORMAT CSV",
        b"INSERT INTO t VALUES (1)",
        b"INSERT INTO t SELECT 1",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
    ],
)
def test_other_statements_have_no_head(sql: bytes) -> None:
    assert insert_head(sql) is None


@pytest.mark.parametrize(
    ("sql", "forbidden"),
    [
        (b"SELECT file('/x')", "file"),
        (b"SELECT * FROM `url` ('x')", "url"),
        (b"SELECT 1 INTO /* */ OUTFILE 'x'", "INTO OUTFILE"),
        (b"SELECT * FROM s3Cluster('x')", "s3Cluster"),
        (b"SELECT 'file(1)', url, file FROM t -- file('x')", None),
        (b"SELECT domain(url), profile(1) FROM t", None),
    ],
)
def test_what_reaches_out_is_found(sql: bytes, forbidden: str | None) -> None:
    assert look(sql).forbidden == forbidden


def test_statements_are_told_apart() -> None:
    assert look(b"SELECT 1; SELECT 2").several
    assert not look(b"SELECT ';' -- ;\n;").several
    assert look(b"  with a as (select 1) select * from a").reads
    assert not look(b"/* SELECT */ DROP TABLE t").reads
    assert look(b"SELECT 1 FORMAT JSONCompact;").format == "JSONCompact"
    assert look(b"SELECT 1 AS format, x").format is None
    assert look(b"SELECT 1 FORMAT CSV SETTINGS a = 1").format == "CSV"
