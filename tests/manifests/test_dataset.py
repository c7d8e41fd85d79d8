import json
import subprocess
import sys

import pyarrow as pa
import pytest
import yaml

from manifests import dataset, dataset_index, distribution
from manifests.store import DRAFT, LocalStore
from pipeline.recipe import DECLARED

SHAPE = dataset.Shape(views=3, gaussians=8, sh_coefficients=4)


@pytest.fixture
def store(tmp_path):
    return LocalStore(str(tmp_path))


def shard(store, split="train", index=0, rows=2, **given):
    columns = {
        "shard": f"dataset/data/{split}-{index:05d}-0123456789ab.parquet",
        "split": split,
        "index": index,
        "rows": rows,
        "bytes": 100,
        "sha256": "0123456789ab" + "0" * 52,
        "shape": [3, 8, 4],
        "float_type": "float32",
        "categories": {"cup": rows},
        "licences": {"CC0-1.0": rows},
        "scores": {},
        **given,
    }
    store.replace(columns["shard"], b"shard")
    return columns


def front_matter(store):
    _, front, body = store.read(dataset.CARD).decode().split("---\n", 2)
    return yaml.safe_load(front), body


def test_index_and_card_show_percentiles_and_a_histogram_of_each_figure(store):
    values = [8.0, *(20 + step / 10 for step in range(20))]
    texts = [distribution.as_text(part) for part in (values[:7], values[7:])]
    shards = [shard(store, index=number, figures={"psnr": text}) for number, text in enumerate(texts)]
    index = dataset_index.write_index(store, shards, DECLARED, provenance={})
    psnr = index["figures"]["psnr"]
    assert psnr["percentiles"] == {"p5": 20, "p25": 20.4, "p50": 20.9, "p75": 21.4, "p95": 21.8}
    assert psnr["far_below"] == pytest.approx(18.9)
    assert sum(bar["objects"] for bar in psnr["histogram"]) == 21
    card = front_matter(store)[1]
    assert "| `psnr` | 21 | 20.0 | 20.4 | 20.9 | 21.4 | 21.8 |" in card
    assert "Values below 18.9 are far below the others." in card
    assert "\n  8 to 9  1  ███\n" in card and "\n20 to 21  10 ██████████████████████████████\n" in card


def test_shards_that_earlier_versions_packed_have_no_figures(store):
    index = dataset_index.write_index(store, [shard(store)], DECLARED, provenance={})
    assert "figures" not in index and "Quality" not in front_matter(store)[1]


def test_the_columns_of_version_1_stand():
    names = (
        "id group category source licence content_hash views depth depth_scale intrinsics camera_to_world held_out "
        "normalization means log_scales quaternions opacity_logits sh gaussian_count view_vectors captions "
        "caption_vectors teacher psnr psnr_foreground ssim warnings keys metadata"
    )
    schema = dataset.Contract(SHAPE, DECLARED).schema()
    assert dataset.VERSION == 1
    assert schema.names == names.split()
    sizes = {"intrinsics": 27, "camera_to_world": 48, "normalization": 16, "means": 24, "log_scales": 24}
    sizes |= {"quaternions": 32, "opacity_logits": 8, "sh": 96}
    for name, size in sizes.items():
        value = pa.float64() if name == "normalization" else pa.float32()
        assert schema.field(name).type == pa.list_(value, size)
    assert schema.field("keys").type.num_fields == len(DECLARED)
    assert all(field.nullable for field in schema)


def test_only_the_gaussians_change_with_the_float_type():
    half = dataset.Contract(dataset.Shape(3, 8, 4, "float16"), DECLARED).schema()
    changed = {field.name for field in half if field != dataset.Contract(SHAPE, DECLARED).schema().field(field.name)}
    assert changed == {"means", "log_scales", "quaternions", "opacity_logits", "sh"}
    assert half.field("means").type == pa.list_(pa.float16(), 24)


