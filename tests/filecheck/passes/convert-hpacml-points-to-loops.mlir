// Checks, merges: features one by one and in a loop, in front, a sweep without dimensions, and ranges of several views.

// RUN: hpacml-opt %s -p convert-hpacml-points-to-loops --split-input-file | filecheck %s

func.func @points(%x: memref<?x?x2xf32>, %y: memref<?x?x1xf32>, %low: memref<?xf64>, %w: memref<?x?xf64>, %limit: f64, %mask: memref<?x?xi8>) {
  hpacml.check_range (%x : memref<?x?x2xf32>) features [2, -1] low %low high %low into %mask : memref<?xf64>, memref<?xf64>, memref<?x?xi8>
  hpacml.check_distance (%x, %y : memref<?x?x2xf32>, memref<?x?x1xf32>) features [2, -1, 2, -1] mean %low whitening %w limit 4.0 into %mask : memref<?xf64>, memref<?x?xf64>, memref<?x?xi8>
  hpacml.check_where "0 < t < limit and not (t == 2 or limit > t / 3)" names ["t", "limit"] of (%y : memref<?x?x1xf32>) numbers (%limit) into %mask : memref<?x?xi8>
  hpacml.check_below %y features [2] limit 0.5 into %mask : memref<?x?x1xf32>, memref<?x?xi8>
  hpacml.merge %y into %y features [2] at %mask : memref<?x?x1xf32>, memref<?x?x1xf32>, memref<?x?xi8>
  func.return
}
func.func @wide(%c: memref<40x?xi32>, %low: memref<?xf64>, %mask: memref<?xi8>) {
  hpacml.check_range (%c : memref<40x?xi32>) features [0, -1] low %low high %low into %mask : memref<?xf64>, memref<?xf64>, memref<?xi8>
  func.return
}
func.func @one(%c: memref<3xf64>, %mask: memref<i8>) {
  hpacml.check_below %c features [0] limit 0.5 into %mask : memref<3xf64>, memref<i8>
  func.return
}
func.func @views(%west: memref<?xbf16, strided<[?], offset: ?>>, %row: memref<?x2xbf16, strided<[2, 1], offset: ?>>, %low: memref<?xf32>, %mask: memref<?xi8>) {
  hpacml.check_range (%west, %row : memref<?xbf16, strided<[?], offset: ?>>, memref<?x2xbf16, strided<[2, 1], offset: ?>>) features [-1, 1, -1] low %low high %low into %mask : memref<?xf32>, memref<?xf32>, memref<?xi8>
  func.return
}

// INSIDE-LABEL: func.func @views(
// INSIDE-NOT:     memref.load
// INSIDE:         "scf.parallel"
// INSIDE:           memref.load %low

