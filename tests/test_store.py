"""The store of clips on disk: what comes back, what damage is found."""

import errno
import functools
import http.server
import json
import os
import resource
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zstandard

from utils.errors import UserError
from utils.layout import CHECKSUM, checksum
from utils.places import locate, open_files
from utils.shards import seal
from utils.store import DRAFT, ClipStore

RUN = {"seed": 1}


def some_clips(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, 3, 3, 4, 6), dtype=np.uint8)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr("utils.recipe.SHARD_BYTES", 8 * some_clips(1).size)


@pytest.fixture
def store(tmp_path, small_shards):
    """20 clips in shards of 8, the clip in the middle black."""
    store = ClipStore.prepare(tmp_path / "clips", None, 2, 1, (4, 6))
    clips = some_clips(20)
    clips[10] = 0
    for start in range(0, 20, 8):
        store.write(start, clips[start : start + 8], 20)
    store.commit(20, RUN)
    return ClipStore.open(tmp_path / "clips")


def test_round_trip(store):
    clips = some_clips(20)
    clips[10] = 0
    assert (len(store), store.history, store.horizon, store.shape) == (20, 2, 1, (3, 3, 4, 6))
    indices = [19, 0, 10, 10, 7, 8]
    found = store.read(indices)
    assert found.dtype == np.uint8 and np.array_equal(found, clips[indices])
    assert store.read([]).shape == (0, 3, 3, 4, 6)
    for outside in (20, -1):
        with pytest.raises(IndexError):
            store.read([outside])


def test_public_libraries_open_it(store):
    zarr = pytest.importorskip("zarr", minversion="3")
    array = zarr.open_array(store.path, mode="r")
    assert array.shape == (20, 3, 3, 4, 6) and array.attrs["history"] == 2
    assert np.array_equal(array[:], store.read(np.arange(20)))
    found = tensorstore.open({"driver": "auto", "kvstore": f"file://{store.path}/"}).result()
    assert np.array_equal(found[8:12].read().result(), store.read(range(8, 12)))


def test_unfinished_is_no_store(tmp_path, small_shards):
    store = ClipStore.prepare(tmp_path, None, 2, 1, (4, 6))
    store.write(0, some_clips(8), 8)
    with pytest.raises(UserError, match="no finished clips"):
        ClipStore.open(tmp_path)
    zarr = pytest.importorskip("zarr", minversion="3")
    assert zarr.open_array(tmp_path, mode="r").shape[0] == 0


def test_append_keeps_what_is_there(store):
    before, old = store.read(np.arange(20)), store.fingerprint
    store.write(20, some_clips(4, 1), 30)
    store.write(24, some_clips(6, 2), 30)
    assert len(ClipStore.open(store.path)) == 20
    store.commit(30, RUN)
    longer = ClipStore.open(store.path)
    assert np.array_equal(longer.read(np.arange(20)), before)
    assert np.array_equal(longer.read(np.arange(20, 24)), some_clips(4, 1))
    assert longer.fingerprint != old and len(longer.attributes["runs"]) == 2


def test_drop_unfinished(store):
    files = sorted(p.relative_to(store.path) for p in store.path.rglob("*") if p.is_file())
    store.write(24, some_clips(16), 40)
    (store.path / "c.4.0.0.0.0.__lock").write_bytes(b"cut off while it was written")
    store.drop_unfinished()
    assert files == sorted(p.relative_to(store.path) for p in store.path.rglob("*") if p.is_file())
    assert len(store.read(np.arange(20))) == 20


def test_a_folder_is_not_listed_anew_for_each_file_that_is_deleted(store, monkeypatch):
    before, asked = names(store.path), []
    for number in range(3, 20):
        for name in (f"c.{number}.0.0.0.0", f"{number}.0.0.0.0.0", f"unfinished.{number}"):
            (store.path / name).touch()

    class Told:
        """The files, telling what is asked of them."""

        def __getattr__(self, name):
            asked.append(name)
            return getattr(open_files(store.path), name)

    monkeypatch.setattr("utils.places.open_files", lambda path: Told())
    store.drop_unfinished()
    assert names(store.path) == before
    assert asked.count("list") == asked.count("delete_range") == 1


