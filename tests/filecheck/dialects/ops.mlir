// Every operation of the dialect, printed and parsed in custom and in generic form.

// RUN: hpacml-opt %s | hpacml-opt | filecheck %s
// RUN: hpacml-opt %s --print-op-generic | hpacml-opt | filecheck %s
// RUN: hpacml-opt %s --print-op-generic | filecheck %s --check-prefix GENERIC

hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])
hpacml.functor @point : [i, j, 0:1] = ([i, j])
hpacml.functor @pair : [i, 0:2] = ([i], [i])
hpacml.functor @block(m) : [i, 0:m] = ([i * m : i * m + m])
hpacml.functor @affine(a, b) : [i, 0:2] = ([a * i + 1], [i + b])
hpacml.functor @canonical : [i, 0:1] = ([1 - 2 * -1 * i + 2 - -2 * i - 3 * i])
hpacml.functor @steps : [i, 0:2, 8:2:-3] = ([i, 0:7:2])
hpacml.functor @inferred : [f, i] = ([i, k, 0:2], [i, 1, 3:5])
hpacml.functor @scalar : [0:1] = ([])
hpacml.functor @noted : [i] = ([i]) {note = "kept"}

// CHECK:       hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])
// CHECK-NEXT:  hpacml.functor @point : [i, j, 0:1] = ([i, j])
// CHECK-NEXT:  hpacml.functor @pair : [i, 0:2] = ([i], [i])
// CHECK-NEXT:  hpacml.functor @block(m) : [i, 0:m] = ([i * m : i * m + m])
// CHECK-NEXT:  hpacml.functor @affine(a, b) : [i, 0:2] = ([a * i + 1], [b + i])
// CHECK-NEXT:  hpacml.functor @canonical : [i, 0:1] = ([i + 3])
// CHECK-NEXT:  hpacml.functor @steps : [i, 0:2, 8:2:-3] = ([i, 0:7:2])
// CHECK-NEXT:  hpacml.functor @inferred : [f, i] = ([i, k, 0:2], [i, 1, 3:5])
// CHECK-NEXT:  hpacml.functor @scalar : [0:1] = ([])
// CHECK-NEXT:  hpacml.functor @noted : [i] = ([i]) {note = "kept"}

