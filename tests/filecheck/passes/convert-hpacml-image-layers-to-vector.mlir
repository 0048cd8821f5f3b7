// RUN: hpacml-opt %s -p 'convert-hpacml-image-layers-to-vector{rows=2}' --split-input-file | filecheck %s

// Two outputs at once, and the third alone; rows of 11 columns are a vector of 8 and a masked one.

func.func @conv(%w: memref<30xf32>, %x: memref<1x6x13xf32>, %y: memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>) {
  hpacml.image_layer ["conv(1, 3, 3x3)", "relu"] weights(%w : memref<30xf32>)
    ins(%x : memref<1x6x13xf32>) outs(%y : memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>)
  func.return
}

// CHECK-LABEL: func.func @conv(%w: memref<30xf32>, %x: memref<1x6x13xf32>, %y: memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>) {
// CHECK-NEXT:    %0 = arith.constant 1 : index
// CHECK-NEXT:    %1 = arith.constant 0 : index
// CHECK-NEXT:    %2 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %3 = %1 to %0 step %2 {
// CHECK-NEXT:      %4 = arith.constant 1 : index
// CHECK-NEXT:      %5 = arith.muli %3, %4 : index
// CHECK-NEXT:      %6 = arith.constant 3 : index
// CHECK-NEXT:      %7 = arith.muli %3, %6 : index
// CHECK-NEXT:      %8 = arith.constant 1 : index
// CHECK-NEXT:      %9 = arith.constant 0 : index
// CHECK-NEXT:      %10 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %11 = %9 to %8 step %10 {
// CHECK-NEXT:        %12 = arith.constant 2 : index
// CHECK-NEXT:        %13 = arith.muli %11, %12 : index
// CHECK-NEXT:        %14 = arith.addi %7, %13 : index
// CHECK-NEXT:        %15 = arith.constant 9 : index
// CHECK-NEXT:        %16 = arith.muli %14, %15 : index
// CHECK-NEXT:        %17 = arith.constant 3 : index
// CHECK-NEXT:        %18 = arith.addi %16, %17 : index
// CHECK-NEXT:        %19 = arith.constant 0 : index
// CHECK-NEXT:        %20 = arith.addi %14, %19 : index
// CHECK-NEXT:        %21 = arith.constant 1 : index
// CHECK-NEXT:        %22 = arith.addi %14, %21 : index
// CHECK-NEXT:        %23 = arith.constant 4 : index
// CHECK-NEXT:        %24 = arith.constant 0 : index
// CHECK-NEXT:        %25 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %26 = %24 to %23 step %25 {
// CHECK-NEXT:          %27 = arith.constant 0 : index
// CHECK-NEXT:          %28 = arith.constant 0 : index
// CHECK-NEXT:          %29 = arith.addi %27, %28 : index
// CHECK-NEXT:          %30 = arith.constant 8 : index
// CHECK-NEXT:          %31 = arith.addi %27, %30 : index
// CHECK-NEXT:          %32 = memref.load %w[%20] : memref<30xf32>
// CHECK-NEXT:          %33 = vector.broadcast %32 : f32 to vector<8xf32>
// CHECK-NEXT:          %34 = memref.load %w[%22] : memref<30xf32>
// CHECK-NEXT:          %35 = vector.broadcast %34 : f32 to vector<8xf32>
// CHECK-NEXT:          %36 = arith.constant 0 : index
// CHECK-NEXT:          %37 = arith.addi %5, %36 : index
// CHECK-NEXT:          %38 = arith.constant 0 : index
// CHECK-NEXT:          %39 = arith.constant 3 : index
// CHECK-NEXT:          %40 = arith.constant 1 : index
// CHECK-NEXT:          %41, %42, %43, %44 = scf.for %45 = %38 to %39 step %40 iter_args(%46 = %33, %47 = %33, %48 = %35, %49 = %35) -> (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>) {
// CHECK-NEXT:            %50 = arith.constant 1 : index
// CHECK-NEXT:            %51 = arith.muli %26, %50 : index
// CHECK-NEXT:            %52 = arith.constant 1 : index
// CHECK-NEXT:            %53 = arith.muli %45, %52 : index
// CHECK-NEXT:            %54 = arith.addi %51, %53 : index
// CHECK-NEXT:            %55 = arith.constant 3 : index
// CHECK-NEXT:            %56 = arith.muli %36, %55 : index
// CHECK-NEXT:            %57 = arith.addi %56, %45 : index
// CHECK-NEXT:            %58 = arith.constant 6 : index
// CHECK-NEXT:            %59 = arith.muli %57, %58 : index
// CHECK-NEXT:            %60 = arith.addi %18, %59 : index
// CHECK-NEXT:            %61 = arith.constant 0 : index
// CHECK-NEXT:            %62 = arith.addi %29, %61 : index
// CHECK-NEXT:            %63 = vector.load %x[%37, %54, %62] : memref<1x6x13xf32>, vector<8xf32>
// CHECK-NEXT:            %64 = arith.constant 0 : index
// CHECK-NEXT:            %65 = arith.addi %31, %64 : index
// CHECK-NEXT:            %66 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:            %67 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:            %68 = vector.maskedload %x[%37, %54, %65], %66, %67 : memref<1x6x13xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:            %69 = arith.constant 0 : index
// CHECK-NEXT:            %70 = arith.addi %60, %69 : index
// CHECK-NEXT:            %71 = memref.load %w[%70] : memref<30xf32>
// CHECK-NEXT:            %72 = vector.broadcast %71 : f32 to vector<8xf32>
// CHECK-NEXT:            %73 = arith.constant 1 : index
// CHECK-NEXT:            %74 = arith.addi %60, %73 : index
// CHECK-NEXT:            %75 = memref.load %w[%74] : memref<30xf32>
// CHECK-NEXT:            %76 = vector.broadcast %75 : f32 to vector<8xf32>
// CHECK-NEXT:            %77 = vector.fma %72, %63, %46 : vector<8xf32>
// CHECK-NEXT:            %78 = vector.fma %72, %68, %47 : vector<8xf32>
// CHECK-NEXT:            %79 = vector.fma %76, %63, %48 : vector<8xf32>
// CHECK-NEXT:            %80 = vector.fma %76, %68, %49 : vector<8xf32>
// CHECK-NEXT:            %81 = arith.constant 1 : index
// CHECK-NEXT:            %82 = arith.addi %29, %81 : index
// CHECK-NEXT:            %83 = vector.load %x[%37, %54, %82] : memref<1x6x13xf32>, vector<8xf32>
// CHECK-NEXT:            %84 = arith.constant 1 : index
// CHECK-NEXT:            %85 = arith.addi %31, %84 : index
// CHECK-NEXT:            %86 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:            %87 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:            %88 = vector.maskedload %x[%37, %54, %85], %86, %87 : memref<1x6x13xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:            %89 = arith.constant 2 : index
// CHECK-NEXT:            %90 = arith.addi %60, %89 : index
// CHECK-NEXT:            %91 = memref.load %w[%90] : memref<30xf32>
// CHECK-NEXT:            %92 = vector.broadcast %91 : f32 to vector<8xf32>
// CHECK-NEXT:            %93 = arith.constant 3 : index
// CHECK-NEXT:            %94 = arith.addi %60, %93 : index
// CHECK-NEXT:            %95 = memref.load %w[%94] : memref<30xf32>
// CHECK-NEXT:            %96 = vector.broadcast %95 : f32 to vector<8xf32>
// CHECK-NEXT:            %97 = vector.fma %92, %83, %77 : vector<8xf32>
// CHECK-NEXT:            %98 = vector.fma %92, %88, %78 : vector<8xf32>
// CHECK-NEXT:            %99 = vector.fma %96, %83, %79 : vector<8xf32>
// CHECK-NEXT:            %100 = vector.fma %96, %88, %80 : vector<8xf32>
// CHECK-NEXT:            %101 = arith.constant 2 : index
// CHECK-NEXT:            %102 = arith.addi %29, %101 : index
// CHECK-NEXT:            %103 = vector.load %x[%37, %54, %102] : memref<1x6x13xf32>, vector<8xf32>
// CHECK-NEXT:            %104 = arith.constant 2 : index
// CHECK-NEXT:            %105 = arith.addi %31, %104 : index
// CHECK-NEXT:            %106 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:            %107 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:            %108 = vector.maskedload %x[%37, %54, %105], %106, %107 : memref<1x6x13xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:            %109 = arith.constant 4 : index
// CHECK-NEXT:            %110 = arith.addi %60, %109 : index
// CHECK-NEXT:            %111 = memref.load %w[%110] : memref<30xf32>
// CHECK-NEXT:            %112 = vector.broadcast %111 : f32 to vector<8xf32>
// CHECK-NEXT:            %113 = arith.constant 5 : index
// CHECK-NEXT:            %114 = arith.addi %60, %113 : index
// CHECK-NEXT:            %115 = memref.load %w[%114] : memref<30xf32>
// CHECK-NEXT:            %116 = vector.broadcast %115 : f32 to vector<8xf32>
// CHECK-NEXT:            %117 = vector.fma %112, %103, %97 : vector<8xf32>
// CHECK-NEXT:            %118 = vector.fma %112, %108, %98 : vector<8xf32>
// CHECK-NEXT:            %119 = vector.fma %116, %103, %99 : vector<8xf32>
// CHECK-NEXT:            %120 = vector.fma %116, %108, %100 : vector<8xf32>
// CHECK-NEXT:            scf.yield %117, %118, %119, %120 : vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xf32>
// CHECK-NEXT:          }
// CHECK-NEXT:          %121 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %122 = arith.maximumf %41, %121 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          vector.store %122, %y[%20, %26, %29] : memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>, vector<8xf32>
// CHECK-NEXT:          %123 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %124 = arith.maximumf %42, %123 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          %125 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:          vector.maskedstore %y[%20, %26, %31], %125, %124 : memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>, vector<8xi1>, vector<8xf32>
// CHECK-NEXT:          %126 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %127 = arith.maximumf %43, %126 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          vector.store %127, %y[%22, %26, %29] : memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>, vector<8xf32>
// CHECK-NEXT:          %128 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %129 = arith.maximumf %44, %128 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:          %130 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:          vector.maskedstore %y[%22, %26, %31], %130, %129 : memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>, vector<8xi1>, vector<8xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:      %131 = arith.constant 2 : index
// CHECK-NEXT:      %132 = arith.addi %7, %131 : index
// CHECK-NEXT:      %133 = arith.constant 9 : index
// CHECK-NEXT:      %134 = arith.muli %132, %133 : index
// CHECK-NEXT:      %135 = arith.constant 3 : index
// CHECK-NEXT:      %136 = arith.addi %134, %135 : index
// CHECK-NEXT:      %137 = arith.constant 0 : index
// CHECK-NEXT:      %138 = arith.addi %132, %137 : index
// CHECK-NEXT:      %139 = arith.constant 4 : index
// CHECK-NEXT:      %140 = arith.constant 0 : index
// CHECK-NEXT:      %141 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %142 = %140 to %139 step %141 {
// CHECK-NEXT:        %143 = arith.constant 0 : index
// CHECK-NEXT:        %144 = arith.constant 0 : index
// CHECK-NEXT:        %145 = arith.addi %143, %144 : index
// CHECK-NEXT:        %146 = arith.constant 8 : index
// CHECK-NEXT:        %147 = arith.addi %143, %146 : index
// CHECK-NEXT:        %148 = memref.load %w[%138] : memref<30xf32>
// CHECK-NEXT:        %149 = vector.broadcast %148 : f32 to vector<8xf32>
// CHECK-NEXT:        %150 = arith.constant 0 : index
// CHECK-NEXT:        %151 = arith.addi %5, %150 : index
// CHECK-NEXT:        %152 = arith.constant 0 : index
// CHECK-NEXT:        %153 = arith.constant 3 : index
// CHECK-NEXT:        %154 = arith.constant 1 : index
// CHECK-NEXT:        %155, %156 = scf.for %157 = %152 to %153 step %154 iter_args(%158 = %149, %159 = %149) -> (vector<8xf32>, vector<8xf32>) {
// CHECK-NEXT:          %160 = arith.constant 1 : index
// CHECK-NEXT:          %161 = arith.muli %142, %160 : index
// CHECK-NEXT:          %162 = arith.constant 1 : index
// CHECK-NEXT:          %163 = arith.muli %157, %162 : index
// CHECK-NEXT:          %164 = arith.addi %161, %163 : index
// CHECK-NEXT:          %165 = arith.constant 3 : index
// CHECK-NEXT:          %166 = arith.muli %150, %165 : index
// CHECK-NEXT:          %167 = arith.addi %166, %157 : index
// CHECK-NEXT:          %168 = arith.constant 3 : index
// CHECK-NEXT:          %169 = arith.muli %167, %168 : index
// CHECK-NEXT:          %170 = arith.addi %136, %169 : index
// CHECK-NEXT:          %171 = arith.constant 0 : index
// CHECK-NEXT:          %172 = arith.addi %145, %171 : index
// CHECK-NEXT:          %173 = vector.load %x[%151, %164, %172] : memref<1x6x13xf32>, vector<8xf32>
// CHECK-NEXT:          %174 = arith.constant 0 : index
// CHECK-NEXT:          %175 = arith.addi %147, %174 : index
// CHECK-NEXT:          %176 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:          %177 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %178 = vector.maskedload %x[%151, %164, %175], %176, %177 : memref<1x6x13xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:          %179 = arith.constant 0 : index
// CHECK-NEXT:          %180 = arith.addi %170, %179 : index
// CHECK-NEXT:          %181 = memref.load %w[%180] : memref<30xf32>
// CHECK-NEXT:          %182 = vector.broadcast %181 : f32 to vector<8xf32>
// CHECK-NEXT:          %183 = vector.fma %182, %173, %158 : vector<8xf32>
// CHECK-NEXT:          %184 = vector.fma %182, %178, %159 : vector<8xf32>
// CHECK-NEXT:          %185 = arith.constant 1 : index
// CHECK-NEXT:          %186 = arith.addi %145, %185 : index
// CHECK-NEXT:          %187 = vector.load %x[%151, %164, %186] : memref<1x6x13xf32>, vector<8xf32>
// CHECK-NEXT:          %188 = arith.constant 1 : index
// CHECK-NEXT:          %189 = arith.addi %147, %188 : index
// CHECK-NEXT:          %190 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:          %191 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %192 = vector.maskedload %x[%151, %164, %189], %190, %191 : memref<1x6x13xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:          %193 = arith.constant 1 : index
// CHECK-NEXT:          %194 = arith.addi %170, %193 : index
// CHECK-NEXT:          %195 = memref.load %w[%194] : memref<30xf32>
// CHECK-NEXT:          %196 = vector.broadcast %195 : f32 to vector<8xf32>
// CHECK-NEXT:          %197 = vector.fma %196, %187, %183 : vector<8xf32>
// CHECK-NEXT:          %198 = vector.fma %196, %192, %184 : vector<8xf32>
// CHECK-NEXT:          %199 = arith.constant 2 : index
// CHECK-NEXT:          %200 = arith.addi %145, %199 : index
// CHECK-NEXT:          %201 = vector.load %x[%151, %164, %200] : memref<1x6x13xf32>, vector<8xf32>
// CHECK-NEXT:          %202 = arith.constant 2 : index
// CHECK-NEXT:          %203 = arith.addi %147, %202 : index
// CHECK-NEXT:          %204 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:          %205 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:          %206 = vector.maskedload %x[%151, %164, %203], %204, %205 : memref<1x6x13xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:          %207 = arith.constant 2 : index
// CHECK-NEXT:          %208 = arith.addi %170, %207 : index
// CHECK-NEXT:          %209 = memref.load %w[%208] : memref<30xf32>
// CHECK-NEXT:          %210 = vector.broadcast %209 : f32 to vector<8xf32>
// CHECK-NEXT:          %211 = vector.fma %210, %201, %197 : vector<8xf32>
// CHECK-NEXT:          %212 = vector.fma %210, %206, %198 : vector<8xf32>
// CHECK-NEXT:          scf.yield %211, %212 : vector<8xf32>, vector<8xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:        %213 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %214 = arith.maximumf %155, %213 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:        vector.store %214, %y[%138, %142, %145] : memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>, vector<8xf32>
// CHECK-NEXT:        %215 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %216 = arith.maximumf %156, %215 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:        %217 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:        vector.maskedstore %y[%138, %142, %147], %217, %216 : memref<3x4x11xf32, strided<[104, 13, 1], offset: 14>>, vector<8xi1>, vector<8xf32>
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Windows that are two columns apart: even columns are sorted before odd ones.

