"""Our tasks through lm-evaluation-harness: its names, prompts, shots, metadata and scores."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from smalltolarge.errors import MissingArtifact, RecipeError
from smalltolarge.evaluation.exam import showable
from smalltolarge.evaluation.tasks import GROUPS, LM_EVAL, TASKS, Problems, find_tasks

ASKED: list[dict[str, Any]] = [
    {"question": "Ann has 3 pens and buys 4. How many has she?", "answer": 7},
    {"question": "A box holds 12 eggs. How many do 2 boxes hold?", "answer": "24"},
]
SHOWN: list[dict[str, Any]] = [
    {"question": "Ann has 3 pens and buys 4.  How many has she?", "answer": 7, "program": "7"},
    {"question": "Tom breaks 2 of 5 cups. How many are left?", "answer": "5 - 2 = 3\n#### 3",
     "program": "print(5 - 2)"},
    {"question": "What is 2 times 6?", "answer": 12,
     "output": "2 * 6 = 12", "program": "print(12)"},
    {"question": "What is 1 and 1?", "answer": 2, "program": "print(1 + 1)"},
]  # fmt: skip
PAIR = {"findings": "Lungs are clear.", "impression": "No acute disease."}
PROGRAM = " Let's write a program."


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, rows in {
        "svamp.jsonl": ASKED,
        "svamp.train.jsonl": SHOWN,
        "gsm8k.jsonl": ASKED,
        "gsm8k.train.jsonl": [{"question": "What is 2 times 6?", "answer": "12"}],
        "radiology_impression.test.jsonl": [PAIR],
        "radiology_impression.train.jsonl": [PAIR, PAIR | {"findings": "Effusion."}],
    }.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def load(name: str, **metadata: Any) -> Any:
    """Give a task as lm-eval builds it."""
    manager = TaskManager(include_path=str(LM_EVAL), include_defaults=False, metadata=metadata)
    return manager.load(name)["tasks"][name]


def chat(turns: list[dict[str, str]]) -> str:
    return json.dumps([[turn["role"], turn["content"]] for turn in turns])


def prompts(task: Any, shots: int = 0, seed: int = 1, **given: Any) -> list[list[str]]:
    """Give what lm-eval would put to a model, by question and form."""
    task.set_config("num_fewshot", shots)
    task.set_fewshot_seed(seed)
    task.build_all_requests(limit=None, rank=0, world_size=1, **given)
    found: dict[int, list[str]] = {}
    for one in task.instances:
        found.setdefault(one.doc_id, []).append(one.args[0])
    return list(found.values())


def test_tasks_and_groups_have_the_same_names_in_lm_eval() -> None:
    known = TaskManager(include_path=str(LM_EVAL), include_defaults=False)
    assert known.all_subtasks == sorted(task.lm_eval_name for task in TASKS.values())
    assert known.all_groups == sorted(GROUPS)
    assert len(known.all_tasks) == len(TASKS) + len(GROUPS)
    for group, members in GROUPS.items():
        told = known.task_index[group].cfg
        assert told is not None
        assert told["task"] == [TASKS[name].lm_eval_name for name in members]
        assert find_tasks([group]) == [TASKS[name] for name in members]
    for task in TASKS.values():
        assert find_tasks([task.lm_eval_name]) == [task]


def test_scores_say_which_way_is_better(data: Path) -> None:
    summary = load("s2l_radiology_impression", data=str(data))
    assert summary.higher_is_better() == {
        "rougeL": True, "rouge1": True, "rouge2": True, "bleu": True, "unanswered": False,
    }  # fmt: skip
    maths = load("s2l_svamp", data=str(data), form="cot")
    assert maths.higher_is_better() == {
        "accuracy": True, "unanswered": False, "failed_programs": False,
    }  # fmt: skip


def test_every_form_is_shown_answers_of_its_own_and_never_a_question_that_is_asked(
    data: Path,
) -> None:
    task = load("s2l_svamp", data=str(data), form="combined")
    programs = {
        f"Question: {SHOWN[1]['question']}{PROGRAM}\nAnswer:\nprint(5 - 2)",
        f"Question: {SHOWN[2]['question']}{PROGRAM}\nAnswer:\nprint(12)",
        f"Question: {SHOWN[3]['question']}{PROGRAM}\nAnswer:\nprint(1 + 1)",
        f"Question: {ASKED[0]['question']}{PROGRAM}\nAnswer:",
        f"Question: {ASKED[1]['question']}{PROGRAM}\nAnswer:",
    }
    words = {
        f"Question: {SHOWN[1]['question']}\nAnswer:\n5 - 2 = 3\n#### 3",
        f"Question: {SHOWN[2]['question']}\nAnswer:\n2 * 6 = 12",
        f"Question: {SHOWN[3]['question']}\nAnswer:\nThe answer is 2.",
        f"Question: {ASKED[0]['question']}\nAnswer:",
        f"Question: {ASKED[1]['question']}\nAnswer:",
    }
    for question, forms in zip(ASKED, prompts(task, shots=3), strict=True):
        for text, known in zip(forms, (programs, words), strict=True):
            turns = text.split("\n\n")
            assert len(set(turns)) == 4
            assert set(turns) <= known
            assert str(question["question"]) in turns[-1]
    assert "\n\nQuestion: " in task.instances[0].args[1]["until"]
    assert prompts(task, shots=2, seed=1) == prompts(task, shots=2, seed=1)
    assert len({str(prompts(task, shots=1, seed=seed)) for seed in range(9)}) > 1


def test_prompts_without_shots_are_the_task_s_own(data: Path) -> None:
    question = ASKED[0]["question"]
    bare = load("s2l_svamp", data=str(data))
    assert prompts(bare)[0] == [f"{question}{PROGRAM}", question]
    assert bare.instances[0].args[1]["until"] == ["### Instruction:"]
    headed = load("s2l_svamp", data=str(data), template="alpaca", form="direct")
    heading = f"### Instruction:\n{question}\n\n### Response:\n"
    assert prompts(headed, system_instruction="Be brief.")[0] == [f"Be brief.\n\n{heading}"]
    asked = [["system", "Be brief."], ["user", question]]
    given: Any = {"apply_chat_template": True, "chat_template": chat}
    assert json.loads(prompts(bare, system_instruction="Be brief.", **given)[0][1]) == asked


def test_shots_are_turns_of_a_conversation_or_stand_in_one(data: Path) -> None:
    task = load("s2l_gsm8k", data=str(data), form="cot")
    asked = f"{ASKED[0]['question']} Let's think step by step."
    shown = f"{SHOWN[2]['question']} Let's think step by step."
    given: Any = {"apply_chat_template": True, "chat_template": chat, "shots": 1}
    several = prompts(task, fewshot_as_multiturn=True, **given)[0][0]
    answer = ["assistant", "The answer is 12."]
    assert json.loads(several) == [["user", shown], answer, ["user", asked]]
    one = prompts(task, fewshot_as_multiturn=False, **given)[0][0]
    text = f"Question: {shown}\nAnswer:\nThe answer is 12.\n\nQuestion: {asked}\nAnswer:"
    assert json.loads(one) == [["user", text]]
    summary = load("s2l_radiology_impression", data=str(data), template="alpaca")
    assert prompts(summary, shots=1)[0][0] == (
        "### Instruction:\nEffusion.\n\n### Response:\nNo acute disease.\n\n"
        "### Instruction:\nLungs are clear.\n\n### Response:\n"
    )


def test_shots_that_are_not_there_are_refused(data: Path) -> None:
    with pytest.raises(RecipeError, match="--num_fewshot is 5, and the train split has 3 rows"):
        prompts(load("s2l_svamp", data=str(data)), shots=5)
    with pytest.raises(MissingArtifact, match='"program".*direct or cot'):
        prompts(load("s2l_gsm8k", data=str(data)), shots=1)
    (data / "svamp.train.jsonl").unlink()
    with pytest.raises(
        MissingArtifact, match=r"one file svamp.train.jsonl to show questions from .* is needed"
    ):
        prompts(load("s2l_svamp", data=str(data)), shots=1)
    both = load("s2l_svamp", data=str(data), template="alpaca")
    with pytest.raises(RecipeError, match="template is alpaca.*one of the two"):
        prompts(both, apply_chat_template=True, chat_template=chat)


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"from": "pot"}, "--metadata has no key 'from'. Did you mean form. It takes form, data"),
        ({"benchmark": "gsm8k"}, "no key 'benchmark'"),
        ({"form": "pott"}, 'form is "pott"; needed: direct, cot, pot, combined'),
        ({"form": ["pot"]}, r'form is \["pot"\]; needed: direct'),
        ({"template": "chat"}, 'template is "chat"; needed: alpaca'),
        ({"program_seconds": "ten"}, 'program_seconds is "ten"; needed: a number'),
        ({"program_seconds": 0}, "program_seconds is 0; needed: a number"),
        ({"program_seconds": float("nan")}, "program_seconds is NaN; needed: a number"),
        ({"program_megabytes": 0.5}, "program_megabytes is 0.5; needed: a whole number"),
        ({"confirm_run_unsafe_code": "yes"}, 'is "yes"; needed: true or false'),
        ({"data": 7}, "data is 7; needed: the folder"),
    ],
)
def test_metadata_that_is_not_known_is_refused_by_name(metadata: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=f"^s2l_svamp: .*{told}"):
        load("s2l_svamp", **metadata)


def test_missing_questions_are_asked_for_by_the_option_of_each_door(tmp_path: Path) -> None:
    theirs = """Give the folder of simuleq.jsonl .* with --metadata '{"data": "FOLDER"}'"""
    with pytest.raises(MissingArtifact, match=theirs):
        load("s2l_simuleq", form="cot")
    with pytest.raises(MissingArtifact, match="^--metadata.*there is no folder nowhere"):
        load("s2l_svamp", data="nowhere")
    with pytest.raises(MissingArtifact, match="Give the folder of simuleq.jsonl .* with --data"):
        TASKS["simuleq"].questions(None)
    (tmp_path / "svamp.train.jsonl").write_text(json.dumps(SHOWN[1]) + "\n")
    with pytest.raises(MissingArtifact, match="one file svamp.jsonl is needed .* found none"):
        TASKS["svamp"].questions(str(tmp_path))


def test_shots_come_from_the_train_split_of_a_data_set_unless_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for split, rows in {"train": SHOWN[:2], "test": ASKED[:1]}.items():
        lines = [
            json.dumps({"question": row["question"], "answer": str(row["answer"])}) for row in rows
        ]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    task = Problems("sums", "sums", "number", (str(tmp_path), "", "test"))
    asked = task.questions(None)
    assert [one.text for one in asked] == [ASKED[0]["question"]]
    (shown,) = showable(task, ["direct"], None, asked)
    assert (shown.text, task.show(shown, "direct")) == (SHOWN[1]["question"], SHOWN[1]["answer"])
    both = replace(task, hub=(str(tmp_path), "", "train+test"))
    with pytest.raises(MissingArtifact, match=r"among the questions asked.* sums.train.jsonl"):
        showable(both, ["direct"], None, asked)
