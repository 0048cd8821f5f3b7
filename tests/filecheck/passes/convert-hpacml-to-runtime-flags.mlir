// The runtime gives the flag of a call, its record, and the numbers of checks; whether the flag is down, it says.

// RUN: hpacml-opt %s -p convert-hpacml-to-runtime | filecheck %s

func.func @check(%out: memref<1xi32>, %i: index) -> i1 {
  %flag, %record, %first = hpacml_rt.flag "check" ["f(x[idx[0:n]])", "g(y[idx[0:n]])"]
  %word = memref.load %flag[%first] : memref<1xi32>
  memref.store %word, %out[%i] : memref<1xi32>
  %index = memref.load %record[%first] : memref<3xi64>
  %down = hpacml_rt.flag_down %flag
  func.return %down : i1
}

// CHECK:       @hpacml_site_0("{\22kind\22: \22flag\22, \22label\22: \22check\22, \22maps\22: [\22f(x[idx[0:n]])\22, \22g(y[idx[0:n]])\22]}\00")
// CHECK:       func.func private @hpacml_device_flag(!llvm.ptr, !llvm.ptr) -> ()
// CHECK-LABEL: func.func @check
// CHECK:         [[FOUND:%\d+]] = llvm.alloca %{{\d+}} x i64
// CHECK-NEXT:    [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:    func.call @hpacml_device_flag([[SITE]], [[FOUND]])
// CHECK-NEXT:    [[PLACE:%\d+]] = llvm.getelementptr [[FOUND]][0]
// CHECK-NEXT:    [[WORD:%\d+]] = llvm.load [[PLACE]] : !llvm.ptr -> i64
// CHECK:         llvm.inttoptr [[WORD]] : i64 to !llvm.ptr
// CHECK:         [[FLAG:%\w+]] = builtin.unrealized_conversion_cast %{{\d+}} : !llvm.struct<(!llvm.ptr, !llvm.ptr, i64, !llvm.array<1 x i64>, !llvm.array<1 x i64>)> to memref<1xi32>
// CHECK:         [[RECORD:%\w+]] = builtin.unrealized_conversion_cast %{{\d+}} : !llvm.struct<{{.*}}> to memref<3xi64>
// CHECK:         [[NUMBER:%\d+]] = arith.trunci %{{\d+}} : i64 to i32
// CHECK-NEXT:    [[FIRST:%\w+]] = arith.index_cast [[NUMBER]] : i32 to index
// CHECK-NEXT:    memref.load [[FLAG]][[[FIRST]]]
// CHECK:         memref.load [[RECORD]][[[FIRST]]]
// CHECK:         [[SAID:%\d+]] = func.call @hpacml_device_flag_down() : () -> i32
// CHECK:         [[DOWN:%\w+]] = arith.cmpi ne, [[SAID]]
// CHECK-NEXT:    func.return [[DOWN]]
