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

// Indirect targets: an index array in place of a range, several, nested, beside ranges, of every type of indices, unchecked.

hpacml.functor @rows : [i, 0:3] = ([i, 0:3])
hpacml.functor @cell : [i, 0:1] = ([i, i])

func.func @indirect_maps(%pos: memref<?x3xf32>, %x: memref<?xf64>, %t: memref<8x9xi64>, %idx: memref<?xi32>, %jdx: memref<20xi64, strided<[?]>>,
                         %kdx: memref<4x5xi8>, %n: index, %k: index) {
  %a = hpacml.map from @rows(%pos[*%idx[0 : %n], 0 : 3]) unchecked : memref<?x3xf32>, memref<?xi32> -> !hpacml.mapping<?x3xf32>
  %b = hpacml.map to @inner(%x[*%jdx[*%idx[%k : %n : 2]]]) : memref<?xf64>, memref<20xi64, strided<[?]>>, memref<?xi32> -> !hpacml.mapping<?xf64>
  %c = hpacml.map inout @cell(%t[*%idx[0 : 5], *%jdx[19 : 4 : -3]]) : memref<8x9xi64>, memref<?xi32>, memref<20xi64, strided<[?]>> -> !hpacml.mapping<5x1xi64>
  %d = hpacml.map to @plane(%x[*%kdx[0 : 4, 0 : 5]]) : memref<?xf64>, memref<4x5xi8> -> !hpacml.mapping<4x5xf64>
  %e = hpacml.map to @pair(%x[*%jdx[0 : 6]], %x[%k : %n]) unchecked {note = "kept", text = "pair(x[jdx[0:6]], x[k:n])"} : memref<?xf64>, memref<20xi64, strided<[?]>>, memref<?xf64> -> !hpacml.mapping<6x2xf64>
  %f = hpacml.map to @scaled(%t[*%t[*%kdx[%k, 0 : 4], 3], 0 : 9]) params(%n) unchecked : memref<8x9xi64>, memref<8x9xi64>, memref<4x5xi8> -> !hpacml.mapping<4xi64>
  func.return
}

hpacml.functor @inner : [i] = ([i])
hpacml.functor @plane : [i, j] = ([i, j])
hpacml.functor @scaled(m) : [i] = ([0, i, 3, m])

// CHECK-LABEL: func.func @indirect_maps(%pos: memref<?x3xf32>, %x: memref<?xf64>, %t: memref<8x9xi64>, %idx: memref<?xi32>, %jdx: memref<20xi64, strided<[?]>>, %kdx: memref<4x5xi8>, %n: index, %k: index) {
// CHECK-NEXT:    %a = hpacml.map from @rows(%pos[*%idx[0 : %n], 0 : 3]) unchecked : memref<?x3xf32>, memref<?xi32> -> !hpacml.mapping<?x3xf32>
// CHECK-NEXT:    %b = hpacml.map to @inner(%x[*%jdx[*%idx[%k : %n : 2]]]) : memref<?xf64>, memref<20xi64, strided<[?]>>, memref<?xi32> -> !hpacml.mapping<?xf64>
// CHECK-NEXT:    %c = hpacml.map inout @cell(%t[*%idx[0 : 5], *%jdx[19 : 4 : -3]]) : memref<8x9xi64>, memref<?xi32>, memref<20xi64, strided<[?]>> -> !hpacml.mapping<5x1xi64>
// CHECK-NEXT:    %d = hpacml.map to @plane(%x[*%kdx[0 : 4, 0 : 5]]) : memref<?xf64>, memref<4x5xi8> -> !hpacml.mapping<4x5xf64>
// CHECK-NEXT:    %e = hpacml.map to @pair(%x[*%jdx[0 : 6]], %x[%k : %n]) unchecked {note = "kept", text = "pair(x[jdx[0:6]], x[k:n])"} : memref<?xf64>, memref<20xi64, strided<[?]>>, memref<?xf64> -> !hpacml.mapping<6x2xf64>
// CHECK-NEXT:    %f = hpacml.map to @scaled(%t[*%t[*%kdx[%k, 0 : 4], 3], 0 : 9]) params(%n) unchecked : memref<8x9xi64>, memref<8x9xi64>, memref<4x5xi8> -> !hpacml.mapping<4xi64>
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
  hpacml.scatter add %x into %in : memref<?x7x5xf32>, !hpacml.mapping<?x7x5xf32>
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
// CHECK-NEXT:    hpacml.scatter add %x into %in : memref<?x7x5xf32>, !hpacml.mapping<?x7x5xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @regions(%t: memref<?x?xf32>, %n: index, %c: i1, %d: i1, %s: f64) {
  %in = hpacml.map to @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
  %out = hpacml.map from @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
  %io = hpacml.map inout @point(%t[0 : 2, 0 : 3]) : memref<?x?xf32> -> !hpacml.mapping<2x3x1xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<?x?x1xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) label "least" {
  ^bb0:
  }
  hpacml.ml collect inout(%io : !hpacml.mapping<2x3x1xf32>) label "one inout" database "d.h5" {
    "test.op"(%t) : (memref<?x?xf32>) -> ()
  }
  hpacml.ml collect inout(%io : !hpacml.mapping<2x3x1xf32>) label "sampled" sample <every: 10> units <t: "K"> {
    "test.op"(%t) : (memref<?x?xf32>) -> ()
  }
  hpacml.ml collect in(%in : !hpacml.mapping<?x?x1xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) truth(%in : !hpacml.mapping<?x?x1xf32>) numbers(%s, %s) label "told" meta ["step", "t"] {
    "test.op"(%t) : (memref<?x?xf32>) -> ()
  }
  hpacml.ml predicated(%c) if(%d) in(%in, %in : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>) out(%out, %out : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>) inout(%io : !hpacml.mapping<2x3x1xf32>) label "most" model "m.pt2" batch 4096 on_error "raise" database "d.h5" sample <most: 1000, seed: 42, fraction: 1.0e-05> units <t: "\C2\B0C", "gr\C3\B6\C3\9Fe": "m/s \22"> attributes {note = "kept"} {
    hpacml.ml infer if(%d) in(%in : !hpacml.mapping<?x?x1xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) label "inner" model @net batch 0 on_error "accurate" database @base {
      "test.op"() : () -> ()
    }
  }
  func.return
}

