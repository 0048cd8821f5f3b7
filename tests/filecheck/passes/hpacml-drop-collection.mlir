// RUN: hpacml-opt %s -p hpacml-drop-collection --split-input-file --verify-diagnostics | filecheck %s

hpacml.functor @f : [i, 0:1] = ([i])

func.func @modes(%t: memref<?xf32>, %c: i1, %d: i1) {
  %in = hpacml.map to @f(%t[0 : 8]) : memref<?xf32> -> !hpacml.mapping<8x1xf32>
  %out = hpacml.map from @f(%t[0 : 8]) : memref<?xf32> -> !hpacml.mapping<8x1xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>) label "r" model "m.pt2" {
    "test.op"() : () -> ()
  }
  hpacml.ml predicated(%c) in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>)
    label "s" model "m.pt2" batch 4 on_error "raise" database "d.h5" sample <every: 10> units <t: "K"> {
    "test.op"() : () -> ()
  }
  hpacml.ml predicated(%c) if(%d) in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>) label "u" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @modes
// CHECK:         hpacml.ml infer in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>) label "r" model "m.pt2" on_error "accurate" {
// CHECK-NEXT:      "test.op"
// CHECK:         hpacml.ml predicated(%c) in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>) label "s" model "m.pt2" batch 4 on_error "accurate" {
// CHECK-NEXT:      "test.op"
// CHECK:         hpacml.ml predicated(%c) if(%d) in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>) label "u" on_error "accurate" {
// CHECK-NEXT:      "test.op"

// -----

hpacml.functor @f : [i, 0:1] = ([i])

func.func @collects(%t: memref<?xf32>) {
  %in = hpacml.map to @f(%t[0 : 8]) : memref<?xf32> -> !hpacml.mapping<8x1xf32>
  %out = hpacml.map from @f(%t[0 : 8]) : memref<?xf32> -> !hpacml.mapping<8x1xf32>
  hpacml.ml collect in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: the region 'r' collects, and code that stands alone has no databases: make it predicated, or leave it out

// -----

hpacml.functor @f : [i, 0:1] = ([i])

func.func @checks(%t: memref<?xf32>) {
  %in = hpacml.map to @f(%t[0 : 8]) : memref<?xf32> -> !hpacml.mapping<8x1xf32>
  %out = hpacml.map from @f(%t[0 : 8]) : memref<?xf32> -> !hpacml.mapping<8x1xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<8x1xf32>) out(%out : !hpacml.mapping<8x1xf32>) verify <every: 2, tolerance: 0.5> label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: the region 'r' has guards, checks, bounds or a projection, which need hpacml's runtime: code that stands alone has none
