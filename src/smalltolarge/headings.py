"""The headings that a base model learns under, as a chat template.

Trained folders carry it and exports hand it to other trainers. It writes what
``lm.rendering.alpaca`` writes: "### Instruction:", "### Tool:" and "### Response:", a system text
bare, thoughts between ``<think>`` marks before the answer, the end-of-text token after every
answer. ``{% generation %}`` marks what is learned: answers, but not those whose ``train`` is false.
"""

HEADINGS = (
    "{% for turn in messages %}"
    "{% if turn['role'] == 'assistant' %}{{ '### Response:\\n' }}"
    "{% set thought = turn['reasoning_content'] %}"
    "{% set said = ('<think>\\n' + thought + '\\n</think>\\n\\n' if thought else '')"
    " + turn['content'] + eos_token %}"
    "{% if turn['train'] == false %}{{ said }}"
    "{% else %}{% generation %}{{ said }}{% endgeneration %}{% endif %}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}"
    "{% elif turn['role'] == 'system' %}{{ turn['content'] + '\\n\\n' }}"
    "{% else %}{{ '### ' + ('Tool' if turn['role'] == 'tool' else 'Instruction') + ':\\n'"
    " + turn['content'] + '\\n\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
)
