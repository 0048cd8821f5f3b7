// RUN: hpacml-opt %s -p canonicalize --split-input-file | filecheck %s

// Constant numbers become part of a map, maps that are then the same are one, and one that nobody uses is gone.

hpacml.functor @f : [i, 0:2] = ([i], [i + 1])
func.func @ranges(%t: memref<?xf32>, %u: memref<?xf32>, %n: index) {
  %five = arith.constant 5 : index
  %unused = hpacml.map to @f(%t[0 : %n]) : memref<?xf32> -> !hpacml.mapping<?x2xf32>
  %a = hpacml.map to @f(%t[0 : %five]) : memref<?xf32> -> !hpacml.mapping<?x2xf32>
  %b = hpacml.map to @f(%t[0 : 5]) : memref<?xf32> -> !hpacml.mapping<5x2xf32>
  %c = hpacml.map from @f(%u[0 : %n : %five]) : memref<?xf32> -> !hpacml.mapping<?x2xf32>
  %x = hpacml.tensor %a : !hpacml.mapping<?x2xf32> -> memref<?x2xf32>
  hpacml.gather %a into %x : !hpacml.mapping<?x2xf32>, memref<?x2xf32>
  hpacml.gather %b into %x : !hpacml.mapping<5x2xf32>, memref<?x2xf32>
  hpacml.scatter %x into %c : memref<?x2xf32>, !hpacml.mapping<?x2xf32>
  func.return
}

// CHECK-LABEL: func.func @ranges
// CHECK-NEXT: %a = hpacml.map to @f(%t[0 : 5]) : memref<?xf32> -> !hpacml.mapping<5x2xf32>
// CHECK-NEXT: %c = hpacml.map from @f(%u[0 : %n : 5]) : memref<?xf32> -> !hpacml.mapping<?x2xf32>
// CHECK-NEXT: %x = hpacml.tensor %a
// CHECK-NEXT: hpacml.gather %a into %x
// CHECK-NEXT: hpacml.gather %a into %x
// CHECK-NEXT: hpacml.scatter %x into %c

// -----

// Indices and `unchecked` stay; maps that differ in them are two.

hpacml.functor @f : [i] = ([i])
func.func @indirect(%t: memref<?xf32>, %idx: memref<?xi32>, %x: memref<?xf32>) {
  %three = arith.constant 3 : index
  %a = hpacml.map to @f(%t[*%idx[0 : %three]]) unchecked : memref<?xf32>, memref<?xi32> -> !hpacml.mapping<?xf32>
  %b = hpacml.map to @f(%t[*%idx[0 : 3]]) : memref<?xf32>, memref<?xi32> -> !hpacml.mapping<3xf32>
  hpacml.gather %a into %x : !hpacml.mapping<?xf32>, memref<?xf32>
  hpacml.gather %b into %x : !hpacml.mapping<3xf32>, memref<?xf32>
  func.return
}

// CHECK-LABEL: func.func @indirect
// CHECK: %a = hpacml.map to @f(%t[*%idx[0 : 3]]) unchecked : memref<?xf32>, memref<?xi32> -> !hpacml.mapping<3xf32>
// CHECK-NEXT: %b = hpacml.map to @f(%t[*%idx[0 : 3]]) : memref<?xf32>, memref<?xi32> -> !hpacml.mapping<3xf32>

// -----

// What a return or a call fixes the type of stays as it is.

hpacml.functor @f : [i] = ([i])
func.func @typed(%t: memref<?xf32>) -> !hpacml.mapping<?xf32> {
  %three = arith.constant 3 : index
  %a = hpacml.map to @f(%t[0 : %three]) : memref<?xf32> -> !hpacml.mapping<?xf32>
  func.return %a : !hpacml.mapping<?xf32>
}

// CHECK-LABEL: func.func @typed
// CHECK: hpacml.map to @f(%t[0 : %three])

// -----

// A range that cannot be right stays as it is: the guard says so when the program gets there.

hpacml.functor @f : [i] = ([i])
func.func @wrong(%t: memref<4xf32>) {
  %five = arith.constant 5 : index
  %a = hpacml.map to @f(%t[0 : %five]) : memref<4xf32> -> !hpacml.mapping<?xf32>
  hpacml_rt.check_indices %a : !hpacml.mapping<?xf32>
  func.return
}

// CHECK-LABEL: func.func @wrong
// CHECK: hpacml.map to @f(%t[0 : %five])

// -----

// Constant conditions decide the mode of a region, or leave only its body.

func.func @conditions(%in: !hpacml.mapping<?xf32>, %out: !hpacml.mapping<?xf32>, %c: i1) {
  %true = arith.constant true
  %false = arith.constant false
  hpacml.ml predicated(%true) if(%c) in(%in : !hpacml.mapping<?xf32>) out(%out : !hpacml.mapping<?xf32>) label "r" model "m" batch 8 on_error "accurate" database "d" sample <every: 2> units <t: "K"> {
    "test.op"() {a} : () -> ()
  }
  hpacml.ml predicated(%false) if(%true) inout(%in : !hpacml.mapping<?xf32>) label "s" sample <every: 2> units <t: "K"> {
    "test.op"() {b} : () -> ()
  }
  hpacml.ml predicated(%c) if(%false) in(%in : !hpacml.mapping<?xf32>) out(%out : !hpacml.mapping<?xf32>) label "t" {
    "test.op"() {c} : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @conditions
// CHECK-NEXT: hpacml.ml infer if(%c) in(%in : !hpacml.mapping<?xf32>) out(%out : !hpacml.mapping<?xf32>) label "r" model "m" batch 8 on_error "accurate" database "d" units <t: "K"> {
// CHECK-NEXT: "test.op"() {a}
// CHECK-NEXT: }
// CHECK-NEXT: hpacml.ml collect inout(%in : !hpacml.mapping<?xf32>) label "s" sample <every: 2> units <t: "K"> {
// CHECK-NEXT: "test.op"() {b}
// CHECK-NEXT: }
// CHECK-NEXT: "test.op"() {c}
// CHECK-NEXT: func.return
