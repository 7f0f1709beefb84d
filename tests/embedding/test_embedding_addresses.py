"""Crops and tables at addresses: moto's S3 server on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.embedding.colours import colour_embedder, mean_colour

from omnireid.addresses import Address
from omnireid.data.listing import list_crops
from omnireid.embedding.jobs import embed_to_parquet
from omnireid.embedding.tables import read_embeddings
from omnireid.errors import DataError, DataNotFoundError, ImageError, OutputError
from omnireid.images.decode import RgbArray
from omnireid.types import FloatArray

Objects = Callable[[], dict[str, bytes]]
pytestmark = pytest.mark.slow

OUTPUT = "s3://pictures/site/out.parquet"


@pytest.fixture
def client(bucket: Objects, endpoint: str, crop_folder: Path) -> Any:
    """A client of S3, with the twelve drawn crops in the bucket."""
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint)
    for path in sorted(crop_folder.iterdir()):
        client.put_object(Bucket="pictures", Key=f"crops/{path.name}", Body=path.read_bytes())
    return client


def parts_of(bucket: Objects) -> list[str]:
    return [key for key in bucket() if ".out.parquet.parts" in key]


@pytest.mark.usefixtures("client")
def test_a_folder_of_a_bucket_gives_the_rows_of_a_folder(tmp_path: Path, bucket: Objects, crop_folder: Path) -> None:
    here, there = list_crops([str(crop_folder)]), list_crops(["s3://pictures/crops"])
    assert [path.name for path in there.paths] == [path.name for path in here.paths]
    embed_to_parquet(colour_embedder(), here, tmp_path / "out.parquet", chunk_size=5)
    assert embed_to_parquet(colour_embedder(), there, OUTPUT, chunk_size=5).embedded == 12
    local, remote = read_embeddings(tmp_path / "out.parquet"), read_embeddings(OUTPUT)
    assert np.array_equal(local.embeddings, remote.embeddings)
    assert [str(path) for path in remote.paths] == [f"s3://pictures/crops/{path.name}" for path in local.paths]
    assert remote.labels is not None
    assert remote.labels.person_ids.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert sorted(key for key in bucket() if key.startswith("site/")) == ["site/out.parquet", "site/people2/other"]
    assert embed_to_parquet(colour_embedder(), there, OUTPUT, chunk_size=5).found_done == 12


def test_a_manifest_lists_addresses_and_names_the_missing(tmp_path: Path, client: Any) -> None:
    names = ["0001_c1s1_000001_00.jpg", "0002_c1s1_000001_00.jpg"]
    lines = "".join(f"s3://pictures/crops/{name},{name[3]}\n" for name in names)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(f"path,person_id\n{lines}")
    embed_to_parquet(colour_embedder(), list_crops([str(manifest)]), tmp_path / "out.parquet")
    assert [path.name for path in read_embeddings(tmp_path / "out.parquet").paths] == names
    body = f"path,person_id\ncrops/{names[1]},2\n"
    client.put_object(Bucket="pictures", Key="manifest.csv", Body=body.encode())
    assert list_crops(["s3://pictures/manifest.csv"]).paths == (Address(f"s3://pictures/crops/{names[1]}"),)
    manifest.write_text(f"path\ns3://pictures/crops/{names[0]}\ns3://pictures/crops/gone.jpg\n")
    with pytest.raises(DataError, match=r"1 of the 2 crops .* are not there: s3://pictures/crops/gone\.jpg"):
        list_crops([str(manifest)])


def test_finished_parts_are_found_and_only_changed_crops_are_embedded_again(bucket: Objects, client: Any) -> None:
    crops = list_crops(["s3://pictures/crops/*.jpg"])
    network = Dying(after=5)
    with pytest.raises(ZeroDivisionError):
        embed_to_parquet(colour_embedder(run=network), crops, OUTPUT, chunk_size=5, batch_size=5)
    assert len(parts_of(bucket)) == 1
    assert "site/out.parquet" not in bucket()
    assert embed_to_parquet(colour_embedder(), crops, OUTPUT, chunk_size=5).found_done == 5
    assert not parts_of(bucket)
    client.copy_object(
        Bucket="pictures",
        Key="crops/0003_c2s1_000002_00.jpg",
        CopySource="pictures/crops/0001_c1s1_000001_00.jpg",
    )
    changed = list_crops(["s3://pictures/crops"])
    assert embed_to_parquet(colour_embedder(), changed, OUTPUT, chunk_size=5).found_done == 0
    embeddings = read_embeddings(OUTPUT).embeddings
    assert np.allclose(embeddings[-1], embeddings[0])


class Dying:
    """The colour network, which fails after some crops."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, images: RgbArray) -> FloatArray:
        if self.left <= 0:
            raise ZeroDivisionError
        self.left -= len(images)
        return mean_colour(images)


