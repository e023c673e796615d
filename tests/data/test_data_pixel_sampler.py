import pytest
import torch
from tiny_clips import SIZE

from nerfblendshape_ns.data.contract import Label
from nerfblendshape_ns.data.dataparser import NerfBlendshapeDataParserConfig
from nerfblendshape_ns.data.dataset import NerfBlendshapeDataset
from nerfblendshape_ns.data.pixel_sampler import RegionPixelSampler, RegionPixelSamplerConfig


def loaded(root) -> NerfBlendshapeDataset:
    dataset = NerfBlendshapeDataset(NerfBlendshapeDataParserConfig(data=root).setup().get_dataparser_outputs("train"))
    dataset.load()
    return dataset


def draw(sampler: RegionPixelSampler, frame: int, num_rays: int, seed: int = 0) -> dict:
    """Pixels x, y of each region."""
    pixels = sampler.sample(frame, num_rays, torch.Generator().manual_seed(seed))
    positions = torch.stack([pixels % SIZE, torch.div(pixels, SIZE, rounding_mode="floor")], -1)
    counts = sampler.region_counts(num_rays)
    return dict(zip(counts, positions.split(list(counts.values()))))


def inside(positions: torch.Tensor, rect) -> bool:
    x, y, width, height = rect
    low, high = torch.tensor([x, y]), torch.tensor([x + width, y + height])
    return bool(((positions >= low) & (positions < high)).all())


def test_region_counts(own_clip):
    root, _ = own_clip(12)
    weights = dict(face=1.0, mouth=2.0, eyes=1.0, head=3.0, ring=1.0, seam=0.0, rest=2.0)
    sampler = RegionPixelSampler(RegionPixelSamplerConfig(**weights), loaded(root))
    none = {"torso": 0, "seam": 0}
    expected = {"face": 10, "mouth": 20, "eyes": 10, "head": 30, "ring": 10, "rest": 20}
    assert sampler.region_counts(100) == {**expected, **none}
    # 13 rays: shares 1.3, 2.6, 1.3, 3.9, 1.3, 2.6; what is left after rounding down goes to the largest fractions.
    assert sampler.region_counts(13) == {"face": 1, "mouth": 3, "eyes": 1, "head": 4, "ring": 1, "rest": 3, **none}
    assert all(sum(sampler.region_counts(count).values()) == count for count in range(60))


def test_pixels_lie_in_their_regions(own_clip):
    root, truth = own_clip(12)
    dataset = loaded(root)
    sampler = RegionPixelSampler(RegionPixelSamplerConfig(ring_width=0.03), dataset)
    drawn = draw(sampler, 5, 2000)
    assert inside(drawn["face"], truth.face_rect) and inside(drawn["mouth"], truth.lip_rect)
    eyes = dataset.regions["eyes"][5].tolist()
    first = (len(drawn["eyes"]) + 1) // 2
    assert first > 50 and inside(drawn["eyes"][:first], eyes[0]) and inside(drawn["eyes"][first:], eyes[1])
    labels = dataset.labels[5]
    for region in ("face", "mouth", "eyes", "head"):
        on_head = labels[drawn[region][:, 1], drawn[region][:, 0]] == Label.HEAD
        assert on_head.float().mean() > 0.99
    # The head's rays reach all of the head, those of the rest all of the image.
    head = (labels == Label.HEAD).nonzero().flip(-1)
    assert (drawn["head"].amin(0) <= head.amin(0) + 4).all() and (drawn["head"].amax(0) >= head.amax(0) - 4).all()
    assert (drawn["rest"].amin(0) <= 3).all() and (drawn["rest"].amax(0) >= SIZE - 4).all()


def test_ring_surrounds_the_outline(own_clip):
    root, _ = own_clip(12)
    dataset = loaded(root)
    config = RegionPixelSamplerConfig(face=0, mouth=0, eyes=0, head=0, rest=0, ring=1, ring_width=0.04)
    ring = draw(RegionPixelSampler(config, dataset), 0, 3000)["ring"].float()
    # The ball appears as a disc of radius 10 / sqrt(60² - 10²) * 150 = 25.35 pixels round the image's middle.
    radius = (ring + 0.5 - SIZE / 2).norm(dim=-1)
    # An outermost pixel lies up to its diagonal further in, and a place is rounded by up to half of one.
    reach = 0.04 * SIZE * 2**0.5 + 1.5 * 2**0.5
    assert radius.min() > 25.35 - reach and radius.max() < 25.35 + reach
    on_head = dataset.labels[0][ring[:, 1].long(), ring[:, 0].long()] == Label.HEAD
    assert 0.3 < on_head.float().mean() < 0.7
    right, below = (ring + 0.5 > SIZE / 2).float().mean(0).tolist()
    assert 0.4 < right < 0.6 and 0.4 < below < 0.6, "all round it"


