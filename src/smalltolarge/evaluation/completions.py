"""What of a completion counts, before any answer is looked for: what is said, and its program."""

from __future__ import annotations

import ast
import builtins
import re
import symtable
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

_THOUGHT = r"think(?:ing)?|thoughts?|reasoning|scratchpad"
_MARK = re.compile(
    rf"""
    # A marker in quotes, on one line, is spoken of and marks nothing.
    (?<!\w)[rbfu]{{0,2}}(?P<quote>["'`])(?:(?!(?P=quote))[^\n])+(?P=quote)(?!\w)
    | <[|｜]?(?:(?:begin|start)[_▁](?:of[_▁])?)?(?:\w+:)?(?P<opens>{_THOUGHT})(?:[_▁]start)?[|｜]?>
    | <[|｜]?(?:/|end[_▁](?:of[_▁])?)(?:\w+:)?(?P<closes>{_THOUGHT})[|｜]?>
    | <[|｜](?P<closes_2>{_THOUGHT})[_▁]end[|｜]>
    # Markers of Magistral, Kimi, Gemma, Apertus, Pangu; channels, also where a tokenizer has
    # dropped the special tokens; and the sentences of Granite.
    | (?P<opens_2>\[THINK\]|◁think▷|<\|open\|>think<\|sep\|>|<\|channel>thought|<\|inner_prefix\|>
        |\[unused16\]|<\|channel\|>(?!final)\w+|\A\s*(?-i:analysis(?=[A-Z]))
        |\A\s*Here(?:\ i|'|’)s\ my\ thought\ process:)
    | (?P<closes_3>\[/THINK\]|◁/think▷|<\|close\|>think<\|sep\|>|<channel\|>|<\|inner_suffix\|>
        |\[unused17\]|<\|channel\|>final[^<\n]{{0,80}}(?:<\|message\|>)?|(?-i:assistantfinal(?![a-z]))
        |^Here(?:\ i|'|’)s\ my\ response:)
    | (?P<ends></s>|<\|end\|>(?!\s*<\|start\|>assistant)|<\|start\|>(?!assistant)|<turn\|>
        |<\|(?:im_end|im_start|return|call|start_header_id|assistant_end|user|turn>user)\|?>
        |[<\[][|｜]?(?:eo[stdm](?:_id)?|\w+:eos|end_?of_?(?:text|turn|message)(?:_token)?
            |end_?of_?(?:sentence|solution)|end[_▁]of[_▁]sentence|end_response)[|｜]?[>\]]
        |<start_of_turn>|<｜User｜>|\[INST\])
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_LONGEST = 500_000
"""Characters of a completion that are read."""


def spoken(completion: str) -> str:
    """Give what a completion says: without what is thought, up to the end of the turn.

    All up to the last end of a thought is dropped (a template may have begun it in the prompt),
    and a thought that never ends is dropped to the end. Markers in quotes mark nothing.
    """
    completion = completion[:_LONGEST]
    begin, thought, end = 0, -1, len(completion)
    for mark in _MARK.finditer(completion):
        kind = (mark.lastgroup or "").partition("_")[0]
        if kind == "opens" and thought < begin:
            thought = mark.start()
        elif kind == "closes":
            begin = mark.end()
        elif kind == "ends":
            end = mark.start()
            break
    return completion[begin : thought if thought >= begin else end]


# Programs

_MOST = 64 << 10
"""Characters of a completion that is looked through for Python; no longer program is run."""
_MOST_BLOCKS, _MOST_PARSES, _MOST_STATEMENTS = 64, 300, 1500
_NEXT = re.compile(
    r"\s*(?:#{2,}\s*|\*\*)?(?:instruction|question|problem|input|response|user|human|q)\b[^\n:]{0,20}:",
    re.IGNORECASE,
)
"""A line with which a model goes on to another question."""
_TAG = re.compile(
    r"(?P<begins><(?:llm-)?code>|<(?:python|tool_code|execute(?:_i?python)?)>|\[PYTHON\]"
    r"|<\|python_(?:start|tag)\|>|<\|action_start\|>\s*<\|interpreter\|>)"
    r"|(?P<shows><llm-code-output>)"
    r"|(?P<ends></(?:llm-code(?:-output)?|code|python|tool_code|execute(?:_i?python)?)>"
    r"|\[/PYTHON\]|<\|python_end\|>|<\|action_end\|>)",
    re.IGNORECASE,
)
_FENCES = {"begins": "\n```python\n", "shows": "\n```output\n", "ends": "\n```\n"}
_FENCE = re.compile(r"`{3,}|~{3,}")
_LANGUAGE = re.compile(r"\s*\{?\.?(?P<name>[\w+#-]+)(?:[ ]?\d(?:\.\d+)*)?\}?(?=[\s:,{]|$)")
_PYTHON = frozenset("python py python2 python3 py3 ipython ipython3 pycon tool_code".split())  # noqa: SIM905
_ATTRIBUTES = re.compile(
    r"[:,]\S*|(?:\s*(?:[\w-]+=(?:\"[^\"]*\"|'[^']*'|\S*\.\w+)|\{.*\}|[\w-]+\.\w+))*\s*"
)
"""What may follow the language on a fence's line, such as a title."""
_CODE = re.compile(
    r"[ \t]*(?:(?:import|from)[ ][\w.]+(?:[ ](?:import|as)\b.*|,.*)?$"
    r"|(?:def|class|for|while|if|elif|else|with|try|except|async)\b.*:[ \t]*(?:\#.*)?$"
    r"|(?:assert|return|raise)\b|@\w|[\w.]+\("
    r"|[A-Za-z_][\w.]*(?:\[.*?\])?(?:[ ]?,[ ]?\w+)*(?:[ ]?:[ ]?[\w.\[\]]+)?"
    r"[ ]*[-+*/%|&^]{0,2}=(?!=))"
)
"""A line of Python, as a program begins and as its cut end looks."""
_PROMPT = re.compile(r"[ \t]*(?:>>>|\.\.\.)(?: |$)")
_SHOWN = frozenset({"solution", "answer", "ans", "result"})
_PRINTING = frozenset({"print", "pprint", "display", "write"})
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_KNOWN = frozenset(dir(builtins)) | {"__name__", "__file__", "display", "exit", "quit"}


@dataclass
class _Block:
    """Lines of a completion: "python", "" (a fence of no language), another language or "prose"."""

    label: str
    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Statement:
    """A statement at the top of a program, and the names it gives, changes, reads and calls."""

    node: ast.stmt
    gives: frozenset[str]
    changes: frozenset[str]
    reads: frozenset[str]
    calls: frozenset[str]


@dataclass(frozen=True)
class _Program:
    text: str
    body: tuple[_Statement, ...]


def program_of(completion: str) -> str:
    """Take the program out of a completion.

    It is the last one that is Python and prints: in blocks marked as Python, else in blocks without
    a language, else in the text. Statements of earlier ones that give a name which it reads come
    before it. Prose, prompts and outputs are left out, and so is what follows the heading of
    another question. Where nothing is Python, the last block marked as such, or else all that is
    said, is given as it is.
    """
    text = spoken(completion).replace("\r\n", "\n")
    if len(text) > _MOST:
        return text
    silent: str | None = None
    parts = _parts(_TAG.sub(lambda tag: _FENCES[tag.lastgroup or ""], text))
    for part in parts:
        for label in ("python", "", "prose"):
            found = _programs([block for block in part if block.label == label][-_MOST_BLOCKS:])
            if found:
                prints, program = _last(found)
                if prints:
                    return program
                silent = program if silent is None else silent
    if silent is not None:
        return silent
    marked = [block for part in parts for block in part if block.label == "python"]
    return "\n".join(marked[-1].lines if marked else [text.strip("\n")])


def _parts(text: str) -> list[list[_Block]]:
    """Cut a text into what belongs to one question after the other, and each into blocks."""
    prose = _Block("prose")
    parts = [[prose]]
    inside: _Block | None = None
    mark = ""
    for line in text.split("\n"):
        fence = _FENCE.search(line)
        before, rest = (line[: fence.start()], line[fence.end() :]) if fence else (line, "")
        if inside is not None:
            is_own = fence is None or fence[0][0] != mark[0]
            if is_own or (before.strip("> \t") and rest.strip()):
                inside.lines.append(line)
                continue
            inside.lines.append(before)
            inside = None
            if re.fullmatch(r"\s*\{?[\w+#.-]+\}?\s*", rest) is None:
                prose.lines.append(rest)
                continue
            # A language where a fence should close a block: it opens another.
        elif fence is None and _NEXT.match(line):
            prose = _Block("prose")
            parts.append([prose])
            continue
        else:
            prose.lines.append(before)
        if fence is not None:
            mark = fence[0]
            content, closing, after = rest.partition(mark)
            block = _opened(content)
            parts[-1].append(block)
            if closing:
                prose.lines.append(after)
            else:
                inside = block
    return parts


def _opened(rest: str) -> _Block:
    """Begin a block whose fence is followed by this on its line."""
    language = _LANGUAGE.match(rest)
    name = language["name"].lower() if language is not None else ""
    if language is None or (name not in _PYTHON and rest[language.end() :].strip()):
        return _Block("", [rest])
    rest = rest[language.end() :]
    content = [] if _ATTRIBUTES.fullmatch(rest) else [rest.lstrip()]
    return _Block("python" if name in _PYTHON else name, content)


def _programs(blocks: Iterable[_Block]) -> list[_Program]:
    """Give all of some blocks that is Python, in order; none of it where that is too much."""
    found: list[_Program] = []
    count = 0
    for block in blocks:
        lines = block.lines
        if any(_PROMPT.match(line) for line in lines):
            lines = [line[mark.end() :] for line in lines if (mark := _PROMPT.match(line))]
        known = set().union(*(one.gives for program in found for one in program.body))
        for text, body in _python(lines, is_fenced=block.label != "prose"):
            if (count := count + len(body)) > _MOST_STATEMENTS:
                return []
            program = _trimmed(text, [_statement(node) for node in body], known)
            if program.body:
                found.append(program)
                known = known.union(*(one.gives for one in program.body))
    return found


def _python(lines: list[str], *, is_fenced: bool) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Give what is Python among lines, parsed: all of them, or what stands between prose."""
    text = "\n".join(lines).strip("\n")
    if text[:1] in {" ", "\t"}:
        text = textwrap.dedent(text)
    for whole in (text, text.lstrip()):
        if isinstance(body := _parsed(whole), list):
            yield whole, body
            return
    begin, parses = 0, 0
    while begin < len(lines) and parses < _MOST_PARSES:
        if not _CODE.match(lines[begin]):
            begin += 1
            continue
        indent = lines[begin][: -len(lines[begin].lstrip())]
        own = [line.removeprefix(indent) for line in lines[begin:]]
        count = len(own)
        while isinstance(body := _parsed("\n".join(own[:count])), int):
            parses += 1
            count = max(0, min(count, body) - 1) if parses < _MOST_PARSES else 0
        after = next((line for line in own[count:] if line.strip()), "")
        if body and not after[:1].isspace() and not _CODE.match(after):
            yield "\n".join(own[:count]), body
            begin += count
        elif is_fenced:  # Code that was cut or is wrong is no program, nor is a part of it.
            return
        else:
            prose = (
                n for n, line in enumerate(own) if line[:1].isalpha() and not _CODE.match(line)
            )
            begin += next(prose, len(own))


def _parsed(text: str) -> list[ast.stmt] | int:
    """Give the statements of a text, or the line at which it is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text).body
    except SyntaxError as error:
        return error.lineno or 0
    except (ValueError, RecursionError, MemoryError):
        return 0
    return next((one.lineno for one in body if isinstance(one, ast.Return)), body)


