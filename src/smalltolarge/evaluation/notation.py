r"""Write answers in one notation: LaTeX, Unicode, plain text, what Python, numpy and sympy print.

``<=``, ``oo``, ``°``, ``or`` for unions, ``¤`` for a dollar that is money. What only dresses an
answer (dollar signs, boxes, spaces) is dropped.
"""

from __future__ import annotations

import re
import unicodedata

from smalltolarge.evaluation.numerals import compiled, plain, rewritten, unprinted

_COMMANDS = {
    name: instead
    for instead, names in {
        "": "left right displaystyle textstyle large Large huge rm bf checkmark blacksquare square",
        r"\frac": "dfrac tfrac cfrac nicefrac sfrac", r"\binom": "dbinom tbinom", r"\\": "cr",
        " ": "quad qquad", "<=": "le leq leqslant", ">=": "ge geq geqslant", "!=": "ne neq",
        "<": "lt", ">": "gt", ":": "colon", "|": "mid lvert rvert", "[": "brack lbrack",
        "]": "rbrack", r"\{": "lbrace", r"\}": "rbrace", "(": "langle", ")": "rangle",
        "oo": "infty", "°": "degree deg", r"\text{no solution}": "emptyset varnothing",
        " or ": "cup bigcup lor vee", " and ": "land wedge", "∩": "cap", "=": "equiv",
    }.items()
    for name in names.split()
}  # fmt: skip
_UNICODE = {
    "×": r"\times ", "÷": "/", "·": r"\cdot ", "π": r"\pi ", "∞": "oo", "∪": " or ",
    "≤": "<=", "≥": ">=", "≠": "!=", "∈": r"\in ", "±": r"\pm ", "∓": r"\mp ", "θ": r"\theta ",
    "≈": r"\approx ", "–": "-", "√": r"\sqrt", "∛": r"\sqrt[3]", "ℝ": "(-oo,oo)",
    "∅": r"\text{no solution}", "′": "'", "º": "°", "˚": "°",
}  # fmt: skip
_FONTS = r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:rm|bf|it|sf)|mbox|operatorname)"
TEXT = _FONTS + r"\s*\{([^{}]{0,200})\}"
_BRACED = r"\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}"
_ROWS = r"\\(?:begin|end)\{(?:align(?:ed)?|gather(?:ed)?|equation|split|cases)\*?\}"
_RULES = compiled(
    (r"(?<![\w)])([⁰-⁹¹²³]+)/([₀-₉]+)", lambda match: unicodedata.normalize("NFKC", match[0])),
    ("[⁻⁰-⁹¹²³]+", lambda match: f"^{{{unicodedata.normalize('NFKC', match[0])}}}"),
    (r"(?<=[a-z])\^\{([23])\}(?=\})", r"^\1"),
    ("[₀-₉]+", lambda match: f"_{{{unicodedata.normalize('NFKC', match[0])}}}"),
    (f"[{''.join(_UNICODE)}]", lambda match: _UNICODE[match[0]]),
    (r"([0-9]*\.([0-9]*))\\(?:overline|bar)\s*\{([0-9]{1,40})\}",
     lambda match: f"(0{match[1]}0+{match[3]}/{'9' * len(match[3])}{'0' * len(match[2])})"),
    (r"\\(?:left\s*<|(right)\s*>)", lambda match: ")" if match[1] else "("),
    (r"\\(?:operatorname|mathrm|text)\s*\{((?:a|arc)?(?:sin|cos|tan)h?|csc|sec|cot|ln|log|exp)\}",
     r"\\\1"),
    (r"\\(?:left|right)\s*\.|\\[bB]igg?[lrm]?(?![a-z])|\\(?:phantom|tag|[hv]space|label)\*?\s*\{[^{}]*\}|\{\}"
     r"|\\[pb]mod\s*(?:\{\w+\}|\w+)|\\text\{[.,;]\}", ""),
    (r"\\([A-Za-z]+)", lambda match: _COMMANDS.get(match[1], match[0])),
    (r"\{,\}|,\s?\\!\s*", ""),
    (rf"(?:{_FONTS}\s*(?=\{{[^{{}}]*[\\{{])|\\(?:boldsymbol|bm|underline|ensuremath"
     r"|(?:text)?color\s*\{\w+\})\s*(?=\{))", ""),
    (r"(?:\{|^)((?:[^{}]|\{[^{}]*\})*)\\over(?![a-z])((?:[^{}]|\{[^{}]*\})*)(?:\}|$)",
     r"\\frac{\1}{\2}"),
    (r"(?:\bUS)?\\\$|\bUSD(?=\s*[0-9.])", "¤"),
    (r"^(?:negative|minus)\s+(?=[0-9\\])", "-"),
    (r"\s*\b(?:is )?(greater|less) than (or equal to\b)?",
     lambda match: " " + "<>"[match[1] == "greater"] + ("=" if match[2] else "")),
    (r"\b[Aa]ll real numbers(?= [<>])", "x"),
    (r"\\text\s*\{([^{}]*[<>]=?\s*)\}", r"\1"),
    (r"\^\s*(\{\s*)?(?:\\circ|°|\\text\{o\}|o\b)(?(1)\s*\})", "°"),
    (r"\s*(?:\\text\s*\{)?\s*\(\s*(?:\\text\s*\{)?\s*(?:\\approx|approx\w*\.?|about)[^()]*\)\}?$",
     ""),
    (r"(?<=[)\]])\s*\^\s*\{?(?:T|\\top)\}?$", ""),
    (r"\\?%|\bper ?cent\b", "%"),
    (r"\\text(?:bf|rm)?\s*\{\s*[,;]?\s*(and|or)\s*\}", r" \1 "),
    (r"(?<=\))\s*\|\s*(?=\()", " or "),
    (r"(?<=\))\s*&\s*(?=\()", " and "),
    (r"(?<!\\)\\[,;:! ]|~", " "),
    (r"\\not\s?=", "!="),
    (r"==", "="),
    (r"(?<=[0-9])j(?=\)?$)", "*I"),
    (r"\bE(?=\*\*)|(?<=\*)E\b", "exp(1)"),
    (r"\+oo\b|\binfinity\b", "oo"),
    (r"\\mathbb\s*\{?\s*R\s*\}?|\bReals\b|\bS\.Reals\b", "(-oo,oo)"),
    (r"(?:\\text\s*\{)?\s*\b[aA]ll (?:real numbers|reals)\b\s*\}?", "(-oo,oo)"),
    (r"\(-oo,\s?oo\)\s*(?:\\setminus|\\backslash|-|except(?: for)?)\s*\\?[{}]?"
     r"([^{}\\]+)(?:\\?\})?", r"x != \1"),
    (r"\b([A-Za-z])\s*!=\s*([^,=<>!]+),\s*(?:\1\s*!=)?", r"\1 != \2 and \1 != "),
    (r"\bEmptySet\b|\bset\(\)|^\[\]$|\\\{\s*\\\}", r"\\text{no solution}"),
    (r"\\sqrt\s*([0-9.]{2,}|[0-9.]+(?=[a-z(]))", r"\\sqrt{\1}"),
    (r"\\sqrt\(", r"sqrt("),
    (r"(?<=[)\]}])\s*U\s*(?=[(\[{\\])", " or "),
    (r"\b([aApP])\.\s?[mM]\b\.?", r"\1m"),
    (r"\b0(?=[1-9]:[0-9]{2})", ""),
    (r"\\overline\{([A-Z]{2}|[0-9A-F]+(?=\}_))\}", r"\1"),
    (r"(?<=\])\s+(?=\[)", ","),
    (r"\b0b([01]+)\b", r"\1_2"),
    (r"\s*(?:\\text\s*\{)?\s*\(?(?:in )?base\s*\}?\s*([0-9]+|[a-z]+)\)?\}?$", r"_{\1}"),
)  # fmt: skip
_WRAPPED = [
    re.compile(pattern, re.DOTALL)
    for pattern in (r"\$\$(.*)\$\$", r"\$([^$]*)\$", r"\\\((.*)\\\)", r"\\\[(.*)\\\]",
                    r"\*\*(.*)\*\*", r"`(.*)`",
                    rf"\\f?box(?:ed)?\s*{_BRACED}", rf"(?![^:|]*[A-Za-z')]\s*[:|]){_BRACED}")
]  # fmt: skip
NAME = re.compile(r"\\?(?!pi\b)[A-Za-z]+(?:\s?\([A-Za-z]\)|_\{?\w+\}?)?'?")
"""What an equation may say the value of: ``x``, ``f(x)``, ``a_1``."""


