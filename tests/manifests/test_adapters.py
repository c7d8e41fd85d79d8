"""Adapters of published datasets, each on a folder of its layout."""

from __future__ import annotations

import gzip
import json
import tarfile
import uuid
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests import sources
from manifests.adapters import ADAPTERS
from manifests.archives.address import member_of
from manifests.captions import captions_in
from manifests.source_row import SourceRow
from manifests.sources import SourceError

read_source = partial(sources.read_source, endings=(".glb", ".gltf", ".obj", ".ply", ".stl", ".off"))


def write(folder: Path, name: str, content: Any = b"mesh") -> Path:
    """Write a file: bytes and text as they are, anything else as JSON; compressed if the name ends in .gz."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def rows_of(name: str, folder: Path, told: list[str] | None = None) -> dict[str, SourceRow]:
    rows = read_source(f"{name}:{folder}", tell=(told if told is not None else []).append)
    assert not [row for row in rows if "problem" in row]
    assert all(str(folder) not in row["source"] for row in rows)
    assert all(Path(row["uri"].rpartition("::")[2]).exists() for row in rows)
    return {row["id"]: row for row in rows}


def test_objaverse(tmp_path: Path) -> None:
    root = tmp_path / "hf-objaverse-v1"
    ids = ["8476c4170df24cf5bbe6967222d1a42d", "8ff7f1f2465347cd8b80c9b206c2781e"]
    write(root, "object-paths.json.gz", {ids[0]: f"glbs/000-023/{ids[0]}.glb", "x" * 32: "glbs/000-001/x.glb"})
    for uid in ids:
        write(root, f"glbs/000-023/{uid}.glb")
    write(root, f"glbs/000-023/{ids[1]}.glb.tmp")
    annotation = {
        "name": "Iron_Anvil", "license": "by-nc", "tags": [{"name": "smith", "slug": "smith"}, {"name": "iron"}],
        "user": {"username": "u", "displayName": "A User"}, "viewerUrl": "https://sketchfab.com/3d-models/8476",
        "description": "An anvil.",
    }  # fmt: skip
    write(root, "metadata/000-023.json.gz", {ids[0]: annotation, "other": {}})
    write(root, "lvis-annotations.json.gz", {"anvil": [ids[0]], "bowl": []})
    for folder in (tmp_path, root):
        found = rows_of("objaverse", folder)
        assert found == {
            ids[0]: {
                "id": ids[0],
                "uri": str(root / "glbs/000-023" / f"{ids[0]}.glb"),
                "source": f"glbs/000-023/{ids[0]}.glb",
                "name": "Iron_Anvil",
                "tags": ["smith", "iron"],
                "category": "anvil",
                "licence": "CC-BY-NC-4.0",
                "extra": {"author": "A User", "page": "https://sketchfab.com/3d-models/8476"},
            },
            ids[1]: {
                "id": ids[1],
                "uri": str(root / "glbs/000-023" / f"{ids[1]}.glb"),
                "source": f"glbs/000-023/{ids[1]}.glb",
            },
        }


def test_objaverse_xl(tmp_path: Path) -> None:
    def annotations(name: str, *rows: dict[str, str]) -> None:
        whole = [{"license": "", "fileType": "", "sha256": "", "metadata": "{}", "source": name} | row for row in rows]
        (tmp_path / name).mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(whole), tmp_path / name / f"{name}.parquet")

    blob = "https://github.com/org/repo/blob/0123abc"
    annotations(
        "github",
        {"fileIdentifier": f"{blob}/models/chair.obj", "sha256": "aa", "license": "MIT License"},
        {"fileIdentifier": f"{blob}/models/copy.obj", "sha256": "aa"},
        {"fileIdentifier": f"{blob}/models/table.fbx", "sha256": "bb"},
        {"fileIdentifier": f"{blob}/models/absent.obj", "sha256": "cc"},
        {"fileIdentifier": f"{blob}/../../../../secret.obj", "sha256": "dd"},
        {"fileIdentifier": f"{blob}/{tmp_path}/secret.obj", "sha256": "gg"},
        {"fileIdentifier": "https://github.com/org/zipped/blob/1/a/table.fbx", "sha256": "hh"},
        {"fileIdentifier": "https://github.com/org/zipped/blob/1/a/b.glb", "sha256": "ee"},
        {"fileIdentifier": "https://github.com/org/tarred/blob/1/c.glb", "sha256": "ff"},
        {"fileIdentifier": "https://github.com/org", "sha256": "00"},
    )
    for name in ("chair.obj", "copy.obj", "table.fbx"):
        write(tmp_path, f"github/repos/org/repo/models/{name}")
    write(tmp_path, "secret.obj")
    with zipfile.ZipFile(tmp_path / "github/repos/org/zipped.zip", "w") as archive:
        archive.writestr("a/b.glb", b"mesh")
        archive.writestr("a/table.fbx", b"mesh")
    with tarfile.open(tmp_path / "github/repos/org/tarred.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "secret.obj", "tarred/c.glb")
    annotations(
        "thingiverse", {"fileIdentifier": "https://www.thingiverse.com/thing:12/files?fileId=34", "sha256": "t"}
    )
    write(tmp_path, "thingiverse/thing-12-file-34.stl")
    page = "https://3d-api.si.edu/content/document/3d_package:1/resources/a.glb"
    annotations(
        "smithsonian", {"fileIdentifier": page, "sha256": "s", "license": "CC0", "metadata": '{"title": "Owl"}'}
    )
    write(tmp_path, f"smithsonian/objects/{uuid.uuid5(uuid.NAMESPACE_DNS, page)}.glb")
    annotations("sketchfab", {"fileIdentifier": "https://sketchfab.com/3d-models/0a1b", "license": "by", "sha256": "k"})
    write(tmp_path, "hf-objaverse-v1/glbs/000-001/0a1b.glb")
    told: list[str] = []
    found = rows_of("objaverse-xl", tmp_path, told)
    assert list(found) == ["aa", "ee", "ff", "s", "t", "0a1b"]
    assert found["aa"]["uri"] == f"{tmp_path}/github/repos/org/repo/./models/chair.obj"
    assert (found["aa"]["licence"], found["s"]["licence"], found["0a1b"]["licence"]) == (
        "MIT License",
        "CC0",
        "CC-BY-4.0",
    )
    assert found["s"]["name"] == "Owl"
    assert found["aa"]["extra"] == {"page": f"{blob}/models/chair.obj", "collection": "github"}
    members = [member_of(found[name]["uri"]) for name in ("ee", "ff")]
    assert [member and member.name for member in members] == ["./a/b.glb", "tarred/./c.glb"]
    assert "2 files are left out: .fbx 2; FBX, DAE, USD and .blend files are converted" in told[0]


@pytest.mark.parametrize("version", [1, 2])
def test_shapenet(tmp_path: Path, version: int) -> None:
    root = tmp_path / f"ShapeNetCore.v{version}"
    mesh = {1: "model.obj", 2: "models/model_normalized.obj"}[version]
    for name in ("02691156/1a04", "02691156/1a05", "03001627/1b00"):
        write(root, f"{name}/{mesh}")
    write(root, "02691156/empty/images/texture0.jpg")
    taxonomy = [
        {"synsetId": "02691156", "name": "airplane,aeroplane,plane", "children": ["02690373"], "numInstances": 2},
        {"synsetId": "02690373", "name": "airliner", "children": []},
        {"synsetId": "03001627", "name": "chair"},
    ]
    write(root, "taxonomy.json", taxonomy)
    write(
        root,
        "all.csv",
        "id,synsetId,subSynsetId,modelId,split\n1,02691156,02690373,1a04,test\n2,03001627,03001627,1b00,train\n",
    )
    if version == 1:
        write(root, "02691156.csv", 'fullId,wnsynset,name,tags\n3dw.1a04,02691156,Boeing 747,"jet,boeing"\n')
    found = rows_of("shapenet", tmp_path)
    assert list(found) == ["02691156/1a04", "02691156/1a05", "03001627/1b00"]
    first = found["02691156/1a04"]
    assert first["uri"] == f"{root}/02691156/1a04/./{mesh}"
    assert (first["category"], first["split"], first["up"]) == ("airplane", "test", "y")
    assert first["tags"] == (["jet", "boeing"] if version == 1 else ["airliner"])
    assert first.get("name") == ("Boeing 747" if version == 1 else None)
    assert "split" not in found["02691156/1a05"] and "tags" not in found["03001627/1b00"]


def test_modelnet40(tmp_path: Path) -> None:
    names = [
        "airplane/train/airplane_0001.off",
        "airplane/test/airplane_0627.off",
        "night_stand/test/night_stand_0201.off",
    ]
    for name in names:
        write(tmp_path / "ModelNet40", name)
    write(tmp_path / "ModelNet40", "README.txt")
    found = rows_of("modelnet40", tmp_path)
    assert {name: (row["category"], row["split"], row["up"], row["source"]) for name, row in found.items()} == {
        "airplane/train/airplane_0001": ("airplane", "train", "z", names[0]),
        "airplane/test/airplane_0627": ("airplane", "test", "z", names[1]),
        "night_stand/test/night_stand_0201": ("night_stand", "test", "z", names[2]),
    }


def test_gso(tmp_path: Path) -> None:
    model = "ACE_Coffee_Mug_Kristen_16_oz_cup"
    for name in (model, "11pro_SL_TRX_FG"):
        write(tmp_path, f"{name}/meshes/model.obj")
        write(tmp_path, f"{name}/thumbnails/0.jpg")
    text = r"""
