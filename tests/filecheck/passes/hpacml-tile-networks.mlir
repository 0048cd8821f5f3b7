// RUN: hpacml-opt %s -p 'hpacml-tile-networks' --split-input-file | filecheck %s

// A stencil of two dimensions: rows, and tiles of each row. What a network gives in f64 has a tile of f64.

func.func @heat(%t: memref<?x?xf32, strided<[?, 1], offset: ?>>, %new: memref<?x?x1xf64>, %w1: memref<24xf32>, %n: memref<2xf32>, %w2: memref<9xf32>, %d: memref<2xf64>) {
  hpacml.network ["normalize(1)", "linear(2, 8)", "leaky_relu(0.01)", "linear(8, 1)", "denormalize64(1)"] of f32 sweep 2
    weights(%n, %w1, %w2, %d : memref<2xf32>, memref<24xf32>, memref<9xf32>, memref<2xf64>)
    ins(%t, %t : memref<?x?xf32, strided<[?, 1], offset: ?>>, memref<?x?xf32, strided<[?, 1], offset: ?>>)
    outs(%new : memref<?x?x1xf64>)
  func.return
}

// CHECK-LABEL: func.func @heat(%t: memref<?x?xf32, strided<[?, 1], offset: ?>>, %new: memref<?x?x1xf64>, %w1: memref<24xf32>, %n: memref<2xf32>, %w2: memref<9xf32>, %d: memref<2xf64>) {
// CHECK-NEXT:      %0 = memref.alloc() {alignment = 64 : i64} : memref<2x128xf32>
// CHECK-NEXT:      %1 = memref.alloc() {alignment = 64 : i64} : memref<2x128xf32>
// CHECK-NEXT:      %2 = memref.alloc() {alignment = 64 : i64} : memref<8x128xf32>
// CHECK-NEXT:      %3 = memref.alloc() {alignment = 64 : i64} : memref<1x128xf64>
// CHECK-NEXT:      %4 = arith.constant 0 : index
// CHECK-NEXT:      %5 = memref.dim %t, %4 : memref<?x?xf32, strided<[?, 1], offset: ?>>
// CHECK-NEXT:      %6 = arith.constant 1 : index
// CHECK-NEXT:      %7 = memref.dim %t, %6 : memref<?x?xf32, strided<[?, 1], offset: ?>>
// CHECK-NEXT:      %8 = arith.constant 0 : index
// CHECK-NEXT:      %9 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %10 = %8 to %5 step %9 {
// CHECK-NEXT:        %11 = arith.constant 0 : index
// CHECK-NEXT:        %12 = arith.constant 128 : index
// CHECK-NEXT:        scf.for %13 = %11 to %7 step %12 {
// CHECK-NEXT:          %14 = arith.subi %7, %13 : index
// CHECK-NEXT:          %15 = arith.minsi %14, %12 : index
// CHECK-NEXT:          %16 = arith.constant 0 : index
// CHECK-NEXT:          %17 = memref.subview %t[%10, %13] [1, %15] [1, 1] : memref<?x?xf32, strided<[?, 1], offset: ?>> to memref<?xf32, strided<[1], offset: ?>>
// CHECK-NEXT:          %18 = memref.subview %t[%10, %13] [1, %15] [1, 1] : memref<?x?xf32, strided<[?, 1], offset: ?>> to memref<?xf32, strided<[1], offset: ?>>
// CHECK-NEXT:          %19 = arith.constant 0 : index
// CHECK-NEXT:          %20 = arith.constant 1 : index
// CHECK-NEXT:          %21 = memref.reinterpret_cast %0 to offset: [%16], sizes: [%15, 2], strides: [1, 128] : memref<2x128xf32> to memref<?x2xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:          hpacml.fused_gather %17, %18 into %21 at %19, %20 features [1] : memref<?xf32, strided<[1], offset: ?>>, memref<?xf32, strided<[1], offset: ?>> -> memref<?x2xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:          hpacml.layer ["normalize(1)"] points %15 weights(%n : memref<2xf32>) ins(%0 : memref<2x128xf32>) outs(%1 : memref<2x128xf32>)
// CHECK-NEXT:          hpacml.layer ["linear(2, 8)", "leaky_relu(0.01)"] points %15 weights(%w1 : memref<24xf32>) ins(%1 : memref<2x128xf32>) outs(%2 : memref<8x128xf32>)
// CHECK-NEXT:          hpacml.layer ["linear(8, 1)", "denormalize64(1)"] points %15 weights(%w2, %d : memref<9xf32>, memref<2xf64>) ins(%2 : memref<8x128xf32>) outs(%3 : memref<1x128xf64>)
// CHECK-NEXT:          %22 = arith.constant 0 : index
// CHECK-NEXT:          %23 = memref.subview %new[%10, %13, 0] [1, %15, 1] [1, 1, 1] : memref<?x?x1xf64> to memref<?x1xf64, strided<[1, 1], offset: ?>>
// CHECK-NEXT:          %24 = arith.constant 0 : index
// CHECK-NEXT:          %25 = memref.reinterpret_cast %3 to offset: [%22], sizes: [%15, 1], strides: [1, 128] : memref<1x128xf64> to memref<?x1xf64, strided<[1, 128], offset: ?>>
// CHECK-NEXT:          hpacml.fused_scatter %23 from %25 at %24 features [1] : memref<?x1xf64, strided<[1, 1], offset: ?>> -> memref<?x1xf64, strided<[1, 128], offset: ?>>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:      memref.dealloc %0 : memref<2x128xf32>
// CHECK-NEXT:      memref.dealloc %1 : memref<2x128xf32>
// CHECK-NEXT:      memref.dealloc %2 : memref<8x128xf32>
// CHECK-NEXT:      memref.dealloc %3 : memref<1x128xf64>
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }

// -----

// Tiles have as many bytes of f64. Elements are converted on the way.

func.func @rows(%x: memref<?x3xf64, strided<[?, 1], offset: ?>>, %y: memref<?xf32>, %w: memref<4xf64>) {
  hpacml.network ["linear(3, 1)", "tanh"] of f64 sweep 1 weights(%w : memref<4xf64>)
    ins(%x : memref<?x3xf64, strided<[?, 1], offset: ?>>) outs(%y : memref<?xf32>)
  func.return
}

// CHECK-LABEL: func.func @rows(%x: memref<?x3xf64, strided<[?, 1], offset: ?>>, %y: memref<?xf32>, %w: memref<4xf64>) {
// CHECK-NEXT:      %0 = memref.alloc() {alignment = 64 : i64} : memref<3x64xf64>
// CHECK-NEXT:      %1 = memref.alloc() {alignment = 64 : i64} : memref<1x64xf64>
// CHECK-NEXT:      %2 = arith.constant 0 : index
// CHECK-NEXT:      %3 = memref.dim %x, %2 : memref<?x3xf64, strided<[?, 1], offset: ?>>
// CHECK-NEXT:      %4 = arith.constant 0 : index
// CHECK-NEXT:      %5 = arith.constant 64 : index
// CHECK-NEXT:      scf.for %6 = %4 to %3 step %5 {
// CHECK-NEXT:        %7 = arith.subi %3, %6 : index
// CHECK-NEXT:        %8 = arith.minsi %7, %5 : index
// CHECK-NEXT:        %9 = arith.constant 0 : index
// CHECK-NEXT:        %10 = memref.subview %x[%6, 0] [%8, 3] [1, 1] : memref<?x3xf64, strided<[?, 1], offset: ?>> to memref<?x3xf64, strided<[?, 1], offset: ?>>
// CHECK-NEXT:        %11 = arith.constant 0 : index
// CHECK-NEXT:        %12 = memref.reinterpret_cast %0 to offset: [%9], sizes: [%8, 3], strides: [1, 64] : memref<3x64xf64> to memref<?x3xf64, strided<[1, 64], offset: ?>>
// CHECK-NEXT:        hpacml.fused_gather %10 into %12 at %11 features [1] : memref<?x3xf64, strided<[?, 1], offset: ?>> -> memref<?x3xf64, strided<[1, 64], offset: ?>>
// CHECK-NEXT:        hpacml.layer ["linear(3, 1)", "tanh"] points %8 weights(%w : memref<4xf64>) ins(%0 : memref<3x64xf64>) outs(%1 : memref<1x64xf64>)
// CHECK-NEXT:        %13 = arith.constant 0 : index
// CHECK-NEXT:        %14 = memref.subview %y[%6] [%8] [1] : memref<?xf32> to memref<?xf32, strided<[1], offset: ?>>
// CHECK-NEXT:        %15 = arith.constant 0 : index
// CHECK-NEXT:        %16 = memref.reinterpret_cast %1 to offset: [%13], sizes: [%8, 1], strides: [1, 64] : memref<1x64xf64> to memref<?x1xf64, strided<[1, 64], offset: ?>>
// CHECK-NEXT:        hpacml.fused_scatter %14 from %16 at %15 features [1] : memref<?xf32, strided<[1], offset: ?>> -> memref<?x1xf64, strided<[1, 64], offset: ?>>
// CHECK-NEXT:      }
// CHECK-NEXT:      memref.dealloc %0 : memref<3x64xf64>
// CHECK-NEXT:      memref.dealloc %1 : memref<1x64xf64>
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }

// -----

// A part of a view through indices has parts of the indices.

func.func @indirect(%rows: memref<?x3x?xf32>, %idx: memref<?x3xi32>, %y: memref<?xf32>, %w: memref<4xf32>) {
  %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32>[memref<?x3xi32>] -> !hpacml.indirect<?x3xf32>
  hpacml.network ["clamp(0.0, 1.0)", "linear(3, 1)"] of f32 sweep 1 weights(%w : memref<4xf32>)
    ins(%v : !hpacml.indirect<?x3xf32>) outs(%y : memref<?xf32>)
  func.return
}

// CHECK-LABEL: func.func @indirect(%rows: memref<?x3x?xf32>, %idx: memref<?x3xi32>, %y: memref<?xf32>, %w: memref<4xf32>) {
// CHECK-NEXT:      %v = hpacml.indirect %rows[%idx] : memref<?x3x?xf32>[memref<?x3xi32>] -> !hpacml.indirect<?x3xf32>
// CHECK-NEXT:      %0 = memref.alloc() {alignment = 64 : i64} : memref<3x128xf32>
// CHECK-NEXT:      %1 = memref.alloc() {alignment = 64 : i64} : memref<3x128xf32>
// CHECK-NEXT:      %2 = memref.alloc() {alignment = 64 : i64} : memref<1x128xf32>
// CHECK-NEXT:      %3 = arith.constant 0 : index
// CHECK-NEXT:      %4 = memref.dim %rows, %3 : memref<?x3x?xf32>
// CHECK-NEXT:      %5 = arith.constant 0 : index
// CHECK-NEXT:      %6 = arith.constant 128 : index
// CHECK-NEXT:      scf.for %7 = %5 to %4 step %6 {
// CHECK-NEXT:        %8 = arith.subi %4, %7 : index
// CHECK-NEXT:        %9 = arith.minsi %8, %6 : index
// CHECK-NEXT:        %10 = arith.constant 0 : index
// CHECK-NEXT:        %11 = arith.constant 2 : index
// CHECK-NEXT:        %12 = memref.dim %rows, %11 : memref<?x3x?xf32>
// CHECK-NEXT:        %13 = memref.subview %rows[%7, 0, 0] [%9, 3, %12] [1, 1, 1] : memref<?x3x?xf32> to memref<?x3x?xf32, strided<[?, ?, 1], offset: ?>>
// CHECK-NEXT:        %14 = memref.subview %idx[%7, 0] [%9, 3] [1, 1] : memref<?x3xi32> to memref<?x3xi32, strided<[3, 1], offset: ?>>
// CHECK-NEXT:        %15 = hpacml.indirect %13[%14] : memref<?x3x?xf32, strided<[?, ?, 1], offset: ?>>[memref<?x3xi32, strided<[3, 1], offset: ?>>] -> !hpacml.indirect<?x3xf32>
// CHECK-NEXT:        %16 = arith.constant 0 : index
// CHECK-NEXT:        %17 = memref.reinterpret_cast %0 to offset: [%10], sizes: [%9, 3], strides: [1, 128] : memref<3x128xf32> to memref<?x3xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:        hpacml.fused_gather %15 into %17 at %16 features [1] : !hpacml.indirect<?x3xf32> -> memref<?x3xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:        hpacml.layer ["clamp(0.0, 1.0)"] points %9 ins(%0 : memref<3x128xf32>) outs(%1 : memref<3x128xf32>)
// CHECK-NEXT:        hpacml.layer ["linear(3, 1)"] points %9 weights(%w : memref<4xf32>) ins(%1 : memref<3x128xf32>) outs(%2 : memref<1x128xf32>)
// CHECK-NEXT:        %18 = arith.constant 0 : index
// CHECK-NEXT:        %19 = memref.subview %y[%7] [%9] [1] : memref<?xf32> to memref<?xf32, strided<[1], offset: ?>>
// CHECK-NEXT:        %20 = arith.constant 0 : index
// CHECK-NEXT:        %21 = memref.reinterpret_cast %2 to offset: [%18], sizes: [%9, 1], strides: [1, 128] : memref<1x128xf32> to memref<?x1xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:        hpacml.fused_scatter %19 from %21 at %20 features [1] : memref<?xf32, strided<[1], offset: ?>> -> memref<?x1xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:      }
// CHECK-NEXT:      memref.dealloc %0 : memref<3x128xf32>
// CHECK-NEXT:      memref.dealloc %1 : memref<3x128xf32>
// CHECK-NEXT:      memref.dealloc %2 : memref<1x128xf32>
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }

// -----

// A residual sum adds the tile that its first layer takes.

func.func @residual(%x: memref<?x2xf32>, %y: memref<?x2xf32>, %w: memref<6xf32>) {
  hpacml.network ["tanh", "sigmoid", "linear(2, 2)", "relu", "residual(3)", "tanh"] of f32 sweep 1
    weights(%w : memref<6xf32>) ins(%x : memref<?x2xf32>) outs(%y : memref<?x2xf32>)
  func.return
}

// CHECK-LABEL: func.func @residual(%x: memref<?x2xf32>, %y: memref<?x2xf32>, %w: memref<6xf32>) {
// CHECK-NEXT:    %0 = memref.alloc() {alignment = 64 : i64} : memref<2x128xf32>
// CHECK-NEXT:    %1 = memref.alloc() {alignment = 64 : i64} : memref<2x128xf32>
// CHECK-NEXT:    %2 = memref.alloc() {alignment = 64 : i64} : memref<2x128xf32>
// CHECK-NEXT:    %3 = memref.alloc() {alignment = 64 : i64} : memref<2x128xf32>
// CHECK-NEXT:    %4 = arith.constant 0 : index
// CHECK-NEXT:    %5 = memref.dim %x, %4 : memref<?x2xf32>
// CHECK-NEXT:    %6 = arith.constant 0 : index
// CHECK-NEXT:    %7 = arith.constant 128 : index
// CHECK-NEXT:    scf.for %8 = %6 to %5 step %7 {
// CHECK-NEXT:      %9 = arith.subi %5, %8 : index
// CHECK-NEXT:      %10 = arith.minsi %9, %7 : index
// CHECK-NEXT:      %11 = arith.constant 0 : index
// CHECK-NEXT:      %12 = memref.subview %x[%8, 0] [%10, 2] [1, 1] : memref<?x2xf32> to memref<?x2xf32, strided<[2, 1], offset: ?>>
// CHECK-NEXT:      %13 = arith.constant 0 : index
// CHECK-NEXT:      %14 = memref.reinterpret_cast %0 to offset: [%11], sizes: [%10, 2], strides: [1, 128] : memref<2x128xf32> to memref<?x2xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:      hpacml.fused_gather %12 into %14 at %13 features [1] : memref<?x2xf32, strided<[2, 1], offset: ?>> -> memref<?x2xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:      hpacml.layer ["tanh"] points %10 ins(%0 : memref<2x128xf32>) outs(%1 : memref<2x128xf32>)
// CHECK-NEXT:      hpacml.layer ["sigmoid"] points %10 ins(%1 : memref<2x128xf32>) outs(%2 : memref<2x128xf32>)
// CHECK-NEXT:      hpacml.layer ["linear(2, 2)", "relu", "residual", "tanh"] points %10 weights(%w : memref<6xf32>) plus(%1 : memref<2x128xf32>) ins(%2 : memref<2x128xf32>) outs(%3 : memref<2x128xf32>)
// CHECK-NEXT:      %15 = arith.constant 0 : index
// CHECK-NEXT:      %16 = memref.subview %y[%8, 0] [%10, 2] [1, 1] : memref<?x2xf32> to memref<?x2xf32, strided<[2, 1], offset: ?>>
// CHECK-NEXT:      %17 = arith.constant 0 : index
// CHECK-NEXT:      %18 = memref.reinterpret_cast %3 to offset: [%15], sizes: [%10, 2], strides: [1, 128] : memref<2x128xf32> to memref<?x2xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:      hpacml.fused_scatter %16 from %18 at %17 features [1] : memref<?x2xf32, strided<[2, 1], offset: ?>> -> memref<?x2xf32, strided<[1, 128], offset: ?>>
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc %0 : memref<2x128xf32>
// CHECK-NEXT:    memref.dealloc %1 : memref<2x128xf32>
// CHECK-NEXT:    memref.dealloc %2 : memref<2x128xf32>
// CHECK-NEXT:    memref.dealloc %3 : memref<2x128xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
