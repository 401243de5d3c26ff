"""Words, times, speakers and cleaned sound, held against the truth.

    python -m benchmarks.speech --footage DIR [--part words silence speakers unsure sound hours] [--model base]

DIR has grid_10speakers_cuts and grid_split_screen (.mp4 with .json: who says what from when to when). Voices are made
with flite, where the ffmpeg on the path has it. Harder clips are made of the two: another's voice over a face, a cut
away while the line goes on, black and white with grain and flicker, faces of 40 pixels, sound half a second late, a
voice with nobody in the picture. Figures are of one machine; seconds are those of its cores together.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scipy.signal import butter, lfilter, sosfiltfilt

from restore_utils.speech import speakers
from restore_utils.speech.cleaning import clean, parse
from restore_utils.speech.faces import Face
from restore_utils.speech.hearing import Hearing, transcribe
from restore_utils.speech.picture import cut_times, find_picture
from restore_utils.speech.recogniser import Recogniser
from restore_utils.speech.sound import RATE as SOUND_RATE
from restore_utils.speech.sound import listen, tracks
from restore_utils.speech.speakers import Cast, find_speakers
from restore_utils.speech.transcript import Passage, plain, retime
from restore_utils.speech.turns import Turn
from restore_utils.speech.voices import embed

VOICES = Path(__file__).parents[1] / "tests" / "speech" / "voices.opus"
TEXT = (
    "When the old reels came back from the archive nobody expected to find anything on them. The first one was "
    "labelled with a date and a name that no one could read. We cleaned it carefully and put it on the table. On the "
    "screen there was a street in the rain, a boy with a dog, and a tram that came slowly around the corner. The "
    "picture trembled, but the faces were sharp."
)
_NUMBERS = dict(zip("0123456789", "zero one two three four five six seven eight nine".split(), strict=True))  # noqa: SIM905


def words(text: str) -> list[str]:
    """Lower case without punctuation, digits as words, letters apart from digits: F2 is f two."""
    spelt = re.sub(r"([a-z])(\d)", r"\1 \2", plain(text))
    return [_NUMBERS.get(word, word) for word in spelt.split()]


def errors(said: str, heard: str) -> tuple[int, int]:
    """Words wrong, missing or too many (Levenshtein), and words said."""
    a, b = words(said), words(heard)
    row = list(range(len(b) + 1))
    for i, word in enumerate(a, 1):
        row, before = [i], row
        for j, other in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (word != other)))
    return row[-1], len(a)


def ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


def has_flite() -> bool:
    if not shutil.which("ffmpeg"):
        return False
    listed = subprocess.run(["ffmpeg", "-hide_banner", "-filters"], capture_output=True, text=True, check=False)
    return " flite " in listed.stdout


def voice(folder: Path, name: str) -> Path:
    """A minute or so of a synthetic voice."""
    (folder / "text.txt").write_text(TEXT)
    out = folder / f"{name}.mka"
    ffmpeg("-f", "lavfi", "-i", f"flite=textfile={folder}/text.txt:voice={name}", "-ar", 48000, "-c:a", "flac", out)
    return out


# ---- words ----


def measure_words(footage: Path, folder: Path, recogniser: Recogniser) -> None:
    print("clip                      words wrong   core s per s   first and last words off by, s")
    for name in ("grid_10speakers_cuts", "grid_split_screen"):
        truth = json.loads((footage / f"{name}.json").read_text())
        report(name, footage / f"{name}.mp4", " ".join(line["text"] for line in truth), recogniser)
    if has_flite():
        for name in ("slt", "rms", "awb", "kal"):
            path = voice(folder, name)
            report(f"flite {name}", path, TEXT, recogniser, edges=True)


def report(name: str, path: Path, said: str, recogniser: Recogniser, edges: bool = False) -> None:
    begun = time.process_time()
    made = transcribe(path, Hearing(recogniser.name), recogniser=recogniser)
    spent = time.process_time() - begun
    wrong, count = errors(said, " ".join(p.text for p in made.passages))
    off = ""
    if edges and made.passages:
        samples = np.abs(np.concatenate(list(listen(path))))
        loud = np.flatnonzero(samples > 0.05 * samples.max()) / 16000
        off = f"{made.passages[0].start - loud[0]:+.2f} {made.passages[-1].stop - loud[-1]:+.2f}"
    print(f"{name:24} {wrong:4} of {count:3} = {wrong / count:.3f}  {spent / made.duration:10.2f}      {off}")


def measure_silence(folder: Path, recogniser: Recogniser) -> None:
    """Nothing is to be heard in silence, noise and tones."""
    rng = np.random.default_rng(0)
    time_s = np.arange(20 * 16000) / 16000
    chord = sum(np.sin(2 * np.pi * f * time_s) * (1 + np.sin(2 * np.pi * 2 * time_s)) for f in (220, 277, 330)) * 0.05
    for name, sound in (
        ("silence", np.zeros_like(time_s)),
        ("white noise", rng.normal(0, 0.1, len(time_s))),
        ("crackle", (rng.random(len(time_s)) > 0.9995) * 0.5),
        ("chords", chord),
    ):
        path = write(folder / "sound.mka", sound, 16000)
        made = transcribe(path, Hearing(recogniser.name), recogniser=recogniser)
        print(f"{name:12} {sum(len(p.words) for p in made.passages)} words")


# ---- speakers ----


def hard_clips(footage: Path, folder: Path) -> Iterator[tuple[str, Callable[[], Path], list[dict]]]:
    """Clips of the two, each made when it is asked for, with their truth: who says what from when to when."""
    ten, split = footage / "grid_10speakers_cuts.mp4", footage / "grid_split_screen.mp4"
    ten_truth = json.loads((footage / "grid_10speakers_cuts.json").read_text())
    split_truth = json.loads((footage / "grid_split_screen.json").read_text())
    for line in split_truth:
        line["speaker"] = line["clip"]

    def made(name: str, *arguments: object) -> Callable[[], Path]:
        def make() -> Path:
            ffmpeg(*arguments, "-c:v", "libx264", "-preset", "veryfast", "-crf", 18, "-c:a", "aac", folder / name)
            return folder / name

        return make

    grain = "format=gray,noise=alls=18:allf=t,eq=brightness=0.06*sin(9*t):eval=frame,format=yuv420p"
    small = "scale=-2:110,pad=720:576:(ow-iw)/2:(oh-ih)/2"
    black = "drawbox=c=black:t=fill"
    late = [line | {"start": line["start"] + 0.5, "end": line["end"] + 0.5} for line in split_truth]
    again = [line | {"start": line["start"] + 30, "end": line["end"] + 30} for line in ten_truth]
    # The voice of the next one over each face.
    parts = "".join(f"[1:a]atrim={3 * k}:{3 * k + 3},asetpts=PTS-STARTPTS[a{k}];" for k in range(10))
    turned = parts + "".join(f"[a{(k + 1) % 10}]" for k in range(10)) + "concat=n=10:v=0:a=1[d];"
    dubbed = [ten_truth[(k + 1) % 10] | {"start": 30 + 3 * k, "end": 33 + 3 * k} for k in range(10)]
    both = ("-map", "[v]", "-map", "[a]")
    yield "ten speakers", lambda: ten, ten_truth
    yield "split screen", lambda: split, split_truth
    yield "grain, flicker", made("grain.mp4", "-i", ten, "-vf", grain), ten_truth
    yield "split, grain", made("grain2.mp4", "-i", split, "-vf", grain), split_truth
    yield "faces of 40 px", made("small.mp4", "-i", split, "-vf", small), split_truth
    yield "16 frames a second", made("slow.mp4", "-i", split, "-vf", "fps=16"), split_truth
    yield (
        "sound 0.5 s late",
        made("late.mp4", "-i", split, "-itsoffset", 0.5, "-i", split, "-map", "0:v", "-map", "1:a"),
        late,
    )
    # Every line twice: seen, and then with nobody in the picture, so that the voice has to carry the name.
    join = f"[1:v]{black}[b];[0:v][0:a][b][1:a]concat=n=2:v=1:a=1[v][a]"
    yield (
        "seen, then off screen",
        made("off.mp4", "-i", ten, "-i", ten, "-filter_complex", join, *both),
        ten_truth + again,
    )
    cut = f"{black}:enable='gt(mod(t,3),1.4)'"
    yield "cut away in the line", made("away.mp4", "-i", ten, "-vf", cut), ten_truth
    join = f"{turned}[0:v][0:a][1:v][d]concat=n=2:v=1:a=1[v][a]"
    yield "then dubbed", made("dub.mp4", "-i", ten, "-i", ten, "-filter_complex", join, *both), ten_truth + dubbed


def measure_speakers(footage: Path, folder: Path, recogniser: Recogniser, only: Sequence[str]) -> None:
    print("clip                     lines  named  right  people  off screen  core s per s")
    all_named = all_right = 0
    for name, make, truth in hard_clips(footage, folder):
        if only and name not in only:
            continue
        path = make()
        made = transcribe(path, Hearing(recogniser.name, language="en"), recogniser=recogniser)
        begun = time.process_time()
        cast = find_speakers(path, path, made, cuts=cut_times(find_picture(path)))
        spent = time.process_time() - begun
        lines, named, right, off = judge(cast, truth)
        all_named, all_right = all_named + named, all_right + right
        told = "; ".join(cast.messages[1:])
        print(
            f"{name:24} {lines:5}  {named:5}  {right:5}  {len(cast.people):6}  {off:10}  "
            f"{spent / made.duration:10.2f}   {told}"
        )
    print(f"right among those named: {all_right} of {all_named} = {all_right / max(1, all_named):.3f}")


def judge(cast: Cast, truth: Sequence[dict]) -> tuple[int, int, int, int]:
    """Lines, lines named, lines named rightly, and lines said off screen.

    A person is who says most of the lines of theirs that are seen to be said.
    """
    who: dict[int, list[str]] = {}
    for turn in cast.turns:
        if turn.person is not None and turn.face is not None:
            who.setdefault(turn.person, []).append(_speaker(turn, truth))
    names = {person: max(set(found), key=found.count) for person, found in who.items()}
    lines = [turn for turn in cast.turns if _speaker(turn, truth)]
    # A voice that is never seen has no name to be wrong.
    named = [turn for turn in lines if turn.person in names]
    right = sum(names[turn.person] == _speaker(turn, truth) for turn in named)
    return len(lines), len(named), right, sum(turn.off_screen for turn in lines)


def _speaker(turn, truth: Sequence[dict]) -> str:
    middle = (turn.start + turn.stop) / 2
    return next((line["speaker"] for line in truth if line["start"] <= middle < line["end"]), "")


# ---- when it is unsure ----

READERS = ("slt", "rms", "awb", "kal", "en-gb", "en-us+f4")
"""Voices of flite, and of espeak-ng: none of those by which the limits of `speakers` were chosen."""


def spoken(folder: Path, name: str, text: str, number: int) -> np.ndarray:
    """A sentence by a voice of flite (three letters) or of espeak-ng, 16 kHz."""
    out = folder / f"{name}-{number}.wav"
    if len(name) == 3:
        (folder / "line.txt").write_text(text)
        ffmpeg("-f", "lavfi", "-i", f"flite=textfile={folder}/line.txt:voice={name}", "-ar", SOUND_RATE, out)
    else:
        subprocess.run(["espeak-ng", "-v", name, "-s", "150", "-w", str(out), text], check=True)
    return np.concatenate(list(listen(out)))


def measure_unsure(folder: Path) -> None:
    """How often a name is given, and how often it is right, at several margins: on voices not used to choose them.

    Each voice says two lines that are seen and the rest off screen; but one, each in turn, is never seen: a name for it
    is wrong.
    """
    sentences = [f"{line}." for line in TEXT.split(".") if line.strip()]
    lines = [(name, k, spoken(folder, name, line, k)) for name in READERS for k, line in enumerate(sentences)]
    rng = np.random.default_rng(0)
    looks = {name: rng.integers(0, 255, (96, 96, 3)).astype(np.uint8) for name in READERS}
    print("noise    margin   off screen   named   rightly")
    for snr in (30, 10):
        turns = []
        for number, (name, k, sound) in enumerate(lines):
            noise = lfilter([1], [1, -0.6], rng.normal(size=len(sound)))
            noisy = sound + noise / noise.std() * np.std(sound) * 10 ** (-snr / 20)
            passage = Passage(retime(sentences[k], (), 10.0 * number, 10.0 * number + len(sound) / SOUND_RATE))
            face, blank = None, np.zeros((50, 1), np.float32)
            if k < 2:
                face = Face(250 * number, blank, np.zeros((50, 4), np.float32), looks[name], 0.9, 540, blank[:, 0])
            turns.append(Turn(passage, passage.words, face, 1.5 if face else -1.0, embed(noisy.astype(np.float32))))
        for margin in (-0.08, -0.04, 0.0, 0.04):
            found = np.sum([_named(turns, [name for name, *_ in lines], unseen, margin) for unseen in READERS], axis=0)
            print(f"{snr:3} dB   {margin:+.2f}   {found[0]:10}   {found[1]:5}   {found[2]:7}")


def _named(turns: Sequence[Turn], says: Sequence[str], unseen: str, margin: float) -> tuple[int, int, int]:
    """Lines off screen, those named, and those named rightly, with the limits of likeness moved by a margin."""
    fresh = [replace(t, face=None if name == unseen else t.face, person=None, note="") for t, name in zip(turns, says)]
    kept = speakers._SAME, speakers._KNOWN
    try:
        speakers._SAME, speakers._KNOWN = kept[0] + margin, kept[1] + margin
        speakers.people_of(fresh)
    finally:
        speakers._SAME, speakers._KNOWN = kept
    who = {turn.person: name for turn, name in zip(fresh, says) if turn.face is not None and turn.person}
    off = [(turn, name) for turn, name in zip(fresh, says) if turn.face is None]
    given = [(turn, name) for turn, name in off if turn.person in who]
    return len(off), len(given), sum(who[turn.person] == name for turn, name in given)


# ---- sound ----


def write(path: Path, samples: np.ndarray, rate: int = 48000) -> Path:
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("flac", rate=rate, layout="mono")
        stream.codec_context.format = "s32"
        for at in range(0, len(samples), 4096):
            part = (np.clip(samples[None, at : at + 4096], -1, 0.999) * 2**31).astype(np.int32)
            frame = av.AudioFrame.from_ndarray(part, format="s32", layout="mono")
            frame.sample_rate, frame.pts = rate, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def si_sdr(reference: np.ndarray, sound: np.ndarray) -> float:
    count = min(len(reference), len(sound))
    a, b = reference[:count], sound[:count]
    part = (a @ b) / (a @ a) * a
    return float(10 * np.log10((part @ part) / max((b - part) @ (b - part), 1e-20)))


def spoilt(clear: np.ndarray, snr: float, clicks: float, hum: float) -> np.ndarray:
    """Coloured noise, ringing clicks a second, and a comb of 50 Hz, decibels below the voice."""
    rng, count = np.random.default_rng(3), len(clear)
    level = np.sqrt(np.mean(clear**2))
    hiss = lfilter([1], [1, -0.6], rng.normal(size=count))
    times = np.arange(count) / 48000
    tones = sum(np.sin(2 * np.pi * 50 * k * times + k) / k for k in range(1, 6))
    pops = np.zeros(count)
    for at in rng.integers(0, count - 400, int(clicks * count / 48000)):
        size = int(rng.integers(10, 60))
        ring = np.exp(-np.arange(size) / (size / 5)) * np.cos(
            2 * np.pi * rng.uniform(1000, 6000) * np.arange(size) / 48000
        )
        pops[at : at + size] += rng.choice((-1, 1)) * rng.uniform(0.3, 1.0) * ring
    return (
        clear + hiss / hiss.std() * level * 10 ** (-snr / 20) + tones / tones.std() * level * 10 ** (-hum / 20) + pops
    )


def measure_sound(folder: Path, recogniser: Recogniser, voices: Sequence[str]) -> None:
    choices = ("", "clicks", "hum", "hiss", "clicks,hum,hiss", "clicks,hum,hiss,engine=deepfilternet")
    for name in voices:
        raw = np.concatenate(list(listen(voice(folder, name), rate=48000))).astype(np.float64)
        clear = sosfiltfilt(butter(4, [80, 6000], "band", fs=48000, output="sos"), np.pad(raw, 48000))
        clear *= 0.1 / np.sqrt(np.mean(clear**2))
        for kind, sound in (
            ("clean", clear),
            ("moderate", spoilt(clear, 15, 8, 20)),
            ("heavy", spoilt(clear, 5, 40, 10)),
        ):
            path = write(folder / f"{name}-{kind}.mka", sound)
            for choice in choices:
                begun, result = time.process_time(), path
                if choice:
                    done = clean(path, tracks(path)[0], parse(choice), folder / "cleaned")
                    result = done.path
                spent = time.process_time() - begun
                guard = ""
                if choice.count(",") != 0 or not choice:  # each alone is not what is listened to
                    heard = transcribe(result, Hearing(recogniser.name, language="en"), recogniser=recogniser)
                    wrong, count = errors(TEXT, " ".join(p.text for p in heard.passages))
                    guard = f"words wrong {wrong / count:.3f}"
                measured = np.concatenate(list(listen(result, rate=48000))).astype(np.float64)
                same = "same length" if len(measured) == len(sound) else f"{len(measured) - len(sound):+} samples"
                print(
                    f"{name} {kind:9} {choice or 'as it is':40} {si_sdr(clear, measured):6.1f} dB  {guard:17}  "
                    f"{spent / (len(sound) / 48000):.2f} core s per s  {same}"
                )


# ---- two hours ----


def long_film(voice: Path, out: Path, hours: float) -> list[float]:
    """A film of hours whose packets are those of two minutes over and over: silence, and a voice in every tenth.

    Returns:
        Seconds at which a piece with the voice begins; the last one ends the film.
    """
    rate, size = 16000, 4096
    speech = np.concatenate(list(listen(voice)))
    count = -(-120 * rate // size) * size  # whole packets of FLAC, so that not a sample is lost between two
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 1e-3, count).astype(np.float32) for _ in range(2)]
    parts[1][: len(speech)] += speech
    made = [_packets_of_sound(part, rate, size) for part in parts]
    begins = []
    with av.open(str(out), "w", format="matroska") as container:
        picture = container.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream("flac", rate=rate, layout="mono", options={"frame_size": str(size)})
        sound.codec_context.format = "s16"
        container.start_encoding()
        frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 90, np.uint8), format="rgb24")
        for number in range(round(hours * 3600 * rate / count)):
            spoken = number % 10 == 5 or number == round(hours * 3600 * rate / count) - 1
            if spoken:
                begins.append(number * count / rate)
            for k, data in enumerate(made[spoken]):
                packet = av.Packet(data)
                packet.stream, packet.time_base = sound, Fraction(1, rate)
                packet.pts = packet.dts = number * count + k * size
                packet.duration = size
                container.mux(packet)
            for n in range(round(number * count / rate * 5), round((number + 1) * count / rate * 5)):
                frame.pts, frame.time_base = n, Fraction(1, 5)
                container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
    return begins


def _packets_of_sound(samples: np.ndarray, rate: int, size: int) -> list[bytes]:
    codec = av.CodecContext.create("flac", "w")
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", rate
    codec.options = {"frame_size": str(size)}
    packets = []
    for at in range(0, len(samples), size):
        part = (np.clip(samples[None, at : at + size], -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets + [bytes(packet) for packet in codec.encode(None)]


def measure_hours(voice: Path, folder: Path, hours: float = 2.0, model: str = "tiny.en") -> None:
    """From the command line: interrupted after the second piece, run again; peak memory of all processes; drift."""
    film, out = folder / "long.mkv", folder / "long.json"
    begins = long_film(voice, film, hours)
    command = [sys.executable, "-m", "restore_utils", "transcribe", str(film), str(out), "--speech-model", model]
    heard = folder / "long.json.job" / "heard.jsonl"
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and their children
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while running.poll() is None and not (heard.exists() and heard.read_bytes().count(b"\n") >= 2):
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    print(f"interrupted: code {running.wait()}, {len(heard.read_text().splitlines())} pieces are kept")
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    passages = json.loads(out.read_text())["passages"]
    firsts = [min((p["start"] - begin for p in passages if p["start"] >= begin), default=9e9) for begin in begins]
    keys = [json.loads(line)["key"] for line in heard.read_text().splitlines()]
    samples = np.abs(np.concatenate(list(listen(voice))))
    onset = np.flatnonzero(samples > 0.05 * samples.max())[0] / 16000
    print(
        f"{hours:g} h: peak {peak:.0f} MB; {len(keys)} pieces, {len(keys) - len(set(keys))} heard twice; "
        f"{len(passages)} passages; first words at {', '.join(f'{f - onset:+.3f}' for f in firsts)} s from the voice"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, required=True)
    parser.add_argument("--part", nargs="+", default=["words", "silence", "speakers", "unsure", "sound", "hours"])
    parser.add_argument("--only", nargs="*", default=[], help="clips of the part speakers, voices of the part sound")
    parser.add_argument("--model", default="base")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if "hours" in arguments.part:
            measure_hours(VOICES, folder)
        recogniser = Recogniser(arguments.model, threads=2)
        if "words" in arguments.part:
            measure_words(arguments.footage, folder, recogniser)
        if "silence" in arguments.part:
            measure_silence(folder, recogniser)
        if "speakers" in arguments.part:
            measure_speakers(arguments.footage, folder, recogniser, arguments.only)
        if "unsure" in arguments.part and has_flite() and shutil.which("espeak-ng"):
            measure_unsure(folder)
        if "sound" in arguments.part and has_flite():
            measure_sound(folder, recogniser, arguments.only or ("slt", "rms"))


if __name__ == "__main__":
    main()
