; The native half of the runtime: plain LLVM IR for Linux with glibc, x86-64 and AArch64 alike.
;
; hpacml_enter runs a compiled kernel. A runtime call that fails does not return to the kernel: it unwinds to the
; innermost entry of its thread by longjmp, over frames of compiled code only (the Python callback that failed has
; returned by then). The entry frees what the kernel has allocated.

; The context of an entered call. jmp_buf takes 200 bytes on x86-64 and 312 on AArch64.
; jmp_buf, context of the entry around this one, first block, call, record (null: calls that fail go to Python)
%context = type { [512 x i8], ptr, ptr, ptr, ptr }
; A call on a device: cuLaunchKernel (null: Python launches), stream, number of the device; start, first free byte and
; end of the memory of the call; the bytes that it has asked for.
%call = type { ptr, ptr, i64, i64, i64, i64, i64 }
; The header of an allocation, in the 64 bytes before its first byte: the next block, the pointer that points at this
; block (null: the block is in no list), the address to free, the number of its owners, of which the last one frees it.
%block = type { ptr, ptr, ptr, i64 }

@context_key = internal global i32 0
@stack_key = internal global i32 0 ; where the stack of a thread ends, 1 if that is unknown
@live_blocks = internal global i64 0
@outside = internal constant [69 x i8] c"hpacml: a runtime call failed on a thread that has entered no kernel\0A"

declare i32 @pthread_key_create(ptr, ptr)
declare ptr @pthread_self()
declare i32 @pthread_getattr_np(ptr, ptr)
declare i32 @pthread_attr_getstack(ptr, ptr, ptr)
declare i32 @pthread_attr_destroy(ptr)
declare ptr @pthread_getspecific(i32)
declare i32 @pthread_setspecific(i32, ptr)
declare i32 @_setjmp(ptr) returns_twice
declare void @longjmp(ptr, i32) noreturn
declare void @abort() noreturn
declare i64 @write(i32, ptr, i64)
declare i32 @clock_gettime(i32, ptr)
declare ptr @malloc(i64)
declare void @free(ptr)

; hpacml.abi.symbols writes the rest of this module: the Python halves, and the symbols that only call them. A half
; returns 1 for done and 2 for no (of an inference, a sampling or a flag). Any other result means that it failed: an
; interrupt that hits the callback outside its try block makes ctypes return anything.

; Called once per process, before anything else. 0: done.
define i32 @hpacml_init() {
  %status = call i32 @pthread_key_create(ptr @context_key, ptr null)
  %second = call i32 @pthread_key_create(ptr @stack_key, ptr null)
  %third = call i32 @pthread_key_create(ptr @alone_key, ptr null)
  %two = or i32 %status, %second
  %all = or i32 %two, %third
  ret i32 %all
}

; The bytes that this thread's stack has left below a place on it, very many if that is unknown or not on that stack.
define internal i64 @left_below(ptr %place) {
  %key = load i32, ptr @stack_key
  %known = call ptr @pthread_getspecific(i32 %key)
  %unasked = icmp eq ptr %known, null
  br i1 %unasked, label %ask, label %compare

ask:
  %asked = call ptr @end_of_stack()
  %set = call i32 @pthread_setspecific(i32 %key, ptr %asked)
  br label %compare

compare:
  %end = phi ptr [ %known, %0 ], [ %asked, %ask ]
  %here = ptrtoint ptr %place to i64
  %there = ptrtoint ptr %end to i64
  %left = sub i64 %here, %there ; below the end, on a stack that is no thread's, it wraps around
  ret i64 %left
}

define i64 @hpacml_stack_left() {
  %place = alloca i64
  %left = call i64 @left_below(ptr %place)
  ret i64 %left
}

; pthread_attr_t takes 56 bytes on x86-64 and 64 on AArch64.
define internal ptr @end_of_stack() {
  %attributes = alloca [128 x i8], align 16
  %end_slot = alloca ptr
  %size_slot = alloca i64
  %thread = call ptr @pthread_self()
  %unknown = call i32 @pthread_getattr_np(ptr %thread, ptr %attributes)
  %failed = icmp ne i32 %unknown, 0
  br i1 %failed, label %give_up, label %read

read:
  %status = call i32 @pthread_attr_getstack(ptr %attributes, ptr %end_slot, ptr %size_slot)
  %destroyed = call i32 @pthread_attr_destroy(ptr %attributes)
  %end = load ptr, ptr %end_slot
  %none = icmp eq ptr %end, null
  br i1 %none, label %give_up, label %known

known:
  ret ptr %end

give_up:
  ret ptr inttoptr (i64 1 to ptr)
}

define internal ptr @current_context() {
  %key = load i32, ptr @context_key
  %context = call ptr @pthread_getspecific(i32 %key)
  ret ptr %context
}

; Runs function(arguments). 0: it returned; 1: it threw; 2: no memory for the entry itself; 3: the stack has less than 32
; KiB left, or 64 in another call, whose Python may need more. Calls nest.
define i32 @hpacml_enter(ptr %function, ptr %arguments) {
  %status = call i32 @hpacml_enter_on(ptr %function, ptr %arguments, ptr null)
  ret i32 %status
}

; Does the same for a call on a device.
define i32 @hpacml_enter_on(ptr %function, ptr %arguments, ptr %call) {
  %status = call i32 @enter(ptr %function, ptr %arguments, ptr %call, ptr null)
  ret i32 %status
}

