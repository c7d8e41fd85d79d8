import hashlib
import io
import itertools
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from manifests import dataset, dataset_index
from manifests.dataset import Column
from manifests.outcomes import Outcomes
from manifests.store import LocalStore
from manifests.text import LONGEST
from pipeline.planning.tasks import Result
from pipeline.recipe import DECLARED, ROW_STAGES
from pipeline.running.worker import StageRunner
from stages.artifacts.splat import Splat
from stages.artifacts.vectors import from_bytes, to_bytes
from stages.artifacts.views import Views
from stages.contract.stage import Context, Member, Stage
from stages.pack import Pack
from stages.packing.rows import RowStage

V, N, K, SIZE = 3, 12, 4, 8
PACK = Pack(gaussians=N).over(ROW_STAGES)


def packing(**settings):
    return PACK.model_copy(update=settings)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def views(seed: int, count: int = V) -> Views:
    random = np.random.default_rng(seed)
    return Views(
        colors=[png(random.integers(0, 256, (SIZE, SIZE, 4), np.uint8)) for _ in range(count)],
        depths=[png(random.integers(0, 65536, (SIZE, SIZE), np.uint16)) for _ in range(count)],
        intrinsics=random.normal(size=(count, 3, 3)).astype(np.float32),
        camera_to_world=random.normal(size=(count, 4, 4)).astype(np.float32),
        depth_scale=1e-4,
        normalization=random.normal(size=(4, 4)),
    )


def splat(seed: int, count: int = 7, terms: int = K) -> Splat:
    random = np.random.default_rng(seed)
    sizes = {"means": (3,), "log_scales": (3,), "quaternions": (4,), "opacity_logits": (), "sh": (terms, 3)}
    return Splat(**{name: random.normal(size=(count, *size)).astype(np.float32) for name, size in sizes.items()})


def vectors(seed: int, count: int) -> bytes:
    return to_bytes(np.random.default_rng(abs(seed)).normal(size=(count, 5)))


class Run:
    """A run folder with outcomes as the stages before leave them, and a worker's scratch folder."""

    def __init__(self, folder):
        self.store = LocalStore(str(folder / "run"))
        self.context = Context(self.store, folder / "scratch")
        self.context.scratch.mkdir(parents=True)
        self.keys = itertools.count()

    def publish(self, stage, key, columns, artifact=None, column=""):
        Outcomes(self.store).publish(stage, key, columns, artifact, column, ".bin")

    def member(self, number: int, *, captioned=True, taught=False, gaussians=7, **given) -> Member:
        keys = {stage: f"{number:02d}{stage}" for stage in ("ingest", "render", "fit")}
        self.publish("ingest", keys["ingest"], {"content_hash": f"hash{number}", "warnings": ["missing file: a.png"]})
        columns = {"warnings": ["missing file: a.png", "dark"]}  # render repeats what ingest said
        self.publish("render", keys["render"], columns, views(number).to_bytes(), "views")
        figures = {"psnr": 30.5, "psnr_foreground": 25.25, "ssim": 0.5, "held_out": [2]}
        self.publish("fit", keys["fit"], figures, splat(number, gaussians).to_ply(), "splat")
        if captioned:
            keys["caption"] = f"{number:02d}caption"
            texts = [{"text": f"Täßchen {number}", "kind": "metadata", "model": None, "score": None}]
            self.publish("caption", keys["caption"], {"captions": texts})
        if taught:
            keys |= {stage: f"{number:02d}{stage}" for stage in ("embed", "align")}
            seen = {"teacher": "clip@00", "dimension": 5}
            self.publish("embed", keys["embed"], seen, vectors(number, V), "view_vectors")
            self.publish("align", keys["align"], {"caption_scores": [0.25]}, vectors(-number, 1), "caption_vectors")
        row = {"id": f"object-{number}", "source": f"meshes/{number}.glb", "category": "cup", "licence": "CC0-1.0"}
        return {"id": row["id"], "source": {**row, "split": "train", **given}, "needed": keys}

    def block(self, members, index=0, split="train"):
        key = f"{next(self.keys):032x}"
        place = {"id": f"{split}-{index:05d}", "split": split, "index": index}
        return {**place, "key": key, "failure_key": key, "members": members, "marks": "0a"}

    def pack(self, members, stage=PACK, **place):
        (result,) = self.pack_blocks([self.block(members, **place)], stage)
        return result

    def pack_blocks(self, blocks, stage=PACK) -> list[Result]:
        """As a worker packs them."""
        results: list[Result] = []
        StageRunner(stage, self.context, stage.open(self.context)).run(blocks, results.extend)
        return results

    def table(self, outcome):
        return parquet.read_table(f"{self.store.root}/{outcome.columns['shard']}")

    def nothing_was_left(self):
        return not self.store.list(dataset.FOLDER) and not list(self.context.scratch.iterdir())


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def fixed(table, name, index, *shape):
    return table[name].combine_chunks().flatten().to_numpy().reshape(len(table), *shape)[index]


