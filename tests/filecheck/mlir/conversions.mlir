// Elements of every type become elements of every other, in gathers and scatters alike: 8-bit integers are unsigned,
// the others signed; between the two half precisions the way leads through the single one.

// RUN: hpacml-opt %s -p convert-hpacml-to-loops | filecheck %s
// RUN: hpacml-opt %s -p convert-hpacml-to-loops --print-op-generic | %mlir_lower | filecheck %s --check-prefix LLVM

func.func @from_u8(%u8: memref<4xi8>, %i32: memref<4xi32>, %i64: memref<4xi64>, %f16: memref<4xf16>, %bf16: memref<4xbf16>, %f32: memref<4xf32>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %u8 into %i32 at %c0 features [] : memref<4xi8>, memref<4xi32>
  hpacml.pack %u8 into %i64 at %c0 features [] : memref<4xi8>, memref<4xi64>
  hpacml.pack %u8 into %f16 at %c0 features [] : memref<4xi8>, memref<4xf16>
  hpacml.pack %u8 into %bf16 at %c0 features [] : memref<4xi8>, memref<4xbf16>
  hpacml.pack %u8 into %f32 at %c0 features [] : memref<4xi8>, memref<4xf32>
  hpacml.pack %u8 into %f64 at %c0 features [] : memref<4xi8>, memref<4xf64>
  func.return
}

// CHECK-LABEL: func.func @from_u8(
// CHECK:       arith.extui %{{\d+}} : i8 to i32
// CHECK-NEXT:  memref.store %{{\d+}}, %i32[
// CHECK:       arith.extui %{{\d+}} : i8 to i64
// CHECK-NEXT:  memref.store %{{\d+}}, %i64[
// CHECK:       arith.uitofp %{{\d+}} : i8 to f16
// CHECK-NEXT:  memref.store %{{\d+}}, %f16[
// CHECK:       arith.uitofp %{{\d+}} : i8 to bf16
// CHECK-NEXT:  memref.store %{{\d+}}, %bf16[
// CHECK:       arith.uitofp %{{\d+}} : i8 to f32
// CHECK-NEXT:  memref.store %{{\d+}}, %f32[
// CHECK:       arith.uitofp %{{\d+}} : i8 to f64
// CHECK-NEXT:  memref.store %{{\d+}}, %f64[
// LLVM-LABEL:  llvm.func @from_u8(

func.func @from_i32(%u8: memref<4xi8>, %i32: memref<4xi32>, %i64: memref<4xi64>, %f16: memref<4xf16>, %bf16: memref<4xbf16>, %f32: memref<4xf32>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %i32 into %u8 at %c0 features [] : memref<4xi32>, memref<4xi8>
  hpacml.pack %i32 into %i64 at %c0 features [] : memref<4xi32>, memref<4xi64>
  hpacml.pack %i32 into %f16 at %c0 features [] : memref<4xi32>, memref<4xf16>
  hpacml.pack %i32 into %bf16 at %c0 features [] : memref<4xi32>, memref<4xbf16>
  hpacml.pack %i32 into %f32 at %c0 features [] : memref<4xi32>, memref<4xf32>
  hpacml.pack %i32 into %f64 at %c0 features [] : memref<4xi32>, memref<4xf64>
  func.return
}

// CHECK-LABEL: func.func @from_i32(
// CHECK:       arith.trunci %{{\d+}} : i32 to i8
// CHECK-NEXT:  memref.store %{{\d+}}, %u8[
// CHECK:       arith.extsi %{{\d+}} : i32 to i64
// CHECK-NEXT:  memref.store %{{\d+}}, %i64[
// CHECK:       arith.sitofp %{{\d+}} : i32 to f16
// CHECK-NEXT:  memref.store %{{\d+}}, %f16[
// CHECK:       arith.sitofp %{{\d+}} : i32 to bf16
// CHECK-NEXT:  memref.store %{{\d+}}, %bf16[
// CHECK:       arith.sitofp %{{\d+}} : i32 to f32
// CHECK-NEXT:  memref.store %{{\d+}}, %f32[
// CHECK:       arith.sitofp %{{\d+}} : i32 to f64
// CHECK-NEXT:  memref.store %{{\d+}}, %f64[
// LLVM-LABEL:  llvm.func @from_i32(

func.func @from_i64(%u8: memref<4xi8>, %i32: memref<4xi32>, %i64: memref<4xi64>, %f16: memref<4xf16>, %bf16: memref<4xbf16>, %f32: memref<4xf32>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %i64 into %u8 at %c0 features [] : memref<4xi64>, memref<4xi8>
  hpacml.pack %i64 into %i32 at %c0 features [] : memref<4xi64>, memref<4xi32>
  hpacml.pack %i64 into %f16 at %c0 features [] : memref<4xi64>, memref<4xf16>
  hpacml.pack %i64 into %bf16 at %c0 features [] : memref<4xi64>, memref<4xbf16>
  hpacml.pack %i64 into %f32 at %c0 features [] : memref<4xi64>, memref<4xf32>
  hpacml.pack %i64 into %f64 at %c0 features [] : memref<4xi64>, memref<4xf64>
  func.return
}

