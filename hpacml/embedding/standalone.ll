; The runtime of libraries without Python, beside hpacml/runtime/shim.ll: what that asks Python for is answered here, and
; the C functions of libraries enter their code by hpacml_enter_native. Errors are texts: the message of a thread.
;
; #0 has the attributes of functions that run before it is known whether the processor has the instructions that the
; others use, and if it has not; hpacml.embedding.native_runtime writes it, and the texts that are declared nowhere here.
;
; A text with numbers is strings, one behind the other, and an empty one at last. The first letter of a string tells what
; it is: T a text, I a format for an integer and E one for a double, B a truth value; R stands for a double and S for a
; float, both as the shortest text that is read as that number.

@hpacml_message = weak thread_local global [8192 x i8] zeroinitializer ; libraries of a program share one
@used = internal thread_local global i64 0 ; the bytes of the message
@numbers = internal thread_local global [128 x i64] zeroinitializer ; of the text that comes next
@count = internal thread_local global i64 0
@printing = internal thread_local global i1 false ; whether texts go to the output of the program, not to the message
@listing = internal thread_local global i32 0 ; whether more sizes follow (1), and one was negative (2)
@once = internal global i32 0
@ready = internal global i1 false

@stdout = external global ptr

declare i32 @snprintf(ptr, i64, ptr, ...)
declare i64 @strlen(ptr)
declare i32 @strncmp(ptr, ptr, i64)
declare ptr @memcpy(ptr, ptr, i64)
declare double @strtod(ptr, ptr)
declare i64 @fwrite(ptr, i64, i64, ptr)
declare void @flockfile(ptr)
declare void @funlockfile(ptr)
declare i32 @pthread_once(ptr, ptr)
declare double @llvm.fabs.f64(double)
declare ptr @llvm.threadlocal.address.p0(ptr)
declare i32 @hpacml_init()
declare i32 @hpacml_enter(ptr, ptr)

@integer = internal constant [5 x i8] c"%lld\00"
@digits = internal constant [5 x i8] c"%.*e\00"
@fixed = internal constant [5 x i8] c"%.*f\00"
@one_decimal = internal constant [5 x i8] c"%.1f\00"
@yes = internal constant [5 x i8] c"True\00"
@no = internal constant [6 x i8] c"False\00"
@not_a_number = internal constant [4 x i8] c"nan\00"
@infinite = internal constant [4 x i8] c"inf\00"
@minus_infinite = internal constant [5 x i8] c"-inf\00"
@given_name = internal constant [8 x i8] c"{given}\00"
@wanted_name = internal constant [9 x i8] c"{wanted}\00"
@comma = internal constant [3 x i8] c", \00"

; -- the message -----------------------------------------------------------------------------------------------------

define weak ptr @hpacml_last_error() #0 {
  %message = call ptr @llvm.threadlocal.address.p0(ptr @hpacml_message)
  ret ptr %message
}

define internal void @begin() #0 {
  %message = call ptr @llvm.threadlocal.address.p0(ptr @hpacml_message)
  %used = call ptr @llvm.threadlocal.address.p0(ptr @used)
  store i64 0, ptr %used
  store i8 0, ptr %message
  ret void
}

; Adds as much of some text as there is room for, or prints all of it.
define internal void @put_bytes(ptr %text, i64 %length) #0 {
  %printing_slot = call ptr @llvm.threadlocal.address.p0(ptr @printing)
  %printing = load i1, ptr %printing_slot
  br i1 %printing, label %print, label %add

print:
  %stream = load ptr, ptr @stdout
  %written = call i64 @fwrite(ptr %text, i64 1, i64 %length, ptr %stream)
  ret void

add:
  %message = call ptr @llvm.threadlocal.address.p0(ptr @hpacml_message)
  %used_slot = call ptr @llvm.threadlocal.address.p0(ptr @used)
  %used = load i64, ptr %used_slot
  %room = sub i64 8191, %used
  %fits = icmp ult i64 %length, %room
  %taken = select i1 %fits, i64 %length, i64 %room
  %place = getelementptr i8, ptr %message, i64 %used
  %copied = call ptr @memcpy(ptr %place, ptr %text, i64 %taken)
  %end = add i64 %used, %taken
  %last = getelementptr i8, ptr %message, i64 %end
  store i8 0, ptr %last
  store i64 %end, ptr %used_slot
  ret void
}

