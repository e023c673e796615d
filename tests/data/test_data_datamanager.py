import gc
import re
from dataclasses import dataclass, field
from typing import Type

import pytest
import torch
import tyro
import yaml
from nerfstudio.data.utils.dataloaders import FixedIndicesEvalDataloader
from nerfstudio.model_components.ray_generators import RayGenerator
from nerfstudio.models.base_model import Model, ModelConfig
from nerfstudio.pipelines.base_pipeline import VanillaPipelineConfig
from nerfstudio.scripts.render import _disable_datamanager_setup

from nerfblendshape_ns.common import file_io
from nerfblendshape_ns.common.errors import UserError
from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.datamanager import NerfBlendshapeDataManager, NerfBlendshapeDataManagerConfig
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset


def config(root, **options) -> NerfBlendshapeDataManagerConfig:
    options = {"train_num_rays_per_batch": 128, "eval_num_rays_per_batch": 64, **options}
    return NerfBlendshapeDataManagerConfig(data=root, **options)


def manager(root, test_mode="val", **options) -> NerfBlendshapeDataManager:
    return config(root, **options).setup(device="cpu", test_mode=test_mode)


def test_train_batch_holds_what_its_rays_see(own_clip):
    root, _ = own_clip(20)
    data = manager(root, frames_per_batch=3, train_num_rays_per_batch=100)
    assert isinstance(data.train_dataset, NerfBlendshapeDataset)
    rays, batch = data.next_train(0)
    camera, row, column = batch["indices"].unbind(-1)
    dataset = data.train_dataset
    assert torch.equal(batch["image"], dataset.images[camera, row, column].float() / 255)
    assert torch.equal(batch["alpha"][:, 0], dataset.alpha[camera, row, column].float() / 255)
    assert torch.equal(rays.camera_indices[:, 0], camera)
    # Rays of a frame are contiguous; 100 rays are shared as 34, 33 and 33.
    assert batch["ray_frame"].dtype == torch.int32
    assert batch["ray_frame"].bincount().tolist() == [34, 33, 33] and (batch["ray_frame"].diff() >= 0).all()
    assert torch.equal(batch["frame_ids"][batch["ray_frame"].long()], camera)
    expected = RayGenerator(dataset.cameras)(batch["indices"])
    torch.testing.assert_close(rays.directions, expected.directions, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(rays.origins, expected.origins)
    assert batch["num_patches"] == 0


def test_a_batch_of_whole_frames_holds_the_torso_image(own_clip):
    root, _ = own_clip(20)
    data = manager(root, dataparser=NerfBlendshapeDataParserConfig(target="frame"), frames_per_batch=2)
    _, batch = data.next_train(0)
    camera, row, column = batch["indices"].unbind(-1)
    assert torch.equal(batch["torso"], data.train_dataset.torso[camera, row, column].float() / 255)
    assert float(batch["torso"][:, 3].max()) == 1.0 and float(batch["torso"][:, 3].min()) == 0.0


def test_a_clip_takes_five_bytes_a_pixel_in_memory(own_clip):
    """Colour, mask and label as bytes, once: 5,000 frames of 512 pixels take 6.6 GB, and as floats would take 26."""
    root, _ = own_clip(20)
    gc.collect()
    kept = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor)]
    others = {id(thing) for thing in kept}  # They live on: a new one has the number of none of them.
    data = manager(root)
    data.next_train(0)
    height, width = data.train_dataset.image_size
    pixels = len(data.train_dataset) * height * width
    mine = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor) and id(thing) not in others]
    storages = {thing.untyped_storage().data_ptr(): thing.untyped_storage().nbytes() for thing in mine}
    assert 5 * pixels <= sum(storages.values()) < 6 * pixels
    assert all(thing.dtype == torch.uint8 for thing in mine if thing.numel() >= pixels)


def test_images_may_lie_where_the_rays_are_made(own_clip):
    """The same batches; the pixels are on the manager's device only where asked for."""
    root, _ = own_clip(20)
    there, here = manager(root, images_on_gpu=True), manager(root)
    (rays, batch), (expected_rays, expected) = there.next_train(3), here.next_train(3)
    assert torch.equal(rays.directions, expected_rays.directions) and batch.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(batch[name]), torch.as_tensor(value)), name
    for data, device in ((there, "meta"), (here, "cpu")):
        data.device = torch.device("meta")  # In place of a GPU.
        data.setup_train()
        assert {part.device.type for part in data._train_pixels if part is not None} == {device}
        assert data._train_cameras.head_pose.device.type == "meta"


def test_patches_come_first(own_clip):
    root, _ = own_clip(20)
    data = manager(root, patch_size=5, num_patches=3, frames_per_batch=2, train_num_rays_per_batch=200)
    _, batch = data.next_train(4)
    assert (batch["num_patches"], batch["patch_size"]) == (3, 5)
    patches = batch["indices"][:75].view(3, 5, 5, 3)
    assert (patches[..., 0] == batch["frame_ids"][0]).all()
    assert (patches[:, 1:, :, 1] - patches[:, :-1, :, 1] == 1).all()
    assert (patches[:, :, 1:, 2] - patches[:, :, :-1, 2] == 1).all()
    assert batch["ray_frame"].bincount().tolist() == [100, 100] and (batch["ray_frame"].diff() >= 0).all()


