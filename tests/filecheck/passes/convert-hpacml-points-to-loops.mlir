// Checks, merges: features one by one and in a loop, in front, and a sweep without dimensions.

// RUN: hpacml-opt %s -p convert-hpacml-points-to-loops | filecheck %s

func.func @points(%x: memref<?x?x2xf32>, %y: memref<?x?x1xf32>, %low: memref<?xf64>, %w: memref<?x?xf64>, %limit: f64, %mask: memref<?x?xi8>) {
  hpacml.check_range %x features [2] low %low high %low into %mask : memref<?x?x2xf32>, memref<?xf64>, memref<?xf64>, memref<?x?xi8>
  hpacml.check_distance (%x, %y : memref<?x?x2xf32>, memref<?x?x1xf32>) features [2, -1, 2, -1] mean %low whitening %w limit 4.0 into %mask : memref<?xf64>, memref<?x?xf64>, memref<?x?xi8>
  hpacml.check_where "0 < t < limit and not (t == 2 or limit > t % 3)" names ["t", "limit"] of (%y : memref<?x?x1xf32>) numbers (%limit) into %mask : memref<?x?xi8>
  hpacml.check_below %y features [2] limit 0.5 into %mask : memref<?x?x1xf32>, memref<?x?xi8>
  hpacml.merge %y into %y features [2] at %mask : memref<?x?x1xf32>, memref<?x?x1xf32>, memref<?x?xi8>
  func.return
}
func.func @wide(%c: memref<40x?xi32>, %low: memref<?xf64>, %mask: memref<?xi8>) {
  hpacml.check_range %c features [0] low %low high %low into %mask : memref<40x?xi32>, memref<?xf64>, memref<?xf64>, memref<?xi8>
  func.return
}
func.func @one(%c: memref<3xf64>, %mask: memref<i8>) {
  hpacml.check_below %c features [0] limit 0.5 into %mask : memref<3xf64>, memref<i8>
  func.return
}

