"""How clips lie in one sharded Zarr v3 array, as its zarr.json says."""

import functools
import hashlib
import json

import numpy as np

from utils.errors import UserError
from utils.recipe import clips_per_shard

KIND = "video clips"
ZSTD_LEVEL = 3
CHECKSUM = "sha256"  # the attribute with the checksum of zarr.json; chunks have their own
CLIP_BYTES, CLIPS = 2**30, 2**40  # the most that a store may have: bytes of a clip, clips
# Clips are stored with the axes height, time, width, channel: the same row of successive frames
# lies together, which nearly halves their compressed size (Ms. Pac-Man: 670 -> 370 bytes a clip).
ORDER = [0, 3, 1, 4, 2]
CODECS = [
    {"name": "transpose", "configuration": {"order": ORDER}},
    {"name": "bytes"},
    {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}},
    {"name": "crc32c"},
]
INDEX_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
# {Zarr's name of a chunk key encoding: prefix of the shards' names}. The first is the usual one;
# clips that are to replace others are written beside them under the names of the other.
NAMES = {"default": "c.", "v2": ""}


def blank(history, horizon, size, channels, naming="default"):
    """The metadata of a store without clips; UserError for clips that are too large."""
    clip = [history + horizon, channels, *size]
    if np.prod(clip, dtype=float) > CLIP_BYTES:
        raise UserError(
            f"clips of {clip[0]} frames of {size[0]}x{size[1]} take more than {CLIP_BYTES} "
            "bytes each: lower --size, --history or --horizon"
        )
    shard = {"chunk_shape": [1, *clip], "codecs": CODECS, "index_codecs": INDEX_CODECS}
    grid = {"chunk_shape": [clips_per_shard(clip), *clip]}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [0, *clip],
        "data_type": "uint8",
        "fill_value": 0,
        "dimension_names": ["clip", "time", "channel", "height", "width"],
        "chunk_grid": {"name": "regular", "configuration": grid},
        "chunk_key_encoding": named(naming),
        "codecs": [{"name": "sharding_indexed", "configuration": shard}],
        "attributes": {"kind": KIND, "history": history, "horizon": horizon, "runs": []},
    }


def named(naming):
    """The metadata of a chunk key encoding, one of NAMES."""
    return {"name": naming, "configuration": {"separator": "."}}


def lengthened(metadata, length):
    """The metadata of the same store with `length` clips."""
    return {**metadata, "shape": [length, *metadata["shape"][1:]]}


def to_json(metadata):
    """The content of a zarr.json, with its checksum among the attributes."""
    attributes = {**metadata["attributes"], CHECKSUM: checksum(metadata)}
    return json.dumps({**metadata, "attributes": attributes}, indent=1).encode()


@functools.lru_cache(maxsize=2)  # of a store and its draft: they may list 100,000 sources
def from_json(content):
    """The metadata in a zarr.json, not to be changed.

    ValueError, LookupError, TypeError, AttributeError or RecursionError for what is not of this
    program, was altered since, or is of impossibly large clips.
    """
    metadata = json.loads(content)
    if metadata.get("attributes", {}).get("kind") != KIND:
        raise ValueError("a Zarr array of another kind")
    if metadata["attributes"].get(CHECKSUM) != checksum(metadata):
        raise ValueError("its zarr.json is damaged, its checksum does not match")
    length, *clip = metadata["shape"]
    if not all(type(n) is int and n > 0 for n in clip) or np.prod(clip, dtype=float) > CLIP_BYTES:
        raise ValueError(f"its clips are of {clip}")
    attributes = metadata["attributes"]
    frames = attributes["history"], attributes["horizon"]
    if not all(type(n) is int and n > 0 for n in frames) or sum(frames) != clip[0]:
        raise ValueError(f"its clips of {clip[0]} frames are said to have {frames}")
    if not all(type(run.get("look", "")) is str for run in attributes["runs"]):
        raise ValueError("what it tells of its runs is not of this program")
    shards = metadata["codecs"][0]["configuration"]["chunk_shape"]
    naming = metadata["chunk_key_encoding"]
    if shards != [1, *clip] or length > CLIPS or naming not in map(named, NAMES):
        raise ValueError("its zarr.json is not of this program")
    return metadata


def checksum(metadata):
    """SHA-256 of the metadata of a store, without the attribute that holds it."""
    attributes = {k: v for k, v in metadata["attributes"].items() if k != CHECKSUM}
    text = json.dumps({**metadata, "attributes": attributes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(metadata):
    """A digest of the metadata, the same however the shards are named."""
    return checksum({**metadata, "chunk_key_encoding": named("default")})[:16]
