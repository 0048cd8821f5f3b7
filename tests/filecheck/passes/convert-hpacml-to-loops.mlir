// RUN: hpacml-opt %s -p convert-hpacml-to-loops --split-input-file | filecheck %s

// All views in one sweep; the features of a view are unrolled.

func.func @gather(%a: memref<?x?xf32>, %row: memref<?x?x3xf32>, %x: memref<?x?x4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  hpacml.fused_gather %a, %row into %x at %c0, %c1 features [2] : memref<?x?xf32>, memref<?x?x3xf32> -> memref<?x?x4xf32>
  func.return
}

// CHECK-LABEL: func.func @gather
// CHECK:         memref.dim %x
// CHECK:         memref.dim %x
// CHECK:         "scf.parallel"
// CHECK:           memref.load %a[[[I:%\d+]], [[J:%\d+]]]
// CHECK:           memref.store {{.*}}, %x[[[I]], [[J]], {{.*}}]
// CHECK-COUNT-3:   memref.load %row[[[I]], [[J]], {{.*}}]
// CHECK:           memref.store
// CHECK-NEXT:      scf.reduce

// -----

// The other way round, one view by itself.

func.func @unpack(%a: memref<?xf32>, %x: memref<?x2xf32>) {
  %c1 = arith.constant 1 : index
  hpacml.unpack %a from %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  func.return
}

// CHECK-LABEL: func.func @unpack
// CHECK:         "scf.parallel"
// CHECK:           [[V:%\d+]] = memref.load %x[[[I:%\d+]], {{.*}}]
// CHECK-NEXT:      memref.store [[V]], %a[[[I]]]

// -----

// Elements are converted on the way: the 8-bit integer is unsigned.

func.func @convert(%u8: memref<8xi8>, %i64: memref<8xi64>, %f64: memref<8xf64>, %f32: memref<8xf32>, %f16: memref<8xf16>, %bf16: memref<8xbf16>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %u8 into %f32 at %c0 features [] : memref<8xi8>, memref<8xf32>
  hpacml.pack %i64 into %f32 at %c0 features [] : memref<8xi64>, memref<8xf32>
  hpacml.pack %f64 into %f32 at %c0 features [] : memref<8xf64>, memref<8xf32>
  hpacml.pack %f32 into %f64 at %c0 features [] : memref<8xf32>, memref<8xf64>
  hpacml.pack %f16 into %bf16 at %c0 features [] : memref<8xf16>, memref<8xbf16>
  hpacml.pack %f32 into %u8 at %c0 features [] : memref<8xf32>, memref<8xi8>
  hpacml.pack %f32 into %i64 at %c0 features [] : memref<8xf32>, memref<8xi64>
  hpacml.pack %u8 into %i64 at %c0 features [] : memref<8xi8>, memref<8xi64>
  hpacml.pack %i64 into %u8 at %c0 features [] : memref<8xi64>, memref<8xi8>
  func.return
}

// CHECK-LABEL: func.func @convert
// CHECK:         arith.uitofp {{.*}} : i8 to f32
// CHECK:         arith.sitofp {{.*}} : i64 to f32
// CHECK:         arith.truncf {{.*}} : f64 to f32
// CHECK:         arith.extf {{.*}} : f32 to f64
// CHECK:         arith.extf {{.*}} : f16 to f32
// CHECK-NEXT:    arith.truncf {{.*}} : f32 to bf16
// CHECK:         arith.fptoui {{.*}} : f32 to i8
// CHECK:         arith.fptosi {{.*}} : f32 to i64
// CHECK:         arith.extui {{.*}} : i8 to i64
// CHECK:         arith.trunci {{.*}} : i64 to i8

// -----

// As many features as only the run knows, in a loop.

func.func @block(%a: memref<?x?xf32>, %x: memref<?x?xf32>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %a into %x at %c0 features [1] : memref<?x?xf32>, memref<?x?xf32>
  func.return
}

// CHECK-LABEL: func.func @block
// CHECK:         "scf.parallel"
// CHECK:           scf.for [[F:%\d+]] =
// CHECK:             memref.load %a[[[I:%\d+]], [[F]]]
// CHECK:             memref.store {{.*}}, %x[[[I]], [[F]]]

// -----

// Several feature dimensions, around the sweep: feature 3 of 2 x 3 is [1, 0].

func.func @channels(%a: memref<?xf32>, %x: memref<2x?x3xf32>) {
  %c3 = arith.constant 3 : index
  hpacml.pack %a into %x at %c3 features [0, 2] : memref<?xf32>, memref<2x?x3xf32>
  func.return
}

// CHECK-LABEL: func.func @channels
// CHECK:         [[ONE:%\d+]] = arith.constant 1 : index
// CHECK:         [[ZERO:%\d+]] = arith.constant 0 : index
// CHECK:         memref.store {{.*}}, %x[[[ONE]], {{.*}}, [[ZERO]]]

// -----

// More features than are unrolled, in a loop as well; what they fill has two dimensions, so each is divided into a place.

func.func @many(%a: memref<?x65xf32>, %x: memref<?x13x6xf32>) {
  %c1 = arith.constant 1 : index
  hpacml.pack %a into %x at %c1 features [1, 2] : memref<?x65xf32>, memref<?x13x6xf32>
  func.return
}

