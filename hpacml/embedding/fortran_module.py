"""The Fortran module of a library: its functions for arrays of any shape, without a copy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hpacml.abi.entries import Status
from hpacml.embedding.c_header import shape_text
from hpacml.embedding.c_types import CArray, CNumber, CParameter, CText, Prototype, c_type
from hpacml.embedding.exported import Exported
from hpacml.errors import CompileError
from hpacml.frontend.python.types import ScalarType

_LONGEST = 48
"""The letters of a name, of which Fortran takes 63, so that longer ones can be made of it."""

_USED = """
c_bool c_char c_double c_f_pointer c_float c_int16_t c_int32_t c_int64_t c_int8_t c_intptr_t c_loc c_null_char
c_null_ptr c_ptr c_size_t hpacml_error hpacml_start hpacml_stop logical mod odd present refused_by_hpacml shape size
status storage_size
stride_of transfer trim
"""
_TAKEN = frozenset(_USED.split())
"""Names that the module uses itself."""

_HEAD = """! {file}: functions that hpacml has compiled for {built_for}. Made by `hpacml build`.
!
! A function returns 0, or another status: then hpacml_error() tells what is wrong. Arrays are passed as they are: any
! section, also one that is not contiguous. a(i, j) is a[i - 1, j - 1] of the program in Python.{on_gpus}
module {module}
  use, intrinsic :: iso_c_binding
  implicit none
  private
  public :: {public}

  interface
"""

_ON_GPUS = """
!
! Arrays are in memory of a GPU, as in a region host_data of OpenACC or use_device_addr of OpenMP, or by c_f_pointer of
! an address that cudaMalloc gives. The work is put on `stream`, by default CUDA's default stream, and functions return
! before it is done."""

_OF_LIBHPACML = """\
    ! Start the runtime, which the first call that needs it does, too; write what has been collected. Both return 0, or
    ! another status.
    integer(c_int32_t) function hpacml_start() bind(C, name="hpacml_start")
      import :: c_int32_t
    end function

    integer(c_int32_t) function hpacml_stop() bind(C, name="hpacml_stop")
      import :: c_int32_t
    end function

"""

_REFUSING = """\
    integer(c_int32_t) function refused_by_hpacml(status, text, given, wanted) bind(C, name="hpacml_refuse_call")
      import :: c_char, c_int32_t, c_int64_t
      integer(c_int32_t), value :: status
      character(kind=c_char), intent(in) :: text(*)
      integer(c_int64_t), value :: given, wanted
    end function

"""

_LAST_ERROR = """\
    type(c_ptr) function last_error_of_hpacml() bind(C, name="hpacml_last_error")
      import :: c_ptr
    end function

    integer(c_size_t) function length_of_hpacml(text) bind(C, name="strlen")
      import :: c_ptr, c_size_t
      type(c_ptr), value :: text
    end function
"""

_HELPERS = """  end interface

