"""Tests of the jobs: `pytest`, in this folder. NAQ's plugin starts a real server, and gives each test a namespace."""

import io
from pathlib import Path

import photos
import pytest
from PIL import Image

from naq_core import JobFailedError
from naq_core.testing import WorkerRunner


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep photos where no other test does."""
    monkeypatch.setattr(photos, "FOLDER", tmp_path)
    return tmp_path


def picture() -> bytes:
    """Return a PNG of 2,000 by 1,000 pixels."""
    file = io.BytesIO()
    Image.new("RGB", (2000, 1000), "teal").save(file, "PNG")
    return file.getvalue()


async def test_a_photo_gets_thumbnails(naq_worker: WorkerRunner, folder: Path) -> None:
    """A worker runs the job, in this process."""
    (folder / "a.photo").write_bytes(picture())
    job = await photos.make_thumbnails.enqueue("a.photo")
    await naq_worker.run_until_idle()
    assert len(await job.result(timeout=0)) == 5
    with Image.open(folder / "a.photo-100.jpg") as thumbnail:
        assert thumbnail.size == (100, 50)


async def test_what_is_no_photo_is_not_tried_again(naq_worker: WorkerRunner, folder: Path) -> None:
    """Another attempt would fail in the same way."""
    (folder / "b.photo").write_text("not a photo")
    job = await photos.make_thumbnails.enqueue("b.photo")
    assert await naq_worker.run_until_idle() == 1
    with pytest.raises(JobFailedError, match="cannot identify image file"):
        await job.result(timeout=0)
