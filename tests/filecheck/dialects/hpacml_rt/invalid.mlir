// What the verifiers and parsers refuse, and what they say.

// RUN: hpacml-opt %s --verify-diagnostics --parsing-diagnostics --split-input-file | filecheck %s

func.func @f(%idx: memref<4xf16>, %n: index) {
  %ok = hpacml_rt.in_bounds %idx below %n : memref<4xf16>
  func.return
}

// CHECK: Operation does not verify: indices have elements of integers, not f16

// -----

func.func @f(%idx: !hpacml.indirect<4xf64>, %n: index) {
  %ok = hpacml_rt.in_bounds %idx below %n : !hpacml.indirect<4xf64>
  func.return
}

// CHECK: Operation does not verify: indices have elements of integers, not f64

// -----

func.func @f(%t: memref<4xf32>) {
  hpacml_rt.check_indices %t : memref<4xf32>
  func.return
}

// CHECK: memref<4xf32> should be of base attribute hpacml.mapping

// -----

func.func @f(%x: memref<9xf32>) {
  %d = hpacml_rt.distinct %x : memref<9xf32>
  func.return
}

// CHECK: Operation does not verify: the elements of scratch memory are i8, not f32

// -----

func.func @f(%x: memref<3x3xi8>) {
  %d = hpacml_rt.distinct %x in(%x : memref<3x3xi8>) : memref<3x3xi8>
  func.return
}

// CHECK: Operation does not verify: scratch memory has one dimension, not the type memref<3x3xi8>

// -----

func.func @f(%ok: i1, %d: index) {
  hpacml_rt.check_map %ok to "f: [i] = ([i])" names ["x"] targets [#hpacml.target<[*[0 : 3]]>] sizes(%d, %d) bounds() params() of []
  func.return
}

// CHECK: Operation does not verify: the targets name 2 arrays, 1 names and 0 arrays are given

// -----

func.func @f(%ok: i1, %d: index) {
  hpacml_rt.check_map %ok to "f: [i] = ([i])" names ["x"] targets [#hpacml.target<[0 : 3]>] sizes(%d, %d) bounds() params() of []
  func.return
}

// CHECK: Operation does not verify: the arrays have 1 dimensions, 2 sizes are given

// -----

func.func @f(%t: i64) {
  hpacml_rt.record "heat" "train" ["body"] times(%t, %t) bytes(%t)
  func.return
}

// CHECK: Operation does not verify: the way through a region is one of infer, collect, body

// -----

func.func @f(%t: i64) {
  hpacml_rt.record "heat" "infer" ["gather", "model"] times(%t, %t) bytes(%t)
  func.return
}

// CHECK: Operation does not verify: 2 stages need 3 times and 2 numbers of bytes, 2 and 1 are given

// -----

func.func @f(%idx: memref<4xi32>, %own: memref<4xi64>, %n: index) {
  %ok = hpacml_rt.in_bounds %idx below %n copy(%own : memref<4xi64>) : memref<4xi32>
  func.return
}

// CHECK: Operation does not verify: a copy of type memref<4xi64> does not fit a view of type memref<4xi32>
