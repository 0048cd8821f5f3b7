// RUN: hpacml-opt %s -p 'hpacml-tile-images' --split-input-file | filecheck %s

// Zeros around what a convolution reads, on more sides than others; the least of all numbers around that of a maximum.

func.func @net(%x: memref<?x2x6x9xi8>, %y: memref<?x3x3x3xf64>, %w: memref<27xf32>, %d: memref<6xf64>) {
  hpacml.network ["image(2, 6, 9)", "conv(2, 3, 2x2 padding 0x0+1x1)", "relu", "max_pool(3x3 stride 2x3 padding 1x1)", "denormalize64(3)"] of f32 sweep 1
    weights(%w, %d : memref<27xf32>, memref<6xf64>) ins(%x : memref<?x2x6x9xi8>) outs(%y : memref<?x3x3x3xf64>)
  func.return
}

// CHECK-LABEL: func.func @net(%x: memref<?x2x6x9xi8>, %y: memref<?x3x3x3xf64>, %w: memref<27xf32>, %d: memref<6xf64>) {
// CHECK-NEXT:    %0 = memref.alloc() {alignment = 64 : i64} : memref<2x7x10xf32>
// CHECK-NEXT:    %1 = arith.constant 0.000000e+00 : f32
// CHECK-NEXT:    %2 = arith.constant 2 : index
// CHECK-NEXT:    %3 = arith.constant 0 : index
// CHECK-NEXT:    %4 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %5 = %3 to %2 step %4 {
// CHECK-NEXT:      %6 = arith.constant 0 : index
// CHECK-NEXT:      %7 = arith.addi %5, %6 : index
// CHECK-NEXT:      %8 = arith.constant 1 : index
// CHECK-NEXT:      %9 = arith.constant 0 : index
// CHECK-NEXT:      %10 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %11 = %9 to %8 step %10 {
// CHECK-NEXT:        %12 = arith.constant 6 : index
// CHECK-NEXT:        %13 = arith.addi %11, %12 : index
// CHECK-NEXT:        %14 = arith.constant 10 : index
// CHECK-NEXT:        %15 = arith.constant 0 : index
// CHECK-NEXT:        %16 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %17 = %15 to %14 step %16 {
// CHECK-NEXT:          %18 = arith.constant 0 : index
// CHECK-NEXT:          %19 = arith.addi %17, %18 : index
// CHECK-NEXT:          memref.store %1, %0[%7, %13, %19] : memref<2x7x10xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %20 = arith.constant 2 : index
// CHECK-NEXT:    %21 = arith.constant 0 : index
// CHECK-NEXT:    %22 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %23 = %21 to %20 step %22 {
// CHECK-NEXT:      %24 = arith.constant 0 : index
// CHECK-NEXT:      %25 = arith.addi %23, %24 : index
// CHECK-NEXT:      %26 = arith.constant 6 : index
// CHECK-NEXT:      %27 = arith.constant 0 : index
// CHECK-NEXT:      %28 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %29 = %27 to %26 step %28 {
// CHECK-NEXT:        %30 = arith.constant 0 : index
// CHECK-NEXT:        %31 = arith.addi %29, %30 : index
// CHECK-NEXT:        %32 = arith.constant 1 : index
// CHECK-NEXT:        %33 = arith.constant 0 : index
// CHECK-NEXT:        %34 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %35 = %33 to %32 step %34 {
// CHECK-NEXT:          %36 = arith.constant 9 : index
// CHECK-NEXT:          %37 = arith.addi %35, %36 : index
// CHECK-NEXT:          memref.store %1, %0[%25, %31, %37] : memref<2x7x10xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %38 = memref.subview %0[0, 0, 0] [2, 6, 9] [1, 1, 1] : memref<2x7x10xf32> to memref<2x6x9xf32, strided<[70, 10, 1]>>
// CHECK-NEXT:    %39 = memref.alloc() {alignment = 64 : i64} : memref<3x8x11xf32>
// CHECK-NEXT:    %40 = arith.constant 0xff800000 : f32
// CHECK-NEXT:    %41 = arith.constant 3 : index
// CHECK-NEXT:    %42 = arith.constant 0 : index
// CHECK-NEXT:    %43 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %44 = %42 to %41 step %43 {
// CHECK-NEXT:      %45 = arith.constant 0 : index
// CHECK-NEXT:      %46 = arith.addi %44, %45 : index
// CHECK-NEXT:      %47 = arith.constant 1 : index
// CHECK-NEXT:      %48 = arith.constant 0 : index
// CHECK-NEXT:      %49 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %50 = %48 to %47 step %49 {
// CHECK-NEXT:        %51 = arith.constant 0 : index
// CHECK-NEXT:        %52 = arith.addi %50, %51 : index
// CHECK-NEXT:        %53 = arith.constant 11 : index
// CHECK-NEXT:        %54 = arith.constant 0 : index
// CHECK-NEXT:        %55 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %56 = %54 to %53 step %55 {
// CHECK-NEXT:          %57 = arith.constant 0 : index
// CHECK-NEXT:          %58 = arith.addi %56, %57 : index
// CHECK-NEXT:          memref.store %40, %39[%46, %52, %58] : memref<3x8x11xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %59 = arith.constant 3 : index
// CHECK-NEXT:    %60 = arith.constant 0 : index
// CHECK-NEXT:    %61 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %62 = %60 to %59 step %61 {
// CHECK-NEXT:      %63 = arith.constant 0 : index
// CHECK-NEXT:      %64 = arith.addi %62, %63 : index
// CHECK-NEXT:      %65 = arith.constant 1 : index
// CHECK-NEXT:      %66 = arith.constant 0 : index
// CHECK-NEXT:      %67 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %68 = %66 to %65 step %67 {
// CHECK-NEXT:        %69 = arith.constant 7 : index
// CHECK-NEXT:        %70 = arith.addi %68, %69 : index
// CHECK-NEXT:        %71 = arith.constant 11 : index
// CHECK-NEXT:        %72 = arith.constant 0 : index
// CHECK-NEXT:        %73 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %74 = %72 to %71 step %73 {
// CHECK-NEXT:          %75 = arith.constant 0 : index
// CHECK-NEXT:          %76 = arith.addi %74, %75 : index
// CHECK-NEXT:          memref.store %40, %39[%64, %70, %76] : memref<3x8x11xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %77 = arith.constant 3 : index
// CHECK-NEXT:    %78 = arith.constant 0 : index
// CHECK-NEXT:    %79 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %80 = %78 to %77 step %79 {
// CHECK-NEXT:      %81 = arith.constant 0 : index
// CHECK-NEXT:      %82 = arith.addi %80, %81 : index
// CHECK-NEXT:      %83 = arith.constant 6 : index
// CHECK-NEXT:      %84 = arith.constant 0 : index
// CHECK-NEXT:      %85 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %86 = %84 to %83 step %85 {
// CHECK-NEXT:        %87 = arith.constant 1 : index
// CHECK-NEXT:        %88 = arith.addi %86, %87 : index
// CHECK-NEXT:        %89 = arith.constant 1 : index
// CHECK-NEXT:        %90 = arith.constant 0 : index
// CHECK-NEXT:        %91 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %92 = %90 to %89 step %91 {
// CHECK-NEXT:          %93 = arith.constant 0 : index
// CHECK-NEXT:          %94 = arith.addi %92, %93 : index
// CHECK-NEXT:          memref.store %40, %39[%82, %88, %94] : memref<3x8x11xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %95 = arith.constant 3 : index
// CHECK-NEXT:    %96 = arith.constant 0 : index
// CHECK-NEXT:    %97 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %98 = %96 to %95 step %97 {
// CHECK-NEXT:      %99 = arith.constant 0 : index
// CHECK-NEXT:      %100 = arith.addi %98, %99 : index
// CHECK-NEXT:      %101 = arith.constant 6 : index
// CHECK-NEXT:      %102 = arith.constant 0 : index
// CHECK-NEXT:      %103 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %104 = %102 to %101 step %103 {
// CHECK-NEXT:        %105 = arith.constant 1 : index
// CHECK-NEXT:        %106 = arith.addi %104, %105 : index
// CHECK-NEXT:        %107 = arith.constant 1 : index
// CHECK-NEXT:        %108 = arith.constant 0 : index
// CHECK-NEXT:        %109 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %110 = %108 to %107 step %109 {
// CHECK-NEXT:          %111 = arith.constant 10 : index
// CHECK-NEXT:          %112 = arith.addi %110, %111 : index
// CHECK-NEXT:          memref.store %40, %39[%100, %106, %112] : memref<3x8x11xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %113 = memref.subview %39[0, 1, 1] [3, 6, 9] [1, 1, 1] : memref<3x8x11xf32> to memref<3x6x9xf32, strided<[88, 11, 1], offset: 12>>
// CHECK-NEXT:    %114 = memref.alloc() {alignment = 64 : i64} : memref<3x3x3xf64>
// CHECK-NEXT:    %115 = arith.constant 0 : index
// CHECK-NEXT:    %116 = memref.dim %x, %115 : memref<?x2x6x9xi8>
// CHECK-NEXT:    %117 = arith.constant 0 : index
// CHECK-NEXT:    %118 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %119 = %117 to %116 step %118 {
// CHECK-NEXT:      %120 = arith.constant 0 : index
// CHECK-NEXT:      %121 = memref.subview %x[%119, 0, 0, 0] [1, 2, 6, 9] [1, 1, 1, 1] : memref<?x2x6x9xi8> to memref<2x6x9xi8, strided<[54, 9, 1], offset: ?>>
// CHECK-NEXT:      hpacml.fused_gather %121 into %38 at %120 features [] : memref<2x6x9xi8, strided<[54, 9, 1], offset: ?>> -> memref<2x6x9xf32, strided<[70, 10, 1]>>
// CHECK-NEXT:      hpacml.image_layer ["conv(2, 3, 2x2)", "relu"] weights(%w : memref<27xf32>) ins(%0 : memref<2x7x10xf32>) outs(%113 : memref<3x6x9xf32, strided<[88, 11, 1], offset: 12>>)
// CHECK-NEXT:      hpacml.image_layer ["max_pool(3x3 stride 2x3)", "denormalize64(3)"] weights(%d : memref<6xf64>) ins(%39 : memref<3x8x11xf32>) outs(%114 : memref<3x3x3xf64>)
// CHECK-NEXT:      %122 = memref.subview %y[%119, 0, 0, 0] [1, 3, 3, 3] [1, 1, 1, 1] : memref<?x3x3x3xf64> to memref<3x3x3xf64, strided<[9, 3, 1], offset: ?>>
// CHECK-NEXT:      hpacml.fused_scatter %122 from %114 at %120 features [] : memref<3x3x3xf64, strided<[9, 3, 1], offset: ?>> -> memref<3x3x3xf64>
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc %0 : memref<2x7x10xf32>
// CHECK-NEXT:    memref.dealloc %39 : memref<3x8x11xf32>
// CHECK-NEXT:    memref.dealloc %114 : memref<3x3x3xf64>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Other networks stay.