// CHECK-LABEL: func.func @from_i64(
// CHECK:       arith.trunci %{{\d+}} : i64 to i8
// CHECK-NEXT:  memref.store %{{\d+}}, %u8[
// CHECK:       arith.trunci %{{\d+}} : i64 to i32
// CHECK-NEXT:  memref.store %{{\d+}}, %i32[
// CHECK:       arith.sitofp %{{\d+}} : i64 to f16
// CHECK-NEXT:  memref.store %{{\d+}}, %f16[
// CHECK:       arith.sitofp %{{\d+}} : i64 to bf16
// CHECK-NEXT:  memref.store %{{\d+}}, %bf16[
// CHECK:       arith.sitofp %{{\d+}} : i64 to f32
// CHECK-NEXT:  memref.store %{{\d+}}, %f32[
// CHECK:       arith.sitofp %{{\d+}} : i64 to f64
// CHECK-NEXT:  memref.store %{{\d+}}, %f64[
// LLVM-LABEL:  llvm.func @from_i64(

func.func @from_f16(%u8: memref<4xi8>, %i32: memref<4xi32>, %i64: memref<4xi64>, %f16: memref<4xf16>, %bf16: memref<4xbf16>, %f32: memref<4xf32>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %f16 into %u8 at %c0 features [] : memref<4xf16>, memref<4xi8>
  hpacml.pack %f16 into %i32 at %c0 features [] : memref<4xf16>, memref<4xi32>
  hpacml.pack %f16 into %i64 at %c0 features [] : memref<4xf16>, memref<4xi64>
  hpacml.pack %f16 into %bf16 at %c0 features [] : memref<4xf16>, memref<4xbf16>
  hpacml.pack %f16 into %f32 at %c0 features [] : memref<4xf16>, memref<4xf32>
  hpacml.pack %f16 into %f64 at %c0 features [] : memref<4xf16>, memref<4xf64>
  func.return
}

// CHECK-LABEL: func.func @from_f16(
// CHECK:       arith.fptoui %{{\d+}} : f16 to i8
// CHECK-NEXT:  memref.store %{{\d+}}, %u8[
// CHECK:       arith.fptosi %{{\d+}} : f16 to i32
// CHECK-NEXT:  memref.store %{{\d+}}, %i32[
// CHECK:       arith.fptosi %{{\d+}} : f16 to i64
// CHECK-NEXT:  memref.store %{{\d+}}, %i64[
// CHECK:       arith.extf %{{\d+}} : f16 to f32
// CHECK-NEXT:  arith.truncf %{{\d+}} : f32 to bf16
// CHECK-NEXT:  memref.store %{{\d+}}, %bf16[
// CHECK:       arith.extf %{{\d+}} : f16 to f32
// CHECK-NEXT:  memref.store %{{\d+}}, %f32[
// CHECK:       arith.extf %{{\d+}} : f16 to f64
// CHECK-NEXT:  memref.store %{{\d+}}, %f64[
// LLVM-LABEL:  llvm.func @from_f16(

func.func @from_bf16(%u8: memref<4xi8>, %i32: memref<4xi32>, %i64: memref<4xi64>, %f16: memref<4xf16>, %bf16: memref<4xbf16>, %f32: memref<4xf32>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %bf16 into %u8 at %c0 features [] : memref<4xbf16>, memref<4xi8>
  hpacml.pack %bf16 into %i32 at %c0 features [] : memref<4xbf16>, memref<4xi32>
  hpacml.pack %bf16 into %i64 at %c0 features [] : memref<4xbf16>, memref<4xi64>
  hpacml.pack %bf16 into %f16 at %c0 features [] : memref<4xbf16>, memref<4xf16>
  hpacml.pack %bf16 into %f32 at %c0 features [] : memref<4xbf16>, memref<4xf32>
  hpacml.pack %bf16 into %f64 at %c0 features [] : memref<4xbf16>, memref<4xf64>
  func.return
}

// CHECK-LABEL: func.func @from_bf16(
// CHECK:       arith.fptoui %{{\d+}} : bf16 to i8
// CHECK-NEXT:  memref.store %{{\d+}}, %u8[
// CHECK:       arith.fptosi %{{\d+}} : bf16 to i32
// CHECK-NEXT:  memref.store %{{\d+}}, %i32[
// CHECK:       arith.fptosi %{{\d+}} : bf16 to i64
// CHECK-NEXT:  memref.store %{{\d+}}, %i64[
// CHECK:       arith.extf %{{\d+}} : bf16 to f32
// CHECK-NEXT:  arith.truncf %{{\d+}} : f32 to f16
// CHECK-NEXT:  memref.store %{{\d+}}, %f16[
// CHECK:       arith.extf %{{\d+}} : bf16 to f32
// CHECK-NEXT:  memref.store %{{\d+}}, %f32[
// CHECK:       arith.extf %{{\d+}} : bf16 to f64
// CHECK-NEXT:  memref.store %{{\d+}}, %f64[
// LLVM-LABEL:  llvm.func @from_bf16(

