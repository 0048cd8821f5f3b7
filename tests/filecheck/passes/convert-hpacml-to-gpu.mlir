// RUN: hpacml-opt %s -p convert-hpacml-to-gpu --split-input-file | filecheck %s

// Features first: a thread has all features of a point, and neighbours are neighbours in the innermost dimension.

func.func @points(%a: memref<?x?xf32>, %b: memref<?x?xf64>, %x: memref<2x?x?xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  hpacml.fused_gather %a, %b into %x at %c0, %c1 features [0] : memref<?x?xf32>, memref<?x?xf64> -> memref<2x?x?xf32>
  func.return
}

// CHECK-LABEL: func.func @points
// CHECK:         [[N:%\d+]] = memref.dim %x
// CHECK:         [[M:%\d+]] = memref.dim %x
// CHECK:         [[TOTAL:%\d+]] = arith.muli [[N]], [[M]]
// CHECK:         [[TILES:%\d+]] = arith.ceildivui [[TOTAL]]
// CHECK:         [[BLOCKS:%\d+]] = arith.minui [[TILES]]
// CHECK:         "gpu.launch"([[BLOCKS]], [[ONE:%\d+]], [[ONE]], [[THREADS:%\d+]], [[ONE]], [[ONE]])
// CHECK:           scf.for [[TILE:%\d+]] = %block to [[TILES]] step [[BLOCKS]] {
// CHECK:             [[START:%\d+]] = arith.muli [[TILE]]
// CHECK-NEXT:        [[POINT:%\d+]] = arith.addi %thread, [[START]]
// CHECK-NEXT:        [[INSIDE:%\d+]] = arith.cmpi ult, [[POINT]], [[TOTAL]]
// CHECK-NEXT:        scf.if [[INSIDE]] {
// CHECK-NEXT:          [[J:%\d+]] = arith.remui [[POINT]], [[M]]
// CHECK-NEXT:          [[I:%\d+]] = arith.divui [[POINT]], [[M]]
// CHECK:               memref.load %a[[[I]], [[J]]]
// CHECK:               memref.store {{.*}}, %x[{{.*}}, [[I]], [[J]]]
// CHECK:               memref.load %b[[[I]], [[J]]]
// CHECK-NEXT:          arith.truncf
// CHECK:             }
// CHECK:           "gpu.terminator"
// CHECK-NEXT:    }) {module = @points_gather_0, function = @points_gather_0}

// -----

// Features last: rows go through shared memory. They lie there as in the tensor if they are not of whole 16 bytes.

func.func @staged(%a: memref<?xf32, strided<[?], offset: ?>>, %b: memref<?x2xi32, strided<[1, 1]>>, %x: memref<?x3xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  hpacml.fused_gather %a, %b into %x at %c0, %c1 features [1] : memref<?xf32, strided<[?], offset: ?>>, memref<?x2xi32, strided<[1, 1]>> -> memref<?x3xf32>
  func.return
}

// CHECK:         "memref.global"() <{sym_name = "hpacml_tile_0", type = memref<768xf32, 3 : i64>, initial_value, sym_visibility = "private", alignment = 16 : i64}>
// CHECK-LABEL: func.func @staged
// CHECK:         [[ROWS:%x_\d+]] = memref.reinterpret_cast %x {{.*}} to memref<?xf32, strided<[1]>>
// CHECK:         [[ADDRESS:%\d+]] = "memref.extract_aligned_pointer_as_index"(%x)
// CHECK:         [[REST:%\d+]] = arith.remui [[ADDRESS]]
// CHECK:         [[ALIGNED:%\d+]] = arith.cmpi eq, [[REST]]
// CHECK:         "gpu.launch"
// CHECK:           scf.for
// CHECK:             [[COUNT:%\d+]] = arith.minui
// CHECK:             [[TILE:%\d+]] = memref.get_global @hpacml_tile_0
// CHECK-NEXT:        [[INSIDE:%\d+]] = arith.cmpi ult, %thread, [[COUNT]]
// CHECK-NEXT:        scf.if [[INSIDE]] {
// CHECK:               memref.load %a
// CHECK-NEXT:          memref.store {{.*}}, [[TILE]]
// CHECK-COUNT-2:       arith.sitofp
// CHECK:             "gpu.barrier"
// CHECK:             [[FULL:%\d+]] = arith.cmpi eq, [[COUNT]]
// CHECK-NEXT:        [[FAST:%\d+]] = arith.andi [[FULL]], [[ALIGNED]]
// CHECK-NEXT:        scf.if [[FAST]] {
// CHECK:               scf.for [[E:%\d+]] =
// CHECK:                 [[FOUR:%\d+]] = vector.load [[TILE]][[[E]]] {alignment = 16 : i64}
// CHECK-NEXT:            vector.store [[FOUR]], [[ROWS]][{{.*}}] {alignment = 16 : i64}
// CHECK:             } else {
// CHECK:               scf.for
// CHECK:                 memref.load [[TILE]]
// CHECK-NEXT:            memref.store {{.*}}, [[ROWS]]
// CHECK:             "gpu.barrier"