// Ranges: constants and values, steps, single indices, several targets, parameters, layouts.
func.func @maps(%t: memref<?x?xf32, strided<[?, ?], offset: ?>>, %x: memref<?xf64>, %s: memref<8x9xi32>,
                %z: memref<f32>, %n: index, %m: index, %k: index) {
  %a = hpacml.map to @stencil(%t[1 : %n, 1 : %m]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x5xf32>
  %b = hpacml.map from @point(%t[%n : 0 : -1, 0 : %m : %k]) {text = "point(t[n:0:-1, 0:m:k])"} : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x1xf32>
  %c = hpacml.map inout @block(%x[0 : %n]) params(%k) : memref<?xf64> -> !hpacml.mapping<?x?xf64>
  %d = hpacml.map to @affine(%x[0 : 4]) params(%k, %m) : memref<?xf64> -> !hpacml.mapping<4x2xf64>
  %e = hpacml.map to @point(%t[0 : 9, %k]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<9x1x1xf32>
  %f = hpacml.map from @point(%t[2 : 9, 3]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<7x1x1xf32>
  %g = hpacml.map to @steps(%s[0 : 8 : 2, 0 : 9 : 1]) {note = "kept"} : memref<8x9xi32> -> !hpacml.mapping<4x2x2xi32>
  %h = hpacml.map to @pair(%x[0 : %n], %x[%k : %m]) : memref<?xf64>, memref<?xf64> -> !hpacml.mapping<?x2xf64>
  %i = hpacml.map to @scalar(%z[]) : memref<f32> -> !hpacml.mapping<1xf32>
  func.return
}

// CHECK-LABEL: func.func @maps(%t: memref<?x?xf32, strided<[?, ?], offset: ?>>, %x: memref<?xf64>, %s: memref<8x9xi32>, %z: memref<f32>, %n: index, %m: index, %k: index) {
// CHECK-NEXT:    %a = hpacml.map to @stencil(%t[1 : %n, 1 : %m]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x5xf32>
// CHECK-NEXT:    %b = hpacml.map from @point(%t[%n : 0 : -1, 0 : %m : %k]) {text = "point(t[n:0:-1, 0:m:k])"} : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x1xf32>
// CHECK-NEXT:    %c = hpacml.map inout @block(%x[0 : %n]) params(%k) : memref<?xf64> -> !hpacml.mapping<?x?xf64>
// CHECK-NEXT:    %d = hpacml.map to @affine(%x[0 : 4]) params(%k, %m) : memref<?xf64> -> !hpacml.mapping<4x2xf64>
// CHECK-NEXT:    %e = hpacml.map to @point(%t[0 : 9, %k]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<9x1x1xf32>
// CHECK-NEXT:    %f = hpacml.map from @point(%t[2 : 9, 3]) : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<7x1x1xf32>
// CHECK-NEXT:    %g = hpacml.map to @steps(%s[0 : 8 : 2, 0 : 9]) {note = "kept"} : memref<8x9xi32> -> !hpacml.mapping<4x2x2xi32>
// CHECK-NEXT:    %h = hpacml.map to @pair(%x[0 : %n], %x[%k : %m]) : memref<?xf64>, memref<?xf64> -> !hpacml.mapping<?x2xf64>
// CHECK-NEXT:    %i = hpacml.map to @scalar(%z[]) : memref<f32> -> !hpacml.mapping<1xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @tensors(%t: memref<?x?xf32>, %n: index) {
  %in = hpacml.map to @stencil(%t[1 : %n, 1 : 8]) : memref<?x?xf32> -> !hpacml.mapping<?x7x5xf32>
  %out = hpacml.map from @stencil(%t[1 : %n : 3, 1 : 8 : 3]) : memref<?x?xf32> -> !hpacml.mapping<?x3x5xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<?x7x5xf32> -> memref<?x7x5xf32>
  %y = hpacml.tensor fresh %out : !hpacml.mapping<?x3x5xf32> -> memref<?x3x5xf32>
  hpacml.gather %in into %x : !hpacml.mapping<?x7x5xf32>, memref<?x7x5xf32>
  hpacml.gather %out into %y : !hpacml.mapping<?x3x5xf32>, memref<?x3x5xf32>
  hpacml.scatter %y into %out : memref<?x3x5xf32>, !hpacml.mapping<?x3x5xf32>
  func.return
}

// CHECK-LABEL: func.func @tensors(%t: memref<?x?xf32>, %n: index) {
// CHECK-NEXT:    %in = hpacml.map to @stencil(%t[1 : %n, 1 : 8]) : memref<?x?xf32> -> !hpacml.mapping<?x7x5xf32>
// CHECK-NEXT:    %out = hpacml.map from @stencil(%t[1 : %n : 3, 1 : 8 : 3]) : memref<?x?xf32> -> !hpacml.mapping<?x3x5xf32>
// CHECK-NEXT:    %x = hpacml.tensor %in : !hpacml.mapping<?x7x5xf32> -> memref<?x7x5xf32>
// CHECK-NEXT:    %y = hpacml.tensor fresh %out : !hpacml.mapping<?x3x5xf32> -> memref<?x3x5xf32>
// CHECK-NEXT:    hpacml.gather %in into %x : !hpacml.mapping<?x7x5xf32>, memref<?x7x5xf32>
// CHECK-NEXT:    hpacml.gather %out into %y : !hpacml.mapping<?x3x5xf32>, memref<?x3x5xf32>
// CHECK-NEXT:    hpacml.scatter %y into %out : memref<?x3x5xf32>, !hpacml.mapping<?x3x5xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @regions(%t: memref<?x?xf32>, %n: index, %c: i1, %d: i1) {
  %in = hpacml.map to @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
  %out = hpacml.map from @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
  %io = hpacml.map inout @point(%t[0 : 2, 0 : 3]) : memref<?x?xf32> -> !hpacml.mapping<2x3x1xf32>
  hpacml.ml infer in(%in) out(%out) label "least" : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32> {
  ^bb0:
  }
  hpacml.ml collect inout(%io) database "d.h5" label "one inout" : !hpacml.mapping<2x3x1xf32> {
    "test.op"(%t) : (memref<?x?xf32>) -> ()
  }
  hpacml.ml predicated(%c) if(%d) in(%in, %in) out(%out, %out) inout(%io) model "m.pt2" database "d.h5" label "most" batch 4096 attributes {note = "kept"} : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<2x3x1xf32> {
    hpacml.ml infer if(%d) in(%in) out(%out) model @net database @base label "inner" batch 0 : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32> {
      "test.op"() : () -> ()
    }
  }
  func.return
}

// CHECK-LABEL: func.func @regions(%t: memref<?x?xf32>, %n: index, %c: i1, %d: i1) {
// CHECK-NEXT:    %in = hpacml.map to @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
// CHECK-NEXT:    %out = hpacml.map from @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
// CHECK-NEXT:    %io = hpacml.map inout @point(%t[0 : 2, 0 : 3]) : memref<?x?xf32> -> !hpacml.mapping<2x3x1xf32>
// CHECK-NEXT:    hpacml.ml infer in(%in) out(%out) label "least" : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32> {
// CHECK-NEXT:    ^bb0:
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.ml collect inout(%io) database "d.h5" label "one inout" : !hpacml.mapping<2x3x1xf32> {
// CHECK-NEXT:      "test.op"(%t) : (memref<?x?xf32>) -> ()
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.ml predicated(%c) if(%d) in(%in, %in) out(%out, %out) inout(%io) model "m.pt2" database "d.h5" label "most" batch 4096 attributes {note = "kept"} : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<2x3x1xf32> {
// CHECK-NEXT:      hpacml.ml infer if(%d) in(%in) out(%out) model @net database @base label "inner" batch 0 : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32> {
// CHECK-NEXT:        "test.op"() : () -> ()
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @lowered(%x: memref<?x5xf32>, %y: memref<?xf64>, %ok: i1, %n: index) {
  %ms = hpacml.body "heat" {
    "test.op"(%x) : (memref<?x5xf32>) -> ()
  }
  hpacml.infer "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
  hpacml.infer "most" model "m.pt2" batch 4096 maps ["to: f", "from: g"] ins(%x, %x : memref<?x5xf32>, memref<?x5xf32>) outs(%y : memref<?xf64>) {note = "kept"}
  hpacml.infer "named" model @net ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
  hpacml.collect "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms
  hpacml.collect "most" database @base maps ["to: f", "from: g"] ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms {note = "kept"}
  hpacml.check_map %ok to "f: [i] = ([i - 1])" names ["t"] targets [#hpacml.target<[1 : 9]>] sizes(%n) bounds() params() of []
  hpacml.check_map %ok inout "f: [i, 0:m] = ([i * m : i * m + m, k])" names ["t"] targets [#hpacml.target<[1 : ? : 2, ?]>] sizes(%n, %n) bounds(%n, %n) params(%n) of ["m"] text "f(t[1:n:2, k])"
  func.return
}

// CHECK-LABEL: func.func @lowered(%x: memref<?x5xf32>, %y: memref<?xf64>, %ok: i1, %n: index) {
// CHECK-NEXT:    %ms = hpacml.body "heat" {
// CHECK-NEXT:      "test.op"(%x) : (memref<?x5xf32>) -> ()
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.infer "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
// CHECK-NEXT:    hpacml.infer "most" model "m.pt2" batch 4096 maps ["to: f", "from: g"] ins(%x, %x : memref<?x5xf32>, memref<?x5xf32>) outs(%y : memref<?xf64>) {note = "kept"}
// CHECK-NEXT:    hpacml.infer "named" model @net ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
// CHECK-NEXT:    hpacml.collect "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms
// CHECK-NEXT:    hpacml.collect "most" database @base maps ["to: f", "from: g"] ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms {note = "kept"}
// CHECK-NEXT:    hpacml.check_map %ok to "f: [i] = ([i - 1])" names ["t"] targets [#hpacml.target<[1 : 9]>] sizes(%n) bounds() params() of []
// CHECK-NEXT:    hpacml.check_map %ok inout "f: [i, 0:m] = ([i * m : i * m + m, k])" names ["t"] targets [#hpacml.target<[1 : ? : 2, ?]>] sizes(%n, %n) bounds(%n, %n) params(%n) of ["m"] text "f(t[1:n:2, k])"
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @views(%x: memref<?x5xf32>, %y: memref<?xf64>, %v: memref<?xf32, strided<[5], offset: ?>>, %w: memref<?x4xf32, strided<[5, 1], offset: 1>>,
                 %n: index) {
  hpacml.pack %v into %x at %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x5xf32>
  hpacml.pack %v into %y at %n features [] : memref<?xf32, strided<[5], offset: ?>>, memref<?xf64>
  hpacml.unpack %w from %x at %n features [1] : memref<?x4xf32, strided<[5, 1], offset: 1>>, memref<?x5xf32>
  hpacml.fused_gather %v, %w into %x at %n, %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
  hpacml.fused_scatter %w from %x at %n features [1] {note = "kept"} : memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
  func.return
}

// CHECK-LABEL: func.func @views(%x: memref<?x5xf32>, %y: memref<?xf64>, %v: memref<?xf32, strided<[5], offset: ?>>, %w: memref<?x4xf32, strided<[5, 1], offset: 1>>, %n: index) {
// CHECK-NEXT:    hpacml.pack %v into %x at %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x5xf32>
// CHECK-NEXT:    hpacml.pack %v into %y at %n features [] : memref<?xf32, strided<[5], offset: ?>>, memref<?xf64>
// CHECK-NEXT:    hpacml.unpack %w from %x at %n features [1] : memref<?x4xf32, strided<[5, 1], offset: 1>>, memref<?x5xf32>
// CHECK-NEXT:    hpacml.fused_gather %v, %w into %x at %n, %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
// CHECK-NEXT:    hpacml.fused_scatter %w from %x at %n features [1] {note = "kept"} : memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// The generic form, which upstream tools read.

// GENERIC:      "hpacml.functor"() <{sym_name = "stencil", parameters = [], lhs = #hpacml.slice<[i, j, 0:5]>, rhs = [#hpacml.slice<[i - 1, j]>, #hpacml.slice<[i + 1, j]>, #hpacml.slice<[i, j - 1 : j + 2]>]}> : () -> ()
// GENERIC:      "hpacml.functor"() <{sym_name = "block", parameters = ["m"], lhs = #hpacml.slice<[i, 0:m]>, rhs = [#hpacml.slice<[i * m : i * m + m]>]}> : () -> ()
// GENERIC:      %b = "hpacml.map"(%t, %n, %m, %k) <{direction = #hpacml<direction from>, functor = @point, targets = [#hpacml.target<[? : 0 : -1, 0 : ? : ?]>], text = "point(t[n:0:-1, 0:m:k])", operandSegmentSizes = array<i32: 1, 3, 0>}>
// GENERIC-NEXT: %c = "hpacml.map"(%x, %n, %k) <{direction = #hpacml<direction inout>, functor = @block, targets = [#hpacml.target<[0 : ?]>], operandSegmentSizes = array<i32: 1, 1, 1>}>
// GENERIC:      %e = "hpacml.map"(%t, %k) <{direction = #hpacml<direction to>, functor = @point, targets = [#hpacml.target<[0 : 9, ?]>]
// GENERIC:      %y = "hpacml.tensor"(%out) <{fresh}> : (!hpacml.mapping<?x3x5xf32>) -> memref<?x3x5xf32>
// GENERIC-NEXT: "hpacml.gather"(%in, %x) : (!hpacml.mapping<?x7x5xf32>, memref<?x7x5xf32>) -> ()
// GENERIC:      "hpacml.scatter"(%y, %out) : (memref<?x3x5xf32>, !hpacml.mapping<?x3x5xf32>) -> ()
// GENERIC:      "hpacml.ml"(%c, %d, %in, %in, %out, %out, %io) <{mode = #hpacml<mode predicated>, model = "m.pt2", database = "d.h5", label = "most", batch = 4096 : i64, operandSegmentSizes = array<i32: 1, 1, 2, 2, 1>}> ({
// GENERIC-NEXT:   "hpacml.ml"(%d, %in, %out) <{mode = #hpacml<mode infer>, model = @net, database = @base, label = "inner", batch = 0 : i64, operandSegmentSizes = array<i32: 0, 1, 1, 1, 0>}> ({