def test_the_seam_is_where_the_head_meets_neck_or_torso(own_clip):
    root, _ = own_clip(12)
    dataset = loaded(root)
    only = {name: 0.0 for name in ("face", "mouth", "eyes", "head", "ring", "rest")}
    sampler = RegionPixelSampler(RegionPixelSamplerConfig(**only, seam=1.0, ring_width=0.02), dataset)
    drawn = draw(sampler, 0, 2000)["seam"].float()
    labels = dataset.labels[0]
    below = (labels == Label.NECK) | (labels == Label.TORSO)
    near = torch.nn.functional.max_pool2d(below[None].float(), 3, 1, 1)[0] > 0
    meets = ((labels == Label.HEAD) & near).nonzero().flip(-1).float()
    # The ball's lower end lies on the neck, 19 pixels wide.
    assert 5 < len(meets) < 40 and meets[:, 1].min() > 0.7 * SIZE
    assert float(torch.cdist(drawn, meets).amin(1).max()) <= (0.02 * SIZE + 0.5) * 2**0.5
    assert float(torch.cdist(meets, drawn).amin(1).max()) <= 2.0, "all of it is drawn"


def test_regions_without_rects_fall_back_to_the_head(unofficial_clip):
    root, _ = unofficial_clip(12)
    dataset = loaded(root)
    eyes = draw(RegionPixelSampler(RegionPixelSamplerConfig(), dataset), 3, 1000)["eyes"]
    assert (dataset.labels[3][eyes[:, 1], eyes[:, 0]] == Label.HEAD).float().mean() > 0.99
    assert (eyes.amax(0) - eyes.amin(0)).min() > 30


def test_a_frame_without_a_head_is_sampled_everywhere(own_clip):
    root, _ = own_clip(12)
    dataset = loaded(root)
    dataset.labels[4] = Label.BACKGROUND
    dataset.metadata["regions"] = {name: torch.zeros_like(rects) for name, rects in dataset.regions.items()}
    drawn = draw(RegionPixelSampler(RegionPixelSamplerConfig(), dataset), 4, 2000)
    for region in ("face", "head", "ring"):
        assert (drawn[region].amax(0) - drawn[region].amin(0)).min() > 0.9 * SIZE


def test_patches_are_squares_inside_the_image_round_the_face(own_clip):
    root, truth = own_clip(12)
    sampler = RegionPixelSampler(RegionPixelSamplerConfig(), loaded(root))
    pixels = sampler.draw(torch.tensor([2]), [50 * 16**2 + 7], torch.Generator().manual_seed(0), 50, 16)
    patches = pixels[:-7].view(50, 16, 16)
    y, x = torch.div(patches, SIZE, rounding_mode="floor"), patches % SIZE
    assert len(patches.unique()) > 5 * 16**2
    assert (y[:, 1:] - y[:, :-1] == 1).all() and (x[:, :, 1:] - x[:, :, :-1] == 1).all()
    assert (y == y[:, :, :1]).all() and (x == x[:, :1]).all()
    left, top, width, height = truth.face_rect
    centre_x, centre_y = x[:, 0, 0] + 8, y[:, 0, 0] + 8
    assert (centre_x >= left).all() and (centre_x <= left + width).all()
    assert (centre_y >= top).all() and (centre_y <= top + height).all()
    # As large as the image still fits.
    assert sampler.draw(torch.tensor([2]), [3 * SIZE**2], torch.Generator(), 3, SIZE)[0] == 0


def test_patches_lie_on_regions_by_weight(own_clip):
    root, truth = own_clip(12)
    config = RegionPixelSamplerConfig(patch_mouth=0.6, patch_eyes=0.4, patch_face=0.0)
    sampler = RegionPixelSampler(config, loaded(root))
    pixels = sampler.draw(torch.tensor([5]), [2000 * 9], torch.Generator().manual_seed(0), 2000, 3)[4::9]
    middles = torch.stack([pixels % SIZE, torch.div(pixels, SIZE, rounding_mode="floor")], -1)
    x, y, width, height = truth.lip_rect
    low, high = torch.tensor([x, y]) - 1, torch.tensor([x + width, y + height]) + 1
    on_mouth = ((middles >= low) & (middles <= high)).all(1).float().mean()
    assert float(on_mouth) == pytest.approx(0.6, abs=0.05)


def test_frames_of_a_batch_are_drawn_alike(own_clip):
    """Each as by itself: its own regions, one frame after the other."""
    root, _ = own_clip(12)
    dataset = loaded(root)
    dataset.labels[4] = Label.BACKGROUND
    sampler = RegionPixelSampler(RegionPixelSamplerConfig(face=0, mouth=0, eyes=0, head=1, rest=0), dataset)
    pixels = sampler.draw(torch.tensor([3, 4, 3]), [500, 300, 400], torch.Generator().manual_seed(0))
    on_head = [
        float((dataset.labels[frame].flatten()[some] == Label.HEAD).float().mean())
        for frame, some in zip((3, 4, 3), pixels.split([500, 300, 400]))
    ]
    assert min(on_head[0], on_head[2]) > 0.7 and on_head[1] == 0.0
    counts = sampler.region_counts(400)
    last = dataset.labels[3].flatten()[pixels[-400:][: counts["head"]]]
    assert (last == Label.HEAD).float().mean() > 0.99


def test_draws_depend_on_the_generator_alone(own_clip):
    root, _ = own_clip(12)
    sampler = RegionPixelSampler(RegionPixelSamplerConfig(), loaded(root))
    first, again, other = (sampler.sample(1, 64, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
