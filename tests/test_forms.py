"""Forms: read from code, drawn, and set; Colab's places."""

from __future__ import annotations

import datetime
import json
import sys
import types
from pathlib import Path

import ipywidgets as widgets
import pytest

from restore_utils.errors import OptionError, OutputError, SourceError
from restore_utils.files.mirror import Mirror
from restore_utils.notebook import colab, forms
from restore_utils.notebook.colab import Places
from restore_utils.notebook.forms import Field, draw, parse
from restore_utils.notebook.forms.chooser import beginning
from restore_utils.notebook.forms.following import cells_below, notebook_file
from restore_utils.notebook.forms.kept import FILE, Kept
from restore_utils.notebook.forms.watch import _Watcher

CELL = """# @title Settings { display-mode: "form" }
# @markdown What to restore.
source = ""  # @param {type:"string", placeholder:"path or URL"}
model = "old-film"  # @param ["old-film", "median", "copy"] {allow-input: true}
codec = 'h264' #@param ["h264", "ffv1"]
render_factor = 21  # @param {type:"slider", min:5, max:40, step:1}
strength = 0.5  # @param {type:"slider", min:0, max:1, step:0.1}
crf = 14  # @param {type:"integer"}
rate = 23.976  # @param {type:"number"}
keep = True  # @param {type:"boolean"}
crop = (1, 2)  # @param {type:"raw"}
height = None  # @param ["None", 480, "'best'"] {type:"raw"}
day = "2018-03-22"  # @param {type:"date"}
name = "a # @param in text"
# not = 1  # @param {type:"integer"}
"""


def values() -> dict:
    namespace: dict = {}
    exec(CELL, namespace)
    return namespace


def inside(box) -> list:
    """All widgets of a form, from top to bottom."""
    return [w for child in box.children for w in (child, *(inside(child) if hasattr(child, "children") else ()))]


def controls(box) -> dict:
    """The controls by the names of their variables, which are their labels without spaces."""
    rows = [w for w in inside(box) if isinstance(w, widgets.HBox) and isinstance(w.children[0], widgets.Label)]
    return {row.children[0].value.replace(" ", "_"): row.children[1] for row in rows}


def wrong(box) -> list[str]:
    """What is said against values, at their fields."""
    return [w.value for w in inside(box) if isinstance(w, widgets.HTML) and "9888" in w.value]


def note(box) -> str:
    return box.children[-1].value


def test_parse_reads_colabs_syntax():
    form = parse(CELL)
    assert form.title == "Settings"
    assert form.items[0] == "What to restore."
    found = {field.name: field for field in form.fields}
    assert " ".join(found) == "source model codec render_factor strength crf rate keep crop height day"
    assert found["source"] == Field("source", "string", "", placeholder="path or URL")
    assert found["model"] == Field("model", "choice", "old-film", ("old-film", "median", "copy"), typing=True)
    assert found["render_factor"] == Field("render_factor", "slider", 21, least=5, most=40, step=1)
    assert found["height"] == Field("height", "choice", None, (None, 480, "best"))
    assert found["crop"].value == (1, 2)
    assert [f.name for f in form.fields if f.whole] == ["render_factor", "crf"]
    for field in form.fields:
        assert field.check(values()[field.name]) == values()[field.name]


@pytest.mark.parametrize(
    "line",
    [
        'x = 1  # @param {type:"colour"}',
        'x = open("f")  # @param {type:"string"}',
        'x = y = 1  # @param {type:"integer"}',
        'x.y = 1  # @param {type:"integer"}',
        'print(1)  # @param {type:"integer"}',
        "x = (1,  # @param [1, 2]",
        "x = 1  # @param [1, 2",
    ],
)
def test_parse_refuses(line):
    with pytest.raises(OptionError) as error:
        parse(line)
    assert "\n" not in str(error.value)
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("render_factor", 41, "5 to 40"),
        ("render_factor", 21.5, "whole"),
        ("render_factor", "21", "number"),
        ("strength", float("nan"), "number"),
        ("crf", True, "number"),
        ("codec", "gif", "'h264', 'ffv1'"),
        ("height", 480.0, "480"),
        ("keep", 1, "True or False"),
        ("source", None, "text"),
        ("day", "yesterday", "2018"),
    ],
)
def test_values_that_cannot_be(name, value, says):
    field = next(field for field in parse(CELL).fields if field.name == name)
    with pytest.raises(OptionError, match=says):
        field.check(value)