def test_a_shard_tells_its_version_units_and_shape():
    metadata = json.loads(dataset.Contract(SHAPE, DECLARED).schema().metadata[b"gs_triplets"])
    assert metadata["version"] == 1
    assert metadata["shape"] == {"views": 3, "gaussians": 8, "sh_coefficients": 4, "float_type": "float32"}
    assert list(metadata["columns"]) == dataset.Contract(SHAPE, DECLARED).schema().names
    assert "unit sphere" in metadata["units"]


def test_features_are_those_that_datasets_would_write_itself(store):
    from datasets import Features, Image, List

    schema = dataset.Contract(SHAPE, DECLARED).schema()
    features = Features.from_arrow_schema(schema)
    assert features["views"] == List(Image())
    assert features.arrow_schema == schema
    dataset_index.write_index(store, [shard(store)], DECLARED, provenance={})
    front, _ = front_matter(store)
    assert Features._from_yaml_list(front["dataset_info"]["features"]) == features
    assert front["dataset_info"]["features"] == features._to_yaml_list()


def test_importing_the_contract_loads_nothing_heavy():
    heavy = {"torch", "datasets", "pandas"}
    code = f"import sys, manifests.dataset, manifests.dataset_card; print(*{heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_the_index_sums_up_its_shards_whatever_their_order(store):
    mixed = shard(store, index=1, rows=3, categories={"cup": 1, "bowl": 2})
    shards = [mixed, shard(store, "test", rows=1), shard(store)]
    index = dataset_index.write_index(store, shards, DECLARED, provenance={"recipe": {"fit": {"steps": 600}}})
    assert dataset_index.read_index(store) == index
    assert index["rows"] == {"test": 1, "train": 5}
    assert index["categories"] == {"test": {"cup": 1}, "train": {"bowl": 2, "cup": 3}}
    assert index["licences"] == {"CC0-1.0": 6}
    assert [(entry["split"], entry["index"]) for entry in index["shards"]] == [("test", 0), ("train", 0), ("train", 1)]
    assert set(index["shards"][0]) == {"shard", "split", "index", "rows", "bytes", "sha256"}
    assert index["shards"][0]["shard"] == "data/test-00000-0123456789ab.parquet"
    first = store.read(dataset.INDEX), store.read(dataset.CARD)
    dataset_index.write_index(store, reversed(shards), DECLARED, provenance={"recipe": {"fit": {"steps": 600}}})
    assert (store.read(dataset.INDEX), store.read(dataset.CARD)) == first


def test_without_the_card_there_is_no_index(store):
    store.replace(f"{dataset.CARD}/in/its/way", b"a folder where the card should be")
    with pytest.raises(OSError):
        dataset_index.write_index(store, [shard(store)], DECLARED, provenance={})
    assert dataset_index.read_index(store) is None


def test_the_card_names_exactly_the_indexed_shards(store):
    shard(store, index=7)
    dataset_index.write_index(store, [shard(store), shard(store, "test", rows=1)], DECLARED, provenance={})
    front, _ = front_matter(store)
    assert front["configs"][0]["data_files"] == [
        {"split": "test", "path": ["data/test-00000-0123456789ab.parquet"]},
        {"split": "train", "path": ["data/train-00000-0123456789ab.parquet"]},
    ]
    assert front["dataset_info"]["splits"][1] == {"name": "train", "num_bytes": 100, "num_examples": 2}


