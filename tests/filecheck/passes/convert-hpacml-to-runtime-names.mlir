// Names of bodies: letters, digits and underscores, and none that is taken, by what symbol ever.

// RUN: hpacml-opt %s -p hpacml-expand-ml,hpacml-resolve-slices,convert-hpacml-to-loops,convert-hpacml-to-runtime | filecheck %s

hpacml.functor @f : [i] = ([i])

"memref.global"() <{sym_name = "heat_body_1", sym_visibility = "private", type = memref<9xf32>, initial_value}> : () -> ()

func.func @heat_body(%t: memref<9xf32>, %n: index) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect inout(%a : !hpacml.mapping<9xf32>) label "heat" {
    %v = memref.load %t[%n] : memref<9xf32>
    memref.store %v, %t[%n] : memref<9xf32>
  }
  hpacml.ml collect inout(%a : !hpacml.mapping<9xf32>) label "W\C3\A4rme 2.0" {
    %v = memref.load %t[%n] : memref<9xf32>
    memref.store %v, %t[%n] : memref<9xf32>
  }
  func.return
}

// CHECK-LABEL: func.func @heat_body(
// CHECK:         func.call @heat_body_2(%t, %n)
// CHECK:         func.call @W_rme_2_0_body(%t, %n)
// CHECK:       func.func private @heat_body_2(%t: memref<9xf32>, %n: index) attributes {llvm.linkage = #llvm.linkage<"internal">} {
// CHECK:       func.func private @W_rme_2_0_body(%t: memref<9xf32>, %n: index) attributes {llvm.linkage = #llvm.linkage<"internal">} {