define internal i32 @enter(ptr %function, ptr %arguments, ptr %call, ptr %record) noinline {
  %context = alloca %context, align 64
  %previous_slot = getelementptr %context, ptr %context, i32 0, i32 1
  %blocks = getelementptr %context, ptr %context, i32 0, i32 2
  %call_slot = getelementptr %context, ptr %context, i32 0, i32 3
  %record_slot = getelementptr %context, ptr %context, i32 0, i32 4
  store ptr %call, ptr %call_slot
  store ptr %record, ptr %record_slot
  %key = load i32, ptr @context_key
  %outer = call ptr @pthread_getspecific(i32 %key)
  %outermost = icmp eq ptr %outer, null
  %needed = select i1 %outermost, i64 32768, i64 65536
  %left = call i64 @left_below(ptr %context)
  %narrow = icmp ult i64 %left, %needed
  br i1 %narrow, label %refuse, label %begin

begin:
  store ptr %outer, ptr %previous_slot
  store ptr null, ptr %blocks
  %set = call i32 @pthread_setspecific(i32 %key, ptr %context)
  %failed = icmp ne i32 %set, 0
  br i1 %failed, label %refuse, label %arm

arm:
  %threw = call i32 @_setjmp(ptr %context) returns_twice
  %again = icmp ne i32 %threw, 0
  br i1 %again, label %leave, label %run

run:
  call void %function(ptr %arguments)
  br label %leave

leave:
  %block = load ptr, ptr %blocks
  %empty = icmp eq ptr %block, null
  br i1 %empty, label %restore, label %sweep

sweep:
  call void @release(ptr %block)
  br label %leave

restore:
  %previous = load ptr, ptr %previous_slot
  %reset = call i32 @pthread_setspecific(i32 %key, ptr %previous)
  ret i32 %threw

refuse:
  %why = phi i32 [ 3, %0 ], [ 2, %begin ]
  ret i32 %why
}

define void @hpacml_throw() noreturn {
  %context = call ptr @current_context()
  %none = icmp eq ptr %context, null
  br i1 %none, label %dead, label %unwind

unwind:
  call void @longjmp(ptr %context, i32 1)
  unreachable

dead:
  %written = call i64 @write(i32 2, ptr @outside, i64 69)
  call void @abort()
  unreachable
}

define internal void @check(i32 %status) {
  %done = icmp eq i32 %status, 1
  br i1 %done, label %return, label %throw

throw:
  call void @hpacml_throw()
  unreachable

return:
  ret void
}

define internal i32 @answer(i32 %status) {
  %no = icmp eq i32 %status, 2
  br i1 %no, label %return, label %verify

verify:
  call void @check(i32 %status)
  br label %return

return:
  %answer = phi i32 [ 0, %0 ], [ 1, %verify ]
  ret i32 %answer
}

; Host code for GPUs calls these instead of the symbols for memory and clocks of the host.

; kernels points to a table of handles for each device, or null; the table has each kernel as it is, and with narrow
; indices.
define void @hpacml_launch(ptr %kernels, i64 %number, i64 %grid, i64 %block, i64 %narrow, ptr %parameters) {
entry:
  %empty = icmp eq i64 %grid, 0
  br i1 %empty, label %return, label %look

look:
  %call = call ptr @current_call()
  %function = load ptr, ptr %call
  %unknown = icmp eq ptr %function, null
  br i1 %unknown, label %python, label %find

find:
  %stream_slot = getelementptr %call, ptr %call, i32 0, i32 1
  %device_slot = getelementptr %call, ptr %call, i32 0, i32 2
  %stream = load ptr, ptr %stream_slot
  %device = load i64, ptr %device_slot
  %table_slot = getelementptr ptr, ptr %kernels, i64 %device
  %table = load atomic ptr, ptr %table_slot acquire, align 8
  %not_loaded = icmp eq ptr %table, null
  br i1 %not_loaded, label %python, label %launch

launch:
  %pair = mul i64 %number, 2
  %place = add i64 %pair, %narrow
  %kernel_slot = getelementptr ptr, ptr %table, i64 %place
  %kernel = load ptr, ptr %kernel_slot
  %blocks = trunc i64 %grid to i32
  %threads = trunc i64 %block to i32
  %status = call i32 %function(ptr %kernel, i32 %blocks, i32 1, i32 1, i32 %threads, i32 1, i32 1, i32 0, ptr %stream,
                               ptr %parameters, ptr null)
  %done = icmp eq i32 %status, 0
  br i1 %done, label %return, label %python ; Python tries again, and raises the error

python:
  %answer = call i32 @hpacml_py_launch(ptr %kernels, i64 %number, i64 %grid, i64 %block, i64 %narrow, ptr %parameters)
  call void @check(i32 %answer)
  br label %return

return:
  ret void
}

@no_call = internal global %call zeroinitializer

; The call on a device that this thread is in, or one for which Python does everything.
define internal ptr @current_call() {
  %context = call ptr @current_context()
  %outside = icmp eq ptr %context, null
  br i1 %outside, label %none, label %inside

inside:
  %call_slot = getelementptr %context, ptr %context, i32 0, i32 3
  %call = load ptr, ptr %call_slot
  %missing = icmp eq ptr %call, null
  br i1 %missing, label %none, label %found

found:
  ret ptr %call

none:
  ret ptr @no_call
}

; Takes memory of the call while some is left, else asks Python.
define ptr @hpacml_device_alloc(i64 %size) {
  %found = alloca ptr
  %call = call ptr @current_call()
  %next_slot = getelementptr %call, ptr %call, i32 0, i32 4
  %end_slot = getelementptr %call, ptr %call, i32 0, i32 5
  %asked_slot = getelementptr %call, ptr %call, i32 0, i32 6
  %absurd = icmp ugt i64 %size, 4611686018427387904 ; covers negative sizes
  br i1 %absurd, label %python, label %measure

measure:
  %some = call i64 @llvm.umax.i64(i64 %size, i64 1)
  %more = add i64 %some, 255
  %room = and i64 %more, -256
  %asked_before = load i64, ptr %asked_slot
  %asked = add i64 %asked_before, %room
  store i64 %asked, ptr %asked_slot
  %next = load i64, ptr %next_slot
  %end = load i64, ptr %end_slot
  %left = sub i64 %end, %next
  %fits = icmp ule i64 %room, %left
  br i1 %fits, label %take, label %python

take:
  %rest = add i64 %next, %room
  store i64 %rest, ptr %next_slot
  %taken = inttoptr i64 %next to ptr
  ret ptr %taken

python:
  %status = call i32 @hpacml_py_device_alloc(i64 %size, ptr %found)
  call void @check(i32 %status)
  %memory = load ptr, ptr %found
  ret ptr %memory
}

declare i64 @llvm.umax.i64(i64, i64)