def _trimmed(text: str, body: list[_Statement], known: set[str]) -> _Program:
    """Leave out, at both ends, words that are Python by chance, and numbers that were printed."""
    known = known.union(_KNOWN, *(one.gives for one in body))

    def is_word(one: _Statement) -> bool:
        is_bare = isinstance(one.node, ast.AnnAssign) and one.node.value is None
        if not is_bare and not isinstance(one.node, ast.Expr):
            return False
        return "*" not in known and not one.reads <= known and not one.calls & known

    begin, end = 0, len(body)
    while begin < end and is_word(body[begin]):
        begin += 1
    while begin < end and (is_word(body[end - 1]) or _is_constant(body[end - 1])):
        end -= 1
    if end - begin == len(body) or begin == end:
        return _Program(text, tuple(body[begin:end]))
    first = body[begin].node
    line = min(one.lineno for one in (first, *getattr(first, "decorator_list", ())))
    lines = text.split("\n")[line - 1 : body[end - 1].node.end_lineno]
    return _Program("\n".join(lines), tuple(body[begin:end]))


def _is_constant(one: _Statement) -> bool:
    return isinstance(one.node, ast.Expr) and isinstance(one.node.value, ast.Constant)


def _statement(node: ast.stmt) -> _Statement:
    """Find which names a statement gives, changes (by a method or an index) and reads."""
    top = symtable.symtable(ast.unparse(node), "", "exec")
    gives = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}
    reads = {one.get_name() for one in top.get_symbols() if one.is_referenced()}
    tables = list(top.get_children())
    while tables:
        table = tables.pop()
        tables += table.get_children()
        reads |= {one.get_name() for one in table.get_symbols() if one.is_global()}
    changes, calls = set[str](), set[str]()
    for one in ast.walk(node):
        match one:
            case ast.Call(func=called):
                calls.add(getattr(called, "id", getattr(called, "attr", "")))
            case ast.AugAssign(target=target):
                changes.add(_root(target))
            case ast.Subscript(ctx=ast.Store()) | ast.Attribute(ctx=ast.Store()):
                changes.add(_root(one))
            case ast.Expr(value=ast.Call(func=ast.Attribute() as method)):
                changes.add(_root(method))
    if isinstance(node, _SCOPES):
        changes.clear()
    if not isinstance(node, ast.Assign | ast.AnnAssign):  # else what is read was there before
        reads -= gives
    if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
        gives.add("*")
    return _Statement(node, *map(frozenset, (gives, changes, reads | changes, calls)))


