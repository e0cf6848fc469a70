"""Putting files together from what Xet clients upload.

Where `hf_xet` is installed, huggingface_hub sends every large file by the Xet protocol and by nothing else. Here only
as much of it is understood as an upload needs: xorbs (packed chunks of files), and shards (which chunks make up which
file). Each file is assembled, checked against its SHA-256 and kept like any other large object; downloads are plain
HTTP. Formats: https://huggingface.co/docs/xet/xorb and https://huggingface.co/docs/xet/shard
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import lz4.frame

from deploy.localhub.errors import BadRequestError
from deploy.localhub.objects import LargeObject, ObjectStore

MAX_XORB_BYTES = 80 * 1024 * 1024
"""The protocol's limit is 64 MiB; a footer comes on top."""

MAX_SHARD_BYTES = 64 * 1024 * 1024
MAX_CHUNK_BYTES = 1024 * 1024
_CHUNK_HEADER = struct.Struct("<B3sB3s")
_SHARD_VERSION = 2
_RECORD_BYTES = 48
_RECORD = struct.Struct("<32sIIII")
_SHARD_HEADER = struct.Struct("<32sQQ")
_LAST = b"\xff" * 32
_HAS_VERIFICATION = 1 << 31
_HAS_METADATA = 1 << 30
_STORED, _LZ4, _GROUPED_LZ4 = range(3)


@dataclass(frozen=True)
class Segment:
    """Chunks `first` to `end` (excluded) of a xorb, which unpack to `size` bytes."""

    xorb: str
    first: int
    end: int
    size: int


@dataclass(frozen=True)
class Recipe:
    """How a file is put together, and the SHA-256 that it must have then."""

    sha256: str
    segments: tuple[Segment, ...]


def hash_text(raw: bytes) -> str:
    """A hash as the protocol writes it: four little-endian 64-bit numbers in hexadecimal."""
    return "".join(f"{number:016x}" for number in struct.unpack("<4Q", raw))


def parse_shard(content: bytes) -> list[Recipe]:
    """The files of a shard.

    Raises:
        BadRequestError: it is not a shard, or lacks a file's SHA-256.
    """
    try:
        _tag, version, _footer = _SHARD_HEADER.unpack_from(content)
        if version != _SHARD_VERSION:
            raise BadRequestError(f"A shard of version {version}; only {_SHARD_VERSION} is understood")
        return list(_recipes(content))
    except struct.error as error:
        raise BadRequestError("The shard ends too early") from error


def _recipes(content: bytes) -> Iterator[Recipe]:
    at = _SHARD_HEADER.size
    while True:
        file_hash, flags, count, _unused, _unused2 = _RECORD.unpack_from(content, at)
        at += _RECORD_BYTES
        if file_hash == _LAST:
            return
        if not flags & _HAS_METADATA:
            raise BadRequestError("The shard does not give a file's SHA-256")
        if at + count * _RECORD_BYTES > len(content):
            raise BadRequestError("The shard ends too early")
        segments = []
        for _ in range(count):
            xorb, _flags, size, first, end = _RECORD.unpack_from(content, at)
            segments.append(Segment(hash_text(xorb), first, end, size))
            at += _RECORD_BYTES
        if flags & _HAS_VERIFICATION:
            at += count * _RECORD_BYTES
        sha256 = _RECORD.unpack_from(content, at)[0]
        at += _RECORD_BYTES
        yield Recipe(hash_text(sha256), tuple(segments))


def assemble(recipe: Recipe, xorb_path: Callable[[str], Path], objects: ObjectStore) -> LargeObject:
    """Put a file together and keep it.

    Raises:
        BadRequestError: a xorb is missing or broken, or the result is not the file announced.
    """
    with objects.receive() as incoming:
        for segment in recipe.segments:
            before = incoming.size
            for chunk in _chunks(xorb_path(segment.xorb), segment.first, segment.end):
                incoming.write(chunk)
            if incoming.size - before != segment.size:
                raise BadRequestError("The chunks of a xorb do not have the size that the shard gives")
        return incoming.keep(recipe.sha256)


def _chunks(path: Path, first: int, end: int) -> Iterator[bytes]:
    """The unpacked chunks of a xorb from `first` to `end` (excluded)."""
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise BadRequestError(f"Xorb {path.name} was not uploaded") from error
    with file:
        for index in range(end):
            header = file.read(_CHUNK_HEADER.size)
            if len(header) < _CHUNK_HEADER.size:
                raise BadRequestError(f"Xorb {path.name} has fewer chunks than are asked for")
            _version, packed, scheme, unpacked = _CHUNK_HEADER.unpack(header)
            packed_size, size = int.from_bytes(packed, "little"), int.from_bytes(unpacked, "little")
            if max(packed_size, size) > MAX_CHUNK_BYTES:
                raise BadRequestError(f"A chunk of more than {MAX_CHUNK_BYTES} bytes")
            if index < first:
                file.seek(packed_size, 1)
                continue
            chunk = _unpack(file.read(packed_size), scheme, size)
            if len(chunk) != size:
                raise BadRequestError(f"A chunk of xorb {path.name} does not unpack to its size")
            yield chunk


def _unpack(packed: bytes, scheme: int, size: int) -> bytes:
    if scheme == _STORED:
        return packed
    if scheme not in (_LZ4, _GROUPED_LZ4):
        raise BadRequestError(f"Unknown compression {scheme}")
    try:
        # Bounded, so that a small chunk cannot become a huge one.
        chunk = bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size + 1))
    except RuntimeError as error:
        raise BadRequestError("A chunk is not LZ4") from error
    return _ungroup(chunk) if scheme == _GROUPED_LZ4 else chunk


def _ungroup(grouped: bytes) -> bytes:
    """Undo the grouping of bytes by their position modulo four."""
    chunk = bytearray(len(grouped))
    at = 0
    for position in range(4):
        count = len(range(position, len(grouped), 4))
        chunk[position::4] = grouped[at : at + count]
        at += count
    return bytes(chunk)
