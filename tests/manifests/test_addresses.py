"""Addresses: which schemes are opened, and what is left of an address without its signature."""

from __future__ import annotations

import pytest

from manifests.addresses import AddressError, address_seen, open_files, row_id, scheme_of, unsigned
from manifests.store import open_store

PRESIGNED = "https://b.s3.amazonaws.com/a.glb?X-Amz-Algorithm=A&X-Amz-Credential=K&X-Amz-Date=D&X-Amz-Signature="
CLOUDFRONT = "https://d.cloudfront.net/a.glb?Expires=1&Policy=P&Key-Pair-Id=K&Signature="
AZURE = "https://a.blob.core.windows.net/c/a.glb?sv=2024&st=1&se=2&sr=b&sp=r&sig="
GOOGLE = "https://storage.googleapis.com/b/a.glb?GoogleAccessId=me&Expires=1&Signature="


@pytest.mark.parametrize(
    ("address", "scheme"),
    [
        ("chairs/a.glb", ""),
        ("chair:1.glb", ""),
        ("/data/data:x.glb", ""),
        ("file:///data/a.glb", ""),
        ("s3://bucket/a@2x#1?.glb", "s3"),
        ("gs://bucket/a.glb", "gs"),
        ("gcs://bucket/a.glb", "gcs"),
        ("az://container/a.glb", "az"),
        ("az://container@account.blob.core.windows.net/a.glb", "az"),
        ("abfss://container@account.dfs.core.windows.net/a.glb", "abfss"),
        ("hf://datasets/owner/name@main/a.glb", "hf"),
        ("http://h.test:8080/a.glb", "http"),
        ("https://[::1]:443/a@2x.glb", "https"),
    ],
)
def test_accepted_addresses(address: str, scheme: str) -> None:
    assert scheme_of(address) == scheme


REFUSED = [
    "local:///proc/self/environ",
    "ftp://h.test/a.glb",
    "sftp://h.test/a.glb",
    "github://o:r@main/a.glb",
    "memory://a.glb",
    "zip://a.glb::s3://b/a.zip",
    "dir://x::file:///etc",
    "reference://a.glb",
    "simplecache::http://h.test/a.glb",
    "s3://b/a::file:///etc/passwd",
    "S3://b/a.glb",
    "HTTPS://h.test/a.glb",
    "FILE:///etc/passwd",
    "file://h.test/etc/passwd",
    "file:/etc/passwd",
    "file:etc/passwd",
    "data:model/gltf-binary;base64,AAAA",
    "http:/h.test/a.glb",
    "s3:b/a.glb",
    "%66ile:///etc/passwd",
    " s3://b/a.glb",
    "s3\n://b/a.glb",
    "://a.glb",
    "s3://KEY:SECRET@b/a.glb",
    "https://TOKEN@h.test/a.glb",
    "https://me:pa@ss@h.test/a.glb",
    "abfs://container:key@account/a.glb",
    "https://h.test:port/a.glb",
]


@pytest.mark.parametrize("address", REFUSED)
def test_everything_else_is_refused_and_its_secret_is_not_repeated(address: str) -> None:
    with pytest.raises(AddressError) as refusal:
        scheme_of(address)
    assert not any(secret in str(refusal.value) for secret in ("SECRET", "TOKEN", "pa@ss"))


def test_a_refusal_names_what_is_accepted() -> None:
    with pytest.raises(AddressError, match=r"^.{300}: this scheme is not accepted"):
        scheme_of(f"ftp://h.test/{'a' * 5000}.glb")
    with pytest.raises(AddressError, match=r"file://, s3://, gs://, az:// .* hf://.* ingest.allow_http"):
        scheme_of("ftp://h.test/a.glb")


def test_only_object_stores_pass_to_fsspec_and_no_run_is_behind_a_web_server() -> None:
    for address in ("https://h.test/a.glb", "/etc/passwd", "file:///etc/passwd", "local:///etc/passwd"):
        with pytest.raises(AddressError):
            open_files(address)
    for root in ("https://h.test/run", "memory://run", "s3://me:secret@bucket/run"):
        with pytest.raises(AddressError):
            open_store(root)


@pytest.mark.parametrize("signed", [PRESIGNED, CLOUDFRONT, AZURE, GOOGLE])
def test_another_signature_is_the_same_row(signed: str) -> None:
    plain = signed.partition("?")[0]
    assert row_id(f"{signed}one") == row_id(f"{signed}two&Expires=9") == unsigned(f"{signed}three") == plain
    kept = {row_id(f"{signed}{signature}&versionId=3") for signature in "ab"}
    assert len(kept) == 1 and kept != {plain}


def test_other_parameters_distinguish_rows() -> None:
    ids = {row_id(f"https://h.test/get?file={number}") for number in (1, 2)}
    assert len(ids) == 2 and all(name.startswith("https://h.test/get#") for name in ids)
    assert row_id("https://h.test/a.glb") == row_id("https://h.test/a.glb#part") == "https://h.test/a.glb"
    assert row_id("s3://bucket/what?.glb") == "s3://bucket/what?.glb"
    assert row_id("chairs/what?.glb#1") == "chairs/what?.glb#1"


def test_the_log_names_no_signature_but_tells_failures_of_two_signatures_apart() -> None:
    one, two = f"{PRESIGNED}one", f"{PRESIGNED}two"
    assert address_seen(one, ok=True) == address_seen(two, ok=True)
    assert address_seen(one, ok=False) != address_seen(two, ok=False)
    assert "one" not in address_seen(one, ok=True) + address_seen(one, ok=False)
    assert address_seen("s3://b/a.glb", ok=False) == "s3://b/a.glb"