define internal void @put(ptr %text) #0 {
  %length = call i64 @strlen(ptr %text)
  call void @put_bytes(ptr %text, i64 %length)
  ret void
}

define internal void @put_integer(ptr %format, i64 %number) #0 {
  %room = alloca [512 x i8]
  %length = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %room, i64 512, ptr %format, i64 %number)
  call void @put(ptr %room)
  ret void
}

define internal void @put_double(ptr %format, double %number) #0 {
  %room = alloca [512 x i8]
  %length = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %room, i64 512, ptr %format, double %number)
  call void @put(ptr %room)
  ret void
}

; Adds the text with the fewest digits that is read as a number again: fixed where it is not below 0.0001 and below
; `most`, else with an exponent.
define internal void @put_shortest(double %number, i1 %single, double %most) #0 {
entry:
  %room = alloca [512 x i8]
  %is_nan = fcmp uno double %number, %number
  br i1 %is_nan, label %nan, label %size

nan:
  call void @put(ptr @not_a_number)
  ret void

size:
  %magnitude = call double @llvm.fabs.f64(double %number)
  %is_infinite = fcmp oeq double %magnitude, 0x7FF0000000000000
  br i1 %is_infinite, label %infinite, label %try

infinite:
  %below = fcmp olt double %number, 0.0
  %name = select i1 %below, ptr @minus_infinite, ptr @infinite
  call void @put(ptr %name)
  ret void

try:
  %decimals = phi i32 [ 0, %size ], [ %more, %next ]
  %length = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %room, i64 512, ptr @digits, i32 %decimals, double %number)
  %read = call double @strtod(ptr %room, ptr null)
  %read_single = fptrunc double %read to float
  %own_single = fptrunc double %number to float
  %same_single = fcmp oeq float %read_single, %own_single
  %same_double = fcmp oeq double %read, %number
  %same = select i1 %single, i1 %same_single, i1 %same_double
  %most_decimals = icmp eq i32 %decimals, 16
  %done = or i1 %same, %most_decimals
  br i1 %done, label %found, label %next

next:
  %more = add i32 %decimals, 1
  br label %try

found:
  %zero = fcmp oeq double %number, 0.0
  %large = fcmp oge double %magnitude, 1.0e-4
  %small = fcmp olt double %magnitude, %most
  %between = and i1 %large, %small
  %is_fixed = or i1 %zero, %between
  br i1 %is_fixed, label %round, label %exponent

exponent:
  call void @put(ptr %room)
  ret void

round: ; as many decimals as there are digits behind the point
  %places = phi i32 [ 1, %found ], [ %places_next, %again ]
  %written = call i32 (ptr, i64, ptr, ...) @snprintf(ptr %room, i64 512, ptr @fixed, i32 %places, double %number)
  %back = call double @strtod(ptr %room, ptr null)
  %back_single = fptrunc double %back to float
  %equal_single = fcmp oeq float %back_single, %own_single
  %equal_double = fcmp oeq double %back, %number
  %equal = select i1 %single, i1 %equal_single, i1 %equal_double
  %enough = icmp eq i32 %places, 24
  %stop = or i1 %equal, %enough
  br i1 %stop, label %exponent, label %again

again:
  %places_next = add i32 %places, 1
  br label %round
}

; Adds a text with numbers in the place of {given} and {wanted}.
define internal void @put_with(ptr %text, i64 %given, i64 %wanted) #0 {
entry:
  br label %look

look:
  %at = phi ptr [ %text, %entry ], [ %behind_given, %is_given ], [ %behind_wanted, %is_wanted ], [ %next, %letter ]
  %byte = load i8, ptr %at
  %end = icmp eq i8 %byte, 0
  br i1 %end, label %return, label %compare

