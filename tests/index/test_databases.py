"""What an index is kept in: what is none, is from a newer auditor, cannot be reached or is not installed."""

from __future__ import annotations

import builtins
import contextlib
import sqlite3

import pytest

from auditor.cli.main import main
from auditor.index import Access, default_place, open_index


def refused(capsys, place, *told, verb=("list",)):
    assert main(["index", *verb, "--to", str(place)]) == 2
    error = capsys.readouterr().err
    for part in told:
        assert part in error


def test_no_index_yet(tmp_path, capsys):
    refused(capsys, tmp_path / "none.sqlite3", "there is no index", "auditor index add")
    assert not (tmp_path / "none.sqlite3").exists()


def test_nothing_is_made_by_asking(office):
    for verb in (["list"], ["rebuild"], ["show", "one"]):
        office.index(*verb, code=2)
        assert "auditor index add DIR" in office.told


def test_a_file_that_is_no_database(tmp_path, capsys):
    place = tmp_path / "notes.txt"
    place.write_text("no database at all\n" * 100)
    refused(capsys, place, "cannot be used", "not a database")
    refused(capsys, place, "cannot be used", verb=("add", str(tmp_path)))
    assert place.read_text().startswith("no database")


def test_a_database_of_somebody_else_is_not_an_index(tmp_path, capsys):
    place = tmp_path / "other.sqlite3"
    with sqlite3.connect(place) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER)")
    connection.close()
    refused(capsys, place, "holds no index")


@pytest.mark.parametrize(
    ("schema", "told"),
    [("auditor.index/2", "from a newer auditor"), ("auditor.index/0", "not read any more"), ("x", "not read any more")],
)
def test_an_index_of_another_schema(office, schema, told):
    office.run("one")
    office.add()
    with open_index(office.place, Access.MAKE) as database:
        database.put("UPDATE auditor_index SET value = ?", [(schema,)])
    office.index("list", code=2)
    assert told in office.told


def test_a_directory_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    refused(capsys, tmp_path / "file" / "index.sqlite3", "cannot be used", verb=("add", str(tmp_path)))


def test_a_server_that_is_not_there(tmp_path, capsys):
    refused(capsys, f"postgresql://me:secret@/db?host={tmp_path}", "postgresql://me@/db", "cannot be used")


def test_a_password_is_never_told(tmp_path, capsys):
    main(["index", "list", "--to", f"postgresql://me:s3cret@/db?host={tmp_path}&password=s3cret"])
    main(["index", "list", "--to", "mysql://me:s3cret@host/db"])
    shown = capsys.readouterr()
    assert "s3cret" not in shown.out + shown.err
    assert "neither a path nor a URL" in shown.err


def test_postgresql_without_its_client(monkeypatch, capsys):
    load = builtins.__import__

    def without(name, *arguments, **named):
        if name == "psycopg":
            raise ImportError(name)
        return load(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(capsys, "postgresql://host/db", "psycopg is not installed", "pip install 'auditor[postgres]'")


def test_a_url_of_a_file_and_the_users_own_place(tmp_path, monkeypatch):
    with open_index(f"sqlite:///{tmp_path}/a.sqlite3", Access.MAKE):
        assert (tmp_path / "a.sqlite3").is_file()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_place() == tmp_path / "data" / "auditor" / "index.sqlite3"
    with open_index(None, Access.MAKE):
        assert default_place().is_file()


def test_a_reader_does_not_wait_for_a_writer_that_goes_on(office):
    """What is being written is not seen before it is whole."""
    office.run("one")
    office.add()
    with open_index(office.place, Access.MAKE) as writer, writer.writing():
        writer.put("UPDATE auditor_runs SET model = ?", [("other",)])
        with open_index(office.place) as reader:
            assert reader.ask("SELECT model FROM auditor_runs") == [("tiny",)]


def test_what_fails_in_the_middle_is_not_stored(office):
    office.run("one")
    office.add()
    with open_index(office.place, Access.MAKE) as database:
        with contextlib.suppress(KeyboardInterrupt), database.writing():
            database.put("DELETE FROM auditor_runs", [()])
            raise KeyboardInterrupt
        assert database.ask("SELECT model FROM auditor_runs") == [("tiny",)]