def test_types_are_kept():
    factor, strength = (f for f in parse(CELL).fields if f.kind == "slider")
    assert (factor.check(21.0), type(factor.check(21.0))) == (21, int)
    assert (strength.check(1), strength.check(0.25)) == (1, 0.25)


def test_form_shows_and_sets_the_variables():
    namespace = values()
    namespace["codec"] = "ffv1"
    box = draw(parse(CELL), namespace)
    found = controls(box)
    assert found["codec"].value == "ffv1"
    assert found["day"].value == datetime.date(2018, 3, 22)
    assert found["height"].value is None
    found["render_factor"].value = 30
    found["codec"].value = "h264"
    found["model"].value = "mine.safetensors"
    found["crop"].value = "{'top': 2}"
    found["height"].value = "best"
    found["day"].value = datetime.date(2020, 1, 2)
    found["keep"].value = False
    found["source"].value = "film.mp4"
    assert (namespace["render_factor"], type(namespace["render_factor"])) == (30, int)
    assert [namespace[k] for k in ("codec", "model", "height", "day", "keep", "source")] == [
        "h264",
        "mine.safetensors",
        "best",
        "2020-01-02",
        False,
        "film.mp4",
    ]
    assert namespace["crop"] == {"top": 2}
    assert "run the cells that use it" in note(box)
    found["crop"].value = "__import__('os')"
    assert namespace["crop"] == {"top": 2}
    assert sum("literal" in line for line in wrong(box)) == 1
    found["crop"].value = "7"
    assert not any("literal" in line for line in wrong(box))


def test_button_takes_the_codes_values_back():
    namespace = values()
    box = draw(parse(CELL), namespace)
    controls(box)["render_factor"].value = 30
    controls(box)["crop"].value = "7"
    box.children[-2].click()
    assert (namespace["render_factor"], namespace["crop"]) == (21, (1, 2))
    assert controls(box)["render_factor"].value == 21


def test_values_the_widgets_cannot_show_are_told_and_not_changed():
    namespace = values() | {"render_factor": 99, "codec": "gif"}
    box = draw(parse(CELL), namespace)
    assert (namespace["render_factor"], namespace["codec"]) == (99, "gif")
    assert controls(box)["codec"].value == "gif"
    assert [words in line for words, line in zip(("out of range", "not offered"), sorted(wrong(box), reverse=True))]
    assert len(wrong(box)) == 2


def test_running_the_cell_again_keeps_the_form_and_changed_code_wins(monkeypatch):
    shown: list = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: shown.append(thing))
    namespace = values()
    watcher = _Watcher(namespace)

    def run(source: str, success: bool = True) -> None:
        exec(source, namespace)
        watcher.cell_ran(types.SimpleNamespace(success=success, info=types.SimpleNamespace(raw_cell=source)))

    run(CELL)
    controls(shown[-1])["render_factor"].value = 30
    run(CELL)
    assert namespace["render_factor"] == 30
    assert "kept" in note(shown[-1])
    shown[-1].children[-2].click()
    assert namespace["render_factor"] == 21
    controls(shown[-1])["crf"].value = 3
    run(CELL.replace("21", "11"))
    assert (namespace["render_factor"], namespace["crf"]) == (11, 14)
    count = len(shown)
    run("x = 1")
    run(CELL, success=False)
    assert len(shown) == count
    run("x = 1  # @param {type:'colour'}")
    assert "No form" in shown[-1]["text/plain"]


def test_a_cell_that_acts_uses_what_its_form_was_set_to(monkeypatch):
    """As IPython runs it: 04's box `remove`, 02's `find_rate` and 03's `factors` stand in the cell that uses them."""
    from IPython.core.interactiveshell import InteractiveShell

    shown: list = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: shown.append(thing))
    shell = InteractiveShell()
    shell.kernel = None
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert forms.enable()
    assert forms.enable()
    cell = '# @title Go\nremove = False  # @param {type:"boolean"}\nfactors = "1"  # @param {type:"string"}\n'
    cell += "did = (remove, factors)"
    shell.run_cell(cell)
    assert shell.user_ns["did"] == (False, "1")
    controls(shown[-1])["remove"].value = True
    controls(shown[-1])["factors"].value = "'\\1'  # @param"
    shell.run_cell(cell)
    assert shell.user_ns["did"] == (True, "'\\1'  # @param")
    shell.run_cell(cell)
    assert shell.user_ns["did"] == (True, "'\\1'  # @param")
    shown[-1].children[-2].click()
    assert shell.user_ns["remove"] is False
    shell.run_cell(cell)
    assert shell.user_ns["did"] == (False, "1")