name: "ACE Coffee Mug, Kristen, 16 oz, cup"
description: "A \"ceramic\" mug \342\200\224\nwhite"
categories {
  first: "Consumer Goods"
}
tags: "mug"
legal {
  license: "Creative Commons Attribution 4.0 International"
}
"""
    write(tmp_path, f"{model}/metadata.pbtxt", text)
    found = rows_of("gso", tmp_path)
    row = found[model]
    assert row["uri"] == f"{tmp_path}/{model}/./meshes/model.obj"
    assert (row["name"], row["category"], row["tags"]) == (model.replace("_", " "), "Consumer Goods", ["mug"])
    assert (row["licence"], row["up"]) == ("CC-BY-4.0", "z")
    assert captions_in(row["caption"]) == [{"text": 'A "ceramic" mug — white', "kind": "description"}]
    assert "caption" not in found["11pro_SL_TRX_FG"]


def test_gso_as_it_is_downloaded(tmp_path: Path) -> None:
    write(tmp_path, "In_Version/2/meshes/model.obj")
    write(tmp_path, "In_Version/1/meshes/model.obj")
    with zipfile.ZipFile(tmp_path / "Zipped_Mug.zip", "w") as archive:
        archive.writestr("meshes/model.obj", b"mesh")
        archive.writestr("metadata.pbtxt", 'name: "Mug"\ndescription: "A mug."\n')
    write(tmp_path, "Damaged.zip", b"PK")
    write(tmp_path, "In_Version.zip", b"of the folder")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("notes.txt", b"")
    found = rows_of("gso", tmp_path)
    assert {name: row["uri"] for name, row in found.items()} == {
        "Damaged": f"zip:///./meshes/model.obj::{tmp_path}/Damaged.zip",
        "In_Version": f"{tmp_path}/In_Version/2/./meshes/model.obj",
        "Zipped_Mug": f"zip:///./meshes/model.obj::{tmp_path}/Zipped_Mug.zip",
    }
    assert captions_in(found["Zipped_Mug"]["caption"]) == [{"text": "A mug.", "kind": "description"}]


def test_abo(tmp_path: Path) -> None:
    write(tmp_path, "3dmodels/original/B/B01N2PLWIL.glb")
    write(tmp_path, "3dmodels/original/A/B07RDKQX1A.glb")
    index = "3dmodel_id,path,meshes\nB01N2PLWIL,B/B01N2PLWIL.glb,1\nB07RDKQX1A,A/B07RDKQX1A.glb,1\nB0,0/B0.glb,1\n"
    write(tmp_path, "3dmodels/metadata/3dmodels.csv.gz", index)
    write(tmp_path, "LICENSE-CC-BY-4.0.txt", "...")
    listing = {
        "item_id": "B01N2PLWIL", "3dmodel_id": "B01N2PLWIL", "product_type": [{"value": "CHAIR"}],
        "item_name": [{"language_tag": "de_DE", "value": "Stuhl"}, {"language_tag": "en_US", "value": "Rivet chair"}],
        "color": [{"language_tag": "en_US", "value": "Grey"}], "material": [{"language_tag": "en_US", "value": "Oak"}],
        "product_description": [{"language_tag": "en_US", "value": "A chair of oak."}],
    }  # fmt: skip
    write(tmp_path, "listings/metadata/listings_0.json.gz", "\n".join(map(json.dumps, [{"item_id": "x"}, listing])))
    for folder in (tmp_path, tmp_path / "3dmodels"):
        found = rows_of("abo", folder)
        assert list(found) == ["B01N2PLWIL", "B07RDKQX1A"]
        row = found["B01N2PLWIL"]
        assert (row["name"], row["category"], row["tags"]) == ("Rivet chair", "chair", ["Grey", "Oak"])
        assert (row["licence"], row["up"], row["source"]) == ("CC-BY-4.0", "y", "original/B/B01N2PLWIL.glb")
        assert captions_in(row["caption"]) == [{"text": "A chair of oak.", "kind": "description"}]


@pytest.mark.parametrize("name", ADAPTERS)
def test_another_folder_is_refused_with_what_was_looked_for(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.glb")
    with pytest.raises(SourceError, match=rf"{name}:.*: looked for .*docs/sources/{name}\.md says how to get the data"):
        read_source(f"{name}:{tmp_path}")
    with pytest.raises(SourceError, match="no such folder"):
        read_source(f"{name}:{tmp_path}/none")
    assert (Path(__file__).parents[2] / "docs" / "sources" / f"{name}.md").is_file()


def test_damaged_indexes_are_named(tmp_path: Path) -> None:
    write(tmp_path, "glbs/000-000/a.glb")
    for content in (b"no gzip", gzip.compress(b"{")[:-4], gzip.compress(b"[[")):
        (tmp_path / "lvis-annotations.json.gz").write_bytes(content)
        with pytest.raises(SourceError, match=r"lvis-annotations\.json\.gz: (cannot be read|not JSON)"):
            read_source(f"objaverse:{tmp_path}")
    write(tmp_path, "github/github.parquet", b"PAR1")
    with pytest.raises(SourceError, match=r"github\.parquet: not a Parquet file"):
        read_source(f"objaverse-xl:{tmp_path}")
    write(tmp_path, "lvis-annotations.json.gz", {"anvil": 5, "bowl": ["a"]})
    write(tmp_path, "metadata/000-000.json.gz", [1])
    assert [row.get("category") for row in read_source(f"objaverse:{tmp_path}")] == ["bowl"]
    write(tmp_path, "lvis-annotations.json.gz", {"anvil": [{}], "bowl": ["a"]})
    assert [row.get("category") for row in read_source(f"objaverse:{tmp_path}")] == ["bowl"]
    write(tmp_path, "02691156/b/model.obj")
    write(tmp_path, "taxonomy.json", 5)
    assert [row["id"] for row in read_source(f"shapenet:{tmp_path}")] == ["02691156/b"]
