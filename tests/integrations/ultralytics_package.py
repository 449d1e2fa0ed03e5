"""A stand-in for the ultralytics package: the same interface where ours touches it, and no more.

`nn/tasks.py` with `parse_model(document, ch, verbose)` called by name from the model's
constructor, `Conv.default_act`, a `Detect(nc, reg_max, end2end, ch)` with branches `cv2` and `cv3`
and the constant `dfl`, `BaseModel.fuse`, checkpoints that pickle whole models; and
`cfg.entrypoint`, which reads the arguments that were there when it was imported. Written for these
tests; nothing of it is theirs.
"""

from __future__ import annotations

from pathlib import Path

TASKS = """
import copy
import torch
import yaml
from torch import nn


class Conv(nn.Module):
    default_act = nn.SiLU()

    def __init__(self, c_in, c_out, k=1, s=1):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, s, k // 2, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3)
        self.act = self.default_act

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Mean(nn.Module):
    def __init__(self, bins):
        super().__init__()
        self.conv = nn.Conv2d(bins, 1, 1, bias=False).requires_grad_(False)
        self.conv.weight.data[:] = torch.arange(bins).float().view(1, bins, 1, 1)


class Detect(nn.Module):
    legacy = False

    def __init__(self, nc=80, reg_max=16, end2end=False, ch=()):
        super().__init__()
        assert self.legacy, "this stand-in has YOLOv8's head alone"
        self.nc, self.nl, self.bins, self.no = nc, len(ch), reg_max, nc + 4 * reg_max
        self.stride = torch.zeros(self.nl)
        c2, c3 = max(16, ch[0] // 4, 4 * reg_max), max(ch[0], min(nc, 100))

        def branch(c, hidden, out):
            return nn.Sequential(
                Conv(c, hidden, 3), Conv(hidden, hidden, 3), nn.Conv2d(hidden, out, 1)
            )

        self.cv2 = nn.ModuleList(branch(c, c2, 4 * reg_max) for c in ch)
        self.cv3 = nn.ModuleList(branch(c, c3, nc) for c in ch)
        self.dfl = Mean(reg_max)

    def forward(self, maps):
        raw = [
            torch.cat((box(x), cls(x)), 1) for box, cls, x in zip(self.cv2, self.cv3, maps)
        ]
        if self.training:
            return raw
        boxes = []
        for stride, x in zip(self.stride, raw):
            b, _, h, w = x.shape
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            centre = (torch.stack((columns, rows)).view(1, 2, -1) + 0.5) * stride
            bins = x[:, : 4 * self.bins].reshape(b, 4, self.bins, -1).softmax(2)
            far = (bins * torch.arange(self.bins).view(1, 1, -1, 1)).sum(2) * stride
            low, high = centre - far[:, :2], centre + far[:, 2:]
            scores = x[:, 4 * self.bins :].reshape(b, self.nc, -1).sigmoid()
            boxes.append(torch.cat(((low + high) / 2, high - low, scores), 1))
        return torch.cat(boxes, 2), raw


class BaseModel(nn.Module):
    def forward(self, x):
        seen = []
        for m in self.model:
            if m.f != -1:
                x = seen[m.f] if isinstance(m.f, int) else [x if j == -1 else seen[j] for j in m.f]
            x = m(x)
            seen.append(x if m.i in self.save else None)
        return x

    def fuse(self, verbose=True, imgsz=640):
        return self


class DetectionModel(BaseModel):
    def __init__(self, cfg="model.yaml", ch=3, nc=None, verbose=True):
        super().__init__()
        if not isinstance(cfg, dict):
            with open(cfg) as file:
                cfg = {**yaml.safe_load(file), "scale": "", "yaml_file": str(cfg)}
        self.yaml = cfg
        self.yaml["channels"] = ch
        if nc:
            self.yaml["nc"] = nc
        self.model, self.save = parse_model(copy.deepcopy(self.yaml), ch=ch, verbose=verbose)
        self.names = {i: str(i) for i in range(self.yaml["nc"])}
        maps = self.train()(torch.zeros(1, ch, 256, 256))
        self.model[-1].stride = torch.tensor([256 / x.shape[-2] for x in maps])


def parse_model(d, ch, verbose=True):
    raise KeyError(d["backbone"][0][2])
"""

CFG = """
import copy
import sys

ARGV = sys.argv


def entrypoint():
    import torch
    from ultralytics.nn.tasks import Conv, Detect, DetectionModel

    verb, *pairs = ARGV[1:]
    options = dict(pair.split("=") for pair in pairs)
    if verb == "train":
        torch.manual_seed(0)
        model = DetectionModel(options["model"], nc=2)
        optimizer = torch.optim.SGD(model.parameters(), 1e-3)
        losses = []
        for _ in range(int(options["steps"])):
            loss = sum((x ** 2).mean() for x in model(torch.rand(4, 3, 64, 64)))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        model.names = {0: "red", 1: "green"}
        content = {"model": copy.deepcopy(model).half(), "train_args": {"imgsz": 96}}
        torch.save({"epoch": -1, "ema": None, **content}, "best.pt")
        print("loss", *losses)
        print("kept", type(Conv.default_act).__name__, Detect.legacy)
    else:
        model = torch.load(options["model"], weights_only=False)["model"].float().eval()
        image = torch.full((1, 3, 64, 64), 0.5)
        plain = model(image)[0]
        fused = model.fuse(verbose=False)(image)[0]
        torch.save(plain.detach(), "boxes.pt")
        print("close", torch.allclose(plain, fused, rtol=1e-3, atol=1e-2), model.names)
"""


def write_package(folder: Path) -> Path:
    """The stand-in in `folder`, to be put on sys.path; returns it."""
    for name, text in (("__init__", ""), ("nn/__init__", ""), ("nn/tasks", TASKS), ("cfg", CFG)):
        path = folder / "ultralytics" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder
