// RUN: hpacml-opt %s -p 'hpacml-split-networks{images=16}' --split-input-file | filecheck %s

// Sixteen images at a time, whose pixels lie as the features of the second network.

func.func @digits(%x: memref<?x1x8x8xf32>, %y: memref<?x2xf64>, %w1: memref<20xf32>, %w2: memref<146xf32>) {
  hpacml.network ["image(1, 8, 8)", "conv(1, 2, 3x3)", "flatten", "relu", "linear(72, 2)"] of f32 sweep 1
    weights(%w1, %w2 : memref<20xf32>, memref<146xf32>) ins(%x : memref<?x1x8x8xf32>) outs(%y : memref<?x2xf64>)
  func.return
}

// CHECK-LABEL: func.func @digits(%x: memref<?x1x8x8xf32>, %y: memref<?x2xf64>, %w1: memref<20xf32>, %w2: memref<146xf32>) {
// CHECK-NEXT:    %0 = memref.alloc() {alignment = 64 : i64} : memref<16x2x6x6xf32>
// CHECK-NEXT:    %1 = arith.constant 0 : index
// CHECK-NEXT:    %2 = memref.dim %x, %1 : memref<?x1x8x8xf32>
// CHECK-NEXT:    %3 = arith.constant 0 : index
// CHECK-NEXT:    %4 = arith.constant 16 : index
// CHECK-NEXT:    scf.for %5 = %3 to %2 step %4 {
// CHECK-NEXT:      %6 = arith.subi %2, %5 : index
// CHECK-NEXT:      %7 = arith.constant 16 : index
// CHECK-NEXT:      %8 = arith.minsi %6, %7 : index
// CHECK-NEXT:      %9 = memref.subview %x[%5, 0, 0, 0] [%8, 1, 8, 8] [1, 1, 1, 1] : memref<?x1x8x8xf32> to memref<?x1x8x8xf32, strided<[64, 64, 8, 1], offset: ?>>
// CHECK-NEXT:      %10 = memref.subview %y[%5, 0] [%8, 2] [1, 1] : memref<?x2xf64> to memref<?x2xf64, strided<[2, 1], offset: ?>>
// CHECK-NEXT:      %11 = memref.subview %0[0, 0, 0, 0] [%8, 2, 6, 6] [1, 1, 1, 1] : memref<16x2x6x6xf32> to memref<?x2x6x6xf32, strided<[72, 36, 6, 1]>>
// CHECK-NEXT:      %12 = memref.reinterpret_cast %0 to offset: [0], sizes: [%8, 72], strides: [72, 1] : memref<16x2x6x6xf32> to memref<?x72xf32>
// CHECK-NEXT:      hpacml.network ["image(1, 8, 8)", "conv(1, 2, 3x3)"] of f32 sweep 1 weights(%w1 : memref<20xf32>) ins(%9 : memref<?x1x8x8xf32, strided<[64, 64, 8, 1], offset: ?>>) outs(%11 : memref<?x2x6x6xf32, strided<[72, 36, 6, 1]>>)
// CHECK-NEXT:      hpacml.network ["relu", "linear(72, 2)"] of f32 sweep 1 weights(%w2 : memref<146xf32>) ins(%12 : memref<?x72xf32>) outs(%10 : memref<?x2xf64, strided<[2, 1], offset: ?>>)
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc %0 : memref<16x2x6x6xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Nothing is flattened.

func.func @same(%x: memref<?x1x8x8xf32>) {
  hpacml.network ["image(1, 8, 8)", "tanh"] of f32 sweep 1 ins(%x : memref<?x1x8x8xf32>) outs(%x : memref<?x1x8x8xf32>)
  func.return
}

// CHECK-LABEL: func.func @same(%x: memref<?x1x8x8xf32>) {
// CHECK-NEXT:    hpacml.network ["image(1, 8, 8)", "tanh"] of f32 sweep 1 ins(%x : memref<?x1x8x8xf32>) outs(%x : memref<?x1x8x8xf32>)
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
