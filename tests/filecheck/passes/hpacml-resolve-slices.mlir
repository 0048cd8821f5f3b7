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

// CHECK-LABEL: func.func @static(%t: memref<10x20xf32>) {
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [1], sizes: [8, 18], strides: [20, 1] : memref<10x20xf32> to memref<8x18xf32, strided<[20, 1], offset: 1>>
// CHECK-NEXT:    %t_2 = memref.reinterpret_cast %t to offset: [41], sizes: [8, 18], strides: [20, 1] : memref<10x20xf32> to memref<8x18xf32, strided<[20, 1], offset: 41>>
// CHECK-NEXT:    %t_3 = memref.reinterpret_cast %t to offset: [20], sizes: [8, 18, 3], strides: [20, 1, 1] : memref<10x20xf32> to memref<8x18x3xf32, strided<[20, 1, 1], offset: 20>>
// CHECK-NEXT:    %0 = arith.constant 0 : index
// CHECK-NEXT:    %1 = arith.constant 1 : index
// CHECK-NEXT:    %2 = arith.constant 2 : index
// CHECK-NEXT:    %x = memref.alloc() {hpacml.may_alias} : memref<8x18x5xf32>
// CHECK-NEXT:    hpacml.pack %t_1 into %x at %0 features [2] : memref<8x18xf32, strided<[20, 1], offset: 1>>, memref<8x18x5xf32>
// CHECK-NEXT:    hpacml.pack %t_2 into %x at %1 features [2] : memref<8x18xf32, strided<[20, 1], offset: 41>>, memref<8x18x5xf32>
// CHECK-NEXT:    hpacml.pack %t_3 into %x at %2 features [2] : memref<8x18x3xf32, strided<[20, 1, 1], offset: 20>>, memref<8x18x5xf32>
// CHECK-NEXT:    "test.op"(%x) : (memref<8x18x5xf32>) -> ()
// CHECK-NEXT:    memref.dealloc %x : memref<8x18x5xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Steps of the range multiply strides, steps backwards make them negative.

hpacml.functor @point : [i, j] = ([i, 2 * j])

func.func @steps(%t: memref<10x20xf32>) {
  %in = hpacml.map to @point(%t[9 : 0 : -2, 0 : 10 : 3]) : memref<10x20xf32> -> !hpacml.mapping<5x4xf32>
  %x = hpacml.tensor fresh %in : !hpacml.mapping<5x4xf32> -> memref<5x4xf32>
  hpacml.gather %in into %x : !hpacml.mapping<5x4xf32>, memref<5x4xf32>
  func.return
}

// CHECK-LABEL: func.func @steps(%t: memref<10x20xf32>) {
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [180], sizes: [5, 4], strides: [-40, 6] : memref<10x20xf32> to memref<5x4xf32, strided<[-40, 6], offset: 180>>
// CHECK-NEXT:    %0 = arith.constant 0 : index
// CHECK-NEXT:    %x = memref.alloc() : memref<5x4xf32>
// CHECK-NEXT:    hpacml.pack %t_1 into %x at %0 features [] : memref<5x4xf32, strided<[-40, 6], offset: 180>>, memref<5x4xf32>
// CHECK-NEXT:    memref.dealloc %x : memref<5x4xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

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

// CHECK-LABEL: func.func @strided(%t: memref<10x20xf64, strided<[1, 10], offset: 7>>) {
// CHECK-NEXT:    %0 = arith.constant false
// CHECK-NEXT:    %1 = arith.constant 10 : index
// CHECK-NEXT:    %2 = arith.constant 20 : index
// CHECK-NEXT:    hpacml_rt.check_map %0 from "channels: [0:2, i] = ([2 * i, 3], [2 * i + 1, 3])" names ["t"] targets [#hpacml.target<[0 : 5, 3]>] sizes(%1, %2) bounds() params() of []
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [37], sizes: [5], strides: [2] : memref<10x20xf64, strided<[1, 10], offset: 7>> to memref<5xf64, strided<[2], offset: 37>>
// CHECK-NEXT:    %t_2 = memref.reinterpret_cast %t to offset: [38], sizes: [5], strides: [2] : memref<10x20xf64, strided<[1, 10], offset: 7>> to memref<5xf64, strided<[2], offset: 38>>
// CHECK-NEXT:    %3 = arith.constant 0 : index
// CHECK-NEXT:    %4 = arith.constant 1 : index
// CHECK-NEXT:    %y = memref.alloc() {hpacml.may_alias} : memref<2x5xf64>
// CHECK-NEXT:    "test.op"(%y) : (memref<2x5xf64>) -> ()
// CHECK-NEXT:    hpacml.unpack %t_1 from %y at %3 features [0] : memref<5xf64, strided<[2], offset: 37>>, memref<2x5xf64>
// CHECK-NEXT:    hpacml.unpack %t_2 from %y at %4 features [0] : memref<5xf64, strided<[2], offset: 38>>, memref<2x5xf64>
// CHECK-NEXT:    memref.dealloc %y : memref<2x5xf64>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// One target per slice, of several ranks and element types; the second is broadcast along i.

