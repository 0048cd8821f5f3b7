// Bodies in bodies: each is one function, however many ways lead to it.

// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime | filecheck %s

hpacml.functor @point : [i] = ([i])

func.func @nested(%t: memref<9xf32>, %c: i1) {
  %a = hpacml.map inout @point(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect if(%c) inout(%a : !hpacml.mapping<9xf32>) label "outer" {
    %b = hpacml.map inout @point(%t[0 : 3]) : memref<9xf32> -> !hpacml.mapping<3xf32>
    hpacml.ml collect inout(%b : !hpacml.mapping<3xf32>) label "inner" {
      %zero = arith.constant 0 : index
      %v = memref.load %t[%zero] : memref<9xf32>
      memref.store %v, %t[%zero] : memref<9xf32>
    }
  }
  func.return
}

// CHECK-LABEL: func.func @nested(
// CHECK:         func.call @[[OUTER:outer_body\w*]](%t)
// CHECK:         func.call @hpacml_collect
// CHECK:       } else {
// CHECK-NEXT:    func.call @[[OUTER]](%t)
// CHECK-DAG:   func.func private @inner_body(%t: memref<9xf32>)
// CHECK-DAG:   func.func private @[[OUTER]](%t: memref<9xf32>)
// CHECK-DAG:   func.call @inner_body(%t)