// -----

// The other way round, with rows of whole 16 bytes, which lie an element further apart in shared memory; rows of a view
// are read by threads side by side.

func.func @scattered(%a: memref<?x4xf64, strided<[4, 1]>>, %x: memref<?x4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.unpack %a from %x at %c0 features [1] : memref<?x4xf64, strided<[4, 1]>>, memref<?x4xf64>
  func.return
}

// CHECK:         type = memref<1280xf64, 3 : i64>
// CHECK-LABEL: func.func @scattered
// CHECK:         [[TILE:%\d+]] = memref.get_global @hpacml_tile_0
// CHECK:         [[TWO:%\d+]] = vector.load %x_{{.*}} : memref<?xf64, strided<[1]>>, vector<2xf64>
// CHECK-COUNT-2: vector.extract
// CHECK:         "gpu.barrier"
// CHECK:         scf.for [[E:%\d+]] = %thread to
// CHECK-NEXT:      [[F:%\d+]] = arith.remui [[E]]
// CHECK:           memref.load [[TILE]]
// CHECK-NEXT:      memref.store {{.*}}, %a[{{%\d+}}, [[F]]]
// CHECK:         "gpu.barrier"

// -----

// How many features there are is not known: a thread has one.

func.func @elements(%a: memref<?x?xf32>, %b: memref<?xf32>, %x: memref<?x?xf32>, %m: index) {
  %c0 = arith.constant 0 : index
  hpacml.fused_gather %a, %b into %x at %c0, %m features [1] : memref<?x?xf32>, memref<?xf32> -> memref<?x?xf32>
  func.return
}

// CHECK-LABEL: func.func @elements
// CHECK:         [[F:%\d+]] = memref.dim %x
// CHECK:         "gpu.launch"
// CHECK:           [[FEATURE:%\d+]] = arith.remui [[ELEMENT:%\d+]], [[F]]
// CHECK-NEXT:      [[I:%\d+]] = arith.divui [[ELEMENT]], [[F]]
// CHECK-NEXT:      [[FIRST:%\d+]] = arith.cmpi ult, [[FEATURE]], %m
// CHECK-NEXT:      scf.if [[FIRST]] {
// CHECK-NEXT:        memref.load %a[[[I]], [[FEATURE]]]
// CHECK:           } else {
// CHECK:             memref.load %b[[[I]]]

// -----

// Indices are read by the thread that needs them, once for each point.

func.func @indirect(%rows: memref<?x3x?xf32, strided<[0, 1, 3]>>, %idx: memref<?x3xi32, strided<[1, 0]>>, %x: memref<3x?xf32>) {
  %c0 = arith.constant 0 : index
  %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32, strided<[0, 1, 3]>>[memref<?x3xi32, strided<[1, 0]>>] -> !hpacml.indirect<?x3xf32>
  hpacml.pack %v into %x at %c0 features [0] : !hpacml.indirect<?x3xf32>, memref<3x?xf32>
  func.return
}

