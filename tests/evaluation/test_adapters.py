"""Models that are not ours, on small models of the same form; embeddings from a file."""

import json
import shutil

import numpy as np
import pytest
import torch

from prdlib.evaluation.adapters import (
    AdapterError,
    DualEncoder,
    OpenCLIP,
    PRDAdapter,
    StoredEmbeddings,
    TransformersCLIP,
    export_inputs,
    image_key,
    load_model,
    report_key,
)
from prdlib.evaluation.benchmark_set import make_benchmark_set
from prdlib.models import WeightsError, build_model

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 40, 40), dtype=np.uint8)
REPORTS = ["small left effusion", "no effusion", "the heart is large and the lungs are clear"]


def check(model, width):
    assert isinstance(model, DualEncoder)
    images, reports = model.encode_images(IMAGES), model.encode_reports(REPORTS)
    assert images.shape == reports.shape == (3, width)
    assert torch.allclose(images.norm(dim=1), torch.ones(3, dtype=images.dtype), atol=1e-5)
    assert torch.allclose(reports.norm(dim=1), torch.ones(3, dtype=images.dtype), atol=1e-5)
    for i in range(3):  # each by itself
        assert torch.allclose(model.encode_images(IMAGES[i : i + 1])[0], images[i], atol=1e-5)
        assert torch.allclose(model.encode_reports(REPORTS[i : i + 1])[0], reports[i], atol=1e-5)
    for i, j in ((0, 1), (0, 2), (1, 2)):  # and each its own
        assert not torch.allclose(images[i], images[j], atol=1e-3)
        assert not torch.allclose(reports[i], reports[j], atol=1e-3)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A CLIP of a few thousand weights, saved as users have them."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    characters = list("abcdefghijklmnopqrstuvwxyz")
    vocabulary = {
        t: i for i, t in enumerate([*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"])
    }
    tokenizer = CLIPTokenizerFast(vocab=vocabulary, merges=[], model_max_length=40)
    small = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**small, "vocab_size": len(vocabulary), "max_position_embeddings": 40, "projection_dim": 16,
                     "eos_token_id": vocabulary["<|endoftext|>"], "bos_token_id": vocabulary["<|startoftext|>"]},
        vision_config={**small, "image_size": 32, "patch_size": 16, "projection_dim": 16}, projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=[12, None])
