"""Shared weights: taught once, kept by what they depend on, read and never changed."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas import NasError
from nas.accuracy import (
    Finish,
    Score,
    SharedWeightsSettings,
    build_proxy,
    build_teacher,
    check_proxy,
    prepare_proxy,
    shared_teaching,
    weights_file,
)
from nas.data.dataset import DataConfig
from nas.detector.faces import SupernetError
from nas.space.anchors import scale_anchors
from nas.space.search_space import read_space
from nas.training.on_disk.checkpoint import load_checkpoint
from nas.training.sharing.kept import core_seconds, read_shared
from nas.training.sharing.teaching import SharedTraining
from tests.accuracy.learnable import candidates, learnable_data, some_candidates

SETTINGS = SharedWeightsSettings(steps=6, batch_size=4, image_scale=1.0, lr=0.01)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def prepared(
    settings: SharedWeightsSettings = SETTINGS,
    data: DataConfig | None = None,
    space: str = "tiny",
    seed: int = 0,
) -> Path:
    found = prepare_proxy(
        settings, data or learnable_data(), read_space(space), candidates().build, seed
    )
    assert found is not None
    return found


def test_weights_are_taught_once(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    file = prepared()
    assert cache in file.parents
    assert "teaching the weights that all candidates share, once" in capsys.readouterr().err
    before = file.read_bytes()
    # What they do not depend on teaches no others.
    beside = SETTINGS.model_copy(update={"calibration_batches": 2, "val_images": 4, "workers": 3})
    assert prepared(beside) == file
    assert capsys.readouterr().err == ""
    assert file.read_bytes() == before


def test_what_they_depend_on_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_teaching, "_teach", lambda path, *_: path.touch())
    monkeypatch.setattr(shared_teaching, "check_shared", lambda *_: None)
    changes = ({"steps": 7}, {"lr": 0.02}, {"image_scale": 0.9}, {"pretrained": "none"})
    files = [prepared(), prepared(seed=1), prepared(data=replace(learnable_data(), digest="1"))]
    files += [prepared(SETTINGS.model_copy(update=change)) for change in changes]
    larger = replace(candidates(), anchors=scale_anchors(candidates().anchors, 2))
    other = prepare_proxy(SETTINGS, learnable_data(), read_space("tiny"), larger.build, 0)
    assert len({*files, other}) == len(files) + 1


def test_killed_and_gone_on_equals_never_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, whole = read_shared(prepared())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    monkeypatch.setattr(shared_teaching, "KEEP_EVERY", 2)
    step = SharedTraining.one_step

    def dies(training: SharedTraining) -> torch.Tensor:
        if training.step == 5:
            raise KeyboardInterrupt
        return step(training)

    with monkeypatch.context() as patch:
        patch.setattr(SharedTraining, "one_step", dies)
        with pytest.raises(KeyboardInterrupt):
            prepared()
    assert len([*(tmp_path / "other").rglob("*.state.pt")]) == 1
    capsys.readouterr()
    file = prepared()
    assert "from step 4 on" in capsys.readouterr().err
    assert [*(tmp_path / "other").rglob("*.state.pt")] == []
    assert torch.equal(read_shared(file)[1], whole)
    assert 0 < (core_seconds(file) or 0) < 1000


def test_weights_are_the_same_by_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, found = torch.get_num_threads(), []
    for threads in (1, 4):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / str(threads)))
        torch.set_num_threads(threads)
        try:
            found.append(read_shared(prepared())[1])
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(count)
    assert torch.equal(*found)


def _elsewhere(file: Path, queue: multiprocessing.Queue[Score]) -> None:
    torch.set_num_threads(1)
    queue.put(build_proxy(SETTINGS, learnable_data(), file).score(some_candidates(1)[0], 3))


def test_a_score_is_the_same_in_every_process_and_leaves_the_weights_alone() -> None:
    file = prepared()
    before = file.read_bytes()
    proxy = build_proxy(SETTINGS, learnable_data(), file)
    own = proxy.score(some_candidates(1)[0], 3)
    for candidate in some_candidates(3):
        proxy.score(candidate, 0)
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[Score] = context.Queue()
    process = context.Process(target=_elsewhere, args=(file, queue))
    process.start()
    found = queue.get(timeout=120)
    process.join()
    again = proxy.score(some_candidates(1)[0], 3)
    for other in (found, again):
        assert replace(other, seconds=0.0) == replace(own, seconds=0.0)
    assert file.read_bytes() == before


def test_what_is_taught_to_the_end_begins_with_what_the_search_taught(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"finish": Finish(steps=1)})
    file, data = prepared(settings), learnable_data()
    candidate = some_candidates(1)[0]
    supernet, values = read_shared(file)
    begun = supernet.read(candidate.spec, values)[0].state_dict()
    score = build_teacher(settings, data, tmp_path, file).score(candidate, 0)
    assert score.kind == "mAP50-95 after 1 steps at its own image size from shared weights"
    taught = load_checkpoint(weights_file(tmp_path, candidate.digest, 0)).weights
    other = build_teacher(settings, data, tmp_path / "other").score(candidate, 0)
    assert other.kind.endswith("from starter")
    apart = load_checkpoint(weights_file(tmp_path / "other", candidate.digest, 0)).weights
    filters = [name for name, value in begun.items() if value.dim() == 4]
    near = max(float((taught[name] - begun[name]).abs().max()) for name in filters)
    far = max(float((apart[name] - begun[name]).abs().max()) for name in filters)
    assert near < 0.01 < far


def test_a_longer_teaching_scores_better() -> None:
    longer = SETTINGS.model_copy(update={"steps": 120})
    scores = []
    for settings in (SETTINGS, longer):
        proxy = build_proxy(settings, learnable_data(), prepared(settings))
        scores.append(max(proxy.score(one, 0).score for one in some_candidates(3)))
    assert scores[1] > scores[0]
    assert scores[1] > 0.05


def test_bad_input_is_told_before_anything_is_taught(cache: Path) -> None:
    check_proxy(SETTINGS, read_space("tiny"))
    with pytest.raises(SupernetError, match="a space of stages"):
        check_proxy(SETTINGS, read_space("compound"))
    with pytest.raises(SupernetError, match="shuffle, stage 1: one of its operators is MBConv"):
        check_proxy(SETTINGS, read_space("shuffle"))
    with pytest.raises(SupernetError, match=r"mixed, stem\.operator: every option is one of"):
        check_proxy(SETTINGS, read_space("mixed"))
    assert not cache.exists()


def test_a_kept_file_that_is_another_or_damaged_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    file = prepared()
    document = torch.load(file, weights_only=True)
    document["space"]["stages"][2]["width"] = [16, 32]
    torch.save(document, file)
    with pytest.raises(SupernetError, match="stage 3: its weights are those of tiny"):
        prepared()
    file.write_bytes(file.read_bytes()[:2000])
    for read in (prepared, lambda: build_proxy(SETTINGS, learnable_data(), file)):
        with pytest.raises(NasError, match="Delete it: the same command teaches"):
            read()
    file.unlink()
    assert prepared() == file


def test_a_run_goes_on_with_its_own_copy(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run := tmp_path / "run").mkdir()

    def of_run() -> Path | None:
        space = read_space("tiny")
        return prepare_proxy(SETTINGS, learnable_data(), space, candidates().build, 0, run)

    file = of_run()
    assert file is not None
    assert file.parent == run
    (kept,) = cache.rglob("*.pt")
    assert file.read_bytes() == kept.read_bytes()
    kept.unlink()
    monkeypatch.setattr(shared_teaching, "_teach", None)
    assert of_run() == file
    file.write_bytes(b"")
    with pytest.raises(SupernetError, match="Delete it"):
        of_run()


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    with pytest.raises(NasError, match="XDG_CACHE_HOME"):
        prepared()
