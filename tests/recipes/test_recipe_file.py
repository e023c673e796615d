"""Reading recipes, finding their data, recording their figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.recipes.datasets import find_clip, prepare_dataset
from nerfblendshape_ns.recipes.options import RecipeOptions
from nerfblendshape_ns.recipes.recipe import DatasetSource, VideoSource, load_recipe, save_recipe
from nerfblendshape_ns.recipes.run import output_folder, run_recipe
from nerfblendshape_ns.recipes.training import trainer_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MINIMAL = "name: a\ndescription: b\ndataset: {synthetic: {num_frames: 20}}\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


RECIPES = sorted([*CONFIGS.glob("*.yaml"), *CONFIGS.glob("public/*.yaml")])


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_makes_a_config(path, tmp_path):
    recipe = load_recipe(path)
    assert recipe.description
    save_recipe(tmp_path / "copy.yaml", recipe, "A copy.")
    assert load_recipe(tmp_path / "copy.yaml") == recipe
    for variant in (None, *recipe.variants):
        config = trainer_config(recipe.with_variant(variant), tmp_path, tmp_path, str(path))
        assert config.method_name == recipe.method
        assert config.machine.seed == recipe.seed
        assert config.pipeline.datamanager.dataparser.protocol == recipe.protocol.split
        if variant is not None:
            baseline = {"concat": "concat", "static": "static", "frame-code": "code"}
            assert config.pipeline.model.conditioning == baseline.get(variant, "blend")


@pytest.mark.parametrize(
    ("name", "split", "layout"),
    [("insta", "last350", "insta"), ("nerfblendshape", "last500", "official"), ("radnerf", "radnerf", "radnerf")],
)
def test_public_recipes_read_their_layout_by_its_protocol(name, split, layout, tmp_path):
    recipe = load_recipe(CONFIGS / "public" / f"{name}.yaml")
    recipes = [recipe] if recipe.torso is None else [recipe, recipe.torso_recipe(tmp_path)]
    for stage in recipes:
        parser = trainer_config(stage, tmp_path, tmp_path).pipeline.datamanager.dataparser
        assert (parser.protocol, parser.layout, parser.max_size) == (split, layout, 512)
    assert [stage.method for stage in recipes] == ["nerfblendshape-head", "nerfblendshape-torso"][: len(recipes)]
    assert recipe.published and recipe.differs


def test_the_methods_own_config_is_left_alone(tmp_path):
    from nerfstudio.configs.method_configs import all_methods

    recipe = load_recipe(CONFIGS / "ci.yaml")
    config = trainer_config(recipe, tmp_path, tmp_path, minutes=2)
    assert config.max_minutes == 2.0
    assert config.max_num_iterations == recipe.overrides["max_num_iterations"] == 400
    assert all_methods[recipe.method].max_num_iterations != 400


def test_base_and_variant(tmp_path):
    base = write(
        tmp_path / "base.yaml",
        MINIMAL + "overrides: {max_minutes: 10, steps_per_save: 5}\nvariants: {fast: {max_minutes: 1}}\n",
    )
    child = write(tmp_path / "child.yaml", f"base: {base.name}\nname: child\noverrides: {{steps_per_save: 7}}\n")
    recipe = load_recipe(child)
    assert recipe.overrides == {"max_minutes": 10, "steps_per_save": 7}
    fast = recipe.with_variant("fast")
    assert (fast.name, fast.overrides["max_minutes"]) == ("child-fast", 1)
    with pytest.raises(UserError, match=r"^recipe child has no variant 'fats'; did you mean fast\?$"):
        recipe.with_variant("fats")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not readable YAML"),
        ("- a\n", "is not a recipe"),
        ("name: a\ndescription: b\n", "dataset must name exactly one of synthetic, video, path, layout, not none."),
        (MINIMAL.replace("num_frames", "frames"), "has the unknown key 'frames'; did you mean num_frames"),
        (
            MINIMAL + "protocol: {sheet_frame: 3}\n",
            "protocol has the unknown key 'sheet_frame'; did you mean sheet_frames",
        ),
        (MINIMAL + "protocol: {sheet_frames: 0}\n", "protocol: sheet_frames is 0 but must be at least 1."),
        (MINIMAL + "protocol: {turned_frames: -1}\n", "protocol: turned_frames is -1 but must be at least 0."),
        (MINIMAL + "protocol: {test_frames: 0}\n", "protocol: test_frames is 0 but must be at least 1."),
        (MINIMAL.replace("name: a", "name: a/b"), "'a/b' cannot be a file's name, which it becomes; take letters"),
        (MINIMAL.replace("name: a", "name: ''"), "'' cannot be a file's name"),
        (MINIMAL + "variants: {../x: {}}\n", "'../x' cannot be a file's name"),
        (MINIMAL + "seed: one\n", "seed is 'one' but must be a whole number"),
        (MINIMAL + "base: recipe.yaml\n", "is its own base"),
        (MINIMAL.replace("description: b\n", ""), "lacks description"),
    ],
)
def test_broken_recipes_are_told(tmp_path, text, message):
    path = write(tmp_path / "recipe.yaml", text)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_a_missing_recipe_names_its_neighbours(tmp_path):
    write(tmp_path / "demo.yaml", MINIMAL)
    with pytest.raises(UserError, match=r"demoo.yaml does not exist; did you mean demo.yaml\?"):
        load_recipe(tmp_path / "demoo.yaml")


def test_a_recipe_where_there_are_none_is_said_to_be_in_the_repository(tmp_path):
    with pytest.raises(
        UserError, match=r"demo.yaml does not exist; give the path of a recipe, .* repository's in configs/"
    ):
        load_recipe(tmp_path / "configs" / "demo.yaml")


def test_unknown_method(tmp_path):
    recipe = load_recipe(write(tmp_path / "r.yaml", MINIMAL + "method: nerfblendshape-hed\n"))
    with pytest.raises(UserError, match="method 'nerfblendshape-hed' is unknown; did you mean nerfblendshape-head"):
        trainer_config(recipe, tmp_path, tmp_path, "r.yaml")


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_none_is_told_before_data_are_made(seed, tmp_path):
    recipe = load_recipe(write(tmp_path / "r.yaml", MINIMAL)).with_seed(seed)
    with pytest.raises(UserError, match=rf"^r.yaml: seed is {seed} but must be from 0 to 4294967295\.$"):
        trainer_config(recipe, tmp_path, tmp_path, "r.yaml")


def test_find_clip(tmp_path, monkeypatch):
    clip = write(tmp_path / "me.mp4", "")
    monkeypatch.delenv("NBS_CLIPS", raising=False)
    assert find_clip(None, clip) == clip
    assert find_clip(str(clip), None) == clip
    with pytest.raises(UserError, match="other.mp4 does not exist; give the path of a video file"):
        find_clip(None, tmp_path / "other.mp4")
    with pytest.raises(UserError, match="the recipe needs a video; give --video FILE"):
        find_clip(None, None)
    with pytest.raises(UserError, match="me.mp4 does not exist here; give --video FILE or set NBS_CLIPS"):
        find_clip("me.mp4", None)
    monkeypatch.setenv("NBS_CLIPS", str(tmp_path))
    assert find_clip("me.mp4", None) == clip
    with pytest.raises(UserError, match=r"mee.mp4 does not exist; did you mean me.mp4\?"):
        find_clip("mee.mp4", None)


def test_given_data_must_be_there(tmp_path):
    recipe = load_recipe(write(tmp_path / "r.yaml", MINIMAL))
    assert prepare_dataset(recipe, tmp_path / "made", data=tmp_path) == tmp_path
    with pytest.raises(UserError, match="nowhere is no dataset directory"):
        prepare_dataset(recipe, tmp_path / "made", data=tmp_path / "nowhere")
    with pytest.raises(UserError, match="takes no --video"):
        prepare_dataset(recipe, tmp_path / "made", video=tmp_path / "r.yaml")
    there = replace(recipe, dataset=DatasetSource(path=tmp_path))
    with pytest.raises(UserError, match="recipe a is not made from a video and takes no --video"):
        prepare_dataset(there, tmp_path / "made", video=tmp_path / "r.yaml")
    of_video = replace(recipe, dataset=DatasetSource(video=VideoSource()))
    with pytest.raises(UserError, match=r"--data .* takes the place of a video, so --video .* has no use; leave one"):
        prepare_dataset(of_video, tmp_path / "made", video=tmp_path / "r.yaml", data=tmp_path)


def test_output_folder(tmp_path, monkeypatch):
    recipe = load_recipe(write(tmp_path / "r.yaml", MINIMAL + "variants: {x: {}}\n"))
    options = RecipeOptions(tmp_path / "r.yaml", output=tmp_path, variant="x", video=Path("my clip (1).mp4"))
    assert output_folder(recipe, options) == tmp_path / "a-my_clip_1_"
    assert output_folder(recipe, RecipeOptions(tmp_path / "r.yaml")) == Path("outputs/recipes/a")
    people = [replace(options, video=Path(f"{name}.mp4")) for name in ("张三", "李四")]
    assert [output_folder(recipe, one).name for one in people] == ["a-张三", "a-李四"]
    monkeypatch.chdir(tmp_path)
    for data, name in (("me.v1", "a-me_v1"), ("me.v2", "a-me_v2"), (".", f"a-{tmp_path.name}")):
        options = RecipeOptions(tmp_path / "r.yaml", output=tmp_path, data=Path(data))
        assert output_folder(recipe, options) == tmp_path / name


def test_a_synthetic_dataset_of_an_older_generation_is_made_again(tmp_path, monkeypatch):
    from nerfblendshape_ns.data import contract
    from nerfblendshape_ns.recipes.datasets import write_synthetic
    from nerfblendshape_ns.synthetic import dataset
    from nerfblendshape_ns.synthetic.dataset import ClipSettings, OutdatedDataset, load_settings

    settings = ClipSettings(num_frames=2, width=16, height=16)
    folder = write_synthetic(settings, tmp_path / "clip")
    written = (folder / contract.TRANSFORMS).stat().st_mtime_ns
    assert (write_synthetic(settings, folder) / contract.TRANSFORMS).stat().st_mtime_ns == written
    monkeypatch.setattr(dataset, "GENERATION", dataset.GENERATION + 1)
    with pytest.raises(OutdatedDataset, match="made by another version of the synthetic head"):
        load_settings(folder)
    assert (write_synthetic(settings, folder) / contract.TRANSFORMS).stat().st_mtime_ns != written
    assert load_settings(folder) == settings


def test_a_torso_is_a_recipe_of_its_own(tmp_path):
    path = tmp_path / "both.yaml"
    path.write_text(
        "name: both\ndescription: .\ndataset: {synthetic: {num_frames: 4}}\n"
        "protocol: {unseen_views: 3, sheet_frames: 2}\n"
        "torso: {overrides: {max_minutes: 2}}\n"
    )
    recipe = load_recipe(path)
    torso = recipe.torso_recipe(Path("runs/head"))
    assert torso.name == "both-torso" and torso.method == "nerfblendshape-torso-small" and torso.torso is None
    assert torso.overrides == {"max_minutes": 2, "pipeline.model.head_run": "runs/head"}
    assert torso.protocol.unseen_views == 3 and torso.protocol.sheet_frames == 2
    path.write_text("name: both\ndescription: .\ndataset: {synthetic: {}}\ntorso: {overides: {}}\n")
    with pytest.raises(UserError, match="torso.*overides.*did you mean overrides"):
        load_recipe(path)


def test_minutes_of_a_torso_that_is_not_trained_are_refused(tmp_path):
    for options in ({"head_only": True}, {"recipe": CONFIGS / "baselines.yaml"}):
        with pytest.raises(UserError, match="trains no torso here, so --torso-minutes has no use; leave it out"):
            run_recipe(
                RecipeOptions(**{"recipe": CONFIGS / "ci.yaml", "output": tmp_path, "torso_minutes": 1, **options})
            )
    assert list(tmp_path.iterdir()) == []