def test_a_shard_holds_what_the_stages_made(run):
    outcome = run.pack([run.member(number, gaussians=5 + number) for number in range(3)])
    assert outcome.ok
    table = run.table(outcome)
    meant = dataset.Contract(dataset.Shape(V, N, K), DECLARED).schema()
    assert (table.schema, table.schema.metadata) == (meant, meant.metadata)
    assert table["id"].to_pylist() == ["object-0", "object-1", "object-2"]
    assert table["source"][1].as_py() == "meshes/1.glb"
    assert table["content_hash"][1].as_py() == table["group"][1].as_py() == "hash1"
    seen = views(1)
    assert [entry["bytes"] for entry in table["views"][1].as_py()] == seen.colors
    assert [entry["bytes"] for entry in table["depth"][1].as_py()] == seen.depths
    assert np.array_equal(fixed(table, "intrinsics", 1, V, 3, 3), seen.intrinsics)
    assert np.array_equal(fixed(table, "camera_to_world", 1, V, 4, 4), seen.camera_to_world)
    assert np.array_equal(fixed(table, "normalization", 1, 4, 4), seen.normalization)
    assert table["depth_scale"][1].as_py() == 1e-4
    assert table["held_out"][1].as_py() == [2]
    assert [table[name][1].as_py() for name in ("psnr", "psnr_foreground", "ssim")] == [30.5, 25.25, 0.5]
    assert table["captions"][1].as_py()[0]["text"] == "Täßchen 1"
    assert table["warnings"][1].as_py() == ["missing file: a.png", "dark"]
    assert table["keys"][1].as_py()["fit"] == "01fit"
    assert [table[name][1].as_py() for name in ("view_vectors", "caption_vectors", "teacher")] == [None, None, None]


def test_a_teachers_words_are_in_where_it_has_run_and_null_elsewhere(run):
    table = run.table(run.pack([run.member(1, taught=True), run.member(2)]))
    assert np.array_equal(np.array(table["view_vectors"][0].as_py(), np.float16), from_bytes(vectors(1, V)))
    assert np.array_equal(np.array(table["caption_vectors"][0].as_py(), np.float16), from_bytes(vectors(1, 1)))
    assert [entry["score"] for entry in table["captions"][0].as_py()] == [0.25]
    assert table["teacher"].to_pylist() == ["clip@00", None]
    assert table["keys"][0].as_py()["align"] == "01align"
    assert [table[name][1].as_py() for name in ("view_vectors", "caption_vectors")] == [None, None]
    assert [entry["score"] for entry in table["captions"][1].as_py()] == [None]