; Memory of the device has a larger alignment than any code asks for.
define ptr @hpacml_device_aligned_alloc(i64 %alignment, i64 %size) {
  %memory = call ptr @hpacml_device_alloc(i64 %size)
  ret ptr %memory
}

define void @hpacml_device_free(ptr %memory) {
  %call = call ptr @current_call()
  %start_slot = getelementptr %call, ptr %call, i32 0, i32 3
  %end_slot = getelementptr %call, ptr %call, i32 0, i32 5
  %start = load i64, ptr %start_slot
  %end = load i64, ptr %end_slot
  %address = ptrtoint ptr %memory to i64
  %offset = sub i64 %address, %start
  %length = sub i64 %end, %start
  %of_call = icmp ult i64 %offset, %length
  br i1 %of_call, label %return, label %python

python:
  %status = call i32 @hpacml_py_device_free(ptr %memory)
  call void @check(i32 %status)
  br label %return

return:
  ret void
}

; The number of a new event, whose time is known later.
define i64 @hpacml_device_time_ns() {
  %found = alloca i64
  %status = call i32 @hpacml_py_device_time(ptr %found)
  call void @check(i32 %status)
  %number = load i64, ptr %found
  ret i64 %number
}

; The number of a new event around a body: collecting finds both events of a body by the difference of their numbers.
define double @hpacml_device_time_ms() {
  %found = alloca double
  %status = call i32 @hpacml_py_device_body_time(ptr %found)
  call void @check(i32 %status)
  %number = load double, ptr %found
  ret double %number
}

define i64 @hpacml_time_ns() {
  %ns = call i64 @clock_ns(i32 1) ; CLOCK_MONOTONIC
  ret i64 %ns
}

define internal i64 @core_time_ns() {
  %ns = call i64 @clock_ns(i32 3) ; CLOCK_THREAD_CPUTIME_ID
  ret i64 %ns
}

define internal i64 @clock_ns(i32 %clock) {
  %now = alloca { i64, i64 }
  %status = call i32 @clock_gettime(i32 %clock, ptr %now)
  %nanoseconds_slot = getelementptr { i64, i64 }, ptr %now, i32 0, i32 1
  %seconds = load i64, ptr %now
  %nanoseconds = load i64, ptr %nanoseconds_slot
  %s_ns = mul i64 %seconds, 1000000000
  %ns = add i64 %s_ns, %nanoseconds
  ret i64 %ns
}

define double @hpacml_time_ms() {
  %ns = call i64 @hpacml_time_ns()
  %number = sitofp i64 %ns to double
  %ms = fdiv double %number, 1.0e6
  ret double %ms
}

; Counts a call of a site: its counters are the calls, then nanoseconds and bytes of each stage. Python makes them at
; the first call; several threads may ask for them at once, and get the same.
define void @hpacml_record(ptr %site, ptr %word, i64 %stages, ptr %times, ptr %bytes) {
entry:
  %found = alloca ptr
  %known = load atomic ptr, ptr %word acquire, align 8
  %new = icmp eq ptr %known, null
  br i1 %new, label %open, label %count

open:
  %status = call i32 @hpacml_py_open_counters(ptr %site, ptr %found)
  call void @check(i32 %status)
  %opened = load ptr, ptr %found
  store atomic ptr %opened, ptr %word release, align 8
  br label %count

count:
  %counters = phi ptr [ %known, %entry ], [ %opened, %open ]
  %calls = atomicrmw add ptr %counters, i64 1 monotonic
  %first = load i64, ptr %times
  br label %stage

stage:
  %i = phi i64 [ 0, %count ], [ %i_next, %next ]
  %start = phi i64 [ %first, %count ], [ %end, %next ]
  %i_next = add i64 %i, 1
  %end_slot = getelementptr i64, ptr %times, i64 %i_next
  %copied_slot = getelementptr i64, ptr %bytes, i64 %i
  %end = load i64, ptr %end_slot
  %copied = load i64, ptr %copied_slot
  %pair = mul i64 %i, 2
  %pair_ns = add i64 %pair, 1
  %pair_bytes = add i64 %pair, 2
  %ns_counter = getelementptr i64, ptr %counters, i64 %pair_ns
  %bytes_counter = getelementptr i64, ptr %counters, i64 %pair_bytes
  %ns = sub i64 %end, %start
  %ns_before = atomicrmw add ptr %ns_counter, i64 %ns monotonic
  %nothing = icmp eq i64 %copied, 0
  br i1 %nothing, label %next, label %add

add:
  %bytes_before = atomicrmw add ptr %bytes_counter, i64 %copied monotonic
  br label %next

next:
  %more = icmp slt i64 %i_next, %stages
  br i1 %more, label %stage, label %return

return:
  ret void
}

; Parallel loops. They run on the threads of an OpenMP library, which `hpacml.runtime.openmp` finds: GOMP_parallel and
; functions of OpenMP, and the process whose threads they are.
@run_parallel = internal global ptr null
@in_parallel = internal global ptr null
@max_threads = internal global ptr null
@thread_number = internal global ptr null
@process = internal global i32 0
@alone_key = internal global i32 0 ; until when, in nanoseconds, a thread runs its loops alone
@torch_threads = internal global ptr null ; at::get_num_threads, once Torch is loaded
@torch_library = internal constant [16 x i8] c"libtorch_cpu.so\00"
@torch_name = internal constant [26 x i8] c"_ZN2at15get_num_threadsEv\00"

declare i32 @getpid()
declare ptr @dlopen(ptr, i32)
declare ptr @dlsym(ptr, ptr)
declare i32 @fegetenv(ptr)
declare i32 @fesetenv(ptr)
declare i64 @llvm.umin.i64(i64, i64)

; What a thread would have told Python: calls, each its number and three words. `hpacml.passes` knows how many there are.
%record = type { i64, [128 x [4 x i64]] }
; A loop: function, values, iterations, those of a part, those taken at once, parts, next iteration of each part; where
; the first iterations begin that failed, what they would have told, a lock of both; floating-point environment; the
; nanoseconds that all threads together ran on a core, and those of the thread that called. Each thread takes iterations
; of a part of its own, so that it finds them in its cache again, and then of the others.
%loop = type { ptr, ptr, i64, i64, i64, i64, [256 x i64], i64, %record, i32, [64 x i8], i64, i64 }
%share = type { ptr, i64, i64 } ; loop, part, where the iterations begin that are running