func.func @pool(%x: memref<1x4x16xf32>, %y: memref<1x2x8xf32>) {
  hpacml.image_layer ["avg_pool(2x2 stride 2x2)"] ins(%x : memref<1x4x16xf32>) outs(%y : memref<1x2x8xf32>)
  func.return
}

// CHECK-LABEL: func.func @pool(%x: memref<1x4x16xf32>, %y: memref<1x2x8xf32>) {
// CHECK-NEXT:    %0 = memref.alloc() {alignment = 64 : i64} : memref<1x4x2x8xf32>
// CHECK-NEXT:    %1 = arith.constant 1 : index
// CHECK-NEXT:    %2 = arith.constant 0 : index
// CHECK-NEXT:    %3 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %4 = %2 to %1 step %3 {
// CHECK-NEXT:      %5 = arith.constant 4 : index
// CHECK-NEXT:      %6 = arith.constant 0 : index
// CHECK-NEXT:      %7 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %8 = %6 to %5 step %7 {
// CHECK-NEXT:        %9 = arith.constant 8 : index
// CHECK-NEXT:        %10 = arith.constant 0 : index
// CHECK-NEXT:        %11 = arith.constant 1 : index
// CHECK-NEXT:        scf.for %12 = %10 to %9 step %11 {
// CHECK-NEXT:          %13 = arith.constant 2 : index
// CHECK-NEXT:          %14 = arith.muli %12, %13 : index
// CHECK-NEXT:          %15 = arith.constant 0 : index
// CHECK-NEXT:          %16 = arith.addi %14, %15 : index
// CHECK-NEXT:          %17 = memref.load %x[%4, %8, %16] : memref<1x4x16xf32>
// CHECK-NEXT:          %18 = arith.constant 0 : index
// CHECK-NEXT:          memref.store %17, %0[%4, %8, %18, %12] : memref<1x4x2x8xf32>
// CHECK-NEXT:          %19 = arith.constant 1 : index
// CHECK-NEXT:          %20 = arith.addi %14, %19 : index
// CHECK-NEXT:          %21 = memref.load %x[%4, %8, %20] : memref<1x4x16xf32>
// CHECK-NEXT:          %22 = arith.constant 1 : index
// CHECK-NEXT:          memref.store %21, %0[%4, %8, %22, %12] : memref<1x4x2x8xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    %23 = arith.constant 1 : index
// CHECK-NEXT:    %24 = arith.constant 0 : index
// CHECK-NEXT:    %25 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %26 = %24 to %23 step %25 {
// CHECK-NEXT:      %27 = arith.constant 2 : index
// CHECK-NEXT:      %28 = arith.constant 0 : index
// CHECK-NEXT:      %29 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %30 = %28 to %27 step %29 {
// CHECK-NEXT:        %31 = arith.constant 0 : index
// CHECK-NEXT:        %32 = arith.constant 0 : index
// CHECK-NEXT:        %33 = arith.addi %31, %32 : index
// CHECK-NEXT:        %34 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %35 = arith.constant 0 : index
// CHECK-NEXT:        %36 = arith.constant 2 : index
// CHECK-NEXT:        %37 = arith.constant 1 : index
// CHECK-NEXT:        %38 = scf.for %39 = %35 to %36 step %37 iter_args(%40 = %34) -> (vector<8xf32>) {
// CHECK-NEXT:          %41 = arith.constant 2 : index
// CHECK-NEXT:          %42 = arith.muli %30, %41 : index
// CHECK-NEXT:          %43 = arith.constant 1 : index
// CHECK-NEXT:          %44 = arith.muli %39, %43 : index
// CHECK-NEXT:          %45 = arith.addi %42, %44 : index
// CHECK-NEXT:          %46 = arith.constant 0 : index
// CHECK-NEXT:          %47 = arith.constant 0 : index
// CHECK-NEXT:          %48 = arith.addi %33, %47 : index
// CHECK-NEXT:          %49 = vector.load %0[%26, %45, %46, %48] : memref<1x4x2x8xf32>, vector<8xf32>
// CHECK-NEXT:          %50 = arith.addf %40, %49 : vector<8xf32>
// CHECK-NEXT:          %51 = arith.constant 1 : index
// CHECK-NEXT:          %52 = arith.constant 0 : index
// CHECK-NEXT:          %53 = arith.addi %33, %52 : index
// CHECK-NEXT:          %54 = vector.load %0[%26, %45, %51, %53] : memref<1x4x2x8xf32>, vector<8xf32>
// CHECK-NEXT:          %55 = arith.addf %50, %54 : vector<8xf32>
// CHECK-NEXT:          scf.yield %55 : vector<8xf32>
// CHECK-NEXT:        }
// CHECK-NEXT:        %56 = arith.constant dense<4.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %57 = arith.divf %38, %56 : vector<8xf32>
// CHECK-NEXT:        vector.store %57, %y[%26, %30, %33] : memref<1x2x8xf32>, vector<8xf32>
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    memref.dealloc %0 : memref<1x4x2x8xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Functions alone, with a weight for each channel.