// CHECK-LABEL: func.func @indirect
// CHECK-NOT:     {{hpacml(_rt)?\.}}
// CHECK:         "gpu.launch"
// CHECK:           memref.load %idx
// CHECK-NOT:       memref.load %idx
// CHECK-COUNT-3:   memref.load %rows
// CHECK:           "gpu.terminator"

// -----

// A nest of parallel loops is one kernel. What is between the loops goes before the kernel or into it, loops inside become
// sequential, and calls are inlined.

func.func private @twice(%x: f32) -> f32 {
  %y = arith.addf %x, %x : f32
  func.return %y : f32
}

func.func @nest(%a: memref<?x?xf32>, %n: index, %m: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  "scf.parallel"(%c1, %n, %c2) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %end = arith.addi %m, %m : index
    %before = arith.subi %i, %c1 : index
    "scf.parallel"(%c0, %end, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
    ^bb0(%j: index):
      "scf.parallel"(%c0, %j, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
      ^bb0(%k: index):
        %v = memref.load %a[%before, %k] : memref<?x?xf32>
        %w = func.call @twice(%v) : (f32) -> f32
        memref.store %w, %a[%i, %k] : memref<?x?xf32>
        scf.reduce
      }) : (index, index, index) -> ()
      scf.reduce
    }) : (index, index, index) -> ()
    scf.reduce
  }) : (index, index, index) -> ()
  func.return
}

// CHECK-NOT:   func.func private @twice
// CHECK-LABEL: func.func @nest
// CHECK-NOT:     scf.parallel
// CHECK:         arith.ceildivsi
// CHECK:         %end = arith.addi %m, %m
// CHECK:         "gpu.launch"
// CHECK:           scf.if
// CHECK:             %j = arith.remui
// CHECK:             %i = arith.addi
// CHECK:             %before = arith.subi %i
// CHECK:             scf.for %k = %c0 to %j step %c1 {
// CHECK-NEXT:          %v = memref.load
// CHECK-NEXT:          %y = arith.addf %v, %v
// CHECK-NEXT:          memref.store %y, %a[%i, %k]
// CHECK-NOT:     scf.parallel
// CHECK:         "gpu.terminator"
// CHECK:         module = @nest_loop_0

// -----

// Kernels have names of their own: by function and kind, and by a number that makes them differ from all symbols.

func.func private @two_scatter_1()

func.func @two(%a: memref<2x?xf32>, %b: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  hpacml.pack %b into %a at %c0 features [0] : memref<?xf32>, memref<2x?xf32>
  hpacml.unpack %b from %a at %c0 features [0] : memref<?xf32>, memref<2x?xf32>
  hpacml.unpack %b from %a at %c1 features [0] : memref<?xf32>, memref<2x?xf32>
  func.return
}

// CHECK-LABEL: func.func @two(
// CHECK:         module = @two_gather_0, function = @two_gather_0
// CHECK:         module = @two_scatter_0, function = @two_scatter_0
// CHECK:         module = @two_scatter_2, function = @two_scatter_2

// -----

// Indices that lie outside raise a flag of the function. The number of the check, the index and the size tell why: by the
// thread that raised it first. The comparison has 64 bits, whatever those of the index are.

