"""Weights of others at the start of a training; and training where there is no PyAV."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from restore_utils.errors import ModelError
from restore_utils.train.unet import Stage, pretrained, train
from tests.nets import SmallEncoder
from tests.train.smallest import QUICKEST, generator_of


class _Server(BaseHTTPRequestHandler):
    """Breaks off half-way where a file is asked for from its beginning, and gives the rest of it."""

    content = b""
    whole = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        first = int(asked.split("=")[1].rstrip("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.content) - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(self.content) - 1}/{len(self.content)}")
        self.end_headers()
        stop = len(self.content) if type(self).whole else first + (len(self.content) - first) // 2
        self.wfile.write(self.content[first:stop])


@pytest.fixture
def server(monkeypatch):
    torch.manual_seed(3)
    file = io.BytesIO()
    torch.save(SmallEncoder().state_dict(), file)
    _Server.content, _Server.whole = file.getvalue(), True
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(pretrained, "SOURCE", f"http://127.0.0.1:{running.server_port}/")
        digest = hashlib.sha256(_Server.content).hexdigest()[:8]
        monkeypatch.setitem(pretrained.FILES, "resnet18", f"resnet18-{digest}.pth")
        yield _Server
        running.shutdown()
        thread.join()


def test_encoder_is_downloaded_and_a_broken_download_goes_on(pairs, tmp_path, server):
    settings = {**QUICKEST, "pretrained": True, "gan": False, "loss": "pixel"}
    settings["stages"] = [Stage(64, 2, 0.5, 1e-4, frozen=True)]
    server.whole = False
    with pytest.raises(ModelError, match="resnet18"):
        train(pairs, tmp_path / "out", **settings)
    assert not (tmp_path / "out" / "checkpoint.pt").exists()
    server.whole = True
    train(pairs, tmp_path / "out", **settings)
    assert "trained on ImageNet" in (tmp_path / "out" / "model.md").read_text()
    torch.manual_seed(3)
    wanted = SmallEncoder().conv1.weight
    assert torch.equal(generator_of(tmp_path / "out").encoder_part[0].weight, wanted)  # frozen: as it came


def test_without_a_network_the_run_goes_on_and_says_so(pairs, tmp_path, caplog):
    caplog.set_level("INFO", "restore_utils")
    settings = {**QUICKEST, "pretrained": True, "gan": False, "stages": [Stage(64, 2, 0.5, 1e-4, frozen=True)]}
    train(pairs, tmp_path / "out", **settings)
    for words in ("going on without resnet18", "loss is structural", "no stage of the generator freezes it"):
        assert words in caplog.text, words
    card = (tmp_path / "out" / "model.md").read_text()
    assert "resnet18, random at the start" in card
    assert "| loss | structural |" in card
    with pytest.raises(ModelError, match="vgg16_bn"):
        train(pairs, tmp_path / "other", **settings | {"loss": "feature"})


def test_training_runs_without_pyav(pairs, tmp_path):
    program = (
        "import sys; sys.modules['av'] = None\n"
        "import torchvision\n"
        "from tests.nets import SmallEncoder\n"
        "torchvision.models.resnet18 = SmallEncoder\n"
        "from restore_utils.progress import text_progress\n"
        "from restore_utils.train.unet import train\n"
        "with text_progress() as progress:\n"
        f"    train({str(pairs)!r}, {str(tmp_path / 'out')!r}, preset='smoke', pretrained=False, gan=False,\n"
        "          stages=[{'size': 64, 'batch': 1, 'epochs': 0.25, 'rate': 1e-4}], progress=progress)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out" / "model.safetensors").exists()
