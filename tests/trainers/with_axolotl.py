"""Read a configuration as ``axolotl preprocess`` does, row by row."""

from __future__ import annotations

import json
import sys

import yaml
from axolotl.prompt_strategies import load
from axolotl.utils.chat_templates import get_chat_template_from_config
from axolotl.utils.data.utils import handle_long_seq_in_dataset
from axolotl.utils.dict import DictDefault
from datasets import Dataset
from transformers import AutoTokenizer


def main(config: str) -> None:
    with open(config) as file:
        cfg = DictDefault(yaml.safe_load(file))
    tokenizer = AutoTokenizer.from_pretrained(cfg.base_model, **(cfg.special_tokens or {}))
    [source] = cfg.datasets
    rows = Dataset.from_json(source["path"])
    if source["type"]:
        cfg.chat_template_jinja = get_chat_template_from_config(cfg, source, tokenizer)
        strategy = load(source["type"], tokenizer, cfg, source)
        rows = rows.map(strategy.tokenize_prompt, remove_columns=rows.column_names)
    cfg.dataset_num_proc = None
    for row in handle_long_seq_in_dataset(rows, cfg.sequence_len, cfg):
        if any(label != -100 for label in row["labels"]):
            print(json.dumps({"config": config, "read": [row["input_ids"], row["labels"]]}))


for argument in sys.argv[1:]:
    main(argument)
