"""A stand-in for a YOLOv5 checkout: the same interface where ours touches it, and no more.

What it has in common with the real one: `models/yolo.py` with `parse_model(document, ch)` called
by name from the model's constructor, modules with `i`, `f`, `type` and `np`, `save`, a `Detect`
whose anchors count in cells, `fuse`, checkpoints that pickle whole models, and scripts that find
the checkout through `sys.path[0]`. Written for these tests; nothing of YOLOv5 is in it.
"""

from __future__ import annotations

from pathlib import Path

YOLO = '''
import copy
import torch
import yaml
from torch import nn


class Plain(nn.Module):
    """A module that only this checkout knows."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, 2, 1)

    def forward(self, x):
        return self.conv(x)


class Detect(nn.Module):
    stride = None

    def __init__(self, nc=80, anchors=(), ch=(), inplace=True):
        super().__init__()
        self.nc, self.no = nc, nc + 5
        self.nl, self.na = len(anchors), len(anchors[0]) // 2
        self.register_buffer("anchors", torch.tensor(anchors).float().view(self.nl, -1, 2))
        self.m = nn.ModuleList(nn.Conv2d(c, self.no * self.na, 1) for c in ch)

    def forward(self, maps):
        raw = []
        for conv, x in zip(self.m, maps):
            b, _, h, w = x.shape
            x = conv(x).view(b, self.na, self.no, h, w)
            raw.append(x.permute(0, 1, 3, 4, 2).contiguous())
        if self.training:
            return raw
        decoded = []
        for level, y in enumerate(raw):
            b, _, h, w, _ = y.shape
            rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            cells = torch.stack((columns, rows), -1)
            y = y.sigmoid()
            sizes = (self.anchors[level] * self.stride[level]).view(1, -1, 1, 1, 2)
            xy = (2 * y[..., :2] - 0.5 + cells) * self.stride[level]
            wh = (2 * y[..., 2:4]) ** 2 * sizes
            decoded.append(torch.cat((xy, wh, y[..., 4:]), -1).view(b, -1, self.no))
        return torch.cat(decoded, 1), raw


class BaseModel(nn.Module):
    def forward(self, x):
        seen = []
        for m in self.model:
            if m.f != -1:
                x = seen[m.f] if isinstance(m.f, int) else [x if j == -1 else seen[j] for j in m.f]
            x = m(x)
            seen.append(x if m.i in self.save else None)
        return x

    def fuse(self):
        self.fused = True
        return self


class DetectionModel(BaseModel):
    def __init__(self, cfg, ch=3, nc=None, anchors=None):
        super().__init__()
        if not isinstance(cfg, dict):
            with open(cfg, encoding="ascii", errors="ignore") as file:
                cfg = yaml.safe_load(file)
        self.yaml = cfg
        ch = self.yaml["ch"] = self.yaml.get("ch", ch)
        if nc:
            self.yaml["nc"] = nc
        if anchors:
            self.yaml["anchors"] = round(anchors)
        self.model, self.save = parse_model(copy.deepcopy(self.yaml), ch=[ch])
        self.names = [str(i) for i in range(self.yaml["nc"])]
        head = self.model[-1]
        if isinstance(head, Detect):
            maps = self.forward(torch.zeros(1, ch, 256, 256))
            head.stride = torch.tensor([256 / x.shape[-2] for x in maps])
            head.anchors /= head.stride.view(-1, 1, 1)
            self.stride = head.stride


Model = DetectionModel


def parse_model(d, ch):
    rows = []
    for i, (f, n, m, args) in enumerate(d["backbone"] + d["head"]):
        if m != "Plain":
            raise NameError(f"name '{m}' is not defined")
        module = Plain(ch[-1], *args)
        module.i, module.f, module.type, module.np = i, f, m, 0
        ch.append(args[0])
        rows.append(module)
    return nn.Sequential(*rows), []
'''

TRAIN = '''
"""Some steps towards zero, and a checkpoint that pickles the model, as half floats."""
import argparse
import copy
import sys
from pathlib import Path

import torch
from models.yolo import Model

parser = argparse.ArgumentParser()
parser.add_argument("--cfg", default="")
parser.add_argument("--weights", default="")
parser.add_argument("--nc", type=int, default=2)
parser.add_argument("--anchors", type=float, default=None)
parser.add_argument("--steps", type=int, default=2)
parser.add_argument("--name", default="best.pt")
opt = parser.parse_args()
torch.manual_seed(0)
model = Model(opt.cfg, nc=opt.nc, anchors=opt.anchors)
transferred = 0
if opt.weights:
    state = torch.load(opt.weights, weights_only=False)["model"].float().state_dict()
    own = model.state_dict()
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    model.load_state_dict(fitting, strict=False)
    transferred = len(fitting)
optimizer = torch.optim.SGD(model.parameters(), 1e-3)
losses = []
for _ in range(opt.steps):
    loss = sum((x ** 2).mean() for x in model(torch.rand(4, 3, 64, 64)))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(float(loss.detach()))
model.names = {i: f"class {i}" for i in range(opt.nc)}
content = {"epoch": -1, "model": copy.deepcopy(model).half(), "ema": None, "opt": {"imgsz": 96}}
torch.save(content, opt.name)
print("transferred", transferred, "argv", sys.argv[1:], "first", sys.path[0])
print("loss", *losses)
'''

DETECT = '''
"""Loads a checkpoint and prints a digest of what it gives for one image."""
import sys

import torch
from models.yolo import Detect

model = torch.load(sys.argv[1], weights_only=False)["model"].float()
plain = model.eval()(torch.full((1, 3, 64, 64), 0.5))[0]
folded = model.fuse().eval()
norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
fused = folded(torch.full((1, 3, 64, 64), 0.5))[0]
torch.save(plain.detach(), "boxes.pt")
print("norms", norms, "close", torch.allclose(plain, fused, rtol=1e-3, atol=1e-2))
print("names", model.names)
'''


def write_checkout(folder: Path) -> Path:
    """The stand-in in `folder`; returns it."""
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "__init__.py").write_text("")
    (folder / "models" / "yolo.py").write_text(YOLO)
    (folder / "train.py").write_text(TRAIN)
    (folder / "detect.py").write_text(DETECT)
    return folder
