// RUN: hpacml-opt %s -p hpacml-resolve-slices --split-input-file | filecheck %s

// A stencil on memory of known shape: all numbers are constants, and nothing is left to check.

hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])

func.func @static(%t: memref<10x20xf32>) {
  %in = hpacml.map to @stencil(%t[1 : 9, 1 : 19]) : memref<10x20xf32> -> !hpacml.mapping<8x18x5xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<8x18x5xf32> -> memref<8x18x5xf32>
  hpacml.gather %in into %x : !hpacml.mapping<8x18x5xf32>, memref<8x18x5xf32>
  "test.op"(%x) : (memref<8x18x5xf32>) -> ()
  func.return
}

// -----

// Steps of the range multiply strides, steps backwards make them negative.

hpacml.functor @point : [i, j] = ([i, 2 * j])

func.func @steps(%t: memref<10x20xf32>) {
  %in = hpacml.map to @point(%t[9 : 0 : -2, 0 : 10 : 3]) : memref<10x20xf32> -> !hpacml.mapping<5x4xf32>
  %x = hpacml.tensor fresh %in : !hpacml.mapping<5x4xf32> -> memref<5x4xf32>
  hpacml.gather %in into %x : !hpacml.mapping<5x4xf32>, memref<5x4xf32>
  func.return
}

// -----

// Memory that is strided already, channels first, an index for a dimension: written.

hpacml.functor @channels : [0:2, i] = ([2 * i, 3], [2 * i + 1, 3])

func.func @strided(%t: memref<10x20xf64, strided<[1, 10], offset: 7>>) {
  %out = hpacml.map from @channels(%t[0 : 5, 3]) : memref<10x20xf64, strided<[1, 10], offset: 7>> -> !hpacml.mapping<2x5xf64>
  %y = hpacml.tensor %out : !hpacml.mapping<2x5xf64> -> memref<2x5xf64>
  "test.op"(%y) : (memref<2x5xf64>) -> ()
  hpacml.scatter %y into %out : memref<2x5xf64>, !hpacml.mapping<2x5xf64>
  func.return
}

// -----

// One target per slice, of several ranks and element types; the second is broadcast along i.

hpacml.functor @several : [i, f] = ([i, 0:3], [i])

func.func @targets(%a: memref<10x3xf32>, %b: memref<4xi32>) {
  %in = hpacml.map to @several(%a[0 : 10, 0 : 3], %b[2 : 3]) : memref<10x3xf32>, memref<4xi32> -> !hpacml.mapping<10x4xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<10x4xf32> -> memref<10x4xf32>
  hpacml.gather %in into %x : !hpacml.mapping<10x4xf32>, memref<10x4xf32>
  func.return
}

// -----

// Read and written through one map.

hpacml.functor @point : [i] = ([i])

func.func @inout(%t: memref<10xf32>) {
  %io = hpacml.map inout @point(%t[2 : 9]) : memref<10xf32> -> !hpacml.mapping<7xf32>
  %x = hpacml.tensor fresh %io : !hpacml.mapping<7xf32> -> memref<7xf32>
  hpacml.gather %io into %x : !hpacml.mapping<7xf32>, memref<7xf32>
  hpacml.scatter %x into %io : memref<7xf32>, !hpacml.mapping<7xf32>
  func.return
}

// -----

// A tensor lives to the end of its block, and views are made where the map is.

hpacml.functor @point : [i] = ([i])

func.func @blocks(%t: memref<10xf32>, %c: i1) {
  %in = hpacml.map to @point(%t[0 : 10]) : memref<10xf32> -> !hpacml.mapping<10xf32>
  scf.if %c {
    %x = hpacml.tensor %in : !hpacml.mapping<10xf32> -> memref<10xf32>
    hpacml.gather %in into %x : !hpacml.mapping<10xf32>, memref<10xf32>
    "test.op"(%x) : (memref<10xf32>) -> ()
  }
  func.return
}

// -----

// Memory of unknown shape. One guard for the stencil: its hull lies inside, or there is nothing to read.

hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])

func.func @dynamic(%t: memref<?x?xf32, strided<[?, ?], offset: ?>>, %n: index, %m: index) {
  %in = hpacml.map to @stencil(%t[1 : %n, 1 : %m]) {text = "stencil(t[1:n, 1:m])"} : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x5xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<?x?x5xf32> -> memref<?x?x5xf32>
  hpacml.gather %in into %x : !hpacml.mapping<?x?x5xf32>, memref<?x?x5xf32>
  func.return
}

// -----

// Blocks of a number of elements known at run time.

hpacml.functor @block(m) : [i, 0:m] = ([i * m : i * m + m])

func.func @parameter(%t: memref<100xf32>, %m: index) {
  %in = hpacml.map to @block(%t[0 : 5]) params(%m) : memref<100xf32> -> !hpacml.mapping<5x?xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<5x?xf32> -> memref<5x?xf32>
  hpacml.gather %in into %x : !hpacml.mapping<5x?xf32>, memref<5x?xf32>
  func.return
}

// -----

// A map in a loop is checked in each iteration.

hpacml.functor @point : [i] = ([i])

func.func @loop(%t: memref<10xf32>, %n: index, %zero: index, %one: index) {
  scf.for %k = %zero to %n step %one {
    %in = hpacml.map to @point(%t[%k : 10]) : memref<10xf32> -> !hpacml.mapping<?xf32>
    %x = hpacml.tensor %in : !hpacml.mapping<?xf32> -> memref<?xf32>
    hpacml.gather %in into %x : !hpacml.mapping<?xf32>, memref<?xf32>
    "test.op"(%x) : (memref<?xf32>) -> ()
  }
  func.return
}

// -----

// A map that nothing reads or writes, and a functor that no map uses, disappear.

hpacml.functor @point : [i] = ([i])
hpacml.functor @unused : [i] = ([i])

func.func @unused_map(%t: memref<10xf32>, %n: index) {
  %in = hpacml.map to @point(%t[0 : %n]) : memref<10xf32> -> !hpacml.mapping<?xf32>
  func.return
}

// -----

// A map that is still used whole stays, and so does its functor.

hpacml.functor @point : [i] = ([i])

func.func @kept(%t: memref<10xf32>) {
  %io = hpacml.map inout @point(%t[0 : 10]) : memref<10xf32> -> !hpacml.mapping<10xf32>
  hpacml.ml infer inout(%io) label "r" : !hpacml.mapping<10xf32> {
    "test.op"() : () -> ()
  }
  func.return
}