contains

  ! What was wrong with this thread's last call, if its status was not 0.
  function hpacml_error() result(text)
    character(:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    type(c_ptr) :: place
    integer :: k
    place = last_error_of_hpacml()
    call c_f_pointer(place, letters, [length_of_hpacml(place)])
    allocate (character(size(letters)) :: text)
    do k = 1, size(letters)
      text(k:k) = letters(k)
    end do
  end function

  ! The address of a text, null if it is not there.
  type(c_ptr) function address_of_hpacml(text)
    character(kind=c_char, len=:), allocatable, intent(in), target :: text
    address_of_hpacml = c_null_ptr
    if (allocated(text)) address_of_hpacml = c_loc(text)
  end function

  ! How many elements lie from one element to another, odd if that is no number of elements.
  integer(c_int64_t) function stride_of(first, second, bytes, odd)
    type(c_ptr), intent(in) :: first, second
    integer, intent(in) :: bytes
    logical, intent(inout) :: odd
    integer(c_intptr_t) :: distance
    distance = transfer(second, distance) - transfer(first, distance)
    odd = odd .or. mod(distance, int(bytes, c_intptr_t)) /= 0
    stride_of = distance / bytes
  end function
"""


def fortran_module(functions: Sequence[Exported], file: str, built_for: str, starts: bool = True) -> str:
    """The text of the file for functions that were built for a kind of machine, perhaps with a runtime that `starts`.

    The module's name is `hpacml_` and that of the file. Raises `CompileError` for names that Fortran does not take.
    """
    module = f"hpacml_{file.removesuffix('.f90')}"
    if not re.fullmatch(r"[A-Za-z]\w{,62}", module, re.ASCII):
        raise CompileError(f"'{module}' is no name of a Fortran module: give the file another name")
    _require_names([function.name for function in functions], module)
    on_gpus = any(function.chip is not None for function in functions)
    of_runtime = ["hpacml_error", *(["hpacml_start", "hpacml_stop"] if starts else [])]
    public = ", ".join([*of_runtime, *(function.name for function in functions)])
    public = re.sub(r"(.{60,100}?, )", r"\1&\n            ", public)
    on = _ON_GPUS if on_gpus else ""
    text = _HEAD.format(file=file, built_for=built_for, module=module, public=public, on_gpus=on)
    text += (_OF_LIBHPACML if starts else "") + (_REFUSING if on_gpus else "") + _LAST_ERROR
    wrappers = [_Wrapper(function) for function in functions]
    lines = [line for each in wrappers for line in ("", *each.interface())]
    text += "".join(f"    {line}\n" if line else "\n" for line in lines) + _HELPERS
    lines = [line for each in wrappers for line in ("", *each.function())]
    return text + "".join(f"  {line}\n" if line else "\n" for line in lines) + f"end module {module}\n"


def _require_names(names: Sequence[str], module: str) -> None:
    seen = {module.lower(): "the module"}
    for name in names:
        if not _is_name(name) or name.lower() in _TAKEN:
            raise CompileError(f"'{name}' is no name that a function can have in this Fortran module: rename it")
        if name.lower() in seen:
            raise CompileError(f"'{name}' is the same name as that of {seen[name.lower()]} in Fortran: rename it")
        seen[name.lower()] = name


def _is_name(name: str) -> bool:
    return re.fullmatch(rf"[A-Za-z]\w{{,{_LONGEST}}}", name, re.ASCII) is not None


class _Wrapper:
    """The interface of a C function, and the Fortran function that calls it."""

    def __init__(self, exported: Exported) -> None:
        self._exported = exported
        self._prototype = Prototype(exported, lambda name: _is_name(name) and name.lower() not in _TAKEN, str.lower)
        self._places = {
            each.name: self._prototype.unique(f"{each.name}_{'text' if isinstance(each, CText) else 'first'}")
            for each in self._prototype.parameters
            if not isinstance(each, CNumber)
        }
        """The names of the variables with the addresses of arrays and the texts."""
        self._copies = {each.name: self._prototype.unique(f"{each.name}_copy") for each in self._prototype.arrays}
        """The names of copies of arrays."""
        self._stream = None if self._prototype.stream is None else self._prototype.unique("stream_or_null")
        """The name of the variable with the stream."""
        self._c_name = f"{exported.name}_of_c"

    @property
    def _arguments(self) -> list[str]:
        prototype = self._prototype
        names = [each.name for each in (*prototype.parameters, *prototype.results)]
        return names if prototype.stream is None else [*names, prototype.stream]

    def interface(self) -> Iterator[str]:
        """The interface of the C function."""
        names: list[str] = []
        declared: list[str] = []
        for each in self._prototype.parameters:
            match each:
                case CArray(name=name, sizes=sizes, strides=strides):
                    names += [name, sizes, strides]
                    declared += [f"type(c_ptr), value :: {name}", f"integer(c_int64_t), intent(in) :: {sizes}(*)"]
                    declared.append(f"integer(c_int64_t), intent(in) :: {strides}(*)")
                case CNumber(name=name, type=type):
                    names.append(name)
                    declared.append(f"{_type(type)}, value :: {name}")
                case CText(name=name):
                    names.append(name)
                    declared.append(f"type(c_ptr), value :: {name}")
        for each in self._prototype.results:
            names.append(each.name)
            declared.append(f"{_type(each.type)}, intent(out) :: {each.name}")
        if self._prototype.stream is not None:
            names.append(self._prototype.stream)
            declared.append(f"type(c_ptr), value :: {self._prototype.stream}")
        name = self._exported.name
        yield from _call(f"integer(c_int32_t) function {self._c_name}", names, f' bind(C, name="{name}")')
        yield "  import"
        yield from (f"  {line}" for line in declared)
        yield "end function"

    def function(self) -> Iterator[str]:
        """The function for callers in Fortran."""
        prototype, name = self._prototype, self._exported.name
        yield from map("! {}".format, self._notes())
        recursive = "recursive " if prototype.arrays else ""
        yield from _call(f"{recursive}integer(c_int32_t) function {name}", self._arguments, " result(status)")
        yield from (f"  {line}" for each in prototype.parameters for line in self._declared(each))
        yield from (f"  {_plain_type(each.type)}, intent(out) :: {each.name}" for each in prototype.results)
        if prototype.stream is not None:
            yield f"  type(c_ptr), intent(in), optional :: {prototype.stream}"
            yield f"  type(c_ptr) :: {self._stream}"
        yield from (f"  {line}" for each in prototype.parameters for line in self._variables(each))
        logicals = [each for each in prototype.results if each.type.kind == "b"]
        yield from (f"  logical(c_bool) :: {self._logical(each)}" for each in logicals)
        if prototype.arrays:
            yield "  logical :: odd"
            yield "  odd = .false."
        yield from (f"  {line}" for each in prototype.parameters for line in self._prepared(each))
        if prototype.stream is not None:
            yield f"  {self._stream} = c_null_ptr"
            yield f"  if (present({prototype.stream})) {self._stream} = {prototype.stream}"
        if prototype.arrays:
            yield from map("  {}".format, self._copied() if prototype.stream is None else self._refused())
        yield from (f"  {line}" for line in _call(f"status = {self._c_name}", self._passed(), ""))
        yield from (f"  if (status == 0) {each.name} = {self._logical(each)}" for each in logicals)
        yield "end function"

    def _logical(self, result: CNumber) -> str:
        return f"{result.name}_of_c"

    def _notes(self) -> Iterator[str]:
        for each in self._prototype.parameters:
            if isinstance(each, CArray):
                yield f"{each.name}: {shape_text(each.parameter)}, {'written' if each.written else 'read'}"
            elif isinstance(each, CNumber) and each.type.kind == "u":
                yield f"{each.name}: {each.type}, whose bits a signed integer has in Fortran"

    def _declared(self, parameter: CParameter) -> Iterator[str]:
        match parameter:
            case CArray(name=name, rank=rank, written=written):
                dims = ", ".join(":" * rank)
                intent = "inout" if written else "in"
                yield f"{_type(parameter.parameter.element)}, intent({intent}), target :: {name}({dims})"
            case CNumber(name=name, type=type):
                yield f"{_plain_type(type)}, intent(in) :: {name}"
            case CText(name=name, needed=needed):
                yield f"character(*), intent(in){'' if needed else ', optional'} :: {name}"

    def _variables(self, parameter: CParameter) -> Iterator[str]:
        match parameter:
            case CArray(name=name, sizes=sizes, strides=strides, rank=rank):
                yield f"integer(c_int64_t) :: {sizes}({rank}), {strides}({rank})"
                yield f"type(c_ptr) :: {self._places[name]}"
            case CText(name=name):
                yield f"character(kind=c_char, len=:), allocatable, target :: {self._places[name]}"
            case CNumber():
                return

    def _prepared(self, parameter: CParameter) -> Iterator[str]:
        match parameter:
            case CArray(name=name, sizes=sizes, strides=strides, rank=rank):
                place, width = self._places[name], parameter.parameter.element.dtype.itemsize
                yield f"{sizes} = shape({name}, c_int64_t)"
                yield f"{strides} = 1"
                yield f"{place} = c_null_ptr"
                yield f"if (size({name}) > 0) then"
                yield f"  {place} = c_loc({name}({', '.join('1' * rank)}))"
                for k in range(rank):
                    second = ", ".join("2" if k == axis else "1" for axis in range(rank))
                    yield f"  if ({sizes}({k + 1}) > 1) {strides}({k + 1}) = &"
                    yield f"    stride_of({place}, c_loc({name}({second})), {width}, odd)"
                yield "end if"
            case CText(name=name, needed=needed):
                start = "" if needed else f"if (present({name})) "
                yield f"{start}{self._places[name]} = trim({name}) // c_null_char"
            case CNumber():
                return

    def _copied(self) -> Iterator[str]:
        """The call with copies of arrays whose elements no strides tell: they lie in parts of others."""
        yield "if (odd) then"
        yield "  block"
        for each in self._prototype.arrays:
            dims = ", ".join(":" * each.rank)
            yield f"    {_type(each.parameter.element)}, allocatable :: {self._copies[each.name]}({dims})"
        for each in self._prototype.arrays:
            yield f"    {self._copies[each.name]} = {each.name}"
        given = [f"{name}={self._copies.get(name, name)}" for name in self._arguments]
        yield from (f"    {line}" for line in _call(f"status = {self._exported.name}", given, ""))
        for each in self._prototype.arrays:
            if each.written:
                yield f"    {each.name} = {self._copies[each.name]}"
        yield "  end block"
        yield "  return"
        yield "end if"

    def _refused(self) -> Iterator[str]:
        """The status for arrays whose elements no strides tell, which nobody copies on a GPU."""
        text = "a component of a derived type is passed to {} whose bytes are no multiple of an element''s"
        yield "if (odd) then"
        yield f"  status = refused_by_hpacml({Status.BAD_ARGUMENT:d}_c_int32_t, &"
        yield f"    '{text.format(self._exported.name + '()')}' // &"
        yield "    c_null_char, 0_c_int64_t, 0_c_int64_t)"
        yield "  return"
        yield "end if"

    def _passed(self) -> list[str]:
        passed: list[str] = []
        for each in self._prototype.parameters:
            match each:
                case CArray(name=name, sizes=sizes, strides=strides):
                    passed += [self._places[name], sizes, strides]
                case CNumber(name=name, type=type):
                    passed.append(f"logical({name}, c_bool)" if type.kind == "b" else name)
                case CText(name=name):
                    passed.append(f"address_of_hpacml({self._places[name]})")
        passed += [self._logical(each) if each.type.kind == "b" else each.name for each in self._prototype.results]
        return passed if self._stream is None else [*passed, self._stream]


def _call(start: str, names: Sequence[str], end: str) -> Iterator[str]:
    """A call or the head of a function, in lines that are short enough."""
    line = f"{start}("
    for k, name in enumerate(names):
        part = name + (", " if k < len(names) - 1 else "")
        if len(line) + len(part) > 100:
            yield f"{line.rstrip()} &"
            line = "  "
        line += part
    yield f"{line}){end}" if len(line) + len(end) < 110 else f"{line}) &\n        {end}"


def _type(type: ScalarType) -> str:
    """The type in Fortran that is C's. There are no integers without a sign."""
    match type.kind:
        case "b":
            return "logical(c_bool)"
        case "f":
            return f"real(c_{c_type(type)})"
        case _:
            return f"integer(c_int{type.bits}_t)"


def _plain_type(type: ScalarType) -> str:
    """The type of numbers of callers: logicals are those of Fortran."""
    return "logical" if type.kind == "b" else _type(type)