func.func @points(%x: memref<?x1xf32>) {
  hpacml.network ["tanh"] of f32 sweep 1 ins(%x : memref<?x1xf32>) outs(%x : memref<?x1xf32>)
  func.return
}

// CHECK-LABEL: func.func @points(%x: memref<?x1xf32>) {
// CHECK-NEXT:    hpacml.network ["tanh"] of f32 sweep 1 ins(%x : memref<?x1xf32>) outs(%x : memref<?x1xf32>)
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// A residual sum adds an image without its padding.

func.func @residual(%x: memref<?x1x4x4xf32>, %y: memref<?x1x4x4xf32>, %w: memref<10xf32>) {
  hpacml.network ["image(1, 4, 4)", "conv(1, 1, 3x3 padding 1x1)", "residual(1)"] of f32 sweep 1
    weights(%w : memref<10xf32>) ins(%x : memref<?x1x4x4xf32>) outs(%y : memref<?x1x4x4xf32>)
  func.return
}

// CHECK-LABEL: func.func @residual(%x: memref<?x1x4x4xf32>, %y: memref<?x1x4x4xf32>, %w: memref<10xf32>) {
// CHECK-NEXT:    %0 = memref.alloc() {alignment = 64 : i64} : memref<1x6x6xf32>
// CHECK-NEXT:    %1 = arith.constant 0.000000e+00 : f32
// CHECK-NEXT:    %2 = arith.constant 1 : index
// CHECK-NEXT:    %3 = arith.constant 0 : index
// CHECK-NEXT:    %4 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %5 = %3 to %2 step %4 {
// CHECK-NEXT:      %6 = arith.constant 0 : index
// CHECK-NEXT:      %7 = arith.addi %5, %6 : index
// CHECK-NEXT:      %8 = arith.constant 1 : index
// CHECK-NEXT:      %9 = arith.constant 0 : index
// CHECK-NEXT:      %10 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %11 = %9 to %8 step %10 {
// CHECK-NEXT:        %12 = arith.constant 0 : index
// CHECK-NEXT:        %13 = arith.addi %11, %12 : index
// CHECK-NEXT:        %14 = arith.constant 6 : index
// CHECK-NEXT:        %15 = arith.constant 0 : index
// CHECK-NEXT:        %16 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %17 = %15 to %14 step %16 {
// CHECK-NEXT:          %18 = arith.constant 0 : index
// CHECK-NEXT:          %19 = arith.addi %17, %18 : index
// CHECK-NEXT:          memref.store %1, %0[%7, %13, %19] : memref<1x6x6xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %20 = arith.constant 1 : index
// CHECK-NEXT:    %21 = arith.constant 0 : index
// CHECK-NEXT:    %22 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %23 = %21 to %20 step %22 {
// CHECK-NEXT:      %24 = arith.constant 0 : index
// CHECK-NEXT:      %25 = arith.addi %23, %24 : index
// CHECK-NEXT:      %26 = arith.constant 1 : index
// CHECK-NEXT:      %27 = arith.constant 0 : index
// CHECK-NEXT:      %28 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %29 = %27 to %26 step %28 {
// CHECK-NEXT:        %30 = arith.constant 5 : index
// CHECK-NEXT:        %31 = arith.addi %29, %30 : index
// CHECK-NEXT:        %32 = arith.constant 6 : index
// CHECK-NEXT:        %33 = arith.constant 0 : index
// CHECK-NEXT:        %34 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %35 = %33 to %32 step %34 {
// CHECK-NEXT:          %36 = arith.constant 0 : index
// CHECK-NEXT:          %37 = arith.addi %35, %36 : index
// CHECK-NEXT:          memref.store %1, %0[%25, %31, %37] : memref<1x6x6xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %38 = arith.constant 1 : index
// CHECK-NEXT:    %39 = arith.constant 0 : index
// CHECK-NEXT:    %40 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %41 = %39 to %38 step %40 {
// CHECK-NEXT:      %42 = arith.constant 0 : index
// CHECK-NEXT:      %43 = arith.addi %41, %42 : index
// CHECK-NEXT:      %44 = arith.constant 4 : index
// CHECK-NEXT:      %45 = arith.constant 0 : index
// CHECK-NEXT:      %46 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %47 = %45 to %44 step %46 {
// CHECK-NEXT:        %48 = arith.constant 1 : index
// CHECK-NEXT:        %49 = arith.addi %47, %48 : index
// CHECK-NEXT:        %50 = arith.constant 1 : index
// CHECK-NEXT:        %51 = arith.constant 0 : index
// CHECK-NEXT:        %52 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %53 = %51 to %50 step %52 {
// CHECK-NEXT:          %54 = arith.constant 0 : index
// CHECK-NEXT:          %55 = arith.addi %53, %54 : index
// CHECK-NEXT:          memref.store %1, %0[%43, %49, %55] : memref<1x6x6xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %56 = arith.constant 1 : index
// CHECK-NEXT:    %57 = arith.constant 0 : index
// CHECK-NEXT:    %58 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %59 = %57 to %56 step %58 {
// CHECK-NEXT:      %60 = arith.constant 0 : index
// CHECK-NEXT:      %61 = arith.addi %59, %60 : index
// CHECK-NEXT:      %62 = arith.constant 4 : index
// CHECK-NEXT:      %63 = arith.constant 0 : index
// CHECK-NEXT:      %64 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %65 = %63 to %62 step %64 {
// CHECK-NEXT:        %66 = arith.constant 1 : index
// CHECK-NEXT:        %67 = arith.addi %65, %66 : index
// CHECK-NEXT:        %68 = arith.constant 1 : index
// CHECK-NEXT:        %69 = arith.constant 0 : index
// CHECK-NEXT:        %70 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %71 = %69 to %68 step %70 {
// CHECK-NEXT:          %72 = arith.constant 5 : index
// CHECK-NEXT:          %73 = arith.addi %71, %72 : index
// CHECK-NEXT:          memref.store %1, %0[%61, %67, %73] : memref<1x6x6xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %74 = memref.subview %0[0, 1, 1] [1, 4, 4] [1, 1, 1] : memref<1x6x6xf32> to memref<1x4x4xf32, strided<[36, 6, 1], offset: 7>>
// CHECK-NEXT:    %75 = memref.alloc() {alignment = 64 : i64} : memref<1x4x4xf32>
// CHECK-NEXT:    %76 = arith.constant 0 : index
// CHECK-NEXT:    %77 = memref.dim %x, %76 : memref<?x1x4x4xf32>
// CHECK-NEXT:    %78 = arith.constant 0 : index
// CHECK-NEXT:    %79 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %80 = %78 to %77 step %79 {
// CHECK-NEXT:      %81 = arith.constant 0 : index
// CHECK-NEXT:      %82 = memref.subview %x[%80, 0, 0, 0] [1, 1, 4, 4] [1, 1, 1, 1] : memref<?x1x4x4xf32> to memref<1x4x4xf32, strided<[16, 4, 1], offset: ?>>
// CHECK-NEXT:      hpacml.fused_gather %82 into %74 at %81 features [] : memref<1x4x4xf32, strided<[16, 4, 1], offset: ?>> -> memref<1x4x4xf32, strided<[36, 6, 1], offset: 7>>
// CHECK-NEXT:      hpacml.image_layer ["conv(1, 1, 3x3)", "residual"] weights(%w : memref<10xf32>) plus(%74 : memref<1x4x4xf32, strided<[36, 6, 1], offset: 7>>) ins(%0 : memref<1x6x6xf32>) outs(%75 : memref<1x4x4xf32>)
// CHECK-NEXT:      %83 = memref.subview %y[%80, 0, 0, 0] [1, 1, 4, 4] [1, 1, 1, 1] : memref<?x1x4x4xf32> to memref<1x4x4xf32, strided<[16, 4, 1], offset: ?>>
// CHECK-NEXT:      hpacml.fused_scatter %83 from %75 at %81 features [] : memref<1x4x4xf32, strided<[16, 4, 1], offset: ?>> -> memref<1x4x4xf32>
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc %0 : memref<1x6x6xf32>
// CHECK-NEXT:    memref.dealloc %75 : memref<1x4x4xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