def test_damaged_vectors_are_made_again(run):
    member = run.member(1, taught=True)
    name = Outcomes(run.store).find("embed", "01embed")["view_vectors"]
    run.store.replace(name, b"no vectors")
    outcome = run.pack([member])
    assert (outcome.reason, outcome.transient) == ("missing_input", True)
    assert outcome.lost == {"object-1": ("embed",)}
    assert Outcomes(run.store).find("embed", "01embed") is None


def test_all_that_is_lost_of_a_block_is_made_again_at_once(run):
    members = [run.member(number) for number in range(3)]
    lose_outcome(run, members[0])
    for spoil in (lose_outcome, lose_artifact):
        spoil(run, members[2])
    assert run.pack(members).lost == {"object-0": ("fit",), "object-2": ("render", "fit")}


def test_what_it_returns_is_enough_for_the_index(run):
    members = [run.member(0), run.member(1, category=None, licence=float("nan"))]
    columns = run.pack(members, index=3, split="test").columns
    data = run.store.read(columns["shard"])
    assert columns["shard"] == f"dataset/data/test-00003-{columns['sha256'][:12]}.parquet"
    assert columns["sha256"] == hashlib.sha256(data).hexdigest()
    assert (columns["rows"], columns["bytes"]) == (2, len(data))
    assert columns["marks"] == "0a"
    assert (columns["shape"], columns["float_type"]) == ([V, N, K], "float32")
    assert (columns["categories"], columns["licences"]) == ({"cup": 1, "": 1}, {"CC0-1.0": 1, "": 1})
    assert columns["scores"] == {}
    assert columns["figures"] == {"psnr": "30.5 30.5", "ssim": "0.5 0.5"}
    (kind, steps), *others = run.pack([run.member(0), run.member(1, taught=True)]).columns["scores"].items()
    assert (kind, steps, others) == ("metadata", {"500": 1}, [])  # 0.25 is 500 steps


@pytest.mark.parametrize("float_type", ["float32", "float16"])
def test_padding_is_last_finite_and_transparent(run, float_type):
    outcome = run.pack([run.member(0), run.member(1, gaussians=N)], packing(float_type=float_type))
    table = run.table(outcome)
    real = splat(0)
    assert table["gaussian_count"].to_pylist() == [7, N]
    sizes = {"means": (3,), "log_scales": (3,), "quaternions": (4,), "opacity_logits": (), "sh": (K, 3)}
    for name, size in sizes.items():
        array = fixed(table, name, 0, N, *size)
        assert array.dtype == float_type
        assert np.array_equal(array[:7], getattr(real, name).astype(float_type))
        assert np.isfinite(array).all()
    opacity = 1 / (1 + np.exp(-fixed(table, "opacity_logits", 0, N)[7:].astype(float)))
    assert (opacity < 1 / 255).all()
    assert (np.linalg.norm(fixed(table, "quaternions", 0, N, 4)[7:], axis=1) == 1).all()


def test_of_more_gaussians_than_asked_for_the_first_are_taken(run):
    table = run.table(run.pack([run.member(0), run.member(1, gaussians=4)], packing(gaussians=5)))
    assert table["gaussian_count"].to_pylist() == [5, 4]
    assert np.array_equal(fixed(table, "means", 0, 5, 3), splat(0).means[:5])
    assert np.array_equal(fixed(table, "sh", 0, 5, K, 3), splat(0).sh[:5])


def test_no_caption_and_no_gaussians_are_no_obstacle(run):
    table = run.table(run.pack([run.member(0, captioned=False, gaussians=0)]))
    assert table["captions"].to_pylist() == [[]]
    assert table["keys"][0].as_py()["caption"] is None
    assert table["gaussian_count"].to_pylist() == [0]


def test_carried_columns_are_one_json_object(run):
    own = {"key": "C major", "content_hash": "theirs"}
    member = run.member(0, tags=["a", "b"], artist="Zoë", year=float("nan"), group="g", caption="A cup", **own)
    table = run.table(run.pack([member]))
    assert table["group"][0].as_py() == "g"
    expected = {"tags": ["a", "b"], "artist": "Zoë", "year": None, "caption": "A cup", **own}
    assert json.loads(table["metadata"][0].as_py()) == expected
    assert table["content_hash"][0].as_py() == "hash0"


