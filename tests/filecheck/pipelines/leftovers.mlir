// A mapping is the result of hpacml.map: from anywhere else nothing could tell its arrays. What is left of hpacml at the
// end is an error, whatever it is.

// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-loops,convert-hpacml-to-runtime,hpacml-outline-parallel-loops,hpacml-keep-branches,hpacml-version-in-place,hpacml-mask-divisions,hpacml-expand-functions,hpacml-roll-remainders --split-input-file --verify-diagnostics | filecheck %s
// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,hpacml-fuse-gather-concat,convert-hpacml-to-gpu,hpacml-refuse-host-accesses,convert-hpacml-to-loops,convert-hpacml-to-runtime --split-input-file --verify-diagnostics | filecheck %s
// RUN: not hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices 2>&1 --split-input-file | filecheck %s --check-prefix EXIT

// EXIT: hpacml.gather takes a mapping that is an argument of a block or function

func.func @argument(%a: !hpacml.mapping<9xf32>, %x: memref<9xf32>) {
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return
}

// CHECK: hpacml.gather takes a mapping that is an argument of a block or function: mappings are results of hpacml.map, and nothing stands between these and what gathers or scatters

// -----

func.func @region(%a: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%a : !hpacml.mapping<9xf32>) label "r" on_error "raise" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: hpacml.ml takes a mapping that is an argument of a block or function

// -----

hpacml.functor @f : [i] = ([i])
func.func @select(%t: memref<9xf32>, %u: memref<9xf32>, %c: i1) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %b = hpacml.map to @f(%u[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %s = arith.select %c, %a, %b : !hpacml.mapping<9xf32>
  %x = hpacml.tensor %s : !hpacml.mapping<9xf32> -> memref<9xf32>
  func.return
}

// CHECK: arith.select takes a mapping, which only operations of hpacml do: make one map for each use

// -----

hpacml.functor @f : [i] = ([i])
func.func @if(%t: memref<9xf32>, %c: i1, %x: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %s = scf.if %c -> (!hpacml.mapping<9xf32>) {
    scf.yield %a : !hpacml.mapping<9xf32>
  } else {
    scf.yield %a : !hpacml.mapping<9xf32>
  }
  hpacml.scatter %x into %s : memref<9xf32>, !hpacml.mapping<9xf32>
  func.return
}

// CHECK: scf.yield takes a mapping

// -----

hpacml.functor @f : [i] = ([i])
func.func @for(%t: memref<9xf32>, %n: index, %x: memref<9xf32>) {
  %c1 = arith.constant 1 : index
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %s = scf.for %i = %c1 to %n step %c1 iter_args(%m = %a) -> (!hpacml.mapping<9xf32>) {
    hpacml.gather %m into %x : !hpacml.mapping<9xf32>, memref<9xf32>
    scf.yield %m : !hpacml.mapping<9xf32>
  }
  func.return
}

// CHECK: scf.for takes a mapping

// -----

func.func private @made() -> !hpacml.mapping<9xf32>
func.func @call() {
  %s = func.call @made() : () -> !hpacml.mapping<9xf32>
  hpacml_rt.check_indices %s : !hpacml.mapping<9xf32>
  func.return
}

// CHECK: hpacml_rt.check_indices takes a mapping that is a result of func.call

// -----

func.func @cast(%t: memref<9xf32>, %x: memref<9xf32>) {
  %s = builtin.unrealized_conversion_cast %t : memref<9xf32> to !hpacml.mapping<9xf32>
  hpacml.gather %s into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return
}

// CHECK: hpacml.gather takes a mapping that is a result of builtin.unrealized_conversion_cast

// -----

func.func @other(%x: memref<9xf32>) {
  %s = "test.op"() : () -> !hpacml.mapping<9xf32>
  hpacml.gather %s into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return
}

// CHECK: hpacml.gather takes a mapping that is a result of test.op

// -----

hpacml.functor @f : [i] = ([i])
func.func @returned(%t: memref<9xf32>) -> !hpacml.mapping<9xf32> {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return %a : !hpacml.mapping<9xf32>
}

// CHECK: func.return takes a mapping

// -----

func.func @unused(%a: !hpacml.mapping<9xf32>) {
  func.return
}

// CHECK: nothing lowers !hpacml.mapping any more: the passes before this one have to

// -----

func.func @view(%x: memref<9xf32>, %zero: index, %v: !hpacml.indirect<9xf32>) {
  func.return
}

// CHECK: nothing lowers !hpacml.indirect any more

// -----

func.func @attribute() attributes {t = !hpacml.mapping<9xf32>} {
  func.return
}

// CHECK: nothing lowers !hpacml.mapping any more

// -----

func.func @inside(%x: memref<9xf32>) {
  "test.op"(%x) {of = {types = [!hpacml.mapping<9xf32>], slice = #hpacml.slice<[i]>}} : (memref<9xf32>) -> ()
  func.return
}

// CHECK: nothing lowers !hpacml.mapping, #hpacml.slice any more

// -----

func.func @element() {
  %x = "test.op"() : () -> memref<1x!hpacml.mapping<9xf32>>
  func.return
}

// CHECK: nothing lowers !hpacml.mapping any more

// -----

func.func @discardable(%x: memref<9xf32>) {
  "test.op"(%x) {hpacml.note} : (memref<9xf32>) -> ()
  func.return
}

// CHECK: nothing lowers the attribute hpacml.note any more

// -----

hpacml.functor @f : [i, 0:2] = ([i - 1], [i + 1])
func.func @allocated(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %x = hpacml.tensor %a : !hpacml.mapping<7x2xf32> -> memref<7x2xf32>
  hpacml.gather %a into %x : !hpacml.mapping<7x2xf32>, memref<7x2xf32>
  func.return
}

// CHECK-LABEL: func.func @allocated
// CHECK: memref.alloc() : memref<7x2xf32>

// -----

hpacml.functor @f : [i] = ([i])
func.func @returned(%t: memref<9xf32>) -> memref<9xf32> {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %x = hpacml.tensor fresh %a : !hpacml.mapping<9xf32> -> memref<9xf32>
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return %x : memref<9xf32>
}

// CHECK: func.return takes the tensor out of its block, which frees it at its end: copy it to other memory

// -----

hpacml.functor @f : [i] = ([i])
func.func @another_block(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %x = hpacml.tensor %a : !hpacml.mapping<9xf32> -> memref<9xf32>
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  cf.br ^bb1
^bb1:
  "test.op"(%x) : (memref<9xf32>) -> ()
  func.return
}

// CHECK: test.op takes the tensor out of its block, which frees it at its end: copy it to other memory

// -----

hpacml.functor @f : [i] = ([i])
func.func @hpacml_infer(%x: f32) -> f32 {
  func.return %x : f32
}
func.func @taken(%t: memref<9xf32>) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer inout(%a : !hpacml.mapping<9xf32>) label "r" on_error "raise" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: @hpacml_infer is a function of the runtime, of type (!llvm.ptr, !llvm.ptr) -> i32: give this another name

// -----

hpacml.functor @f : [i] = ([i])
func.func @step(%t: memref<?xf32>, %n: index, %x: memref<?xf32>) {
  %a = hpacml.map to @f(%t[%n : 0 : -9223372036854775808]) : memref<?xf32> -> !hpacml.mapping<?xf32>
  hpacml.gather %a into %x : !hpacml.mapping<?xf32>, memref<?xf32>
  func.return
}

// CHECK: the number 9223372036854775808, which follows from the map, does not fit 64 bits