func.func @from_f32(%u8: memref<4xi8>, %i32: memref<4xi32>, %i64: memref<4xi64>, %f16: memref<4xf16>, %bf16: memref<4xbf16>, %f32: memref<4xf32>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %f32 into %u8 at %c0 features [] : memref<4xf32>, memref<4xi8>
  hpacml.pack %f32 into %i32 at %c0 features [] : memref<4xf32>, memref<4xi32>
  hpacml.pack %f32 into %i64 at %c0 features [] : memref<4xf32>, memref<4xi64>
  hpacml.pack %f32 into %f16 at %c0 features [] : memref<4xf32>, memref<4xf16>
  hpacml.pack %f32 into %bf16 at %c0 features [] : memref<4xf32>, memref<4xbf16>
  hpacml.pack %f32 into %f64 at %c0 features [] : memref<4xf32>, memref<4xf64>
  func.return
}

// CHECK-LABEL: func.func @from_f32(
// CHECK:       arith.fptoui %{{\d+}} : f32 to i8
// CHECK-NEXT:  memref.store %{{\d+}}, %u8[
// CHECK:       arith.fptosi %{{\d+}} : f32 to i32
// CHECK-NEXT:  memref.store %{{\d+}}, %i32[
// CHECK:       arith.fptosi %{{\d+}} : f32 to i64
// CHECK-NEXT:  memref.store %{{\d+}}, %i64[
// CHECK:       arith.truncf %{{\d+}} : f32 to f16
// CHECK-NEXT:  memref.store %{{\d+}}, %f16[
// CHECK:       arith.truncf %{{\d+}} : f32 to bf16
// CHECK-NEXT:  memref.store %{{\d+}}, %bf16[
// CHECK:       arith.extf %{{\d+}} : f32 to f64
// CHECK-NEXT:  memref.store %{{\d+}}, %f64[
// LLVM-LABEL:  llvm.func @from_f32(

func.func @from_f64(%u8: memref<4xi8>, %i32: memref<4xi32>, %i64: memref<4xi64>, %f16: memref<4xf16>, %bf16: memref<4xbf16>, %f32: memref<4xf32>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.pack %f64 into %u8 at %c0 features [] : memref<4xf64>, memref<4xi8>
  hpacml.pack %f64 into %i32 at %c0 features [] : memref<4xf64>, memref<4xi32>
  hpacml.pack %f64 into %i64 at %c0 features [] : memref<4xf64>, memref<4xi64>
  hpacml.pack %f64 into %f16 at %c0 features [] : memref<4xf64>, memref<4xf16>
  hpacml.pack %f64 into %bf16 at %c0 features [] : memref<4xf64>, memref<4xbf16>
  hpacml.pack %f64 into %f32 at %c0 features [] : memref<4xf64>, memref<4xf32>
  func.return
}

// CHECK-LABEL: func.func @from_f64(
// CHECK:       arith.fptoui %{{\d+}} : f64 to i8
// CHECK-NEXT:  memref.store %{{\d+}}, %u8[
// CHECK:       arith.fptosi %{{\d+}} : f64 to i32
// CHECK-NEXT:  memref.store %{{\d+}}, %i32[
// CHECK:       arith.fptosi %{{\d+}} : f64 to i64
// CHECK-NEXT:  memref.store %{{\d+}}, %i64[
// CHECK:       arith.truncf %{{\d+}} : f64 to f16
// CHECK-NEXT:  memref.store %{{\d+}}, %f16[
// CHECK:       arith.truncf %{{\d+}} : f64 to bf16
// CHECK-NEXT:  memref.store %{{\d+}}, %bf16[
// CHECK:       arith.truncf %{{\d+}} : f64 to f32
// CHECK-NEXT:  memref.store %{{\d+}}, %f32[
// LLVM-LABEL:  llvm.func @from_f64(

func.func @into_u8(%u8: memref<4xi8>, %f64: memref<4xf64>) {
  %c0 = arith.constant 0 : index
  hpacml.unpack %u8 from %f64 at %c0 features [] : memref<4xi8>, memref<4xf64>
  hpacml.unpack %f64 from %u8 at %c0 features [] : memref<4xf64>, memref<4xi8>
  func.return
}

// CHECK-LABEL: func.func @into_u8(
// CHECK:         arith.fptoui %{{\d+}} : f64 to i8
// CHECK-NEXT:    memref.store %{{\d+}}, %u8[
// CHECK:         arith.uitofp %{{\d+}} : i8 to f64
// CHECK-NEXT:    memref.store %{{\d+}}, %f64[
// LLVM-LABEL:  llvm.func @into_u8(