hpacml.functor @several : [i, f] = ([i, 0:3], [i])

func.func @targets(%a: memref<10x3xf32>, %b: memref<4xi32>) {
  %in = hpacml.map to @several(%a[0 : 10, 0 : 3], %b[2 : 3]) : memref<10x3xf32>, memref<4xi32> -> !hpacml.mapping<10x4xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<10x4xf32> -> memref<10x4xf32>
  hpacml.gather %in into %x : !hpacml.mapping<10x4xf32>, memref<10x4xf32>
  func.return
}

// CHECK-LABEL: func.func @targets(%a: memref<10x3xf32>, %b: memref<4xi32>) {
// CHECK-NEXT:    %a_1 = memref.reinterpret_cast %a to offset: [0], sizes: [10, 3], strides: [3, 1] : memref<10x3xf32> to memref<10x3xf32, strided<[3, 1]>>
// CHECK-NEXT:    %b_1 = memref.reinterpret_cast %b to offset: [2], sizes: [10], strides: [0] : memref<4xi32> to memref<10xi32, strided<[0], offset: 2>>
// CHECK-NEXT:    %0 = arith.constant 0 : index
// CHECK-NEXT:    %1 = arith.constant 3 : index
// CHECK-NEXT:    %x = memref.alloc() {hpacml.may_alias} : memref<10x4xf32>
// CHECK-NEXT:    hpacml.pack %a_1 into %x at %0 features [1] : memref<10x3xf32, strided<[3, 1]>>, memref<10x4xf32>
// CHECK-NEXT:    hpacml.pack %b_1 into %x at %1 features [1] : memref<10xi32, strided<[0], offset: 2>>, memref<10x4xf32>
// CHECK-NEXT:    memref.dealloc %x : memref<10x4xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

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

// CHECK-LABEL: func.func @inout(%t: memref<10xf32>) {
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [2], sizes: [7], strides: [1] : memref<10xf32> to memref<7xf32, strided<[1], offset: 2>>
// CHECK-NEXT:    %0 = arith.constant 0 : index
// CHECK-NEXT:    %x = memref.alloc() : memref<7xf32>
// CHECK-NEXT:    hpacml.pack %t_1 into %x at %0 features [] : memref<7xf32, strided<[1], offset: 2>>, memref<7xf32>
// CHECK-NEXT:    hpacml.unpack %t_1 from %x at %0 features [] : memref<7xf32, strided<[1], offset: 2>>, memref<7xf32>
// CHECK-NEXT:    memref.dealloc %x : memref<7xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

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

// CHECK-LABEL: func.func @blocks(%t: memref<10xf32>, %c: i1) {
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [0], sizes: [10], strides: [1] : memref<10xf32> to memref<10xf32, strided<[1]>>
// CHECK-NEXT:    %0 = arith.constant 0 : index
// CHECK-NEXT:    scf.if %c {
// CHECK-NEXT:      %x = memref.alloc() {hpacml.may_alias} : memref<10xf32>
// CHECK-NEXT:      hpacml.pack %t_1 into %x at %0 features [] : memref<10xf32, strided<[1]>>, memref<10xf32>
// CHECK-NEXT:      "test.op"(%x) : (memref<10xf32>) -> ()
// CHECK-NEXT:      memref.dealloc %x : memref<10xf32>
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Memory of unknown shape. One guard for the stencil: its hull lies inside, or there is nothing to read.

hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])

func.func @dynamic(%t: memref<?x?xf32, strided<[?, ?], offset: ?>>, %n: index, %m: index) {
  %in = hpacml.map to @stencil(%t[1 : %n, 1 : %m]) {text = "stencil(t[1:n, 1:m])"} : memref<?x?xf32, strided<[?, ?], offset: ?>> -> !hpacml.mapping<?x?x5xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<?x?x5xf32> -> memref<?x?x5xf32>
  hpacml.gather %in into %x : !hpacml.mapping<?x?x5xf32>, memref<?x?x5xf32>
  func.return
}

