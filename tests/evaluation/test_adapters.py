"""Models that are not ours, on small models of the same form; embeddings from a file."""

import json

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
    assert torch.allclose(model.encode_images(IMAGES[1:2])[0], images[1], atol=1e-5)  # each by itself
    assert torch.allclose(model.encode_reports(REPORTS[1:2])[0], reports[1], atol=1e-5)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """A CLIP of a few thousand weights, saved as users have them."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    folder = tmp_path_factory.mktemp("clip")
    characters = list("abcdefghijklmnopqrstuvwxyz")
    vocabulary = {
        t: i for i, t in enumerate([*characters, *(c + "</w>" for c in characters), "<|startoftext|>", "<|endoftext|>"])
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    files = {"vocab_file": str(folder / "vocab.json"), "merges_file": str(folder / "merges.txt")}
    tokenizer = CLIPTokenizerFast(**files, model_max_length=40)
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


def test_our_checkpoints(tiny_config, tmp_path):
    model = build_model(tiny_config, 0, REPORTS)[0].eval()
    model.save_pretrained(tmp_path)
    check(PRDAdapter(model), 16)
    assert torch.equal(load_model(str(tmp_path)).encode_reports(REPORTS), PRDAdapter(model).encode_reports(REPORTS))


def test_a_clip_of_transformers_from_its_folder(clip_folder):
    check(TransformersCLIP(str(clip_folder)), 16)
    assert isinstance(load_model(f"clip:{clip_folder}"), TransformersCLIP)
    assert isinstance(load_model(str(clip_folder)), TransformersCLIP)


def test_a_model_of_open_clip_from_a_local_file(tmp_path):
    import open_clip

    torch.manual_seed(0)
    small = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
             "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    (tmp_path / "prdlib_small.json").write_text(json.dumps(small))
    open_clip.add_model_config(tmp_path / "prdlib_small.json")
    model = open_clip.create_model("prdlib_small")
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    check(load_model(f"open_clip:prdlib_small:{tmp_path / 'weights.pt'}"), 16)
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
    (tmp_path / "bad.npz").write_bytes(b"no zip")
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