func.func @functions(%w: memref<4xf64>, %x: memref<2x1x3xf64>, %y: memref<2x1x3xf64>) {
  hpacml.image_layer ["normalize(2)", "relu"] weights(%w : memref<4xf64>) ins(%x : memref<2x1x3xf64>) outs(%y : memref<2x1x3xf64>)
  func.return
}

// CHECK-LABEL: func.func @functions(%w: memref<4xf64>, %x: memref<2x1x3xf64>, %y: memref<2x1x3xf64>) {
// CHECK-NEXT:    %0 = arith.constant 2 : index
// CHECK-NEXT:    %1 = arith.constant 0 : index
// CHECK-NEXT:    %2 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %3 = %1 to %0 step %2 {
// CHECK-NEXT:      %4 = arith.constant 1 : index
// CHECK-NEXT:      %5 = arith.constant 0 : index
// CHECK-NEXT:      %6 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %7 = %5 to %4 step %6 {
// CHECK-NEXT:        %8 = arith.constant 0 : index
// CHECK-NEXT:        %9 = arith.constant 0 : index
// CHECK-NEXT:        %10 = arith.addi %8, %9 : index
// CHECK-NEXT:        %11 = arith.constant 0 : index
// CHECK-NEXT:        %12 = arith.addi %10, %11 : index
// CHECK-NEXT:        %13 = arith.constant dense<[true, true, true, false]> : vector<4xi1>
// CHECK-NEXT:        %14 = arith.constant dense<0.000000e+00> : vector<4xf64>
// CHECK-NEXT:        %15 = vector.maskedload %x[%3, %7, %12], %13, %14 : memref<2x1x3xf64>, vector<4xi1>, vector<4xf64> into vector<4xf64>
// CHECK-NEXT:        %16 = arith.constant 0 : index
// CHECK-NEXT:        %17 = arith.addi %16, %3 : index
// CHECK-NEXT:        %18 = memref.load %w[%17] : memref<4xf64>
// CHECK-NEXT:        %19 = vector.broadcast %18 : f64 to vector<4xf64>
// CHECK-NEXT:        %20 = arith.subf %15, %19 : vector<4xf64>
// CHECK-NEXT:        %21 = arith.constant 2 : index
// CHECK-NEXT:        %22 = arith.addi %21, %3 : index
// CHECK-NEXT:        %23 = memref.load %w[%22] : memref<4xf64>
// CHECK-NEXT:        %24 = vector.broadcast %23 : f64 to vector<4xf64>
// CHECK-NEXT:        %25 = arith.divf %20, %24 : vector<4xf64>
// CHECK-NEXT:        %26 = arith.constant dense<0.000000e+00> : vector<4xf64>
// CHECK-NEXT:        %27 = arith.maximumf %25, %26 fastmath<nsz> : vector<4xf64>
// CHECK-NEXT:        %28 = arith.constant dense<[true, true, true, false]> : vector<4xi1>
// CHECK-NEXT:        vector.maskedstore %y[%3, %7, %10], %28, %27 : memref<2x1x3xf64>, vector<4xi1>, vector<4xf64>
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// A sum with another image, the last columns of which are masked, too.