// CHECK-LABEL: func.func @dynamic(
// CHECK:         %{{.*}}, [[OFFSET:%\d+]], [[ROWS:%\d+]], [[COLUMNS:%\d+]], [[S0:%\d+]], [[S1:%\d+]] = memref.extract_strided_metadata %t
// CHECK:         [[N:%\d+]] = arith.maxsi
// CHECK:         [[M:%\d+]] = arith.maxsi
// CHECK:         [[BELOW:%\d+]] = arith.addi [[N]], %{{.*}} : index
// CHECK:         arith.cmpi sle, [[BELOW]], [[ROWS]] : index
// CHECK:         [[RIGHT:%\d+]] = arith.addi [[M]], %{{.*}} : index
// CHECK:         arith.cmpi sle, [[RIGHT]], [[COLUMNS]] : index
// CHECK:         arith.cmpi sle, [[N]], %{{.*}} : index
// CHECK:         arith.cmpi sle, [[M]], %{{.*}} : index
// CHECK:         hpacml_rt.check_map %{{.*}} to "stencil: [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])" names ["t"] targets [#hpacml.target<[1 : ?, 1 : ?]>] sizes([[ROWS]], [[COLUMNS]]) bounds(%n, %m) params() of [] text "stencil(t[1:n, 1:m])"
// CHECK-NEXT:    [[NORTH:%\d+]] = arith.addi [[OFFSET]], [[S1]] : index
// CHECK-NEXT:    [[V0:%.*]] = memref.reinterpret_cast %t to offset: [[[NORTH]]], sizes: [[[N]], [[M]]], strides: [[[S0]], [[S1]]] : memref<?x?xf32, strided<[?, ?], offset: ?>> to memref<?x?xf32, strided<[?, ?], offset: ?>>
// CHECK:         [[V1:%.*]] = memref.reinterpret_cast %t to offset: [%{{.*}}], sizes: [[[N]], [[M]]], strides: [[[S0]], [[S1]]]
// CHECK-NEXT:    [[WEST:%\d+]] = arith.addi [[OFFSET]], [[S0]] : index
// CHECK-NEXT:    [[V2:%.*]] = memref.reinterpret_cast %t to offset: [[[WEST]]], sizes: [[[N]], [[M]], 3], strides: [[[S0]], [[S1]], [[S1]]]
// CHECK-NEXT:    %x = memref.alloc([[N]], [[M]]) {hpacml.may_alias} : memref<?x?x5xf32>
// CHECK-NEXT:    hpacml.pack [[V0]] into %x at %{{.*}} features [2]
// CHECK-NEXT:    hpacml.pack [[V1]] into %x at %{{.*}} features [2]
// CHECK-NEXT:    hpacml.pack [[V2]] into %x at %{{.*}} features [2]
// CHECK-NEXT:    memref.dealloc %x : memref<?x?x5xf32>

// -----

// Blocks of a number of elements known at run time.

hpacml.functor @block(m) : [i, 0:m] = ([i * m : i * m + m])

func.func @parameter(%t: memref<100xf32>, %m: index) {
  %in = hpacml.map to @block(%t[0 : 5]) params(%m) : memref<100xf32> -> !hpacml.mapping<5x?xf32>
  %x = hpacml.tensor %in : !hpacml.mapping<5x?xf32> -> memref<5x?xf32>
  hpacml.gather %in into %x : !hpacml.mapping<5x?xf32>, memref<5x?xf32>
  func.return
}

// CHECK-LABEL: func.func @parameter(
// CHECK:         [[M:%\d+]] = arith.maxsi %m, %{{.*}} : index
// CHECK:         hpacml_rt.check_map %{{.*}} to "block: [i, 0:m] = ([i * m : i * m + m])" names ["t"] targets [#hpacml.target<[0 : 5]>] sizes(%{{.*}}) bounds() params(%m) of ["m"]
// CHECK-NEXT:    [[V:%.*]] = memref.reinterpret_cast %t to offset: [0], sizes: [5, [[M]]], strides: [%m, 1] : memref<100xf32> to memref<5x?xf32, strided<[?, 1]>>
// CHECK-NEXT:    %x = memref.alloc([[M]]) {hpacml.may_alias} : memref<5x?xf32>
// CHECK-NEXT:    hpacml.pack [[V]] into %x at %{{.*}} features [1]

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

// CHECK-LABEL: func.func @loop(
// CHECK-NEXT:    scf.for %k = %zero to %n step %one {
// CHECK:           hpacml_rt.check_map %{{.*}} to "point: [i] = ([i])" names ["t"] targets [#hpacml.target<[? : 10]>] sizes(%{{.*}}) bounds(%k) params() of []
// CHECK-NEXT:      [[V:%.*]] = memref.reinterpret_cast %t to offset: [%k], sizes: [[[N:%\d+]]], strides: [1] : memref<10xf32> to memref<?xf32, strided<[1], offset: ?>>
// CHECK-NEXT:      %x = memref.alloc([[N]]) {hpacml.may_alias} : memref<?xf32>
// CHECK-NEXT:      hpacml.pack [[V]] into %x
// CHECK-NEXT:      "test.op"(%x) : (memref<?xf32>) -> ()
// CHECK-NEXT:      memref.dealloc %x : memref<?xf32>
// CHECK-NEXT:    }

// -----

// A map that nothing reads or writes, and a functor that no map uses, disappear.