def test_chooser_for_local_clips(tmp_path, monkeypatch):
    (tmp_path / "reels").mkdir()
    (tmp_path / "reels" / "One.MKV").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    namespace = values()
    box = draw(parse(CELL), namespace)
    chooser = next(w for w in inside(box) if type(w) is widgets.VBox and isinstance(w.children[0], widgets.Button))
    button, panel = chooser.children
    entries = panel.children[1]
    assert panel.layout.display == "none"
    button.click()
    assert panel.layout.display != "none"
    assert [label for label, _ in entries.options] == ["", "../", "reels/"]
    entries.value = tmp_path / "reels"
    entries.value = tmp_path / "reels" / "One.MKV"
    assert namespace["source"] == str(tmp_path / "reels" / "One.MKV")
    assert panel.layout.display == "none"


def test_the_chooser_begins_where_clips_are(tmp_path, monkeypatch):
    for name in ("notebooks", "home/Videos", "reels"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert beginning() == tmp_path / "notebooks", "where there are none, here"
    (tmp_path / "home" / "Videos" / "a.mp4").touch()
    (tmp_path / "reels" / "b.mkv").touch()
    assert beginning() == tmp_path / "home" / "Videos"
    assert beginning(str(tmp_path / "reels" / "none.mkv")) == tmp_path / "reels"
    (tmp_path / "notebooks" / "c.avi").touch()
    assert beginning() == tmp_path / "notebooks"


GROUPED = """# @title Settings
# @markdown ### The film
# @markdown **Film.** A path, such as `a.mkv`.
source_url = ""  # @param {type:"string", placeholder:"path"}
# @markdown **From.**
start = ""  # @param {type:"string"}
# @markdown ### More: places
model = "mine"  # @param ["mine", "median"] {allow-input: true}
use_drive = False  # @param {type:"boolean"}
"""


def test_fields_have_groups_labels_and_hints():
    form = parse(GROUPED)
    assert [item for item in form.items if isinstance(item, str)] == ["### The film", "### More: places"]
    assert [(f.label, f.hint) for f in form.fields[:2]] == [("Film", "A path, such as `a.mkv`."), ("From", "")]
    box = draw(form, {})
    assert list(controls(box)) == ["Film", "From", "model"], "use_drive means nothing here"
    (more,) = (w for w in box.children if isinstance(w, widgets.Accordion))
    assert more.get_title(0) == "More: places"
    assert more.selected_index is None
    assert list(controls(more)) == ["model"]
    assert any("<code>a.mkv</code>" in w.value for w in inside(box) if isinstance(w, widgets.HTML))


def test_wrong_values_are_told_at_their_field_at_once(tmp_path):
    namespace: dict = {}
    box = draw(parse(GROUPED), namespace)
    found = controls(box)
    lines = {
        "From": ("abc", "'abc' is not a time"),
        "Film": ("no such film.mkv", "is not there"),
        "model": ("medain", "did you mean median?"),
    }
    for label, (value, words) in lines.items():
        found[label].value = value
        (line,) = wrong(box)
        assert words in line.replace("&#x27;", "'")
        found[label].value = {"From": "1:30", "Film": "", "model": "median:strength=0.5 + mine"}[label]
        assert wrong(box) == [], "what is offered and what is right is not told"
    (tmp_path / "a film.mkv").touch()
    for quote in "\"'":
        found["Film"].value = f" {quote}{tmp_path}/a film.mkv{quote} "
        assert wrong(box) == []
        assert namespace["source_url"] == f"{tmp_path}/a film.mkv"


def test_what_was_set_outlasts_the_kernel(tmp_path, monkeypatch):
    shown: list = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: shown.append(thing))

    def kernel() -> tuple[dict, _Watcher]:
        namespace: dict = {}
        return namespace, _Watcher(namespace, Kept(tmp_path))

    def run(namespace: dict, watcher: _Watcher, source: str) -> None:
        exec("".join(watcher.as_set(source.splitlines(keepends=True))), namespace)
        watcher.cell_ran(types.SimpleNamespace(success=True, info=types.SimpleNamespace(raw_cell=source)))

    namespace, watcher = kernel()
    run(namespace, watcher, GROUPED)
    controls(shown[-1])["Film"].value = "reel.mkv"
    assert "Kept for the next time" in note(shown[-1])
    namespace, watcher = kernel()
    run(namespace, watcher, GROUPED)
    assert namespace["source_url"] == "reel.mkv"
    assert controls(shown[-1])["Film"].value == "reel.mkv"
    assert "kept: Film" in note(shown[-1])
    shown[-1].children[-2].click()
    namespace, watcher = kernel()
    run(namespace, watcher, GROUPED)
    assert namespace["source_url"] == ""
    for damage in ("{", "[1]", '{"a": 3}'):
        (tmp_path / FILE).write_text(damage)
        assert Kept(tmp_path).of(GROUPED) == {}