def test_a_file_name_that_is_no_unicode_can_be_packed(run):
    table = run.table(run.pack([run.member(0, source="caf\udce9.glb", path="caf\udce9.glb")]))
    assert table["source"][0].as_py() == "caf\\udce9.glb"
    assert json.loads(table["metadata"][0].as_py())["path"] == "caf\udce9.glb"


def test_same_artifacts_same_bytes(tmp_path):
    shards = []
    for name in ("one", "two"):
        run = Run(tmp_path / name)
        shards.append(run.pack([run.member(number) for number in range(4)], packing(row_group_rows=3)))
    assert shards[0].columns == shards[1].columns
    assert run.pack([run.member(number) for number in (1, 2)]).columns["sha256"] != shards[0].columns["sha256"]


def test_row_groups_are_closed_by_rows_and_by_bytes(run):
    members = [run.member(number) for number in range(5)]
    by_rows = run.pack(members, packing(row_group_rows=2)).columns["shard"]
    by_bytes = run.pack(members, packing(row_group_bytes=1)).columns["shard"]
    whole = run.pack(members).columns["shard"]
    groups = [parquet.ParquetFile(f"{run.store.root}/{name}").metadata for name in (by_rows, by_bytes, whole)]
    assert [group.num_row_groups for group in groups] == [3, 5, 1]


def test_pictures_are_not_compressed_and_every_page_can_be_found(run):
    for compression in ("zstd", "none"):
        outcome = run.pack([run.member(0)], packing(compression=compression))
        group = parquet.ParquetFile(f"{run.store.root}/{outcome.columns['shard']}").metadata.row_group(0)
        leaves = {group.column(index).path_in_schema: group.column(index) for index in range(group.num_columns)}
        assert leaves["views.list.element.bytes"].compression == "UNCOMPRESSED"
        assert leaves["means.list.element"].compression == ("ZSTD" if compression == "zstd" else "UNCOMPRESSED")
        assert "BYTE_STREAM_SPLIT" in leaves["means.list.element"].encodings
        assert all(leaf.has_offset_index for leaf in leaves.values())


def lose_outcome(run, member):
    run.store.delete(Outcomes(run.store).name("fit", member["needed"]["fit"]))


def lose_artifact(run, member):
    run.store.delete(Outcomes(run.store).find("render", member["needed"]["render"])["views"])


def damage_artifact(run, member):
    run.store.replace(Outcomes(run.store).find("render", member["needed"]["render"])["views"], b"PK\3\4 and no more")


def damage_splat(run, member):
    run.store.replace(Outcomes(run.store).find("fit", member["needed"]["fit"])["splat"], b"ply\nand no more")


def flip_a_byte_of_the_splat(run, member):
    name = Outcomes(run.store).find("fit", member["needed"]["fit"])["splat"]
    data = bytearray(run.store.read(name))
    data[-6] ^= 1
    run.store.replace(name, bytes(data))


def make_otherwise(run, member, stage, column, artifact):
    outcomes, key = Outcomes(run.store), member["needed"][stage]
    columns = outcomes.find(stage, key)
    outcomes.withdraw(stage, key)
    outcomes.publish(stage, key, columns, artifact, column, ".bin")


def not_finite(run, member):
    poor = splat(0)
    poor.means[3] = np.nan
    make_otherwise(run, member, "fit", "splat", poor.to_ply())


def other_views(run, member):
    make_otherwise(run, member, "render", "views", views(0, 5).to_bytes())


def other_harmonics(run, member):
    make_otherwise(run, member, "fit", "splat", splat(0, terms=1).to_ply())