define void @hpacml_use_openmp(ptr %parallel, ptr %inside, ptr %most, ptr %number) {
  %process = call i32 @getpid()
  store i32 %process, ptr @process
  %key = load i32, ptr @alone_key
  %forgotten = call i32 @pthread_setspecific(i32 %key, ptr null)
  store ptr %inside, ptr @in_parallel
  store ptr %most, ptr @max_threads
  store ptr %number, ptr @thread_number
  store atomic ptr %parallel, ptr @run_parallel release, align 8
  ret void
}

; The number of threads that Torch would use in this thread, else OpenMP.
define internal i32 @number_of_threads() {
  %known = load atomic ptr, ptr @torch_threads acquire, align 8
  %new = icmp eq ptr %known, null
  br i1 %new, label %look, label %torch

look:
  %library = call ptr @dlopen(ptr @torch_library, i32 5) ; RTLD_LAZY | RTLD_NOLOAD
  %missing = icmp eq ptr %library, null
  br i1 %missing, label %openmp, label %find

find:
  %found = call ptr @dlsym(ptr %library, ptr @torch_name)
  store atomic ptr %found, ptr @torch_threads release, align 8
  %unknown = icmp eq ptr %found, null
  br i1 %unknown, label %openmp, label %torch

torch:
  %ask_torch = phi ptr [ %known, %0 ], [ %found, %find ]
  %of_torch = call i32 %ask_torch()
  ret i32 %of_torch

openmp:
  %ask_openmp = load ptr, ptr @max_threads
  %of_openmp = call i32 %ask_openmp()
  ret i32 %of_openmp
}

; Calls function(values, begin, end) for ranges that together are [0, count). On one thread: a loop of little work (of
; about so many instructions), one in a parallel loop, and one in a forked process, which has no threads of its parent.
; Threads of OpenMP wait for each other actively. Where other programs have the cores, the wait may be much longer than
; all of the work: for 16 times as long the thread then runs its loops alone, so that such waits take little of its
; time. Where one iteration of another thread is nearly all of the work, the wait is as long as the work, but not more.
define void @hpacml_parallel(ptr %function, ptr %values, i64 %count, double %work) {
  %loop = alloca %loop, align 64
  %rest = alloca %share
  %run = load atomic ptr, ptr @run_parallel acquire, align 8
  %none = icmp eq ptr %run, null
  %short = icmp slt i64 %count, 2
  %alone = or i1 %none, %short
  %little = fcmp olt double %work, 5.0e5
  %cheap = or i1 %alone, %little
  br i1 %cheap, label %serial, label %identify

identify:
  %process = load i32, ptr @process
  %own = call i32 @getpid()
  %same = icmp eq i32 %process, %own
  br i1 %same, label %ask, label %serial

ask:
  %ask_inside = load ptr, ptr @in_parallel
  %inside = call i32 %ask_inside()
  %outermost = icmp eq i32 %inside, 0
  br i1 %outermost, label %weigh, label %serial

weigh:
  %all = call i32 @number_of_threads()
  %threads = call i32 @llvm.smin.i32(i32 %all, i32 256)
  %several = icmp sgt i32 %threads, 1
  %factor = sitofp i32 %threads to double
  %least = fmul double %factor, 2.5e5
  %enough = fcmp oge double %work, %least
  %worth = and i1 %several, %enough
  br i1 %worth, label %remember, label %serial

remember:
  %key = load i32, ptr @alone_key
  %kept = call ptr @pthread_getspecific(i32 %key)
  %until = ptrtoint ptr %kept to i64
  %now = call i64 @hpacml_time_ns()
  %crowded = icmp slt i64 %now, %until
  br i1 %crowded, label %serial, label %divide

divide:
  %parts = zext i32 %threads to i64
  %size_less = udiv i64 %count, %parts
  %size = add i64 %size_less, 1
  %taken_less = udiv i64 %size, 8
  %taken = add i64 %taken_less, 1
  %values_slot = getelementptr %loop, ptr %loop, i32 0, i32 1
  %count_slot = getelementptr %loop, ptr %loop, i32 0, i32 2
  %size_slot = getelementptr %loop, ptr %loop, i32 0, i32 3
  %taken_slot = getelementptr %loop, ptr %loop, i32 0, i32 4
  %parts_slot = getelementptr %loop, ptr %loop, i32 0, i32 5
  %first_slot = getelementptr %loop, ptr %loop, i32 0, i32 7
  %record = getelementptr %loop, ptr %loop, i32 0, i32 8
  %lock = getelementptr %loop, ptr %loop, i32 0, i32 9
  %environment = getelementptr %loop, ptr %loop, i32 0, i32 10
  %worked_slot = getelementptr %loop, ptr %loop, i32 0, i32 11
  %own_slot = getelementptr %loop, ptr %loop, i32 0, i32 12
  store ptr %function, ptr %loop
  store ptr %values, ptr %values_slot
  store i64 %count, ptr %count_slot
  store i64 %size, ptr %size_slot
  store i64 %taken, ptr %taken_slot
  store i64 %parts, ptr %parts_slot
  store i64 9223372036854775807, ptr %first_slot
  store i32 0, ptr %lock
  store i64 0, ptr %worked_slot
  store i64 0, ptr %own_slot
  %got = call i32 @fegetenv(ptr %environment)
  br label %part

part:
  %i = phi i64 [ 0, %divide ], [ %i_next, %part ]
  %next_slot = getelementptr %loop, ptr %loop, i32 0, i32 6, i64 %i
  %start = mul i64 %i, %size
  store i64 %start, ptr %next_slot
  %i_next = add i64 %i, 1
  %more = icmp ult i64 %i_next, %parts
  br i1 %more, label %part, label %parallel

parallel:
  call void %run(ptr @run_share, ptr %loop, i32 %threads, i32 0)
  %end = call i64 @hpacml_time_ns()
  %worked = load i64, ptr %worked_slot
  %busy = load i64, ptr %own_slot
  %took = sub i64 %end, %now
  %waited = sub i64 %took, %busy
  %half = lshr i64 %worked, 1
  %much = add i64 %worked, %half
  %in_vain = icmp sgt i64 %waited, %much
  br i1 %in_vain, label %pause, label %settle

pause:
  %as_long = mul i64 %waited, 16
  %then = add i64 %end, %as_long
  %deadline = inttoptr i64 %then to ptr
  %set = call i32 @pthread_setspecific(i32 %key, ptr %deadline)
  br label %settle

settle:
  %first = load i64, ptr %first_slot
  %done = icmp eq i64 %first, 9223372036854775807
  br i1 %done, label %finish, label %fail

finish: ; what is left because a thread had no stack to enter
  %part_slot = getelementptr %share, ptr %rest, i32 0, i32 1
  store ptr %loop, ptr %rest
  store i64 0, ptr %part_slot
  call void @take(ptr %rest)
  ret void

fail:
  call void @replay(ptr %record)
  call void @hpacml_throw()
  unreachable

serial:
  call void %function(ptr %values, i64 0, i64 %count)
  ret void
}

