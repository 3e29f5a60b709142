"""Clips on disk in one sharded Zarr v3 array."""

import contextlib
import os
import re
from pathlib import Path

import numpy as np
import tensorstore

from utils import layout, places
from utils.errors import UserError, reason
from utils.layout import CODECS, INDEX_CODECS, NAMES, ORDER, ZSTD_LEVEL
from utils.names import is_url
from utils.shards import Shards

INDEX_CACHE_BYTES = 2**26  # shard indices, so that a random read touches the disk once
ABOUT = "zarr.json"
UNFINISHED = "unfinished."  # prefix of the names of files that are deleted when a run is finished
UNFINISHED_KEYS = tensorstore.KvStore.KeyRange(UNFINISHED, f"{UNFINISHED[:-1]}/")  # "/" follows "."
DRAFT = f"{UNFINISHED}{ABOUT}"
SHARD = re.compile(r"(c\.)?(\d+)\.0\.0\.0\.0")

# What layout.from_json and tensorstore raise for damaged metadata.
DAMAGED = ValueError, LookupError, TypeError, AttributeError, RuntimeError, OverflowError


class ClipStore:
    """Clips, uint8 (N, T, C, H, W), T = history + horizon, in a local folder or at a URL.

    The array's metadata, zarr.json, is written last and counts finished clips only, so a reader
    never takes a half-written store for a whole one. Clips that are to replace others are written
    beside these under other names, described by a draft of zarr.json that replaces it at the end.

    shape: (T, C, H, W). shard: clips in a file.
    """

    def __init__(self, path, metadata):
        self.path = path
        self.metadata = metadata
        self.attributes = metadata["attributes"]
        self.history, self.horizon = self.attributes["history"], self.attributes["horizon"]
        self.shape = tuple(metadata["shape"][1:])
        self.shard = metadata["chunk_grid"]["configuration"]["chunk_shape"][0]
        self._naming = metadata["chunk_key_encoding"]["name"]
        self._array = self._reach(len(self))
        self._shards = self._find_shards()

    @classmethod
    def open(cls, path):
        """The finished store at `path`; UserError if there is none."""
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
        """Make an empty store for clips of `size` (height, width); UserError for too large ones."""
        store = cls(path, layout.blank(history, horizon, size, channels))
        store.write_file(ABOUT, layout.to_json(store.metadata))
        return store

    @classmethod
    def prepare(cls, path, existing, history, horizon, size, channels=3):
        """The store to write to: a new one, or the one at `path`.

        `existing` says what becomes of one that is there: "append", "overwrite", or None, which
        makes it a UserError, as are clips to append to that are of another kind or damaged.
        """
        store, kind = cls.find(path), (history, horizon, size, channels)
        if store is None:
            store = cls.create(path, *kind)
            store.drop_unfinished()
            return store
        if existing is None:
            held, way = f"holds {len(store)} clips", "--append"
            if not len(store):
                held, way = "has an unfinished run", "the same command with --resume"
            raise UserError(f"{path} {held}: give {way}, --overwrite or another --out")
        if existing == "append":
            store._check_kind(*kind)
            store.check_shards()
            store.drop_unfinished()
            return store
        store.drop_unfinished()
        return store._begin_draft(*kind) if len(store) else cls.create(path, *kind)

    @classmethod
    def find(cls, path):
        """The store at `path`, finished or not; None where nothing is.

        UserError if something else is there.
        """
        about = os.path.join(path, ABOUT)
        try:
            if places.is_no_file(about):
                raise ValueError("its zarr.json is not a file")
            found = places.read_from(path, ABOUT)
            if found.state != "value":
                if places.vacant(path):
                    return None
                raise ValueError("it has no zarr.json")
            return cls(path, layout.from_json(found.value))
        except DAMAGED as error:
            raise UserError(
                f"{path} is not a store of clips ({reason(error)}): give another path"
            ) from None

    def target(self):
        """The store that an unfinished run writes to: the draft that is to replace this one, if
        there is one, else this one. UserError for a damaged draft."""
        content = self.read_file(DRAFT)
        if content is None:
            return self
        try:
            draft = ClipStore(self.path, layout.from_json(content))
        except DAMAGED:
            cure = "give --overwrite, without --resume, to begin anew"
            raise UserError(f"{self.path}: its {DRAFT} is damaged; {cure}") from None
        # A draft that uses this store's names has replaced it already, but was not deleted.
        return self if draft._naming == self._naming else draft

    def __len__(self):
        return self.metadata["shape"][0]

    @property
    def runs(self):
        """What is recorded of each run that added clips, in order."""
        return self.attributes["runs"]

    @property
    def looks(self):
        """The different `Look.flags` with which the runs read their videos, as far as recorded."""
        return list(dict.fromkeys(run["look"] for run in self.runs if "look" in run))

    @property
    def sources(self):
        """The videos that clips may be from, a set of their digests, as far as recorded."""
        return {video["digest"] for run in self.runs for video in run.get("sources", [])}

    @property
    def fingerprint(self):
        """A digest of what the clips are: their shape, options, seeds, sources, versions."""
        return layout.fingerprint(self.metadata)

    def read(self, indices):
        """Clips `indices`, any order, repeats allowed -> uint8 (n, T, C, H, W)."""
        indices = np.asarray(indices, np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < len(self):
            raise IndexError(f"clips {indices.min()} to {indices.max()} of {len(self)}")
        clips = np.empty((len(indices), *self.shape), np.uint8)
        stored = clips.transpose(ORDER)  # a view in the order on disk: NumPy permutes fastest
        with self._reading():
            if self._shards is None:
                stored[...] = self._array.transpose(ORDER)[indices].read().result()
            else:
                for place, clip in enumerate(self._shards.read(indices.tolist())):
                    stored[place] = clip
        return clips

    def write(self, start, clips, length):
        """Write clips, uint8 (n, T, C, H, W), from number `start` on.

        length: the number of clips the array will have. Whole shards of a local store are written
        directly, all else by tensorstore.
        """
        shard, stop = start // self.shard, start + len(clips)
        whole = start == shard * self.shard and stop == min(length, start + self.shard)
        try:
            if self._shards and whole:
                self._shards.write(shard, np.ascontiguousarray(clips.transpose(ORDER)))
            else:
                self._reach(length)[start:stop].write(clips).result()
        except (OSError, ValueError, NotImplementedError) as error:
            place = "" if isinstance(error, OSError) else f"{self.path}: "
            cure = "make room or make it writable, then the same command with --resume goes on"
            raise UserError(f"cannot write to {place}{reason(error)}; {cure}") from None

    def commit(self, length, run):
        """Declare the first `length` clips finished; `run`: the record of how they were made.

        The clips that they replace and the notes about the run are deleted.
        """
        attributes = {**self.attributes, "runs": [*self.runs, run]}
        finished = {**layout.lengthened(self.metadata, length), "attributes": attributes}
        self.write_file(ABOUT, layout.to_json(finished))
        ClipStore(self.path, finished).drop_unfinished()

    def bytes_on_disk(self):
        """Size of all files of a local store; None at a URL."""
        if is_url(self.path):
            return None
        return sum(file.stat().st_size for file in Path(self.path).rglob("*") if file.is_file())

    def give_up(self):
        """Delete what an unfinished run has left, and the store itself if it has no other clips."""
        store = ClipStore.find(self.path)
        store.drop_unfinished()
        if not len(store):
            store.write_file(ABOUT, None)

    def drop_unfinished(self):
        """Delete all but the finished clips: notes, a draft, shards that are not of this store."""
        with places.changing(self.path):
            files = self._files()
            # Notes go first: with them, but without its shards, a run would seem to go on.
            files.delete_range(UNFINISHED_KEYS).result()
            keys = map(bytes.decode, files.list().result())
            # One by one: each range would list the folder anew.
            deletions = [files.write(key, None) for key in keys if self._is_foreign(key)]
            for deletion in deletions:
                deletion.result()
            if not is_url(self.path):  # tensorstore does not list its own
                for partial in Path(self.path).glob(f"*{places.CUT_OFF}"):
                    partial.unlink()

    def check_shards(self):
        """UserError if the file of some finished clips, of a local store, is gone or cut short."""
        if self._shards:
            with self._reading():
                self._shards.check(len(self))

    def read_file(self, name):
        """The bytes of a small file beside the clips, None where there is none."""
        place = os.path.join(self.path, name)
        if places.is_no_file(place):
            raise UserError(f"{place}: not a file; remove it")
        found = places.read_from(self.path, name)
        return found.value if found.state == "value" else None

    def write_file(self, name, content):
        """Write a small file beside the clips, atomically; delete it if `content` is None."""
        with places.changing(self.path):
            self._files().write(name, content).result()

    def _is_foreign(self, key):
        """Whether a file is a shard, but none of the finished clips of this store."""
        shard = SHARD.match(key)
        named = shard and (shard[1] or "") == NAMES[self._naming]
        return bool(shard) and not (named and int(shard[2]) * self.shard < len(self))

    def _check_kind(self, history, horizon, size, channels):
        """UserError if clips of another kind are to be added."""
        shape = history + horizon, channels, *size
        if (self.history, self.horizon, self.shape) != (history, horizon, shape):
            kind = "grey" if self.shape[1] == 1 else "colour"
            raise UserError(
                f"{self.path} holds {kind} clips of {self.history}+{self.horizon} frames of "
                f"{self.shape[2]}x{self.shape[3]}: "
                "give --history, --horizon, --size, --gray to match"
            )

    @contextlib.contextmanager
    def _reading(self):
        """In this context it is a UserError if clips cannot be read."""
        try:
            yield
        except (FileNotFoundError, ValueError) as error:
            raise UserError(f"{self.path} is damaged: {reason(error)}; make it anew") from None
        except OSError as error:  # no damage: permissions, too many open files, the network
            raise UserError(f"{reason(error)}: cannot be read") from None

    def _begin_draft(self, *kind):
        """An empty store in the same place, to replace this one when it is finished."""
        (naming,) = set(NAMES) - {self._naming}
        draft = ClipStore(self.path, layout.blank(*kind, naming))
        self.write_file(DRAFT, layout.to_json(draft.metadata))
        return draft

    def _files(self):
        return places.open_files(self.path)

    def _find_shards(self):
        """The shard files, None at a URL or of another layout."""
        sharding = self.metadata["codecs"][0]["configuration"]
        ours = sharding["codecs"] == CODECS and sharding["index_codecs"] == INDEX_CODECS
        if is_url(self.path) or not ours:
            return None
        clip = 1, *self.shape
        shape = [clip[axis] for axis in ORDER if axis]
        return Shards(self.path, NAMES[self._naming], self.shard, shape, ZSTD_LEVEL)

    def _reach(self, length):
        """The array as if it had `length` clips; the stored metadata is not touched."""
        spec = {
            "driver": "zarr3",
            "kvstore": places.locate(self.path),
            # Not the attributes, which tensorstore would parse: they may list 100,000 sources.
            "metadata": {**layout.lengthened(self.metadata, length), "attributes": {}},
            # Missing data is damage, not a black clip.
            "fill_missing_data_reads": False,
            "store_data_equal_to_fill_value": True,
            "recheck_cached_data": "open",
        }
        context = tensorstore.Context(
            {
                **places.RETRIES,
                "cache_pool": {"total_bytes_limit": INDEX_CACHE_BYTES},
                # Threads cost more than they gain: 21,500 clips per second of processor time with
                # one, 14,000 with as many as there are cores.
                "data_copy_concurrency": {"limit": 1},
                "file_io_concurrency": {"limit": 1},
            }
        )
        return tensorstore.open(spec, open=True, assume_metadata=True, context=context).result()
