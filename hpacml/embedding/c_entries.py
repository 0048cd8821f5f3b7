"""LLVM IR of the C functions of a library, which check what they are given and enter the compiled code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpacml.abi.entries import ENTRY_SYMBOLS, CallRecord, Status
from hpacml.abi.symbols import SYMBOLS, VALUES, VERSION
from hpacml.backend.trampolines import is_number, structure
from hpacml.embedding import processors
from hpacml.embedding.c_types import CArray, CNumber, CText, Prototype, c_prototype
from hpacml.embedding.constants import global_text
from hpacml.embedding.exported import REQUIRED, Exported, Version
from hpacml.frontend.python.size_rules import size_rules
from hpacml.frontend.python.types import ScalarType
from hpacml.runtime.arrays.views import Layout

_MULTIPLY = "llvm.umul.with.overflow.i64"
_PRODUCT = "{ i64, i1 }"


def entries(
    functions: Mapping[str, Exported], codes: Mapping[str, Sequence[str]], built_for: str, takes_texts: bool = True
) -> str:
    """LLVM IR of the C functions by their symbols. `codes` has the symbols of the code of each, one for a version.

    A function takes for an array its address, the address of its sizes, and that of its strides, in elements, or null
    for C order without gaps; numbers; addresses of texts or null; addresses of results; at last, if it is for a GPU,
    the stream. It returns a `Status`. The module needs `processors.check` beside it. The code of functions for GPUs is
    what `device_code` makes.
    """
    names = [(code, functions[symbol].chip) for symbol, each in codes.items() for code in each]
    lines = [
        *(symbol.declaration for symbol in (*ENTRY_SYMBOLS, SYMBOLS["hpacml_abi_version"])),
        f"declare {_PRODUCT} @{_MULTIPLY}(i64, i64)",
        *(
            f'declare void @"{name}"(ptr)' if chip is None else f'@"{name}" = external hidden global ptr'
            for name, chip in names
        ),
    ]
    for symbol, exported in functions.items():
        lines += _Entry(symbol, exported, codes[symbol], built_for, takes_texts).lines()
    return "\n".join([*lines, ""])


class _Entry:
    """The C function of one exported function."""

    def __init__(
        self, symbol: str, exported: Exported, codes: Sequence[str], built_for: str, takes_texts: bool
    ) -> None:
        self._symbol, self._exported, self._codes = symbol, exported, codes
        self._built_for, self._takes_texts = built_for, takes_texts
        self._prototype: Prototype = c_prototype(exported)
        self._body: list[str] = []
        self._texts: list[str] = []
        self._count = 0
        self._sizes: list[list[str]] = []
        """The sizes of each array."""
        self._packed: list[list[str]] = []
        """The strides that each array would have in C order without gaps."""
        self._counts: list[str] = []
        """How many elements each array has."""
        self._descriptors: list[str] = []
        """The descriptor of each array, as compiled code takes it."""

    def lines(self) -> list[str]:
        self._check_processor()
        self._check_version()
        self._check_results()
        self._check_texts()
        strides = [self._check_array(array) for array in self._prototype.arrays]
        self._check_size_rules()
        self._enter(self._choose(strides), strides)
        parameters = ", ".join(f"{kind} %{name}" for name, kind in self._parameters())
        head = f'define i32 @"{self._symbol}"({parameters}) {processors.attributes()} {{'
        return [*self._texts, head, *(line if line.endswith(":") else f"  {line}" for line in self._body), "}"]

    def _parameters(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for each in self._prototype.parameters:
            match each:
                case CArray():
                    found += [(each.name, "ptr"), (each.sizes, "ptr"), (each.strides, "ptr")]
                case CNumber(type=type):
                    found.append((each.name, _passed(type)))
                case CText():
                    found.append((each.name, "ptr"))
        found += [(each.name, "ptr") for each in self._prototype.results]
        return found if self._prototype.stream is None else [*found, (self._prototype.stream, "ptr")]

    # -- instructions ----------------------------------------------------------------------------

    def _let(self, instruction: str) -> str:
        """Name what an instruction computes."""
        self._count += 1
        self._body.append(f"%v.{self._count} = {instruction}")
        return f"%v.{self._count}"

    def _text(self, text: str) -> str:
        name = f"{self._symbol}.text{len(self._texts)}"
        self._texts.append(global_text(name, text))
        return f'@"{name}"'

    def _refuse_if(
        self, wrong: str, text: str, given: str = "0", wanted: str = "0", status: Status = Status.BAD_ARGUMENT
    ) -> None:
        self._count += 1
        n = self._count
        self._body += [
            f"br i1 {wrong}, label %refuse.{n}, label %go_on.{n}",
            f"refuse.{n}:",
            f"%status.{n} = call i32 @hpacml_refuse_call(i32 {status}, ptr {self._text(text)}, i64 {given}, "
            f"i64 {wanted})",
            f"ret i32 %status.{n}",
            f"go_on.{n}:",
        ]

    def _refuse_if_null(self, name: str, text: str) -> None:
        self._refuse_if(self._let(f"icmp eq ptr %{name}, null"), text)

    # -- checks ----------------------------------------------------------------------------------

    def _check_processor(self) -> None:
        can = self._let("call i1 @hpacml_processor()")
        text = (
            f"{self._exported.name}() was built for processors of the kind {self._built_for}, and this one lacks "
            "instructions of those: build it with --cpu for this one, or on this machine with --cpu native"
        )
        self._refuse_if(self._let(f"xor i1 {can}, true"), text, status=Status.BAD_PROCESSOR)

    def _check_version(self) -> None:
        found = self._let("call i32 @hpacml_abi_version()")
        text = (
            f"{self._exported.name}() was built for version {VERSION} of the runtime's ABI, and has met one of version "
            "{given}: build it again"
        )
        differs, given = self._let(f"icmp ne i32 {found}, {VERSION}"), self._let(f"sext i32 {found} to i64")
        self._refuse_if(differs, text, given, status=Status.NO_RUNTIME)

    def _check_results(self) -> None:
        for each in self._prototype.results:
            self._refuse_if_null(each.name, f"the pointer '{each.name}' of {self._exported.name}() is NULL")

    def _check_texts(self) -> None:
        for each in self._prototype.texts:
            what = f"argument '{each.source}' of {self._exported.name}()"
            if not self._takes_texts:
                given = self._let(f"icmp ne ptr %{each.name}, null")
                self._refuse_if(given, f"{what} is a path, and code that stands alone opens no file: pass NULL")
            elif each.needed:
                self._refuse_if_null(each.name, f"{what} is NULL")

    def _check_array(self, array: CArray) -> list[str]:
        """Check what is passed for an array; return its strides."""
        what = f"argument '{array.parameter.name}' of {self._exported.name}()"
        self._refuse_if_null(array.sizes, f"{what} has no sizes: '{array.sizes}' is NULL")
        sizes = [self._load(array.sizes, k) for k in range(array.rank)]
        self._sizes.append(sizes)
        for k, size in enumerate(sizes):
            negative = self._let(f"icmp slt i64 {size}, 0")
            self._refuse_if(negative, f"dimension {k} of {what} has the size {{given}}", size)
        packed = ["1"]
        for size in reversed(sizes):
            packed.append(self._product(packed[-1], size, what))
        count, packed = packed[-1], packed[-2::-1]
        self._packed.append(packed)
        self._counts.append(count)
        width = array.parameter.element.dtype.itemsize
        self._product(count, str(width), what)
        null, some = self._let(f"icmp eq ptr %{array.name}, null"), self._let(f"icmp ne i64 {count}, 0")
        missing = self._let(f"and i1 {null}, {some}")
        self._refuse_if(missing, f"{what} is NULL, and its sizes say that it has {{given}} elements", count)
        if width > 1:
            address = self._let(f"ptrtoint ptr %{array.name} to i64")
            odd = self._let(f"icmp ne i64 {self._let(f'and i64 {address}, {width - 1}')}, 0")
            self._refuse_if(odd, f"{what} lies at an address that is no multiple of {width}, the bytes of an element")
        return self._strides(array, packed)

    def _load(self, name: str, position: int) -> str:
        return self._let(f"load i64, ptr {self._let(f'getelementptr i64, ptr %{name}, i64 {position}')}")

    def _product(self, left: str, right: str, what: str) -> str:
        product = self._let(f"call {_PRODUCT} @{_MULTIPLY}(i64 {left}, i64 {right})")
        value = self._let(f"extractvalue {_PRODUCT} {product}, 0")
        over = self._let(f"extractvalue {_PRODUCT} {product}, 1")
        huge = self._let(f"icmp slt i64 {value}, 0")
        self._refuse_if(self._let(f"or i1 {over}, {huge}"), f"{what} has more elements than memory has bytes")
        return value

    def _strides(self, array: CArray, packed: Sequence[str]) -> list[str]:
        """The strides that are given, or those of C order without gaps. A place that is never read stands for null."""
        given = self._let(f"icmp ne ptr %{array.strides}, null")
        place = self._let(f"select i1 {given}, ptr %{array.strides}, ptr %{array.sizes}")
        strides: list[str] = []
        for k, other in enumerate(packed):
            value = self._let(f"load i64, ptr {self._let(f'getelementptr i64, ptr {place}, i64 {k}')}")
            strides.append(self._let(f"select i1 {given}, i64 {value}, i64 {other}"))
        return strides

    def _check_size_rules(self) -> None:
        for (array, axis), other, size, text in size_rules(self._exported.name, self._exported.arrays):
            given = self._sizes[array][axis]
            wanted = str(size) if other is None else self._sizes[other[0]][other[1]]
            self._refuse_if(self._let(f"icmp ne i64 {given}, {wanted}"), text, given, wanted)

    # -- the call --------------------------------------------------------------------------------

    def _choose(self, strides: Sequence[Sequence[str]]) -> str:
        """The address of the first code that takes arrays of these strides."""
        *specific, general = zip(self._codes, self._exported.versions, strict=True)
        self._require_layouts(general[1], strides)
        chosen = f'@"{general[0]}"'
        for code, version in reversed(specific):
            fits = "true"
            for k, layout in enumerate(version.layouts):
                fits = self._let(f"and i1 {fits}, {self._has_layout(k, layout, strides[k])}")
            chosen = self._let(f'select i1 {fits}, ptr @"{code}", ptr {chosen}')
        return chosen

    def _require_layouts(self, version: Version, strides: Sequence[Sequence[str]]) -> None:
        for k, (array, layout) in enumerate(zip(self._prototype.arrays, version.layouts, strict=True)):
            if layout is not Layout.STRIDED:
                wrong = self._let(f"xor i1 {self._has_layout(k, layout, strides[k])}, true")
                what = f"argument '{array.parameter.name}' of {self._exported.name}()"
                why = f" ({self._exported.why_not_others})" if self._exported.why_not_others else ""
                text = f"{what} has strides for which there is no code: it takes {REQUIRED[layout]}{why}"
                self._refuse_if(wrong, text)

    def _has_layout(self, array: int, layout: Layout, strides: Sequence[str]) -> str:
        """Whether an array has a layout, as `views.layout_of` tells."""
        sizes, packed = self._sizes[array], self._packed[array]
        axes = range(len(sizes)) if layout is Layout.PACKED else [len(sizes) - 1] if layout is Layout.ROWS else []
        fits = "true"
        for axis in axes:
            one = self._let(f"icmp eq i64 {sizes[axis]}, 1")
            same = self._let(f"icmp eq i64 {strides[axis]}, {packed[axis]}")
            fits = self._let(f"and i1 {fits}, {self._let(f'or i1 {one}, {same}')}")
        empty = self._let(f"icmp eq i64 {self._counts[array]}, 0")
        return self._let(f"or i1 {fits}, {empty}")

    def _enter(self, code: str, strides: Sequence[Sequence[str]]) -> None:
        lowered = self._exported.versions[0].lowered
        kinds, results = lowered.arguments, lowered.results
        room = len(kinds) + max(1, len(results))
        slots = self._let(f"alloca [{room} x i64], align 16")
        passed = [each for each in self._prototype.parameters if not isinstance(each, CText)]
        arrays = iter(range(len(strides)))
        for n, (each, kind) in enumerate(zip(passed, kinds, strict=True)):
            slot = self._let(f"getelementptr i64, ptr {slots}, i64 {n}")
            if isinstance(each, CArray):
                k = next(arrays)
                self._descriptors.append(self._descriptor(each, self._sizes[k], strides[k]))
                self._body.append(f"store ptr {self._descriptors[k]}, ptr {slot}")
            else:
                self._store_number(each, kind, slot)
        status = self._call(code, slots)
        done = self._let(f"icmp eq i32 {status}, 0")
        self._body += [
            f"br i1 {done}, label %it.worked, label %it.failed",
            "it.failed:",
            f"ret i32 {status}",
            "it.worked:",
        ]
        place = self._let(f"getelementptr i64, ptr {slots}, i64 {len(kinds)}")
        for n, (each, kind) in enumerate(zip(self._prototype.results, results, strict=True)):
            at = (
                place
                if is_number(results)
                else self._let(f"getelementptr {structure(results)}, ptr {place}, i32 0, i32 {n}")
            )
            self._take_number(each, kind, at)
        self._body.append("ret i32 0")

    def _descriptor(self, array: CArray, sizes: Sequence[str], strides: Sequence[str]) -> str:
        words = self._let(f"alloca [{3 + 2 * array.rank} x i64], align 16")
        address = self._let(f"ptrtoint ptr %{array.name} to i64")
        for n, word in enumerate([address, address, "0", *sizes, *strides]):
            self._body.append(f"store i64 {word}, ptr {self._let(f'getelementptr i64, ptr {words}, i64 {n}')}")
        return words

    def _store_number(self, number: CNumber, kind: str, slot: str) -> None:
        value = f"%{number.name}"
        if kind == "i1":
            self._body.append(f"store i64 0, ptr {slot}")
            value = self._let(f"icmp ne i8 {value}, 0")
        self._body.append(f"store {VALUES[kind].llvm} {value}, ptr {slot}")

    def _take_number(self, number: CNumber, kind: str, place: str) -> None:
        value = self._let(f"load {VALUES[kind].llvm}, ptr {place}")
        if kind == "i1":
            value = self._let(f"zext i1 {value} to i8")
        self._body.append(f"store {_passed(number.type)} {value}, ptr %{number.name}")

    def _call(self, code: str, slots: str) -> str:
        texts = self._prototype.texts
        given = self._let(f"alloca [{max(1, len(texts))} x ptr]")
        for n, each in enumerate(texts):
            place = self._let(f"getelementptr ptr, ptr {given}, i64 {n}")
            self._body.append(f"store ptr %{each.name}, ptr {place}")
        begin = f"ptr {code}, ptr {slots}, ptr {self._text(self._record())}, ptr {given}"
        if self._prototype.stream is None:
            return self._let(f"call i32 @hpacml_enter_native({begin})")
        arrays, number = self._places(), len(self._prototype.arrays)
        on = f"ptr %{self._prototype.stream}, ptr {arrays}, i64 {number}"
        return self._let(f"call i32 @hpacml_enter_device({begin}, {on})")

    def _places(self) -> str:
        """What the runtime looks at of arrays: the descriptor, null if it is empty, name, rank, bytes of an element."""
        arrays, kind = self._prototype.arrays, "{ ptr, ptr, i64, i64 }"
        places = self._let(f"alloca [{max(1, len(arrays))} x {kind}], align 16")
        for n, (array, count) in enumerate(zip(arrays, self._counts, strict=True)):
            empty = self._let(f"icmp eq i64 {count}, 0")
            what = self._text(f"argument '{array.parameter.name}' of {self._exported.name}()")
            words = (
                f"ptr {self._let(f'select i1 {empty}, ptr null, ptr {self._descriptors[n]}')}",
                f"ptr {what}",
                f"i64 {array.rank}",
                f"i64 {array.parameter.element.dtype.itemsize}",
            )
            for k, word in enumerate(words):
                place = self._let(f"getelementptr [{len(arrays)} x {kind}], ptr {places}, i64 0, i64 {n}, i32 {k}")
                self._body.append(f"store {word}, ptr {place}")
        return places

    def _record(self) -> str:
        exported = self._exported
        origins = {
            label: (origin.function, origin.labelled, [*map(str, origin.sources)])
            for label, origin in exported.origins.items()
        }
        texts = [each.source for each in self._prototype.texts]
        return CallRecord(exported.name, texts, dict(exported.constants), origins).to_json()


def _passed(type: ScalarType) -> str:
    """The LLVM type by which C passes a number."""
    if type.kind == "f":
        return {32: "float", 64: "double"}[type.bits]
    return f"i{max(8, type.bits)}"