def test_giving_up_a_store_deletes_no_copy_of_its_metadata(tmp_path):
    store = ClipStore.create(tmp_path, 2, 1, (4, 6))
    (tmp_path / "zarr.json.bak").touch()
    store.give_up()
    assert names(tmp_path) == ["zarr.json.bak"]


def test_fingerprint_tells_contents_apart(store, tmp_path):
    assert ClipStore.open(store.path).fingerprint == store.fingerprint
    other = ClipStore.prepare(tmp_path / "other", None, 2, 1, (4, 6))
    other.write(0, some_clips(8), 8)
    other.commit(8, {"seed": 2})
    assert ClipStore.open(tmp_path / "other").fingerprint != store.fingerprint


@pytest.mark.parametrize(
    "shape, sealed, told",
    [
        ([21, 3, 3, 4, 6], False, "its checksum does not match"),
        ([20, 3, 3, 4, 2**30], True, "its clips are of"),
        ([20, 3, 3, 4, -6], True, "its clips are of"),
        ([20, 3, 3, 4, 7], True, "not of this program"),
        ([2**50, 3, 3, 4, 6], True, "not of this program"),
    ],
)
def test_altered_metadata_are_refused(store, shape, sealed, told):
    metadata = json.loads((store.path / "zarr.json").read_text())
    metadata["shape"] = shape
    if sealed:
        metadata["attributes"][CHECKSUM] = checksum(metadata)
    (store.path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=f"clips is not a store of clips .*{told}"):
        ClipStore.open(store.path)


@pytest.mark.parametrize(
    "where, value",
    [
        (("attributes", "runs"), None),
        (("attributes", "runs"), [5]),
        (("attributes", "runs"), [{"look": ["--step 1"]}]),
        (("attributes", "history"), "2"),
        (("attributes", "horizon"), 2),
        (("chunk_grid", "configuration", "chunk_shape"), [2**64, 3, 3, 4, 6]),
        (("dimension_names",), 5),
        (("shape",), [-1, 3, 3, 4, 6]),
        (("fill_value",), {"x": 2**64}),
        (("fill_value",), 10**30),
        (("codecs",), []),
    ],
)
def test_metadata_of_others_are_refused_in_one_line(store, where, value):
    metadata = json.loads((store.path / "zarr.json").read_text())
    *outer, last = where
    functools.reduce(dict.get, outer, metadata)[last] = value
    metadata["attributes"][CHECKSUM] = checksum(metadata)
    (store.path / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="clips is not a store of clips") as refused:
        ClipStore.open(store.path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 700


def test_clips_too_large_to_be_read_are_not_begun(tmp_path):
    with pytest.raises(UserError, match="clips of 5 frames of 9000x9000 take more .* lower --size"):
        ClipStore.prepare(tmp_path / "clips", None, 4, 1, (9000, 9000))
    assert not (tmp_path / "clips").exists()


def test_more_shards_than_files_may_be_open_can_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.recipe.SHARD_BYTES", some_clips(1).size)
    store = ClipStore.create(tmp_path, 2, 1, (4, 6))
    clips = some_clips(140)
    for number in range(140):
        store.write(number, clips[number : number + 1], 140)
    store.commit(140, RUN)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(os.listdir("/dev/fd"))  # by other tests, too
    resource.setrlimit(resource.RLIMIT_NOFILE, (128 + open_now, before[1]))
    try:
        assert np.array_equal(ClipStore.open(tmp_path).read(np.arange(140)), clips)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_clips_that_may_not_be_read_are_not_called_damaged(store, monkeypatch):
    def refuse(path, *how):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"c\.0\.0\.0\.0\.0: Permission denied: cannot be read$"):
        store.read([0])


