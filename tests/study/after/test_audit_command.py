"""`python -m nas.audit`, as a person runs it: on a run, again, and on what has changed since."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from nas.study.after.audit import AuditFile
from tests.study.checkout import command, make_checkout, search

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six made-up scores, whose audit teaches for three steps."""
    folder = make_checkout(tmp_path_factory.mktemp("audit"))
    (folder / "few.yaml").write_text("kind: fake\nworkers: 1\nfinish: {picks: 1, steps: 3}\n")
    flags = ("--proxy", "few.yaml", "--run", "a", "--no-baselines", "--budget")
    for budget in ("3", "6"):
        running = search(folder, *flags, budget)
        out, err = running.communicate(timeout=300)
        assert running.returncode == 0, err
        assert ("python -m nas.audit" in out) == (budget == "6"), "three can't be audited"
    return folder


def _audit(checkout: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(checkout, "nas.audit", *flags),
        cwd=checkout, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip


def test_an_audit_is_kept_with_its_run_and_told_by_the_next_search(checkout: Path) -> None:
    first = _audit(checkout, "runs/a", "--count", "4")
    assert first.returncode == 0, first.stderr
    assert "4 of the 6 graded architectures" in first.stderr
    assert "study_name" not in first.stderr, "a library's own log is not for the user"
    kept = AuditFile.model_validate_json((checkout / "runs/a/audit.json").read_text())
    assert len(kept.architectures) == 4
    assert sum(len(one["taught_map50_95"]) for one in kept.architectures) == 5
    assert "after 3 steps" in kept.taught_kind
    for line in kept.words:
        assert line in " ".join(first.stdout.split()) or line in first.stdout
    # Nothing is taught again, and one document stands alone on stdout.
    files = {path: path.stat().st_mtime_ns for path in (checkout / "runs/a/taught").iterdir()}
    again = _audit(checkout, "runs/a", "--count", "4", "--json")
    assert again.returncode == 0, again.stderr
    assert AuditFile.model_validate(json.loads(again.stdout)) == kept
    assert {path: path.stat().st_mtime_ns for path in files} == files
    running = search(
        checkout, "--proxy", "few.yaml", "--run", "a", "--no-baselines", "--budget", "6"
    )
    out, _ = running.communicate(timeout=300)
    assert f"Audit: {kept.words[0]}" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("runs/a", "--count", "2"), "an order is told of at least 4 architectures; got 2"),
        (("runs/a", "--band", "5", "4"), "the lower one first; got (5.0, 4.0)"),
        (("runs/a", "--band", "0.0001", "0.0002"), "at least 4 graded architectures are in"),
        (("runs/none",), "a settings.yaml"),
    ],
)
def test_a_mistake_is_one_message(checkout: Path, flags: tuple[str, ...], message: str) -> None:
    found = _audit(checkout, *flags)
    assert found.returncode == 2
    assert message in found.stderr
    assert found.stderr.count("error:") == 1
    assert found.stdout == ""


def test_data_that_has_changed_is_refused(checkout: Path) -> None:
    label = next((checkout / "pictures" / "labels" / "train").iterdir())
    before = label.read_text()
    label.write_text(before + "0 0.5 0.5 0.2 0.2\n")
    try:
        found = _audit(checkout, "runs/a")
    finally:
        label.write_text(before)
    assert found.returncode == 2
    assert "an audit is on the data that was searched on" in found.stderr
    assert "data that has changed" in found.stderr
    assert "another --run" in found.stderr
