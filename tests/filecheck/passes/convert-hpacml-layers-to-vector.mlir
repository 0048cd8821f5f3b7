// RUN: hpacml-opt %s -p 'convert-hpacml-layers-to-vector{rows=2}' --split-input-file | filecheck %s

// Two outputs at once, and the third alone; 16 points of each.

func.func @linear(%n: index, %w: memref<9xf32>, %x: memref<2x128xf32>, %y: memref<3x128xf32>) {
  hpacml.layer ["linear(2, 3)", "relu"] points %n weights(%w : memref<9xf32>) ins(%x : memref<2x128xf32>) outs(%y : memref<3x128xf32>)
  func.return
}

// CHECK-LABEL: func.func @linear(%n: index, %w: memref<9xf32>, %x: memref<2x128xf32>, %y: memref<3x128xf32>) {
// CHECK-NEXT:      %0 = arith.constant 1 : index
// CHECK-NEXT:      %1 = arith.constant 0 : index
// CHECK-NEXT:      %2 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %3 = %1 to %0 step %2 {
// CHECK-NEXT:        %4 = arith.constant 2 : index
// CHECK-NEXT:        %5 = arith.muli %3, %4 : index
// CHECK-NEXT:        %6 = arith.constant 2 : index
// CHECK-NEXT:        %7 = arith.muli %5, %6 : index
// CHECK-NEXT:        %8 = arith.constant 3 : index
// CHECK-NEXT:        %9 = arith.addi %7, %8 : index
// CHECK-NEXT:        %10 = arith.constant 0 : index
// CHECK-NEXT:        %11 = arith.addi %5, %10 : index
// CHECK-NEXT:        %12 = arith.constant 1 : index
// CHECK-NEXT:        %13 = arith.addi %5, %12 : index
// CHECK-NEXT:        %14 = arith.constant 0 : index
// CHECK-NEXT:        %15 = arith.constant 16 : index
// CHECK-NEXT:        scf.for %16 = %14 to %n step %15 {
// CHECK-NEXT:          %17 = arith.constant 0 : index
// CHECK-NEXT:          %18 = arith.addi %16, %17 : index
// CHECK-NEXT:          %19 = arith.constant 8 : index
// CHECK-NEXT:          %20 = arith.addi %16, %19 : index
// CHECK-NEXT:          %21 = memref.load %w[%11] : memref<9xf32>
// CHECK-NEXT:          %22 = vector.broadcast %21 : f32 to vector<8xf32>
// CHECK-NEXT:          %23 = memref.load %w[%13] : memref<9xf32>
// CHECK-NEXT:          %24 = vector.broadcast %23 : f32 to vector<8xf32>
// CHECK-NEXT:          %25 = arith.constant 0 : index
// CHECK-NEXT:          %26 = arith.constant 2 : index
// CHECK-NEXT:          %27 = arith.constant 1 : index
// CHECK-NEXT:          %28, %29, %30, %31 = scf.for %32 = %25 to %26 step %27 iter_args(%33 = %22, %34 = %22, %35 = %24, %36 = %24) -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>) {
// CHECK-NEXT:            %37 = vector.load %x[%32, %18] : memref<2x128xf32>, vector<8xf32>
// CHECK-NEXT:            %38 = vector.load %x[%32, %20] : memref<2x128xf32>, vector<8xf32>
// CHECK-NEXT:            %39 = arith.constant 2 : index
// CHECK-NEXT:            %40 = arith.muli %32, %39 : index
// CHECK-NEXT:            %41 = arith.addi %9, %40 : index
// CHECK-NEXT:            %42 = arith.constant 0 : index
// CHECK-NEXT:            %43 = arith.addi %41, %42 : index
// CHECK-NEXT:            %44 = memref.load %w[%43] : memref<9xf32>
// CHECK-NEXT:            %45 = vector.broadcast %44 : f32 to vector<8xf32>
// CHECK-NEXT:            %46 = vector.fma %45, %37, %33 : vector<8xf32>
// CHECK-NEXT:            %47 = vector.fma %45, %38, %34 : vector<8xf32>
// CHECK-NEXT:            %48 = arith.constant 1 : index
// CHECK-NEXT:            %49 = arith.addi %41, %48 : index
// CHECK-NEXT:            %50 = memref.load %w[%49] : memref<9xf32>
// CHECK-NEXT:            %51 = vector.broadcast %50 : f32 to vector<8xf32>
// CHECK-NEXT:            %52 = vector.fma %51, %37, %35 : vector<8xf32>
// CHECK-NEXT:            %53 = vector.fma %51, %38, %36 : vector<8xf32>
// CHECK-NEXT:            scf.yield %46, %47, %52, %53 : vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>
// CHECK-NEXT:          }
// CHECK-NEXT:          %54 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %55 = arith.maximumf %28, %54 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          vector.store %55, %y[%11, %18] : memref<3x128xf32>, vector<8xf32>
// CHECK-NEXT:          %56 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %57 = arith.maximumf %29, %56 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          vector.store %57, %y[%11, %20] : memref<3x128xf32>, vector<8xf32>
// CHECK-NEXT:          %58 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %59 = arith.maximumf %30, %58 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          vector.store %59, %y[%13, %18] : memref<3x128xf32>, vector<8xf32>
// CHECK-NEXT:          %60 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %61 = arith.maximumf %31, %60 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          vector.store %61, %y[%13, %20] : memref<3x128xf32>, vector<8xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:      %62 = arith.constant 2 : index
// CHECK-NEXT:      %63 = arith.constant 2 : index
// CHECK-NEXT:      %64 = arith.muli %62, %63 : index
// CHECK-NEXT:      %65 = arith.constant 3 : index
// CHECK-NEXT:      %66 = arith.addi %64, %65 : index
// CHECK-NEXT:      %67 = arith.constant 0 : index
// CHECK-NEXT:      %68 = arith.addi %62, %67 : index
// CHECK-NEXT:      %69 = arith.constant 0 : index
// CHECK-NEXT:      %70 = arith.constant 16 : index
// CHECK-NEXT:      scf.for %71 = %69 to %n step %70 {
// CHECK-NEXT:        %72 = arith.constant 0 : index
// CHECK-NEXT:        %73 = arith.addi %71, %72 : index
// CHECK-NEXT:        %74 = arith.constant 8 : index
// CHECK-NEXT:        %75 = arith.addi %71, %74 : index
// CHECK-NEXT:        %76 = memref.load %w[%68] : memref<9xf32>
// CHECK-NEXT:        %77 = vector.broadcast %76 : f32 to vector<8xf32>
// CHECK-NEXT:        %78 = arith.constant 0 : index
// CHECK-NEXT:        %79 = arith.constant 2 : index
// CHECK-NEXT:        %80 = arith.constant 1 : index
// CHECK-NEXT:        %81, %82 = scf.for %83 = %78 to %79 step %80 iter_args(%84 = %77, %85 = %77) -> (vector<8xf32>, vector<8xf32>) {
// CHECK-NEXT:          %86 = vector.load %x[%83, %73] : memref<2x128xf32>, vector<8xf32>
// CHECK-NEXT:          %87 = vector.load %x[%83, %75] : memref<2x128xf32>, vector<8xf32>
// CHECK-NEXT:          %88 = arith.constant 1 : index
// CHECK-NEXT:          %89 = arith.muli %83, %88 : index
// CHECK-NEXT:          %90 = arith.addi %66, %89 : index
// CHECK-NEXT:          %91 = arith.constant 0 : index
// CHECK-NEXT:          %92 = arith.addi %90, %91 : index
// CHECK-NEXT:          %93 = memref.load %w[%92] : memref<9xf32>
// CHECK-NEXT:          %94 = vector.broadcast %93 : f32 to vector<8xf32>
// CHECK-NEXT:          %95 = vector.fma %94, %86, %84 : vector<8xf32>
// CHECK-NEXT:          %96 = vector.fma %94, %87, %85 : vector<8xf32>
// CHECK-NEXT:          scf.yield %95, %96 : vector<8xf32>, vector<8xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:        %97 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %98 = arith.maximumf %81, %97 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:        vector.store %98, %y[%68, %73] : memref<3x128xf32>, vector<8xf32>
// CHECK-NEXT:        %99 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %100 = arith.maximumf %82, %99 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:        vector.store %100, %y[%68, %75] : memref<3x128xf32>, vector<8xf32>
// CHECK-NEXT:      }
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }

// -----

// Functions without a linear layer, the last of which computes in f64.

func.func @functions(%n: index, %s: memref<4xf64>, %x: memref<2x64xf32>, %y: memref<2x64xf64>) {
  hpacml.layer ["clamp(-1.0, 1.0)", "denormalize64(2)"] points %n weights(%s : memref<4xf64>) ins(%x : memref<2x64xf32>) outs(%y : memref<2x64xf64>)
  func.return
}

// CHECK-LABEL: func.func @functions(%n: index, %s: memref<4xf64>, %x: memref<2x64xf32>, %y: memref<2x64xf64>) {
// CHECK-NEXT:      %0 = arith.constant 2 : index
// CHECK-NEXT:      %1 = arith.constant 0 : index
// CHECK-NEXT:      %2 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %3 = %1 to %0 step %2 {
// CHECK-NEXT:        %4 = arith.constant 0 : index
// CHECK-NEXT:        %5 = arith.constant 16 : index
// CHECK-NEXT:        scf.for %6 = %4 to %n step %5 {
// CHECK-NEXT:          %7 = arith.constant 0 : index
// CHECK-NEXT:          %8 = arith.addi %6, %7 : index
// CHECK-NEXT:          %9 = arith.constant 8 : index
// CHECK-NEXT:          %10 = arith.addi %6, %9 : index
// CHECK-NEXT:          %11 = vector.load %x[%3, %8] : memref<2x64xf32>, vector<8xf32>
// CHECK-NEXT:          %12 = arith.constant dense<-1.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %13 = arith.maximumf %11, %12 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          %14 = arith.constant dense<1.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %15 = arith.minimumf %13, %14 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          %16 = arith.extf %15 : vector<8xf32> to vector<8xf64>
// CHECK-NEXT:          %17 = arith.constant 2 : index
// CHECK-NEXT:          %18 = arith.addi %17, %3 : index
// CHECK-NEXT:          %19 = memref.load %s[%18] : memref<4xf64>
// CHECK-NEXT:          %20 = vector.broadcast %19 : f64 to vector<8xf64>
// CHECK-NEXT:          %21 = arith.mulf %16, %20 : vector<8xf64>
// CHECK-NEXT:          %22 = arith.constant 0 : index
// CHECK-NEXT:          %23 = arith.addi %22, %3 : index
// CHECK-NEXT:          %24 = memref.load %s[%23] : memref<4xf64>
// CHECK-NEXT:          %25 = vector.broadcast %24 : f64 to vector<8xf64>
// CHECK-NEXT:          %26 = arith.addf %21, %25 : vector<8xf64>
// CHECK-NEXT:          vector.store %26, %y[%3, %8] : memref<2x64xf64>, vector<8xf64>
// CHECK-NEXT:          %27 = vector.load %x[%3, %10] : memref<2x64xf32>, vector<8xf32>
// CHECK-NEXT:          %28 = arith.constant dense<-1.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %29 = arith.maximumf %27, %28 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          %30 = arith.constant dense<1.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %31 = arith.minimumf %29, %30 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          %32 = arith.extf %31 : vector<8xf32> to vector<8xf64>
// CHECK-NEXT:          %33 = arith.constant 2 : index
// CHECK-NEXT:          %34 = arith.addi %33, %3 : index
// CHECK-NEXT:          %35 = memref.load %s[%34] : memref<4xf64>
// CHECK-NEXT:          %36 = vector.broadcast %35 : f64 to vector<8xf64>
// CHECK-NEXT:          %37 = arith.mulf %32, %36 : vector<8xf64>
// CHECK-NEXT:          %38 = arith.constant 0 : index
// CHECK-NEXT:          %39 = arith.addi %38, %3 : index
// CHECK-NEXT:          %40 = memref.load %s[%39] : memref<4xf64>
// CHECK-NEXT:          %41 = vector.broadcast %40 : f64 to vector<8xf64>
// CHECK-NEXT:          %42 = arith.addf %37, %41 : vector<8xf64>
// CHECK-NEXT:          vector.store %42, %y[%3, %10] : memref<2x64xf64>, vector<8xf64>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:      func.return
// CHECK-NEXT:    }

