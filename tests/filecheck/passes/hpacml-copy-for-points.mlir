// The array that the code writes is kept, and restored; the one that it reads is not.

// RUN: hpacml-opt %s -p hpacml-copy-for-points | filecheck %s

hpacml.functor @f : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @g : [i, 0:1] = ([i])
func.func private @step(%t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>) {
  %i = arith.constant 3 : index
  %a = memref.load %t[%i] : memref<?xf32>
  memref.store %a, %u[%i] : memref<?xf32, strided<[?], offset: ?>>
  func.return
}
func.func @r(%t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>, %mask: memref<8xi8>, %y: memref<8x1xf32>) {
  %in = hpacml.map to @f(%t[1 : 9]) : memref<?xf32> -> !hpacml.mapping<8x2xf32>
  %out = hpacml.map from @g(%u[1 : 9]) : memref<?xf32, strided<[?], offset: ?>> -> !hpacml.mapping<8x1xf32>
  hpacml.body_where "r" @step(%t, %u : memref<?xf32>, memref<?xf32, strided<[?], offset: ?>>) at %mask : memref<8xi8> from (%in : !hpacml.mapping<8x2xf32>) to (%out : !hpacml.mapping<8x1xf32>) into (%y : memref<8x1xf32>)
  hpacml.body_aside "r" @step(%t, %u : memref<?xf32>, memref<?xf32, strided<[?], offset: ?>>) to (%out : !hpacml.mapping<8x1xf32>) into (%y : memref<8x1xf32>)
  func.return
}

// CHECK:       builtin.module {
// CHECK-NEXT:    hpacml.functor @f : [i, 0:2] = ([i - 1], [i + 1])
// CHECK-NEXT:    hpacml.functor @g : [i, 0:1] = ([i])
// CHECK-NEXT:    func.func private @step(%t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>) {
// CHECK-NEXT:      %i = arith.constant 3 : index
// CHECK-NEXT:      %a = memref.load %t[%i] : memref<?xf32>
// CHECK-NEXT:      memref.store %a, %u[%i] : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }
// CHECK-NEXT:    func.func @r(%t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>, %mask: memref<8xi8>, %y: memref<8x1xf32>) {
// CHECK-NEXT:      %in = hpacml.map to @f(%t[1 : 9]) : memref<?xf32> -> !hpacml.mapping<8x2xf32>
// CHECK-NEXT:      %out = hpacml.map from @g(%u[1 : 9]) : memref<?xf32, strided<[?], offset: ?>> -> !hpacml.mapping<8x1xf32>
// CHECK-NEXT:      %0 = arith.constant 0 : index
// CHECK-NEXT:      %1 = memref.dim %u, %0 : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:      %kept = memref.alloc(%1) : memref<?xf32>
// CHECK-NEXT:      %2 = arith.constant 0 : index
// CHECK-NEXT:      %3 = memref.dim %u, %2 : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:      %4 = arith.constant 0 : index
// CHECK-NEXT:      %5 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%4, %3, %5) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%6: index):
// CHECK-NEXT:        %7 = memref.load %u[%6] : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:        memref.store %7, %kept[%6] : memref<?xf32>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index) -> ()
// CHECK-NEXT:      %8 = hpacml.body "r" @step(%t, %u : memref<?xf32>, memref<?xf32, strided<[?], offset: ?>>)
// CHECK-NEXT:      %original = hpacml.tensor fresh %out : !hpacml.mapping<8x1xf32> -> memref<8x1xf32>
// CHECK-NEXT:      hpacml.gather %out into %original : !hpacml.mapping<8x1xf32>, memref<8x1xf32>
// CHECK-NEXT:      hpacml.merge %original into %y features [1] at %mask : memref<8x1xf32>, memref<8x1xf32>, memref<8xi8>
// CHECK-NEXT:      %9 = arith.constant 0 : index
// CHECK-NEXT:      %10 = memref.dim %kept, %9 : memref<?xf32>
// CHECK-NEXT:      %11 = arith.constant 0 : index
// CHECK-NEXT:      %12 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%11, %10, %12) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%13: index):
// CHECK-NEXT:        %14 = memref.load %kept[%13] : memref<?xf32>
// CHECK-NEXT:        memref.store %14, %u[%13] : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index) -> ()
// CHECK-NEXT:      memref.dealloc %kept : memref<?xf32>
// CHECK-NEXT:      hpacml.keep_random
// CHECK-NEXT:      %15 = arith.constant 0 : index
// CHECK-NEXT:      %16 = memref.dim %u, %15 : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:      %kept_1 = memref.alloc(%16) : memref<?xf32>
// CHECK-NEXT:      %17 = arith.constant 0 : index
// CHECK-NEXT:      %18 = memref.dim %u, %17 : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:      %19 = arith.constant 0 : index
// CHECK-NEXT:      %20 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%19, %18, %20) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%21: index):
// CHECK-NEXT:        %22 = memref.load %u[%21] : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:        memref.store %22, %kept_1[%21] : memref<?xf32>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index) -> ()
// CHECK-NEXT:      %23 = hpacml.body "r" @step(%t, %u : memref<?xf32>, memref<?xf32, strided<[?], offset: ?>>)
// CHECK-NEXT:      hpacml.gather %out into %y : !hpacml.mapping<8x1xf32>, memref<8x1xf32>
// CHECK-NEXT:      %24 = arith.constant 0 : index
// CHECK-NEXT:      %25 = memref.dim %kept_1, %24 : memref<?xf32>
// CHECK-NEXT:      %26 = arith.constant 0 : index
// CHECK-NEXT:      %27 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%26, %25, %27) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%28: index):
// CHECK-NEXT:        %29 = memref.load %kept_1[%28] : memref<?xf32>
// CHECK-NEXT:        memref.store %29, %u[%28] : memref<?xf32, strided<[?], offset: ?>>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index) -> ()
// CHECK-NEXT:      memref.dealloc %kept_1 : memref<?xf32>
// CHECK-NEXT:      hpacml.keep_random restore
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }
// CHECK-NEXT:  }