@pytest.mark.parametrize("damage", [Path.unlink, lambda shard: os.truncate(shard, 99)])
def test_nothing_is_added_to_a_store_that_lacks_clips(store, damage):
    damage(store.path / "c.1.0.0.0.0")
    with pytest.raises(UserError, match=r"is damaged: .*c\.1\.0\.0\.0\.0.*; make it anew"):
        ClipStore.prepare(store.path, "append", 2, 1, (4, 6))


@pytest.mark.parametrize("damage", ["lost", "flipped", "cut"])
def test_damage_is_never_silent(store, damage):
    shard = store.path / "c.1.0.0.0.0"
    if damage == "lost":
        shard.unlink()
    elif damage == "cut":
        shard.write_bytes(shard.read_bytes()[:-40])
    else:
        content = bytearray(shard.read_bytes())
        content[150] ^= 4
        shard.write_bytes(content)
    fresh = ClipStore.open(store.path)
    assert len(fresh.read([0, 19])) == 2
    with pytest.raises(UserError, match="clips is damaged: .*; make it anew"):
        fresh.read(np.arange(8, 16))


def test_each_task_finds_a_store_of_many_sources_without_parsing_them_anew(store):
    sources = [{"name": f"{number}.avi", "digest": 32 * "0"} for number in range(20000)]
    store.commit(len(store), {"clips": 0, "sources": sources})
    times = []
    for _ in range(4):
        begin = time.perf_counter()
        found = ClipStore.find(store.path)
        times.append(time.perf_counter() - begin)
    assert found.runs[-1]["sources"] == sources and min(times[1:]) < times[0] / 5