func.func @residual(%x: memref<1x1x3xf32>, %z: memref<1x1x3xf32>, %y: memref<1x1x3xf32>) {
  hpacml.image_layer ["relu", "residual"] plus(%z : memref<1x1x3xf32>) ins(%x : memref<1x1x3xf32>) outs(%y : memref<1x1x3xf32>)
  func.return
}

// CHECK-LABEL: func.func @residual(%x: memref<1x1x3xf32>, %z: memref<1x1x3xf32>, %y: memref<1x1x3xf32>) {
// CHECK-NEXT:    %0 = arith.constant 1 : index
// CHECK-NEXT:    %1 = arith.constant 0 : index
// CHECK-NEXT:    %2 = arith.constant 1 : index
// CHECK-NEXT:    scf.for %3 = %1 to %0 step %2 {
// CHECK-NEXT:      %4 = arith.constant 1 : index
// CHECK-NEXT:      %5 = arith.constant 0 : index
// CHECK-NEXT:      %6 = arith.constant 1 : index
// CHECK-NEXT:      scf.for %7 = %5 to %4 step %6 {
// CHECK-NEXT:        %8 = arith.constant 0 : index
// CHECK-NEXT:        %9 = arith.constant 0 : index
// CHECK-NEXT:        %10 = arith.addi %8, %9 : index
// CHECK-NEXT:        %11 = arith.constant 0 : index
// CHECK-NEXT:        %12 = arith.addi %10, %11 : index
// CHECK-NEXT:        %13 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:        %14 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %15 = vector.maskedload %x[%3, %7, %12], %13, %14 : memref<1x1x3xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:        %16 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %17 = arith.maximumf %15, %16 fastmath<nsz> : vector<8xf32>
// CHECK-NEXT:        %18 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:        %19 = arith.constant dense<0.000000e+00> : vector<8xf32>
// CHECK-NEXT:        %20 = vector.maskedload %z[%3, %7, %10], %18, %19 : memref<1x1x3xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
// CHECK-NEXT:        %21 = arith.addf %17, %20 : vector<8xf32>
// CHECK-NEXT:        %22 = arith.constant dense<[true, true, true, false, false, false, false, false]> : vector<8xi1>
// CHECK-NEXT:        vector.maskedstore %y[%3, %7, %10], %22, %21 : memref<1x1x3xf32>, vector<8xi1>, vector<8xf32>
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
