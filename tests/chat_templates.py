"""Small chat templates of our own wording, that behave as those of known families do."""

from __future__ import annotations

from smalltolarge.lm.templates import ChatTemplate

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
UNASKED = (
    "{% for m in messages %}{{ m.role | capitalize }}: {{ m.content }}{{ eos_token }}\n{% endfor %}"
)
THINKING = """
{%- set last = namespace(user=-1) -%}
{%- for m in messages -%}
  {%- if m.role == 'user' and not m.content.startswith('<tool_response>') -%}
    {%- set last.user = loop.index0 -%}
  {%- endif -%}
{%- endfor -%}
{%- for m in messages -%}
  {{- '<|im_start|>' + m.role + '\n' -}}
  {%- set text = m.content -%}
  {%- if m.role == 'assistant' -%}
    {%- set thought = m.reasoning_content or '' -%}
    {%- if not thought and '</think>' in text -%}
      {%- set thought = text.split('</think>')[0].split('<think>')[-1].strip('\n') -%}
      {%- set text = text.split('</think>')[-1].lstrip('\n') -%}
    {%- endif -%}
    {%- if loop.index0 > last.user and (thought or loop.last) -%}
      {{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' -}}
    {%- endif -%}
  {%- endif -%}
  {{- text + '<|im_end|>\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
  {%- if enable_thinking is defined and enable_thinking is false -%}
    {{- '<think>\n\n</think>\n\n' -}}
  {%- endif -%}
{%- endif -%}
"""
OPENS_THINKING = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}<|Assistant|>"
    "{{ m.content.split('</think>')[-1] }}{{ eos_token }}"
    "{% elif m.role == 'user' %}<|User|>{{ m.content }}{% else %}{{ m.content }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|><think>\n{% endif %}"
)
DATED = (
    "{{ bos_token }}Today is {{ strftime_now('%d %b %Y') }}.<|eot|>"
    "{% for m in messages %}<|head|>{{ m.role }}\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|head|>assistant\n\n{% endif %}"
)
ENDS_ONCE = (
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% if loop.last and m.role == 'assistant' %}{{ eos_token }}{% else %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STRICT = """
{%- set head = namespace(text='', user=-1) -%}
{%- if messages[0].role == 'system' -%}
  {%- set head.text = messages[0].content + '\n\n' -%}
  {%- set messages = messages[1:] -%}
{%- endif -%}
{%- for m in messages -%}
  {%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}
    {{- raise_exception('user and assistant must take turns') -}}
  {%- endif -%}
  {%- if m.role == 'user' -%}{%- set head.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{{- bos_token -}}
{%- for m in messages -%}
  {%- if m.role == 'user' -%}
    {{- '[INST] ' + (head.text if loop.index0 == head.user else '') + m.content + ' [/INST]' -}}
  {%- else -%}
    {{- ' ' + m.content.strip() + eos_token -}}
  {%- endif -%}
{%- endfor -%}
"""
SILENT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<|User|>{{ m.content }}"
    "{% elif m.role == 'assistant' %}<|Assistant|>{{ m.content }}{{ eos_token }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|Assistant|>{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}"
    "{% endif %}<start>{{ m.role }}\n{{ m.content | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<start>assistant\n{% endif %}"
)
GENERATION = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}"
    "{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CHANGES = CHATML.replace("m.content", "m.content | upper")
TEMPLATES = {
    "chatml": CHATML,
    "unasked": UNASKED,
    "thinking": THINKING,
    "opens-thinking": OPENS_THINKING,
    "dated": DATED,
    "ends-once": ENDS_ONCE,
    "strict": STRICT,
    "silent": SILENT,
    "no-system": NO_SYSTEM,
    "generation": GENERATION,
}
"""Those that leave an answer as it is, by behaviour."""


def template(text: str) -> ChatTemplate:
    """Give a chat template of a tokenizer that has <s> and </s>."""
    return ChatTemplate(text, "toy", {"bos_token": "<s>", "eos_token": "</s>"})
