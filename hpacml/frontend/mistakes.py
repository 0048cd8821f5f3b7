"""What to say about directive text that the grammar refuses: what was found, what was expected, the fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, cast

from lark import Token, Tree, UnexpectedInput
from lark.lexer import PatternStr, TerminalDef

from hpacml.errors import DirectiveError

Stack = Sequence[Token | Tree[Token]]

SYNONYMS = {
    "collection": "collect",
    "db": "database",
    "inference": "infer",
    "input": "in",
    "inputs": "in",
    "name": "label",
    "online": "infer",
    "output": "out",
    "outputs": "out",
    "train": "collect",
}
DESCRIBED = {"NAME": "a name", "STRING": "a quoted string", "INT": "an integer"}
OPERATORS = {"COMPARE", "+", "-", "*", "/", "//", "%", "and", "&&", "or", "||"}
MAY_FOLLOW_NO_OPERAND = {":", ",", "]"}
CLOSING = {"(": ")", "[": "]"}


def explain(error: UnexpectedInput, text: str, terminals: Iterable[TerminalDef]) -> DirectiveError:
    """The error to raise for `text`, in which lark's parser met `error`."""
    parser = cast(Any, error).interactive_parser
    spelling = {t.name: t.pattern.value for t in terminals if isinstance(t.pattern, PatternStr)}
    accepted = {spelling.get(name, name) for name in cast("set[str]", parser.accepts())}
    stack = cast(Stack, parser.parser_state.value_stack)
    bracket = _innermost_bracket(stack)

    token = cast(Token | None, getattr(error, "token", None))
    if token is None:
        start = error.pos_in_stream or 0
        end = start + 1
    elif token.type != "$END":
        start, end = token.start_pos or 0, token.end_pos or 0
    elif bracket is not None:
        opener = cast(Token, stack[bracket])
        message = f"this '{opener}' is never closed; expected {_expected(accepted)} at the end"
        return DirectiveError(message, text, opener.start_pos or 0)
    else:
        message = f"the text ends too early; expected {_expected(accepted)}"
        return DirectiveError(message, text, len(text.rstrip()))

    found = text[start:end]
    message = f"found {_shown(found)}, expected {_expected(accepted)}"
    words = sorted(word for word in accepted if word.isalpha() and word.islower())
    synonym = SYNONYMS.get(found.lower())
    similar = [synonym] if synonym in words else get_close_matches(found[:40].lower(), words, n=1)
    if similar:
        message += f"; did you mean '{similar[0]}'?"
    elif hint := _hint(text, start, end, accepted, stack, bracket):
        message += f": {hint}"
    return DirectiveError(message, text, start, end)


def _hint(text: str, start: int, end: int, accepted: set[str], stack: Stack, bracket: int | None) -> str | None:
    """The fix, where the mistake is a known one."""
    found = text[start:end]
    operand, after_operand = "FLOAT" in accepted, "COMPARE" in accepted
    top = stack[-1] if stack else None
    top_is_name = isinstance(top, Token) and top.type == "NAME"
    opener = "" if bracket is None else str(stack[bracket])
    owner = stack[bracket - 1] if bracket else None
    in_target = opener == "[" and isinstance(owner, Token) and owner.type == "NAME"
    hints: dict[str, bool] = {
        "this quote is not closed on its line": found in ("'", '"'),
        "write straight quotes": found in "\u2018\u2019\u201c\u201d\u201e",
        "put the text between quotes": owner in ("model", "database", "label"),
        "one directive is expected here": not accepted,
        "a range needs a start, as in 0:n for the first n elements": found == ":" and operand and in_target,
        "a range in a functor needs both bounds, as in 0:5": found == ":" and operand and opener == "[",
        "no bracket is open here": found in CLOSING.values() and not opener,
        f"close the '{opener}' first": (
            (found in CLOSING.values() and found != CLOSING.get(opener)) or (found == "=" and opener == "[")
        ),
        "an expression cannot read an element of an array; compute it before and use its name": (
            (found == "[" and after_operand) or (found in OPERATORS | {":"} and top == "]" and in_target)
        ),
        "a ',' stands between slices": found == "[" and top == "]" and "=" in stack,
        "all dimensions stand in one pair of brackets, as in t[0:n, 0:m]": found == "[" and top == "]",
        "the slices on the right stand in parentheses, as in ([i-1], [i+1])": found == "[" and top == "=",
        "an expression has no calls and no attributes; compute the value before and use its name": (
            found in ("(", ".") and after_operand
        ),
        "a functor is applied to the array, as in f(t[0:n])": (found == "[" and "(" in accepted and top_is_name),
        "say which elements, as in t[0:n, 0:m]": accepted == {"["} and top_is_name,
        "say the direction first, as in to: f(t[0:n])": accepted == {"to", "from"},
        "give at least one": found == ")" and top == "(" and accepted == {"NAME"},
        "compare with '=='": found == "=" and after_operand and opener == "(",
        "write 'and' or 'or'": found in ("&", "|"),
        "there is no power operator": found == "*" and top == "*",
        "a product needs its '*'": after_operand and found.isidentifier() and text[start - 1].isdigit(),
        "write 'tensor functor(...)' or 'declare tensor_functor(...)'": (found == "functor" and top == "tensor"),
        "write the number of rows in digits, or just batch": accepted == {"INT"},
        "leave the semicolon out": found == ";",
    }
    return next((hint for hint, applies in hints.items() if applies), None)


def _innermost_bracket(stack: Stack) -> int | None:
    """The place in `stack` of the innermost bracket that is open."""
    places: list[int] = []
    for place, item in enumerate(stack):
        if isinstance(item, Token) and item in CLOSING:
            places.append(place)
        elif isinstance(item, Token) and item in CLOSING.values():
            places.pop()
    return places[-1] if places else None


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
    if "tensor" in rest:
        rest -= {"approx"}
    if "inout" in rest:
        rest -= {","}
    phrases += [text for name, text in DESCRIBED.items() if name in rest]
    phrases += sorted(f"'{name}'" for name in rest - DESCRIBED.keys() - {"$END"})
    if "$END" in rest or not phrases:
        phrases.append("the end of the text")
    return " or ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def _shown(found: str) -> str:
    """`found` in quotes; characters that cannot be seen by their number."""
    if found.isprintable() and not found.isspace():
        return f"'{found}'" if len(found) <= 40 else f"'{found[:40]}...'"
    return f"the character U+{ord(found[0]):04X}"
