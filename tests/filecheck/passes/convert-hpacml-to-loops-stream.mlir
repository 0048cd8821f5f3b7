// RUN: hpacml-opt %s -p "convert-hpacml-to-loops{stream=1024}" --split-input-file | filecheck %s

// A tensor of more than 1,024 bytes is filled tile by tile, each of which is written as whole lines past the caches.

func.func @gather(%a: memref<?x?xf32>, %b: memref<?x?xf64>, %x: memref<?x?x2xf64>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  hpacml.fused_gather %a, %b into %x at %c0, %c1 features [2] : memref<?x?xf32>, memref<?x?xf64> -> memref<?x?x2xf64>
  func.return
}

// CHECK-LABEL: func.func @gather
// CHECK:         [[TILE:%\d+]] = memref.alloca() {alignment = 64 : i64} : memref<512xf64>
// CHECK:         arith.cmpi sle, {{.*}} : index
// CHECK:         scf.if
// CHECK:           scf.for [[I:%\d+]] =
// CHECK:             scf.for [[FIRST:%\d+]] =
// CHECK:               scf.for
// CHECK:                 [[J:%\d+]] = arith.addi [[FIRST]]
// CHECK:                 memref.load %a[[[I]], [[J]]]
// CHECK:                 arith.extf
// CHECK:                 memref.store {{.*}}, [[TILE]]
// CHECK:                 memref.load %b[[[I]], [[J]]]
// CHECK:                 memref.store {{.*}}, [[TILE]]
// CHECK:               memref.extract_aligned_pointer_as_index
// CHECK:               memref.load [[TILE]]
// CHECK:               memref.store
// CHECK:               vector.load [[TILE]]
// CHECK:               vector.store {{.*}} {alignment = 64 : i64, nontemporal = true} {{.*}} vector<8xf64>
// CHECK:               memref.load [[TILE]]
// CHECK:               memref.store
// CHECK:           llvm.call_intrinsic "llvm.x86.sse.sfence"
// CHECK:         } else {
// CHECK:           "scf.parallel"

// -----

// What fills a part of a tensor, or a tensor that is read again here, is not.

func.func @part(%a: memref<?xf32>, %x: memref<?x2xf32>) {
  %c1 = arith.constant 1 : index
  hpacml.pack %a into %x at %c1 features [1] : memref<?xf32>, memref<?x2xf32>
  func.return
}

func.func @temporary(%a: memref<?xf32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %x = memref.alloc(%n) : memref<?x2xf32>
  hpacml.fused_gather %a, %a into %x at %c0, %c1 features [1] : memref<?xf32>, memref<?xf32> -> memref<?x2xf32>
  memref.dealloc %x : memref<?x2xf32>
  func.return
}

// CHECK-LABEL: func.func @part
// CHECK-NOT:     scf.if
// CHECK-LABEL: func.func @temporary
// CHECK-NOT:     scf.if
// CHECK:         memref.dealloc