hpacml.functor @point : [i] = ([i])
hpacml.functor @unused : [i] = ([i])

func.func @unused_map(%t: memref<10xf32>, %n: index) {
  %in = hpacml.map to @point(%t[0 : %n]) : memref<10xf32> -> !hpacml.mapping<?xf32>
  func.return
}

// CHECK-LABEL: func.func @unused_map(%t: memref<10xf32>, %n: index) {
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// A map that is still used whole stays, and so does its functor.

hpacml.functor @point : [i] = ([i])

func.func @kept(%t: memref<10xf32>) {
  %io = hpacml.map inout @point(%t[0 : 10]) : memref<10xf32> -> !hpacml.mapping<10xf32>
  hpacml.ml infer inout(%io : !hpacml.mapping<10xf32>) label "r" {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @kept(%t: memref<10xf32>) {
// CHECK-NEXT:    %io = hpacml.map inout @point(%t[0 : 10]) : memref<10xf32> -> !hpacml.mapping<10xf32>
// CHECK-NEXT:    hpacml.ml infer inout(%io : !hpacml.mapping<10xf32>) label "r" {
// CHECK-NEXT:      "test.op"() : () -> ()
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// The adjoint of a gather: added through the same views, whose elements may meet.

hpacml.functor @sides : [i, 0:2] = ([i - 1], [i + 1])

func.func @adjoint(%t: memref<10xf32>, %g: memref<8x2xf32>) {
  %in = hpacml.map to @sides(%t[1 : 9]) : memref<10xf32> -> !hpacml.mapping<8x2xf32>
  hpacml.scatter add %g into %in : memref<8x2xf32>, !hpacml.mapping<8x2xf32>
  func.return
}

// CHECK-LABEL: func.func @adjoint(%t: memref<10xf32>, %g: memref<8x2xf32>) {
// CHECK-NEXT:    %t_1 = memref.reinterpret_cast %t to offset: [0], sizes: [8], strides: [1] : memref<10xf32> to memref<8xf32, strided<[1]>>
// CHECK-NEXT:    %t_2 = memref.reinterpret_cast %t to offset: [2], sizes: [8], strides: [1] : memref<10xf32> to memref<8xf32, strided<[1], offset: 2>>
// CHECK-NEXT:    %0 = arith.constant 0 : index
// CHECK-NEXT:    %1 = arith.constant 1 : index
// CHECK-NEXT:    hpacml.unpack add %t_1 from %g at %0 features [1] : memref<8xf32, strided<[1]>>, memref<8x2xf32>
// CHECK-NEXT:    hpacml.unpack add %t_2 from %g at %1 features [1] : memref<8xf32, strided<[1], offset: 2>>, memref<8x2xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// A check reads the views, whose features are those of the mapping; a tensor beside it stays.

hpacml.functor @stencil : [i, j, 0:5] = ([i - 1, j], [i + 1, j], [i, j - 1 : j + 2])

func.func @checked(%t: memref<10x20xf32>, %x: memref<8x18xf32>, %low: memref<5xf32>, %mean: memref<6xf64>, %w: memref<6x6xf64>, %mask: memref<8x18xi8>) {
  %in = hpacml.map to @stencil(%t[1 : 9, 1 : 19]) : memref<10x20xf32> -> !hpacml.mapping<8x18x5xf32>
  hpacml.check_range (%in : !hpacml.mapping<8x18x5xf32>) features [2, -1] low %low high %low into %mask : memref<5xf32>, memref<5xf32>, memref<8x18xi8>
  hpacml.check_distance (%x, %in : memref<8x18xf32>, !hpacml.mapping<8x18x5xf32>) features [-1, 2, -1] mean %mean whitening %w limit 4.0 into %mask : memref<6xf64>, memref<6x6xf64>, memref<8x18xi8>
  func.return
}

// CHECK-LABEL: func.func @checked
// CHECK-NEXT:    [[NORTH:%.*]] = memref.reinterpret_cast %t to offset: [1], sizes: [8, 18], strides: [20, 1]
// CHECK-NEXT:    [[SOUTH:%.*]] = memref.reinterpret_cast %t to offset: [41], sizes: [8, 18], strides: [20, 1]
// CHECK-NEXT:    [[ROW:%.*]] = memref.reinterpret_cast %t to offset: [20], sizes: [8, 18, 3], strides: [20, 1, 1]
// CHECK:         hpacml.check_range([[NORTH]], [[SOUTH]], [[ROW]] : {{.*}}) features [-1, -1, 2, -1] low %low high %low into %mask
// CHECK-NEXT:    hpacml.check_distance(%x, [[NORTH]], [[SOUTH]], [[ROW]] : {{.*}}) features [-1, -1, -1, 2, -1] mean %mean whitening %w
// CHECK-NEXT:    func.return