declare i32 @llvm.smin.i32(i32, i32)

; Calls functions of slots on threads: how many there are, then each and its slots.
define void @hpacml_calls(ptr %slots) {
  %count = load i64, ptr %slots
  %calls = getelementptr i64, ptr %slots, i64 1
  call void @hpacml_parallel(ptr @run_calls, ptr %calls, i64 %count, double 0x7FF0000000000000)
  ret void
}

define internal void @run_calls(ptr %calls, i64 %begin, i64 %end) {
  br label %next

next:
  %i = phi i64 [ %begin, %0 ], [ %i_next, %next ]
  %function_slot = getelementptr [2 x ptr], ptr %calls, i64 %i, i64 0
  %slots_slot = getelementptr [2 x ptr], ptr %calls, i64 %i, i64 1
  %function = load ptr, ptr %function_slot
  %slots = load ptr, ptr %slots_slot
  call void %function(ptr %slots)
  %i_next = add i64 %i, 1
  %more = icmp slt i64 %i_next, %end
  br i1 %more, label %next, label %return

return:
  ret void
}

; What each thread does. An entry of its own frees what iterations have allocated where they fail.
define internal void @run_share(ptr %loop) {
  %share = alloca %share
  %record = alloca %record
  %before = alloca [64 x i8], align 16
  %part_slot = getelementptr %share, ptr %share, i32 0, i32 1
  %begin_slot = getelementptr %share, ptr %share, i32 0, i32 2
  %environment = getelementptr %loop, ptr %loop, i32 0, i32 10
  %ask_number = load ptr, ptr @thread_number
  %number = call i32 %ask_number()
  %part = zext i32 %number to i64
  %began = call i64 @hpacml_time_ns()
  %core_began = call i64 @core_time_ns()
  store ptr %loop, ptr %share
  store i64 %part, ptr %part_slot
  %got = call i32 @fegetenv(ptr %before)
  %set = call i32 @fesetenv(ptr %environment)
  br label %again

again:
  store i64 0, ptr %record
  %status = call i32 @enter(ptr @take, ptr %share, ptr null, ptr %record)
  %threw = icmp eq i32 %status, 1
  br i1 %threw, label %failed, label %return

failed:
  %begin = load i64, ptr %begin_slot
  call void @note(ptr %loop, i64 %begin, ptr %record)
  br label %again

return:
  %reset = call i32 @fesetenv(ptr %before)
  %worked_slot = getelementptr %loop, ptr %loop, i32 0, i32 11
  %core_ended = call i64 @core_time_ns()
  %worked = sub i64 %core_ended, %core_began
  %others = atomicrmw add ptr %worked_slot, i64 %worked monotonic
  %called = icmp eq i32 %number, 0
  br i1 %called, label %tell, label %leave

tell:
  %own_slot = getelementptr %loop, ptr %loop, i32 0, i32 12
  %ended = call i64 @hpacml_time_ns()
  %own = sub i64 %ended, %began
  store i64 %own, ptr %own_slot
  br label %leave

leave:
  ret void
}

; Runs iterations as long as there are some before those that failed.
define internal void @take(ptr %share) {
  %own_slot = getelementptr %share, ptr %share, i32 0, i32 1
  %begin_slot = getelementptr %share, ptr %share, i32 0, i32 2
  %loop = load ptr, ptr %share
  %own = load i64, ptr %own_slot
  %values_slot = getelementptr %loop, ptr %loop, i32 0, i32 1
  %count_slot = getelementptr %loop, ptr %loop, i32 0, i32 2
  %size_slot = getelementptr %loop, ptr %loop, i32 0, i32 3
  %taken_slot = getelementptr %loop, ptr %loop, i32 0, i32 4
  %parts_slot = getelementptr %loop, ptr %loop, i32 0, i32 5
  %first_slot = getelementptr %loop, ptr %loop, i32 0, i32 7
  %function = load ptr, ptr %loop
  %values = load ptr, ptr %values_slot
  %count = load i64, ptr %count_slot
  %size = load i64, ptr %size_slot
  %taken = load i64, ptr %taken_slot
  %parts = load i64, ptr %parts_slot
  br label %part

part:
  %k = phi i64 [ 0, %0 ], [ %k_next, %behind ]
  %turn = add i64 %own, %k
  %p = urem i64 %turn, %parts
  %next_slot = getelementptr %loop, ptr %loop, i32 0, i32 6, i64 %p
  %p_next = add i64 %p, 1
  %limit = mul i64 %p_next, %size
  %end = call i64 @llvm.umin.i64(i64 %limit, i64 %count)
  br label %next

next:
  %begin = atomicrmw add ptr %next_slot, i64 %taken monotonic
  %left = icmp ult i64 %begin, %end
  br i1 %left, label %compare, label %behind

compare:
  %first = load atomic i64, ptr %first_slot monotonic, align 8
  %late = icmp ugt i64 %begin, %first
  br i1 %late, label %next, label %run

run:
  %behind_them = add i64 %begin, %taken
  %stop = call i64 @llvm.umin.i64(i64 %behind_them, i64 %end)
  store i64 %begin, ptr %begin_slot
  call void %function(ptr %values, i64 %begin, i64 %stop)
  br label %next

behind:
  %k_next = add i64 %k, 1
  %more = icmp ult i64 %k_next, %parts
  br i1 %more, label %part, label %return

return:
  ret void
}