// CHECK-LABEL: func.func @many
// CHECK:         "scf.parallel"
// CHECK:         ^bb0([[I:%\d+]]: index):
// CHECK:           scf.for [[F:%\d+]] = {{.*}} {
// CHECK:             [[NUMBER:%\d+]] = arith.addi [[F]], {{.*}} : index
// CHECK:             [[COLUMN:%\d+]] = arith.remui [[NUMBER]], {{.*}} : index
// CHECK-NEXT:        [[ROW:%\d+]] = arith.divui [[NUMBER]], {{.*}} : index
// CHECK-NEXT:        [[V:%\d+]] = memref.load %a[[[I]], [[F]]] : memref<?x65xf32>
// CHECK-NEXT:        memref.store [[V]], %x[[[I]], [[ROW]], [[COLUMN]]] : memref<?x13x6xf32>
// CHECK-NEXT:      }
// CHECK-NEXT:      scf.reduce

// -----

// Two feature dimensions of the view, of which one is known at run time only, and a first feature as well.

func.func @nest(%a: memref<?x2x?xf32>, %x: memref<?x?xf32>, %first: index) {
  hpacml.unpack %a from %x at %first features [1] : memref<?x2x?xf32>, memref<?x?xf32>
  func.return
}

// CHECK-LABEL: func.func @nest
// CHECK:         "scf.parallel"
// CHECK:           scf.for [[F:%\d+]] = {{.*}} {
// CHECK:             scf.for [[G:%\d+]] = {{.*}} {
// CHECK:               arith.muli
// CHECK:               [[V:%\d+]] = memref.load %x[[[I:%\d+]], {{%\d+}}] : memref<?x?xf32>
// CHECK-NEXT:          memref.store [[V]], %a[[[I]], [[F]], [[G]]] : memref<?x2x?xf32>

// -----

// No sweep at all: no loop.

func.func @point(%a: memref<3xf32>, %x: memref<3xf32>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %a into %x at %c0 features [0] : memref<3xf32>, memref<3xf32>
  func.return
}

// CHECK-LABEL:   func.func @point
// CHECK-NOT:       scf
// CHECK-COUNT-3:   memref.load %a

// -----

func.func @nothing() {
  func.return
}

// CHECK-LABEL: func.func @nothing
// CHECK-NEXT:    func.return

// -----

// Blocks that lie in memory as in the tensor are one row: a test at run time decides.

func.func @blocks(%a: memref<?x16xf32, strided<[?, 1]>>, %x: memref<?x16xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %a into %x at %c0 features [1] : memref<?x16xf32, strided<[?, 1]>>, memref<?x16xf64>
  func.return
}

// CHECK-LABEL: func.func @blocks
// CHECK:         arith.cmpi eq, {{.*}} : index
// CHECK:         scf.if
// CHECK:           [[A:%\S+]] = memref.reinterpret_cast %a to offset: [0], sizes: {{.*}}, strides: [1]
// CHECK:           [[X:%\S+]] = memref.reinterpret_cast %x to offset: [0], sizes: {{.*}}, strides: [1]
// CHECK:           "scf.parallel"
// CHECK:             memref.load [[A]][[[I:%\d+]]]
// CHECK:             arith.extf
// CHECK:             memref.store {{.*}}, [[X]][[[I]]]
// CHECK:         } else {
// CHECK-COUNT-16:  memref.store

// -----

// Known strides decide at compile time: images one behind the other are a row, columns of an image are none.

func.func @known(%rows: memref<8x3x3xf32>, %columns: memref<8x3xf32, strided<[1, 8]>>, %x: memref<8x3x3xf32>, %y: memref<8x3xf32>) {
  %c0 = arith.constant 0 : index
  hpacml.unpack %rows from %x at %c0 features [1, 2] : memref<8x3x3xf32>, memref<8x3x3xf32>
  hpacml.pack %columns into %y at %c0 features [1] : memref<8x3xf32, strided<[1, 8]>>, memref<8x3xf32>
  func.return
}

// CHECK-LABEL: func.func @known
// CHECK-NOT:     scf.if
// CHECK:         sizes: [72], strides: [1]
// CHECK:         sizes: [72], strides: [1]
// CHECK:         "scf.parallel"
// CHECK:         "scf.parallel"
// CHECK-COUNT-3:   memref.load %columns

// -----

// What is added is added in the order of the sweep, in the type of the view's elements.

func.func @add(%a: memref<?xf64, strided<[?]>>, %n: memref<?xui16, strided<[?]>>, %x: memref<?x2xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  hpacml.fused_scatter add %a, %n from %x at %c0, %c1 features [1] : memref<?xf64, strided<[?]>>, memref<?xui16, strided<[?]>> -> memref<?x2xf32>
  func.return
}

// CHECK-LABEL: func.func @add
// CHECK-NOT:     scf.parallel
// CHECK:         scf.for [[I:%\d+]] =
// CHECK-NEXT:      [[G:%\d+]] = memref.load %x[[[I]], {{.*}}]
// CHECK-NEXT:      [[WIDE:%\d+]] = arith.extf [[G]] : f32 to f64
// CHECK-NEXT:      [[THERE:%\d+]] = memref.load %a[[[I]]]
// CHECK-NEXT:      [[SUM:%\d+]] = arith.addf [[THERE]], [[WIDE]] : f64
// CHECK-NEXT:      memref.store [[SUM]], %a[[[I]]]
// CHECK:           arith.fptoui {{.*}} : f32 to i16
// CHECK:           arith.addi {{.*}} : i16
// CHECK:           memref.store {{.*}}, %n[[[I]]]
// CHECK-NOT:     scf.for