@pytest.mark.parametrize(
    ("spoil", "reason", "transient"),
    [
        (lose_outcome, "missing_input", True),
        (lose_artifact, "missing_input", True),
        (damage_artifact, "missing_input", True),
        (damage_splat, "missing_input", True),
        (flip_a_byte_of_the_splat, "missing_input", True),
        (not_finite, "not_finite", False),
        (other_views, "mixed_views", False),
        (other_harmonics, "mixed_gaussians", False),
    ],
)
def test_a_failure_half_way_leaves_nothing(run, spoil, reason, transient):
    members = [run.member(number) for number in range(3)]
    spoil(run, members[2])
    outcome = run.pack(members, packing(row_group_rows=1))
    assert not outcome.ok
    assert (outcome.reason, outcome.transient) == (reason, transient)
    assert "object-2" in outcome.detail
    assert run.nothing_was_left()


@pytest.mark.parametrize(
    ("stage", "columns"),
    [
        ("ingest", {"content_hash": 5}),
        ("fit", {"psnr": "high"}),
        ("fit", {"psnr": 10**400}),
        ("fit", {"held_out": 7}),
        ("fit", {"held_out": [2**70]}),
        ("caption", {"captions": [{"text": ["a"], "kind": "metadata"}]}),
        ("caption", {"captions": "none"}),
        ("align", {"caption_scores": None}),
        ("align", {"caption_scores": [10**400]}),
        ("embed", {"teacher": 5}),
    ],
)
def test_an_outcome_with_a_wrong_type_is_made_again_and_costs_no_other_row(run, stage, columns):
    members = [run.member(number, taught=True) for number in range(3)]
    outcomes, key = Outcomes(run.store), members[1]["needed"][stage]
    changed = {**outcomes.find(stage, key), **columns}
    run.store.replace(outcomes.name(stage, key), json.dumps(changed).encode())
    outcome = run.pack(members)
    assert (outcome.reason, outcome.lost) == ("missing_input", {"object-1": (stage,)}), outcome.detail
    assert outcomes.find(stage, key) is None
    assert run.nothing_was_left()


def test_texts_of_an_earlier_version_are_made_safe(run):
    member = run.member(0, tags=["half \ud83d"], nested={"a": [float("inf")]}, category="half \ud83d")
    for stage, columns in {
        "ingest": {"content_hash": "hash0", "licence": "half \ud83d", "warnings": "alone"},
        "caption": {"captions": [{"text": "half \ud83d", "kind": "metadata", "model": None}]},
        "fit": {**Outcomes(run.store).find("fit", "00fit"), "warnings": ["half \ud83d"] + ["\x1b[31mx" * 10**6] * 100},
    }.items():
        run.store.replace(Outcomes(run.store).name(stage, member["needed"][stage]), json.dumps(columns).encode())
    table = run.table(run.pack([member]))
    warnings = table["warnings"][0].as_py()
    assert warnings[:2] == ["alone", "missing file: a.png"] and max(map(len, warnings)) <= LONGEST
    assert json.loads(table["metadata"][0].as_py())["nested"] == {"a": [None]}
    assert table["captions"][0].as_py()[0]["text"] == "half "


def test_scores_that_are_not_numbers_are_not_counted(run):
    member = run.member(0, taught=True)
    outcomes = Outcomes(run.store)
    columns = {**outcomes.find("align", member["needed"]["align"]), "caption_scores": [float("nan")]}
    run.store.replace(outcomes.name("align", member["needed"]["align"]), json.dumps(columns).encode())
    assert run.pack([member]).columns["scores"] == {}


def test_a_store_that_takes_nothing_is_tried_again(run):
    members = [run.member(0)]
    run.store.replace("dataset", b"a file where the folder should be")
    outcome = run.pack(members)
    assert not outcome.ok
    assert (outcome.reason, outcome.transient) == ("store_failed", True)
    assert not list(run.context.scratch.iterdir())


