"""Fine-tuning of image encoders: planted labels are learnt, shuffled ones are not, and nothing else is touched or read."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from painted import SIZES, painted
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from prdlib.data import DataError
from prdlib.evaluation.class_scores import multi_label_scores
from prdlib.evaluation.fine_tuning import CHEXPERT_TASKS, IMAGE_FINE_TUNING, ImageClassifier, fine_tune_images
from prdlib.evaluation.statistics import auroc
from prdlib.trainer import NonFiniteLoss

QUICK = replace(IMAGE_FINE_TUNING, epochs=6, batch_size=16, learning_rate=1e-2, encoder_learning_rate_factor=0.3,
                precision="float32", augment=False)  # fmt: skip


@pytest.fixture(scope="module")
def splits():
    return {name: painted(size, seed) for seed, (name, size) in enumerate(SIZES.items())}


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model


@pytest.fixture(scope="module")
def tuned(model, splits):
    lines = []
    found = fine_tune_images(model, splits["train"], splits["validation"], 0, settings=QUICK, report=lines.append)
    assert len(lines) == QUICK.epochs
    return found


def auroc_of(classifier, test):
    shape = (1, len(test.label_names))
    table = multi_label_scores(
        classifier.truth(test.labels), classifier.predict(test.images)[None], test.label_names, test.patient_ids,
        np.full(shape, 0.5), np.full(shape, 0.5), 200,
    )  # fmt: skip
    return table[(table["metric"] == "AUROC") & (table["label"] == "mean")].iloc[0]


def test_a_painted_label_is_learnt(tuned, splits):
    assert auroc_of(tuned.classifier, splits["test"])["value"] > 0.99
    assert tuned.studies == SIZES["train"]
    assert not tuned.classifier.training


def test_shuffled_labels_have_chance_in_their_interval(model, splits):
    rng = np.random.default_rng(0)
    shuffled = {name: replace(split, labels=rng.permutation(split.labels)) for name, split in splits.items()}
    found = fine_tune_images(model, shuffled["train"], shuffled["validation"], settings=replace(QUICK, epochs=2))
    row = auroc_of(found.classifier, shuffled["test"])
    assert row["ci_low"] < 0.5 < row["ci_high"]


def test_exclusive_classes_are_learnt_and_add_up_to_one(model, splits):
    one_hot = {}
    for name, split in splits.items():
        either = np.stack([split.labels[:, 0], 1 - split.labels[:, 0]], axis=1)
        either[::8] = 1  # two classes at once: no class, so these are left out
        one_hot[name] = replace(split, labels=either)
    train = one_hot["train"]
    found = fine_tune_images(model, train, one_hot["validation"], head="single-label", settings=QUICK)
    p = found.classifier.predict(one_hot["test"].images)
    assert p.sum(axis=1) == pytest.approx(1)
    assert found.studies == SIZES["train"] - SIZES["train"] // 8
    assert auroc_of(found.classifier, one_hot["test"])["value"] > 0.99


def test_tasks_with_an_uncertain_class_are_learnt(model):
    train, validation, test = (painted(n, seed, uncertain=0.3) for seed, n in enumerate(SIZES.values()))
    found = fine_tune_images(model, train, validation, head="multi-task", classes=3, settings=replace(QUICK, epochs=8))
    assert auroc_of(found.classifier, test)["value"] > 0.99
    with torch.no_grad():
        logits = found.classifier(found.classifier.model.prepare_images(torch.from_numpy(test.images)))
    assert logits.shape == (len(test.images), 2, 3)
    uncertain = test.labels == -1
    assert auroc(uncertain.ravel(), logits.softmax(dim=-1)[..., 2].numpy().ravel()) > 0.65
    present, absent = (logits[..., k].double().exp().numpy() for k in (1, 0))
    np.testing.assert_allclose(found.classifier.predict(test.images), present / (present + absent), rtol=1e-4)
    assert len(CHEXPERT_TASKS) == len(ImageClassifier(model, 5, "multi-task").head.tasks) == 5


@pytest.mark.parametrize(
    ("head", "classes"), [("multi-label", 2), ("multi-task", 2), ("multi-task", 3), ("single-label", 2)]
)
def test_the_loss_is_the_mean_over_judged_cells(model, head, classes):
    labels = np.array([[1, 0, 0], [0, -1, np.nan], [np.nan, np.nan, np.nan]])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        classifier = ImageClassifier(model, 3, head, classes)
        logits = torch.randn(3, 3, classes) if head == "multi-task" else torch.randn(3, 3)
    found = classifier.loss(logits, classifier.targets(labels))
    cells = [(0, 0, 1), (0, 1, 0), (0, 2, 0), (1, 0, 0)] + [(1, 1, 2)] * (classes == 3)
    if head == "single-label":
        expected = cross_entropy(logits[:1], torch.tensor([0]))
    elif head == "multi-label":
        expected = torch.stack(
            [binary_cross_entropy_with_logits(logits[i, c], torch.tensor(float(y))) for i, c, y in cells]
        ).mean()
    else:
        expected = torch.stack([cross_entropy(logits[i, c], torch.tensor(y)) for i, c, y in cells]).mean()
    torch.testing.assert_close(found, expected)
    assert classifier.loss(logits, classifier.targets(labels[[2, 2, 2]])) == 0


def test_a_seed_decides_and_neither_model_nor_generators_are_touched(model, splits):
    train, validation, settings = splits["train"], splits["validation"], replace(QUICK, epochs=1, augment=True)
    model.train()
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    first = fine_tune_images(model, train, validation, 0, settings=settings)
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())
    torch.manual_seed(99)
    again, other = (fine_tune_images(model, train, validation, seed, settings=settings) for seed in (0, 1))
    plain = fine_tune_images(model, train, validation, 0, settings=replace(settings, augment=False))
    assert again.history.equals(first.history)
    for name, value in first.classifier.state_dict().items():
        assert torch.equal(value, again.classifier.state_dict()[name]), name
    assert not other.history["loss"].equals(first.history["loss"])
    assert not plain.history["loss"].equals(first.history["loss"])
    model.eval()


def test_the_image_encoder_learns_and_nothing_else(model, splits, tuned):
    before = model.state_dict()
    after = tuned.classifier.model.state_dict()
    changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"image_encoder"}
    settings = replace(QUICK, epochs=1, freeze=("image",))
    frozen = fine_tune_images(model, splits["train"], splits["validation"], settings=settings).classifier.model
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_the_epoch_is_the_first_best_on_validation_with_its_batch_norm(model, splits):
    """Validation asks the opposite of training: an early epoch is kept, and predicts what it predicted then."""
    turned = replace(splits["validation"], labels=1 - splits["validation"].labels)
    found = fine_tune_images(model, splits["train"], turned, settings=QUICK)
    values = found.history["validation AUROC"]
    assert found.epoch == int(values.idxmax()) + 1 < QUICK.epochs
    assert auroc_of(found.classifier, turned)["value"] == pytest.approx(values.max())


def test_an_epoch_reads_every_judged_study_once_in_even_batches(model, splits, monkeypatch):
    read, targets = [], ImageClassifier.loss

    def spy(self, logits, wanted):
        read.append(len(logits))
        return targets(self, logits, wanted)

    monkeypatch.setattr(ImageClassifier, "loss", spy)
    labels = splits["train"].labels.copy()
    labels[:47] = np.nan  # 49 are left: 16 and 16 and 16 and 1 would leave a batch of one
    settings = replace(QUICK, epochs=1)
    found = fine_tune_images(model, replace(splits["train"], labels=labels), splits["validation"], settings=settings)
    assert found.studies == sum(read) == 49
    assert sorted(read) == [12, 12, 12, 13]


def test_precision_follows_the_settings(model, splits):
    losses = [
        fine_tune_images(model, splits["train"], splits["validation"], settings=replace(QUICK, epochs=1, precision=p))
        .history["loss"].iloc[0]
        for p in ("float32", "bf16")
    ]  # fmt: skip
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_a_loss_that_leaves_the_reals_is_an_error(model, splits):
    settings = replace(QUICK, learning_rate=10.0, max_grad_norm=0.0, encoder_learning_rate_factor=1e30)
    with pytest.raises(NonFiniteLoss, match="lower the learning rate"):
        fine_tune_images(model, splits["train"], splits["validation"], settings=settings)


def refusals(train, validation):
    nan = np.full_like(train.labels, np.nan)
    shared = replace(validation, patient_ids=["p0-3", *validation.patient_ids[1:]])
    return [
        ((train, shared), {}, "Patient 'p0-3' stands in train and in validation: split by patient."),
        ((train, replace(validation, label_names=["b", "a"])), {},
         "The labels of training are ['l0', 'l1'], of validation ['b', 'a']: choose the same."),
        ((replace(train, labels=nan), validation), {},
         "0 training studies have a judged label and fine-tuning needs two or more: label more, or read blank labels as absent "
         "where they mean that (data.options.blanks=absent for CheXpert)."),
        ((train, replace(validation, labels=np.ones_like(validation.labels))), {},
         "No label has both classes in validation, where the epoch is chosen by AUROC: add studies to it."),
        ((train, validation), {"head": "multi-task", "classes": 3},
         "No training label is uncertain (-1), so there is no third class: load with uncertain='keep', or take two classes "
         "(evaluation.fine_tuning_head=multi-task; classes=2)."),
        ((train, validation), {"head": "labels"}, "A head is multi-label, single-label or multi-task, not 'labels'."),
        ((train, validation), {"classes": 3}, "classes is 2, or 3 for a multi-task head, not 3 for a multi-label one."),
    ]  # fmt: skip


def test_what_cannot_be_trained_on_is_one_sentence(model, splits):
    for parts, options, sentence in refusals(splits["train"], splits["validation"]):
        with pytest.raises((DataError, ValueError), match=f"^{re.escape(sentence)}$"):
            fine_tune_images(model, *parts, settings=QUICK, **options)
