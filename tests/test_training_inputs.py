"""A training is another when its code or its published weights are."""

from dataclasses import replace

from prdlib import training_inputs


def test_a_training_of_other_code_or_weights_is_another(tiny_config, tmp_path, monkeypatch):
    first = training_inputs.training_sources(tiny_config)
    assert first == training_inputs.training_sources(tiny_config)
    with_clinical = replace(tiny_config, objective=replace(tiny_config.objective, perturbations=("clinical",)))
    assert training_inputs.training_sources(with_clinical) != first  # it depends on the rules of the edits too
    monkeypatch.setattr(training_inputs, "TEXT_OF_WORD_ORDER", training_inputs.TEXT_OF_WORD_ORDER[:-1])
    assert training_inputs.training_sources(tiny_config) != first
    weights = tmp_path / "weights.pt"
    named = replace(tiny_config, model=replace(tiny_config.model, image_weights=str(weights)))
    weights.write_bytes(b"one")
    before = training_inputs.weights_hash(named)
    weights.write_bytes(b"two")
    assert training_inputs.weights_hash(named) != before
    assert training_inputs.weights_hash(tiny_config) == ""
