"""Attributes of the clauses of an `ml` region: about the data it collects, and about where its model may be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xdsl.ir import Data
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException

from hpacml.clauses import (
    GUARD_NUMBERS,
    GUARD_WORDS,
    KEYS,
    VERIFICATION_KEYS,
    Bounds,
    Guard,
    Sampling,
    Verification,
)


@irdl_attr_definition
class SampleAttr(Data[Sampling]):
    """Which calls are collected, `<every: 10, fraction: 0.1, seed: 42, most: 1000>`."""

    name = "hpacml.sample"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Sampling:
        def setting() -> tuple[str, int | float]:
            key = parser.parse_identifier()
            if key not in KEYS:
                parser.raise_error(f"expected one of {', '.join(KEYS)}")
            parser.parse_punctuation(":")
            return key, parser.parse_float() if key == "fraction" else parser.parse_integer(allow_boolean=False)

        return Sampling.of(dict(parser.parse_comma_separated_list(parser.Delimiter.ANGLE, setting)))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))


@irdl_attr_definition
class VerifyAttr(Data[Verification]):
    """Which inferences are checked, `<every: 100, tolerance: 0.01, metric: rmse, window: 20, then: accurate>`."""

    name = "hpacml.verify"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Verification:
        def setting() -> tuple[str, Any]:
            key = parser.parse_identifier()
            if key not in VERIFICATION_KEYS:
                parser.raise_error(f"expected one of {', '.join(VERIFICATION_KEYS)}")
            parser.parse_punctuation(":")
            if key in ("metric", "then"):
                return key, parser.parse_identifier()
            number = parser.parse_number(allow_boolean=False)
            return key, float(number) if key == "tolerance" else number

        settings = dict(parser.parse_comma_separated_list(parser.Delimiter.ANGLE, setting))
        if not {"every", "tolerance"} <= settings.keys():
            parser.raise_error("expected every and tolerance")
        return Verification(**settings)

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))

    def verify(self) -> None:
        if (fault := self.data.fault) is not None:
            raise VerifyException(fault)


@irdl_attr_definition
class UnitsAttr(Data[tuple[tuple[str, str], ...]]):
    """The units of arrays, `<t: "K", tnew: "K">`."""

    name = "hpacml.units"

    @staticmethod
    def of(units: Mapping[str, str]) -> UnitsAttr | None:
        """None for no units."""
        return UnitsAttr(tuple(units.items())) if units else None

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[tuple[str, str], ...]:
        def text() -> str:
            # A string that is not ASCII is bytes to xDSL.
            found = parser.parse_optional_str_literal()
            return parser.parse_bytes_literal().decode() if found is None else found

        def unit() -> tuple[str, str]:
            array = parser.parse_optional_identifier() or text()
            parser.parse_punctuation(":")
            return array, text()

        return tuple(parser.parse_comma_separated_list(parser.Delimiter.ANGLE, unit))

    def print_parameter(self, printer: Printer) -> None:
        def unit(pair: tuple[str, str]) -> None:
            printer.print_identifier_or_string_literal(pair[0])
            printer.print_string(": ")
            printer.print_string_literal(pair[1])

        with printer.in_angle_brackets():
            printer.print_list(self.data, unit)


@irdl_attr_definition
class GuardAttr(Data[Guard]):
    """Where the model may be used, `<range, margin: 0.1, distance: 4.0, below: 0.1>`."""

    name = "hpacml.guard_settings"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> Guard:
        def setting() -> tuple[str, float | bool]:
            key = parser.parse_identifier()
            if key in GUARD_WORDS:
                return key, True
            if key not in GUARD_NUMBERS:
                parser.raise_error(f"expected one of {', '.join((*GUARD_WORDS, *GUARD_NUMBERS))}")
            parser.parse_punctuation(":")
            return key, float(parser.parse_number())

        return Guard(**dict(parser.parse_comma_separated_list(parser.Delimiter.ANGLE, setting)))  # pyright: ignore[reportArgumentType]

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(str(self.data))

    def verify(self) -> None:
        if (fault := self.data.fault) is not None:
            raise VerifyException(fault)


@irdl_attr_definition
class ClipAttr(Data[tuple[Bounds, ...]]):
    """What each output is clipped to, in their order, `<0.0:, 0.0:1.0, :>`."""

    name = "hpacml.clip"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[Bounds, ...]:
        def bounds() -> Bounds:
            low = parser.parse_optional_number()
            parser.parse_punctuation(":")
            high = parser.parse_optional_number()
            return Bounds(None, *(None if bound is None else float(bound) for bound in (low, high)))

        return tuple(parser.parse_comma_separated_list(parser.Delimiter.ANGLE, bounds))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(", ".join(map(str, self.data)))


def verify_sample(sample: SampleAttr | None) -> None:
    """Raise `VerifyException` for a sampling that makes no sense."""
    if sample is not None and (fault := sample.data.fault) is not None:
        raise VerifyException(fault)