// CHECK:       builtin.module {
// CHECK-NEXT:    func.func @points(%x: memref<?x?x2xf32>, %y: memref<?x?x1xf32>, %low: memref<?xf64>, %w: memref<?x?xf64>, %limit: f64, %mask: memref<?x?xi8>) {
// CHECK-NEXT:      %0 = arith.constant 0 : index
// CHECK-NEXT:      %1 = arith.constant 2 : index
// CHECK-NEXT:      %2 = arith.constant 1 : index
// CHECK-NEXT:      %3 = arith.muli %2, %1 : index
// CHECK-NEXT:      %4 = arith.addi %0, %3 : index
// CHECK-NEXT:      %5 = arith.constant 0 : index
// CHECK-NEXT:      %6 = arith.addi %0, %5 : index
// CHECK-NEXT:      %7 = memref.load %low[%6] : memref<?xf64>
// CHECK-NEXT:      %8 = memref.load %low[%6] : memref<?xf64>
// CHECK-NEXT:      %9 = arith.constant 1 : index
// CHECK-NEXT:      %10 = arith.addi %0, %9 : index
// CHECK-NEXT:      %11 = memref.load %low[%10] : memref<?xf64>
// CHECK-NEXT:      %12 = memref.load %low[%10] : memref<?xf64>
// CHECK-NEXT:      %13 = arith.constant 0 : index
// CHECK-NEXT:      %14 = memref.dim %mask, %13 : memref<?x?xi8>
// CHECK-NEXT:      %15 = arith.constant 1 : index
// CHECK-NEXT:      %16 = memref.dim %mask, %15 : memref<?x?xi8>
// CHECK-NEXT:      %17 = arith.constant 0 : index
// CHECK-NEXT:      %18 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%17, %17, %14, %16, %18, %18) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%19: index, %20: index):
// CHECK-NEXT:        %21 = arith.constant 0 : i8
// CHECK-NEXT:        %22 = arith.constant 1 : i8
// CHECK-NEXT:        %23 = arith.constant true
// CHECK-NEXT:        %24 = arith.constant 0 : index
// CHECK-NEXT:        %25 = memref.load %x[%19, %20, %24] : memref<?x?x2xf32>
// CHECK-NEXT:        %26 = arith.extf %25 : f32 to f64
// CHECK-NEXT:        %27 = arith.cmpf ole, %26, %8 : f64
// CHECK-NEXT:        %28 = arith.cmpf ole, %7, %26 : f64
// CHECK-NEXT:        %29 = arith.andi %28, %27 : i1
// CHECK-NEXT:        %30 = arith.andi %23, %29 : i1
// CHECK-NEXT:        %31 = arith.constant 1 : index
// CHECK-NEXT:        %32 = memref.load %x[%19, %20, %31] : memref<?x?x2xf32>
// CHECK-NEXT:        %33 = arith.extf %32 : f32 to f64
// CHECK-NEXT:        %34 = arith.cmpf ole, %33, %12 : f64
// CHECK-NEXT:        %35 = arith.cmpf ole, %11, %33 : f64
// CHECK-NEXT:        %36 = arith.andi %35, %34 : i1
// CHECK-NEXT:        %37 = arith.andi %30, %36 : i1
// CHECK-NEXT:        %38 = arith.select %37, %21, %22 : i8
// CHECK-NEXT:        %39 = memref.load %mask[%19, %20] : memref<?x?xi8>
// CHECK-NEXT:        %40 = arith.ori %39, %38 : i8
// CHECK-NEXT:        memref.store %40, %mask[%19, %20] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %41 = arith.constant 0 : index
// CHECK-NEXT:      %42 = arith.constant 2 : index
// CHECK-NEXT:      %43 = arith.constant 1 : index
// CHECK-NEXT:      %44 = arith.muli %43, %42 : index
// CHECK-NEXT:      %45 = arith.addi %41, %44 : index
// CHECK-NEXT:      %46 = arith.constant 1 : index
// CHECK-NEXT:      %47 = arith.constant 1 : index
// CHECK-NEXT:      %48 = arith.muli %47, %46 : index
// CHECK-NEXT:      %49 = arith.addi %45, %48 : index
// CHECK-NEXT:      %50 = arith.constant 0 : index
// CHECK-NEXT:      %51 = memref.dim %mask, %50 : memref<?x?xi8>
// CHECK-NEXT:      %52 = arith.constant 1 : index
// CHECK-NEXT:      %53 = memref.dim %mask, %52 : memref<?x?xi8>
// CHECK-NEXT:      %54 = arith.constant 0 : index
// CHECK-NEXT:      %55 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%54, %54, %51, %53, %55, %55) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%56: index, %57: index):
// CHECK-NEXT:        %58 = arith.constant 0 : i8
// CHECK-NEXT:        %59 = arith.constant 2 : i8
// CHECK-NEXT:        %60 = arith.constant 0.000000e+00 : f64
// CHECK-NEXT:        %61 = arith.constant 1.600000e+01 : f64
// CHECK-NEXT:        %62 = arith.constant 0 : index
// CHECK-NEXT:        %63 = memref.dim %low, %62 : memref<?xf64>
// CHECK-NEXT:        %64 = arith.constant 0 : index
// CHECK-NEXT:        %65 = arith.constant 1 : index
// CHECK-NEXT:        %66 = scf.for %67 = %64 to %63 step %65 iter_args(%68 = %60) -> (f64) {
// CHECK-NEXT:          %69 = arith.constant 0 : index
// CHECK-NEXT:          %70 = arith.addi %41, %69 : index
// CHECK-NEXT:          %71 = memref.load %w[%67, %70] : memref<?x?xf64>
// CHECK-NEXT:          %72 = memref.load %low[%70] : memref<?xf64>
// CHECK-NEXT:          %73 = memref.load %x[%56, %57, %69] : memref<?x?x2xf32>
// CHECK-NEXT:          %74 = arith.extf %73 : f32 to f64
// CHECK-NEXT:          %75 = arith.subf %74, %72 : f64
// CHECK-NEXT:          %76 = arith.mulf %71, %75 : f64
// CHECK-NEXT:          %77 = arith.addf %60, %76 : f64
// CHECK-NEXT:          %78 = arith.constant 1 : index
// CHECK-NEXT:          %79 = arith.addi %41, %78 : index
// CHECK-NEXT:          %80 = memref.load %w[%67, %79] : memref<?x?xf64>
// CHECK-NEXT:          %81 = memref.load %low[%79] : memref<?xf64>
// CHECK-NEXT:          %82 = memref.load %x[%56, %57, %78] : memref<?x?x2xf32>
// CHECK-NEXT:          %83 = arith.extf %82 : f32 to f64
// CHECK-NEXT:          %84 = arith.subf %83, %81 : f64
// CHECK-NEXT:          %85 = arith.mulf %80, %84 : f64
// CHECK-NEXT:          %86 = arith.addf %77, %85 : f64
// CHECK-NEXT:          %87 = arith.constant 0 : index
// CHECK-NEXT:          %88 = arith.addi %45, %87 : index
// CHECK-NEXT:          %89 = memref.load %w[%67, %88] : memref<?x?xf64>
// CHECK-NEXT:          %90 = memref.load %low[%88] : memref<?xf64>
// CHECK-NEXT:          %91 = memref.load %y[%56, %57, %87] : memref<?x?x1xf32>
// CHECK-NEXT:          %92 = arith.extf %91 : f32 to f64
// CHECK-NEXT:          %93 = arith.subf %92, %90 : f64
// CHECK-NEXT:          %94 = arith.mulf %89, %93 : f64
// CHECK-NEXT:          %95 = arith.addf %86, %94 : f64
// CHECK-NEXT:          %96 = arith.mulf %95, %95 : f64
// CHECK-NEXT:          %97 = arith.addf %68, %96 : f64
// CHECK-NEXT:          scf.yield %97 : f64
// CHECK-NEXT:        }
// CHECK-NEXT:        %98 = arith.cmpf ole, %66, %61 : f64
// CHECK-NEXT:        %99 = arith.select %98, %58, %59 : i8
// CHECK-NEXT:        %100 = memref.load %mask[%56, %57] : memref<?x?xi8>
// CHECK-NEXT:        %101 = arith.ori %100, %99 : i8
// CHECK-NEXT:        memref.store %101, %mask[%56, %57] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %102 = arith.constant 0 : index
// CHECK-NEXT:      %103 = memref.dim %mask, %102 : memref<?x?xi8>
// CHECK-NEXT:      %104 = arith.constant 1 : index
// CHECK-NEXT:      %105 = memref.dim %mask, %104 : memref<?x?xi8>
// CHECK-NEXT:      %106 = arith.constant 0 : index
// CHECK-NEXT:      %107 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%106, %106, %103, %105, %107, %107) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%108: index, %109: index):
// CHECK-NEXT:        %110 = arith.constant 0 : i8
// CHECK-NEXT:        %111 = arith.constant 4 : i8
// CHECK-NEXT:        %112 = arith.constant 0 : index
// CHECK-NEXT:        %113 = memref.load %y[%108, %109, %112] : memref<?x?x1xf32>
// CHECK-NEXT:        %114 = arith.extf %113 : f32 to f64
// CHECK-NEXT:        %115 = arith.constant 0.000000e+00 : f64
// CHECK-NEXT:        %116 = arith.cmpf olt, %115, %114 : f64
// CHECK-NEXT:        %117 = arith.cmpf olt, %114, %limit : f64
// CHECK-NEXT:        %118 = arith.andi %116, %117 : i1
// CHECK-NEXT:        %119 = arith.constant 2.000000e+00 : f64
// CHECK-NEXT:        %120 = arith.cmpf one, %114, %119 : f64
// CHECK-NEXT:        %121 = arith.constant 3.000000e+00 : f64
// CHECK-NEXT:        %122 = arith.divf %114, %121 : f64
// CHECK-NEXT:        %123 = arith.cmpf ole, %limit, %122 : f64
// CHECK-NEXT:        %124 = arith.andi %120, %123 : i1
// CHECK-NEXT:        %125 = arith.andi %118, %124 : i1
// CHECK-NEXT:        %126 = arith.select %125, %110, %111 : i8
// CHECK-NEXT:        %127 = memref.load %mask[%108, %109] : memref<?x?xi8>
// CHECK-NEXT:        %128 = arith.ori %127, %126 : i8
// CHECK-NEXT:        memref.store %128, %mask[%108, %109] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %129 = arith.constant 0 : index
// CHECK-NEXT:      %130 = memref.dim %mask, %129 : memref<?x?xi8>
// CHECK-NEXT:      %131 = arith.constant 1 : index
// CHECK-NEXT:      %132 = memref.dim %mask, %131 : memref<?x?xi8>
// CHECK-NEXT:      %133 = arith.constant 0 : index
// CHECK-NEXT:      %134 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%133, %133, %130, %132, %134, %134) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%135: index, %136: index):
// CHECK-NEXT:        %137 = arith.constant 0 : i8
// CHECK-NEXT:        %138 = arith.constant 8 : i8
// CHECK-NEXT:        %139 = arith.constant 5.000000e-01 : f64
// CHECK-NEXT:        %140 = arith.constant true
// CHECK-NEXT:        %141 = arith.constant 0 : index
// CHECK-NEXT:        %142 = memref.load %y[%135, %136, %141] : memref<?x?x1xf32>
// CHECK-NEXT:        %143 = arith.extf %142 : f32 to f64
// CHECK-NEXT:        %144 = arith.cmpf ole, %143, %139 : f64
// CHECK-NEXT:        %145 = arith.andi %140, %144 : i1
// CHECK-NEXT:        %146 = arith.select %145, %137, %138 : i8
// CHECK-NEXT:        %147 = memref.load %mask[%135, %136] : memref<?x?xi8>
// CHECK-NEXT:        %148 = arith.ori %147, %146 : i8
// CHECK-NEXT:        memref.store %148, %mask[%135, %136] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %149 = arith.constant 0 : index
// CHECK-NEXT:      %150 = memref.dim %mask, %149 : memref<?x?xi8>
// CHECK-NEXT:      %151 = arith.constant 1 : index
// CHECK-NEXT:      %152 = memref.dim %mask, %151 : memref<?x?xi8>
// CHECK-NEXT:      %153 = arith.constant 0 : index
// CHECK-NEXT:      %154 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%153, %153, %150, %152, %154, %154) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%155: index, %156: index):
// CHECK-NEXT:        %157 = arith.constant 0 : i8
// CHECK-NEXT:        %158 = memref.load %mask[%155, %156] : memref<?x?xi8>
// CHECK-NEXT:        %159 = arith.cmpi ne, %158, %157 : i8
// CHECK-NEXT:        scf.if %159 {
// CHECK-NEXT:          %160 = arith.constant 0 : index
// CHECK-NEXT:          %161 = memref.load %y[%155, %156, %160] : memref<?x?x1xf32>
// CHECK-NEXT:          memref.store %161, %y[%155, %156, %160] : memref<?x?x1xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }
// CHECK-NEXT:    func.func @wide(%c: memref<40x?xi32>, %low: memref<?xf64>, %mask: memref<?xi8>) {
// CHECK-NEXT:      %0 = arith.constant 0 : index
// CHECK-NEXT:      %1 = arith.constant 40 : index
// CHECK-NEXT:      %2 = arith.constant 1 : index
// CHECK-NEXT:      %3 = arith.muli %2, %1 : index
// CHECK-NEXT:      %4 = arith.addi %0, %3 : index
// CHECK-NEXT:      %5 = arith.constant 0 : index
// CHECK-NEXT:      %6 = memref.dim %mask, %5 : memref<?xi8>
// CHECK-NEXT:      %7 = arith.constant 0 : index
// CHECK-NEXT:      %8 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%7, %6, %8) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%9: index):
// CHECK-NEXT:        %10 = arith.constant 0 : i8
// CHECK-NEXT:        %11 = arith.constant 1 : i8
// CHECK-NEXT:        %12 = arith.constant true
// CHECK-NEXT:        %13 = arith.constant 40 : index
// CHECK-NEXT:        %14 = arith.constant 1 : index
// CHECK-NEXT:        %15 = arith.muli %14, %13 : index
// CHECK-NEXT:        %16 = arith.constant 0 : index
// CHECK-NEXT:        %17 = arith.constant 1 : index
// CHECK-NEXT:        %18 = scf.for %19 = %16 to %15 step %17 iter_args(%20 = %12) -> (i1) {
// CHECK-NEXT:          %21 = arith.addi %0, %19 : index
// CHECK-NEXT:          %22 = memref.load %low[%21] : memref<?xf64>
// CHECK-NEXT:          %23 = memref.load %low[%21] : memref<?xf64>
// CHECK-NEXT:          %24 = memref.load %c[%19, %9] : memref<40x?xi32>
// CHECK-NEXT:          %25 = arith.sitofp %24 : i32 to f64
// CHECK-NEXT:          %26 = arith.cmpf ole, %25, %23 : f64
// CHECK-NEXT:          %27 = arith.cmpf ole, %22, %25 : f64
// CHECK-NEXT:          %28 = arith.andi %27, %26 : i1
// CHECK-NEXT:          %29 = arith.andi %20, %28 : i1
// CHECK-NEXT:          scf.yield %29 : i1
// CHECK-NEXT:        }
// CHECK-NEXT:        %30 = arith.select %18, %10, %11 : i8
// CHECK-NEXT:        %31 = memref.load %mask[%9] : memref<?xi8>
// CHECK-NEXT:        %32 = arith.ori %31, %30 : i8
// CHECK-NEXT:        memref.store %32, %mask[%9] : memref<?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index) -> ()
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }
// CHECK-NEXT:    func.func @one(%c: memref<3xf64>, %mask: memref<i8>) {
// CHECK-NEXT:      %0 = arith.constant 0 : index
// CHECK-NEXT:      %1 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%0, %1, %1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%2: index):
// CHECK-NEXT:        %3 = arith.constant 0 : i8
// CHECK-NEXT:        %4 = arith.constant 8 : i8
// CHECK-NEXT:        %5 = arith.constant 5.000000e-01 : f64
// CHECK-NEXT:        %6 = arith.constant true
// CHECK-NEXT:        %7 = arith.constant 0 : index
// CHECK-NEXT:        %8 = memref.load %c[%7] : memref<3xf64>
// CHECK-NEXT:        %9 = arith.cmpf ole, %8, %5 : f64
// CHECK-NEXT:        %10 = arith.andi %6, %9 : i1
// CHECK-NEXT:        %11 = arith.constant 1 : index
// CHECK-NEXT:        %12 = memref.load %c[%11] : memref<3xf64>
// CHECK-NEXT:        %13 = arith.cmpf ole, %12, %5 : f64
// CHECK-NEXT:        %14 = arith.andi %10, %13 : i1
// CHECK-NEXT:        %15 = arith.constant 2 : index
// CHECK-NEXT:        %16 = memref.load %c[%15] : memref<3xf64>
// CHECK-NEXT:        %17 = arith.cmpf ole, %16, %5 : f64
// CHECK-NEXT:        %18 = arith.andi %14, %17 : i1
// CHECK-NEXT:        %19 = arith.select %18, %3, %4 : i8
// CHECK-NEXT:        %20 = memref.load %mask[] : memref<i8>
// CHECK-NEXT:        %21 = arith.ori %20, %19 : i8
// CHECK-NEXT:        memref.store %21, %mask[] : memref<i8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index) -> ()
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }
// CHECK-NEXT:    func.func @views(%west: memref<?xbf16, strided<[?], offset: ?>>, %row: memref<?x2xbf16, strided<[2, 1], offset: ?>>, %low: memref<?xf32>, %mask: memref<?xi8>) {
// CHECK-NEXT:      %0 = arith.constant 0 : index
// CHECK-NEXT:      %1 = arith.constant 1 : index
// CHECK-NEXT:      %2 = arith.addi %0, %1 : index
// CHECK-NEXT:      %3 = arith.constant 2 : index
// CHECK-NEXT:      %4 = arith.constant 1 : index
// CHECK-NEXT:      %5 = arith.muli %4, %3 : index
// CHECK-NEXT:      %6 = arith.addi %2, %5 : index
// CHECK-NEXT:      %7 = arith.constant 0 : index
// CHECK-NEXT:      %8 = arith.addi %0, %7 : index
// CHECK-NEXT:      %9 = memref.load %low[%8] : memref<?xf32>
// CHECK-NEXT:      %10 = memref.load %low[%8] : memref<?xf32>
// CHECK-NEXT:      %11 = arith.constant 0 : index
// CHECK-NEXT:      %12 = arith.addi %2, %11 : index
// CHECK-NEXT:      %13 = memref.load %low[%12] : memref<?xf32>
// CHECK-NEXT:      %14 = memref.load %low[%12] : memref<?xf32>
// CHECK-NEXT:      %15 = arith.constant 1 : index
// CHECK-NEXT:      %16 = arith.addi %2, %15 : index
// CHECK-NEXT:      %17 = memref.load %low[%16] : memref<?xf32>
// CHECK-NEXT:      %18 = memref.load %low[%16] : memref<?xf32>
// CHECK-NEXT:      %19 = arith.constant 0 : index
// CHECK-NEXT:      %20 = memref.dim %mask, %19 : memref<?xi8>
// CHECK-NEXT:      %21 = arith.constant 0 : index
// CHECK-NEXT:      %22 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%21, %20, %22) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%23: index):
// CHECK-NEXT:        %24 = arith.constant 0 : i8
// CHECK-NEXT:        %25 = arith.constant 1 : i8
// CHECK-NEXT:        %26 = arith.constant true
// CHECK-NEXT:        %27 = arith.constant 0 : index
// CHECK-NEXT:        %28 = memref.load %west[%23] : memref<?xbf16, strided<[?], offset: ?>>
// CHECK-NEXT:        %29 = arith.extf %28 : bf16 to f32
// CHECK-NEXT:        %30 = arith.cmpf ole, %29, %10 : f32
// CHECK-NEXT:        %31 = arith.cmpf ole, %9, %29 : f32
// CHECK-NEXT:        %32 = arith.andi %31, %30 : i1
// CHECK-NEXT:        %33 = arith.andi %26, %32 : i1
// CHECK-NEXT:        %34 = arith.constant 0 : index
// CHECK-NEXT:        %35 = memref.load %row[%23, %34] : memref<?x2xbf16, strided<[2, 1], offset: ?>>
// CHECK-NEXT:        %36 = arith.extf %35 : bf16 to f32
// CHECK-NEXT:        %37 = arith.cmpf ole, %36, %14 : f32
// CHECK-NEXT:        %38 = arith.cmpf ole, %13, %36 : f32
// CHECK-NEXT:        %39 = arith.andi %38, %37 : i1
// CHECK-NEXT:        %40 = arith.andi %33, %39 : i1
// CHECK-NEXT:        %41 = arith.constant 1 : index
// CHECK-NEXT:        %42 = memref.load %row[%23, %41] : memref<?x2xbf16, strided<[2, 1], offset: ?>>
// CHECK-NEXT:        %43 = arith.extf %42 : bf16 to f32
// CHECK-NEXT:        %44 = arith.cmpf ole, %43, %18 : f32
// CHECK-NEXT:        %45 = arith.cmpf ole, %17, %43 : f32
// CHECK-NEXT:        %46 = arith.andi %45, %44 : i1
// CHECK-NEXT:        %47 = arith.andi %40, %46 : i1
// CHECK-NEXT:        %48 = arith.select %47, %24, %25 : i8
// CHECK-NEXT:        %49 = memref.load %mask[%23] : memref<?xi8>
// CHECK-NEXT:        %50 = arith.ori %49, %48 : i8
// CHECK-NEXT:        memref.store %50, %mask[%23] : memref<?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index) -> ()
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }
// CHECK-NEXT:  }

// -----

// Points are taken from their positions, into rows.

func.func @take(%x: memref<?x?x5xf32>, %at: memref<?xi64>, %k: index, %rows: memref<?x1x5xf32>) {
  hpacml.take_points %x features [2] at %at count %k into %rows : memref<?x?x5xf32>, memref<?xi64>, memref<?x1x5xf32>
  func.return
}

// CHECK-LABEL: func.func @take
// CHECK:         [[WIDTH:%\d+]] = memref.dim %x, {{%\d+}} : memref<?x?x5xf32>
// CHECK:         "scf.parallel"({{%\d+}}, {{%\d+}}, %k, {{%\d+}}, {{%\d+}}, {{%\d+}})
// CHECK-NEXT:    {{.}}bb0([[R:%\d+]]: index, [[F:%\d+]]: index):
// CHECK:           [[POSITION:%\d+]] = memref.load %at[[[R]]] : memref<?xi64>
// CHECK-NEXT:      [[FLAT:%\d+]] = arith.index_cast [[POSITION]] : i64 to index
// CHECK-NEXT:      [[J:%\d+]] = arith.remui [[FLAT]], {{%\d+}} : index
// CHECK-NEXT:      [[I:%\d+]] = arith.divui [[FLAT]], {{%\d+}} : index
// CHECK-NEXT:      [[VALUE:%\d+]] = memref.load %x[[[I]], [[J]], [[F]]] : memref<?x?x5xf32>
// CHECK-NEXT:      memref.store [[VALUE]], %rows[[[R]], {{%\d+}}, [[F]]] : memref<?x1x5xf32>