def test_the_card_tells_a_person_what_is_in_it(store):
    odd = shard(store, categories={"Geschirr | 茶碗\n": 1, "": 1}, licences={"": 2})
    dataset_index.write_index(store, [odd], DECLARED, provenance={"recipe": {"fit": {"steps": 600}}})
    _, body = front_matter(store)
    for column in dataset.Contract(SHAPE, DECLARED).columns:
        assert f"| {column.name} |" in body
    assert "| Geschirr \\| 茶碗 | 1 |" in body
    assert "| (none) | 2 |" in body
    assert "steps: 600" in body
    assert "reshape(8, 3)" in body


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("</table><script>a</script>", "&lt;/table&gt;&lt;script&gt;a&lt;/script&gt;"),
        ("[cup](https://a.test)", "\\[cup\\](https://a.test)"),
        ("![](https://a.test/pixel)", "!\\[\\](https://a.test/pixel)"),
        ("`code` \\| cell", "\\`code\\` \\\\\\| cell"),
        ("\x1b[31mred &lt;", "red &amp;lt;"),
    ],
)
def test_the_card_shows_categories_and_licences_as_plain_text(store, name, cell):
    odd = shard(store, categories={name: 2}, licences={name: 2})
    dataset_index.write_index(store, [odd], DECLARED, provenance={})
    _, body = front_matter(store)
    assert f"| {cell} | 2 |" in body
    assert body.count(f"| {cell} |") == 2


def test_settings_cannot_leave_the_block_that_the_card_shows_them_in(store):
    prompt = "```\n<b>out</b>\n````\n"
    dataset_index.write_index(store, [shard(store)], DECLARED, provenance={"prompt": prompt})
    _, body = front_matter(store)
    block = body.split("`````")[1]
    assert yaml.safe_load(block.removeprefix("yaml")) == {"prompt": prompt}


def test_an_empty_dataset_has_an_index_and_a_card_that_says_so(store):
    index = dataset_index.write_index(store, [], DECLARED, provenance={})
    assert (index["shards"], index["rows"], index["shape"]) == ([], {}, None)
    assert dataset_index.read_index(store) == index
    front, body = front_matter(store)
    assert front["configs"][0]["data_files"] == []
    assert "empty" in body


def test_no_index_yet_is_none_and_another_version_is_refused(store):
    assert dataset_index.read_index(store) is None
    store.replace(dataset.INDEX, b'{"version": 99}')
    with pytest.raises(ValueError, match="version 99"):
        dataset_index.read_index(store)


def test_shards_that_do_not_fit_together_are_refused(store):
    with pytest.raises(ValueError, match="one number of views"):
        dataset_index.write_index(
            store, [shard(store), shard(store, index=1, shape=[3, 16, 4])], DECLARED, provenance={}
        )
    with pytest.raises(ValueError, match="two shards for block 0"):
        dataset_index.write_index(store, [shard(store), shard(store)], DECLARED, provenance={})
    assert dataset_index.read_index(store) is None


def test_superseded_shards_leave_and_indexed_ones_stay(store):
    kept = shard(store)
    index = dataset_index.write_index(store, [kept], DECLARED, provenance={})
    orphan, draft = shard(store, index=1), f"{dataset.INDEX}.0{DRAFT}"
    store.replace(draft, b"of a driver that was killed")
    assert dataset_index.remove_superseded(store, index) == [orphan["shard"], draft]
    assert set(store.list(dataset.FOLDER)) == {dataset.CARD, kept["shard"], dataset.INDEX}
    assert dataset_index.remove_superseded(store, index) == []


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"{", b"\xff", b"[" * 100_000, b'{"version": 1}', b'{"version": 1, "shards": 5}'],
)
def test_an_index_that_is_damaged_is_an_error_in_a_line(store, content):
    store.replace(dataset.INDEX, content)
    with pytest.raises(dataset_index.DatasetError, match="index.json is damaged: ") as error:
        dataset_index.read_index(store)
    assert "\n" not in str(error.value)


def test_an_index_names_no_shard_outside_its_folder(store):
    index = dataset_index.write_index(store, [shard(store)], DECLARED, provenance={})
    index["shards"][0]["shard"] = "data/../../../x.parquet"
    store.replace(dataset.INDEX, json.dumps(index).encode())
    with pytest.raises(dataset_index.DatasetError, match="is not the name of a shard"):
        dataset_index.read_index(store)
