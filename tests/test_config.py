"""Settings: profiles load, unknown keys name the nearest known one, values are checked, the id follows the science."""

import pytest

import prdlib.config
from prdlib.config import ConfigError, RunConfig, load_profile, profiles
from prdlib.names import COLLECTIONS, PAPER_METHODS, WORD_ORDER
from prdlib.settings import reference


@pytest.mark.parametrize("name", profiles())
def test_every_profile_loads(name):
    assert load_profile(name).profile == name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.epoch": 3}, "Unknown setting 'training.epoch' .did you mean 'training.epochs'"),
        ({"epochs": 3}, "did you mean 'training.epochs'"),
        ({"trainig.epochs": 3}, "Unknown setting 'trainig' .did you mean 'training'"),
        ({"training": {"epochs": "x"}}, "training.epochs needs a int"),
        ({"training.epochs": 0}, "must be at least 1"),
        ({"training.epochs": True}, "needs a int"),
        ({"training": 3}, "needs keys below it"),
        ({"model.image_encoder": "resnet51"}, "did you mean 'resnet50'"),
        ({"methods": ["prdd"]}, "did you mean 'prd'"),
        ({"methods": "prd"}, "needs a list"),
        ({"seeds": [1, 1]}, "twice"),
        ({"objective.copies": 30}, "lower copies"),
        ({"objective.perturbations": ["reverse"]}, "unknown perturbation"),
        ({"objective.perturbations": ["word_order", "-revers_sentence"]}, "did you mean 'reverse_sentence'"),
        ({"objective.perturbations": ["clinical", "-clinical"]}, "names only 0"),
        ({"objective.local_weight": float("inf")}, "objective.local_weight is inf: it must be a finite number"),
        ({"objective.local_weight": float("nan")}, "objective.local_weight is nan: it must be a finite number"),
        ({"expected_seconds": {"01_data": "long"}}, "expected_seconds.01_data needs a float"),
        ({"profile": "../../escape"}, "cannot name a run's folder"),
        ({"profile": ""}, "cannot name a run's folder"),
        ({"profile": "quick\n"}, "cannot name a run's folder"),
    ],
)
def test_wrong_settings_are_one_sentence(settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_profile("quick", settings)
    assert "\n" not in str(error.value)


def test_unknown_profile_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'quick'"):
        load_profile("quik")


def test_own_profile_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("training: {epochs: 2}\n")
    assert load_profile(str(path)).training.epochs == 2
    path.write_text("training: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_profile(str(path))
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_profile(str(path))


def test_the_name_of_a_profile_file_names_the_run(tmp_path):
    path = tmp_path / "my..profile.yaml"
    path.write_text("training: {epochs: 2}\n")
    with pytest.raises(ConfigError, match=r"Profile 'my..profile' cannot name a run's folder"):
        load_profile(str(path))
    path.write_text("profile: mine\ntraining: {epochs: 2}\n")
    assert load_profile(str(path)).run_id.startswith("mine-")


def test_dotted_and_nested_settings_are_the_same():
    nested = load_profile("quick", {"training": {"epochs": 2}, "data": {"seed": 4}})
    assert nested == load_profile("quick", {"training.epochs": 2, "data.seed": 4})


def test_run_id_changes_with_what_changes_a_result_and_with_nothing_else():
    base = load_profile("quick")
    assert load_profile("quick", {"training.epochs": 9}).run_id != base.run_id
    same = load_profile(
        "quick", {"jobs": 1, "seeds": [0, 1], "data.directory": "x", "training.report_to": "tensorboard"}
    )
    assert same.run_id == base.run_id


def test_the_four_methods_of_the_paper_are_weights():
    configs = {m: load_profile("quick").for_method(m) for m in PAPER_METHODS}
    used = {m: (c.objective.discrimination_weight > 0, c.objective.local_weight > 0) for m, c in configs.items()}
    assert used == {"clip": (False, False), "gloria": (False, True), "prd_no_local": (True, False), "prd": (True, True)}
    for config in configs.values():
        assert config.model.segments == "none"
        assert config.objective.segment_weight == 0
        assert config.objective.discrimination == "plain"
    assert load_profile("quick").methods == tuple(PAPER_METHODS)


def test_methods_with_segments_keep_their_settings():
    config = load_profile("quick", {"model.segments": "sentence", "objective.discrimination": "debiased"})
    grounded = config.for_method("grounded_prd")
    assert (grounded.model.segments, grounded.objective.discrimination) == ("sentence", "debiased")
    assert grounded.objective.segment_weight > 0
    assert config.for_method("structured").objective.segment_weight == 0
    with pytest.raises(ConfigError, match=r"needs segments: set model.segments"):
        load_profile("quick", {"model.segments": "none"}).for_method("grounded")


def test_settings_that_came_later_name_no_run_while_they_have_their_defaults():
    base = load_profile("quick")
    assert "segments" not in base.scientific()["model"]
    assert load_profile("quick", {"model.segments": "sentence"}).run_id != base.run_id


def test_every_setting_has_a_help_text():
    rows = reference(RunConfig)
    assert len(rows) > 40
    assert all(row["help"] for row in rows)


def test_a_kind_with_a_minus_is_left_out():
    kinds = load_profile("quick", {"objective.perturbations": ["word_order", "-reverse_sentence"]}).objective.kinds
    assert kinds == tuple(kind for kind in WORD_ORDER if kind != "reverse_sentence")
    one = load_profile(
        "quick", {"objective.perturbations": ["-word_order", "word_order", "negate_finding"], "objective.copies": 1}
    )
    assert one.objective.kinds == ("negate_finding",)


def test_perturbations_of_the_settings_are_those_of_the_text_room():
    from prdlib.text import PERTURBATIONS

    assert tuple(n for n, e in PERTURBATIONS.items() if e.family == "word_order") == WORD_ORDER


def test_two_collections_are_two_runs_and_two_prepared_folders(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "copy of a"]
    for folder, text in zip(folders, ("clear", "dense", "clear"), strict=True):
        folder.mkdir()
        (folder / "indiana_reports.csv").write_text(text)
    first, second, copy = (load_profile("openi").with_data(str(folder)) for folder in folders)
    assert first.run_id != second.run_id
    assert first.data_id() != second.data_id()
    assert (first.run_id, first.data_id()) == (copy.run_id, copy.data_id())
    assert first.data.directory == str(folders[0])
    named = load_profile("openi", {"data.directory": str(folders[0])})
    assert named.run_id == named.with_data().run_id == first.run_id


def test_the_phantom_takes_no_folder(tmp_path):
    plain = load_profile("quick")
    assert plain.with_data() == plain
    assert plain.content == ""
    with pytest.raises(ConfigError, match=r"Profile quick makes its own data, the phantom.*PROFILE=openi"):
        plain.with_data(str(tmp_path))


def test_a_seed_below_0_is_refused_before_anything_runs():
    with pytest.raises(ConfigError, match=r"Setting seeds is \[0, -1\]"):
        load_profile("quick", {"seeds": [0, -1]})


@pytest.mark.parametrize(("folder", "message"), [("", "--data /path/to/openi"), ("nowhere", "not found at 'nowhere'")])
def test_missing_folders_name_the_option(folder, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_profile("openi").with_data(folder)
    assert "DATA=" in str(error.value)


def test_a_logger_must_be_installed(monkeypatch):
    monkeypatch.setattr(prdlib.config, "find_spec", lambda name: None)
    load_profile("quick").check_logger()
    with pytest.raises(ConfigError, match="pip install wandb"):
        load_profile("quick", {"training.report_to": "wandb"}).check_logger()


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_the_precision_that_a_machine_chooses_names_the_run(monkeypatch, precision):
    monkeypatch.setattr("prdlib.config.fast_precision", lambda: precision)
    chosen = load_profile("cpu")
    assert chosen.training.autocast == precision
    assert chosen.run_id == load_profile("cpu", {"training.precision": precision}).run_id


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("data.views", ["Frontl"], "data.views: unknown view 'Frontl'.*did you mean 'Frontal'"),
        ("training.freeze", ["txt"], "training.freeze: unknown encoder 'txt'.*did you mean 'text'"),
    ],
)
def test_a_wrong_name_in_a_list_names_the_nearest(setting, value, message):
    with pytest.raises(ConfigError, match=message):
        load_profile("quick", {setting: value})


def test_profile_openi_reads_frontal_films_and_its_data_are_others_than_with_lateral_ones():
    both = load_profile("openi", {"data.views": ["Frontal", "Lateral"]})
    assert load_profile("openi").data.views == ("Frontal",)
    assert load_profile("openi").data_id() != both.data_id()


def test_every_reader_is_a_choice_and_its_options_are_settings():
    from prdlib.data.studies import _readers

    assert set(COLLECTIONS) == set(_readers())
    config = load_profile("cpu", {"data.name": "chexpert", "data.options.uncertain": "ones"})
    assert config.data.options == {"uncertain": "ones"}
    assert config.data_id() != load_profile("cpu", {"data.name": "chexpert"}).data_id()
    assert "options" not in load_profile("cpu").scientific()["data"]  # older runs keep their names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data.name": "chexprt"}, "did you mean 'chexpert'"),
        ({"data.name": "openi", "data.options.views": ["Frontal"]}, "is a setting of its own: use data.views"),
        ({"data.options.n": 3}, "the phantom's are data.n_studies and data.seed"),
        ({"data.name": "nih", "data.options": {"a": {"b": 1}}}, "needs one of str, bool, int, float, list, not"),
    ],
)
def test_options_of_readers_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        load_profile("cpu", settings)


def test_a_list_of_patients_to_exclude_names_its_run(tmp_path):
    (tmp_path / "collection").mkdir()
    listed = tmp_path / "excluded.txt"
    contents = []
    for exclude, text in (
        (str(listed), "patient00001\n"),
        (str(listed), "patient00002\n"),
        (["patient00001"], ""),
        ("p1," * 200, ""),
    ):
        listed.write_text(text)
        config = load_profile("cpu", {"data.name": "chexpert", "data.options.exclude": exclude})
        contents.append(config.with_data(str(tmp_path / "collection")).content)
    assert len(set(contents)) == 3  # what is no file is told by the reader
    assert contents[2] == contents[3]


def test_an_own_table_is_a_file_and_names_its_run(tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("study_id\n1\n")
    config = load_profile("cpu", {"data.name": "own_csv"}).with_data(str(table))
    assert config.data.directory == str(table)
    before = config.content
    table.write_text("study_id\n2\n")
    assert before != load_profile("cpu", {"data.name": "own_csv"}).with_data(str(table)).content
    with pytest.raises(ConfigError, match="give the folder of the collection"):
        load_profile("cpu", {"data.name": "nih"}).with_data(str(table))
