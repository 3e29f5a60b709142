"""Clips on disk in one sharded Zarr v3 array."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import tensorstore

from utils.errors import UserError, describe_error, reason
from utils.recipe import clips_per_shard
from utils.shards import Shards

KIND = "video clips"
INDEX_CACHE_BYTES = 2**26  # shard indices, so that a random read touches the disk once
ZSTD_LEVEL = 3
CHECKSUM = "sha256"  # the attribute that vouches for zarr.json; chunks have checksums of their own
CLIP_BYTES, CLIPS = 2**30, 2**40  # no store has larger clips, or more
# Chunks keep a clip's axes as height, time, width, channel: rows that belong together lie together,
# which halves what zstd makes of recorded Ms. Pac-Man (670 -> 370 bytes a clip).
ORDER = [0, 3, 1, 4, 2]
CODECS = [
    {"name": "transpose", "configuration": {"order": ORDER}},
    {"name": "bytes"},
    {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
    {"name": "crc32c"},
]
INDEX_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]

# A server that does not answer is given up after half a minute.
RETRIES = {f"{kind}_request_retries": {"max_retries": 5} for kind in ("http", "s3", "gcs")}


def locate(path):
    """The tensorstore key-value store of a local folder or of a URL.

    s3://bucket/clips is Amazon's, or that of the server that AWS_ENDPOINT_URL names.
    UserError for a folder whose name is not UTF-8.
    """
    scheme, mark, place = str(path).partition("://")
    place = place.rstrip("/")
    if mark and not place:
        raise UserError(f"{path}: a URL without a place; give one such as s3://BUCKET/clips")
    if not mark:
        folder = f"{os.path.abspath(path)}{os.sep}"
        try:
            folder.encode()
        except UnicodeEncodeError:
            raise UserError(f"{path}: its name is not UTF-8; give another path") from None
        return {"driver": "file", "path": folder}
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if scheme == "s3" and endpoint:
        bucket, _, name = place.partition("/")
        return {"driver": "s3", "bucket": bucket, "path": f"{name}/", "endpoint": endpoint}
    return f"{scheme}://{place}/"


def open_files(path):
    """The files below a local folder or a URL, as tensorstore has them."""
    return tensorstore.KvStore.open(locate(path), context=tensorstore.Context(RETRIES)).result()


def vacant(path):
    """Whether a store can be made at `path`: a URL, nothing at all or an empty folder."""
    if "://" in str(path) or not os.path.lexists(path):
        return True
    return os.path.isdir(path) and not os.listdir(path)


def checksum(metadata):
    """SHA-256 of the metadata of a store, without the attribute that holds it."""
    attributes = {k: v for k, v in metadata["attributes"].items() if k != CHECKSUM}
    text = json.dumps({**metadata, "attributes": attributes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check(metadata):
    """Raise ValueError for metadata that were altered since, or of impossibly large clips."""
    if metadata["attributes"].get(CHECKSUM) != checksum(metadata):
        raise ValueError("its zarr.json is damaged, its checksum does not match")
    length, *clip = metadata["shape"]
    if not all(type(n) is int and n > 0 for n in clip) or np.prod(clip, dtype=float) > CLIP_BYTES:
        raise ValueError(f"its clips are of {clip}")
    if metadata["codecs"][0]["configuration"]["chunk_shape"] != [1, *clip] or length > CLIPS:
        raise ValueError("its zarr.json is not of this program")


class ClipStore:
    """uint8 clips (N, T, C, H, W), T = history + horizon.

    The array's own metadata, zarr.json, is written last: its length counts finished clips only,
    so a reader never takes a half-written store as good.
    """

    def __init__(self, path, metadata):
        self.path = path
        self.metadata = metadata
        self.attributes = metadata["attributes"]
        self.history, self.horizon = self.attributes["history"], self.attributes["horizon"]
        self.shape = tuple(metadata["shape"][1:])
        self.shard = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        self._array = self._reach(len(self))
        self._shards = self._find_shards()

    @classmethod
    def open(cls, path):
        """Open a finished store; UserError where there is none."""
        store = cls.find(path)
        if store is None:
            raise UserError(f"no clips at {path}: make them with `python process_data.py`")
        if not len(store):
            raise UserError(
                f"{path} has no finished clips: make them with `python process_data.py --overwrite`"
            )
        return store

    @classmethod
    def create(cls, path, history, horizon, size, channels=3):
        """An empty store for clips of `size` (height, width); UserError for too large ones."""
        clip = [history + horizon, channels, *size]
        if np.prod(clip, dtype=float) > CLIP_BYTES:
            raise UserError(
                f"clips of {clip[0]} frames of {size[0]}x{size[1]} take more than {CLIP_BYTES} "
                "bytes each: lower --size, --history or --horizon"
            )
        shard = {"chunk_shape": [1, *clip], "codecs": CODECS, "index_codecs": INDEX_CODECS}
        grid = {"chunk_shape": [clips_per_shard(clip), *clip]}
        metadata = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [0, *clip],
            "data_type": "uint8",
            "fill_value": 0,
            "dimension_names": ["clip", "time", "channel", "height", "width"],
            "chunk_grid": {"name": "regular", "configuration": grid},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "codecs": [{"name": "sharding_indexed", "configuration": shard}],
            "attributes": {"kind": KIND, "history": history, "horizon": horizon, "runs": []},
        }
        store = cls(path, metadata)
        store._write_metadata(metadata)
        return store

    @classmethod
    def prepare(cls, path, existing, history, horizon, size, channels=3):
        """The store to write to: a new one, or the one at `path`.

        `existing` says what becomes of one that is there: "append", "overwrite", or None, which
        makes it a UserError, as are clips of another kind to append to.
        """
        store = cls.find(path)
        if store is not None and existing is None:
            if not len(store):
                raise UserError(
                    f"{path} has an unfinished run: give the same command with --resume, "
                    "--overwrite or another --out"
                )
            raise UserError(
                f"{path} holds {len(store)} clips: give --append, --overwrite or another --out"
            )
        if store is None or existing == "overwrite":
            # Empty first, then cleared: wherever that is cut off, it is a good store.
            store = cls.create(path, history, horizon, size, channels)
            store.drop_unfinished()
            return store
        length, *shape = history + horizon, channels, *size
        if (store.history, store.horizon, store.shape) != (history, horizon, (length, *shape)):
            kind = "grey" if store.shape[1] == 1 else "colour"
            raise UserError(
                f"{path} holds {kind} clips of {store.history}+{store.horizon} frames of "
                f"{store.shape[2]}x{store.shape[3]}: "
                "give --history, --horizon, --size, --gray to match"
            )
        return store

    @classmethod
    def find(cls, path):
        """The store at `path`, finished or not; None where nothing is.

        UserError if something else is there.
        """
        about = os.path.join(path, "zarr.json")
        try:
            if "://" not in str(path) and os.path.exists(about) and not os.path.isfile(about):
                raise ValueError("its zarr.json is not a file")  # a pipe would be waited for
            found = open_files(path).read("zarr.json").result()
            if found.state != "value":
                if vacant(path):
                    return None
                raise ValueError("it has no zarr.json")
            metadata = json.loads(found.value)
            if metadata.get("attributes", {}).get("kind") != KIND:
                raise ValueError("a Zarr array of another kind")
            check(metadata)
            return cls(path, metadata)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{path} is not a store of clips ({describe_error(error)}): give another path"
            ) from None

    def __len__(self):
        return self.metadata["shape"][0]

    @property
    def runs(self):
        """What is recorded of each run that added clips, in order."""
        return self.attributes["runs"]

    @property
    def fingerprint(self):
        """A digest of what the clips are: their shape, options, seeds, sources, versions."""
        return checksum(self.metadata)[:16]

    def read(self, indices):
        """Clips `indices`, any order, repeats allowed -> uint8 (n, T, C, H, W)."""
        indices = np.asarray(indices, np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"clips {indices.min()} to {indices.max()} of {len(self)}")
        clips = np.empty((len(indices), *self.shape), np.uint8)
        stored = clips.transpose(ORDER)  # as they lie there: numpy moves the axes quickest
        try:
            if self._shards is None:
                stored[...] = self._array.transpose(ORDER)[indices].read().result()
            else:
                for place, clip in enumerate(self._shards.read(indices.tolist())):
                    stored[place] = clip
        except (FileNotFoundError, ValueError) as error:
            why = reason(error) if isinstance(error, OSError) else error
            raise UserError(f"{self.path} is damaged: {why}; make it anew") from None
        except OSError as error:  # not the clips' fault: permissions, open files, the network
            raise UserError(f"{reason(error)}: cannot be read") from None
        return clips

    def write(self, start, clips, length):
        """Store uint8 (n, T, C, H, W) from clip `start` on, in an array that will be `length`."""
        shard, stop = start // self.shard, start + len(clips)
        whole = start == shard * self.shard and stop == min(length, start + self.shard)
        try:
            if self._shards and whole:
                self._shards.write(shard, np.ascontiguousarray(clips.transpose(ORDER)))
            else:
                self._reach(length)[start:stop].write(clips).result()
        except (OSError, ValueError, NotImplementedError) as error:
            place = f"{self.path}: {describe_error(error)}"
            place = reason(error) if isinstance(error, OSError) else place
            cure = "make room, then the same command with --resume goes on"
            raise UserError(f"cannot write to {place}; {cure}") from None

    def commit(self, length, run):
        """Declare the first `length` clips finished; `run` says how the new ones were made."""
        runs = [*self.runs, run]
        attributes = {**self.attributes, "runs": runs}
        shape = [length, *self.shape]
        self._write_metadata({**self.metadata, "shape": shape, "attributes": attributes})

    def bytes_on_disk(self):
        """Size of all files of a local store; None at a URL."""
        if "://" in str(self.path):
            return None
        return sum(file.stat().st_size for file in Path(self.path).rglob("*") if file.is_file())

    def clear(self):
        """Delete the store."""
        self._write_metadata({**self.metadata, "shape": [0, *self.shape]})
        ClipStore.find(self.path).drop_unfinished()
        self.delete_files("zarr.json")

    def drop_unfinished(self):
        """Delete what an interrupted writer left: notes, shards behind the last finished clip."""
        for key in self._files().list().result():
            name, *numbers = key.decode().split(".")
            if name == "unfinished" or (name == "c" and int(numbers[0]) * self.shard >= len(self)):
                self.delete_files(key.decode())
        if "://" not in str(self.path):
            for cut_off in Path(self.path).glob("*.__lock"):  # not listed: never a whole file
                cut_off.unlink()

    def read_file(self, name):
        """The bytes of a small file beside the clips, None where there is none."""
        found = self._files().read(name).result()
        return found.value if found.state == "value" else None

    def write_file(self, name, content):
        """Write a small file beside the clips, all of it or nothing."""
        try:
            self._files().write(name, content).result()
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"cannot write to {self.path}: {describe_error(error)}") from None

    def delete_files(self, prefix):
        """Delete the files whose names begin so."""
        prefix = prefix.encode()
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        self._files().delete_range(tensorstore.KvStore.KeyRange(prefix, end)).result()

    def _write_metadata(self, metadata):
        attributes = {**metadata["attributes"], CHECKSUM: checksum(metadata)}
        sealed = {**metadata, "attributes": attributes}
        self.write_file("zarr.json", json.dumps(sealed, indent=1).encode())

    def _files(self):
        return open_files(self.path)

    def _find_shards(self):
        """The shard files, None at a URL or of another layout."""
        sharding = self.metadata["codecs"][0]["configuration"]
        ours = sharding["codecs"] == CODECS and sharding["index_codecs"] == INDEX_CODECS
        if "://" in str(self.path) or not ours:
            return None
        clip = 1, *self.shape
        shape = [clip[axis] for axis in ORDER if axis]
        return Shards(self.path, self.shard, shape, ZSTD_LEVEL)

    def _reach(self, length):
        """The array as if it had `length` clips; the stored metadata is not touched."""
        metadata = {**self.metadata, "shape": [length, *self.shape]}
        spec = {
            "driver": "zarr3",
            "kvstore": locate(self.path),
            "metadata": metadata,
            # Missing data is damage, not a black clip.
            "fill_missing_data_reads": False,
            "store_data_equal_to_fill_value": True,
            "recheck_cached_data": "open",
        }
        context = tensorstore.Context(
            {
                **RETRIES,
                "cache_pool": {"total_bytes_limit": INDEX_CACHE_BYTES},
                # Threads would cost more than they bring: 21,500 clips per processor second,
                # 14,000 with as many threads as cores.
                "data_copy_concurrency": {"limit": 1},
                "file_io_concurrency": {"limit": 1},
            }
        )
        return tensorstore.open(spec, open=True, assume_metadata=True, context=context).result()