func.func @inside(%idx: memref<?xi8>, %n: index, %x: memref<?xf32>, %bound: index) {
  %ok = hpacml_rt.in_bounds %idx below %n : memref<?xi8>
  hpacml_rt.check_map %ok to "f: [i] = ([i])" names ["x", "idx"] targets [#hpacml.target<[*[0 : ?]]>]
    sizes(%n, %n) bounds(%bound) params() of [] text "f(x[idx[0:n]])"
  func.return
}

// CHECK-LABEL: func.func @inside
// CHECK-NEXT:    [[FLAG:%\d+]], [[RECORD:%\d+]], [[FIRST:%\d+]] = hpacml_rt.flag "inside" ["f(x[idx[0:n]])"]
// CHECK:         "gpu.launch"
// CHECK:           [[K:%\d+]] = memref.load %idx
// CHECK-NEXT:      [[INDEX:%\d+]] = arith.extui [[K]] : i8 to i64
// CHECK-NEXT:      [[SIZE:%\d+]] = arith.index_cast %n : index to i64
// CHECK-NEXT:      [[OUTSIDE:%\d+]] = arith.cmpi uge, [[INDEX]], [[SIZE]] : i64
// CHECK-NEXT:      scf.if [[OUTSIDE]] {
// CHECK:             [[BEFORE:%\d+]] = "memref.atomic_rmw"({{.*}}, [[FLAG]], {{.*}}) <{kind = 14 : i64}>
// CHECK:             [[NEW:%\d+]] = arith.cmpi eq, [[BEFORE]], {{.*}} : i32
// CHECK-NEXT:        scf.if [[NEW]] {
// CHECK-NEXT:          [[NUMBER:%\d+]] = arith.index_cast [[FIRST]] : index to i64
// CHECK-NEXT:          memref.store [[NUMBER]], [[RECORD]]
// CHECK:               memref.store [[INDEX]], [[RECORD]]
// CHECK:               memref.store [[SIZE]], [[RECORD]]
// CHECK:         }) {module = @inside_check_0, function = @inside_check_0}
// CHECK-NEXT:    [[OK:%\w+]] = hpacml_rt.flag_down [[FLAG]]
// CHECK-NEXT:    hpacml_rt.check_map [[OK]]

// -----

// Kernels that follow indices have no tiles where the flag is raised; others need not look at it. Marks are set, and
// cleared before, by atomic changes, since two threads may come to the same one.

func.func @different(%marks: memref<4x9xi8, strided<[0, 1]>>, %t: memref<4x9xf32, strided<[0, 1]>>, %idx: memref<4xi32>, %a: memref<4xf32>, %x: memref<4xf32>) -> i1 {
  %c0 = arith.constant 0 : index
  %v = hpacml.indirect %marks[%idx] : memref<4x9xi8, strided<[0, 1]>>[memref<4xi32>] -> !hpacml.indirect<4xi8>
  %ok = hpacml_rt.distinct %v : !hpacml.indirect<4xi8>
  hpacml.pack %a into %x at %c0 features [] : memref<4xf32>, memref<4xf32>
  %w = hpacml.indirect %t[%idx] : memref<4x9xf32, strided<[0, 1]>>[memref<4xi32>] -> !hpacml.indirect<4xf32>
  hpacml.unpack %w from %x at %c0 features [] : !hpacml.indirect<4xf32>, memref<4xf32>
  func.return %ok : i1
}

// CHECK-LABEL: func.func @different
// CHECK-NEXT:    [[FLAG:%\d+]], [[RECORD:%\d+]], [[FIRST:%\d+]] = hpacml_rt.flag "different" [""]
// CHECK:         "gpu.launch"
// CHECK:           [[RAISED:%\d+]] = memref.load [[FLAG]]
// CHECK:           [[DOWN:%\d+]] = arith.cmpi eq, [[RAISED]]
// CHECK-NEXT:      [[TILES:%\d+]] = arith.select [[DOWN]]
// CHECK-NEXT:      scf.for {{.*}} to [[TILES]] step
// CHECK:             "memref.atomic_rmw"({{.*}}, %marks, {{.*}}) <{kind = 2 : i64}>
// CHECK:         }) {module = @different_check_0
// CHECK:         "gpu.launch"
// CHECK:           memref.load [[FLAG]]
// CHECK:             "memref.atomic_rmw"({{.*}}, %marks, {{.*}}) <{kind = 14 : i64}>
// CHECK:             "memref.atomic_rmw"({{.*}}, [[FLAG]], {{.*}}) <{kind = 14 : i64}>
// CHECK:         }) {module = @different_check_1
// CHECK-NEXT:    hpacml_rt.flag_down [[FLAG]]
// CHECK:         "gpu.launch"
// CHECK-NOT:       memref.load [[FLAG]]
// CHECK:         }) {module = @different_gather_0
// CHECK:         "gpu.launch"
// CHECK:           memref.load [[FLAG]]
// CHECK:         }) {module = @different_scatter_0