def test_the_button_runs_the_cells_below(tmp_path, monkeypatch):
    """As it is pressed in JupyterLab: with the notebook's file as its server names it."""
    cells = [
        GROUPED,
        "# @title One\ndone = [start]",
        "# @title Two\ndone.append(2)",
        "# @title Three\n1 / 0",
        "done = []",
    ]
    book = {"cells": [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]}
    (tmp_path / "a.ipynb").write_text(json.dumps(book))
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "a.ipynb"))
    shown: list = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: shown.append(thing))
    namespace: dict = {}
    ran: list[str] = []

    def run(code: str) -> bool:
        ran.append(code)
        try:
            exec(code, namespace)
        except ZeroDivisionError:
            return False
        return True

    watcher = _Watcher(namespace, Kept(), run)
    exec(GROUPED, namespace)
    watcher.cell_ran(types.SimpleNamespace(success=True, info=types.SimpleNamespace(raw_cell=GROUPED)))
    button = next(w for w in inside(shown[-1]) if isinstance(w, widgets.Button) and w.description == "Run")
    controls(shown[-1])["From"].value = "soon"
    button.click()
    assert ran == []
    assert any("Mend what is marked first: From" in w.value for w in inside(shown[-1]) if isinstance(w, widgets.HTML))
    controls(shown[-1])["From"].value = "0:01"
    button.click()
    assert namespace["done"] == ["0:01", 2]
    assert any("Stopped at step 3 of 4: Three" in w.value for w in inside(shown[-1]) if isinstance(w, widgets.HTML))
    assert not button.disabled
    assert notebook_file({}) == tmp_path / "a.ipynb"
    assert cells_below(tmp_path / "none.ipynb", GROUPED) == []


def test_what_the_system_refuses_is_one_line_in_a_notebook_too(capsys):
    from IPython.core.interactiveshell import InteractiveShell

    from restore_utils.notebook.forms.watch import _one_line

    shell = InteractiveShell()
    shell.set_custom_exc((OSError,), _one_line)
    assert not shell.run_cell("open('/proc/none/film.mkv')").success
    assert not shell.run_cell(
        "from restore_utils.errors import OutputError\nraise OutputError('no room: make some')"
    ).success
    said = capsys.readouterr().out
    assert "FileNotFoundError: /proc/none/film.mkv: it is not there" in said
    assert "OutputError: no room: make some" in said
    assert "Traceback" not in said


def test_enable_needs_a_notebook(monkeypatch):
    assert forms.enable() is False