; Keeps a record if no earlier iterations have failed.
define internal void @note(ptr %loop, i64 %begin, ptr %record) {
  %first_slot = getelementptr %loop, ptr %loop, i32 0, i32 7
  %kept = getelementptr %loop, ptr %loop, i32 0, i32 8
  %lock = getelementptr %loop, ptr %loop, i32 0, i32 9
  br label %acquire

acquire:
  %taken = atomicrmw xchg ptr %lock, i32 1 acquire
  %free = icmp eq i32 %taken, 0
  br i1 %free, label %compare, label %acquire

compare:
  %first = load atomic i64, ptr %first_slot monotonic, align 8
  %earlier = icmp ult i64 %begin, %first
  br i1 %earlier, label %keep, label %release

keep:
  store atomic i64 %begin, ptr %first_slot monotonic, align 8
  call void @llvm.memcpy.p0.p0.i64(ptr %kept, ptr %record, i64 4104, i1 false)
  br label %release

release:
  store atomic i32 0, ptr %lock release, align 4
  ret void
}

; Whether a call that would tell Python something is kept in a record instead. It does not return if it `ends` the code.
define internal i1 @kept(i64 %kind, i64 %a, i64 %b, i64 %c, i1 %ends) {
  %context = call ptr @current_context()
  %outside = icmp eq ptr %context, null
  br i1 %outside, label %no, label %look

look:
  %record_slot = getelementptr %context, ptr %context, i32 0, i32 4
  %record = load ptr, ptr %record_slot
  %none = icmp eq ptr %record, null
  br i1 %none, label %no, label %keep

keep:
  %count = load i64, ptr %record
  %count_next = add i64 %count, 1
  store i64 %count_next, ptr %record
  %kind_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %count, i64 0
  %a_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %count, i64 1
  %b_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %count, i64 2
  %c_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %count, i64 3
  store i64 %kind, ptr %kind_slot
  store i64 %a, ptr %a_slot
  store i64 %b, ptr %b_slot
  store i64 %c, ptr %c_slot
  br i1 %ends, label %throw, label %yes

throw:
  call void @hpacml_throw()
  unreachable

yes:
  ret i1 true

no:
  ret i1 false
}

