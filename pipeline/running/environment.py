"""The environment of a worker process: that of its parent without credentials that its stage does not need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from manifests.text import masked

# How the names of variables begin that clients of object stores take credentials from, by scheme.
_S3 = ("AWS_", "BOTO", "S3_", "FSSPEC_S3")
_GOOGLE = ("GOOGLE_", "GCLOUD_", "GCP_", "GCE_", "CLOUDSDK_", "GCSFS_", "FSSPEC_GS", "FSSPEC_GCS")
_AZURE = ("AZURE_", "ARM_", "MSI_", "IDENTITY_", "FSSPEC_AZ", "FSSPEC_ABFS")
_HUB = ("HF_", "HUGGING_FACE_", "HUGGINGFACE_", "FSSPEC_HF")
_BY_SCHEME = {
    "s3": _S3, "gs": _GOOGLE, "gcs": _GOOGLE, "az": _AZURE, "abfs": _AZURE, "abfss": _AZURE, "hf": _HUB
}  # fmt: skip
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # which may hold a password

_SECRET_FAMILY = (*_S3, *_GOOGLE, *_AZURE)  # HF_ begins names of harmless settings too
_SECRET_NAME = re.compile(
    r"(^|_)(TOKENS?|PASS|PWD|KEYS?|AUTH|COOKIES?|PAT|JWT|DSN)(_|$)|(TOKEN|KEY|PWD)$|"
    r"SECRET|PASSW|PASSPHRASE|CREDENTIAL|SIGNATURE"
)
_HARMLESS = ("PWD", "OLDPWD")


def without_secrets(
    environment: Mapping[str, str], schemes: Iterable[str] = (), names: Iterable[str] = ()
) -> dict[str, str]:
    """The environment without what looks like a credential, except for stores of these schemes and of these names."""
    schemes = set(schemes) - {""}
    needed = tuple(beginning for scheme in schemes for beginning in _BY_SCHEME.get(scheme, ()))
    kept = set(names)
    needed += _PROXIES if schemes or kept else ()
    return {
        name: value
        for name, value in environment.items()
        if name in kept or name.upper().startswith(needed) or not _is_secret(name.upper(), value)
    }


def _is_secret(name: str, value: str) -> bool:
    if name in _HARMLESS:
        return False
    return name.startswith(_SECRET_FAMILY) or bool(_SECRET_NAME.search(name)) or masked(value) != value
