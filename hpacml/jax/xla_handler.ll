; The handler of XLA's typed foreign function interface (XLA_FFI 0.3): one for all calls that hpacml.jax makes.
;
; What a call does is in a record, which Python has made (hpacml/jax/templates.py) and the attribute `site` is the number
; of. The handler copies the words of the record to its stack, puts addresses of the call's buffers in (relocations, as a
; linker does), and enters compiled code, whose arguments are among these words. It allocates nothing. Calls of programs for
; GPUs are Python's, which asks XLA by the frame for device and stream.

%reloc = type { i64, i64, i64, i64 } ; word, kind, and two numbers
; digest, function (null: Python runs it), words, template, first slot, relocations, their number, arguments, results,
; a quicker record in the place of this one (null: none)
%record = type { i64, ptr, i64, ptr, i64, ptr, i64, i64, i64, ptr }

%base = type { i64, i32, ptr }
%metadata = type { i64, { i64, ptr, i32, i32 }, i32, i64 }
%buffers = type { i64, ptr, i64, ptr, ptr }
%attributes = type { i64, ptr, i64, ptr, ptr, ptr }
%frame = type { i64, ptr, ptr, ptr, i32, %buffers, %buffers, %attributes, ptr }
%buffer = type { i64, ptr, i32, ptr, i64, ptr }
%scalar = type { i32, ptr }
; the fifth is XLA_FFI_Error_Create, the last XLA_FFI_State_Set
%api = type { i64, ptr, { i64, ptr, i32, i32 }, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr, ptr }
%state = type { i64, ptr, ptr, i32, ptr, ptr }
%error = type { i64, ptr, ptr, i32 }

@hpacml_jax_sites = internal global ptr null ; a table of records
@hpacml_jax_count = internal global i64 0
@hpacml_jax_holds = internal global ptr null ; how many calls of XLA's executables there are of each record
@hpacml_jax_type = internal global ptr null ; XLA's number for the type of such a count
@hpacml_jax_running = internal global i64 0 ; calls under way
@hpacml_jax_closed = internal global i64 0 ; not 0 when the process ends: no further call may begin
@other = internal constant [119 x i8] c"hpacml: this program was compiled in another process, or its region is gone: trace it again where it runs (no export).\00"
@wrong = internal constant [77 x i8] c"hpacml: XLA has given a region other buffers than those that it was made for\00"
@ending = internal constant [57 x i8] c"hpacml: the process ends, and this program was under way\00"
@stopped = internal constant [37 x i8] c"hpacml: a call of it was interrupted\00"

