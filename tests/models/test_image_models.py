"""Every family of image classifiers, at every layer or stage, against two streams written out; and what holds for texts."""

import copy
import io

import pytest
import torch
from tiny import (
    IMAGE_FAMILIES,
    IMAGE_SIZE,
    IMAGE_VARIANTS,
    WITHOUT_CHECKPOINTING,
    tiny_image_model,
    tiny_images,
    variant_name,
)
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from two_streams import two_stream_image_logits

from mixtext_hf import MixableModelForImageClassification
from mixtext_hf.functional import MixPlan, make_mixable


INDEX = torch.tensor([2, 0, 3, 1])
LAM = torch.tensor([0.3, 0.6, 1.0, 0.8])
# A row with lambda 1 is its own partner in the reference as well.
PARTNER = torch.where(LAM == 1, torch.arange(4), INDEX)
DEPTHS = {"efficientnet": 7, "mobilenet_v1": 26, "mobilenet_v2": 16, "mobilevit": 5, "mobilevitv2": 5}
# These find their place in an image from its config, or take the root of the number of patches.
SQUARES_ONLY = {"clip", "dinov2", "dinov2_with_registers", "levit", "metaclip_2", "siglip"}


def mixed_logits(model, layer, index=INDEX, lam=LAM, batch=None, **arguments):
    batch = batch or tiny_images(model.config.model_type)
    with model.mixer.applying(MixPlan(index, lam, layer=layer, **arguments)):
        return model(**batch).logits


def mixable(*arguments, **options):
    model = tiny_image_model(*arguments, **options)
    make_mixable(model)
    return model


def layers_of(model):
    return [*range(model.mixer.depth + 1), "head"]


# ---- every family ----


@torch.no_grad()
@pytest.mark.parametrize("family, overrides", IMAGE_VARIANTS, ids=variant_name)
def test_equals_two_streams_at_every_layer(family, overrides):
    model = tiny_image_model(family, **overrides)
    batch = tiny_images(family)
    assert tuple(batch["pixel_values"].shape[2:]) == IMAGE_SIZE or family in SQUARES_ONLY | {"mobilevitv2"}
    plain = model(**batch).logits
    expected = dict(enumerate(two_stream_image_logits(model, batch, PARTNER, LAM)))
    # The last layers are affine, so their outputs are mixed as their inputs are.
    expected["head"] = LAM[:, None] * plain + (1 - LAM[:, None]) * plain[PARTNER]
    kind, keys = type(model), list(model.state_dict())

    mixer = make_mixable(model)
    assert mixer.depth == DEPTHS.get(family, 3)
    assert type(model) is kind and list(model.state_dict()) == keys
    assert torch.equal(model(**batch).logits, plain)
    assert list(expected) == layers_of(model)
    scale = plain.abs().max()
    for layer in expected:
        mixed = mixed_logits(model, layer)
        torch.testing.assert_close(mixed / scale, expected[layer] / scale, rtol=1e-5, atol=1e-5)
        assert (mixed[0] - plain[0]).abs().max() > 1e-2 * scale
        assert torch.equal(mixed_logits(model, layer, lam=torch.ones(4)), plain)
        swapped = mixed_logits(model, layer, lam=torch.zeros(4))
        torch.testing.assert_close(swapped / scale, plain[INDEX] / scale, rtol=1e-5, atol=1e-5)
        # Nothing of an image is padding.
        assert torch.equal(mixed_logits(model, layer, pad="keep"), mixed)


@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_gradients_reach_both_partners_and_nobody_else(family):
    model = mixable(family)
    batch = tiny_images(family)
    pixel_values = batch["pixel_values"].requires_grad_()
    # Levit keeps in evaluation mode what it first computed: a gradient there could be asked for once alone.
    model.requires_grad_(False)
    for layer in (0, 1, "head"):
        (gradient,) = torch.autograd.grad(mixed_logits(model, layer, batch=batch)[0].sum(), pixel_values)
        by_row = gradient.abs().amax(dim=(1, 2, 3))
        assert by_row[0] > 0 and by_row[2] > 0
        assert by_row[1] == 0 and by_row[3] == 0


