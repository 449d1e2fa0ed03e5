"""What a run leaves: the fields that others rely on, and numbers that agree with each other."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from nas.accuracy import Regrade, Score, SharedWeightsSettings, ShortTrainingSettings
from nas.latency.answer import LatencyKind
from nas.report.figures import pareto_figure, write_figure
from nas.report.files import COLUMNS, MEASURED_COLUMNS, front_table, summary_lines, write_report
from nas.report.hover import readable
from nas.space.search_space import architecture_digest
from nas.space.spec import read_spec
from nas.study.after.baselines import grade_baselines, grid, references, spread
from nas.study.after.finalists import Front, plain_front, regrade_front
from nas.study.after.picks import Taught, choose_picks
from nas.study.candidates import anchors_like
from nas.study.findings import Findings
from nas.study.on_disk.record import Record
from nas.study.trial import Ending, Outcome, Trial
from nas.study.workers import Inline
from tests.study.boards import MacBoard, candidates_of, notebook, search
from tests.study.on_disk.test_run import some_settings

EMPTY = Findings(
    settings=some_settings(),
    ending=Ending(trials=(), is_exhausted=False),
    front=Front(points=(), finalists=0, flattery=None, left_out=0),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """A search under a limit, its finalists graded again, its grid graded."""
    folder = tmp_path_factory.mktemp("search")
    ending = search(folder, notebook(), budget=25, limit_ms=20.0)
    record = Record(f"journal:{folder / 'further.log'}", "further")
    grader = Inline(notebook().proxy)
    front = regrade_front(ending.graded, Regrade(share=0.5), 0, record, grader, lambda *_: None)
    found = grid(candidates_of("large"), MacBoard())
    graded = grade_baselines(spread(found, 3, 20.0), 0, record, grader, lambda *_: None)
    return Findings(
        settings=some_settings(max_latency_ms=20.0, budget=25),
        ending=ending,
        front=front,
        baselines=(*graded, *found[-2:]),
    )


def test_pareto_json_has_the_fields_that_others_rely_on(tmp_path: Path, report: Findings) -> None:
    write_report(report, tmp_path)
    document = json.loads((tmp_path / "pareto.json").read_text())
    assert list(document) == [
        "format", "device", "runtime", "precision", "threads", "space", "data", "seed",
        "limits", "trials_finished", "front", "taught", "baselines", "core_seconds", "runners_up",
        "verification",
    ]  # fmt: skip
    assert document["trials_finished"] == 25
    told = {one["name"]: one for one in document["baselines"]}
    assert told.keys() == {one.name for one in report.baselines}
    for one in report.baselines:
        score = None if one.score is None else one.score.score
        assert (told[one.name]["latency_ms"], told[one.name]["score"]) == (one.latency.ms, score)
    for point in document["front"]:
        assert list(point) == [
            "name", "digest", "model", "image_size", "latency_ms", "latency_low_ms",
            "latency_high_ms", "latency_kind", "score", "score_kind", "map50_95", "map50",
            "params", "macs", "file_mb", "memory_mb", "nearest_limit", "nearest_limit_share",
            "believed", "believed_low", "believed_high", "told_apart",
            *MEASURED_COLUMNS,
        ]  # fmt: skip
        assert all(point[name] is None for name in MEASURED_COLUMNS), "nothing is measured yet"
        assert point["latency_low_ms"] <= point["latency_ms"] <= point["latency_high_ms"]
        assert point["latency_ms"] <= 20.0
        assert point["nearest_limit"] == "latency_ms"
        assert point["nearest_limit_share"] == pytest.approx(point["latency_ms"] / 20, abs=1e-4)
        assert point["map50_95"] is None
        assert "not a mAP" in point["score_kind"]


def test_the_models_are_those_that_were_graded(tmp_path: Path, report: Findings) -> None:
    write_report(report, tmp_path)
    document = json.loads((tmp_path / "pareto.json").read_text())
    for point in document["front"]:
        spec = read_spec(tmp_path / point["model"])
        assert architecture_digest(spec, point["image_size"]) == point["digest"]
        assert spec.num_classes == 6


def test_the_csvs_say_what_the_json_says(tmp_path: Path, report: Findings) -> None:
    write_report(report, tmp_path)
    front = json.loads((tmp_path / "pareto.json").read_text())["front"]
    with (tmp_path / "pareto.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{k: "" if v is None else str(v) for k, v in p.items()} for p in front] == rows
    with (tmp_path / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    assert len(trials) == 25
    for row, trial in zip(trials, report.ending.graded, strict=True):
        assert set(COLUMNS) < row.keys()
        assert int(row["number"]) == trial.number
        assert {n: str(v) for n, v in trial.candidate.choices} == {
            n: row[n] for n, _ in trial.candidate.choices
        }
    assert {row["model"] for row in trials if row["model"]} == {p["model"] for p in front}


def test_models_that_left_the_front_go_and_nothing_else(tmp_path: Path, report: Findings) -> None:
    write_report(report, tmp_path)
    (tmp_path / "models" / "mine.yaml").write_text("mine")
    smaller = replace(report, front=replace(report.front, points=report.front.points[:1]))
    write_report(smaller, tmp_path)
    name = report.front.points[0].name
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [f"{name}.yaml", "mine.yaml"]
    assert not list(tmp_path.rglob(".*"))


def test_nothing_graded_is_a_report_too(tmp_path: Path) -> None:
    write_report(EMPTY, tmp_path)
    write_figure(EMPTY, tmp_path / "pareto.html")
    assert json.loads((tmp_path / "pareto.json").read_text())["front"] == []
    columns = ",".join((*COLUMNS, *MEASURED_COLUMNS))
    assert (tmp_path / "pareto.csv").read_text().strip() == columns
    assert "no architecture has been graded yet" in _printed(EMPTY)


def _printed(report: Findings) -> str:
    wide = Console(width=140)
    with wide.capture() as capture:
        wide.print(front_table(report))
        for line in summary_lines(report):
            wide.print(line, soft_wrap=True)
    return capture.get()


def test_the_table_says_which_latency_and_which_score(report: Findings) -> None:
    text = _printed(report)
    assert "predicted ms" in text
    assert "measured" not in text
    assert "score, no mAP" in text
    assert "mAP50-95" not in text
    assert "off by 5.0% (MAPE) on whole detectors held out" in " ".join(text.split())
    refused = report.ending.count(Outcome.REFUSED)
    assert f"{refused} refused over 20 ms (predicted) without training" in text
    assert all(point.name in text for point in report.front.points)


def test_what_is_remarkable_is_said(report: Findings) -> None:
    trial = report.ending.graded[0]
    lost = Score(score=0.0, kind="k", is_map=False, seconds=1.0, is_diverged=True)
    ending = Ending(
        trials=(replace(trial, score=lost), *report.ending.trials[1:]), is_exhausted=True
    )
    text = " ".join(summary_lines(replace(report, ending=ending)))
    assert "1 trainings diverged and score 0" in text
    assert "the space has no other architecture within 20 ms" in text
    assert f"{report.front.finalists} finalists were graded again" in text


def test_the_figure_shows_every_trial_front_limit_and_baselines(report: Findings) -> None:
    figure = pareto_figure(report)
    by_name = {trace.name: trace for trace in figure.data}
    points = sum(len(t.x) for name, t in by_name.items() if name.startswith(("graded", "front")))
    left = report.front.finalists - len(report.front.points)
    assert points == 25
    assert left >= 0
    front = next(t for name, t in by_name.items() if name.startswith("front"))
    assert front.line.shape == "hv"
    assert list(front.x) == [p.trial.latency.ms for p in report.front.points]
    assert len(next(t for n, t in by_name.items() if n.endswith("size grid (3)")).x) == 3
    assert any("latency only" in name for name in by_name)
    assert any(shape.x0 == shape.x1 == 20.0 for shape in figure.layout.shapes)
    assert "predicted" in figure.layout.title.text
    assert "5.0%" in figure.layout.title.text
    assert figure.layout.xaxis.title.text.startswith("predicted latency, ms")
    assert figure.layout.yaxis.title.text == "proxy score (not a mAP)"
    for trace in figure.data:
        assert all("stage1: " in hover for hover in trace.hovertext or ())


def test_the_page_needs_no_network(tmp_path: Path, report: Findings) -> None:
    write_figure(report, tmp_path / "pareto.html")
    page = (tmp_path / "pareto.html").read_text(encoding="utf-8")
    assert len(page) > 1_000_000
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=", page)
    # A name out of the user's data can't become markup.
    data = report.settings.data.model_copy(update={"name": "<script>alert(1)</script>"})
    odd = replace(report, settings=report.settings.model_copy(update={"data": data}))
    write_figure(odd, tmp_path / "odd.html")
    assert "<script>alert(1)" not in (tmp_path / "odd.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_figure_of_hardly_anything(report: Findings, count: int) -> None:
    ending = Ending(trials=report.ending.trials[:count], is_exhausted=False)
    few = replace(report, ending=ending, front=plain_front(ending.graded), baselines=())
    pareto_figure(few).to_json()


@pytest.mark.browser
def test_the_page_draws_in_a_browser(tmp_path: Path, report: Findings, chromium: str) -> None:
    write_figure(report, tmp_path / "pareto.html")
    page = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
            (tmp_path / "pareto.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    drawn = page[page.index("<body") :]
    assert "predicted latency, ms" in drawn
    assert "limit 20 ms (predicted)" in drawn
    assert drawn.count('class="point"') >= 25


def estimated(report: Findings) -> Findings:
    """The same search, on a table of estimates."""

    def of(trial: Trial) -> Trial:
        latency = replace(trial.latency, kind=LatencyKind.ESTIMATED, high_ms=1.5 * trial.latency.ms)
        return replace(trial, latency=latency)

    points = tuple(replace(point, trial=of(point.trial)) for point in report.front.points)
    return replace(
        report,
        ending=replace(report.ending, trials=tuple(of(t) for t in report.ending.trials)),
        front=replace(report.front, points=points),
        doubts=("how far off", "never seen: a thing", "measure it <so>"),
    )


def test_an_estimate_is_called_so_everywhere(tmp_path: Path, report: Findings) -> None:
    told = estimated(report)
    text, plain = _printed(told), " ".join(_printed(told).split())
    assert "estimated ms" in text
    assert "held-out networks of public logs" in plain
    assert "whole detectors" not in plain
    assert "refused over 20 ms (estimated)" in plain
    assert "The limit was held against the estimate alone" in plain
    assert all(f"Latency table: {doubt}" in plain for doubt in told.doubts)
    figure = pareto_figure(told)
    assert figure.layout.xaxis.title.text.startswith("estimated latency, ms")
    assert "held-out networks of public logs" in figure.layout.title.text
    write_figure(told, tmp_path / "pareto.html")
    page = (tmp_path / "pareto.html").read_text(encoding="utf-8")
    drawn = page[page.rindex("</script>") :]
    for said in ("how far off", "never seen: a thing", "measure it &lt;so&gt;"):
        assert f"<p>latency table: {said}</p>" in drawn
    assert figure.layout.annotations[0].text == "limit 20 ms (estimated)"
    # Lines of the title don't stand on the plot.
    lines = figure.layout.title.text.count("<br>")
    assert figure.layout.margin.t > 26 * lines
    hovers = [text for trace in figure.data for text in trace.hovertext or ()]
    assert any("ms estimated (" in hover for hover in hovers)


def test_an_architecture_can_be_read(report: Findings) -> None:
    lines = readable(report.ending.graded[0].candidate)
    assert lines[0].startswith("image size ")
    assert any(
        re.fullmatch(r"stage3: (Fused)?MBConv \d+ x\d k\d e\d( SE 0\.25)?", x) for x in lines
    )
    assert any(line.startswith("neck: ") for line in lines)


def test_the_grid_is_plain_and_drawn_from_the_space() -> None:
    found = grid(candidates_of("large"), MacBoard())
    options = candidates_of("large").space.options()
    assert len(found) == 3 * len(options["image_size"])
    assert len({b.candidate.digest for b in found}) == len(found)
    assert [b.latency.ms for b in found] == sorted(b.latency.ms for b in found)
    for baseline in found:
        choices = dict(baseline.candidate.choices)
        shares = {
            options[n].index(v) / (len(options[n]) - 1)
            for n, v in choices.items()
            if n.endswith(".width") and len(options[n]) == 3
        }
        assert len(shares) == 1
        assert all(v == options[n][0] for n, v in choices.items() if n.endswith(".operator"))


def test_references_are_whatever_lies_there(
    tmp_path: Path, report: Findings, caplog: pytest.LogCaptureFixture
) -> None:
    assert references(candidates_of("tiny"), MacBoard(), tmp_path) == []
    write_report(report, tmp_path)
    (tmp_path / "models" / "broken.yaml").write_text("nc: 3\n")
    found = references(candidates_of("tiny"), MacBoard(), tmp_path / "models")
    assert len(found) == len(report.front.points)
    assert all(b.candidate.image_size == 64 for b in found)
    assert all(b.candidate.spec.num_classes == 6 for b in found)
    assert "baseline broken is left out" in caplog.text


def test_references_of_fewer_levels_get_the_datas_anchors_too() -> None:
    found = {b.name.split(",")[0]: b for b in references(candidates_of("tiny"), MacBoard())}
    two = found["yolov3-tiny"].candidate.spec.anchors
    three = found["yolov5n"].candidate.spec.anchors
    assert [len(level) for level in two] == [6, 6]
    flat = [value for level in three for value in level]
    sizes = sorted(zip(flat[::2], flat[1::2], strict=True), key=math.prod)
    assert (two[0][:2], two[1][-2:]) == (sizes[0], sizes[-1])
    assert found["yolov8n"].candidate.spec.anchors == ()


def test_anchors_like_others_keep_their_order() -> None:
    nine = tuple(tuple(float(6 * level + i) + 1 for i in range(6)) for level in range(3))
    assert anchors_like(nine, nine) == nine
    assert anchors_like(nine, ()) == nine
    (four,) = anchors_like(nine, ((1, 2) * 4,))
    assert four == (1, 2, 7, 8, 11, 12, 17, 18)
    more = anchors_like(nine, ((1, 2) * 5, (1, 2) * 5))
    assert [len(level) for level in more] == [10, 10]


def test_baselines_are_spread_and_stay_in_the_plot() -> None:
    found = grid(candidates_of("large"), MacBoard())
    for count in range(6):
        chosen = spread(found, count, 30.0)
        assert len(chosen) == min(count, sum(b.latency.ms <= 30.0 for b in found))
        assert len({b.name for b in chosen}) == len(chosen)
        assert all(b.latency.ms <= 30.0 for b in chosen)


def _real(report: Findings, best: float) -> Findings:
    """The same search, as if its scores were mAPs of a short training, the best of them so high."""
    top = max(t.score.score for t in report.ending.graded if t.score)
    trials = tuple(
        trial
        if trial.score is None
        else replace(
            trial,
            score=Score(
                score=best * trial.score.score / top, kind="short_training, mAP50-95", is_map=True,
                seconds=1.0, map50_95=best * trial.score.score / top, map50=1.0,
            ),
        )
        for trial in report.ending.trials
    )  # fmt: skip
    ending = Ending(trials=trials, is_exhausted=False)
    settings = some_settings(proxy=ShortTrainingSettings(steps=30))
    return replace(
        report, settings=settings, ending=ending, front=plain_front(ending.graded), baselines=()
    )


def test_scores_that_say_nothing_are_told(report: Findings) -> None:
    text = " ".join(summary_lines(_real(report, 0.009)))
    assert "after 30 steps no detector has learnt enough" in text
    assert "steps: 120" in text
    assert "no detector has learnt" not in " ".join(summary_lines(_real(report, 0.2)))


def test_scores_of_shared_weights_that_say_nothing_are_told(report: Findings) -> None:
    settings = some_settings(proxy=SharedWeightsSettings(steps=1500))
    low = replace(_real(report, 0.009), settings=settings)
    text = " ".join(summary_lines(low))
    assert "after 1500 steps no detector has learnt enough" in text
    assert "kind: shared_weights and steps: 6000" in text


def test_taught_picks_lie_beside_their_models_and_on_the_page(
    tmp_path: Path, report: Findings
) -> None:
    real = _real(report, 0.3)
    points = choose_picks(real.front, 2)
    assert [p.trial.latency.ms for p in points] == sorted(p.trial.latency.ms for p in points)
    assert max(p.score for p in real.front.points) == points[-1].score
    weights = tmp_path / "kept.pt"
    weights.write_bytes(b"weights")
    score = Score(
        score=0.5, kind="mAP50-95 after 9 steps", is_map=True, seconds=90.0,
        map50_95=0.5, map50=0.7,
    )  # fmt: skip
    found = replace(
        real,
        taught={p.trial.candidate.digest: Taught(score=score, weights=weights) for p in points},
        spent={"search": 60.0, "teaching": 180.0},
    )
    write_report(found, tmp_path / "run")
    document = json.loads((tmp_path / "run" / "pareto.json").read_text())
    assert [one["name"] for one in document["taught"]] == [p.name for p in points]
    for one in document["taught"]:
        assert (tmp_path / "run" / one["weights"]).read_bytes() == b"weights"
        assert (tmp_path / "run" / one["weights"]).with_suffix(".yaml").exists()
        assert one["map50_95"] == 0.5
    assert document["core_seconds"] == {"search": 60.0, "teaching": 180.0}
    text = " ".join(summary_lines(found))
    assert "2 models of the front were taught to the end (mAP50-95 after 9 steps" in text
    assert "Minutes of one core: search 1.0, teaching 3.0." in text
    stars = next(t for t in pareto_figure(found).data if "taught to the end" in t.name)
    assert list(stars.y) == [0.5, 0.5]
    assert list(stars.x) == [p.trial.latency.ms for p in points]
    # A pick that has left the front takes its weights along.
    write_report(replace(found, front=replace(real.front, points=points[:1])), tmp_path / "run")
    assert len([*(tmp_path / "run" / "models").glob("*.pt")]) == 1