// -----

// A sum with another tile.

func.func @residual(%n: index, %x: memref<1x128xf32>, %z: memref<1x128xf32>, %y: memref<1x128xf32>) {
  hpacml.layer ["relu", "residual"] points %n plus(%z : memref<1x128xf32>) ins(%x : memref<1x128xf32>) outs(%y : memref<1x128xf32>)
  func.return
}

// CHECK-LABEL: func.func @residual(%n: index, %x: memref<1x128xf32>, %z: memref<1x128xf32>, %y: memref<1x128xf32>) {
// CHECK-NEXT:    %0 = arith.constant 1 : index
// CHECK-NEXT:    %1 = arith.constant 0 : index
// CHECK-NEXT:    %2 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %3 = %1 to %0 step %2 {
// CHECK-NEXT:      %4 = arith.constant 0 : index
// CHECK-NEXT:      %5 = arith.constant 16 : index
// CHECK-NEXT:      scf.for %6 = %4 to %n step %5 {
// CHECK-NEXT:        %7 = arith.constant 0 : index
// CHECK-NEXT:        %8 = arith.addi %6, %7 : index
// CHECK-NEXT:        %9 = arith.constant 8 : index
// CHECK-NEXT:        %10 = arith.addi %6, %9 : index
// CHECK-NEXT:        %11 = vector.load %x[%3, %8] : memref<1x128xf32>, vector<8xf32>
// CHECK-NEXT:        %12 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %13 = arith.maximumf %11, %12 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:        %14 = vector.load %z[%3, %8] : memref<1x128xf32>, vector<8xf32>
// CHECK-NEXT:        %15 = arith.addf %13, %14 : vector<8xf32>
// CHECK-NEXT:        vector.store %15, %y[%3, %8] : memref<1x128xf32>, vector<8xf32>
// CHECK-NEXT:        %16 = vector.load %x[%3, %10] : memref<1x128xf32>, vector<8xf32>
// CHECK-NEXT:        %17 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %18 = arith.maximumf %16, %17 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:        %19 = vector.load %z[%3, %10] : memref<1x128xf32>, vector<8xf32>
// CHECK-NEXT:        %20 = arith.addf %18, %19 : vector<8xf32>
// CHECK-NEXT:        vector.store %20, %y[%3, %10] : memref<1x128xf32>, vector<8xf32>
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