def test_places_outside_colab(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert not colab.in_colab()
    found = colab.places()
    assert (found.work, found.results) == (Path("restored/job"), Path("restored"))
    assert found.work.is_dir()
    with pytest.raises(OptionError, match="use_drive"):
        colab.places(use_drive=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        colab.places("file")
    with pytest.raises(OptionError, match="folder is empty"):
        colab.places(" ")


@pytest.mark.parametrize(
    ("film", "name"),
    [
        ("", "demo"),
        ("reels/my film.mp4", "my-film"),
        ("reels/scans/", "scans"),
        ("https://example.org/clips/old.film.mkv?part=1", "old.film"),
        ("https://example.org/watch?v=a_B-1", "watch-v-a_B-1"),
        ("..", "demo"),
    ],
)
def test_each_film_has_a_folder(tmp_path, monkeypatch, film, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert colab.places("restored", film).work == Path("restored", name, "job")


def test_two_films_of_one_name_do_not_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "movie.mp4").write_text(name)
    assert colab.places("restored", "a/movie.mp4").work == Path("restored/movie/job")
    assert colab.places("restored", "'b/movie.mp4'").work == Path("restored/movie-2/job")
    assert colab.places("restored", "a/movie.mp4").work == Path("restored/movie/job")
    (tmp_path / "b" / "movie.mp4").rename(tmp_path / "movie.mp4")
    assert colab.places("restored", "movie.mp4").work == Path("restored/movie-2/job"), "it was only moved"
    assert colab.places("restored", "https://a.org/movie.mp4").work == Path("restored/movie-3/job")


def test_results_of_others_are_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    places = Places(tmp_path / "job", tmp_path, None)
    assert places.result("a.mkv") == tmp_path / "a.mkv"
    (tmp_path / "a.mkv").touch()
    assert places.result("a.mkv") == tmp_path / "a-2.mkv"


def test_upload_and_download_are_colabs(tmp_path, monkeypatch):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert colab.chosen(" 'a b.mkv' ") == "a b.mkv"
    with pytest.raises(SourceError, match="uploading is for Colab"):
        colab.chosen("upload")
    sent: list = []

    def upload() -> dict:
        (tmp_path / "mine.mp4").write_text("film")
        return {"mine.mp4": b"film"}

    module = types.ModuleType("google.colab")
    module.files = types.SimpleNamespace(upload=upload, download=sent.append)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(colab, "_LOCAL", tmp_path / "content")
    (tmp_path / "content").mkdir()
    assert colab.chosen("upload") == str(tmp_path / "content" / "mine.mp4")
    assert (tmp_path / "content" / "mine.mp4").read_text() == "film"
    colab.offer(tmp_path / "out.mp4")
    assert sent == []
    colab.offer(tmp_path / "out.mp4", download=True)
    assert sent == [str(tmp_path / "out.mp4")]
    module.files.upload = dict
    with pytest.raises(SourceError, match="nothing was uploaded"):
        colab.chosen("upload")


def test_drive_is_mounted_only_if_asked(tmp_path, monkeypatch):
    mounted = []

    def mount(place: str) -> None:
        mounted.append(place)
        (tmp_path / "drive" / "MyDrive").mkdir(parents=True)

    package, module = types.ModuleType("google"), types.ModuleType("google.colab")
    module.drive = types.SimpleNamespace(mount=mount)
    monkeypatch.setitem(sys.modules, "google", package)
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(colab, "_LOCAL", tmp_path)
    monkeypatch.setattr(colab, "_DRIVE", tmp_path / "drive")
    assert colab.in_colab()
    assert forms.enable() is False
    assert colab.places().results == tmp_path / "restored"
    assert mounted == []
    assert colab.places(use_drive=True).results == tmp_path / "drive" / "MyDrive" / "restored"
    assert colab.places(use_drive=True).work == tmp_path / "restored" / "job"
    assert len(mounted) == 1
    with pytest.raises(OptionError, match="not a whole path"):
        colab.places(str(tmp_path / "restored"), use_drive=True)


def test_a_folder_travels_to_drive_as_one_file(tmp_path):
    there, back = (Places(tmp_path / n, tmp_path, tmp_path / "drive") for n in ("one", "two"))
    (there.work / "set" / "deep").mkdir(parents=True)
    (there.work / "set" / "deep" / "a.png").write_bytes(b"a")
    colab.keep(there.work / "set", there)
    assert [f.name for f in there.mirror.iterdir()] == ["set.zip"]
    Mirror(back.work, back.mirror).recover()
    assert colab.bring_back(back.work / "set")
    assert (back.work / "set" / "deep" / "a.png").read_bytes() == b"a"
    assert not colab.bring_back(back.work / "set"), "what is there is left alone"
    colab.keep(tmp_path / "none", Places(tmp_path, tmp_path, None))
    (back.work / "torn.zip").write_bytes(b"PK")
    with pytest.raises(OutputError, match="cannot be unpacked"):
        colab.bring_back(back.work / "torn")


def test_drive_that_will_not_mount(tmp_path, monkeypatch):
    def mount(_place: str) -> None:
        raise ValueError("mount failed\nsecond line")

    module = types.ModuleType("google.colab")
    module.drive = types.SimpleNamespace(mount=mount)
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", module)
    monkeypatch.setattr(colab, "_DRIVE", tmp_path / "drive")
    with pytest.raises(OutputError, match="untick use_drive") as error:
        colab.mount_drive()
    assert "\n" not in str(error.value)
