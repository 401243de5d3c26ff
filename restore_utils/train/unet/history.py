"""What a run leaves to read: a history of numbers, curves, and a card of the weights."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision

from restore_utils.files.parts import replacing
from restore_utils.train.unet.measure import Scores
from restore_utils.version import __version__

HISTORY, CURVES, CARD = "history.jsonl", "curves.png", "model.md"


class History:
    """Lines of numbers in OUT/history.jsonl: `what` is 'steps', means over some, or 'scores', on held pictures."""

    def __init__(self, out: Path) -> None:
        self.path = out / HISTORY
        self.lines: list[dict[str, Any]] = []

    def begin(self, at: int) -> None:
        """Keep what belongs to the first `at` steps, and forget what came after the last checkpoint."""
        kept = []
        if self.path.exists():
            for text in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    line = json.loads(text)
                except ValueError:  # the last one, when the machine went down while it was written
                    continue
                if line["at"] <= at:
                    kept.append(line)
        self.lines = kept
        with replacing(self.path) as part:
            part.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")

    def add(self, **line: Any) -> None:
        line = {k: round(v, 6) if isinstance(v, float) and abs(v) > 1e-3 else v for k, v in line.items()}
        self.lines.append(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def of(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["what"] == what]


def draw_curves(history: History, path: Path) -> None:
    """Losses and PSNR over the steps, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    steps, scores = history.of("steps"), history.of("scores")
    for phase, name, colour in (
        ("generator", "generator", "tab:blue"),
        ("gan", "generator against critic", "tab:cyan"),
        ("critic", "critic", "tab:orange"),
    ):
        if rows := [line for line in steps if line["phase"] == phase and line["loss"] is not None]:
            upper.plot([r["at"] for r in rows], [r["loss"] for r in rows], ".-", ms=3, color=colour, label=name)
    if rows := [line for line in steps if line.get("critic") is not None and line["phase"] == "gan"]:
        upper.plot(
            [r["at"] for r in rows], [r["critic"] for r in rows], ".-", ms=3, color="tab:red", label="its critic"
        )
    if scores:
        at = [s["at"] for s in scores]
        upper.plot(at, [s["loss"] for s in scores], "o-", ms=4, color="black", label="held pictures")
        lower.plot(at, [s["psnr"] for s in scores], "o-", ms=4, color="black", label="prediction")
        lower.plot(at, [s["psnr_input"] for s in scores], "o--", ms=4, color="grey", label="input")
        lower.legend(frameon=False)
        upper.legend(frameon=False)
    legs = [line["leg"] for line in history.lines]
    for a, b in zip(history.lines, history.lines[1:]):
        if len(set(legs)) > 1 and a["leg"] != b["leg"]:
            upper.axvline(a["at"], color="lightgrey", zorder=0)
            lower.axvline(a["at"], color="lightgrey", zorder=0)
    upper.set_yscale("log")
    upper.set_ylabel("loss")
    lower.set_ylabel("PSNR, dB")
    lower.set_xlabel("steps")
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=100)


def versions() -> dict[str, str]:
    """Of what has a say in the result."""
    import fastai

    found = {"restore_utils": __version__, "python": platform.python_version(), "torch": torch.__version__}
    return found | {"torchvision": torchvision.__version__, "fastai": fastai.__version__}


def write_card(path: Path, facts: Mapping[str, Any], scores: Scores | None, settings: Mapping[str, Any]) -> None:
    """Writes the model card: what the weights are, how they came about, what they measure."""
    lines = ["# A U-Net trained on pairs", ""]
    lines += ["Use it with `restore CLIP OUT --model model.safetensors`, or by its name from the folder of models.", ""]
    cells = {name: str(value).replace("|", "\\|") for name, value in facts.items()}  # a bare | ends a cell
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in cells.items()), ""]
    if scores:
        lines += ["## On held pictures", "", "| | prediction | input |", "| --- | --- | --- |"]
        lines += [f"| PSNR | {scores.psnr:.2f} dB | {scores.psnr_input:.2f} dB |"]
        lines += [f"| SSIM | {scores.ssim:.4f} | {scores.ssim_input:.4f} |"]
        lines += [f"| sharpness, as a share of the target's | {scores.detail:.3f} | |"]
        lines += [f"| loss without critic | {scores.loss:.4f} | |", ""]
    stages = settings["stages"]
    lines += ["## Stages", "", f"| {' | '.join(stages[0])} |", "|" + " --- |" * len(stages[0])]
    lines += [f"| {' | '.join(str(v) for v in stage.values())} |" for stage in stages]
    lines += ["", "## Settings", "", "```json", json.dumps(settings, indent=1), "```", ""]
    with replacing(path) as part:
        part.write_text("\n".join(lines), encoding="utf-8")