def _root(node: ast.expr) -> str:
    """Name what an index or an attribute is of; "": nothing with a name."""
    while isinstance(node, ast.Subscript | ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _last(programs: Sequence[_Program]) -> tuple[bool, str]:
    """Choose the last program that prints and lacks no name; say whether it does."""
    best: tuple[tuple[bool, bool], str] | None = None
    before = [one for program in programs for one in program.body]
    for program in reversed(programs):
        before = before[: len(before) - len(program.body)]
        taken, lacks = _taken(before, program.body)
        prints = _prints([*taken, *program.body], program.body)
        rank = (prints, not lacks)
        if best is None or rank > best[0]:
            best = rank, "\n".join([*(ast.unparse(one.node) for one in taken), program.text])
        if rank == (True, True):
            break
    assert best is not None
    return best[0][0], best[1]


def _taken(
    before: Sequence[_Statement], body: Sequence[_Statement]
) -> tuple[list[_Statement], bool]:
    """Give the earlier statements that a program needs, and whether it still lacks a name."""
    given = frozenset().union(*(one.gives for one in body))
    seen, needed = set(_KNOWN), set[str]()
    for one in body:
        needed |= one.reads - seen - (given if isinstance(one.node, _SCOPES) else set())
        seen |= one.gives
    taken: list[_Statement] = []
    found: set[str] = set()
    for one in reversed(before if needed else ()):
        if needed & (one.gives | one.changes) or "*" in one.gives:
            taken.append(one)
            found |= one.gives
            needed |= one.reads - _KNOWN
    return taken[::-1], not ("*" in given | found or needed <= found)


def _prints(statements: Sequence[_Statement], body: Sequence[_Statement]) -> bool:
    """Say whether a program shows something when it is run."""
    flow = [one for one in body if not isinstance(one.node, _SCOPES)]
    if any(one.gives & _SHOWN for one in body):
        return True
    if flow and isinstance(flow[-1].node, ast.Expr) and flow[-1].reads:
        return True
    return any(one.calls for one in flow) and any(one.calls & _PRINTING for one in statements)
