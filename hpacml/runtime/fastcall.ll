; The fast path of calls. It runs compiled code for arguments that are plainly what the code takes, and declines all
; others before it has done anything: Python then decides, and raises the errors.
;
; hpacml_call is a method of Python (METH_FASTCALL | METH_KEYWORDS): where it declines, it calls the method in Python
; that stood in its place. hpacml_try is a function (METH_FASTCALL) that then returns NotImplemented.
;
; `hpacml.runtime.fastcall` writes the table of a fast path, and loads this module where Python's and NumPy's objects are
; laid out as in their headers.

; The table: arguments, words of the stack, slots of the function, the function; what tells whether it failed (null: it
; cannot); kind and class of the result; what makes a tensor for results, its slot and description; how many follow of
; entries, answers, rules, constants and parameters; what makes a frame of the address of the slots and the arguments
; (null: there is none), what has the list of frames of each thread and its name there, how many frames it may have, the
; name of the result in the frame (null: it has none); the parameter that shares no memory with others, and the argument
; that is the result (-1: none).
%path = type { i64, i64, i64, ptr, ptr, i64, ptr, ptr, i64, ptr, i64, i64, i64, i64, i64, ptr, ptr, ptr, i64, ptr,
               i64, i64 }
%entry = type { ptr, ptr, ptr } ; a dictionary, a key, the object that is there (null: none)
%answer = type { ptr, ptr } ; a function, the object that it returns
%rule = type { i64, i64, i64, i64 } ; the slot of an array and one of its axes; of another one, or -1 and the size
%constant = type { i64, i64 } ; a slot, its value
; Kind, class; dtype (of a bool: True; of a float: a second class; of an int that is known: itself); description of an
; array that is known; rank, flags; argument, slot. Of kind 6 is an object that has this class, which has no slot; of
; kind 7 a tensor of Torch, which has its form in the place of a dtype; of kind 8 an int that is the address of pointers
; for the slot and those behind it, as many as stands in the place of a dtype.
%parameter = type { i64, ptr, ptr, ptr, i32, i32, i64, i64 }
; The description of an array that is known: its rank, its descriptor, its strides in bytes, and the bytes from its first
; element to the lowest one, and to the end of the highest.
%form = type { i64, i64, i64, i64 } ; of a tensor: dtype, keys, size of an element, flags that its storage must not have
; Of Torch, as `hpacml.runtime.arrays.torch_layout` has found them: an object; a tensor, with storage, what gradients need,
; what else it is, version, rank, sizes, strides, offset, dtype and keys; a storage with data, bytes and flags; a version.
%object = type { i64, ptr, ptr }
%tensor = type { [2 x i64], ptr, ptr, ptr, ptr, ptr, i64, [5 x i64], [5 x i64], i64, i64, i16, [6 x i8], i64 }
%storage = type { [2 x i64], ptr, [3 x i64], i64, i64 }
%version = type { [2 x i64], i32 }
; Of NumPy: head, data, rank, sizes, strides, base, dtype, flags.
%ndarray = type { i64, ptr, ptr, i32, ptr, ptr, ptr, ptr, i32 }

@general = internal global ptr null ; the method in Python
@place = internal global i64 0 ; where an object has its fast path: a tuple that begins with the table
@none = internal global ptr null
@not_implemented = internal global ptr null
@declined = internal constant i8 0 ; its address stands for a result: nothing has run

declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare ptr @PyTuple_GetItem(ptr, i64)
declare i64 @PyTuple_Size(ptr)
declare ptr @PyBytes_AsString(ptr)
declare ptr @PyBytes_FromStringAndSize(ptr, i64)
declare ptr @PyDict_GetItem(ptr, ptr)
declare i32 @PyDict_Next(ptr, ptr, ptr, ptr)
declare i64 @PyDict_Size(ptr)
declare ptr @PyObject_CallNoArgs(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyFloat_FromDouble(double)
declare i64 @PyLong_AsLongLongAndOverflow(ptr, ptr)
declare ptr @PyLong_AsVoidPtr(ptr)
declare i64 @PyList_Size(ptr)
declare i32 @PyList_Append(ptr, ptr)
declare i32 @PyList_SetSlice(ptr, i64, i64, ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyLong_FromVoidPtr(ptr)
declare ptr @PyObject_GetAttr(ptr, ptr)
declare ptr @PyBool_FromLong(i64)
declare ptr @PyMem_Malloc(i64)
declare void @PyMem_Free(ptr)
declare ptr @PyErr_NoMemory()
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare i64 @hpacml_stack_left()
declare i64 @hpacml_checksum(ptr, i64)
declare i32 @hpacml_enter(ptr, ptr)

define void @hpacml_begin(ptr %nothing, ptr %declined) {
  store ptr %nothing, ptr @none
  store ptr %declined, ptr @not_implemented
  ret void
}

define void @hpacml_admit(ptr %method, i64 %offset) {
  store ptr %method, ptr @general
  store i64 %offset, ptr @place
  ret void
}

define ptr @hpacml_try(ptr %path, ptr %given, i64 %number) {
  %bytes = call ptr @PyTuple_GetItem(ptr %path, i64 0)
  %table = call ptr @PyBytes_AsString(ptr %bytes)
  %result = call ptr @run(ptr %table, ptr %given, i64 %number)
  %other = icmp eq ptr %result, @declined
  br i1 %other, label %decline, label %return

decline:
  %sign = load ptr, ptr @not_implemented
  call void @Py_IncRef(ptr %sign)
  ret ptr %sign

return:
  ret ptr %result
}

; A function of Python that tells whether dictionaries have the same objects in the same order as the table: how many
; dictionaries there are; each, its size, and its keys and values.
define ptr @hpacml_same(ptr %path, ptr %given, i64 %number) {
  %position = alloca i64
  %key_slot = alloca ptr
  %value_slot = alloca ptr
  %bytes = call ptr @PyTuple_GetItem(ptr %path, i64 0)
  %table = call ptr @PyBytes_AsString(ptr %bytes)
  %count = load i64, ptr %table
  %first = getelementptr i64, ptr %table, i64 1
  br label %next

next:
  %d = phi i64 [ 0, %0 ], [ %d_next, %whole ]
  %place = phi ptr [ %first, %0 ], [ %behind, %whole ]
  %more = icmp ult i64 %d, %count
  br i1 %more, label %look, label %return

look:
  %d_next = add i64 %d, 1
  %dictionary = load ptr, ptr %place
  %size_slot = getelementptr i64, ptr %place, i64 1
  %size = load i64, ptr %size_slot
  %pairs = getelementptr i64, ptr %place, i64 2
  %now = call i64 @PyDict_Size(ptr %dictionary)
  %as_large = icmp eq i64 %now, %size
  store i64 0, ptr %position
  br i1 %as_large, label %next_pair, label %return

next_pair:
  %pair = phi ptr [ %pairs, %look ], [ %next_place, %compare ]
  %there = call i32 @PyDict_Next(ptr %dictionary, ptr %position, ptr %key_slot, ptr %value_slot)
  %end = icmp eq i32 %there, 0
  br i1 %end, label %whole, label %compare

compare:
  %next_place = getelementptr i64, ptr %pair, i64 2
  %known_value_slot = getelementptr i64, ptr %pair, i64 1
  %known_key = load ptr, ptr %pair
  %known_value = load ptr, ptr %known_value_slot
  %key = load ptr, ptr %key_slot
  %value = load ptr, ptr %value_slot
  %same_key = icmp eq ptr %key, %known_key
  %same_value = icmp eq ptr %value, %known_value
  %same = and i1 %same_key, %same_value
  br i1 %same, label %next_pair, label %return

whole:
  %behind = phi ptr [ %pair, %next_pair ]
  br label %next

return:
  %answer = phi i64 [ 1, %next ], [ 0, %look ], [ 0, %compare ]
  %object = call ptr @PyBool_FromLong(i64 %answer)
  ret ptr %object
}

; A function of Python that gives the checksum of memory. The table: how many pieces there are; address and size of each.
define ptr @hpacml_sum(ptr %path, ptr %given, i64 %number) {
  %bytes = call ptr @PyTuple_GetItem(ptr %path, i64 0)
  %table = call ptr @PyBytes_AsString(ptr %bytes)
  %count = load i64, ptr %table
  %pieces = getelementptr i64, ptr %table, i64 1
  %sum = call i64 @hpacml_checksum(ptr %pieces, i64 %count)
  %object = call ptr @PyLong_FromLongLong(i64 %sum)
  ret ptr %object
}

; A function of Python that takes the address of pointers, and gives the bytes that they point to, one behind the other.
; The table: how many there are; the number of bytes of each.
define ptr @hpacml_contents(ptr %path, ptr %given, i64 %number) {
  %bytes = call ptr @PyTuple_GetItem(ptr %path, i64 0)
  %table = call ptr @PyBytes_AsString(ptr %bytes)
  %count = load i64, ptr %table
  %sizes = getelementptr i64, ptr %table, i64 1
  %address = load ptr, ptr %given
  %pointers = call ptr @PyLong_AsVoidPtr(ptr %address)
  br label %next_size

next_size:
  %s = phi i64 [ 0, %0 ], [ %s_next, %add ]
  %total = phi i64 [ 0, %0 ], [ %sum, %add ]
  %more_sizes = icmp ult i64 %s, %count
  br i1 %more_sizes, label %add, label %make

add:
  %s_next = add i64 %s, 1
  %size_slot = getelementptr i64, ptr %sizes, i64 %s
  %size = load i64, ptr %size_slot
  %sum = add i64 %total, %size
  br label %next_size

make:
  %contents = call ptr @PyBytes_FromStringAndSize(ptr null, i64 %total)
  %full = icmp eq ptr %contents, null
  br i1 %full, label %return, label %fill

fill:
  %first = call ptr @PyBytes_AsString(ptr %contents)
  br label %next

next:
  %i = phi i64 [ 0, %fill ], [ %i_next, %copy ]
  %place = phi ptr [ %first, %fill ], [ %behind, %copy ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %copy, label %return

copy:
  %i_next = add i64 %i, 1
  %its_size_slot = getelementptr i64, ptr %sizes, i64 %i
  %its_size = load i64, ptr %its_size_slot
  %pointer_slot = getelementptr ptr, ptr %pointers, i64 %i
  %pointer = load ptr, ptr %pointer_slot
  call void @llvm.memcpy.p0.p0.i64(ptr %place, ptr %pointer, i64 %its_size, i1 false)
  %behind = getelementptr i8, ptr %place, i64 %its_size
  br label %next

return:
  ret ptr %contents
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
  %count = load i64, ptr %table
  %complete = icmp eq i64 %number, %count
  br i1 %complete, label %look_up, label %decline

look_up:
  %lookups_slot = getelementptr %path, ptr %table, i32 0, i32 10
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
  %questions_slot = getelementptr %path, ptr %table, i32 0, i32 11
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

begin:
  %words_slot = getelementptr %path, ptr %table, i32 0, i32 1
  %words = load i64, ptr %words_slot
  %slots = alloca i64, i64 %words
  %maker_slot = getelementptr %path, ptr %table, i32 0, i32 15
  %maker = load ptr, ptr %maker_slot
  %frameless = icmp eq ptr %maker, null
  br i1 %frameless, label %plainly, label %enframe

plainly:
  %plain_result = call ptr @enter(ptr %table, ptr %given, ptr %slots, ptr %rules)
  ret ptr %plain_result

enframe:
  %threads_slot = getelementptr %path, ptr %table, i32 0, i32 16
  %threads = load ptr, ptr %threads_slot
  %name_slot = getelementptr %path, ptr %table, i32 0, i32 17
  %name = load ptr, ptr %name_slot
  %frames = call ptr @PyObject_GetAttr(ptr %threads, ptr %name)
  %lost = icmp eq ptr %frames, null
  br i1 %lost, label %fail, label %measure

measure:
  %depth = call i64 @PyList_Size(ptr %frames)
  %most_slot = getelementptr %path, ptr %table, i32 0, i32 18
  %most = load i64, ptr %most_slot
  %deep = icmp sge i64 %depth, %most
  br i1 %deep, label %too_deep, label %make

make:
  %address = call ptr @PyLong_FromVoidPtr(ptr %slots)
  %no_address = icmp eq ptr %address, null
  br i1 %no_address, label %unmade, label %gather

gather:
  %all = add i64 %number, 1
  %arguments = alloca ptr, i64 %all
  store ptr %address, ptr %arguments
  %behind = getelementptr ptr, ptr %arguments, i64 1
  %size = shl i64 %number, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %behind, ptr %given, i64 %size, i1 false)
  %frame = call ptr @PyObject_Vectorcall(ptr %maker, ptr %arguments, i64 %all, ptr null)
  call void @Py_DecRef(ptr %address)
  %no_frame = icmp eq ptr %frame, null
  br i1 %no_frame, label %unmade, label %push

push:
  %pushed = call i32 @PyList_Append(ptr %frames, ptr %frame)
  %unpushed = icmp slt i32 %pushed, 0
  br i1 %unpushed, label %drop, label %framed

framed:
  %result = call ptr @enter(ptr %table, ptr %given, ptr %slots, ptr %rules)
  %end = call i64 @PyList_Size(ptr %frames)
  %popped = call i32 @PyList_SetSlice(ptr %frames, i64 %depth, i64 %end, ptr null)
  call void @Py_DecRef(ptr %frames)
  %unfit = icmp eq ptr %result, @declined
  %wrong = icmp eq ptr %result, null
  %without = or i1 %unfit, %wrong
  %attribute_slot = getelementptr %path, ptr %table, i32 0, i32 19
  %attribute = load ptr, ptr %attribute_slot
  %as_it_is = icmp eq ptr %attribute, null
  %done = or i1 %without, %as_it_is
  br i1 %done, label %return, label %of_frame

of_frame:
  call void @Py_DecRef(ptr %result)
  %found = call ptr @PyObject_GetAttr(ptr %frame, ptr %attribute)
  br label %return

return:
  %returned = phi ptr [ %result, %framed ], [ %found, %of_frame ]
  call void @Py_DecRef(ptr %frame)
  ret ptr %returned

drop:
  call void @Py_DecRef(ptr %frame)
  br label %unmade

unmade:
  call void @Py_DecRef(ptr %frames)
  ret ptr null

too_deep:
  call void @Py_DecRef(ptr %frames)
  ret ptr @declined

decline:
  ret ptr @declined

fail:
  ret ptr null
}

; Where the table has what it takes of the arguments: behind its rules, and its constants.
define internal ptr @parameters_behind(ptr %table, ptr %rules) {
  %ruled_slot = getelementptr %path, ptr %table, i32 0, i32 12
  %ruled = load i64, ptr %ruled_slot
  %constants = getelementptr %rule, ptr %rules, i64 %ruled
  %fixed_slot = getelementptr %path, ptr %table, i32 0, i32 13
  %fixed = load i64, ptr %fixed_slot
  %parameters = getelementptr %constant, ptr %constants, i64 %fixed
  ret ptr %parameters
}

; A function of Python that tells whether arrays still have the memory and the sizes of their descriptors: it takes the
; address of the slots, and the arguments of the call.
define ptr @hpacml_stayed(ptr %path, ptr %given, i64 %number) {
  %bytes = call ptr @PyTuple_GetItem(ptr %path, i64 0)
  %table = call ptr @PyBytes_AsString(ptr %bytes)
  %address = load ptr, ptr %given
  %slots = call ptr @PyLong_AsVoidPtr(ptr %address)
  %arguments = getelementptr ptr, ptr %given, i64 1
  %lookups_slot = getelementptr %path, ptr %table, i32 0, i32 10
  %lookups = load i64, ptr %lookups_slot
  %questions_slot = getelementptr %path, ptr %table, i32 0, i32 11
  %questions = load i64, ptr %questions_slot
  %entries = getelementptr %path, ptr %table, i32 1
  %answers = getelementptr %entry, ptr %entries, i64 %lookups
  %rules = getelementptr %answer, ptr %answers, i64 %questions
  %parameters = call ptr @parameters_behind(ptr %table, ptr %rules)
  %taking_slot = getelementptr %path, ptr %table, i32 0, i32 14
  %taking = load i64, ptr %taking_slot
  br label %next

next:
  %i = phi i64 [ 0, %0 ], [ %i_next, %look ], [ %i_next, %examine ]
  %more = icmp ult i64 %i, %taking
  br i1 %more, label %look, label %return

look:
  %i_next = add i64 %i, 1
  %parameter = getelementptr %parameter, ptr %parameters, i64 %i
  %kind = load i64, ptr %parameter
  %any_array = icmp eq i64 %kind, 0
  %known_array = icmp eq i64 %kind, 5
  %is_array = or i1 %any_array, %known_array
  br i1 %is_array, label %compare, label %next

compare:
  %argument_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 6
  %argument = load i64, ptr %argument_slot
  %number_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 7
  %slot_number = load i64, ptr %number_slot
  %slot = getelementptr ptr, ptr %slots, i64 %slot_number
  %descriptor = load ptr, ptr %slot
  %object_slot = getelementptr ptr, ptr %arguments, i64 %argument
  %object = load ptr, ptr %object_slot
  %known_data = load ptr, ptr %descriptor
  %data_slot = getelementptr %ndarray, ptr %object, i32 0, i32 2
  %data = load ptr, ptr %data_slot
  %in_place = icmp eq ptr %data, %known_data
  %known_rank_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 4
  %known_rank = load i32, ptr %known_rank_slot
  %rank_slot = getelementptr %ndarray, ptr %object, i32 0, i32 3
  %rank = load i32, ptr %rank_slot
  %of_rank = icmp eq i32 %rank, %known_rank
  %axes = zext i32 %rank to i64
  %dimensions_slot = getelementptr %ndarray, ptr %object, i32 0, i32 4
  %dimensions = load ptr, ptr %dimensions_slot
  %both = and i1 %in_place, %of_rank
  br i1 %both, label %examine, label %return

examine:
  %known_sizes = getelementptr i64, ptr %descriptor, i64 3
  %as_large = call i1 @are_equal(ptr %dimensions, ptr %known_sizes, i64 %axes)
  br i1 %as_large, label %next, label %return

return:
  %answer = phi i64 [ 1, %next ], [ 0, %compare ], [ 0, %examine ]
  %stayed = call ptr @PyBool_FromLong(i64 %answer)
  ret ptr %stayed
}

; Nothing of Python runs until the code has: arrays stay as they are found. The result is as that of @run.
define internal ptr @enter(ptr %table, ptr %given, ptr %slots, ptr %rules) noinline {
  %overflow = alloca i32
  %question_of_status = alloca ptr
  %own_slot = getelementptr %path, ptr %table, i32 0, i32 2
  %own = load i64, ptr %own_slot
  %behind = getelementptr i64, ptr %slots, i64 %own
  %descriptors = getelementptr i64, ptr %behind, i64 1 ; behind the result
  %ruled_slot = getelementptr %path, ptr %table, i32 0, i32 12
  %ruled = load i64, ptr %ruled_slot
  %constants = getelementptr %rule, ptr %rules, i64 %ruled
  %fixed_slot = getelementptr %path, ptr %table, i32 0, i32 13
  %fixed = load i64, ptr %fixed_slot
  %parameters = call ptr @parameters_behind(ptr %table, ptr %rules)
  %taking_slot = getelementptr %path, ptr %table, i32 0, i32 14
  %taking = load i64, ptr %taking_slot
  br label %next_constant

next_constant:
  %c = phi i64 [ 0, %0 ], [ %c_next, %fill ]
  %more_constants = icmp ult i64 %c, %fixed
  br i1 %more_constants, label %fill, label %next

fill:
  %c_next = add i64 %c, 1
  %constant = getelementptr %constant, ptr %constants, i64 %c
  %its_slot = load i64, ptr %constant
  %value_slot = getelementptr %constant, ptr %constant, i32 0, i32 1
  %value = load i64, ptr %value_slot
  %filled = getelementptr i64, ptr %slots, i64 %its_slot
  store i64 %value, ptr %filled
  br label %next_constant

next:
  %i = phi i64 [ 0, %next_constant ], [ %i_next, %taken ]
  %place = phi ptr [ %descriptors, %next_constant ], [ %free, %taken ]
  %more = icmp ult i64 %i, %taking
  br i1 %more, label %take, label %next_rule

take:
  %parameter = getelementptr %parameter, ptr %parameters, i64 %i
  %kind = load i64, ptr %parameter
  %class_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 1
  %class = load ptr, ptr %class_slot
  %extra_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 2
  %extra = load ptr, ptr %extra_slot
  %argument_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 6
  %argument = load i64, ptr %argument_slot
  %number_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 7
  %slot_number = load i64, ptr %number_slot
  %slot = getelementptr i64, ptr %slots, i64 %slot_number
  %object_slot = getelementptr ptr, ptr %given, i64 %argument
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
    i64 4, label %known_int
    i64 5, label %array
    i64 6, label %taken
    i64 7, label %torch
    i64 8, label %pointers
  ]

torch:
  %tensor_form_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 3
  %tensor_description = load ptr, ptr %tensor_form_slot
  %tensor_data = call ptr @memory_of(ptr %object, ptr %extra, ptr %tensor_description)
  %no_tensor = icmp eq ptr %tensor_data, null
  br i1 %no_tensor, label %decline, label %describe_known

pointers:
  %pointers_address = call ptr @PyLong_AsVoidPtr(ptr %object)
  %pointers_number = ptrtoint ptr %extra to i64
  %pointers_bytes = shl i64 %pointers_number, 3
  call void @llvm.memcpy.p0.p0.i64(ptr %slot, ptr %pointers_address, i64 %pointers_bytes, i1 false)
  br label %taken

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

known_int:
  %found_int = call i64 @PyLong_AsLongLongAndOverflow(ptr %object, ptr %overflow)
  %over_known = load i32, ptr %overflow
  %in_range = icmp eq i32 %over_known, 0
  %known_value = ptrtoint ptr %extra to i64
  %same_value = icmp eq i64 %found_int, %known_value
  %is_known = and i1 %in_range, %same_value
  br i1 %is_known, label %taken, label %decline

bool:
  %is_true = icmp eq ptr %object, %extra
  %bool_value = zext i1 %is_true to i64
  store i64 %bool_value, ptr %slot
  br label %taken

array:
  %rank_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 4
  %rank = load i32, ptr %rank_slot
  %wanted_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 5
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
  %axes = zext i32 %rank to i64
  %dimensions_slot = getelementptr %ndarray, ptr %object, i32 0, i32 4
  %dimensions = load ptr, ptr %dimensions_slot
  %any_array = icmp eq i64 %kind, 0
  br i1 %any_array, label %pack, label %recognise

recognise:
  %description_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 3
  %description = load ptr, ptr %description_slot
  %known_sizes = getelementptr i64, ptr %description, i64 4
  %known_strides = getelementptr i64, ptr %known_sizes, i64 %axes
  %known_steps = getelementptr i64, ptr %known_strides, i64 %axes
  %steps_slot = getelementptr %ndarray, ptr %object, i32 0, i32 5
  %steps = load ptr, ptr %steps_slot
  %as_large = call i1 @are_equal(ptr %dimensions, ptr %known_sizes, i64 %axes)
  %as_far = call i1 @are_equal(ptr %steps, ptr %known_steps, i64 %axes)
  %is_known_array = and i1 %as_large, %as_far
  br i1 %is_known_array, label %describe_known, label %decline

describe_known:
  %known_description = phi ptr [ %tensor_description, %torch ], [ %description, %recognise ]
  %known_data = phi ptr [ %tensor_data, %torch ], [ %data, %recognise ]
  %behind_known = call ptr @put(ptr %place, ptr %known_description, ptr %known_data)
  store ptr %place, ptr %slot
  br label %taken

pack:
  store ptr %place, ptr %slot
  store ptr %data, ptr %place
  %aligned = getelementptr i64, ptr %place, i64 1
  store ptr %data, ptr %aligned
  %first = getelementptr i64, ptr %place, i64 2
  store i64 0, ptr %first
  %described_sizes = getelementptr i64, ptr %place, i64 3
  %described_strides = getelementptr i64, ptr %described_sizes, i64 %axes
  %end = getelementptr i64, ptr %described_strides, i64 %axes
  br label %outer

outer:
  %left = phi i64 [ %axes, %pack ], [ %axis, %inner ]
  %stride = phi i64 [ 1, %pack ], [ %product, %inner ]
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
  %free = phi ptr [ %place, %float ], [ %place, %int ], [ %place, %bool ], [ %place, %known_int ], [ %place, %which ],
                  [ %behind_known, %describe_known ], [ %place, %pointers ], [ %end, %outer ]
  %i_next = add i64 %i, 1
  br label %next

next_rule:
  %r = phi i64 [ 0, %next ], [ %r_next, %judge ]
  %more_rules = icmp ult i64 %r, %ruled
  br i1 %more_rules, label %apply, label %part

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
  %to_constant = icmp slt i64 %two, 0
  br i1 %to_constant, label %judge, label %another

another:
  %two_size = call i64 @size_of(ptr %slots, i64 %two, i64 %two_axis)
  br label %judge

judge:
  %right = phi i64 [ %two_axis, %apply ], [ %two_size, %another ]
  %equal = icmp eq i64 %one_size, %right
  br i1 %equal, label %next_rule, label %decline

part:
  %apart_slot = getelementptr %path, ptr %table, i32 0, i32 20
  %apart = load i64, ptr %apart_slot
  %all_share = icmp slt i64 %apart, 0
  br i1 %all_share, label %enter, label %compare_ends

compare_ends:
  %is_apart = call i1 @shares_nothing(ptr %parameters, i64 %taking, i64 %apart, ptr %slots)
  br i1 %is_apart, label %enter, label %decline

enter:
  %stack = call i64 @hpacml_stack_left()
  %narrow = icmp ult i64 %stack, 65536
  br i1 %narrow, label %decline, label %prepare

prepare:
  %maker_slot = getelementptr %path, ptr %table, i32 0, i32 7
  %maker = load ptr, ptr %maker_slot
  %unmade = icmp eq ptr %maker, null
  br i1 %unmade, label %leap, label %make_tensor

make_tensor:
  %pair = call ptr @PyObject_CallNoArgs(ptr %maker) ; the tensor and its address
  %no_pair = icmp eq ptr %pair, null
  br i1 %no_pair, label %fail, label %describe_tensor

describe_tensor:
  %tensor = call ptr @PyTuple_GetItem(ptr %pair, i64 0)
  %address_object = call ptr @PyTuple_GetItem(ptr %pair, i64 1)
  %address = call ptr @PyLong_AsVoidPtr(ptr %address_object)
  call void @Py_IncRef(ptr %tensor)
  call void @Py_DecRef(ptr %pair)
  %made_slot_slot = getelementptr %path, ptr %table, i32 0, i32 8
  %made_slot = load i64, ptr %made_slot_slot
  %made_description_slot = getelementptr %path, ptr %table, i32 0, i32 9
  %made_description = load ptr, ptr %made_description_slot
  %behind_made = call ptr @put(ptr %place, ptr %made_description, ptr %address)
  %slot_of_tensor = getelementptr ptr, ptr %slots, i64 %made_slot
  store ptr %place, ptr %slot_of_tensor
  br label %leap

leap:
  %made_tensor = phi ptr [ null, %prepare ], [ %tensor, %describe_tensor ]
  %function_slot = getelementptr %path, ptr %table, i32 0, i32 3
  %function = load ptr, ptr %function_slot
  %judge_slot = getelementptr %path, ptr %table, i32 0, i32 4
  %judge_of_it = load ptr, ptr %judge_slot
  %cannot_fail = icmp eq ptr %judge_of_it, null
  call void @count_writes(ptr %parameters, i64 %taking, ptr %given)
  %thread = call ptr @PyEval_SaveThread()
  br i1 %cannot_fail, label %jump, label %go_in

jump: ; it calls nothing of the runtime: it needs no entry
  call void %function(ptr %slots)
  call void @PyEval_RestoreThread(ptr %thread)
  br label %finish

go_in:
  %status = call i32 @hpacml_enter(ptr %function, ptr %slots)
  call void @PyEval_RestoreThread(ptr %thread)
  %status_long = sext i32 %status to i64
  %status_object = call ptr @PyLong_FromLongLong(i64 %status_long) ; a small one: it is there
  store ptr %status_object, ptr %question_of_status
  %verdict = call ptr @PyObject_Vectorcall(ptr %judge_of_it, ptr %question_of_status, i64 1, ptr null)
  call void @Py_DecRef(ptr %status_object)
  %failed = icmp eq ptr %verdict, null
  br i1 %failed, label %drop, label %passed

passed:
  call void @Py_DecRef(ptr %verdict)
  br label %finish

drop:
  %tensor_made = icmp ne ptr %made_tensor, null
  br i1 %tensor_made, label %drop_tensor, label %fail

drop_tensor:
  call void @Py_DecRef(ptr %made_tensor)
  br label %fail

finish:
  %has_tensor = icmp ne ptr %made_tensor, null
  br i1 %has_tensor, label %return_tensor, label %given_or_number

given_or_number:
  %given_slot = getelementptr %path, ptr %table, i32 0, i32 21
  %given_number = load i64, ptr %given_slot
  %is_given = icmp sge i64 %given_number, 0
  br i1 %is_given, label %return_given, label %convert_result

return_given:
  %given_result_slot = getelementptr ptr, ptr %given, i64 %given_number
  %given_result = load ptr, ptr %given_result_slot
  call void @Py_IncRef(ptr %given_result)
  ret ptr %given_result

return_tensor:
  ret ptr %made_tensor

convert_result:
  %result_slot = getelementptr %path, ptr %table, i32 0, i32 5
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
  %class_of_result_slot = getelementptr %path, ptr %table, i32 0, i32 6
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

define internal i1 @are_equal(ptr %ones, ptr %others, i64 %count) alwaysinline {
  br label %next

next:
  %i = phi i64 [ 0, %0 ], [ %i_next, %compare ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %compare, label %return

compare:
  %i_next = add i64 %i, 1
  %one_slot = getelementptr i64, ptr %ones, i64 %i
  %other_slot = getelementptr i64, ptr %others, i64 %i
  %one = load i64, ptr %one_slot
  %other = load i64, ptr %other_slot
  %equal = icmp eq i64 %one, %other
  br i1 %equal, label %next, label %return

return:
  %all = phi i1 [ true, %next ], [ false, %compare ]
  ret i1 %all
}

; Writes the descriptor of a description for memory at an address, and returns where it ends.
define internal ptr @put(ptr %place, ptr %description, ptr %address) {
  %rank = load i64, ptr %description
  %extents = shl i64 %rank, 4
  %size = add i64 %extents, 24
  %from = getelementptr i64, ptr %description, i64 1
  call void @llvm.memcpy.p0.p0.i64(ptr %place, ptr %from, i64 %size, i1 false)
  store ptr %address, ptr %place
  %aligned = getelementptr i64, ptr %place, i64 1
  store ptr %address, ptr %aligned
  %end = getelementptr i8, ptr %place, i64 %size
  ret ptr %end
}

; The bytes from the first element of an array down to the lowest, and up to the end of the highest.
define internal { i64, i64 } @ends(ptr %description) {
  %rank = load i64, ptr %description
  %words = mul i64 %rank, 3
  %before = add i64 %words, 4
  %low_slot = getelementptr i64, ptr %description, i64 %before
  %high_slot = getelementptr i64, ptr %low_slot, i64 1
  %low = load i64, ptr %low_slot
  %high = load i64, ptr %high_slot
  %with_low = insertvalue { i64, i64 } poison, i64 %low, 0
  %both = insertvalue { i64, i64 } %with_low, i64 %high, 1
  ret { i64, i64 } %both
}

; The address of a tensor's first element; null if the tensor is not of this form, or more than its memory.
define internal ptr @memory_of(ptr %object, ptr %form, ptr %description) {
  %tensor_slot = getelementptr %object, ptr %object, i32 0, i32 2
  %tensor = load ptr, ptr %tensor_slot
  %there = icmp ne ptr %tensor, null
  br i1 %there, label %look, label %unfit

look:
  %storage_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 1
  %storage = load ptr, ptr %storage_slot
  %gradients_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 2
  %gradients = load ptr, ptr %gradients_slot
  %extras_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 3
  %extras = load ptr, ptr %extras_slot
  %version_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 4
  %version = load ptr, ptr %version_slot
  %rank_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 6
  %rank = load i64, ptr %rank_slot
  %kind_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 11
  %kind_bits = load i16, ptr %kind_slot
  %kind = zext i16 %kind_bits to i64
  %keys_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 13
  %keys = load i64, ptr %keys_slot
  %known_kind = load i64, ptr %form
  %known_keys_slot = getelementptr %form, ptr %form, i32 0, i32 1
  %known_keys = load i64, ptr %known_keys_slot
  %known_rank = load i64, ptr %description
  %same_kind = icmp eq i64 %kind, %known_kind
  %same_keys = icmp eq i64 %keys, %known_keys
  %same_rank = icmp eq i64 %rank, %known_rank
  %no_gradients = icmp eq ptr %gradients, null
  %no_extras = icmp eq ptr %extras, null
  %has_storage = icmp ne ptr %storage, null
  %has_version = icmp ne ptr %version, null
  %a = and i1 %same_kind, %same_keys
  %b = and i1 %same_rank, %no_gradients
  %c = and i1 %no_extras, %has_storage
  %d = and i1 %a, %b
  %e = and i1 %c, %has_version
  %fits = and i1 %d, %e
  br i1 %fits, label %measure, label %unfit

measure:
  %sizes = getelementptr %tensor, ptr %tensor, i32 0, i32 7
  %strides = getelementptr %tensor, ptr %tensor, i32 0, i32 8
  %known_sizes = getelementptr i64, ptr %description, i64 4
  %known_strides = getelementptr i64, ptr %known_sizes, i64 %rank
  %as_large = call i1 @are_equal(ptr %sizes, ptr %known_sizes, i64 %rank)
  %as_far = call i1 @are_equal(ptr %strides, ptr %known_strides, i64 %rank)
  %agrees = and i1 %as_large, %as_far
  br i1 %agrees, label %locate, label %unfit

locate:
  %offset_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 9
  %offset = load i64, ptr %offset_slot
  %width_slot = getelementptr %form, ptr %form, i32 0, i32 2
  %width = load i64, ptr %width_slot
  %data_slot = getelementptr %storage, ptr %storage, i32 0, i32 1
  %data = load ptr, ptr %data_slot
  %bytes_slot = getelementptr %storage, ptr %storage, i32 0, i32 3
  %bytes = load i64, ptr %bytes_slot
  %flags_slot = getelementptr %storage, ptr %storage, i32 0, i32 4
  %flags = load i64, ptr %flags_slot
  %before = mul i64 %offset, %width
  %address = getelementptr i8, ptr %data, i64 %before
  %ends = call { i64, i64 } @ends(ptr %description)
  %span = extractvalue { i64, i64 } %ends, 1
  %needed = add i64 %before, %span
  %enough = icmp sle i64 %needed, %bytes
  %telling_slot = getelementptr %form, ptr %form, i32 0, i32 3
  %telling = load i64, ptr %telling_slot
  %told = and i64 %flags, %telling
  %ordinary = icmp eq i64 %told, 0
  %number = ptrtoint ptr %address to i64
  %below_width = sub i64 %width, 1
  %rest = and i64 %number, %below_width
  %is_aligned = icmp eq i64 %rest, 0
  %has_data = icmp ne ptr %data, null
  %f = and i1 %enough, %ordinary
  %g = and i1 %is_aligned, %has_data
  %whole = and i1 %f, %g
  br i1 %whole, label %found, label %unfit

found:
  ret ptr %address

unfit:
  ret ptr null
}

; Whether no other array has memory between the ends of that which parameter %apart takes. All are known.
define internal i1 @shares_nothing(ptr %parameters, i64 %count, i64 %apart, ptr %slots) {
  %own = call { i64, i64 } @reach(ptr %parameters, i64 %apart, ptr %slots)
  %low = extractvalue { i64, i64 } %own, 0
  %high = extractvalue { i64, i64 } %own, 1
  br label %next

next:
  %i = phi i64 [ 0, %0 ], [ %i_next, %look ], [ %i_next, %compare ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %nothing_shared

look:
  %i_next = add i64 %i, 1
  %parameter = getelementptr %parameter, ptr %parameters, i64 %i
  %description_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 3
  %description = load ptr, ptr %description_slot
  %is_array = icmp ne ptr %description, null
  %is_other = icmp ne i64 %i, %apart
  %compared = and i1 %is_array, %is_other
  br i1 %compared, label %compare, label %next

compare:
  %its = call { i64, i64 } @reach(ptr %parameters, i64 %i, ptr %slots)
  %its_low = extractvalue { i64, i64 } %its, 0
  %its_high = extractvalue { i64, i64 } %its, 1
  %below = icmp ule i64 %its_high, %low
  %above = icmp uge i64 %its_low, %high
  %disjoint = or i1 %below, %above
  br i1 %disjoint, label %next, label %meet

nothing_shared:
  ret i1 true

meet:
  ret i1 false
}

; The addresses of the first byte and of the byte after the last of what a parameter has taken.
define internal { i64, i64 } @reach(ptr %parameters, i64 %number, ptr %slots) {
  %parameter = getelementptr %parameter, ptr %parameters, i64 %number
  %description_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 3
  %description = load ptr, ptr %description_slot
  %slot_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 7
  %slot_number = load i64, ptr %slot_slot
  %slot = getelementptr ptr, ptr %slots, i64 %slot_number
  %descriptor = load ptr, ptr %slot
  %address = load i64, ptr %descriptor
  %ends = call { i64, i64 } @ends(ptr %description)
  %below = extractvalue { i64, i64 } %ends, 0
  %above = extractvalue { i64, i64 } %ends, 1
  %low = add i64 %address, %below
  %high = add i64 %address, %above
  %with_low = insertvalue { i64, i64 } poison, i64 %low, 0
  %both = insertvalue { i64, i64 } %with_low, i64 %high, 1
  ret { i64, i64 } %both
}

; Tells Torch of the tensors that are written, whose versions gradients may depend on.
define internal void @count_writes(ptr %parameters, i64 %count, ptr %given) {
  br label %next

next:
  %i = phi i64 [ 0, %0 ], [ %i_next, %look ], [ %i_next, %count_one ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %look, label %done

look:
  %i_next = add i64 %i, 1
  %parameter = getelementptr %parameter, ptr %parameters, i64 %i
  %kind = load i64, ptr %parameter
  %flags_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 5
  %flags = load i32, ptr %flags_slot
  %is_tensor = icmp eq i64 %kind, 7
  %is_written = icmp ne i32 %flags, 0
  %counted = and i1 %is_tensor, %is_written
  br i1 %counted, label %count_one, label %next

count_one:
  %argument_slot = getelementptr %parameter, ptr %parameter, i32 0, i32 6
  %argument = load i64, ptr %argument_slot
  %object_slot = getelementptr ptr, ptr %given, i64 %argument
  %object = load ptr, ptr %object_slot
  %tensor_slot = getelementptr %object, ptr %object, i32 0, i32 2
  %tensor = load ptr, ptr %tensor_slot
  %version_slot = getelementptr %tensor, ptr %tensor, i32 0, i32 4
  %version = load ptr, ptr %version_slot
  %number = getelementptr %version, ptr %version, i32 0, i32 1
  %before = atomicrmw add ptr %number, i32 1 seq_cst
  br label %next

done:
  ret void
}
