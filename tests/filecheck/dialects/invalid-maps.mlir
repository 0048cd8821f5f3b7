// Maps whose operands are too few, too many, or of types that cannot be mapped.

// XFAIL: *
// RUN: hpacml-opt %s --verify-diagnostics --parsing-diagnostics --split-input-file | filecheck %s

hpacml.functor @p(m) : [i] = ([i + m])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the functor has 1 parameter, 0 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = "hpacml.map"(%t, %t) <{direction = #hpacml<direction to>, functor = @p, targets = [#hpacml.target<[0 : 9]>], operandSegmentSizes = array<i32: 2, 0, 0>}> : (memref<9xf32>, memref<9xf32>) -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the targets name 1 arrays, 2 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %n: index) {
  %a = "hpacml.map"(%t, %n) <{direction = #hpacml<direction to>, functor = @p, targets = [#hpacml.target<[? : ?]>], operandSegmentSizes = array<i32: 1, 1, 0>}> : (memref<9xf32>, index) -> !hpacml.mapping<?xf32>
  func.return
}

// CHECK: Operation does not verify: the ranges leave 2 numbers open, 1 are given

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %n: index) {
  %a = hpacml.map to @p(%t[0 : %n : 0]) : memref<9xf32> -> !hpacml.mapping<?xf32>
  func.return
}

// CHECK: Operation does not verify: the step of a range is 0

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xi1>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xi1> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: element type i1 is none of u8, i32, i64, f16, bf16, f32, f64

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32, affine_map<(d0) -> (d0 * 3)>>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32, affine_map<(d0) -> (d0 * 3)>> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: {{.*}}layout

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in) label "r" : !hpacml.mapping<9xf32>, !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: expected one type for each mapping

// -----

hpacml.functor @f(n) : [0:n] = ()

// CHECK: right side