def test_any_flipped_byte_is_found_or_harmless(store):
    shard = store.path / "c.1.0.0.0.0"
    content, clips = shard.read_bytes(), store.read(np.arange(8, 16))
    rng, found = np.random.default_rng(0), 0
    for place in rng.choice(len(content), 200, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= rng.integers(1, 256)
        shard.write_bytes(damaged)
        try:
            assert np.array_equal(ClipStore.open(store.path).read(np.arange(8, 16)), clips)
        except UserError:
            found += 1
    assert found > 190


@pytest.mark.parametrize("size", [100, 2**40])
def test_chunk_of_another_size_is_refused(store, size):
    chunk = zstandard.compress(bytes(100))
    if size > 100:
        chunk = b"\x28\xb5\x2f\xfd\xe0" + size.to_bytes(8, "little") + chunk[6:]
    assert zstandard.frame_content_size(chunk) == size

    index = np.full((8, 2), 2**64 - 1, "<u8")
    index[0] = 0, len(chunk) + 4
    (store.path / "c.1.0.0.0.0").write_bytes(seal(chunk) + seal(index.tobytes()))
    fresh = ClipStore.open(store.path)
    with pytest.raises(UserError, match=f"chunk 8 is of {size} bytes, not 216"):
        fresh.read([8])
    with pytest.raises(UserError, match="c.1.0.0.0.0 lacks clips or is cut short; make it anew"):
        fresh.read([9])


def test_other_layouts_are_read_and_added_to(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.layout.CODECS", [{"name": "bytes"}, {"name": "crc32c"}])
    ClipStore.prepare(tmp_path, None, 2, 1, (4, 6))
    monkeypatch.undo()
    store = ClipStore.find(tmp_path)
    store.write(0, some_clips(8), 8)
    store.commit(8, RUN)
    assert np.array_equal(ClipStore.open(tmp_path).read([7, 0, 7]), some_clips(8)[[7, 0, 7]])


@pytest.mark.parametrize("what", ["missing", "empty", "foreign", "file", "array", "json"])
def test_not_a_store(tmp_path, what):
    path = tmp_path / "clips"
    if what == "file":
        path.write_text("hello")
    elif what != "missing":
        path.mkdir()
    if what == "foreign":
        (path / "thesis.tex").write_text("years of work")
    if what == "json":
        (path / "zarr.json").write_text("{")
    if what == "array":
        (path / "zarr.json").write_text(json.dumps({"shape": [3], "attributes": {}}))
    with pytest.raises(UserError, match="clips"):
        ClipStore.open(path)
    if what in {"missing", "empty"}:
        return
    with pytest.raises(UserError, match="not a store of clips"):
        ClipStore.prepare(path, "overwrite", 2, 1, (4, 6))
    assert path.exists() and (what != "foreign" or (path / "thesis.tex").exists())


def test_a_store_that_cannot_be_reached_is_not_called_another_thing():
    told = "nowhere://clips: zarr.json cannot be read .*; mend that or give another path"
    with pytest.raises(UserError, match=told):
        ClipStore.open("nowhere://clips")


def test_prepare(store):
    with pytest.raises(UserError, match="holds 20 clips: give --append, --overwrite"):
        ClipStore.prepare(store.path, None, 2, 1, (4, 6))
    with pytest.raises(UserError, match=r"holds colour clips of 2\+1 frames of 4x6"):
        ClipStore.prepare(store.path, "append", 2, 1, (6, 4))
    with pytest.raises(UserError, match="--gray to match"):
        ClipStore.prepare(store.path, "append", 2, 1, (4, 6), 1)
    assert len(ClipStore.prepare(store.path, "append", 2, 1, (4, 6))) == 20


def test_old_clips_stay_until_those_that_replace_them_are_finished(store):
    before, old = names(store.path), store.read(np.arange(20))
    for stop in ("given up", "appended to", "begun anew", "finished"):
        draft = ClipStore.prepare(store.path, "overwrite", 4, 1, (6, 4))
        assert len(draft) == 0 and draft.shape == (5, 3, 6, 4)
        clips = np.full((3, *draft.shape), 7, np.uint8)
        ClipStore.find(store.path).target().write(0, clips, 3)  # as a worker finds it
        there = ClipStore.open(store.path)
        assert np.array_equal(there.read(np.arange(20)), old) and there.runs == store.runs
        if stop == "given up":
            draft.give_up()
            assert names(store.path) == before
        if stop == "appended to":
            ClipStore.prepare(store.path, "append", 2, 1, (4, 6))
            assert names(store.path) == before
    draft.commit(3, RUN)
    there = ClipStore.open(store.path)
    assert names(store.path) == ["0.0.0.0.0", "zarr.json"]
    assert np.array_equal(there.read([2, 0, 1]), clips)
    array = tensorstore.open({"driver": "zarr3", "kvstore": f"file://{store.path}/"}).result()
    assert np.array_equal(array.read().result(), clips)
    again = ClipStore.prepare(store.path, "overwrite", 4, 1, (6, 4))
    again.write(0, clips, 3)
    again.commit(3, RUN)
    assert names(store.path) == ["c.0.0.0.0.0", "zarr.json"]
    assert ClipStore.open(store.path).fingerprint == there.fingerprint


def test_the_draft_of_a_finished_replacement_is_not_written_to(store):
    ClipStore.prepare(store.path, "overwrite", 2, 1, (4, 6))
    left = (store.path / DRAFT).read_bytes()
    ClipStore.find(store.path).target().commit(0, RUN)
    (store.path / DRAFT).write_bytes(left)
    there = ClipStore.find(store.path)
    assert there.target() is there
    (store.path / DRAFT).write_bytes(left[:-9])
    with pytest.raises(UserError, match="its unfinished.zarr.json is damaged; give --overwrite"):
        there.target()
    assert len(ClipStore.prepare(store.path, "overwrite", 2, 1, (4, 6))) == 0


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_cannot_write(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file/clips"):
        ClipStore.prepare(tmp_path / "file" / "clips", None, 2, 1, (4, 6))


class Web(http.server.SimpleHTTPRequestHandler):
    """Files with ranges of their bytes, as web servers give them."""

    def do_GET(self):
        wanted, path = self.headers.get("Range"), Path(self.translate_path(self.path))
        if not wanted or not path.is_file():
            return super().do_GET()
        content, (first, last) = path.read_bytes(), wanted.removeprefix("bytes=").split("-")
        start = int(first) if first else len(content) - int(last)
        part = content[start : int(last) + 1] if first and last else content[start:]
        self.send_response(206)
        place = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        self.send_header("Content-Range", place)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *_):
        pass


def test_clips_on_a_web_server_can_be_read(store, monkeypatch):
    handler = functools.partial(Web, directory=store.path.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        there = ClipStore.open(f"{url}/clips")
        assert np.array_equal(there.read([19, 0, 7, 8]), store.read([19, 0, 7, 8]))
        assert there.fingerprint == store.fingerprint and there.bytes_on_disk() is None
        (store.path / "c.0.0.0.0.0").unlink()
        with pytest.raises(UserError, match="clips is damaged: .*; make it anew"):
            ClipStore.open(f"{url}/clips").read([0])
        with pytest.raises(UserError, match="no clips at http.*nothing"):
            ClipStore.open(f"{url}/nothing")
        with pytest.raises(UserError, match="cannot write to http.*not support writing"):
            ClipStore.prepare(f"{url}/new", None, 2, 1, (4, 6))
        with pytest.raises(UserError, match="cannot write to http.*; make it writable or give"):
            ClipStore.prepare(there.path, "overwrite", 2, 1, (4, 6))
        with pytest.raises(UserError, match="cannot write to http.*; make it writable or give"):
            there.write_file("zarr.json", None)
        server.shutdown()
    monkeypatch.setattr("utils.places.RETRIES", {"http_request_retries": {"max_retries": 1}})
    with pytest.raises(UserError, match="http.*(connect|Connect)"):
        ClipStore.open(f"{url}/clips")


def test_a_name_that_is_not_utf8_is_told(tmp_path):
    for find in (ClipStore.open, lambda path: ClipStore.prepare(path, None, 2, 1, (4, 6))):
        with pytest.raises(UserError, match="its name is not UTF-8"):
            find(tmp_path / "caf\udce9")


def test_where_a_bucket_is(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert locate("s3://bucket/my/clips/") == "s3://bucket/my/clips/"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9000")
    assert locate("s3://bucket/my/clips") == {
        **{"driver": "s3", "bucket": "bucket", "path": "my/clips/"},
        "endpoint": "http://127.0.0.1:9000",
    }


def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(store, tmp_path):
    (tmp_path / "clips/c.0.0.0.0.0").unlink()
    with pytest.raises(UserError, match=r"is damaged: .*/c.0.0.0.0.0: No such file or dir[^\[]*$"):
        ClipStore.open(store.path).read([0])
    os.mkfifo(tmp_path / "clips/c.0.0.0.0.0")
    with pytest.raises(UserError, match="c.0.0.0.0.0: not a file"):
        ClipStore.open(store.path).read([0])
    (tmp_path / "clips/zarr.json").unlink()
    os.mkfifo(tmp_path / "clips/zarr.json")
    with pytest.raises(UserError, match="zarr.json is not a file"):
        ClipStore.open(store.path)


@pytest.mark.parametrize("url", ["s3://", "s3:///", "http://"])
def test_a_url_of_nowhere_is_refused(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="a URL without a place"):
        ClipStore.prepare(url, None, 2, 1, (4, 6))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("side, clips", [(32, 1024), (256, 34), (2048, 1)])
def test_shards_have_many_small_clips_or_few_large_ones(tmp_path, side, clips):
    assert ClipStore.create(tmp_path, 4, 1, (side, side)).shard == clips
