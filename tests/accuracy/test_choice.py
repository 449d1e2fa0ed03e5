"""A proxy's YAML: what comes in comes out, and every mistake has one message."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nas.accuracy import (
    PROXIES,
    FakeSettings,
    ProxyError,
    Regrade,
    SharedWeightsSettings,
    ShortTrainingSettings,
    default_proxy,
    parse_proxy,
    read_proxy,
    worker_count,
)
from nas.space.search_space import read_space

SPACES = Path("search_spaces")
SHARING = ("fused_mbconv", "tiny")

NAMES = "short_training, shared_weights, fake, macs, naswot"


@pytest.mark.parametrize("path", sorted(SPACES.glob("*.yaml")), ids=lambda path: path.stem)
def test_candidates_of_stages_share_weights_by_default(path: Path) -> None:
    # compound scaling and YOLOv5's multiples have whole models; shuffle's blocks have no slots.
    own = SharedWeightsSettings() if path.stem in SHARING else ShortTrainingSettings()
    assert default_proxy(read_space(path)) == own


@pytest.mark.parametrize("name", sorted(PROXIES))
def test_a_name_means_its_defaults(name: str, tmp_path: Path) -> None:
    settings = read_proxy(name)
    assert settings == PROXIES[name]()
    file = tmp_path / "proxy.yaml"
    file.write_text(f"kind: {name}\n")
    assert read_proxy(file) == settings


@pytest.mark.parametrize(
    "settings",
    [
        ShortTrainingSettings(steps=7, lr=0.5, regrade=None, workers=3),
        FakeSettings(noise=0.5, regrade=Regrade(share=0.5, least=1, seeds=2), baselines=0),
    ],
)
def test_what_is_written_is_read(
    settings: ShortTrainingSettings | FakeSettings, tmp_path: Path
) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    assert read_proxy(file) == settings


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "proxy.yaml: a proxy's YAML is a mapping with a kind; got list"),
        (
            {"steps": 3},
            f"proxy.yaml, kind: the kind is one of {NAMES}; got None",
        ),
        (
            {"kind": "magic"},
            f"the kind is one of {NAMES}; got 'magic'",
        ),
        ({"kind": "fake", "steps": 3}, "proxy.yaml, steps: the keys are kind, noise"),
        (
            {"kind": "short_training", "regrade": {"shares": 1}},
            "proxy.yaml, regrade.shares: the keys are share, least, seeds; got unknown",
        ),
        (
            {"kind": "short_training", "image_scale": 2},
            "proxy.yaml, image_scale: input should be less than or equal to 1; got 2",
        ),
        ({"kind": "short_training", "steps": "many"}, "proxy.yaml, steps: input should be a valid"),
    ],
)
def test_a_mistake_names_file_key_and_rule(document: object, message: str) -> None:
    with pytest.raises(ProxyError) as error:
        parse_proxy(document, "proxy.yaml")
    assert message in str(error.value)


def test_a_proxy_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match=f"There are: {NAMES}"):
        read_proxy("magic")
    with pytest.raises(ProxyError, match="exists; got no such file"):
        read_proxy(tmp_path / "none.yaml")
    file = tmp_path / "code.yaml"
    file.write_text("kind: !!python/object:os.system {}\n")
    with pytest.raises(ProxyError, match="plain YAML"):
        read_proxy(file)


def test_the_number_of_workers() -> None:
    assert worker_count(FakeSettings(workers=3)) == 3
    assert worker_count(FakeSettings()) >= 1