// CHECK-LABEL: func.func @regions(%t: memref<?x?xf32>, %n: index, %c: i1, %d: i1, %s: f64) {
// CHECK-NEXT:    %in = hpacml.map to @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
// CHECK-NEXT:    %out = hpacml.map from @point(%t[0 : %n, 0 : %n]) : memref<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
// CHECK-NEXT:    %io = hpacml.map inout @point(%t[0 : 2, 0 : 3]) : memref<?x?xf32> -> !hpacml.mapping<2x3x1xf32>
// CHECK-NEXT:    hpacml.ml infer in(%in : !hpacml.mapping<?x?x1xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) label "least" {
// CHECK-NEXT:    ^bb0:
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.ml collect inout(%io : !hpacml.mapping<2x3x1xf32>) label "one inout" database "d.h5" {
// CHECK-NEXT:      "test.op"(%t) : (memref<?x?xf32>) -> ()
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.ml collect inout(%io : !hpacml.mapping<2x3x1xf32>) label "sampled" sample <every: 10> units <t: "K"> {
// CHECK-NEXT:      "test.op"(%t) : (memref<?x?xf32>) -> ()
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.ml collect in(%in : !hpacml.mapping<?x?x1xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) truth(%in : !hpacml.mapping<?x?x1xf32>) numbers(%s, %s) label "told" meta ["step", "t"] {
// CHECK-NEXT:      "test.op"(%t) : (memref<?x?xf32>) -> ()
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.ml predicated(%c) if(%d) in(%in, %in : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>) out(%out, %out : !hpacml.mapping<?x?x1xf32>, !hpacml.mapping<?x?x1xf32>) inout(%io : !hpacml.mapping<2x3x1xf32>) label "most" model "m.pt2" batch 4096 on_error "raise" database "d.h5" sample <fraction: 1.0e-05, seed: 42, most: 1000> units <t: "\C2\B0C", "gr\C3\B6\C3\9Fe": "m/s \22"> attributes {note = "kept"} {
// CHECK-NEXT:      hpacml.ml infer if(%d) in(%in : !hpacml.mapping<?x?x1xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) label "inner" model @net batch 0 on_error "accurate" database @base {
// CHECK-NEXT:        "test.op"() : () -> ()
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func private @step(memref<?x5xf32>, index)
func.func private @nothing()

func.func @lowered(%x: memref<?x5xf32>, %y: memref<?xf64>, %ok: i1, %n: index) {
  %ms = hpacml.body "heat" @step(%x, %n : memref<?x5xf32>, index)
  %done = hpacml.infer "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
  %most = hpacml.infer "most" model "m.pt2" batch 4096 on_error "raise" maps ["to: f", "from: g"] ins(%x, %x : memref<?x5xf32>, memref<?x5xf32>) outs(%y : memref<?xf64>) {note = "kept"}
  %named = hpacml.infer "named" model @net ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
  %on_views = hpacml.infer_on_views "most" model @net engine "auto" maps ["to: f", "from: g"] tensors [memref<?x5xf32>, memref<?xf64>] ins(%x, %x : memref<?x5xf32>, memref<?x5xf32>) outs(%y : memref<?xf64>) {note = "kept"}
  hpacml.collect "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms
  hpacml.collect "told" meta ["step"] maps ["to: f", "from: g"] truth ["to: h"] ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) numbers(%ms) time %ms
  %sampled = hpacml.sample "least" <most: 1>
  %taken = hpacml.sample "most" database @base <every: 10, fraction: 0.5, seed: 0, most: 9> {note = "kept"}
  hpacml.collect "most" database @base sample <every: 10> units <t: "K", u: "m/s"> maps ["to: f", "from: g"] ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms {note = "kept"}
  func.return
}

// CHECK-LABEL: func.func @lowered(%x: memref<?x5xf32>, %y: memref<?xf64>, %ok: i1, %n: index) {
// CHECK-NEXT:    %ms = hpacml.body "heat" @step(%x, %n : memref<?x5xf32>, index)
// CHECK-NEXT:    %done = hpacml.infer "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
// CHECK-NEXT:    %most = hpacml.infer "most" model "m.pt2" batch 4096 on_error "raise" maps ["to: f", "from: g"] ins(%x, %x : memref<?x5xf32>, memref<?x5xf32>) outs(%y : memref<?xf64>) {note = "kept"}
// CHECK-NEXT:    %named = hpacml.infer "named" model @net ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>)
// CHECK-NEXT:    %on_views = hpacml.infer_on_views "most" model @net engine "auto" maps ["to: f", "from: g"] tensors [memref<?x5xf32>, memref<?xf64>] ins(%x, %x : memref<?x5xf32>, memref<?x5xf32>) outs(%y : memref<?xf64>) {note = "kept"}
// CHECK-NEXT:    hpacml.collect "least" ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms
// CHECK-NEXT:    hpacml.collect "told" meta ["step"] maps ["to: f", "from: g"] truth ["to: h"] ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) numbers(%ms) time %ms
// CHECK-NEXT:    %sampled = hpacml.sample "least" <most: 1>
// CHECK-NEXT:    %taken = hpacml.sample "most" database @base <every: 10, fraction: 0.5, seed: 0, most: 9> {note = "kept"}
// CHECK-NEXT:    hpacml.collect "most" database @base sample <every: 10> units <t: "K", u: "m/s"> maps ["to: f", "from: g"] ins(%x : memref<?x5xf32>) outs(%y : memref<?xf64>) time %ms {note = "kept"}
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @points(%mask: memref<?x?xi8>, %at: memref<?xi64>) {
  %rejected = hpacml.count_points "heat" %mask : memref<?x?xi8>
  %some = hpacml.count_points "heat" %mask : memref<?x?xi8> positions %at : memref<?xi64> {note = "kept"}
  func.return
}

// CHECK-LABEL: func.func @points
// CHECK-NEXT:    %rejected = hpacml.count_points "heat" %mask : memref<?x?xi8>
// CHECK-NEXT:    %some = hpacml.count_points "heat" %mask : memref<?x?xi8> positions %at : memref<?xi64> {note = "kept"}

func.func @domains(%low: memref<?xf64>, %high: memref<5xf64>, %mean: memref<?xf64>, %whitening: memref<?x?xf64>) {
  %known = hpacml.domain "heat" into(%low, %high : memref<?xf64>, memref<5xf64>)
  %near = hpacml.domain "heat" model @net on_error "raise" margin 0.5 into(%low, %low : memref<?xf64>, memref<?xf64>) distance(%mean, %whitening : memref<?xf64>, memref<?x?xf64>) {note = "kept"}
  func.return
}

// CHECK-LABEL: func.func @domains
// CHECK-NEXT:    %known = hpacml.domain "heat" into(%low, %high : memref<?xf64>, memref<5xf64>)
// CHECK-NEXT:    %near = hpacml.domain "heat" model @net on_error "raise" margin 5.000000e-01 into(%low, %low : memref<?xf64>, memref<?xf64>) distance(%mean, %whitening : memref<?xf64>, memref<?x?xf64>) {note = "kept"}
func.func @checks(%y: memref<?x1xf32>, %z: memref<?xf64>, %mask: memref<?xi8>) {
  %due, %open = hpacml.count_inference "heat" <tolerance: 2, metric: max, every: 1, then: warn, window: 3> maps ["to: f", "from: g"] {note = "kept"}
  %good = hpacml.verify "heat" <every: 100, tolerance: 0.01> ins(%y : memref<?x1xf32>) against(%y : memref<?x1xf32>)
  %some = hpacml.verify "heat" <every: 7, tolerance: 1.0e-05, metric: mape, then: raise> maps ["to: f", "from: g"] ins(%y, %z : memref<?x1xf32>, memref<?xf64>) against(%y, %z : memref<?x1xf32>, memref<?xf64>) where(%mask : memref<?xi8>) {note = "kept"}
  func.return
}

// CHECK-LABEL: func.func @checks
// CHECK-NEXT:    %due, %open = hpacml.count_inference "heat" <every: 1, tolerance: 2.0, metric: max, window: 3, then: warn> maps ["to: f", "from: g"] {note = "kept"}
// CHECK-NEXT:    %good = hpacml.verify "heat" <every: 100, tolerance: 0.01, metric: rmse, window: 20, then: accurate> ins(%y : memref<?x1xf32>) against(%y : memref<?x1xf32>)
// CHECK-NEXT:    %some = hpacml.verify "heat" <every: 7, tolerance: 1.0e-05, metric: mape, window: 20, then: raise> maps ["to: f", "from: g"] ins(%y, %z : memref<?x1xf32>, memref<?xf64>) against(%y, %z : memref<?x1xf32>, memref<?xf64>) where(%mask : memref<?xi8>) {note = "kept"}

func.func @views(%x: memref<?x5xf32>, %y: memref<?xf64>, %v: memref<?xf32, strided<[5], offset: ?>>, %w: memref<?x4xf32, strided<[5, 1], offset: 1>>,
                 %n: index) {
  hpacml.pack %v into %x at %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x5xf32>
  hpacml.pack %v into %y at %n features [] : memref<?xf32, strided<[5], offset: ?>>, memref<?xf64>
  hpacml.unpack %w from %x at %n features [1] : memref<?x4xf32, strided<[5, 1], offset: 1>>, memref<?x5xf32>
  hpacml.unpack add %v from %y at %n features [] : memref<?xf32, strided<[5], offset: ?>>, memref<?xf64>
  hpacml.fused_gather %v, %w into %x at %n, %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
  hpacml.fused_scatter %w from %x at %n features [1] {note = "kept"} : memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
  func.return
}

// CHECK-LABEL: func.func @views(%x: memref<?x5xf32>, %y: memref<?xf64>, %v: memref<?xf32, strided<[5], offset: ?>>, %w: memref<?x4xf32, strided<[5, 1], offset: 1>>, %n: index) {
// CHECK-NEXT:    hpacml.pack %v into %x at %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x5xf32>
// CHECK-NEXT:    hpacml.pack %v into %y at %n features [] : memref<?xf32, strided<[5], offset: ?>>, memref<?xf64>
// CHECK-NEXT:    hpacml.unpack %w from %x at %n features [1] : memref<?x4xf32, strided<[5, 1], offset: 1>>, memref<?x5xf32>
// CHECK-NEXT:    hpacml.unpack add %v from %y at %n features [] : memref<?xf32, strided<[5], offset: ?>>, memref<?xf64>
// CHECK-NEXT:    hpacml.fused_gather %v, %w into %x at %n, %n features [1] : memref<?xf32, strided<[5], offset: ?>>, memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
// CHECK-NEXT:    hpacml.fused_scatter %w from %x at %n features [1] {note = "kept"} : memref<?x4xf32, strided<[5, 1], offset: 1>> -> memref<?x5xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @indirect_views(%rows: memref<?x3x?xf32, strided<[0, 1, 3]>>, %idx: memref<?x3xi32, strided<[1, 0]>>, %z: memref<5xf16>, %one: memref<i64>,
                          %plane: memref<4x8x9xbf16>, %u: memref<4xi8>, %x: memref<?x4xf32>, %y: memref<4xf64>, %n: index) {
  %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32, strided<[0, 1, 3]>>[memref<?x3xi32, strided<[1, 0]>>] -> !hpacml.indirect<?x3xf32>
  %w = hpacml.indirect %z[%one] : memref<5xf16>[memref<i64>] -> !hpacml.indirect<f16>
  %p = hpacml.indirect %plane[%u, %u] {note = "kept"} : memref<4x8x9xbf16>[memref<4xi8>, memref<4xi8>] -> !hpacml.indirect<4xbf16>
  %table = hpacml.indirect %idx[%u] : memref<?x3xi32, strided<[1, 0]>>[memref<4xi8>] -> !hpacml.indirect<?xi32>
  %q = hpacml.indirect %plane[%table, %u] : memref<4x8x9xbf16>[!hpacml.indirect<?xi32>, memref<4xi8>] -> !hpacml.indirect<4xbf16>
  %watch = hpacml_rt.watch
  %watched = hpacml.indirect %z[%one] watched by %watch {note = "kept"} : memref<5xf16>[memref<i64>] -> !hpacml.indirect<f16>
  hpacml.pack %v into %x at %n features [1] : !hpacml.indirect<?x3xf32>, memref<?x4xf32>
  hpacml.unpack %p from %y at %n features [] : !hpacml.indirect<4xbf16>, memref<4xf64>
  hpacml.fused_gather %v, %u into %x at %n, %n features [1] : !hpacml.indirect<?x3xf32>, memref<4xi8> -> memref<?x4xf32>
  hpacml.fused_scatter %p, %q from %x at %n, %n features [1] : !hpacml.indirect<4xbf16>, !hpacml.indirect<4xbf16> -> memref<?x4xf32>
  hpacml.fused_scatter add %q from %y at %n features [] {note = "kept"} : !hpacml.indirect<4xbf16> -> memref<4xf64>
  func.return
}

// CHECK-LABEL: func.func @indirect_views(%rows: memref<?x3x?xf32, strided<[0, 1, 3]>>, %idx: memref<?x3xi32, strided<[1, 0]>>, %z: memref<5xf16>, %one: memref<i64>, %plane: memref<4x8x9xbf16>, %u: memref<4xi8>, %x: memref<?x4xf32>, %y: memref<4xf64>, %n: index) {
// CHECK-NEXT:    %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32, strided<[0, 1, 3]>>[memref<?x3xi32, strided<[1, 0]>>] -> !hpacml.indirect<?x3xf32>
// CHECK-NEXT:    %w = hpacml.indirect %z[%one] : memref<5xf16>[memref<i64>] -> !hpacml.indirect<f16>
// CHECK-NEXT:    %p = hpacml.indirect %plane[%u, %u] {note = "kept"} : memref<4x8x9xbf16>[memref<4xi8>, memref<4xi8>] -> !hpacml.indirect<4xbf16>
// CHECK-NEXT:    %table = hpacml.indirect %idx[%u] : memref<?x3xi32, strided<[1, 0]>>[memref<4xi8>] -> !hpacml.indirect<?xi32>
// CHECK-NEXT:    %q = hpacml.indirect %plane[%table, %u] : memref<4x8x9xbf16>[!hpacml.indirect<?xi32>, memref<4xi8>] -> !hpacml.indirect<4xbf16>
// CHECK-NEXT:    %watch = hpacml_rt.watch
// CHECK-NEXT:    %watched = hpacml.indirect %z[%one] watched by %watch {note = "kept"} : memref<5xf16>[memref<i64>] -> !hpacml.indirect<f16>
// CHECK-NEXT:    hpacml.pack %v into %x at %n features [1] : !hpacml.indirect<?x3xf32>, memref<?x4xf32>
// CHECK-NEXT:    hpacml.unpack %p from %y at %n features [] : !hpacml.indirect<4xbf16>, memref<4xf64>
// CHECK-NEXT:    hpacml.fused_gather %v, %u into %x at %n, %n features [1] : !hpacml.indirect<?x3xf32>, memref<4xi8> -> memref<?x4xf32>
// CHECK-NEXT:    hpacml.fused_scatter %p, %q from %x at %n, %n features [1] : !hpacml.indirect<4xbf16>, !hpacml.indirect<4xbf16> -> memref<?x4xf32>
// CHECK-NEXT:    hpacml.fused_scatter add %q from %y at %n features [] {note = "kept"} : !hpacml.indirect<4xbf16> -> memref<4xf64>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// Text may hold any character: xDSL prints one that is not ASCII escaped, and reads it back from both forms.

hpacml.functor @"größe" : [i] = ([i])
func.func @texts(%t: memref<9xf32>, %x: memref<9xf32>) {
  %io = hpacml.map inout @"größe"(%t[0 : 9]) {text = "größe(t[0:9])"} : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect inout(%io : !hpacml.mapping<9xf32>) label "Wärme" model "größe/模型.pt2" database "é.h5" units <"größe": "°C"> {
    "test.op"() : () -> ()
  }
  %ms = hpacml.body "Wärme" @nothing()
  %done = hpacml.infer "Wärme" model "größe/模型.pt2" maps ["größe(t)", "f(t)"] ins(%x : memref<9xf32>) outs(%x : memref<9xf32>)
  %sampled = hpacml.sample "Wärme" database "é.h5" <most: 1>
  hpacml.collect "Wärme" database "é.h5" units <"größe": "°C"> maps ["größe(t)"] ins(%x : memref<9xf32>) outs(%x : memref<9xf32>) time %ms
  func.return
}

// CHECK:       hpacml.functor @"gr\C3\B6\C3\9Fe" : [i] = ([i])
// CHECK-LABEL: func.func @texts
// CHECK-NEXT:    %io = hpacml.map inout @"gr\C3\B6\C3\9Fe"(%t[0 : 9]) {text = "gr\C3\B6\C3\9Fe(t[0:9])"} : memref<9xf32> -> !hpacml.mapping<9xf32>
// CHECK-NEXT:    hpacml.ml collect inout(%io : !hpacml.mapping<9xf32>) label "W\C3\A4rme" model "gr\C3\B6\C3\9Fe/\E6\A8\A1\E5\9E\8B.pt2" database "\C3\A9.h5" units <"gr\C3\B6\C3\9Fe": "\C2\B0C"> {
// CHECK:         %ms = hpacml.body "W\C3\A4rme" @nothing()
// CHECK:         %done = hpacml.infer "W\C3\A4rme" model "gr\C3\B6\C3\9Fe/\E6\A8\A1\E5\9E\8B.pt2" maps ["gr\C3\B6\C3\9Fe(t)", "f(t)"] ins(%x : memref<9xf32>) outs(%x : memref<9xf32>)
// CHECK-NEXT:    %sampled = hpacml.sample "W\C3\A4rme" database "\C3\A9.h5" <most: 1>
// CHECK-NEXT:    hpacml.collect "W\C3\A4rme" database "\C3\A9.h5" units <"gr\C3\B6\C3\9Fe": "\C2\B0C"> maps ["gr\C3\B6\C3\9Fe(t)"] ins(%x : memref<9xf32>) outs(%x : memref<9xf32>) time %ms
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

func.func @networks(%n: index, %x: memref<?x2xf32>, %y: memref<?xf32>, %w1: memref<24xf32>, %w2: memref<9xf32>, %h: memref<2x128xf32>, %g: memref<8x128xf32>) {
  hpacml.network ["linear(2, 8)", "tanh", "linear(8, 1)"] of f32 sweep 1 weights(%w1, %w2 : memref<24xf32>, memref<9xf32>)
    ins(%x : memref<?x2xf32>) outs(%y : memref<?xf32>)
  hpacml.network ["elu(1.0)"] of f64 sweep 1 ins(%y : memref<?xf32>) outs(%y : memref<?xf32>)
  hpacml.layer ["linear(2, 8)", "tanh"] points %n weights(%w1 : memref<24xf32>) ins(%h : memref<2x128xf32>) outs(%g : memref<8x128xf32>)
  hpacml.layer ["gelu"] points %n ins(%g : memref<8x128xf32>) outs(%g : memref<8x128xf32>)
  func.return
}

func.func @images(%w: memref<20xf64>, %v: memref<19xf64>, %x: memref<?x1x8x8xf32>, %y: memref<?x1xf32>, %p: memref<1x8x8xf64>, %c: memref<2x3x3xf64, strided<[25, 5, 1], offset: 6>>) {
  hpacml.network ["image(1, 8, 8)", "conv(1, 2, 3x3 stride 2x2)", "avg_pool(2x2 padding 0x0+1x1)", "flatten", "linear(18, 1)"] of f64 sweep 1 weights(%w, %v : memref<20xf64>, memref<19xf64>)
    ins(%x : memref<?x1x8x8xf32>) outs(%y : memref<?x1xf32>)
  hpacml.image_layer ["conv(1, 2, 3x3 stride 2x2)", "silu"] weights(%w : memref<20xf64>) ins(%p : memref<1x8x8xf64>) outs(%c : memref<2x3x3xf64, strided<[25, 5, 1], offset: 6>>)
  func.return
}

// CHECK-LABEL: func.func @networks
// CHECK-NEXT:    hpacml.network ["linear(2, 8)", "tanh", "linear(8, 1)"] of f32 sweep 1 weights(%w1, %w2 : memref<24xf32>, memref<9xf32>) ins(%x : memref<?x2xf32>) outs(%y : memref<?xf32>)
// CHECK-NEXT:    hpacml.network ["elu(1.0)"] of f64 sweep 1 ins(%y : memref<?xf32>) outs(%y : memref<?xf32>)
// CHECK-NEXT:    hpacml.layer ["linear(2, 8)", "tanh"] points %n weights(%w1 : memref<24xf32>) ins(%h : memref<2x128xf32>) outs(%g : memref<8x128xf32>)
// CHECK-NEXT:    hpacml.layer ["gelu"] points %n ins(%g : memref<8x128xf32>) outs(%g : memref<8x128xf32>)

// CHECK-LABEL: func.func @images
// CHECK-NEXT:    hpacml.network ["image(1, 8, 8)", "conv(1, 2, 3x3 stride 2x2)", "avg_pool(2x2 padding 0x0+1x1)", "flatten", "linear(18, 1)"] of f64 sweep 1 weights(%w, %v : memref<20xf64>, memref<19xf64>) ins(%x : memref<?x1x8x8xf32>) outs(%y : memref<?x1xf32>)
// CHECK-NEXT:    hpacml.image_layer ["conv(1, 2, 3x3 stride 2x2)", "silu"] weights(%w : memref<20xf64>) ins(%p : memref<1x8x8xf64>) outs(%c : memref<2x3x3xf64, strided<[25, 5, 1], offset: 6>>)

// The generic form, which upstream tools read.

// GENERIC:      "hpacml.functor"() <{sym_name = "stencil", parameters = [], lhs = #hpacml.slice<[i, j, 0:5]>, rhs = [#hpacml.slice<[i - 1, j]>, #hpacml.slice<[i + 1, j]>, #hpacml.slice<[i, j - 1 : j + 2]>]}> : () -> ()
// GENERIC:      "hpacml.functor"() <{sym_name = "block", parameters = ["m"], lhs = #hpacml.slice<[i, 0:m]>, rhs = [#hpacml.slice<[i * m : i * m + m]>]}> : () -> ()
// GENERIC:      %b = "hpacml.map"(%t, %n, %m, %k) <{direction = #hpacml<direction from>, functor = @point, targets = [#hpacml.target<[? : 0 : -1, 0 : ? : ?]>], text = "point(t[n:0:-1, 0:m:k])", operandSegmentSizes = array<i32: 1, 3, 0>}>
// GENERIC-NEXT: %c = "hpacml.map"(%x, %n, %k) <{direction = #hpacml<direction inout>, functor = @block, targets = [#hpacml.target<[0 : ?]>], operandSegmentSizes = array<i32: 1, 1, 1>}>
// GENERIC:      %e = "hpacml.map"(%t, %k) <{direction = #hpacml<direction to>, functor = @point, targets = [#hpacml.target<[0 : 9, ?]>]
// GENERIC:      %a = "hpacml.map"(%pos, %idx, %n) <{direction = #hpacml<direction from>, functor = @rows, targets = [#hpacml.target<[*[0 : ?], 0 : 3]>], unchecked, operandSegmentSizes = array<i32: 2, 1, 0>}>
// GENERIC-NEXT: %b = "hpacml.map"(%x, %jdx, %idx, %k, %n) <{direction = #hpacml<direction to>, functor = @inner, targets = [#hpacml.target<[*[*[? : ? : 2]]]>], operandSegmentSizes = array<i32: 3, 2, 0>}>
// GENERIC-NEXT: %c = "hpacml.map"(%t, %idx, %jdx) <{direction = #hpacml<direction inout>, functor = @cell, targets = [#hpacml.target<[*[0 : 5], *[19 : 4 : -3]]>], operandSegmentSizes = array<i32: 3, 0, 0>}>
// GENERIC:      %f = "hpacml.map"(%t, %t, %kdx, %k, %n) <{direction = #hpacml<direction to>, functor = @scaled, targets = [#hpacml.target<[*[*[?, 0 : 4], 3], 0 : 9]>], unchecked, operandSegmentSizes = array<i32: 3, 1, 1>}>
// GENERIC:      %y = "hpacml.tensor"(%out) <{fresh}> : (!hpacml.mapping<?x3x5xf32>) -> memref<?x3x5xf32>
// GENERIC-NEXT: "hpacml.gather"(%in, %x) : (!hpacml.mapping<?x7x5xf32>, memref<?x7x5xf32>) -> ()
// GENERIC:      "hpacml.scatter"(%y, %out) : (memref<?x3x5xf32>, !hpacml.mapping<?x3x5xf32>) -> ()
// GENERIC:      "hpacml.ml"(%c, %d, %in, %in, %out, %out, %io) <{mode = #hpacml<mode predicated>, label = "most", model = "m.pt2", batch = 4096 : i64, on_error = "raise", database = "d.h5", sample = #hpacml.sample<fraction: 1.0e-05, seed: 42, most: 1000>, units = #hpacml.units<t: "\C2\B0C", "gr\C3\B6\C3\9Fe": "m/s \22">, operandSegmentSizes = array<i32: 1, 1, 2, 2, 1, 0, 0, 0, 0>}> ({
// GENERIC-NEXT:   "hpacml.ml"(%d, %in, %out) <{mode = #hpacml<mode infer>, label = "inner", model = @net, batch = 0 : i64, on_error = "accurate", database = @base, operandSegmentSizes = array<i32: 0, 1, 1, 1, 0, 0, 0, 0, 0>}> ({
// GENERIC:      %q = "hpacml.indirect"(%plane, %table, %u) <{operandSegmentSizes = array<i32: 1, 2, 0>}> : (memref<4x8x9xbf16>, !hpacml.indirect<?xi32>, memref<4xi8>) -> !hpacml.indirect<4xbf16>
// GENERIC:      "hpacml.pack"(%v, %x, %n) <{features = array<i64: 1>}> : (!hpacml.indirect<?x3xf32>, memref<?x4xf32>, index) -> ()

func.func @values(%old: tensor<?x?xf32>, %n: index, %m: index) -> tensor<?x?xf32> {
  %in = hpacml.map to @stencil(%old[1 : %n, 1 : %m]) : tensor<?x?xf32> -> !hpacml.mapping<?x?x5xf32>
  %out = hpacml.map from @point(%old[1 : %n, 1 : %m]) : tensor<?x?xf32> -> !hpacml.mapping<?x?x1xf32>
  %new = hpacml.ml collect in(%in : !hpacml.mapping<?x?x5xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) label "step" -> tensor<?x?xf32> {
    %next = "test.op"(%old) : (tensor<?x?xf32>) -> tensor<?x?xf32>
    hpacml.yield %next : tensor<?x?xf32>
  }
  func.return %new : tensor<?x?xf32>
}

// CHECK-LABEL: func.func @values
// CHECK:         %in = hpacml.map to @stencil(%old[1 : %n, 1 : %m]) : tensor<?x?xf32> -> !hpacml.mapping<?x?x5xf32>
// CHECK:         %new = hpacml.ml collect in(%in : !hpacml.mapping<?x?x5xf32>) out(%out : !hpacml.mapping<?x?x1xf32>) label "step" -> tensor<?x?xf32> {
// CHECK:           hpacml.yield %next : tensor<?x?xf32>

// Points of which the model is not used: checks, and what stands there instead.

func.func private @guarded_body(memref<?x?xf32>)
func.func @guards(%t: memref<?x?xf32>, %x: memref<?x?x5xf32>, %y: memref<?x?x1xf32>, %low: memref<?xf64>, %w: memref<?x?xf64>,
                  %limit: f64, %mask: memref<?x?xi8>, %n: index) {
  %in = hpacml.map to @stencil(%t[1 : 9, 1 : 9]) : memref<?x?xf32> -> !hpacml.mapping<8x8x5xf32>
  %out = hpacml.map from @point(%t[1 : 9, 1 : 9]) : memref<?x?xf32> -> !hpacml.mapping<8x8x1xf32>
  hpacml.check_range (%x : memref<?x?x5xf32>) features [2, -1] low %low high %low into %mask : memref<?xf64>, memref<?xf64>, memref<?x?xi8>
  hpacml.check_distance (%x, %y : memref<?x?x5xf32>, memref<?x?x1xf32>) features [2, -1, 2, -1] mean %low whitening %w limit 4.000000e+00 into %mask : memref<?xf64>, memref<?x?xf64>, memref<?x?xi8>
  hpacml.check_where "t > limit" names ["t", "limit"] of (%y : memref<?x?x1xf32>) numbers (%limit) into %mask : memref<?x?xi8>
  hpacml.check_where "limit > 0" names ["limit"] numbers (%limit) into %mask : memref<?x?xi8>
  hpacml.check_below %y features [2] limit 5.000000e-01 into %mask : memref<?x?x1xf32>, memref<?x?xi8>
  hpacml.body_where "heat" @guarded_body(%t : memref<?x?xf32>) at %mask : memref<?x?xi8> from (%in : !hpacml.mapping<8x8x5xf32>) to (%out : !hpacml.mapping<8x8x1xf32>) into (%y : memref<?x?x1xf32>)
  hpacml.body_where pointwise "heat" @guarded_body(%t : memref<?x?xf32>) at %mask : memref<?x?xi8> from (%in : !hpacml.mapping<8x8x5xf32>) to (%out : !hpacml.mapping<8x8x1xf32>) into (%y : memref<?x?x1xf32>)
  hpacml.body_aside "heat" @guarded_body(%t : memref<?x?xf32>) to (%out : !hpacml.mapping<8x8x1xf32>) into (%y : memref<?x?x1xf32>)
  hpacml.keep_random
  hpacml.keep_random restore
  hpacml.merge %y into %y features [2] at %mask : memref<?x?x1xf32>, memref<?x?x1xf32>, memref<?x?xi8>
  hpacml.call_python 0 (%t, %t : memref<?x?xf32>, memref<?x?xf32>) writes [1] (%n)
  hpacml.call_python 1 (%t : memref<?x?xf32>) writes []
  hpacml.require_equal %n, %n "{given} points where there are {wanted}"
  hpacml.ml infer in(%in : !hpacml.mapping<8x8x5xf32>) out(%out : !hpacml.mapping<8x8x1xf32>) guard <range, margin: 0.5, distance: 4.0, below: 0.5> where "m > limit" names ["m", "limit"] points(%in : !hpacml.mapping<8x8x5xf32>) at(%limit) verify <every: 10, tolerance: 0.5> pointwise label "heat" clip <0.0:> project "conserve" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func private @guarded_body(memref<?x?xf32>) -> ()
// CHECK-NEXT:  func.func @guards(%t: memref<?x?xf32>, %x: memref<?x?x5xf32>, %y: memref<?x?x1xf32>, %low: memref<?xf64>, %w: memref<?x?xf64>, %limit: f64, %mask: memref<?x?xi8>, %n: index) {
// CHECK-NEXT:    %in = hpacml.map to @stencil(%t[1 : 9, 1 : 9]) : memref<?x?xf32> -> !hpacml.mapping<8x8x5xf32>
// CHECK-NEXT:    %out = hpacml.map from @point(%t[1 : 9, 1 : 9]) : memref<?x?xf32> -> !hpacml.mapping<8x8x1xf32>
// CHECK-NEXT:    hpacml.check_range(%x : memref<?x?x5xf32>) features [2, -1] low %low high %low into %mask : memref<?xf64>, memref<?xf64>, memref<?x?xi8>
// CHECK-NEXT:    hpacml.check_distance(%x, %y : memref<?x?x5xf32>, memref<?x?x1xf32>) features [2, -1, 2, -1] mean %low whitening %w limit 4.000000e+00 into %mask : memref<?xf64>, memref<?x?xf64>, memref<?x?xi8>
// CHECK-NEXT:    hpacml.check_where "t > limit" names ["t", "limit"] of(%y : memref<?x?x1xf32>) numbers(%limit) into %mask : memref<?x?xi8>
// CHECK-NEXT:    hpacml.check_where "limit > 0" names ["limit"] numbers(%limit) into %mask : memref<?x?xi8>
// CHECK-NEXT:    hpacml.check_below %y features [2] limit 5.000000e-01 into %mask : memref<?x?x1xf32>, memref<?x?xi8>
// CHECK-NEXT:    hpacml.body_where "heat" @guarded_body(%t : memref<?x?xf32>) at %mask : memref<?x?xi8> from(%in : !hpacml.mapping<8x8x5xf32>) to(%out : !hpacml.mapping<8x8x1xf32>) into(%y : memref<?x?x1xf32>)
// CHECK-NEXT:    hpacml.body_where pointwise "heat" @guarded_body(%t : memref<?x?xf32>) at %mask : memref<?x?xi8> from(%in : !hpacml.mapping<8x8x5xf32>) to(%out : !hpacml.mapping<8x8x1xf32>) into(%y : memref<?x?x1xf32>)
// CHECK-NEXT:    hpacml.body_aside "heat" @guarded_body(%t : memref<?x?xf32>) to(%out : !hpacml.mapping<8x8x1xf32>) into(%y : memref<?x?x1xf32>)
// CHECK-NEXT:    hpacml.keep_random
// CHECK-NEXT:    hpacml.keep_random restore
// CHECK-NEXT:    hpacml.merge %y into %y features [2] at %mask : memref<?x?x1xf32>, memref<?x?x1xf32>, memref<?x?xi8>
// CHECK-NEXT:    hpacml.call_python 0(%t, %t : memref<?x?xf32>, memref<?x?xf32>) writes [1](%n)
// CHECK-NEXT:    hpacml.call_python 1(%t : memref<?x?xf32>) writes []
// CHECK-NEXT:    hpacml.require_equal %n, %n "{given} points where there are {wanted}"
// CHECK-NEXT:    hpacml.ml infer in(%in : !hpacml.mapping<8x8x5xf32>) out(%out : !hpacml.mapping<8x8x1xf32>) guard <range, margin: 0.5, distance: 4.0, below: 0.5> where "m > limit" names ["m", "limit"] points(%in : !hpacml.mapping<8x8x5xf32>) at(%limit) verify <every: 10, tolerance: 0.5, metric: rmse, window: 20, then: accurate> pointwise label "heat" clip <0.0:> project "conserve" {
// CHECK-NEXT:      "test.op"() : () -> ()
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
// -----

func.func @comparing(%mask: memref<?xi8>, %at: memref<?xi64>, %y: memref<?x1xf32>, %z: memref<?xf64>) {
  %k = hpacml.count_points again "heat" %mask : memref<?xi8> positions %at : memref<?xi64>
  %due = hpacml.is_compared "heat" %mask {note = "kept"} : memref<?xi8>
  hpacml.compare_points "heat" maps ["f(y[0:n])", "g(z[0:n])"] ins(%y, %z : memref<?x1xf32>, memref<?xf64>) against(%y, %z : memref<?x1xf32>, memref<?xf64>) features [1, -1, -1] where %mask {note = "kept"} : memref<?xi8>
  func.return
}

// CHECK-LABEL: func.func @comparing
// CHECK-NEXT:    %k = hpacml.count_points again "heat" %mask : memref<?xi8> positions %at : memref<?xi64>
// CHECK-NEXT:    %due = hpacml.is_compared "heat" %mask {note = "kept"} : memref<?xi8>
// CHECK-NEXT:    hpacml.compare_points "heat" maps ["f(y[0:n])", "g(z[0:n])"] ins(%y, %z : memref<?x1xf32>, memref<?xf64>) against(%y, %z : memref<?x1xf32>, memref<?xf64>) features [1, -1, -1] where %mask {note = "kept"} : memref<?xi8>

func.func @rejected(%t: memref<9x9xf32>, %x: memref<?x?x5xf32>, %at: memref<?xi64>, %k: index, %rows: memref<?x1x5xf32>, %why: memref<?x1xi8>, %ms: f64) {
  %in = hpacml.map to @stencil(%t[1 : 8, 1 : 8]) : memref<9x9xf32> -> !hpacml.mapping<7x7x5xf32>
  %out = hpacml.map from @point(%t[1 : 8, 1 : 8]) : memref<9x9xf32> -> !hpacml.mapping<7x7x1xf32>
  hpacml.take_points %x features [2] at %at count %k into %rows {note = "kept"} : memref<?x?x5xf32>, memref<?xi64>, memref<?x1x5xf32>
  hpacml.collect "heat" ins(%rows : memref<?x1x5xf32>) outs(%rows : memref<?x1x5xf32>) reasons(%why : memref<?x1xi8>) time %ms
  hpacml.ml infer in(%in : !hpacml.mapping<7x7x5xf32>) out(%out : !hpacml.mapping<7x7x1xf32>) guard <range, collect> label "heat" database "d.h5" sample <every: 10> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @rejected
// CHECK:         hpacml.take_points %x features [2] at %at count %k into %rows {note = "kept"} : memref<?x?x5xf32>, memref<?xi64>, memref<?x1x5xf32>
// CHECK-NEXT:    hpacml.collect "heat" ins(%rows : memref<?x1x5xf32>) outs(%rows : memref<?x1x5xf32>) reasons(%why : memref<?x1xi8>) time %ms
// CHECK-NEXT:    hpacml.ml infer in(%in : !hpacml.mapping<7x7x5xf32>) out(%out : !hpacml.mapping<7x7x1xf32>) guard <range, collect> label "heat" database "d.h5" sample <every: 10> {