def siglip_folder(request, tmp_path_factory):
    """A SigLIP likewise; SigLIP 2 saves a tokenizer that knows no longest text."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SiglipConfig, SiglipImageProcessor, SiglipModel, SiglipProcessor

    folder = tmp_path_factory.mktemp("siglip")
    words = ["</s>", "<unk>", *dict.fromkeys(" ".join(REPORTS).split())]
    pieces = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="</s>", unk_token="<unk>", model_max_length=request.param
    )
    small = {"hidden_size": 16, "intermediate_size": 17, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**small, "vocab_size": len(words), "max_position_embeddings": 12},
        vision_config={**small, "image_size": 32, "patch_size": 16},
    )
    torch.manual_seed(0)
    SiglipModel(config).save_pretrained(folder)
    SiglipProcessor(SiglipImageProcessor(size={"height": 32, "width": 32}), tokenizer).save_pretrained(folder)
    return folder


def test_our_checkpoints(tiny_config, tmp_path):
    model = build_model(tiny_config, 0, REPORTS)[0].eval()
    model.save_pretrained(tmp_path)
    check(PRDAdapter(model), 16)
    assert torch.equal(load_model(str(tmp_path)).encode_reports(REPORTS), PRDAdapter(model).encode_reports(REPORTS))


def test_a_clip_of_transformers_from_its_folder(clip_folder):
    check(TransformersCLIP(str(clip_folder)), 16)
    assert isinstance(load_model(f"clip:{clip_folder}"), TransformersCLIP)
    assert isinstance(load_model(str(clip_folder)), TransformersCLIP)


def test_a_siglip_reads_a_text_alone_as_in_a_batch(siglip_folder):
    model = load_model(str(siglip_folder))
    check(model, 16)
    assert model.context == 12
    tokens = model.processor.tokenizer(REPORTS[:1], padding="max_length", max_length=12, return_tensors="pt").input_ids
    expected = model.model.get_text_features(input_ids=tokens).pooler_output  # as it was trained: to the end, no mask
    assert torch.allclose(model.encode_reports(REPORTS)[:1], torch.nn.functional.normalize(expected), atol=1e-5)


def test_texts_longer_than_the_context_are_counted(clip_folder, siglip_folder):
    assert TransformersCLIP(str(clip_folder)).cut(["a" * 38, "a" * 39, "no"]) == 1  # 40 tokens with start and end
    assert TransformersCLIP(str(siglip_folder)).cut(["no " * 12, "no " * 13]) == 1


def test_a_model_of_open_clip_from_a_local_file(tmp_path):
    import open_clip

    torch.manual_seed(0)
    small = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
             "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    (tmp_path / "prdlib_small.json").write_text(json.dumps(small))
    open_clip.add_model_config(tmp_path / "prdlib_small.json")
    model = open_clip.create_model("prdlib_small")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    loaded = load_model(f"open_clip:prdlib_small:{tmp_path / 'weights.pt'}")
    check(loaded, 16)
    assert loaded.cut(["no " * 75, "no " * 76]) == 1  # 77 tokens with start and end
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(AdapterError, match="open_clip cannot make 'prdlib_small' with the weights"):
        OpenCLIP("prdlib_small", str(tmp_path / "junk.pt"))
    with pytest.raises(AdapterError, match="knows no architecture 'RN49'"):
        OpenCLIP("RN49")
    with pytest.raises(AdapterError, match="No weights file"):
        OpenCLIP("RN50", str(tmp_path / "missing.pt"))


def stored(folder, **changes):
    arrays = {
        "image_keys": np.array([image_key(i) for i in IMAGES]), "image_embeds": np.eye(3, 4),
        "report_keys": np.array([report_key(r) for r in REPORTS]), "report_embeds": np.eye(3, 4)[::-1].copy(),
    } | changes  # fmt: skip
    np.savez(folder / "e.npz", **{k: v for k, v in arrays.items() if v is not None})
    return folder / "e.npz"


def test_embeddings_from_a_file(tmp_path):
    model = load_model(str(stored(tmp_path)))
    check(model, 4)
    with pytest.raises(AdapterError, match="no report embedding for 1 of 1 keys"):
        model.encode_reports(["a report that nobody embedded"])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"report_keys": None}, "lacks report_keys"),
        ({"image_embeds": np.eye(2, 4)}, r"image_embeds must be finite numbers \[3, D\]"),
        ({"image_embeds": np.full((3, 4), np.nan)}, "must be finite"),
        ({"image_embeds": np.eye(3, 5)}, "different widths"),
        ({"image_embeds": np.array([{}, {}, {}], dtype=object)}, "not an .npz file of plain arrays"),
        ({"image_embeds": np.full((3, 4), "a")}, "must be finite numbers"),
        ({"image_embeds": np.array(1.0)}, "must be finite numbers"),
        ({"report_keys": np.array("a")}, "report_keys must be a list of texts"),
        ({"report_keys": np.arange(3)}, "report_keys must be a list of texts"),
    ],
)
def test_a_bad_file_of_embeddings_is_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(AdapterError, match=sentence):
        StoredEmbeddings(stored(tmp_path, **changes))


def test_what_is_no_model_is_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match="No model at"):
        load_model(str(tmp_path / "nothing"))
    with pytest.raises(AdapterError, match="No CLIP-like model"):
        load_model(f"clip:{tmp_path}")
    with pytest.raises(AdapterError, match="No embeddings"):
        load_model(str(tmp_path / "x.npz"))
    for text in ("{", "[1]", '"prd"'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(WeightsError, match="write the model again"):
            load_model(str(tmp_path))
        with pytest.raises(AdapterError, match="No CLIP-like model"):
            load_model(f"clip:{tmp_path}")


def test_weights_that_are_none_are_one_sentence(clip_folder, tmp_path):
    shutil.copytree(clip_folder, tmp_path / "clip")
    (tmp_path / "clip" / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(AdapterError, match="No CLIP-like model"):
        load_model(str(tmp_path / "clip"))


def test_a_file_that_is_no_npz_is_one_sentence(tmp_path):
    np.save(tmp_path / "plain.npy", np.eye(3))
    whole = stored(tmp_path).read_bytes()
    damaged = whole[:200] + bytes(80) + whole[280:]
    for content in (b"no zip", b"", (tmp_path / "plain.npy").read_bytes(), whole[: len(whole) // 2], damaged):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(AdapterError, match=r"not an .npz file"):
            load_model(str(tmp_path / "bad.npz"))


def test_everything_that_is_asked_for_is_exported_with_its_key(tiny_data, tmp_path):
    from PIL import Image

    from prdlib.data.batches import EvaluationData

    test = EvaluationData.first_views(tiny_data["test"])
    made = make_benchmark_set(test.tagged, test.study_ids, ("swap_laterality", "shuffle_trigrams"), source="phantom")
    number = export_inputs(tmp_path, test.images, [made])
    lines = [json.loads(line) for line in (tmp_path / "reports.jsonl").read_text().splitlines()]
    keys = {line["key"] for line in lines}
    copies = [c for column in made.copies.values() for c in column if c is not None]
    assert {report_key(" ".join(words)) for words in (*made.originals, *copies)} == keys
    assert all(report_key(line["report"]) == line["key"] for line in lines)
    pictures = {p.stem: np.asarray(Image.open(p)) for p in (tmp_path / "images").glob("*.png")}
    assert {image_key(i) for i in test.images} == set(pictures)
    assert all(image_key(image) == key for key, image in pictures.items())
    assert number == len(keys) + len(pictures)