// CHECK:       builtin.module {
// CHECK-NEXT:    func.func @points(%x: memref<?x?x2xf32>, %y: memref<?x?x1xf32>, %low: memref<?xf64>, %w: memref<?x?xf64>, %limit: f64, %mask: memref<?x?xi8>) {
// CHECK-NEXT:      %0 = arith.constant 0 : index
// CHECK-NEXT:      %1 = memref.load %low[%0] : memref<?xf64>
// CHECK-NEXT:      %2 = memref.load %low[%0] : memref<?xf64>
// CHECK-NEXT:      %3 = arith.constant 1 : index
// CHECK-NEXT:      %4 = memref.load %low[%3] : memref<?xf64>
// CHECK-NEXT:      %5 = memref.load %low[%3] : memref<?xf64>
// CHECK-NEXT:      %6 = arith.constant 0 : index
// CHECK-NEXT:      %7 = memref.dim %mask, %6 : memref<?x?xi8>
// CHECK-NEXT:      %8 = arith.constant 1 : index
// CHECK-NEXT:      %9 = memref.dim %mask, %8 : memref<?x?xi8>
// CHECK-NEXT:      %10 = arith.constant 0 : index
// CHECK-NEXT:      %11 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%10, %10, %7, %9, %11, %11) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%12: index, %13: index):
// CHECK-NEXT:        %14 = arith.constant 0 : i8
// CHECK-NEXT:        %15 = arith.constant 1 : i8
// CHECK-NEXT:        %16 = arith.constant true
// CHECK-NEXT:        %17 = arith.constant 0 : index
// CHECK-NEXT:        %18 = memref.load %x[%12, %13, %17] : memref<?x?x2xf32>
// CHECK-NEXT:        %19 = arith.extf %18 : f32 to f64
// CHECK-NEXT:        %20 = arith.cmpf ole, %19, %2 : f64
// CHECK-NEXT:        %21 = arith.cmpf ole, %1, %19 : f64
// CHECK-NEXT:        %22 = arith.andi %21, %20 : i1
// CHECK-NEXT:        %23 = arith.andi %16, %22 : i1
// CHECK-NEXT:        %24 = arith.constant 1 : index
// CHECK-NEXT:        %25 = memref.load %x[%12, %13, %24] : memref<?x?x2xf32>
// CHECK-NEXT:        %26 = arith.extf %25 : f32 to f64
// CHECK-NEXT:        %27 = arith.cmpf ole, %26, %5 : f64
// CHECK-NEXT:        %28 = arith.cmpf ole, %4, %26 : f64
// CHECK-NEXT:        %29 = arith.andi %28, %27 : i1
// CHECK-NEXT:        %30 = arith.andi %23, %29 : i1
// CHECK-NEXT:        %31 = arith.select %30, %14, %15 : i8
// CHECK-NEXT:        %32 = memref.load %mask[%12, %13] : memref<?x?xi8>
// CHECK-NEXT:        %33 = arith.ori %32, %31 : i8
// CHECK-NEXT:        memref.store %33, %mask[%12, %13] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %34 = arith.constant 0 : index
// CHECK-NEXT:      %35 = memref.dim %mask, %34 : memref<?x?xi8>
// CHECK-NEXT:      %36 = arith.constant 1 : index
// CHECK-NEXT:      %37 = memref.dim %mask, %36 : memref<?x?xi8>
// CHECK-NEXT:      %38 = arith.constant 0 : index
// CHECK-NEXT:      %39 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%38, %38, %35, %37, %39, %39) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%40: index, %41: index):
// CHECK-NEXT:        %42 = arith.constant 0 : i8
// CHECK-NEXT:        %43 = arith.constant 2 : i8
// CHECK-NEXT:        %44 = arith.constant 0.000000e+00 : f64
// CHECK-NEXT:        %45 = arith.constant 1.600000e+01 : f64
// CHECK-NEXT:        %46 = arith.constant 0 : index
// CHECK-NEXT:        %47 = memref.dim %low, %46 : memref<?xf64>
// CHECK-NEXT:        %48 = arith.constant 0 : index
// CHECK-NEXT:        %49 = arith.constant 1 : index
// CHECK-NEXT:        %50 = scf.for %51 = %48 to %47 step %49 iter_args(%52 = %44) -> (f64) {
// CHECK-NEXT:          %53 = arith.constant 0 : index
// CHECK-NEXT:          %54 = arith.constant 0 : index
// CHECK-NEXT:          %55 = arith.addi %53, %54 : index
// CHECK-NEXT:          %56 = memref.load %w[%51, %55] : memref<?x?xf64>
// CHECK-NEXT:          %57 = memref.load %low[%55] : memref<?xf64>
// CHECK-NEXT:          %58 = memref.load %x[%40, %41, %54] : memref<?x?x2xf32>
// CHECK-NEXT:          %59 = arith.extf %58 : f32 to f64
// CHECK-NEXT:          %60 = arith.subf %59, %57 : f64
// CHECK-NEXT:          %61 = arith.mulf %56, %60 : f64
// CHECK-NEXT:          %62 = arith.addf %44, %61 : f64
// CHECK-NEXT:          %63 = arith.constant 1 : index
// CHECK-NEXT:          %64 = arith.addi %53, %63 : index
// CHECK-NEXT:          %65 = memref.load %w[%51, %64] : memref<?x?xf64>
// CHECK-NEXT:          %66 = memref.load %low[%64] : memref<?xf64>
// CHECK-NEXT:          %67 = memref.load %x[%40, %41, %63] : memref<?x?x2xf32>
// CHECK-NEXT:          %68 = arith.extf %67 : f32 to f64
// CHECK-NEXT:          %69 = arith.subf %68, %66 : f64
// CHECK-NEXT:          %70 = arith.mulf %65, %69 : f64
// CHECK-NEXT:          %71 = arith.addf %62, %70 : f64
// CHECK-NEXT:          %72 = arith.constant 2 : index
// CHECK-NEXT:          %73 = arith.constant 1 : index
// CHECK-NEXT:          %74 = arith.muli %73, %72 : index
// CHECK-NEXT:          %75 = arith.addi %53, %74 : index
// CHECK-NEXT:          %76 = arith.constant 0 : index
// CHECK-NEXT:          %77 = arith.addi %75, %76 : index
// CHECK-NEXT:          %78 = memref.load %w[%51, %77] : memref<?x?xf64>
// CHECK-NEXT:          %79 = memref.load %low[%77] : memref<?xf64>
// CHECK-NEXT:          %80 = memref.load %y[%40, %41, %76] : memref<?x?x1xf32>
// CHECK-NEXT:          %81 = arith.extf %80 : f32 to f64
// CHECK-NEXT:          %82 = arith.subf %81, %79 : f64
// CHECK-NEXT:          %83 = arith.mulf %78, %82 : f64
// CHECK-NEXT:          %84 = arith.addf %71, %83 : f64
// CHECK-NEXT:          %85 = arith.constant 1 : index
// CHECK-NEXT:          %86 = arith.constant 1 : index
// CHECK-NEXT:          %87 = arith.muli %86, %85 : index
// CHECK-NEXT:          %88 = arith.addi %75, %87 : index
// CHECK-NEXT:          %89 = arith.mulf %84, %84 : f64
// CHECK-NEXT:          %90 = arith.addf %52, %89 : f64
// CHECK-NEXT:          scf.yield %90 : f64
// CHECK-NEXT:        }
// CHECK-NEXT:        %91 = arith.cmpf ole, %50, %45 : f64
// CHECK-NEXT:        %92 = arith.select %91, %42, %43 : i8
// CHECK-NEXT:        %93 = memref.load %mask[%40, %41] : memref<?x?xi8>
// CHECK-NEXT:        %94 = arith.ori %93, %92 : i8
// CHECK-NEXT:        memref.store %94, %mask[%40, %41] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %95 = arith.constant 0 : index
// CHECK-NEXT:      %96 = memref.dim %mask, %95 : memref<?x?xi8>
// CHECK-NEXT:      %97 = arith.constant 1 : index
// CHECK-NEXT:      %98 = memref.dim %mask, %97 : memref<?x?xi8>
// CHECK-NEXT:      %99 = arith.constant 0 : index
// CHECK-NEXT:      %100 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%99, %99, %96, %98, %100, %100) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%101: index, %102: index):
// CHECK-NEXT:        %103 = arith.constant 0 : i8
// CHECK-NEXT:        %104 = arith.constant 4 : i8
// CHECK-NEXT:        %105 = arith.constant 0 : index
// CHECK-NEXT:        %106 = memref.load %y[%101, %102, %105] : memref<?x?x1xf32>
// CHECK-NEXT:        %107 = arith.extf %106 : f32 to f64
// CHECK-NEXT:        %108 = arith.constant 0.000000e+00 : f64
// CHECK-NEXT:        %109 = arith.cmpf olt, %108, %107 : f64
// CHECK-NEXT:        %110 = arith.cmpf olt, %107, %limit : f64
// CHECK-NEXT:        %111 = arith.andi %109, %110 : i1
// CHECK-NEXT:        %112 = arith.constant true
// CHECK-NEXT:        %113 = arith.constant 2.000000e+00 : f64
// CHECK-NEXT:        %114 = arith.cmpf oeq, %107, %113 : f64
// CHECK-NEXT:        %115 = arith.constant 3.000000e+00 : f64
// CHECK-NEXT:        %116 = arith.divf %107, %115 : f64
// CHECK-NEXT:        %117 = math.floor %116 : f64
// CHECK-NEXT:        %118 = arith.mulf %117, %115 : f64
// CHECK-NEXT:        %119 = arith.subf %107, %118 : f64
// CHECK-NEXT:        %120 = arith.cmpf ogt, %limit, %119 : f64
// CHECK-NEXT:        %121 = arith.ori %114, %120 : i1
// CHECK-NEXT:        %122 = arith.xori %121, %112 : i1
// CHECK-NEXT:        %123 = arith.andi %111, %122 : i1
// CHECK-NEXT:        %124 = arith.select %123, %103, %104 : i8
// CHECK-NEXT:        %125 = memref.load %mask[%101, %102] : memref<?x?xi8>
// CHECK-NEXT:        %126 = arith.ori %125, %124 : i8
// CHECK-NEXT:        memref.store %126, %mask[%101, %102] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %127 = arith.constant 0 : index
// CHECK-NEXT:      %128 = memref.dim %mask, %127 : memref<?x?xi8>
// CHECK-NEXT:      %129 = arith.constant 1 : index
// CHECK-NEXT:      %130 = memref.dim %mask, %129 : memref<?x?xi8>
// CHECK-NEXT:      %131 = arith.constant 0 : index
// CHECK-NEXT:      %132 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%131, %131, %128, %130, %132, %132) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%133: index, %134: index):
// CHECK-NEXT:        %135 = arith.constant 0 : i8
// CHECK-NEXT:        %136 = arith.constant 8 : i8
// CHECK-NEXT:        %137 = arith.constant 5.000000e-01 : f64
// CHECK-NEXT:        %138 = arith.constant true
// CHECK-NEXT:        %139 = arith.constant 0 : index
// CHECK-NEXT:        %140 = memref.load %y[%133, %134, %139] : memref<?x?x1xf32>
// CHECK-NEXT:        %141 = arith.extf %140 : f32 to f64
// CHECK-NEXT:        %142 = arith.cmpf ole, %141, %137 : f64
// CHECK-NEXT:        %143 = arith.andi %138, %142 : i1
// CHECK-NEXT:        %144 = arith.select %143, %135, %136 : i8
// CHECK-NEXT:        %145 = memref.load %mask[%133, %134] : memref<?x?xi8>
// CHECK-NEXT:        %146 = arith.ori %145, %144 : i8
// CHECK-NEXT:        memref.store %146, %mask[%133, %134] : memref<?x?xi8>
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      %147 = arith.constant 0 : index
// CHECK-NEXT:      %148 = memref.dim %mask, %147 : memref<?x?xi8>
// CHECK-NEXT:      %149 = arith.constant 1 : index
// CHECK-NEXT:      %150 = memref.dim %mask, %149 : memref<?x?xi8>
// CHECK-NEXT:      %151 = arith.constant 0 : index
// CHECK-NEXT:      %152 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%151, %151, %148, %150, %152, %152) <{operandSegmentSizes = array<i32: 2, 2, 2, 0>}> ({
// CHECK-NEXT:      ^bb0(%153: index, %154: index):
// CHECK-NEXT:        %155 = arith.constant 0 : i8
// CHECK-NEXT:        %156 = memref.load %mask[%153, %154] : memref<?x?xi8>
// CHECK-NEXT:        %157 = arith.cmpi ne, %156, %155 : i8
// CHECK-NEXT:        scf.if %157 {
// CHECK-NEXT:          %158 = arith.constant 0 : index
// CHECK-NEXT:          %159 = memref.load %y[%153, %154, %158] : memref<?x?x1xf32>
// CHECK-NEXT:          memref.store %159, %y[%153, %154, %158] : memref<?x?x1xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:        scf.reduce
// CHECK-NEXT:      }) : (index, index, index, index, index, index) -> ()
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }
// CHECK-NEXT:    func.func @wide(%c: memref<40x?xi32>, %low: memref<?xf64>, %mask: memref<?xi8>) {
// CHECK-NEXT:      %0 = arith.constant 0 : index
// CHECK-NEXT:      %1 = memref.dim %mask, %0 : memref<?xi8>
// CHECK-NEXT:      %2 = arith.constant 0 : index
// CHECK-NEXT:      %3 = arith.constant 1 : index
// CHECK-NEXT:      "scf.parallel"(%2, %1, %3) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
// CHECK-NEXT:      ^bb0(%4: index):
// CHECK-NEXT:        %5 = arith.constant 0 : i8
// CHECK-NEXT:        %6 = arith.constant 1 : i8
// CHECK-NEXT:        %7 = arith.constant true
// CHECK-NEXT:        %8 = arith.constant 40 : index
// CHECK-NEXT:        %9 = arith.constant 1 : index
// CHECK-NEXT:        %10 = arith.muli %9, %8 : index
// CHECK-NEXT:        %11 = arith.constant 0 : index
// CHECK-NEXT:        %12 = arith.constant 1 : index
// CHECK-NEXT:        %13 = scf.for %14 = %11 to %10 step %12 iter_args(%15 = %7) -> (i1) {
// CHECK-NEXT:          %16 = memref.load %low[%14] : memref<?xf64>
// CHECK-NEXT:          %17 = memref.load %low[%14] : memref<?xf64>
// CHECK-NEXT:          %18 = memref.load %c[%14, %4] : memref<40x?xi32>
// CHECK-NEXT:          %19 = arith.sitofp %18 : i32 to f64
// CHECK-NEXT:          %20 = arith.cmpf ole, %19, %17 : f64
// CHECK-NEXT:          %21 = arith.cmpf ole, %16, %19 : f64
// CHECK-NEXT:          %22 = arith.andi %21, %20 : i1
// CHECK-NEXT:          %23 = arith.andi %15, %22 : i1
// CHECK-NEXT:          scf.yield %23 : i1
// CHECK-NEXT:        }
// CHECK-NEXT:        %24 = arith.select %13, %5, %6 : i8
// CHECK-NEXT:        %25 = memref.load %mask[%4] : memref<?xi8>
// CHECK-NEXT:        %26 = arith.ori %25, %24 : i8
// CHECK-NEXT:        memref.store %26, %mask[%4] : memref<?xi8>
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
// CHECK-NEXT:  }
