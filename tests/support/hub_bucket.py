"""A bucket of the Hub, read by its real driver. Of the Hub there is what lists files, and sends them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import pytest
from huggingface_hub import BucketFile, BucketFolder, HfApi, HfFileSystem
from huggingface_hub.errors import BucketNotFoundError
from huggingface_hub.hf_file_system import HfFileSystemFile

from specs.logs.evidence import path_in_store

BUCKET_ID = "farm/logs"


@dataclass(frozen=True)
class HubBucket:
    """One that is there and empty at first."""

    url: str = f"hf://buckets/{BUCKET_ID}/evidence"
    """Of a folder in it, as fsspec reads it."""

    files: dict[str, bytes] = field(default_factory=dict)
    """What lies in the bucket, by path."""

    sent: list[int] = field(default_factory=list)
    """How many bytes the Hub sent, by request."""

    def put(self, sha256: str, content: bytes) -> None:
        """Store a log as another process would."""
        self.files[f"evidence/{path_in_store(sha256)}"] = content

    def listed(self, folder: str) -> Iterator[BucketFile | BucketFolder]:
        """What lies directly in a folder."""
        start, folders = f"{folder}/" if folder else "", set()
        for path, content in self.files.items():
            if path.startswith(start):
                name, _, deeper = path.removeprefix(start).partition("/")
                if deeper:
                    folders.add(start + name)
                else:
                    yield BucketFile(type="file", path=path, size=len(content), xetHash="0" * 64)  # type: ignore[no-untyped-call]
        for path in sorted(folders):
            yield BucketFolder(type="directory", path=path)  # type: ignore[no-untyped-call]


@contextmanager
def hub_bucket() -> Iterator[HubBucket]:
    """Have a bucket until the block ends."""
    bucket = HubBucket()

    def bucket_info(_api: HfApi, bucket_id: str) -> None:
        if bucket_id != BUCKET_ID:
            request = httpx2.Request("GET", f"https://hub.example/api/buckets/{bucket_id}")
            raise BucketNotFoundError("no such bucket", response=httpx2.Response(404, request=request))

    def list_bucket_tree(
        _api: HfApi, _bucket_id: str, prefix: str = "", *, recursive: bool
    ) -> Iterator[BucketFile | BucketFolder]:
        assert not recursive
        return bucket.listed(prefix)

    def fetch_range(file: HfFileSystemFile, start: int, end: int) -> bytes:
        content = bucket.files[file.resolved_path.path][start:end]
        bucket.sent.append(len(content))
        return content

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HfApi, "bucket_info", bucket_info)
        patch.setattr(HfApi, "list_bucket_tree", list_bucket_tree)
        patch.setattr(HfFileSystemFile, "_fetch_range", fetch_range)
        HfFileSystem.clear_instance_cache()
        yield bucket
    HfFileSystem.clear_instance_cache()
