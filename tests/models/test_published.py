"""Published weights: found on disk, fetched from a hub that is a folder here, or one sentence; no remote code is run."""

import json
import shutil
from fnmatch import fnmatch

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from torchvision.models import resnet50
from transformers import BertConfig, BertModel, DistilBertConfig, RobertaConfig

from prdlib.config import load_profile
from prdlib.models import PRDConfig, PRDModel, WeightsError, build_model, published
from prdlib.models.model_card import model_card
from prdlib.models.text_encoder import ProjectionHead, load_text_weights, max_pieces, read_text_config, read_tokenizer

CXR_BERT = "microsoft/BiomedVLP-CXR-BERT-specialized"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "small", "left", "pleural", "effusion", "no", "##s"]


def write_cxr_bert(folder, dim=128):
    """CXR-BERT's files with small tensors; its remote code would leave a mark."""
    folder.mkdir(parents=True)
    config = BertConfig(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=20,
    )  # fmt: skip
    bert, head = BertModel(config, add_pooling_layer=False), ProjectionHead(32, dim)
    state = {f"bert.{k}": v for k, v in bert.state_dict().items()}
    state |= {f"cls_projection_head.{k}": v for k, v in head.state_dict().items()}
    torch.save(state, folder / "pytorch_model.bin")
    remote = {"AutoConfig": "configuration_cxrbert.CXRBertConfig", "AutoModel": "modeling_cxrbert.CXRBertModel"}
    settings = {**config.to_dict(), "model_type": "cxr-bert", "projection_size": dim, "auto_map": remote}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": True, "tokenizer_class": "CXRBertTokenizer",
                    "auto_map": {"AutoTokenizer": ["configuration_cxrbert.CXRBertTokenizer", None]}})
    )  # fmt: skip
    for name in ("configuration_cxrbert.py", "modeling_cxrbert.py"):
        (folder / name).write_text("raise SystemExit('remote code was run')")
    return bert, head


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that is tmp_path/hub; the names of the files that were asked for are in the returned list."""
    asked = []

    def fetch(name, allow_patterns):
        source, cache = tmp_path / "hub" / name, tmp_path / "cache" / name
        if not source.is_dir():
            raise LocalEntryNotFoundError("offline")
        cache.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                asked.append(path.name)
                shutil.copy(path, cache)
        return str(cache)

    monkeypatch.setattr(published, "snapshot_download", fetch)
    monkeypatch.chdir(tmp_path)
    return asked


def test_profile_paper_takes_biovil_from_disk_and_cxr_bert_from_the_hub(tmp_path, hub):
    bert, head = write_cxr_bert(tmp_path / "hub" / CXR_BERT)
    images = {f"encoder.encoder.{k}": v for k, v in resnet50(weights=None).state_dict().items() if k[:3] != "fc."}
    (tmp_path / "weights").mkdir()
    torch.save(images, tmp_path / "weights" / "biovil_image_resnet50_proj_size_128.pt")
    model, keys = build_model(load_profile("paper"), 0)
    assert torch.equal(
        model.image_encoder.resnet.layer1[0].conv1.weight, images["encoder.encoder.layer1.0.conv1.weight"]
    )
    layer = "encoder.layer.0.output.dense.weight"
    assert torch.equal(model.text_encoder.state_dict()[layer], bert.state_dict()[layer])
    assert torch.equal(model.text_projection.dense_to_output.weight, head.dense_to_output.weight)
    assert (keys["image"]["missing"], keys["text"]["missing"]) == ([], [])
    assert set(hub) == {"config.json", "vocab.txt", "tokenizer_config.json", "pytorch_model.bin"}
    model.save_pretrained(tmp_path / "saved")
    again = PRDModel.from_pretrained(tmp_path / "saved").image_encoder
    assert (again.pixel_mean, again.pixel_std) == (0.0, 1.0)
    again = PRDModel.from_pretrained(tmp_path / "saved")
    for tokens in (model.tokenise(["Small left effusions."]), again.tokenise(["Small left effusions."])):
        assert tokens["input_ids"].tolist() == [[2, 5, 6, 8, 10, 3]]
    with torch.no_grad():
        assert model.eval().encode_reports(["Small left pleural effusions. " * 10]).shape == (1, 128)  # 20 positions


@pytest.mark.parametrize("have", ["nothing", "images", "text"])
def test_profile_paper_without_its_weights_is_one_sentence_naming_both_settings(tmp_path, hub, have):
    if have == "images":
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights" / "biovil_image_resnet50_proj_size_128.pt").write_bytes(b"x")
    if have == "text":
        write_cxr_bert(tmp_path / "hub" / CXR_BERT)
    with pytest.raises(WeightsError) as error:
        build_model(load_profile("paper"), 0)
    missing = CXR_BERT if have == "images" else "weights/biovil_image_resnet50_proj_size_128.pt"
    for part in (repr(missing), "model.image_weights", "model.text_encoder", "hf download", "MIT", "huggingface.co"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_a_local_folder_is_never_asked_of_the_hub_and_may_be_relative_to_the_project(tmp_path, hub, monkeypatch):
    write_cxr_bert(tmp_path / "weights" / "cxr")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert published.text_encoder_folder("weights/cxr").samefile(tmp_path / "weights" / "cxr")
    (tmp_path / "weights" / "a.pt").touch()
    assert published.image_weights_file("weights/a.pt").samefile(tmp_path / "weights" / "a.pt")
    assert hub == []


@pytest.mark.parametrize("name", ["owner/none", "/no/such/folder", "a/b/c", "~/no-such-folder"])
def test_a_text_encoder_that_is_nowhere_is_one_sentence(hub, name):
    config = load_profile("quick", {"model": {"text_encoder": name}})
    with pytest.raises(WeightsError, match=r"No text encoder at .*model\.text_encoder.*give a folder"):
        build_model(config, 0)


def test_safetensors_are_preferred(tmp_path, hub):
    folder = tmp_path / "hub" / "owner" / "bert"
    write_cxr_bert(folder)
    (folder / "model.safetensors").touch()
    assert published.text_encoder_folder("owner/bert").is_dir()
    assert "model.safetensors" in hub
    assert "pytorch_model.bin" not in hub


@pytest.mark.parametrize("text", ["{", "[1]", '{"model_type": "unheard-of"}', "{}"])
def test_a_broken_configuration_is_named(tmp_path, text):
    write_cxr_bert(tmp_path / "t")
    (tmp_path / "t" / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"t/config\.json"):
        read_text_config(tmp_path / "t")


def test_what_a_folder_lacks_is_named(tmp_path):
    bert, _ = write_cxr_bert(tmp_path / "t")
    for name, read, message in (
        ("pytorch_model.bin", lambda f: load_text_weights(bert, f), "neither model.safetensors nor pytorch_model.bin"),
        ("vocab.txt", read_tokenizer, r"No tokenizer in .*add its tokenizer\.json or vocab\.txt"),
        ("config.json", read_text_config, "No config.json"),
    ):
        (tmp_path / "t" / name).unlink()
        with pytest.raises(WeightsError, match=message):
            read(tmp_path / "t")


def test_text_weights_of_another_shape_are_refused(tmp_path):
    write_cxr_bert(tmp_path / "t")
    other = BertModel(BertConfig(vocab_size=50, hidden_size=64, num_hidden_layers=1, num_attention_heads=2), False)
    with pytest.raises(WeightsError, match=r"bert\.embeddings.* is \[50, 32\], config\.json says \[50, 64\]"):
        load_text_weights(other, tmp_path / "t")


def test_published_tokenizer_splits_words_as_bert(tmp_path):
    write_cxr_bert(tmp_path / "t")
    (tmp_path / "t" / "tokenizer_config.json").unlink()
    for model_type in ("cxr-bert", "bert"):
        settings = json.loads((tmp_path / "t" / "config.json").read_text())
        (tmp_path / "t" / "config.json").write_text(json.dumps({**settings, "model_type": model_type}))
        assert read_tokenizer(tmp_path / "t")("Small effusions")["input_ids"] == [2, 5, 8, 10, 3]


def test_positions_that_padding_takes_are_not_counted():
    assert max_pieces(BertConfig(max_position_embeddings=20)) == 20
    assert max_pieces(RobertaConfig(max_position_embeddings=514, pad_token_id=1)) == 512


def test_the_card_knows_an_encoders_own_names_of_its_sizes():
    """DistilBERT keeps n_layers and dim."""
    text = DistilBertConfig(vocab_size=60, dim=48, n_layers=3, n_heads=2, hidden_dim=64).to_dict()
    assert "distilbert, 3 layers of width 48" in model_card(PRDConfig(text_encoder=text))
