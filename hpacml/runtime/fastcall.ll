; The fast path of calls, as a method of Python (METH_FASTCALL | METH_KEYWORDS). It runs compiled code for arguments that
; are plainly what the code takes. For all others it calls the method in Python that stood in its place, before it has
; done anything: that decides, and raises the errors. So nothing here reports an error.
;
; `hpacml.runtime.fastcall` writes the table of a fast path, and loads this module where Python's and NumPy's objects are
; laid out as in their headers.

; The table: arguments, words of the stack, kind and class of the result, function; how many of each of these follow.
%path = type { i64, i64, i64, ptr, ptr, i64, i64, i64 }
%entry = type { ptr, ptr, ptr } ; a dictionary, a key, the object that is there (null: none)
%answer = type { ptr, ptr } ; a function, the object that it returns
%rule = type { i64, i64, i64, i64 } ; an array and one of its axes; another one, or -1 and the size
%parameter = type { i64, ptr, ptr, i32, i32 } ; kind, class, dtype (of a bool: True; of a float: a second class), rank, flags
; Of NumPy: head, data, rank, sizes, strides, base, dtype, flags.
%ndarray = type { i64, ptr, ptr, i32, ptr, ptr, ptr, ptr, i32 }

@general = internal global ptr null ; the method in Python
@place = internal global i64 0 ; where an object has its fast path: a tuple that begins with the table
@none = internal global ptr null
@declined = internal constant i8 0 ; its address stands for a result: nothing has run

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare i64 @PyTuple_Size(ptr)
declare ptr @PyBytes_AsString(ptr)
declare ptr @PyDict_GetItem(ptr, ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyFloat_FromDouble(double)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyBool_FromLong(i64)
declare ptr @PyMem_Malloc(i64)
declare void @PyMem_Free(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @hpacml_stack_left()

define void @hpacml_admit(ptr %method, i64 %offset, ptr %nothing) {
  store ptr %method, ptr @general
  store i64 %offset, ptr @place
  store ptr %nothing, ptr @none
  ret void
}

define ptr @hpacml_call(ptr %self, ptr %given, i64 %number, ptr %names) {
  %offset = load i64, ptr @place
  %slot = getelementptr i8, ptr %self, i64 %offset
  %path = load ptr, ptr %slot
  %closed = icmp eq ptr %path, null
  %named = icmp ne ptr %names, null
  %unfit = or i1 %closed, %named
  br i1 %unfit, label %slow, label %fast

fast:
  call void @Py_IncRef(ptr %path) ; while this runs, another may take its place
  %bytes = call ptr @PyTuple_GetItem(ptr %path, i64 0)
  %table = call ptr @PyBytes_AsString(ptr %bytes)
  %result = call ptr @run(ptr %table, ptr %given, i64 %number)
  call void @Py_DecRef(ptr %path)
  %other = icmp eq ptr %result, @declined
  br i1 %other, label %slow, label %return

slow:
  %decided = call ptr @in_python(ptr %self, ptr %given, i64 %number, ptr %names)
  br label %return

return:
  %returned = phi ptr [ %result, %fast ], [ %decided, %slow ]
  ret ptr %returned
}

define internal ptr @in_python(ptr %self, ptr %given, i64 %number, ptr %names) noinline {
  %positional = icmp eq ptr %names, null
  br i1 %positional, label %copy, label %count

count:
  %keywords = call i64 @PyTuple_Size(ptr %names)
  br label %copy

copy:
  %named = phi i64 [ 0, %0 ], [ %keywords, %count ]
  %all = add i64 %number, %named
  %size = shl i64 %all, 3
  %room = add i64 %size, 8
  %arguments = call ptr @PyMem_Malloc(i64 %room) ; on the stack there may be no room for as many
  %full = icmp eq ptr %arguments, null
  br i1 %full, label %fail, label %call

call:
  store ptr %self, ptr %arguments
  %behind = getelementptr ptr, ptr %arguments, i64 1
  call void @llvm.memcpy.p0.p0.i64(ptr %behind, ptr %given, i64 %size, i1 false)
  %method = load ptr, ptr @general
  %with_self = add i64 %number, 1
  %result = call ptr @PyObject_Vectorcall(ptr %method, ptr %arguments, i64 %with_self, ptr %names)
  call void @PyMem_Free(ptr %arguments)
  ret ptr %result

fail:
  %null = call ptr @PyErr_NoMemory()
  ret ptr %null
}

; Returns @declined, or null with the exception of a function of the table, such as an interrupt.
define internal ptr @run(ptr %table, ptr %given, i64 %number) noinline {
  %overflow = alloca i32
  %count = load i64, ptr %table
  %complete = icmp eq i64 %number, %count
  br i1 %complete, label %look_up, label %decline

look_up:
  %lookups_slot = getelementptr %path, ptr %table, i32 0, i32 5
  %lookups = load i64, ptr %lookups_slot
  %entries = getelementptr %path, ptr %table, i32 1
  %answers = getelementptr %entry, ptr %entries, i64 %lookups
  br label %next_entry

next_entry:
  %e = phi i64 [ 0, %look_up ], [ %e_next, %look ]
  %more_entries = icmp ult i64 %e, %lookups
  br i1 %more_entries, label %look, label %ask

look:
  %e_next = add i64 %e, 1
  %entry = getelementptr %entry, ptr %entries, i64 %e
  %dictionary = load ptr, ptr %entry
  %key_slot = getelementptr %entry, ptr %entry, i32 0, i32 1
  %key = load ptr, ptr %key_slot
  %known_slot = getelementptr %entry, ptr %entry, i32 0, i32 2
  %known = load ptr, ptr %known_slot
  %there = call ptr @PyDict_GetItem(ptr %dictionary, ptr %key)
  %stayed = icmp eq ptr %there, %known
  br i1 %stayed, label %next_entry, label %decline

ask:
  %questions_slot = getelementptr %path, ptr %table, i32 0, i32 6
  %questions = load i64, ptr %questions_slot
  %rules = getelementptr %answer, ptr %answers, i64 %questions
  br label %next_question

next_question:
  %q = phi i64 [ 0, %ask ], [ %q_next, %compare ]
  %more_questions = icmp ult i64 %q, %questions
  br i1 %more_questions, label %pose, label %begin

pose:
  %q_next = add i64 %q, 1
  %question = getelementptr %answer, ptr %answers, i64 %q
  %asked = load ptr, ptr %question
  %expected_slot = getelementptr %answer, ptr %question, i32 0, i32 1
  %expected = load ptr, ptr %expected_slot
  %answered = call ptr @PyObject_CallNoArgs(ptr %asked)
  %raised = icmp eq ptr %answered, null
  br i1 %raised, label %fail, label %compare

compare:
  call void @Py_DecRef(ptr %answered)
  %agrees = icmp eq ptr %answered, %expected
  br i1 %agrees, label %next_question, label %decline

; From here on nothing of Python runs until the code has: arrays stay as they are found.
begin:
  %words_slot = getelementptr %path, ptr %table, i32 0, i32 1
  %words = load i64, ptr %words_slot
  %slots = alloca i64, i64 %words
  %behind = getelementptr i64, ptr %slots, i64 %count
  %descriptors = getelementptr i64, ptr %behind, i64 1 ; behind the result
  %ruled_slot = getelementptr %path, ptr %table, i32 0, i32 7
  %ruled = load i64, ptr %ruled_slot
  %parameters = getelementptr %rule, ptr %rules, i64 %ruled
  br label %next

next:
  %i = phi i64 [ 0, %begin ], [ %i_next, %taken ]
  %place = phi ptr [ %descriptors, %begin ], [ %free, %taken ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %take, label %next_rule

take:
  %parameter = getelementptr %parameter, ptr %parameters, i64 %i
  %kind = load i64, ptr %parameter
  %class_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 1
  %class = load ptr, ptr %class_slot
  %extra_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 2
  %extra = load ptr, ptr %extra_slot
  %slot = getelementptr i64, ptr %slots, i64 %i
  %object_slot = getelementptr ptr, ptr %given, i64 %i
  %object = load ptr, ptr %object_slot
  %its_class_slot = getelementptr %ndarray, ptr %object, i32 0, i32 1
  %its_class = load ptr, ptr %its_class_slot
  %of_class = icmp eq ptr %its_class, %class
  br i1 %of_class, label %which, label %second

second:
  %is_float = icmp eq i64 %kind, 1
  %of_second = icmp eq ptr %its_class, %extra
  %also_float = and i1 %is_float, %of_second
  br i1 %also_float, label %float, label %decline

which:
  switch i64 %kind, label %decline [
    i64 0, label %array
    i64 1, label %float
    i64 2, label %int
    i64 3, label %bool
  ]

float:
  %float_value = call double @PyFloat_AsDouble(ptr %object)
  store double %float_value, ptr %slot
  br label %taken

int:
  %int_value = call i64 @PyLong_AsLongLongAndOverflow(ptr %object, ptr %overflow)
  store i64 %int_value, ptr %slot
  %over = load i32, ptr %overflow
  %held = icmp eq i32 %over, 0
  br i1 %held, label %taken, label %decline

bool:
  %is_true = icmp eq ptr %object, %extra
  %bool_value = zext i1 %is_true to i64
  store i64 %bool_value, ptr %slot
  br label %taken

array:
  %rank_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 3
  %rank = load i32, ptr %rank_slot
  %wanted_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 4
  %wanted = load i32, ptr %wanted_slot
  %data_slot = getelementptr %ndarray, ptr %object, i32 0, i32 2
  %data = load ptr, ptr %data_slot
  %its_rank_slot = getelementptr %ndarray, ptr %object, i32 0, i32 3
  %its_rank = load i32, ptr %its_rank_slot
  %dtype_slot = getelementptr %ndarray, ptr %object, i32 0, i32 7
  %dtype = load ptr, ptr %dtype_slot
  %flags_slot = getelementptr %ndarray, ptr %object, i32 0, i32 8
  %flags = load i32, ptr %flags_slot
  %common = and i32 %flags, %wanted
  %same_flags = icmp eq i32 %common, %wanted
  %same_rank = icmp eq i32 %its_rank, %rank
  %same_dtype = icmp eq ptr %dtype, %extra
  %has_data = icmp ne ptr %data, null
  %fits1 = and i1 %same_flags, %same_rank
  %fits2 = and i1 %same_dtype, %has_data
  %fits = and i1 %fits1, %fits2
  br i1 %fits, label %describe, label %decline

describe:
  store ptr %place, ptr %slot
  store ptr %data, ptr %place
  %aligned = getelementptr i64, ptr %place, i64 1
  store ptr %data, ptr %aligned
  %first = getelementptr i64, ptr %place, i64 2
  store i64 0, ptr %first
  %axes = zext i32 %rank to i64
  %described_sizes = getelementptr i64, ptr %place, i64 3
  %described_strides = getelementptr i64, ptr %described_sizes, i64 %axes
  %end = getelementptr i64, ptr %described_strides, i64 %axes
  %dimensions_slot = getelementptr %ndarray, ptr %object, i32 0, i32 4
  %dimensions = load ptr, ptr %dimensions_slot
  br label %outer

outer:
  %left = phi i64 [ %axes, %describe ], [ %axis, %inner ]
  %stride = phi i64 [ 1, %describe ], [ %product, %inner ]
  %none_left = icmp eq i64 %left, 0
  br i1 %none_left, label %taken, label %inner

inner:
  %axis = sub i64 %left, 1
  %size_from = getelementptr i64, ptr %dimensions, i64 %axis
  %size = load i64, ptr %size_from
  %size_to = getelementptr i64, ptr %described_sizes, i64 %axis
  store i64 %size, ptr %size_to
  %stride_to = getelementptr i64, ptr %described_strides, i64 %axis
  store i64 %stride, ptr %stride_to
  %product = mul i64 %stride, %size
  br label %outer

taken:
  %free = phi ptr [ %place, %float ], [ %place, %int ], [ %place, %bool ], [ %end, %outer ]
  %i_next = add i64 %i, 1
  br label %next

next_rule:
  %r = phi i64 [ 0, %next ], [ %r_next, %judge ]
  %more_rules = icmp ult i64 %r, %ruled
  br i1 %more_rules, label %apply, label %enter

apply:
  %r_next = add i64 %r, 1
  %rule = getelementptr %rule, ptr %rules, i64 %r
  %one = load i64, ptr %rule
  %one_axis_slot = getelementptr %rule, ptr %rule, i32 0, i32 1
  %one_axis = load i64, ptr %one_axis_slot
  %two_slot = getelementptr %rule, ptr %rule, i32 0, i32 2
  %two = load i64, ptr %two_slot
  %two_axis_slot = getelementptr %rule, ptr %rule, i32 0, i32 3
  %two_axis = load i64, ptr %two_axis_slot
  %one_size = call i64 @size_of(ptr %slots, i64 %one, i64 %one_axis)
  %constant = icmp slt i64 %two, 0
  br i1 %constant, label %judge, label %another

another:
  %two_size = call i64 @size_of(ptr %slots, i64 %two, i64 %two_axis)
  br label %judge

judge:
  %right = phi i64 [ %two_axis, %apply ], [ %two_size, %another ]
  %equal = icmp eq i64 %one_size, %right
  br i1 %equal, label %next_rule, label %decline

; The code calls nothing of the runtime: it needs no frame, allocates nothing, and cannot fail.
enter:
  %stack = call i64 @hpacml_stack_left()
  %narrow = icmp ult i64 %stack, 65536
  br i1 %narrow, label %decline, label %leap

leap:
  %function_slot = getelementptr %path, ptr %table, i32 0, i32 4
  %function = load ptr, ptr %function_slot
  %thread = call ptr @PyEval_SaveThread()
  call void %function(ptr %slots)
  call void @PyEval_RestoreThread(ptr %thread)
  %result_slot = getelementptr %path, ptr %table, i32 0, i32 2
  %returns = load i64, ptr %result_slot
  switch i64 %returns, label %nothing [
    i64 1, label %f64
    i64 2, label %i64
    i64 3, label %i1
    i64 4, label %f32
    i64 5, label %i32
  ]

f64:
  %double = load double, ptr %behind
  %f64_object = call ptr @PyFloat_FromDouble(double %double)
  br label %convert

i64:
  %long = load i64, ptr %behind
  %i64_object = call ptr @PyLong_FromLongLong(i64 %long)
  br label %convert

i1:
  %byte = load i8, ptr %behind
  %truth = zext i8 %byte to i64
  %i1_object = call ptr @PyBool_FromLong(i64 %truth)
  br label %convert

f32:
  %single = load float, ptr %behind
  %widened = fpext float %single to double
  %f32_object = call ptr @PyFloat_FromDouble(double %widened)
  br label %convert

i32:
  %word = load i32, ptr %behind
  %extended = sext i32 %word to i64
  %i32_object = call ptr @PyLong_FromLongLong(i64 %extended)
  br label %convert

convert:
  %object_found = phi ptr [ %f64_object, %f64 ], [ %i64_object, %i64 ], [ %i1_object, %i1 ], [ %f32_object, %f32 ],
                          [ %i32_object, %i32 ]
  %class_of_result_slot = getelementptr %path, ptr %table, i32 0, i32 3
  %class_of_result = load ptr, ptr %class_of_result_slot
  %of_python = icmp eq ptr %class_of_result, null
  %no_object = icmp eq ptr %object_found, null
  %done = or i1 %of_python, %no_object
  br i1 %done, label %return, label %make

make:
  store ptr %object_found, ptr %behind
  %made = call ptr @PyObject_Vectorcall(ptr %class_of_result, ptr %behind, i64 1, ptr null)
  call void @Py_DecRef(ptr %object_found)
  br label %return

return:
  %returned = phi ptr [ %object_found, %convert ], [ %made, %make ]
  ret ptr %returned

nothing:
  %none = load ptr, ptr @none
  call void @Py_IncRef(ptr %none)
  ret ptr %none

decline:
  ret ptr @declined

fail:
  ret ptr null
}

define internal i64 @size_of(ptr %slots, i64 %array, i64 %axis) {
  %slot = getelementptr i64, ptr %slots, i64 %array
  %descriptor = load ptr, ptr %slot
  %sizes = getelementptr i64, ptr %descriptor, i64 3
  %place = getelementptr i64, ptr %sizes, i64 %axis
  %size = load i64, ptr %place
  ret i64 %size
}
