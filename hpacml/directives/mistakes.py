"""What to say about directive text that the grammar refuses: what was found, what was expected, the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, cast

from lark import Lark, Token, Tree, UnexpectedInput
from lark.lexer import PatternStr

from hpacml.errors import DirectiveError

Stack = Sequence[Token | Tree[Token]]

SYNONYMS = {
    "collection": "collect",
    "db": "database",
    "inference": "infer",
    "input": "in",
    "inputs": "in",
    "labels": "truth",
    "metadata": "meta",
    "name": "label",
    "online": "infer",
    "output": "out",
    "outputs": "out",
    "sampling": "sample",
    "subsample": "sample",
    "train": "collect",
    "unit": "units",
    "bounds": "clip",
    "clamp": "clip",
    "guards": "guard",
    "check": "verify",
    "verification": "verify",
    "projection": "project",
}
SETTING_SYNONYMS = {
    "limit": "most",
    "max": "most",
    "nth": "every",
    "probability": "fraction",
    "rate": "fraction",
    "step": "every",
    "stride": "every",
}
GUARD_SYNONYMS = {
    "bounds": "range",
    "domain": "range",
    "if": "where",
    "mask": "where",
    "mahalanobis": "distance",
    "ranges": "range",
    "uncertainty": "below",
    "spread": "below",
    "tolerance": "margin",
}
VERIFY_SYNONYMS = {
    "error": "metric",
    "interval": "every",
    "limit": "tolerance",
    "policy": "then",
    "step": "every",
    "threshold": "tolerance",
}
LOOKALIKES = {
    **dict.fromkeys("\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb`\u00b4", "straight quotes"),
    **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\uff0d", "'-'"),
    **dict.fromkeys("\u00d7\u00b7\u22c5\u2217", "'*'"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200b\u202f\u3000\ufeff", "a plain space"),
    "\u2264": "'<='",
    "\u2265": "'>='",
    "\u2260": "'!='",
    "\u00f7": "'/'",
    "\u2227": "'and'",
    "\u2228": "'or'",
    **{chr(ord(ascii) + 0xFEE0): f"'{ascii}'" for ascii in "()[]:,=+*/<>#"},  # full-width
}
"""Characters that look like others, or that editors put in their place, and what to write instead."""

DESCRIBED = {"NAME": "a name", "STRING": "a quoted string", "INT": "an integer"}
OPERATORS = {"COMPARE", "+", "-", "*", "/", "//", "%", "and", "&&", "or", "||"}
MAY_FOLLOW_NO_OPERAND = {":", ",", "]"}
CLOSING = {"(": ")", "[": "]"}
DIRECTIVES = {"approx", "declare", "ml", "tensor"}
FILES = ("model", "database", "label")

NO_ELEMENTS = "an expression cannot read an element of an array; compute it before and use its name"
NO_CALLS = "an expression has no calls but len(a); compute the value before and use its name"
NO_COMMENTS = "a directive cannot hold a comment"
WHICH_ELEMENTS = "say which elements, as in t[0:n, 0:m]"
ONE_PAIR = "all dimensions stand in one pair of brackets, as in t[0:n, 0:m]"
NAMES = "a name is made of letters, digits and '_', and begins with no digit"
ARRAY_NAMES = "an array goes by one name: give what is meant a name before, and use that"
FUNCTOR_SPELLING = "write 'tensor functor(...)' or 'declare tensor_functor(...)'"
DECLARATION = "a functor is declared as f: [i, 0:2] = ([i], [i+1])"

Hints = dict[str, bool]
"""Fixes, each with whether it applies; the first that does is shown."""


def explain(error: UnexpectedInput, text: str, grammar: Lark) -> DirectiveError:
    """The error to raise for `text`, in which the parser of `grammar` met `error`."""
    parser = cast(Any, error).interactive_parser
    spelling = {t.name: t.pattern.value for t in grammar.terminals if isinstance(t.pattern, PatternStr)}
    clauses = {spelling[rule.expansion[0].name] for rule in grammar.rules if rule.origin.name == "clause"}
    accepted = {spelling.get(name, name) for name in cast("set[str]", parser.accepts())}
    stack = cast(Stack, parser.parser_state.value_stack)
    if "[" in accepted and _is_name(stack[-1:]):  # a target, although a number might stand there, too
        accepted = {"["}

    token = cast(Token | None, getattr(error, "token", None))
    if token is None:
        start = error.pos_in_stream or 0
        return _unexpected(_Place(text, start, start + 1, accepted, stack, clauses))
    if token.type != "$END":
        return _unexpected(_Place(text, token.start_pos or 0, token.end_pos or 0, accepted, stack, clauses))
    end = len(text.rstrip())
    return _too_early(_Place(text, end, end, accepted, stack, clauses))


@dataclass(frozen=True)
class _Place:
    """Characters `start` to `end` of a text, which the parser refused; `accepted` would have been welcome.

    `stack` is what the parser had read, and `clauses` are the words with which a clause begins.
    """

    text: str
    start: int
    end: int
    accepted: set[str]
    stack: Stack
    clauses: set[str]

    @property
    def found(self) -> str:
        return self.text[self.start : self.end]

    @property
    def before(self) -> str:
        """The text before, on the same line or earlier."""
        return self.text[: self.start].rstrip()

    @property
    def after(self) -> str:
        return self.text[self.end :].lstrip()

    @property
    def begins_line(self) -> bool:
        return not self.text[self.text.rfind("\n", 0, self.start) + 1 : self.start].strip()

    @property
    def top(self) -> str:
        """The word or character that was read last, or '' if it already is part of a parsed rule."""
        return _word(self.stack[-1:])

    @property
    def top_is_name(self) -> bool:
        return _is_name(self.stack[-1:])

    @property
    def bracket(self) -> int | None:
        """The position in `stack` of the innermost open bracket."""
        places: list[int] = []
        for place, item in enumerate(self.stack):
            if isinstance(item, Token) and item in CLOSING:
                places.append(place)
            elif isinstance(item, Token) and item in CLOSING.values():
                places.pop()
        return places[-1] if places else None

    @property
    def opener(self) -> str:
        """The innermost open bracket, or ''."""
        return "" if self.bracket is None else str(self.stack[self.bracket])

    @property
    def owner(self) -> str:
        """The word before the innermost open bracket, or ''."""
        return _word(self._before_bracket)

    @property
    def _before_bracket(self) -> Stack:
        return self.stack[self.bracket - 1 : self.bracket] if self.bracket else ()

    @property
    def wants_operand(self) -> bool:
        return "FLOAT" in self.accepted

    @property
    def follows_operand(self) -> bool:
        return "COMPARE" in self.accepted

    @property
    def in_target(self) -> bool:
        return self.opener == "[" and _is_name(self._before_bracket)


def _word(stack: Stack) -> str:
    """The one element of `stack` if it is a word."""
    return "".join(str(item) for item in stack if isinstance(item, Token))


def _is_name(stack: Stack) -> bool:
    """Whether the one element of `stack` is a name."""
    return any(isinstance(item, Token) and item.type == "NAME" for item in stack)


def _too_early(place: _Place) -> DirectiveError:
    if place.bracket is not None:
        opener = cast(Token, place.stack[place.bracket])
        message = f"this '{opener}' is never closed; expected {_expected(place.accepted)} at the end"
        return DirectiveError(message, place.text, opener.start_pos or 0)
    message = f"the text ends too early; expected {_expected(place.accepted)}"
    hints = {
        "leave the ',' at the end out": place.before.endswith(","),
        WHICH_ELEMENTS: place.accepted == {"["} and place.top_is_name,
        "say the mode, as in ml(infer) or ml(collect)": place.top == "ml",
    }
    hint = next((f": {hint}" for hint, applies in hints.items() if applies), "")
    return DirectiveError(message + hint, place.text, place.start)


def _unexpected(place: _Place) -> DirectiveError:
    message = f"found {_shown(place.found)}, expected {_expected(place.accepted)}"
    if similar := _similar(place):
        message += f"; did you mean '{similar}'?"
    elif hint := _hint(place):
        message += f": {hint}"
    return DirectiveError(message, place.text, place.start, place.end)


def _similar(place: _Place) -> str | None:
    """The keyword that may have been meant."""
    words = {word for word in place.accepted if word.isalpha() and word.islower()}
    if "inout" in words and not place.begins_line:
        words -= DIRECTIVES
    found = place.found.lower()
    if found == "tensor_functor":
        return None
    if SYNONYMS.get(found) in words:
        return SYNONYMS[found]
    return next(iter(get_close_matches(found[:40], sorted(words), n=1)), None)


def _hint(place: _Place) -> str | None:
    """The fix for a known mistake, else None."""
    groups = (_characters, _directives, _settings, _brackets, _ranges, _names, _clauses, _expressions)
    return next((hint for group in groups for hint, applies in group(place).items() if applies), None)


def _characters(place: _Place) -> Hints:
    found = place.found
    return {
        "this quote is not closed on its line": found in ("'", '"'),
        f"write {LOOKALIKES.get(found)}": found in LOOKALIKES,
        "a '\\' continues a directive only at the end of a line": found == "\\",
        "leave the semicolon out": found == ";",
        "write '#pragma approx', or leave it out": found == "#" and not place.stack,
        NO_COMMENTS: found == "#" or (found in ("//", "/") and place.after[:1] != "" and "tensor" in place.accepted),
        "slices stand in square brackets, as in [i, j]": found in ("{", "}"),
    }


def _directives(place: _Place) -> Hints:
    """Fixes where a directive begins or ends."""
    found, begins = place.found, "tensor" in place.accepted
    return {
        "one directive is expected here": not place.accepted,
        f"close the '{place.opener}' before the next directive": (
            bool(place.opener) and place.begins_line and found in DIRECTIVES | {"#pragma"}
        ),
        FUNCTOR_SPELLING: (
            (found in ("functor", "tensor_functor") and begins) or (found == "functor" and "declare" in place.stack)
        ),
        "write 'tensor map(...)'": found == "map" and begins,
        "write 'tensor map(...)', or 'declare tensor(name: ...)'": found == "map" and "declare" in place.stack,
        "an array is mapped with 'tensor map(to: f(t[0:n]))'": begins and found in ("to", "from"),
        "clauses come after the mode, as in ml(infer) in(t)": begins and not place.stack and found in place.clauses,
        "a functor is declared with 'tensor functor(f: ...)'": begins and place.after[:1] == ":",
        "only directives of 'approx' have a meaning here": begins and "#pragma" in place.before[-8:],
        "say the mode, as in ml(infer), ml(collect) or ml(predicated: c)": place.top == "ml",
        "a directive begins with 'tensor functor', 'tensor map' or 'ml'": begins and not place.stack,
        "a map applies one functor: write another map for the next": (
            found == "," and place.accepted == {")"} and ":" in place.stack
        ),
    }


def _settings(place: _Place) -> Hints:
    """Fixes in the clauses that take pairs."""
    pair = {
        "sample": "sample(every: 10)",
        "meta": "meta(step: n)",
        "units": 'units(t: "K")',
        "guard": "guard(range)",
        "clip": "clip(0:1)",
    }.get(place.owner or "")
    if pair is None:
        return {}
    return {
        f"a ':' comes after it, as in {pair}": place.accepted == {":"},
        f"say {'of which array' if place.owner == 'units' else 'what the number is'}, as in {pair}": (
            place.accepted == {"NAME"} and (place.found[0].isdigit() or place.found[0] in "'\".-")
        ),
        f"give at least one, as in {pair}": place.found == ")" and place.top == "(",
        "write a part of 1, as in fraction: 0.1": place.found == ")" and place.top == "%",
        "write a condition, as in guard(where: t > 5)": (
            place.owner == "guard" and place.found == ")" and place.top == ":"
        ),
        f"write a number, as in {pair}": place.found in (")", ",") and place.top == ":",
        "bounds are numbers, as in clip(0:1)": place.owner == "clip" and place.found.isidentifier(),
        f"write the unit between quotes, as in {pair}": place.accepted == {"STRING"},
        "a ',' stands between two": {",", ")"} <= place.accepted and place.found.isidentifier(),
    }


def _brackets(place: _Place) -> Hints:
    found, top, opener = place.found, place.top, place.opener
    closes = found in CLOSING.values()
    after_target = top == "]" and place.in_target
    return {
        "no bracket is open here": closes and not opener,
        f"close the '{opener}' first": (closes and found != CLOSING.get(opener)) or (found == "=" and opener == "["),
        NO_ELEMENTS: (found == "[" and place.follows_operand) or (found in OPERATORS | {":"} and after_target),
        "leave the ',' before it out": closes and place.before.endswith(","),
        "a ',' stands between slices": found == "[" and top == "]" and "=" in place.stack,
        ONE_PAIR: found == "[" and top == "]",
        "the slices on the right stand in parentheses, as in ([i-1], [i+1])": found == "[" and top == "=",
        "the right side follows, as in [i, 0:2] = ([i], [i+1])": place.accepted == {"="},
        "give at least one slice, as in ([i-1], [i+1])": found == ")" and top == "(" and place.accepted == {"["},
        "give at least one": found == ")" and top == "(" and place.accepted == {"NAME"},
        "a ',' stands between two": place.accepted == {",", ")"} and found.isidentifier(),
    }


def _ranges(place: _Place) -> Hints:
    colon = place.found == ":" and place.wants_operand
    empty = place.found == "]" and place.top == "["
    return {
        "a range in a functor needs both bounds, as in 0:5": colon and place.opener == "[",
        WHICH_ELEMENTS: (empty and place.in_target) or (place.found == "." and place.top == "["),
        "give one entry for each dimension, as in [i, j]": empty,
    }


def _names(place: _Place) -> Hints:
    found, accepted, alone = place.found, place.accepted, len(place.stack) == 1
    takes_bracket = accepted == {"["} and place.top_is_name
    return {
        "a ':' comes after it, as in to: f(t[0:n])": accepted == {":"} and place.top in ("to", "from"),
        "say the direction first, as in to: f(t[0:n])": accepted == {"to", "from"},
        "the direction comes first, as in to: f(t[0:n]), or a name in declare tensor(x: f(t[0:n]))": (
            found == "(" and accepted == {":"} and place.top_is_name and "tensor" in place.stack[-3:-2]
        ),
        DECLARATION: found in ("[", "(") and ((accepted == {":"} and place.top_is_name) or accepted == {"NAME"}),
        "a functor is applied to the array, as in f(t[0:n])": (found == "[" and "(" in accepted and place.top_is_name),
        "targets are arrays, as in t[0:n]; which functor is known here": takes_bracket and found == "(" and alone,
        NAMES: (accepted == {":"} and place.top_is_name and not found.isidentifier() and found not in "([")
        or (accepted == {"NAME"} and found.isdigit()),
        ARRAY_NAMES: (takes_bracket and found in (".", "-")) or (accepted == {"NAME"} and found in ("*", "&")),
        WHICH_ELEMENTS: takes_bracket,
    }


def _clauses(place: _Place) -> Hints:
    found, accepted, top = place.found, place.accepted, place.top
    in_file = place.owner in FILES
    return {
        f"it stands in parentheses, as in {top}(...)": found == "[" and accepted <= {"(", ","} and "(" in accepted,
        f"'{place.owner}' takes only one": in_file and found == ",",
        "put the text between quotes": in_file and found != ")",
        "write it between quotes": in_file,
        "write the condition, as in predicated: step > 10": found == ")" and top == ":" and place.wants_operand,
        f"there is no clause '{found[:40]}'": "inout" in accepted and found.isidentifier() and found not in DIRECTIVES,
        "write the number of rows in digits, or just batch": accepted == {"INT"} and place.owner == "batch",
    }


def _expressions(place: _Place) -> Hints:
    found, follows, top = place.found, place.follows_operand, place.top
    previous, following = place.text[place.start - 1 : place.start], place.text[place.end : place.end + 1]
    number = follows and found.isidentifier() and previous.isdigit()
    return {
        "write '!='": previous + found == "<>",
        f"write '{following}='": found == "=" and following in ("<", ">"),
        "there are no shifts: multiply or divide": previous + found in ("<<", ">>"),
        NO_CALLS: found in ("(", ".") and follows,
        "compare with '=='": found == "=" and follows and place.opener == "(",
        "write 'and' or 'or'": found in ("&", "|"),
        "there is no power operator": (found == "*" and top == "*") or found == "^",
        "there is no '?'; compute the value before and use its name": found == "?",
        "'+' stands between two operands": found == "+" and place.wants_operand,
        "write numbers in decimal digits": number and previous == "0" and found[0] in "xXbBoO",
        "write the number without '_'": number and found[0] == "_",
        "a product needs its '*'": number,
    }


def _expected(accepted: set[str]) -> str:
    """The terminals `accepted` in words."""
    phrases: list[str] = []
    rest = accepted - {"_PRAGMA"}
    if "FLOAT" in rest:
        phrases.append("an expression")
        rest &= MAY_FOLLOW_NO_OPERAND
    if "COMPARE" in rest:
        phrases.append("an operator")
        rest -= OPERATORS | {"["}
    another = "tensor" in rest and "$END" in rest
    if another:
        rest -= DIRECTIVES
    if "tensor" in rest:
        rest -= {"approx"}
    if "inout" in rest:
        rest -= {","}
    phrases += [text for name, text in DESCRIBED.items() if name in rest]
    phrases += sorted(f"'{name}'" for name in rest - DESCRIBED.keys() - {"$END"})
    if another:
        phrases.append("another directive")
    if "$END" in rest or not phrases:
        phrases.append("the end of the text")
    return " or ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def _shown(found: str) -> str:
    """`found` in quotes; an invisible character by its number."""
    if found.isprintable() and not found.isspace():
        return f"'{found}'" if len(found) <= 40 else f"'{found[:40]}...'"
    return f"the character U+{ord(found[0]):04X}"