define internal void @replay(ptr %record) {
  %count = load i64, ptr %record
  br label %next

next:
  %i = phi i64 [ 0, %0 ], [ %i_next, %repeat ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %repeat, label %return

repeat:
  %kind_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %i, i64 0
  %a_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %i, i64 1
  %b_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %i, i64 2
  %c_slot = getelementptr %record, ptr %record, i32 0, i32 1, i64 %i, i64 3
  %kind = load i64, ptr %kind_slot
  %a = load i64, ptr %a_slot
  %b = load i64, ptr %b_slot
  %c = load i64, ptr %c_slot
  call void @repeat(i64 %kind, i64 %a, i64 %b, i64 %c)
  %i_next = add i64 %i, 1
  br label %next

return:
  ret void
}

; The number of blocks that are allocated and not yet freed, in all threads.
define i64 @hpacml_live_blocks() {
  %count = load atomic i64, ptr @live_blocks monotonic, align 8
  ret i64 %count
}

define ptr @_mlir_memref_to_llvm_alloc(i64 %size) {
  %memory = call ptr @_mlir_memref_to_llvm_aligned_alloc(i64 64, i64 %size)
  ret ptr %memory
}

; Aligns to 64 bytes or more; the header lies in the padding in front. Outside of an entry the block joins no list.
define ptr @_mlir_memref_to_llvm_aligned_alloc(i64 %alignment, i64 %size) {
  %small = icmp ult i64 %alignment, 64
  %align = select i1 %small, i64 64, i64 %alignment
  %absurd = icmp ugt i64 %size, 4611686018427387904 ; covers negative sizes
  br i1 %absurd, label %fail, label %allocate

allocate:
  %room = add i64 %align, 64
  %total = add i64 %size, %room
  %base = call ptr @malloc(i64 %total)
  %null = icmp eq ptr %base, null
  br i1 %null, label %fail, label %fill

fill:
  %address = ptrtoint ptr %base to i64
  %behind = add i64 %address, %room
  %negative = sub i64 0, %align
  %aligned = and i64 %behind, %negative
  %memory = inttoptr i64 %aligned to ptr
  %block = getelementptr i8, ptr %memory, i64 -64
  %link_slot = getelementptr %block, ptr %block, i32 0, i32 1
  %base_slot = getelementptr %block, ptr %block, i32 0, i32 2
  %owners_slot = getelementptr %block, ptr %block, i32 0, i32 3
  store ptr null, ptr %block
  store ptr null, ptr %link_slot
  store ptr %base, ptr %base_slot
  store i64 1, ptr %owners_slot
  %count = atomicrmw add ptr @live_blocks, i64 1 monotonic
  %context = call ptr @current_context()
  %outside = icmp eq ptr %context, null
  br i1 %outside, label %return, label %insert

insert:
  %first = getelementptr %context, ptr %context, i32 0, i32 2
  %next = load ptr, ptr %first
  store ptr %next, ptr %block
  store ptr %first, ptr %link_slot
  store ptr %block, ptr %first
  %last = icmp eq ptr %next, null
  br i1 %last, label %return, label %relink

relink:
  %next_link_slot = getelementptr %block, ptr %next, i32 0, i32 1
  store ptr %block, ptr %next_link_slot
  br label %return

return:
  ret ptr %memory

fail:
  call void @no_memory(i64 %size)
  call void @hpacml_throw()
  unreachable
}

define void @_mlir_memref_to_llvm_free(ptr %memory) {
  %null = icmp eq ptr %memory, null
  br i1 %null, label %return, label %free

free:
  %block = getelementptr i8, ptr %memory, i64 -64
  call void @release(ptr %block)
  br label %return

return:
  ret void
}

define internal void @release(ptr %block) {
  %link_slot = getelementptr %block, ptr %block, i32 0, i32 1
  %next = load ptr, ptr %block
  %link = load ptr, ptr %link_slot
  %loose = icmp eq ptr %link, null
  br i1 %loose, label %disown, label %unlink

unlink:
  store ptr %next, ptr %link
  %last = icmp eq ptr %next, null
  br i1 %last, label %disown, label %relink

relink:
  %next_link_slot = getelementptr %block, ptr %next, i32 0, i32 1
  store ptr %link, ptr %next_link_slot
  br label %disown

disown:
  call void @disown(ptr %block)
  ret void
}

define internal void @disown(ptr %block) {
  %owners_slot = getelementptr %block, ptr %block, i32 0, i32 3
  %owners = atomicrmw sub ptr %owners_slot, i64 1 acq_rel
  %last = icmp eq i64 %owners, 1
  br i1 %last, label %free, label %return

free:
  %base_slot = getelementptr %block, ptr %block, i32 0, i32 2
  %base = load ptr, ptr %base_slot
  %count = atomicrmw sub ptr @live_blocks, i64 1 monotonic
  call void @free(ptr %base)
  br label %return

return:
  ret void
}

; The block of memory that the innermost entry of this thread has allocated; null if it has not.
define internal ptr @block_of(ptr %memory) {
entry:
  %context = call ptr @current_context()
  %outside = icmp eq ptr %context, null
  br i1 %outside, label %unknown, label %start

start:
  %first = getelementptr %context, ptr %context, i32 0, i32 2
  %wanted = getelementptr i8, ptr %memory, i64 -64
  br label %look

look:
  %slot = phi ptr [ %first, %start ], [ %block, %next ] ; a block begins with the pointer to the next one
  %block = load ptr, ptr %slot
  %end = icmp eq ptr %block, null
  br i1 %end, label %unknown, label %next

next:
  %found = icmp eq ptr %block, %wanted
  br i1 %found, label %known, label %look

known:
  ret ptr %block

unknown:
  ret ptr null
}

; Whether memory is what the innermost entry of this thread has allocated, and not an array of the application.
define i32 @hpacml_is_temporary(ptr %memory) {
  %block = call ptr @block_of(ptr %memory)
  %known = icmp ne ptr %block, null
  %answer = zext i1 %known to i32
  ret i32 %answer
}

; Keeps such memory: it lives until hpacml_drop, too.
define void @hpacml_keep(ptr %memory) {
  %block = getelementptr i8, ptr %memory, i64 -64
  %owners_slot = getelementptr %block, ptr %block, i32 0, i32 3
  %owners = atomicrmw add ptr %owners_slot, i64 1 monotonic
  ret void
}

; Keeps memory if it is what the innermost entry of this thread has allocated.
define void @hpacml_keep_temporary(ptr %memory) {
  %block = call ptr @block_of(ptr %memory)
  %unknown = icmp eq ptr %block, null
  br i1 %unknown, label %return, label %keep

keep:
  call void @hpacml_keep(ptr %memory)
  br label %return

return:
  ret void
}

; Gives up memory that hpacml_keep has kept; any thread may do so.
define void @hpacml_drop(ptr %memory) {
  %block = getelementptr i8, ptr %memory, i64 -64
  call void @disown(ptr %block)
  ret void
}

; MLIR calls this for memref.copy between layouts that are not plain; both memrefs are { i64 rank, ptr descriptor }.
define void @memrefCopy(i64 %element_size, ptr %source, ptr %target) {
  %source_slot = getelementptr { i64, ptr }, ptr %source, i32 0, i32 1
  %target_slot = getelementptr { i64, ptr }, ptr %target, i32 0, i32 1
  %rank = load i64, ptr %source
  %from = load ptr, ptr %source_slot
  %to = load ptr, ptr %target_slot
  %from_address = call ptr @origin(ptr %from, i64 %element_size)
  %to_address = call ptr @origin(ptr %to, i64 %element_size)
  %sizes = getelementptr i64, ptr %from, i64 3
  %from_strides = getelementptr i64, ptr %sizes, i64 %rank
  %to_sizes = getelementptr i64, ptr %to, i64 3
  %to_strides = getelementptr i64, ptr %to_sizes, i64 %rank
  call void @copy(i64 %rank, ptr %sizes, i64 %element_size, ptr %from_address, ptr %from_strides,
                  ptr %to_address, ptr %to_strides)
  ret void
}

define internal ptr @origin(ptr %descriptor, i64 %element_size) {
  %aligned_slot = getelementptr ptr, ptr %descriptor, i64 1
  %offset_slot = getelementptr i64, ptr %descriptor, i64 2
  %aligned = load ptr, ptr %aligned_slot
  %offset = load i64, ptr %offset_slot
  %bytes = mul i64 %offset, %element_size
  %address = getelementptr i8, ptr %aligned, i64 %bytes
  ret ptr %address
}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

define internal void @copy(i64 %rank, ptr %sizes, i64 %element_size, ptr %from, ptr %from_strides, ptr %to,
                           ptr %to_strides) {
  %scalar = icmp eq i64 %rank, 0
  br i1 %scalar, label %one, label %dimension

one:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %element_size, i1 false)
  ret void

dimension:
  %size = load i64, ptr %sizes
  %from_stride = load i64, ptr %from_strides
  %to_stride = load i64, ptr %to_strides
  %vector = icmp eq i64 %rank, 1
  %from_dense = icmp eq i64 %from_stride, 1
  %to_dense = icmp eq i64 %to_stride, 1
  %dense = and i1 %from_dense, %to_dense
  %row = and i1 %vector, %dense
  br i1 %row, label %whole, label %setup

whole:
  %bytes = mul i64 %size, %element_size
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %bytes, i1 false)
  ret void

