// Several outputs: one whose indices are wrong keeps the others from being written, so all are checked before the model
// runs, which may write into the application's memory.

// RUN: hpacml-opt %s -p hpacml-expand-ml | filecheck %s

hpacml.functor @point : [i] = ([i])

func.func @two(%t: memref<8xf64>, %u: memref<9xf64>, %a: memref<5xi64>, %b: memref<5xi32>, %c: i1) {
  %in = hpacml.map to @point(%t[*%a[0 : 5]]) : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<5xf64>
  %p = hpacml.map from @point(%t[*%a[0 : 5]]) : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<5xf64>
  %q = hpacml.map from @point(%u[5 : 9]) : memref<9xf64> -> !hpacml.mapping<4xf64>
  %r = hpacml.map from @point(%u[*%b[0 : 5]]) : memref<9xf64>, memref<5xi32> -> !hpacml.mapping<5xf64>
  hpacml.ml predicated(%c) in(%in : !hpacml.mapping<5xf64>) out(%p, %q, %r : !hpacml.mapping<5xf64>, !hpacml.mapping<4xf64>, !hpacml.mapping<5xf64>) label "two" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @two(
// CHECK:         scf.if %c {
// CHECK-NEXT:      %x = hpacml.tensor %in
// CHECK-NEXT:      hpacml.gather %in into %x
// CHECK-NEXT:      [[P:%.*]] = hpacml.tensor %p
// CHECK-NEXT:      [[Q:%.*]] = hpacml.tensor %q
// CHECK-NEXT:      [[R:%.*]] = hpacml.tensor %r
// CHECK-NEXT:      hpacml_rt.check_indices %p : !hpacml.mapping<5xf64>
// CHECK-NEXT:      hpacml_rt.check_indices %r : !hpacml.mapping<5xf64>
// CHECK-NEXT:      hpacml.infer "two"
// CHECK-NEXT:      scf.if %done {
// CHECK-NEXT:        hpacml.scatter [[P]] into %p
// CHECK-NEXT:        hpacml.scatter [[Q]] into %q
// CHECK-NEXT:        hpacml.scatter [[R]] into %r
// CHECK-NEXT:      } else {
// CHECK:         } else {
// Collecting writes nothing: the gathers check their own indices.
// CHECK-NOT:       hpacml_rt.check_indices
// CHECK:           hpacml.collect "two"
// CHECK-NEXT:    }

// One output: its scatter checks.

func.func @one(%t: memref<8xf64>, %a: memref<5xi64>) {
  %in = hpacml.map to @point(%t[0 : 5]) : memref<8xf64> -> !hpacml.mapping<5xf64>
  %p = hpacml.map from @point(%t[*%a[0 : 5]]) : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<5xf64>
  hpacml.ml infer in(%in : !hpacml.mapping<5xf64>) out(%p : !hpacml.mapping<5xf64>) label "one" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @one(
// CHECK-NOT:     hpacml_rt.check_indices
// CHECK:         hpacml.scatter %y into %p

// `inout` counts as an output.

func.func @inout(%t: memref<8xf64>, %a: memref<5xi64>) {
  %p = hpacml.map inout @point(%t[*%a[0 : 2]]) : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<2xf64>
  %q = hpacml.map inout @point(%t[6 : 8]) : memref<8xf64> -> !hpacml.mapping<2xf64>
  hpacml.ml infer inout(%p, %q : !hpacml.mapping<2xf64>, !hpacml.mapping<2xf64>) label "inout" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @inout(
// CHECK:         hpacml.gather %q
// CHECK:         hpacml_rt.check_indices %p : !hpacml.mapping<2xf64>
// CHECK-NEXT:    hpacml.infer "inout"
// CHECK-NEXT:    scf.if %{{.*}} {
// CHECK-NEXT:    hpacml.scatter