compare:
  %unlike_given = call i32 @strncmp(ptr %at, ptr @given_name, i64 7)
  %found_given = icmp eq i32 %unlike_given, 0
  br i1 %found_given, label %is_given, label %compare_wanted

compare_wanted:
  %unlike_wanted = call i32 @strncmp(ptr %at, ptr @wanted_name, i64 8)
  %found_wanted = icmp eq i32 %unlike_wanted, 0
  br i1 %found_wanted, label %is_wanted, label %letter

is_given:
  call void @put_integer(ptr @integer, i64 %given)
  %behind_given = getelementptr i8, ptr %at, i64 7
  br label %look

is_wanted:
  call void @put_integer(ptr @integer, i64 %wanted)
  %behind_wanted = getelementptr i8, ptr %at, i64 8
  br label %look

letter:
  call void @put_bytes(ptr %at, i64 1)
  %next = getelementptr i8, ptr %at, i64 1
  br label %look

return:
  ret void
}

; Adds strings, whose numbers come in turn.
define internal void @say(ptr %site, ptr %numbers) {
entry:
  br label %piece

piece:
  %at = phi ptr [ %site, %entry ], [ %behind, %done ]
  %place = phi ptr [ %numbers, %entry ], [ %place_next, %done ]
  %kind = load i8, ptr %at
  %rest = getelementptr i8, ptr %at, i64 1
  %end = icmp eq i8 %kind, 0
  br i1 %end, label %return, label %choose

choose:
  %is_text = icmp eq i8 %kind, 84
  br i1 %is_text, label %text, label %number

text:
  call void @put(ptr %rest)
  br label %done

number:
  %bits = load i64, ptr %place
  %double = bitcast i64 %bits to double
  switch i8 %kind, label %done [
    i8 73, label %integer
    i8 69, label %format
    i8 66, label %truth
    i8 82, label %repr
    i8 83, label %single
  ]

integer:
  call void @put_integer(ptr %rest, i64 %bits)
  br label %done

format: ; C writes the sign of what is no number
  %is_nan = fcmp uno double %double, %double
  %plain = call double @llvm.fabs.f64(double %double)
  %shown = select i1 %is_nan, double %plain, double %double
  call void @put_double(ptr %rest, double %shown)
  br label %done

truth:
  %is_true = icmp ne i64 %bits, 0
  %word = select i1 %is_true, ptr @yes, ptr @no
  call void @put(ptr %word)
  br label %done

repr:
  call void @put_shortest(double %double, i1 false, double 1.0e16)
  br label %done

single:
  call void @put_shortest(double %double, i1 true, double 1.0e6)
  br label %done

done:
  %step = phi i64 [ 0, %text ], [ 8, %number ], [ 8, %integer ], [ 8, %format ], [ 8, %truth ], [ 8, %repr ], [ 8, %single ]
  %place_next = getelementptr i8, ptr %place, i64 %step
  %length = call i64 @strlen(ptr %at)
  %with_nul = add i64 %length, 1
  %behind = getelementptr i8, ptr %at, i64 %with_nul
  br label %piece

return:
  ret void
}

; -- the C functions of the library ------------------------------------------------------------------------------------

define internal void @prepare() {
  %status = call i32 @hpacml_init()
  %done = icmp eq i32 %status, 0
  store i1 %done, ptr @ready
  ret void
}

define i32 @hpacml_enter_native(ptr %code, ptr %slots, ptr %record, ptr %texts) {
  %count = call ptr @llvm.threadlocal.address.p0(ptr @count)
  %asked = call i32 @pthread_once(ptr @once, ptr @prepare)
  %ready = load i1, ptr @ready
  br i1 %ready, label %enter, label %unready

unready:
  call void @begin()
  call void @put(ptr @no_key)
  ret i32 4

enter:
  store i64 0, ptr %count
  call void @begin()
  %status = call i32 @hpacml_enter(ptr %code, ptr %slots)
  switch i32 %status, label %failed [
    i32 0, label %done
    i32 2, label %memory
    i32 3, label %stack
  ]

done:
  ret i32 0

memory:
  call void @begin()
  call void @put(ptr @no_entry)
  ret i32 1

stack:
  call void @begin()
  call void @put(ptr @no_stack)
  ret i32 1

failed: ; what failed has left a message
  ret i32 1
}

