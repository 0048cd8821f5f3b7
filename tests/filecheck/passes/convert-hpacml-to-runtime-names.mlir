// Names that are taken.

// RUN: hpacml-opt %s -p convert-hpacml-to-runtime | filecheck %s

func.func @heat_body(%t: memref<9xf32>, %n: index) {
  %ms = hpacml.body "heat" {
    %v = memref.load %t[%n] : memref<9xf32>
    memref.store %v, %t[%n] : memref<9xf32>
  }
  func.return
}

// CHECK-LABEL: func.func @heat_body(
// CHECK-NEXT:    func.call @[[BODY:heat_body_\w+]](%t, %n)
// CHECK:       func.func private @[[BODY]](
