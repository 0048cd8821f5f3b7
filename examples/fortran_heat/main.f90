! Simulates a plate: ./heat collect|accurate|surrogate SIZE STEPS IN OUT
!
! IN has the temperatures at the start, SIZE x SIZE numbers of float32 in columns; OUT gets those at the end.
program main
  use, intrinsic :: iso_c_binding, only: c_float
  use, intrinsic :: iso_fortran_env, only: error_unit
  use hpacml_heat, only: heat, hpacml_error, hpacml_stop
  implicit none
  real(c_float), allocatable :: old(:, :), new(:, :), swapped(:, :)
  integer :: size, steps, step
  character(:), allocatable :: mode

  if (command_argument_count() /= 5) call fail("collect|accurate|surrogate SIZE STEPS IN OUT")
  mode = argument(1)
  size = number(2)
  steps = number(3)
  allocate (old(size, size))
  call read_field(argument(4))
  new = old ! the edge keeps its temperature
  do step = 1, steps
    if (heat(old, new, mode == "surrogate", mode == "accurate") /= 0) call fail(hpacml_error())
    call move_alloc(old, swapped)
    call move_alloc(new, old)
    call move_alloc(swapped, new)
  end do
  call write_field(argument(5))
  if (hpacml_stop() /= 0) call fail("what was collected could not be written: " // hpacml_error())

contains

  subroutine fail(why)
    character(*), intent(in) :: why
    write (error_unit, '(a)') why
    stop 1
  end subroutine

  function argument(position) result(text)
    integer, intent(in) :: position
    character(:), allocatable :: text
    integer :: length
    call get_command_argument(position, length=length)
    allocate (character(length) :: text)
    call get_command_argument(position, text)
  end function

  integer function number(position)
    integer, intent(in) :: position
    character(:), allocatable :: text
    text = argument(position)
    read (text, *) number
  end function

  subroutine read_field(path)
    character(*), intent(in) :: path
    integer :: unit
    open (newunit=unit, file=path, access="stream", form="unformatted", status="old", action="read")
    read (unit) old
    close (unit)
  end subroutine

  subroutine write_field(path)
    character(*), intent(in) :: path
    integer :: unit
    open (newunit=unit, file=path, access="stream", form="unformatted", status="replace", action="write")
    write (unit) old
    close (unit)
  end subroutine
end program