def test_one_block_cannot_cost_another(run):
    good, bad = run.member(0), run.member(1)
    lose_outcome(run, bad)
    results = run.pack_blocks([run.block([bad]), run.block([good], index=1)])
    assert [result.ok for result in results] == [False, True]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"PAR1")])
def test_a_shard_that_is_gone_or_cut_is_made_again(run, damage):
    block = run.block([run.member(0)])
    (first,) = run.pack_blocks([block])
    path = Path(run.store.root) / first.columns["shard"]
    whole = path.read_bytes()
    damage(path)
    (again,) = run.pack_blocks([block])
    assert again.columns == first.columns and path.read_bytes() == whole


def test_the_number_of_gaussians_must_be_given(run):
    with pytest.raises(ValueError, match="pack.gaussians"):
        Pack().open(run.context)


@pytest.fixture
def load_dataset(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from datasets import load_dataset

    return lambda run, **asked: load_dataset(f"{run.store.root}/dataset", cache_dir=str(tmp_path / "cache"), **asked)


@pytest.mark.parametrize("float_type", ["float32", "float16"])
def test_load_dataset_gives_pictures_and_sees_no_orphan(run, load_dataset, float_type):
    stage = packing(float_type=float_type)
    orphan = run.pack([run.member(9)], stage)
    train = [run.pack([run.member(2 * number), run.member(2 * number + 1)], stage, index=number) for number in (0, 1)]
    test = run.pack([run.member(5, captioned=False)], stage, split="test")
    dataset_index.write_index(run.store, [shard.columns for shard in (test, *train)], DECLARED, provenance={})
    assert run.store.exists(orphan.columns["shard"])

    loaded = load_dataset(run)
    assert {split: part["id"] for split, part in loaded.items()} == {
        "train": [f"object-{number}" for number in range(4)],
        "test": ["object-5"],
    }
    row = loaded["train"][1]
    seen = views(1)
    assert (row["views"][0].mode, row["views"][0].size) == ("RGBA", (SIZE, SIZE))
    assert np.array_equal(np.stack([np.asarray(image) for image in row["views"]]), seen.color_pixels())
    steps = np.stack([np.asarray(image) for image in row["depth"]])
    assert np.allclose(steps * row["depth_scale"], seen.depth_pixels())
    assert row["captions"][0]["text"] == "Täßchen 1"
    assert row["view_vectors"] is None
    arrays = loaded["train"].select_columns(["means", "camera_to_world"]).with_format("numpy")[1]
    assert np.array_equal(arrays["means"].reshape(N, 3)[:7], splat(1).means.astype(float_type))
    assert np.array_equal(arrays["camera_to_world"].reshape(V, 4, 4), seen.camera_to_world)
    assert next(iter(load_dataset(run, split="test", streaming=True)))["captions"] == []


def test_an_orphan_alone_is_no_dataset(run, load_dataset):
    run.pack([run.member(0)])
    dataset_index.write_index(run.store, [], DECLARED, provenance={})
    with pytest.raises((ValueError, FileNotFoundError)):
        load_dataset(run)


def test_another_contract_gives_another_key_and_the_first_gives_the_key_it_always_gave():
    block = {"id": "train-00000", "split": "train", "index": 0, "members": []}
    more = RowStage("weigh", type("Weigh", (Stage,), {"columns": (Column("weight", pa.float32(), "grams"),)}), False)
    other = PACK.over((*ROW_STAGES, more))
    assert PACK.contract_mark == "" and other.contract_mark
    assert PACK.key(block) == super(Pack, PACK).key(block)
    assert other.key(block) != PACK.key(block)


def test_a_shard_tells_where_its_contract_is_not_the_first(run):
    other = PACK.over((*ROW_STAGES, RowStage("weigh", type("Weigh", (Stage,), {}), False)))
    assert "contract" not in run.pack([run.member(0)]).columns
    assert run.pack([run.member(0)], other).columns["contract"] == other.contract_mark