define i32 @hpacml_refuse_call(i32 %status, ptr %text, i64 %given, i64 %wanted) #0 {
  call void @begin()
  call void @put_with(ptr %text, i64 %given, i64 %wanted)
  ret i32 %status
}

; -- what compiled code asks for: 1 is done, 0 has failed ----------------------------------------------------------------

define i32 @hpacml_py_number(i64 %bits) {
  %numbers = call ptr @llvm.threadlocal.address.p0(ptr @numbers)
  %count_slot = call ptr @llvm.threadlocal.address.p0(ptr @count)
  %count = load i64, ptr %count_slot
  %fits = icmp ult i64 %count, 128
  br i1 %fits, label %keep, label %return

keep:
  %place = getelementptr i64, ptr %numbers, i64 %count
  store i64 %bits, ptr %place
  %next = add i64 %count, 1
  store i64 %next, ptr %count_slot
  br label %return

return:
  ret i32 1
}

; Says a text whose numbers have been given.
define internal void @tell(ptr %site) {
  %numbers = call ptr @llvm.threadlocal.address.p0(ptr @numbers)
  %count = call ptr @llvm.threadlocal.address.p0(ptr @count)
  call void @begin()
  call void @say(ptr %site, ptr %numbers)
  store i64 0, ptr %count
  ret void
}

define i32 @hpacml_py_fail(ptr %site) {
  call void @tell(ptr %site)
  ret i32 0
}

; A text may be longer than a message. Those of other threads come before it or behind it.
define i32 @hpacml_py_print(ptr %site) {
  %printing = call ptr @llvm.threadlocal.address.p0(ptr @printing)
  %stream = load ptr, ptr @stdout
  call void @flockfile(ptr %stream)
  store i1 true, ptr %printing
  call void @tell(ptr %site)
  store i1 false, ptr %printing
  call void @funlockfile(ptr %stream)
  ret i32 1
}

define i32 @hpacml_py_check_map(ptr %site, ptr %values, ptr %arrays) {
  call void @begin()
  call void @say(ptr %site, ptr %values)
  ret i32 0
}

define i32 @hpacml_py_refuse(ptr %site) {
  call void @begin()
  call void @put(ptr %site)
  ret i32 0
}

define i32 @hpacml_py_refuse_sizes(ptr %site, i64 %given, i64 %wanted) {
  call void @begin()
  call void @put_with(ptr %site, i64 %given, i64 %wanted)
  ret i32 0
}

define i32 @hpacml_py_refuse_size(i64 %size, i64 %more) {
  %listing_slot = call ptr @llvm.threadlocal.address.p0(ptr @listing)
  %listing = load i32, ptr %listing_slot
  %is_new = icmp eq i32 %listing, 0
  br i1 %is_new, label %first, label %next

first:
  call void @begin()
  call void @put(ptr @no_array)
  br label %add

next:
  call void @put(ptr @comma)
  br label %add

add:
  call void @put_integer(ptr @integer, i64 %size)
  %is_negative = icmp slt i64 %size, 0
  %was_negative = icmp eq i32 %listing, 2
  %any_negative = or i1 %is_negative, %was_negative
  %state = select i1 %any_negative, i32 2, i32 1
  %goes_on = icmp ne i64 %more, 0
  %kept = select i1 %goes_on, i32 %state, i32 0
  store i32 %kept, ptr %listing_slot
  br i1 %goes_on, label %return, label %end

end:
  %why = select i1 %any_negative, ptr @negative_size, ptr @huge_size
  call void @put(ptr %why)
  br label %return

return:
  %status = phi i32 [ 1, %add ], [ 0, %end ]
  ret i32 %status
}

define i32 @hpacml_py_no_memory(i64 %bytes) {
  %is_negative = icmp slt i64 %bytes, 0
  %text = select i1 %is_negative, ptr @negative_tensor, ptr @no_tensor
  call void @begin()
  call void @put_with(ptr %text, i64 %bytes, i64 0)
  ret i32 0
}
