"""BERTScore with a model that was checked first."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from smalltolarge.errors import (
    DataError,
    IntegrityError,
    Interrupted,
    MissingArtifact,
    RecipeError,
    RefusedForSafety,
)
from smalltolarge.lm.bertscore import bertscore, signature

pytest.importorskip("bert_score")

WORDS = [
    "no", "acute", "disease", "edema", "is", "seen", "in", "the", "left", "lung", "heart", "size",
    "normal", "stable", "small",
]  # fmt: skip
SUMMARIES = ["no acute disease", "heart size is normal", "small edema in the left lung is seen", ""]
REFERENCES = ["no acute edema", "heart size is normal", "stable", "no disease"]
SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.5,  # so that words lie apart
}


def save(folder: Path, config: Any, tokenizer: Tokenizer, **told: str) -> Path:
    """Write a small random encoder with its tokenizer."""
    from transformers import AutoModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def bert_folder(folder: Path, positions: int = 40) -> Path:
    from transformers import BertConfig

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = BertConfig(
        vocab_size=len(vocabulary), max_position_embeddings=positions, pad_token_id=0, **SIZE
    )
    return save(folder, config, tokenizer, tokenizer_class="BertTokenizer")


def roberta_folder(folder: Path) -> Path:
    from transformers import RobertaConfig

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    names = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    config = RobertaConfig(
        vocab_size=len(vocabulary),
        max_position_embeddings=66,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **SIZE,
    )
    told = {"bos": 0, "eos": 2, "unk": 3, "pad": 1, "mask": 4, "cls": 0, "sep": 2}
    tokens = {f"{kind}_token": special[number] for kind, number in told.items()}
    return save(folder, config, tokenizer, tokenizer_class="RobertaTokenizer", **tokens)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert_folder(tmp_path_factory.mktemp("models") / "bert")


@pytest.fixture
def copy(bert: Path, tmp_path: Path) -> Path:
    """The model, to be changed."""
    return Path(shutil.copytree(bert, tmp_path / "copy"))


def test_equal_texts_score_1_and_others_less(bert: Path) -> None:
    close, equal, other, empty = bertscore(SUMMARIES, REFERENCES, model=bert)
    assert equal == pytest.approx(1, abs=1e-5) and equal <= 1
    assert other < close < 0.99
    assert empty == 0


def test_scores_are_those_of_bert_score_itself(bert: Path) -> None:
    from bert_score import BERTScorer

    for layers in (1, 2, 3):
        theirs = BERTScorer(model_type=str(bert), num_layers=layers, device="cpu")
        theirs._tokenizer.model_max_length = 39
        _, _, wanted = theirs.score(SUMMARIES[:3], REFERENCES[:3])
        ours = bertscore(SUMMARIES[:3], REFERENCES[:3], model=bert, n_layers=layers, device="cpu")
        assert ours == pytest.approx(wanted.tolist(), abs=1e-5)
    assert ours == pytest.approx(bertscore(SUMMARIES, REFERENCES, model=bert)[:3], abs=1e-5)


def test_scores_are_the_same_again_and_in_any_order_or_batch(bert: Path) -> None:
    found = bertscore(SUMMARIES, REFERENCES, model=bert)
    assert bertscore(SUMMARIES, REFERENCES, model=bert) == found
    assert bertscore(SUMMARIES[::-1], REFERENCES[::-1], model=bert) == found[::-1]
    assert bertscore(SUMMARIES * 2, REFERENCES * 2, model=bert) == found * 2
    alone = bertscore(SUMMARIES, REFERENCES, model=bert, batch_size=1)
    assert alone == pytest.approx(found, abs=1e-5)


def test_every_pair_is_counted_and_the_work_can_be_stopped(bert: Path) -> None:
    done: list[int] = []
    bertscore(
        SUMMARIES * 2, REFERENCES * 2, model=bert, batch_size=2, advance=lambda n: done.append(n)
    )
    assert sum(done) == 8 and len(done) > 2

    def stop() -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        bertscore(SUMMARIES, REFERENCES, model=bert, check=stop)
    assert bertscore([], [], model=bert) == []


def test_no_other_random_numbers_follow(bert: Path) -> None:
    state = torch.random.get_rng_state()
    bertscore(SUMMARIES, REFERENCES, model=bert)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_texts_longer_than_the_model_are_cut(bert: Path, tmp_path: Path) -> None:
    long = " ".join(WORDS * 20)
    for model in (bert, roberta_folder(tmp_path / "roberta")):
        (score,) = bertscore([long], [f"{long} {long}"], model=model)
        assert score == pytest.approx(1, abs=1e-5)


def test_any_text_is_scored(bert: Path, capfd: pytest.CaptureFixture[str]) -> None:
    odd = ["\ud800 edema", "\u200b", " \n", "edema\0", "[SEP]", "🫀", "é" * 500]
    found = bertscore(odd, odd, model=bert)
    assert found[1:3] == [0, 0]  # no token of the model's
    assert all(-1 <= score <= 1 for score in found)
    assert "Warning" not in capfd.readouterr().err


def test_the_first_word_of_a_text_is_written_as_inside_one(tmp_path: Path) -> None:
    # as bert-score asks RoBERTa's tokenizer to: a word is the same word with a blank before it
    from smalltolarge.lm import bertscore as module

    described = module._describe(roberta_folder(tmp_path / "roberta"), None, module._package())
    _, tokenizer = module._load(described)
    assert tokenizer.tokenize("lung") == list("Ġlung")
    assert tokenizer.model_max_length == 64  # 66 positions, counted from the padding token on


def test_the_letters_of_a_path_decide_nothing(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = bertscore(SUMMARIES, REFERENCES, model=bert)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(command))
    for name in ("t5", "scibert-scivocab-uncased"):  # bert-score's own names for other ways to load
        shutil.copytree(bert, name)
        assert bertscore(SUMMARIES, REFERENCES, model=name) == found


def with_code(folder: Path) -> None:
    (folder / "modeling.py").write_text("print('run')")


def with_auto_map(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"auto_map": {"AutoModel": "a.B"}}))


def only_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


@pytest.mark.parametrize("change", [with_code, with_auto_map, only_pickled])
def test_a_folder_that_may_run_code_is_refused(copy: Path, change: Callable[[Path], None]) -> None:
    change(copy)
    for ask in (signature, lambda model: bertscore(SUMMARIES, REFERENCES, model=model)):
        with pytest.raises(RefusedForSafety):
            ask(copy)


def test_weights_beside_a_pickle_are_never_taken_from_it(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "load", lambda *given, **named: pytest.fail("unpickled"))
    (copy / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    bertscore(SUMMARIES, REFERENCES, model=copy)
    (copy / "model.safetensors").rename(copy / "other.safetensors")
    with pytest.raises(RefusedForSafety, match="only as pickle"):
        bertscore(SUMMARIES, REFERENCES, model=copy)


def test_a_model_without_all_its_weights_is_refused(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = copy / "model.safetensors"
    weights = load_file(file)
    kept = {name: weight for name, weight in weights.items() if "pooler" not in name}
    save_file(kept, file, {"format": "pt"})
    assert bertscore(SUMMARIES, REFERENCES, model=copy)[1] > 0.99  # the pooler is not used
    del kept["encoder.layer.1.output.dense.weight"]
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(IntegrityError, match="1 are missing or of another size"):
        bertscore(SUMMARIES, REFERENCES, model=copy)


def test_a_layer_that_is_not_there_is_refused(bert: Path) -> None:
    for layers in (0, 4):
        with pytest.raises(RecipeError, match=rf"n_layers is {layers}; .* layers 1 to 3"):
            bertscore(SUMMARIES, REFERENCES, model=bert, n_layers=layers)


def test_only_encoders_are_taken(tmp_path: Path) -> None:
    from transformers import T5Config

    config = T5Config(vocab_size=30, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    with pytest.raises(DataError, match="is no encoder"):
        bertscore(["a"], ["a"], model=save(tmp_path / "model", config, tokenizer))


def test_what_is_missing_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "bert"}')
    for model in ("nobody/no-such-model", "./nowhere", tmp_path / "model", tmp_path):
        with pytest.raises(MissingArtifact, match="give the folder of an encoder") as told:
            bertscore(SUMMARIES, REFERENCES, model=model)
        message = str(told.value)
        assert "\n" not in message and "--proxy" not in message and "hf download" in message
    monkeypatch.setitem(sys.modules, "bert_score.utils", None)
    with pytest.raises(MissingArtifact, match=r"pip install 'smalltolarge\[bertscore\]'") as told:
        bertscore(SUMMARIES, REFERENCES, model="roberta-large")
    assert "\n" not in str(told.value)


def test_a_hub_name_that_bert_score_knows_has_its_number_of_layers(
    bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bert_score.utils

    monkeypatch.setitem(bert_score.utils.model2layers, "owner/known", 2)
    monkeypatch.setattr("smalltolarge.lm.bertscore.locate", lambda name: (bert, "commit"))
    assert signature("owner/known").startswith("owner/known_L2_no-idf_version=")
    assert signature("owner/other").startswith("owner/other_L3_")
    assert signature("owner/known", 1).startswith("owner/known_L1_")


def test_the_signature_of_a_folder_names_no_path(bert: Path) -> None:
    assert signature(bert).startswith("bert_L3_no-idf_version=")


def test_summaries_without_their_references_are_refused(bert: Path) -> None:
    with pytest.raises(DataError, match="2 summaries, but 1 references"):
        bertscore(["a", "b"], ["a"], model=bert)