@torch.no_grad()
@pytest.mark.parametrize("family", IMAGE_FAMILIES)
def test_a_saved_model_loads_in_plain_transformers(family, tmp_path):
    model = mixable(family)
    batch = tiny_images(family)
    mixed_logits(model, 1)
    model.save_pretrained(tmp_path)
    plain = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(plain) is type(model) and not hasattr(plain, "mixer")
    assert plain.state_dict().keys() == model.state_dict().keys()
    torch.testing.assert_close(plain(**batch).logits, model(**batch).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
@pytest.mark.parametrize("family", [f for f in IMAGE_FAMILIES if f not in WITHOUT_CHECKPOINTING])
def test_gradients_are_the_same_with_activation_checkpointing(family, reentrant):
    if family == "pvt_v2" and reentrant:
        pytest.skip("its states come in a tuple within a tuple, where reentrant checkpoints lose their gradient")
    model = mixable(family).train()
    batch = tiny_images(family)
    # Reentrant checkpoints pass on no gradient where no input has one.
    batch["pixel_values"].requires_grad_()

    def gradients(model, layer):
        model.zero_grad()
        mixed_logits(model, layer, batch=batch).square().sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    expected = {layer: gradients(model, layer) for layer in (0, 1)}
    model.zero_grad()
    model = copy.deepcopy(model)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
    for layer, reference in expected.items():
        actual = gradients(model, layer)
        assert actual.keys() == reference.keys()
        for name, value in reference.items():
            where = f"layer {layer}, {name}"
            torch.testing.assert_close(
                actual[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, where=where: f"{where}: {m}"
            )


def test_two_pending_plans_where_an_embedding_lies_inside_the_checkpoint_are_refused():
    model = mixable("pvt_v2").train()
    model.gradient_checkpointing_enable()
    first = mixed_logits(model, 0).sum()
    mixed_logits(model, 2).sum()
    with pytest.raises(RuntimeError, match="two forward passes with different mix plans"):
        first.backward()
    # It recovers: the next step is fine.
    mixed_logits(model, 0).sum().backward()


# ---- what holds for texts ----


def test_batch_norms_see_the_same_batch_in_both_streams():
    """In training: stream B is the batch in another order, and so the statistics are the same."""
    lam = torch.tensor([0.3, 0.6, 0.9, 0.8])
    model = tiny_image_model("resnet").train()
    expected = two_stream_image_logits(model, tiny_images("resnet"), INDEX, lam)
    make_mixable(model)
    for layer, logits in enumerate(expected):
        torch.testing.assert_close(mixed_logits(model, layer, lam=lam), logits, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_loading_and_making(tmp_path):
    model = mixable("deit")
    model.save_pretrained(tmp_path)
    loaded = MixableModelForImageClassification.from_pretrained(tmp_path).eval()
    assert type(loaded) is type(model) and make_mixable(loaded) is loaded.mixer
    torch.testing.assert_close(mixed_logits(loaded, 1), mixed_logits(model, 1), rtol=1e-5, atol=1e-5)
    made = MixableModelForImageClassification.from_config(tiny_image_model("resnet").config)
    assert type(made) is ResNetForImageClassification and made.mixer.depth == 3
    with pytest.raises(OSError, match=r"is a loader: use MixableModelForImageClassification\.from_pretrained"):
        MixableModelForImageClassification()


@pytest.mark.parametrize("family, head", [("clip", "classifier"), ("resnet", "classifier.1"), ("vit", "classifier")])
def test_head_parameters_are_those_outside_the_encoder(family, head):
    model = mixable(family)
    ids = {id(p) for p in model.mixer.head_parameters()}
    names = {name for name, p in model.named_parameters() if id(p) in ids}
    assert names == {f"{head}.weight", f"{head}.bias"}


@pytest.mark.parametrize("family", ["vit", "resnet", "deit", "segformer"])
def test_copies_and_pickles_have_a_mixer_of_their_own(family):
    teacher = {"architecture": "DeiTForImageClassificationWithTeacher"} if family == "deit" else {}
    model = mixable(family, **teacher)
    batch = tiny_images(family)
    with torch.no_grad():
        plain = model(**batch).logits
        expected = {layer: mixed_logits(model, layer) for layer in layers_of(model)}
        buffer = io.BytesIO()
        torch.save(model, buffer)
        buffer.seek(0)
        for twin in (copy.deepcopy(model), torch.load(buffer, weights_only=False)):
            assert twin.mixer is not model.mixer and twin.mixer.stack.model is twin
            for layer, logits in expected.items():
                assert torch.equal(mixed_logits(twin, layer), logits)
                with twin.mixer.applying(MixPlan(INDEX, LAM, layer=layer)):
                    assert torch.equal(model(**batch).logits, plain)


@torch.no_grad()
@pytest.mark.parametrize("family", ["convnext", "resnet", "swin", "vit"])
def test_dtypes_are_kept_in_bfloat16(family):
    model = mixable(family)
    batch = tiny_images(family)
    reference = {layer: mixed_logits(model, layer) for layer in layers_of(model)}
    for layer, logits in reference.items():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = mixed_logits(model, layer).float()
        torch.testing.assert_close(mixed, logits, rtol=0.1, atol=0.1 * float(logits.abs().max()))
    model.bfloat16()
    batch["pixel_values"] = batch["pixel_values"].bfloat16()
    for layer, logits in reference.items():
        mixed = mixed_logits(model, layer, batch=batch)
        assert mixed.dtype == torch.bfloat16
        torch.testing.assert_close(mixed.float(), logits, rtol=0.1, atol=0.1 * float(logits.abs().max()))


@pytest.mark.parametrize("order", ["mixable first", "PEFT first"])
def test_peft_around_a_vit_equals_the_merged_model_mixed_by_hand(order):
    peft = pytest.importorskip("peft")
    model, batch = tiny_image_model("vit"), tiny_images()
    if order == "mixable first":
        make_mixable(model)
    config = peft.LoraConfig(
        r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"], init_lora_weights=False
    )
    model = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.dim() > 1:
                parameter.normal_(std=0.2)
        merged = copy.deepcopy(model).merge_and_unload()
        plain = type(merged)(merged.config).eval()
        plain.load_state_dict(merged.state_dict())
        logits = plain(**batch).logits
        expected = dict(enumerate(two_stream_image_logits(plain, batch, PARTNER, LAM)))
        expected["head"] = LAM[:, None] * logits + (1 - LAM[:, None]) * logits[PARTNER]
        mixer = make_mixable(model)
        for layer in expected:
            with mixer.applying(MixPlan(INDEX, LAM, layer=layer)):
                mixed = model(**batch).logits
            torch.testing.assert_close(mixed, expected[layer], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(**batch).logits, logits, rtol=1e-4, atol=1e-5)


# ---- what is refused, and what the probe says of types that nobody tested ----

_PYRAMID = {"hidden_sizes": [8, 8], "depths": [1, 1], "num_encoder_blocks": 2}
REFUSED = {
    "cvt": ({"embed_dim": [8, 8, 8], "num_heads": [1, 1, 1], "depth": [1, 2, 3]}, "class token leaves the last stage"),
    "poolformer": (
        {**_PYRAMID, "patch_sizes": [7, 3], "strides": [4, 2], "padding": [2, 1]},
        "patch embeddings and blocks in two lists",
    ),
    "pvt": (
        {
            **_PYRAMID,
            "image_size": 32,
            "sequence_reduction_ratios": [2, 1],
            "patch_sizes": [4, 2],
            "strides": [4, 2],
            "num_attention_heads": [1, 1],
            "mlp_ratios": [2, 2],
        },
        "patch embeddings and blocks in two lists",
    ),
    "siglip2": (
        {
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 16,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
            }
        },
        "pools with their mask",
    ),
}


def hooks_of(model):
    return [dict(hooks) for m in model.modules() for hooks in (m._forward_pre_hooks, m._forward_hooks)]


def assert_refused_without_a_trace(model, message):
    hooks, state = hooks_of(model), {name: value.clone() for name, value in model.state_dict().items()}
    flags, random_state = [module.training for module in model.modules()], torch.get_rng_state()
    with pytest.raises(ValueError, match=message):
        make_mixable(model)
    assert hooks_of(model) == hooks and not hasattr(model, "mixer")
    assert [module.training for module in model.modules()] == flags
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)


@pytest.mark.parametrize("model_type", REFUSED)
def test_types_that_are_known_not_to_work_are_refused_with_the_reason(model_type):
    overrides, reason = REFUSED[model_type]
    model = AutoModelForImageClassification.from_config(AutoConfig.for_model(model_type, **overrides))
    assert_refused_without_a_trace(model, f"Models of type '{model_type}' cannot be mixed: .*{reason}")


def test_models_whose_config_does_not_name_one_list_of_layers_are_refused():
    perceiver = {"num_latents": 4, "d_latents": 16, "d_model": 16, "num_self_attends_per_block": 1, "image_size": 8}
    config = AutoConfig.for_model("perceiver", **perceiver)
    config.architectures = ["PerceiverForImageClassificationLearned"]
    model = AutoModelForImageClassification.from_config(config)
    assert_refused_without_a_trace(model, r"Perceiver.* names neither `num_hidden_layers` nor `depths`")
    # Stages and what lies between them stand in one list.
    config = AutoConfig.for_model("swiftformer", depths=[1, 1, 1, 1], embed_dims=[8, 8, 8, 8])
    model = AutoModelForImageClassification.from_config(config)
    assert_refused_without_a_trace(model, "No list of 4 layers was found in SwiftFormerForImageClassification")


class UnknownViTConfig(ViTConfig):
    model_type = "unknown_vit"


class UnknownViT(ViTForImageClassification):
    config_class = UnknownViTConfig


class HeadReadsPixels(UnknownViT):
    def forward(self, pixel_values=None, **kwargs):
        output = super().forward(pixel_values=pixel_values, **kwargs)
        output.logits = output.logits + pixel_values.mean(dim=(2, 3))
        return output


class UnknownResNetConfig(ResNetConfig):
    model_type = "unknown_resnet"


class UnknownResNet(ResNetForImageClassification):
    config_class = UnknownResNetConfig


def unknown(kind, config, family):
    """An untested type with the weights of a tiny model of a tested one."""
    tested = tiny_image_model(family)
    values = {name: value for name, value in tested.config.to_dict().items() if name != "model_type"}
    model = kind(config(**values))
    model.load_state_dict(tested.state_dict())
    return model


@pytest.mark.parametrize(
    "kind, config, family",
    [(UnknownViT, UnknownViTConfig, "vit"), (UnknownResNet, UnknownResNetConfig, "resnet")],
    ids=["vit", "resnet"],
)
def test_an_unknown_type_that_is_right_passes_and_stays_what_it_was(kind, config, family):
    model = unknown(kind, config, family).train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    mixer = make_mixable(model)
    assert mixer.depth == 3 and len(mixer.stack.heads) == 1 and mixer.stack.pads_are_defined
    # The running statistics of batch norms included.
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_a_head_that_reads_the_pixels_is_refused():
    model = unknown(HeadReadsPixels, UnknownViTConfig, "vit")
    assert_refused_without_a_trace(model, r"mixing at layer 0 would be wrong: lambda 0 must turn a row")


def test_a_type_without_a_base_model_has_layers_but_no_head():
    config = AutoConfig.for_model(
        "hgnet_v2",
        num_labels=3,
        depths=[1, 1, 1],
        hidden_sizes=[8, 8, 16],
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 8],
        stage_mid_channels=[8, 8, 8],
        stage_out_channels=[8, 8, 16],
        stage_num_blocks=[1, 1, 1],
        stage_downsample=[False, True, True],
        stage_downsample_strides=[2, 2, 2],
        stage_light_block=[False, False, True],
        stage_kernel_size=[3, 3, 3],
        stage_numb_of_layers=[1, 1, 1],
    )
    model = AutoModelForImageClassification.from_config(config).eval()
    mixer = make_mixable(model)
    assert mixer.depth == 3
    with pytest.raises(ValueError, match="has no final linear layer outside its base model"):
        mixer.check_layer("head")


def test_an_image_model_without_logits_cannot_be_probed():
    values = {name: value for name, value in tiny_image_model("vit").config.to_dict().items() if name != "model_type"}
    headless = UnknownViT(UnknownViTConfig(**values)).base_model
    assert_refused_without_a_trace(headless, "fails: .*logits")