declare i32 @hpacml_enter(ptr, ptr)
declare i32 @hpacml_jax_python(i64, ptr, i32, ptr, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define void @hpacml_jax_set_sites(ptr %table, i64 %count, ptr %holds, ptr %type) {
  store ptr %table, ptr @hpacml_jax_sites
  store ptr %holds, ptr @hpacml_jax_holds
  store ptr %type, ptr @hpacml_jax_type
  store atomic i64 %count, ptr @hpacml_jax_count release, align 8
  ret void
}

; No call begins behind this. It returns how many are under way.
define i64 @hpacml_jax_close() {
  store atomic i64 1, ptr @hpacml_jax_closed seq_cst, align 8
  %running = load atomic i64, ptr @hpacml_jax_running seq_cst, align 8
  ret i64 %running
}

; The handler for GPUs, whose executables count no calls: XLA there may know the type of such a count by another number.
define ptr @hpacml_jax_handler_on_gpus(ptr %frame) {
  %error = call ptr @hpacml_jax_handler(ptr %frame)
  %extension_slot = getelementptr %frame, ptr %frame, i32 0, i32 1
  %extension = load ptr, ptr %extension_slot
  %plain = icmp eq ptr %extension, null
  br i1 %plain, label %done, label %look

look:
  %type_slot = getelementptr %base, ptr %extension, i32 0, i32 1
  %type = load i32, ptr %type_slot
  %asks = icmp eq i32 %type, 1
  br i1 %asks, label %tell, label %done

tell:
  %metadata_slot = getelementptr { %base, ptr }, ptr %extension, i32 0, i32 1
  %metadata = load ptr, ptr %metadata_slot
  %state = getelementptr %metadata, ptr %metadata, i32 0, i32 3
  store i64 0, ptr %state
  ret ptr null

done:
  ret ptr %error
}

define ptr @hpacml_jax_handler(ptr %frame) {
  %extension_slot = getelementptr %frame, ptr %frame, i32 0, i32 1
  %extension = load ptr, ptr %extension_slot
  %plain = icmp eq ptr %extension, null
  br i1 %plain, label %run, label %look

look:
  %type_slot = getelementptr %base, ptr %extension, i32 0, i32 1
  %type = load i32, ptr %type_slot
  %asks = icmp eq i32 %type, 1
  br i1 %asks, label %tell, label %run

tell:
  %metadata_slot = getelementptr { %base, ptr }, ptr %extension, i32 0, i32 1
  %metadata = load ptr, ptr %metadata_slot
  %major = getelementptr %metadata, ptr %metadata, i32 0, i32 1, i32 2
  %minor = getelementptr %metadata, ptr %metadata, i32 0, i32 1, i32 3
  %traits = getelementptr %metadata, ptr %metadata, i32 0, i32 2
  %state = getelementptr %metadata, ptr %metadata, i32 0, i32 3
  store i32 0, ptr %major
  store i32 3, ptr %minor
  store i32 0, ptr %traits
  %type_slot_of_state = load ptr, ptr @hpacml_jax_type
  %number_of_state = load i64, ptr %type_slot_of_state
  store i64 %number_of_state, ptr %state
  ret ptr null

run:
  %stage_slot = getelementptr %frame, ptr %frame, i32 0, i32 4
  %stage = load i32, ptr %stage_slot
  switch i32 %stage, label %done [ i32 0, label %find
                                   i32 3, label %find ]

find: ; attributes are sorted by name: digest, site
  %begins = icmp eq i32 %stage, 0
  %values_slot = getelementptr %frame, ptr %frame, i32 0, i32 7, i32 5
  %values = load ptr, ptr %values_slot
  %second = getelementptr ptr, ptr %values, i64 1
  %digest_scalar = load ptr, ptr %values
  %site_scalar = load ptr, ptr %second
  %digest = call i64 @number(ptr %digest_scalar)
  %site = call i64 @number(ptr %site_scalar)
  %count = load atomic i64, ptr @hpacml_jax_count acquire, align 8
  %known = icmp ult i64 %site, %count
  br i1 %known, label %open, label %stranger

open:
  %table = load ptr, ptr @hpacml_jax_sites
  %place = getelementptr ptr, ptr %table, i64 %site
  %record = load atomic ptr, ptr %place acquire, align 8
  %gone = icmp eq ptr %record, null
  br i1 %gone, label %stranger, label %compare

compare:
  %own = load i64, ptr %record
  %same = icmp eq i64 %own, %digest
  br i1 %same, label %begin, label %stranger

begin:
  br i1 %begins, label %hold, label %count_buffers

stranger: ; an executable says so when it runs
  br i1 %begins, label %done, label %refuse

refuse:
  %stranger_error = call ptr @fail(ptr %frame, ptr @other)
  ret ptr %stranger_error

hold:
  %hold_error = call ptr @hold(ptr %frame, i64 %site)
  ret ptr %hold_error

count_buffers:
  %given_slot = getelementptr %frame, ptr %frame, i32 0, i32 5, i32 2
  %given = load i64, ptr %given_slot
  %wanted_slot = getelementptr %record, ptr %record, i32 0, i32 7
  %wanted = load i64, ptr %wanted_slot
  %made_slot = getelementptr %frame, ptr %frame, i32 0, i32 6, i32 2
  %made = load i64, ptr %made_slot
  %expected_slot = getelementptr %record, ptr %record, i32 0, i32 8
  %expected = load i64, ptr %expected_slot
  %arguments_fit = icmp eq i64 %given, %wanted
  %results_fit = icmp eq i64 %made, %expected
  %fit = and i1 %arguments_fit, %results_fit
  br i1 %fit, label %choose, label %misfit

misfit:
  %misfit_error = call ptr @fail(ptr %frame, ptr @wrong)
  ret ptr %misfit_error

choose: ; counted first: a call that the process does not wait for sees that it ends
  %before = atomicrmw add ptr @hpacml_jax_running, i64 1 seq_cst
  %closed = load atomic i64, ptr @hpacml_jax_closed seq_cst, align 8
  %open_still = icmp eq i64 %closed, 0
  br i1 %open_still, label %execute, label %end

end:
  %left_at_end = atomicrmw sub ptr @hpacml_jax_running, i64 1 seq_cst
  %end_error = call ptr @fail(ptr %frame, ptr @ending)
  ret ptr %end_error

execute:
  %quicker_slot = getelementptr %record, ptr %record, i32 0, i32 9
  %quicker = load atomic ptr, ptr %quicker_slot acquire, align 8
  %has_none = icmp eq ptr %quicker, null
  %chosen = select i1 %has_none, ptr %record, ptr %quicker
  %error = call ptr @call(ptr %frame, ptr %chosen, i64 %site)
  %left = atomicrmw sub ptr @hpacml_jax_running, i64 1 seq_cst
  ret ptr %error

done:
  ret ptr null
}

; Count a call of an executable, which XLA gives back when that is gone, also behind its last run.
define internal ptr @hold(ptr %frame, i64 %site) {
  %arguments = alloca %state
  %holds = load ptr, ptr @hpacml_jax_holds
  %place = getelementptr i64, ptr %holds, i64 %site
  %before = atomicrmw add ptr %place, i64 1 seq_cst
  %extension_slot = getelementptr %state, ptr %arguments, i32 0, i32 1
  %context_slot = getelementptr %state, ptr %arguments, i32 0, i32 2
  %stage_slot = getelementptr %state, ptr %arguments, i32 0, i32 3
  %type_slot = getelementptr %state, ptr %arguments, i32 0, i32 4
  %state_slot = getelementptr %state, ptr %arguments, i32 0, i32 5
  %own_slot = getelementptr %frame, ptr %frame, i32 0, i32 3
  %context = load ptr, ptr %own_slot
  %type = load ptr, ptr @hpacml_jax_type
  store i64 48, ptr %arguments
  store ptr null, ptr %extension_slot
  store ptr %context, ptr %context_slot
  store i32 0, ptr %stage_slot
  store ptr %type, ptr %type_slot
  store ptr %place, ptr %state_slot
  %api_slot = getelementptr %frame, ptr %frame, i32 0, i32 2
  %api = load ptr, ptr %api_slot
  %set_slot = getelementptr %api, ptr %api, i32 0, i32 11
  %set = load ptr, ptr %set_slot
  %error = call ptr %set(ptr %arguments)
  ret ptr %error
}

define void @hpacml_jax_release(ptr %place) {
  %before = atomicrmw sub ptr %place, i64 1 seq_cst
  ret void
}

define internal i64 @number(ptr %scalar) {
  %value_slot = getelementptr %scalar, ptr %scalar, i32 0, i32 1
  %value = load ptr, ptr %value_slot
  %number = load i64, ptr %value
  ret i64 %number
}

; Where the elements of a buffer are; results follow the arguments.
define internal ptr @data(ptr %frame, i64 %number) {
  %given_slot = getelementptr %frame, ptr %frame, i32 0, i32 5, i32 2
  %given = load i64, ptr %given_slot
  %is_argument = icmp ult i64 %number, %given
  %arguments_slot = getelementptr %frame, ptr %frame, i32 0, i32 5, i32 4
  %results_slot = getelementptr %frame, ptr %frame, i32 0, i32 6, i32 4
  %behind = sub i64 %number, %given
  %all_slot = select i1 %is_argument, ptr %arguments_slot, ptr %results_slot
  %place = select i1 %is_argument, i64 %number, i64 %behind
  %all = load ptr, ptr %all_slot
  %buffer_slot = getelementptr ptr, ptr %all, i64 %place
  %buffer = load ptr, ptr %buffer_slot
  %data_slot = getelementptr %buffer, ptr %buffer, i32 0, i32 3
  %data = load ptr, ptr %data_slot
  ret ptr %data
}

define internal ptr @call(ptr %frame, ptr %record, i64 %site) {
  %message = alloca ptr
  %words_slot = getelementptr %record, ptr %record, i32 0, i32 2
  %words = load i64, ptr %words_slot
  %template_slot = getelementptr %record, ptr %record, i32 0, i32 3
  %template = load ptr, ptr %template_slot
  %scratch = alloca i64, i64 %words, align 16
  %bytes = shl i64 %words, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %scratch, ptr %template, i64 %bytes, i1 false)
  call void @relocate(ptr %frame, ptr %record, ptr %scratch, i1 false)
  %slots_slot = getelementptr %record, ptr %record, i32 0, i32 4
  %first = load i64, ptr %slots_slot
  %slots = getelementptr i64, ptr %scratch, i64 %first
  %function_slot = getelementptr %record, ptr %record, i32 0, i32 1
  %function = load ptr, ptr %function_slot
  %by_python = icmp eq ptr %function, null
  br i1 %by_python, label %ask, label %enter

enter:
  %status = call i32 @hpacml_enter(ptr %function, ptr %slots)
  %failed = icmp ne i32 %status, 0
  br i1 %failed, label %ask, label %finish

ask: ; Python runs the call, or tells why it has failed
  %why = phi i32 [ -1, %0 ], [ %status, %enter ]
  store ptr null, ptr %message
  %answer = call i32 @hpacml_jax_python(i64 %site, ptr %slots, i32 %why, ptr %frame, ptr %message)
  %text = load ptr, ptr %message
  %done = icmp eq i32 %answer, 1 ; an interrupt outside of its try block has ctypes return anything
  br i1 %done, label %finish, label %refuse

refuse:
  %unknown = icmp eq ptr %text, null
  %shown = select i1 %unknown, ptr @stopped, ptr %text
  %error = call ptr @fail(ptr %frame, ptr %shown)
  ret ptr %error

finish:
  call void @relocate(ptr %frame, ptr %record, ptr %scratch, i1 true)
  ret ptr null
}