def test_every_frame_comes_equally_often(own_clip):
    root, _ = own_clip(20)
    data = manager(root, frames_per_batch=2)
    assert len(data.train_dataset) == 16
    frames = [data.next_train(step)[1]["frame_ids"] for step in range(24)]
    epochs = torch.cat(frames).view(3, 16)
    assert torch.equal(epochs.sort(-1).values, torch.arange(16).expand(3, -1))
    assert not torch.equal(epochs[0], epochs[1])


def test_rare_expressions_come_more_often(own_clip):
    root, _ = own_clip(20)
    data = manager(root, frame_balance=0.7)
    data._frame_weights = torch.ones(16)
    data._frame_weights[3] = 17.0  # Half of the draws.
    frames = [int(data.next_train(step)[1]["frame_ids"]) for step in range(32)]
    assert frames.count(3) == 17 or frames.count(3) == 16
    assert manager(root, frame_balance=0.7)._frame_weights.std() > 0 == manager(root)._frame_weights.std()


def test_more_frames_a_batch_than_the_clip_has(own_clip):
    root, _ = own_clip(8)
    _, batch = manager(root, frames_per_batch=50).next_train(0)
    assert batch["frame_ids"].sort().values.tolist() == list(range(5))


def test_batches_depend_on_step_and_seed_alone(own_clip):
    root, _ = own_clip(20)
    first, second = manager(root), manager(root)
    for step in range(5):
        first.next_train(step)
    for name in ("indices", "image"):
        assert torch.equal(first.next_train(30)[1][name], second.next_train(30)[1][name])
    assert not torch.equal(first.next_train(30)[1]["indices"], first.next_train(31)[1]["indices"])
    second.config.pixel_sampler.seed = 1
    assert not torch.equal(first.next_train(40)[1]["indices"], second.next_train(40)[1]["indices"])


def test_processes_draw_batches_of_their_own(own_clip):
    root, _ = own_clip(20)
    ranks = [config(root).setup(device="cpu", test_mode="val", world_size=2, local_rank=rank) for rank in (0, 1)]
    first, second = ([data.next_train(step)[1] for step in range(16)] for data in ranks)
    assert torch.equal(first[0]["indices"], manager(root).next_train(0)[1]["indices"])
    frames = [[int(batch["frame_ids"]) for batch in batches] for batches in (first, second)]
    assert frames[0] != frames[1] and sorted(frames[0]) == sorted(frames[1]) == list(range(16))
    assert not any(torch.equal(one["indices"][:, 1:], other["indices"][:, 1:]) for one, other in zip(first, second))


def test_eval_rays_carry_their_expression(own_clip):
    root, truth = own_clip(20)
    data = manager(root)
    seen = set()
    for step in range(20):
        rays, batch = data.next_eval(step)
        frame = 16 + int(rays.camera_indices[0])
        seen.add(frame)
        pose = data.eval_dataset.cameras.camera_to_worlds[frame - 16].flatten()
        assert rays.shape == (64,) and torch.equal(rays.metadata["head_pose"], pose.expand(64, -1))
        assert torch.equal(rays.metadata["expression"], torch.from_numpy(truth.expressions[frame, :4]).expand(64, -1))
        index = batch["indices"]
        expected = data.eval_dataset.images[index[:, 0], index[:, 1], index[:, 2]].float() / 255
        assert torch.equal(batch["image"], expected) and batch["num_patches"] == 0
    assert seen == {16, 17}


def test_eval_images_keep_nerfstudios_semantics(own_clip):
    root, truth = own_clip(20)
    data = manager(root, test_mode="test")
    camera, batch = data.next_eval_image(0)
    assert camera.shape == (1,) and batch["image"].shape == (96, 96, 3)
    loaded = list(data.fixed_indices_eval_dataloader)
    assert len(data.fixed_indices_eval_dataloader) == len(loaded) == 2
    for index, (camera, batch) in enumerate(loaded):
        assert camera.metadata["frame_index"].tolist() == [[18 + index]]
        assert torch.equal(camera.metadata["expression"][0], torch.from_numpy(truth.expressions[18 + index, :4]))
        assert torch.equal(batch["image"], data.eval_dataset.get_data(index)["image"])


def test_inference_opens_no_image(own_clip):
    root, _ = own_clip(12)
    for path in (root / "images").iterdir():
        path.unlink()
    data = manager(root, test_mode="inference")
    assert len(data.train_dataset) == 9 and not hasattr(data, "eval_dataloader")