def test_a_missing_object_is_an_unreadable_crop(client: Any) -> None:
    crops = list_crops(["s3://pictures/crops"])
    client.delete_object(Bucket="pictures", Key="crops/0002_c1s1_000001_00.jpg")
    client.put_object(Bucket="pictures", Key="crops/0003_c1s1_000001_00.jpg", Body=b"no image")
    with pytest.raises(ImageError, match=r"No such image: s3://pictures/crops/0002_c1s1_000001_00\.jpg"):
        embed_to_parquet(colour_embedder(), crops, OUTPUT)
    summary = embed_to_parquet(colour_embedder(), crops, OUTPUT, skip_unreadable=True)
    assert [path.rpartition("/")[2] for path, _ in summary.skipped] == [
        "0002_c1s1_000001_00.jpg",
        "0003_c1s1_000001_00.jpg",
    ]
    assert summary.skipped[1][1].startswith("s3://pictures/crops/0003_c1s1_000001_00.jpg is not a JPEG")


@pytest.mark.usefixtures("client")
def test_places_that_are_not_there(crop_folder: Path) -> None:
    with pytest.raises(OutputError, match=r"Cannot write s3://nobucket/out\.parquet: there is no such bucket"):
        embed_to_parquet(colour_embedder(), list_crops([str(crop_folder)]), "s3://nobucket/out.parquet")
    for name in ("s3://nobucket/crops", "s3://pictures/nothing"):
        with pytest.raises(DataNotFoundError, match="There is no"):
            list_crops([name])


@pytest.mark.usefixtures("client")
def test_no_permission_is_no_unreadable_crop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = list_crops(["s3://pictures/crops"])
    monkeypatch.setattr(Address, "read_bytes", refuse)
    with pytest.raises(DataError, match="No permission to read s3://pictures/crops/0001_c1s1_000001_00.jpg. Check the"):
        embed_to_parquet(colour_embedder(), crops, tmp_path / "out.parquet", skip_unreadable=True)


def refuse(self: Address) -> bytes:
    """What S3 answers to keys without the permission; moto asks for none."""
    from omnireid.addresses import reading_errors

    with reading_errors(self):
        raise PermissionError("Access Denied")


@pytest.mark.usefixtures("client")
def test_a_network_that_dies_stops_the_job_and_finished_parts_are_kept(
    bucket: Objects, crop_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second server has the same buckets, and goes while the network is at work."""
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    second = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    second.start()
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*second.get_host_and_port()))
        S3FileSystem.clear_instance_cache()
        network = Leaving(second, after=5)
        crops = list_crops([str(crop_folder)])
        with pytest.raises(OutputError, match=r"Cannot write s3://pictures/site/.*Check the network and the settings"):
            embed_to_parquet(colour_embedder(run=network), crops, OUTPUT, chunk_size=5, batch_size=5)
    S3FileSystem.clear_instance_cache()
    assert "site/out.parquet" not in bucket()
    summary = embed_to_parquet(colour_embedder(), crops, OUTPUT, chunk_size=5)
    assert (summary.embedded, summary.found_done) == (12, 5)


class Leaving:
    """The colour network, which stops a server after some crops, when the first part has been written."""

    def __init__(self, server: Any, after: int) -> None:
        self.server = server
        self.left = after

    def __call__(self, images: RgbArray) -> FloatArray:
        self.left -= len(images)
        if self.left < 0 and self.server is not None:
            self.server.stop()
            self.server = None
        return mean_colour(images)