; Kinds: 0 adds the address of buffer a to the word, 1 puts the address of word a into it, 2 copies the first b bytes of
; buffer a into it, 4 the i32 there as an i64, 5 the float there as a double; behind the call, 3 copies b
; bytes from byte `word` on to buffer a.
define internal void @relocate(ptr %frame, ptr %record, ptr %scratch, i1 %behind) {
entry:
  %relocs_slot = getelementptr %record, ptr %record, i32 0, i32 5
  %relocs = load ptr, ptr %relocs_slot
  %count_slot = getelementptr %record, ptr %record, i32 0, i32 6
  %count = load i64, ptr %count_slot
  br label %next

next:
  %i = phi i64 [ 0, %entry ], [ %i_next, %step ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %read, label %return

read:
  %word_slot = getelementptr %reloc, ptr %relocs, i64 %i, i32 0
  %kind_slot = getelementptr %reloc, ptr %relocs, i64 %i, i32 1
  %a_slot = getelementptr %reloc, ptr %relocs, i64 %i, i32 2
  %b_slot = getelementptr %reloc, ptr %relocs, i64 %i, i32 3
  %word = load i64, ptr %word_slot
  %kind = load i64, ptr %kind_slot
  %a = load i64, ptr %a_slot
  %b = load i64, ptr %b_slot
  %place = getelementptr i64, ptr %scratch, i64 %word
  %is_result = icmp eq i64 %kind, 3
  %now = icmp eq i1 %is_result, %behind
  br i1 %now, label %choose, label %step

choose:
  switch i64 %kind, label %step [ i64 0, label %address
                                  i64 1, label %inside
                                  i64 2, label %take
                                  i64 3, label %give
                                  i64 4, label %widen_integer
                                  i64 5, label %widen_float ]

address:
  %data = call ptr @data(ptr %frame, i64 %a)
  %number = ptrtoint ptr %data to i64
  %offset = load i64, ptr %place
  %sum = add i64 %number, %offset
  store i64 %sum, ptr %place
  br label %step

inside:
  %target = getelementptr i64, ptr %scratch, i64 %a
  store ptr %target, ptr %place
  br label %step

take:
  %source = call ptr @data(ptr %frame, i64 %a)
  call void @llvm.memcpy.p0.p0.i64(ptr %place, ptr %source, i64 %b, i1 false)
  br label %step

give:
  %result = call ptr @data(ptr %frame, i64 %a)
  %made = getelementptr i8, ptr %scratch, i64 %word
  call void @llvm.memcpy.p0.p0.i64(ptr %result, ptr %made, i64 %b, i1 false)
  br label %step

widen_integer:
  %integer_data = call ptr @data(ptr %frame, i64 %a)
  %narrow_integer = load i32, ptr %integer_data
  %wide_integer = sext i32 %narrow_integer to i64
  store i64 %wide_integer, ptr %place
  br label %step

widen_float:
  %float_data = call ptr @data(ptr %frame, i64 %a)
  %narrow_float = load float, ptr %float_data
  %wide_float = fpext float %narrow_float to double
  store double %wide_float, ptr %place
  br label %step

step:
  %i_next = add i64 %i, 1
  br label %next

return:
  ret void
}

; An error of XLA with a text, which is copied.
define internal ptr @fail(ptr %frame, ptr %text) {
  %arguments = alloca %error
  %api_slot = getelementptr %frame, ptr %frame, i32 0, i32 2
  %api = load ptr, ptr %api_slot
  %create_slot = getelementptr %api, ptr %api, i32 0, i32 4
  %create = load ptr, ptr %create_slot
  %extension_slot = getelementptr %error, ptr %arguments, i32 0, i32 1
  %text_slot = getelementptr %error, ptr %arguments, i32 0, i32 2
  %code_slot = getelementptr %error, ptr %arguments, i32 0, i32 3
  store i64 28, ptr %arguments
  store ptr null, ptr %extension_slot
  store ptr %text, ptr %text_slot
  store i32 13, ptr %code_slot ; INTERNAL
  %error = call ptr %create(ptr %arguments)
  ret ptr %error
}
