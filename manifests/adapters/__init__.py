"""Layouts of datasets that others published, by the names that `--source NAME:DIR` takes; each is a file here."""

ADAPTERS = {
    "objaverse": "a local cache of Objaverse 1.0",
    "objaverse-xl": "annotations of Objaverse-XL, and the files that were downloaded with its API",
    "shapenet": "ShapeNetCore, version 1 or 2",
    "modelnet40": "ModelNet40 (or 10): OFF files with their own split",
    "gso": "Google Scanned Objects, a folder for each model",
    "abo": "Amazon Berkeley Objects: 3D models, and listings where they are there",
}


def adapter_of(source: str) -> tuple[str, str] | None:
    """The adapter that a source names and its folder: `objaverse:DIR`; None for any other source."""
    name, colon, folder = source.partition(":")
    return (name, folder) if colon and name in ADAPTERS and folder and not folder.startswith("//") else None