setup:
  %inner_rank = sub i64 %rank, 1
  %inner_sizes = getelementptr i64, ptr %sizes, i64 1
  %inner_from_strides = getelementptr i64, ptr %from_strides, i64 1
  %inner_to_strides = getelementptr i64, ptr %to_strides, i64 1
  %from_step = mul i64 %from_stride, %element_size
  %to_step = mul i64 %to_stride, %element_size
  br label %head

head:
  %i = phi i64 [ 0, %setup ], [ %i_next, %body ]
  %from_i = phi ptr [ %from, %setup ], [ %from_next, %body ]
  %to_i = phi ptr [ %to, %setup ], [ %to_next, %body ]
  %more = icmp slt i64 %i, %size
  br i1 %more, label %body, label %return

body:
  call void @copy(i64 %inner_rank, ptr %inner_sizes, i64 %element_size, ptr %from_i, ptr %inner_from_strides,
                  ptr %to_i, ptr %inner_to_strides)
  %i_next = add i64 %i, 1
  %from_next = getelementptr i8, ptr %from_i, i64 %from_step
  %to_next = getelementptr i8, ptr %to_i, i64 %to_step
  br label %head

return:
  ret void
}

; LLVM calls these to round to bfloat16 on processors that cannot; libgcc has them only from version 13 on.
define bfloat @__truncsfbf2(float %x) {
  %bits = bitcast float %x to i32
  %high = lshr i32 %bits, 16
  %odd = and i32 %high, 1
  %bias = add i32 %odd, 32767
  %sum = add i32 %bits, %bias
  %rounded = lshr i32 %sum, 16
  %number = trunc i32 %rounded to i16
  %nan = fcmp uno float %x, %x
  %chosen = select i1 %nan, i16 32704, i16 %number
  %result = bitcast i16 %chosen to bfloat
  ret bfloat %result
}

; Rounds to a float first, to odd, which makes the second rounding exact.
define bfloat @__truncdfbf2(double %x) {
  %near = fptrunc double %x to float
  %back = fpext float %near to double
  %bits = bitcast float %near to i32
  %near_magnitude = call double @llvm.fabs.f64(double %back)
  %magnitude = call double @llvm.fabs.f64(double %x)
  %above = fcmp ogt double %near_magnitude, %magnitude
  %one = zext i1 %above to i32
  %truncated = sub i32 %bits, %one
  %inexact = fcmp one double %back, %x
  %sticky = zext i1 %inexact to i32
  %odd_bits = or i32 %truncated, %sticky
  %odd = bitcast i32 %odd_bits to float
  %result = call bfloat @__truncsfbf2(float %odd)
  ret bfloat %result
}

declare double @llvm.fabs.f64(double)

; A checksum of some pieces of memory, each given by its address and its bytes. Words go to four sums in turn, each of
; which keeps apart what differs in one word; a rotation keeps the highest bits, those of signs, from cancelling.
define i64 @hpacml_checksum(ptr %pieces, i64 %count) {
entry:
  br label %next_piece

next_piece:
  %p = phi i64 [ 0, %entry ], [ %p_next, %behind ]
  %before = phi i64 [ 0, %entry ], [ %sum, %behind ]
  %done = icmp eq i64 %p, %count
  br i1 %done, label %return, label %piece

piece:
  %place = getelementptr { ptr, i64 }, ptr %pieces, i64 %p
  %memory = load ptr, ptr %place
  %size_slot = getelementptr { ptr, i64 }, ptr %place, i32 0, i32 1
  %size = load i64, ptr %size_slot
  %words = lshr i64 %size, 3
  %fours = and i64 %words, -4
  br label %next_four

next_four:
  %i = phi i64 [ 0, %piece ], [ %i_next, %four ]
  %a = phi i64 [ %before, %piece ], [ %a_next, %four ]
  %b = phi i64 [ 1, %piece ], [ %b_next, %four ]
  %c = phi i64 [ 2, %piece ], [ %c_next, %four ]
  %d = phi i64 [ 3, %piece ], [ %d_next, %four ]
  %more = icmp ult i64 %i, %fours
  br i1 %more, label %four, label %join

four:
  %first = getelementptr i64, ptr %memory, i64 %i
  %second = getelementptr i64, ptr %first, i64 1
  %third = getelementptr i64, ptr %first, i64 2
  %fourth = getelementptr i64, ptr %first, i64 3
  %v = load i64, ptr %first, align 1
  %w = load i64, ptr %second, align 1
  %x = load i64, ptr %third, align 1
  %y = load i64, ptr %fourth, align 1
  %a_next = call i64 @mixed(i64 %a, i64 %v)
  %b_next = call i64 @mixed(i64 %b, i64 %w)
  %c_next = call i64 @mixed(i64 %c, i64 %x)
  %d_next = call i64 @mixed(i64 %d, i64 %y)
  %i_next = add i64 %i, 4
  br label %next_four

join:
  %ab = call i64 @mixed(i64 %a, i64 %b)
  %abc = call i64 @mixed(i64 %ab, i64 %c)
  %abcd = call i64 @mixed(i64 %abc, i64 %d)
  %start = shl i64 %fours, 3
  br label %next_byte

next_byte:
  %j = phi i64 [ %start, %join ], [ %j_next, %byte ]
  %sum = phi i64 [ %abcd, %join ], [ %sum_next, %byte ]
  %left = icmp ult i64 %j, %size
  br i1 %left, label %byte, label %behind

byte:
  %byte_slot = getelementptr i8, ptr %memory, i64 %j
  %small = load i8, ptr %byte_slot
  %wide = zext i8 %small to i64
  %sum_next = call i64 @mixed(i64 %sum, i64 %wide)
  %j_next = add i64 %j, 1
  br label %next_byte

behind:
  %p_next = add i64 %p, 1
  br label %next_piece

return:
  ret i64 %before
}

declare i64 @llvm.fshl.i64(i64, i64, i64)

define internal i64 @mixed(i64 %sum, i64 %word) alwaysinline {
  %both = xor i64 %sum, %word
  %turned = call i64 @llvm.fshl.i64(i64 %both, i64 %both, i64 29)
  %mixed = mul i64 %turned, -7046029254386353131 ; odd, so that no two values meet
  ret i64 %mixed
}
