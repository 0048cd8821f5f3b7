// The code runs on a copy of the array that it writes, unless the arrays share memory: then that is kept, and restored.
// Code in Python copies what it needs.

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
func.func private @python(%t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>) {
  hpacml.call_python 0 (%t, %u : memref<?xf32>, memref<?xf32, strided<[?], offset: ?>>) writes [1]
  func.return
}
func.func @of_python(%t: memref<?xf32>, %u: memref<?xf32, strided<[?], offset: ?>>, %mask: memref<8xi8>, %y: memref<8x1xf32>) {
  %in = hpacml.map to @f(%t[1 : 9]) : memref<?xf32> -> !hpacml.mapping<8x2xf32>
  %out = hpacml.map from @g(%u[1 : 9]) : memref<?xf32, strided<[?], offset: ?>> -> !hpacml.mapping<8x1xf32>
  hpacml.body_where "r" @python(%t, %u : memref<?xf32>, memref<?xf32, strided<[?], offset: ?>>) at %mask : memref<8xi8> from (%in : !hpacml.mapping<8x2xf32>) to (%out : !hpacml.mapping<8x1xf32>) into (%y : memref<8x1xf32>)
  func.return
}

// CHECK-LABEL: func.func @r(
// CHECK:         %out = hpacml.map from @g(%u[1 : 9])
// CHECK:         %[[apart:.*]] = arith.ori {{.*}} : i1
// CHECK-NEXT:    scf.if %[[apart]] {
// CHECK:           %copy = memref.alloc({{.*}}) : memref<?xf32>
// CHECK:             %[[element:.*]] = memref.load %u[%[[i:.*]]] :
// CHECK-NEXT:        memref.store %[[element]], %copy[%[[i]]]
// CHECK:           %[[stands:.*]] = "memref.cast"(%copy)
// CHECK-NEXT:      %{{.*}} = hpacml.body "r" @step(%t, %[[stands]] :
// CHECK-NEXT:      %out_1 = hpacml.map from @g(%[[stands]][1 : 9])
// CHECK-NEXT:      %original = hpacml.tensor fresh %out_1
// CHECK-NEXT:      hpacml.gather %out_1 into %original
// CHECK-NEXT:      hpacml.merge %original into %y features [1] at %mask
// CHECK-NEXT:      memref.dealloc %copy
// CHECK-NEXT:    } else {
// CHECK:             %[[element:.*]] = memref.load %u[%[[i:.*]]] :
// CHECK-NEXT:        memref.store %[[element]], %copy_1[%[[i]]]
// CHECK:           %{{.*}} = hpacml.body "r" @step(%t, %u :
// CHECK:           hpacml.gather %out into %original_1
// CHECK-NEXT:      hpacml.merge %original_1 into %y features [1] at %mask
// CHECK:             %[[element:.*]] = memref.load %copy_1[%[[i:.*]]] :
// CHECK-NEXT:        memref.store %[[element]], %u[%[[i]]]
// CHECK:           memref.dealloc %copy_1
// CHECK-NEXT:    }
// CHECK-NEXT:    hpacml.keep_random
// CHECK:         scf.if
// CHECK:           %out_2 = hpacml.map from @g(
// CHECK-NEXT:      hpacml.gather %out_2 into %y
// CHECK:         } else {
// CHECK:           hpacml.gather %out into %y
// CHECK:         hpacml.keep_random restore
// CHECK-NEXT:    func.return

// CHECK-LABEL: func.func @of_python(
// CHECK-NOT:     scf
// CHECK:         %[[stands:.*]] = "memref.cast"(%copy)
// CHECK-NEXT:    %{{.*}} = hpacml.body "r" @python(%t, %[[stands]] :
// CHECK-NEXT:    %out_1 = hpacml.map from @g(%[[stands]][1 : 9])
