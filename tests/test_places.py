"""A name is looked up here, then among the user's data, then in what ships."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from nas import doctor, places, predict, profile
from nas.latency.answer import LatencyKind
from nas.latency.device import DeviceError, TableKey, read_device, read_devices
from nas.latency.estimated.own_times import put_in_place
from nas.latency.estimated.tables import estimate_path, read_estimate, write_estimate
from nas.latency.load import load_table_model
from nas.latency.measured.table import TableError, missing_table, open_table
from nas.space.references import reference_files
from nas.space.search_space import SPACES, SpaceError, read_space
from nas.space.spec import SpecError, read_spec
from tests.conftest import ROOT
from tests.latency.boards import KEY, profiled

PI4 = TableKey(device="rpi4", threads=4)
SPACE = (SPACES / "tiny.yaml").read_text()
LONG = "x" * 300


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, beside an empty folder of the user's data."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_what_ships_is_found_from_an_empty_folder() -> None:
    assert read_space("tiny").name == "tiny"
    assert read_device("rpi4").name == "rpi4"
    assert read_spec("yolov5n") == read_spec("search_spaces/reference/yolov5n.yaml")
    assert len(reference_files()) == len(list((SPACES / "reference").glob("*.yaml")))
    assert load_table_model(PI4).kind is LatencyKind.ESTIMATED
    # Looking makes nothing.
    assert not list(Path().iterdir())
    assert not places.of_user("latency_tables").parent.exists()


def test_the_nearer_space_goes_first() -> None:
    shipped = read_space("tiny")
    users = SPACE.replace("[64, 96]", "[64, 96, 640]")
    put(places.of_user("search_spaces"), "tiny.yaml", users)
    put(places.of_user("search_spaces"), "mine.yaml", SPACE)
    assert read_space("tiny").options()["image_size"][-1] == 640
    assert read_space("mine").digest == shipped.digest
    put(Path("search_spaces"), "tiny.yaml", SPACE.replace("[64, 96]", "[64, 96, 960]"))
    assert read_space("tiny").options()["image_size"][-1] == 960
    with pytest.raises(SpaceError) as caught:
        read_space("none")
    message = str(caught.value)
    assert "tiny (in search_spaces); " in message
    assert f"mine (in {places.of_user('search_spaces')})" in message
    assert f"(in {SPACES})" in message


def test_a_path_means_itself() -> None:
    put(Path("search_spaces"), "tiny.yaml", SPACE)
    mine = put(Path("deep/er"), "tiny.yaml", SPACE.replace("[64, 96]", "[64, 96, 960]"))
    assert read_space(str(mine)).options()["image_size"][-1] == 960
    assert read_space(mine.resolve()).options()["image_size"][-1] == 960
    assert read_space("search_spaces/grid.yaml").digest == read_space("grid").digest


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../tiny", "/tiny", "a/tiny", "reference/yolov5n", "a\\b", "~", LONG]
)
def test_what_is_no_space_is_one_message(name: str) -> None:
    with pytest.raises(SpaceError) as caught:
        read_space(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere.yaml", "../tiny.yaml", "search_spaces/x.yaml", "a/x"])
def test_a_path_to_nothing_lists_the_names(name: str) -> None:
    with pytest.raises(SpaceError, match=r"There are: .*grid"):
        read_space(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../rpi4", "/rpi4", "a/rpi4", "rpi4/", "./rpi4", "models", "a\\b", "*", LONG],
)
def test_what_is_no_device_is_one_message(name: str) -> None:
    with pytest.raises(DeviceError, match=r"Known here: .*fake.*host.*rpi4") as caught:
        read_device(name)
    assert "\n" not in str(caught.value)


def test_a_board_of_ones_own_is_known_where_the_message_says_to_put_it() -> None:
    text = (ROOT / "latency_tables" / "rpi5" / "device.yaml").read_text()
    with pytest.raises(DeviceError) as caught:
        read_device("mine")
    users = places.of_user("latency_tables")
    assert f"here in latency_tables/NAME/ or in {users / 'NAME'}" in str(caught.value)
    put(users, "mine/device.yaml", text.replace("title:", "title: a"))
    assert read_device("mine").title.startswith("a ")
    put(Path("latency_tables"), "mine/device.yaml", text.replace("title:", "title: b"))
    assert read_device("mine").title.startswith("b ")
    assert [device.name for device in read_devices()].count("mine") == 1


def test_a_model_of_ones_own_goes_before_that_which_ships() -> None:
    text = (SPACES / "reference" / "yolov5n.yaml").read_text()
    mine = put(Path("search_spaces/reference"), "yolov5n.yaml", text.replace("0.25", "0.5"))
    assert read_spec("yolov5n") == read_spec(mine)
    put(Path(), "mine.yaml", text)
    assert reference_files().count(mine) == 1
    # A name with an ending is a file and nothing else; a folder of the name is no model.
    Path("yolov8n").mkdir()
    assert read_spec("yolov8n").num_classes == 80
    with pytest.raises(SpecError, match="goes by its name without an ending"):
        read_spec("yolov8n.yaml")


def test_ones_own_space_scales_a_model_that_ships() -> None:
    mine = put(Path(), "mine.yaml", (SPACES / "grid.yaml").read_text())
    assert read_space(mine).digest == read_space("grid").digest


def test_what_a_person_makes_goes_here_or_to_the_user() -> None:
    users = places.of_user("latency_tables")
    with open_table(KEY) as writer:
        writer.start_session({})
    assert (users / "fake" / "ncnn-fp32-1t.jsonl").is_file()
    Path("latency_tables").mkdir()
    with open_table(KEY) as writer:
        writer.start_session({})
    assert Path("latency_tables/fake/ncnn-fp32-1t.jsonl").is_file()
    # The nearer one answers now.
    assert KEY.path() == Path("latency_tables/fake/ncnn-fp32-1t.jsonl")


def test_a_table_that_was_just_begun_hides_no_whole_one() -> None:
    users = places.of_user("latency_tables")
    profiled(users)
    Path("latency_tables").mkdir()
    with open_table(KEY) as writer:
        writer.start_session({})
    assert KEY.path() == users / "fake" / "ncnn-fp32-1t.jsonl"
    assert load_table_model(KEY).kind is LatencyKind.PREDICTED


def test_nothing_is_written_among_what_a_wheel_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "nas"
    shutil.copytree(ROOT / "latency_tables" / "fake", package / "latency_tables" / "fake")
    monkeypatch.setattr(places, "PACKAGE", package)
    assert places.shipped("latency_tables") == package / "latency_tables"
    monkeypatch.chdir(package)
    assert places.home("latency_tables") == places.of_user("latency_tables")
    assert places.shipped("search_spaces") == package.parent / "search_spaces"


def test_places_of_one_device_come_together(capsys: pytest.CaptureFixture[str]) -> None:
    users = places.of_user("latency_tables")
    profile.run(profile.Arguments(device="fake", space="tiny", validate=8))
    assert not (users / "fake" / "device.yaml").exists()
    predict.run(predict.Arguments(model=Path("yolov5n"), device="fake"))
    assert "(predicted;" in capsys.readouterr().out
    error = str(missing_table(TableKey(device="fake", threads=2)))
    assert f"ncnn-fp32-1t (measured) (in {users / 'fake'})" in error


def test_an_estimate_of_ones_own_answers_and_the_shipped_one_stays() -> None:
    shipped = estimate_path(PI4)
    table = read_estimate(PI4)
    assert table is not None
    before = shipped.read_bytes()
    said = put_in_place(table.model_copy(update={"sources": ["my log"], "date": "2026-01-01"}))
    users = places.of_user("latency_tables") / "rpi4" / shipped.name
    assert said[0] == f"written: {users}"
    assert f"which is kept as {shipped}" in said[1]
    assert shipped.read_bytes() == before
    found = read_estimate(PI4)
    assert found is not None
    assert found.sources == ["my log"]
    # Here goes before the user's.
    Path("latency_tables").mkdir()
    assert write_estimate(table) == Path("latency_tables/rpi4") / shipped.name
    assert read_estimate(PI4) == table


def test_a_measured_table_anywhere_wins_over_a_nearer_estimate() -> None:
    users = places.of_user("latency_tables")
    profiled(users)
    table = read_estimate(PI4)
    assert table is not None
    put(Path("latency_tables"), "fake/x", "")
    write_estimate(table.model_copy(update={"device": "fake", "threads": 1}))
    assert load_table_model(KEY).kind is LatencyKind.PREDICTED


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder would be")
    with (
        pytest.raises(TableError, match=r"can be written; .*has a folder latency_tables/"),
        open_table(KEY),
    ):
        pass
    Path("latency_tables").mkdir()
    with open_table(KEY) as writer:
        writer.start_session({})


def test_a_file_named_like_a_place_is_no_place() -> None:
    for name in ("search_spaces", "latency_tables"):
        put(Path(), name, "")
    assert read_space("tiny").name == "tiny"
    assert places.home("latency_tables") == places.of_user("latency_tables")


def test_the_doctor_knows_the_devices_from_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    doctor.run(doctor.Arguments(device="host"))
    assert "as device host" in capsys.readouterr().out