def clean(text: str) -> str:
    """Write an answer in one notation, without what only dresses it."""
    text = unprinted(plain(text))
    if r"\\" in text and not re.search(r"(?<!\\)(?:\\\\)*\\(?=[A-Za-z])", text):
        # No command stands with one backslash: all are doubled, as in JSON.
        text = re.sub(r"\\\\(?=\\\\|[^\\])", r"\\", text)
    text = rewritten(text.strip(), _RULES)
    if r"\begin" in text and "matrix" not in text and "array" not in text:
        text = re.sub(r"\\\\\s*&?\s*=", "=", re.sub(_ROWS, "", text))
        text = re.sub(r"\\\\", ",", text.replace("&", ""))
    for _ in range(4):
        text = re.sub(r"[.,;:]+$", "", text.strip()).strip()
        for wrapped in _WRAPPED:
            if match := wrapped.fullmatch(text):
                text = match[1].strip()
    text = re.sub(r"^(-?)\s*\$(?=\s*[0-9.])(?!.*\$)", r"\1¤", text).replace("$", "")
    lead = r"^(?:(?:\\approx|=)\s*|(?:either|both|approximately|about|exactly)\s+)"
    text = re.sub(lead, "", text).strip()
    # "7/9 \approx 0.78" states the first, "x \approx 11" the second.
    exact = text.partition(r"\approx")[0].strip()
    return exact if exact and not NAME.fullmatch(exact) else text.replace(r"\approx", "=")
