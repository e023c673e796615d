"""From a public dataset's layout to a row beside the published ones, by the command that the recipes name."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, Optional

import pytest
import yaml
from layout_clips import gap_numbers, write_insta, write_official, write_radnerf

from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.recipes.datasets import prepare_dataset
from nerfblendshape_ns.recipes.recipe import load_recipe
from nerfblendshape_ns.scripts.recipe import main

PUBLIC = Path(__file__).resolve().parents[2] / "configs" / "public"
PARSER = "pipeline.datamanager.dataparser."
FEW_STEPS: Dict[str, Any] = {
    "max_num_iterations": 4,
    f"{PARSER}max_size": 32,
    "pipeline.datamanager.train_num_rays_per_batch": 64,
    "steps_per_eval_batch": 0,
    "steps_per_eval_image": 0,
}
TINY_HEAD = {
    **FEW_STEPS,
    "pipeline.model.num_levels": 4,
    "pipeline.model.log2_table_size": 8,
    "pipeline.model.occupancy_resolution": 16,
    "pipeline.model.samples_per_box": 32,
}
FEW_PICTURES = {"train_frames": 2, "sheet_frames": 2, "turned_frames": 0, "sweep_frames": 0}


def tiny_recipe(
    folder: Path, name: str, torso: Optional[Dict[str, Any]] = None, test_frames: Optional[int] = None
) -> Path:
    """A recipe that makes the public one small, in a folder of its own."""
    base = os.path.relpath(PUBLIC / f"{name}.yaml", folder)
    document = {
        "base": base,
        "name": f"tiny-{name}",
        "method": "nerfblendshape-head-small",
        "overrides": TINY_HEAD,
        "protocol": {**FEW_PICTURES, **({} if test_frames is None else {"test_frames": test_frames})},
        **({} if torso is None else {"torso": torso}),
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def run(folder: Path, recipe: Path, data: Path, name: str) -> Dict[str, Any]:
    """The figures that the command leaves."""
    main([str(recipe), "--data", str(data), "--output", str(folder / "out")])
    return json.loads((folder / "out" / f"tiny-{name}-{data.name}" / f"tiny-{name}.json").read_text())


def split_of(folder: Path, experiment: str) -> Dict[str, Any]:
    (path,) = (folder / "out").glob(f"*/runs/{experiment}/*/*/split.json")
    return json.loads(path.read_text())


@pytest.mark.slow
def test_insta(tmp_path, capsys):
    write_insta(tmp_path / "obama", 360)
    figures = run(tmp_path, tiny_recipe(tmp_path, "insta"), tmp_path / "obama", "insta")
    split = split_of(tmp_path, "tiny-insta")
    # INSTA numbers from 1; eight frames train, two validate.
    assert split["protocol"] == "last350" and split["test"] == list(range(11, 361))
    assert split["train"] == list(range(1, 9)) and split["val"] == [9, 10]
    assert [row["method"] for row in figures["published"]] == ["INSTA", "GaussianBlendshapes"]
    assert figures["published"][0]["psnr"] == 28.61 and figures["published"][0]["source"] == "secondary"
    printed = " ".join(capsys.readouterr().out.split())
    assert "tiny-insta beside published figures" in printed and "what differs: These are means over several" in printed
    assert "28.61" in printed


@pytest.mark.slow
def test_nerfblendshape(tmp_path, capsys):
    write_official(tmp_path / "id1", 24)
    recipe = tiny_recipe(tmp_path, "nerfblendshape", test_frames=4)
    figures = run(tmp_path, recipe, tmp_path / "id1", "nerfblendshape")
    assert split_of(tmp_path, "tiny-nerfblendshape")["protocol"] == "last4"
    assert [(row["method"], row["psnr"]) for row in figures["published"]] == [
        ("NeRFBlendShape", 34.15),
        ("HeadGaS", 36.66),
    ]
    assert "34.15" in capsys.readouterr().out


def test_nerfblendshape_tests_the_last_500_frames(tmp_path):
    write_official(tmp_path / "id1", 510)
    recipe = load_recipe(tiny_recipe(tmp_path, "nerfblendshape"))
    config = NerfBlendshapeDataParserConfig(
        data=tmp_path / "id1", protocol=recipe.protocol.split, layout=recipe.dataset.layout
    )
    splits = config.setup().get_dataparser_outputs("test").metadata["splits"]
    assert splits["test"] == gap_numbers(510)[10:] and splits["train"] == gap_numbers(8)


@pytest.mark.slow
def test_radnerf(tmp_path, capsys):
    write_radnerf(tmp_path / "obama")
    torso = {"method": "nerfblendshape-torso-small", "overrides": FEW_STEPS}
    recipe = tiny_recipe(tmp_path, "radnerf", torso)
    assert run(tmp_path, recipe, tmp_path / "obama", "radnerf")["published"] == []  # None of a head on white.
    figures = json.loads((tmp_path / "out" / "tiny-radnerf-obama" / "tiny-radnerf-torso.json").read_text())
    expected = {"RAD-NeRF": ["true_torso"], "ER-NeRF": ["true_torso", "whole"]}
    for method, rows in expected.items():
        assert [row["row"] for row in figures["published"] if row["method"] == method] == rows
    for experiment in ("tiny-radnerf", "tiny-radnerf-torso"):
        split = split_of(tmp_path, experiment)
        assert split["protocol"] == "radnerf" and split["test"] == [24, 25]
    printed = " ".join(capsys.readouterr().out.split())
    assert "tiny-radnerf-torso beside published figures" in printed
    assert "tiny-radnerf beside published figures" not in printed


def test_a_dataset_has_to_be_given_and_be_of_the_recipes_layout(tmp_path, capsys):
    recipe = load_recipe(PUBLIC / "insta.yaml")
    message = (
        "recipe insta needs a dataset of the layout insta, and its file says where to get one; give its directory with "
        "--data."
    )
    with pytest.raises(UserError) as caught:
        prepare_dataset(recipe, tmp_path / "made")
    assert str(caught.value) == message
    write_official(tmp_path / "id1", 20)
    with pytest.raises(SystemExit):
        main([str(tiny_recipe(tmp_path, "insta")), "--data", str(tmp_path / "id1"), "--output", str(tmp_path / "out")])
    assert "id1/transforms.json: frame 0 of the list has no 'file_path'" in capsys.readouterr().err


def test_published_rows_are_checked(tmp_path):
    path = tmp_path / "r.yaml"
    secondary = "measured: y, source: secondary"
    start = "name: a\ndescription: b\ndataset: {layout: insta}\n"
    for rows, message in (
        ("{method: x}", r"published is \{'method': 'x'\} but must be"),
        ("[{method: x, row: head, measured: y}]", "published: row 1 lacks source"),
        (f"[{{method: x, row: face, {secondary}}}]", "published: row 1: row is 'face' but must be 'head'"),
    ):
        path.write_text(f"{start}published: {rows}\n")
        with pytest.raises(UserError, match=message):
            load_recipe(path)
    path.write_text("name: a\ndescription: b\ndataset: {layout: instar}\n")
    with pytest.raises(UserError, match=r"dataset: layout 'instar' is unknown; did you mean insta\?"):
        load_recipe(path)


def test_bases_in_other_folders(tmp_path):
    """A base is found from the file that names it, and a circle through folders is told."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "low.yaml").write_text("name: a\ndescription: b\ndataset: {layout: insta}\nseed: 3\n")
    (tmp_path / "b" / "mid.yaml").write_text("base: ../a/low.yaml\nname: mid\n")
    (tmp_path / "top.yaml").write_text("base: b/mid.yaml\nname: top\n")
    recipe = load_recipe(tmp_path / "top.yaml")
    assert (recipe.name, recipe.seed, recipe.dataset.layout) == ("top", 3, "insta")
    (tmp_path / "a" / "low.yaml").write_text("base: ../b/mid.yaml\n")
    with pytest.raises(UserError, match="is its own base; name another file"):
        load_recipe(tmp_path / "top.yaml")