def test_config_survives_yaml_and_renders_the_dataset(own_clip):
    """What ns-render dataset does: load the config, set it up without its data, walk a split."""
    root, _ = own_clip(20)
    saved = yaml.dump(config(root, patch_size=8, dataparser=NerfBlendshapeDataParserConfig(max_size=48, basis="all")))
    restored = yaml.load(saved, Loader=yaml.Loader)
    assert restored == config(root, patch_size=8, dataparser=NerfBlendshapeDataParserConfig(max_size=48, basis="all"))
    for split, count in (("train", 16), ("val", 2), ("test", 2)):
        with _disable_datamanager_setup(restored._target):
            data = restored.setup(test_mode="test" if split == "train" else split, device="cpu")
        dataset = data.train_dataset if split == "train" else data.eval_dataset
        assert len(dataset._dataparser_outputs.image_filenames) == count
        for camera, batch in FixedIndicesEvalDataloader(input_dataset=dataset, device="cpu", num_workers=4):
            assert camera.metadata["expression"].shape == (1, 6) and batch["image"].shape == (48, 48, 3)


def test_command_line():
    arguments = ["--frames-per-batch", "2", "--pixel-sampler.mouth", "0.4", "--patch-size", "16"]
    parsed = tyro.cli(NerfBlendshapeDataManagerConfig, args=arguments)
    assert (parsed.frames_per_batch, parsed.pixel_sampler.mouth, parsed.patch_size) == (2, 0.4, 16)
    assert isinstance(parsed.dataparser, NerfBlendshapeDataParserConfig)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"patch_size": 16}, "1 patches of 16x16 pixels are 256 rays but a frame has 128 in a batch"),
        ({"patch_size": 97, "train_num_rays_per_batch": 10000}, "patches of 97 pixels do not fit into images of 96x96"),
        ({"frames_per_batch": 0}, "a batch of 128 rays cannot hold 0 frames"),
        ({"frames_per_batch": 200}, "a batch of 128 rays cannot hold 200 frames"),
    ],
)
def test_batch_numbers_that_do_not_fit(own_clip, options, expected):
    root, _ = own_clip(12)
    with pytest.raises(UserError, match=re.escape(expected)):
        manager(root, **options)


@dataclass
class ConstantModelConfig(ModelConfig):
    _target: Type = field(default_factory=lambda: ConstantModel)


class ConstantModel(Model):
    """One colour; records the expressions that reach it."""

    def populate_modules(self):
        super().populate_modules()
        self.color = torch.nn.Parameter(torch.full((3,), 0.5))
        self.seen = []

    def get_param_groups(self):
        return {"color": [self.color]}

    def get_outputs(self, ray_bundle):
        self.seen.append(ray_bundle.metadata.get("expression"))
        return {"rgb": self.color.expand(*ray_bundle.shape, 3)}

    def get_loss_dict(self, outputs, batch, metrics_dict=None):
        return {"loss": (outputs["rgb"] - batch["image"]).square().mean()}

    def get_metrics_dict(self, outputs, batch):
        return {}

    def get_image_metrics_and_images(self, outputs, batch):
        return {"error": float((outputs["rgb"] - batch["image"]).abs().mean())}, {"img": outputs["rgb"]}


def test_nerfstudios_pipeline_runs_on_it(own_clip):
    root, truth = own_clip(20)
    pipeline_config = VanillaPipelineConfig(
        datamanager=config(root), model=ConstantModelConfig(eval_num_rays_per_chunk=10000)
    )
    pipeline = pipeline_config.setup(device="cpu", test_mode="test")
    model = pipeline.model
    assert model.num_train_data == 16 and model.kwargs["metadata"]["basis_id"] == "custom"
    _, losses, _ = pipeline.get_train_loss_dict(0)
    losses["loss"].backward()
    assert model.color.grad is not None and model.color.grad.abs().sum() > 0
    pipeline.get_eval_loss_dict(0)
    pipeline.get_eval_image_metrics_and_images(0)
    model.seen.clear()
    metrics = pipeline.get_average_eval_image_metrics()
    assert 0 < metrics["error"] < 1
    for frame, seen in zip((18, 19), model.seen):
        assert torch.equal(seen[0], torch.from_numpy(truth.expressions[frame, :4]))
    assert pipeline.state_dict().keys() == {"_model.color", "_model.device_indicator_param"}


@pytest.mark.parametrize("target", ["head", "frame"])
def test_batches_hold_labels_where_something_is_before_the_face(own_clip, target):
    root, truth = own_clip(20)
    parser = NerfBlendshapeDataParserConfig(target=target)
    assert "labels" not in manager(root, dataparser=parser).next_train(0)[1]
    labels = truth.labels[3].copy()
    labels[40:56, 40:56] = Label.OCCLUDED
    file_io.save_image(root / "parsing" / "000003.png", labels)
    data = manager(root, dataparser=parser, frames_per_batch=16, train_num_rays_per_batch=4096, patch_size=16)
    _, batch = data.next_train(0)
    camera, row, column = batch["indices"].unbind(-1)
    assert torch.equal(batch["labels"][:, 0], data.train_dataset.labels[camera, row, column])
    assert bool((batch["alpha"][batch["labels"] == Label.OCCLUDED] == 1.0).all()), "the head is there"
    _, batch = data.next_eval(0)
    camera, row, column = batch["indices"].unbind(-1)
    assert torch.equal(batch["labels"][:, 0], data.eval_dataset.labels[camera, row, column])
