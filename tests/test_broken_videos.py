"""A thousand broken videos: each frame is read right or named, in a process that must survive."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from utils.frames import BadFrame
from utils.videos import find_videos

ROOT = Path(__file__).resolve().parents[1]
CASES = 1000
SIDE = 32
# In formats without checksums nobody can tell what flipped bytes turn into other pixels.
READER = """
import json, sys
from pathlib import Path
import numpy as np
from utils.errors import UserError
from utils.frames import BadFrame
from utils.videos import find_videos

folder, cases = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
whole = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
files, counts = list(whole), {}
for case in range(cases):
    path = files[case % len(files)]
    broken = np.frombuffer(whole[path], np.uint8).copy()
    places = rng.integers(len(broken), size=rng.integers(1, 6))
    broken[places] ^= rng.integers(1, 256, len(places), dtype=np.uint8)
    if rng.random() < 0.2:
        broken = broken[: rng.integers(len(broken))]
    print(case, path.name, file=sys.stderr, flush=True)
    path.write_bytes(broken.tobytes())
    good, reasons = 0, []
    try:
        videos = find_videos(path,
                             lambda path, reason: reasons.append(f"{path}: {reason}"))
    except UserError as error:
        assert reasons, error
        videos = []
    for video in videos:
        for frame in video.frames(0):
            if isinstance(frame, BadFrame):
                reasons.append(str(frame))
            else:
                assert frame.dtype == np.uint8 and frame.shape == (*video.size, 3)
                good += 1
    assert all("\\n" not in reason and str(path.parent) in reason for reason in reasons), reasons
    read, named = counts.setdefault(path.suffix, [0, 0])
    counts[path.suffix] = [read + (not reasons), named + bool(reasons)]
    path.write_bytes(whole[path])
print(json.dumps(counts))
"""


def fill(folder):
    """One small video of every format."""
    rng = np.random.default_rng(1)
    soft = rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    shots = [Image.fromarray(frame) for frame in soft]
    for ending in ("png", "jpg", "bmp", "gif", "tif", "webp", "ppm"):
        shots[0].save(folder / f"still.{ending}")
    for ending, options in (("gif", {}), ("webp", {}), ("tif", {}), ("apng", {"format": "PNG"})):
        shots[0].save(folder / f"a.{ending}", save_all=True, append_images=shots[1:], **options)
    for name, codec in {
        **{"h264.mp4": "libx264", "hevc.mp4": "libx265", "mpeg4.avi": "mpeg4"},
        **{"vp8.webm": "libvpx", "vp9.webm": "libvpx-vp9", "av1.mkv": "libaom-av1"},
        **{"mpeg2.mpg": "mpeg2video", "mjpeg.mov": "mjpeg"},
        **{"bare.h264": "libx264", "bare.hevc": "libx265"},
        **{"mpeg2.mxf": "mpeg2video", "wmv2.asf": "wmv2"},
    }.items():
        if codec not in av.codecs_available:
            continue
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.height = stream.width = 2 * SIDE
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for frame in soft.repeat(2, 1).repeat(2, 2):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
    np.save(folder / "a.npy", soft)
    np.savez_compressed(folder / "a.npz", film=soft)


def test_a_thousand_broken_files(tmp_path):
    fill(tmp_path)
    command = [sys.executable, "-W", "ignore", "-c", READER, tmp_path, str(CASES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, "\n".join(done.stderr.splitlines()[-9:])
    counts = json.loads(done.stdout)
    assert sum(map(sum, counts.values())) == CASES and len(counts) >= 14
    for ending in (".png", ".apng", ".npz"):  # checksums find what is broken
        assert counts[ending][1] > 0.9 * sum(counts[ending])
    assert all(named for _, named in counts.values())


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
def test_a_film_cut_short_has_only_whole_frames(tmp_path, share):
    frames = np.full((60, 64, 64, 3), 200, np.uint8)
    frames[:, ::8] = 30
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height = stream.width = 64
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    (video,) = find_videos(path)
    good = [frame for frame in video.frames(0) if not isinstance(frame, BadFrame)]
    assert 0 < len(good) <= len(video) < 60
    assert all(np.abs(frame.astype(int) - frames[0]).mean() < 12 for frame in good)
