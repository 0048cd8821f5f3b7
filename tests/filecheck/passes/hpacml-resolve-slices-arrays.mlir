// Arrays are told apart by what they are, not by what they are called.

// RUN: hpacml-opt %s -p hpacml-resolve-slices --split-input-file | filecheck %s

hpacml.functor @pair : [i, 0:2] = ([i], [i])

// One array without a name, written in windows that overlap.

func.func @unnamed(%0: memref<10xf32>) {
  %1 = hpacml.map from @pair(%0[0 : 10 : 2], %0[1 : 10 : 2]) : memref<10xf32>, memref<10xf32> -> !hpacml.mapping<5x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<5x2xf32> -> memref<5x2xf32>
  hpacml.scatter %y into %1 : memref<5x2xf32>, !hpacml.mapping<5x2xf32>
  func.return
}

// CHECK-LABEL: func.func @unnamed
// CHECK:         [[NO:%\d+]] = arith.constant false
// CHECK:         hpacml_rt.check_map [[NO]] from "pair: [i, 0:2] = ([i], [i])" names ["array 0", "array 0"] targets [#hpacml.target<[0 : 10 : 2]>, #hpacml.target<[1 : 10 : 2]>] sizes(%2, %2) bounds() params() of []
// CHECK-NOT:     arrays(

// Two arrays of nearly the same name: different elements, unless both are the same memory.

func.func @alike(%x_1: memref<10xf32>, %x_2: memref<10xf32>) {
  %1 = hpacml.map from @pair(%x_1[0 : 5], %x_2[0 : 5]) : memref<10xf32>, memref<10xf32> -> !hpacml.mapping<5x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<5x2xf32> -> memref<5x2xf32>
  hpacml.scatter %y into %1 : memref<5x2xf32>, !hpacml.mapping<5x2xf32>
  func.return
}

// CHECK-LABEL: func.func @alike(%x: memref<10xf32>, %x_1: memref<10xf32>) {
// CHECK-NEXT:    [[X:%\d+]] = "memref.extract_aligned_pointer_as_index"(%x) : (memref<10xf32>) -> index
// CHECK-NEXT:    [[Y:%\d+]] = "memref.extract_aligned_pointer_as_index"(%x_1) : (memref<10xf32>) -> index
// CHECK-NEXT:    [[BYTES:%\d+]] = arith.constant 40 : index
// CHECK-NEXT:    [[END:%\d+]] = arith.addi [[X]], [[BYTES]] : index
// CHECK-NEXT:    [[BEFORE:%\d+]] = arith.cmpi sle, [[END]], [[Y]] : index
// CHECK-NEXT:    [[OTHER:%\d+]] = arith.addi [[Y]], [[BYTES]] : index
// CHECK-NEXT:    [[BEHIND:%\d+]] = arith.cmpi sle, [[OTHER]], [[X]] : index
// CHECK-NEXT:    [[APART:%\d+]] = arith.ori [[BEFORE]], [[BEHIND]] : i1
// CHECK:         hpacml_rt.check_map [[APART]] from "pair: [i, 0:2] = ([i], [i])" names ["x", "x (1)"] {{.*}} arrays(%x, %x_1 : memref<10xf32>, memref<10xf32>)
// CHECK-NOT:     hpacml_rt.check_map
// CHECK:         hpacml.unpack

// ... and differ in rank.

hpacml.functor @ranks : [i, 0:2] = ([i, 0], [i])

func.func @ranks_(%x_1: memref<10x2xf32>, %x_2: memref<10xf32>) {
  %1 = hpacml.map from @ranks(%x_1[0 : 5, 0 : 2], %x_2[0 : 5]) : memref<10x2xf32>, memref<10xf32> -> !hpacml.mapping<5x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<5x2xf32> -> memref<5x2xf32>
  hpacml.scatter %y into %1 : memref<5x2xf32>, !hpacml.mapping<5x2xf32>
  func.return
}

// CHECK-LABEL: func.func @ranks_
// CHECK-DAG:     arith.constant 80 : index
// CHECK-DAG:     arith.constant 40 : index
// CHECK:         hpacml_rt.check_map {{.*}} names ["x", "x (1)"] {{.*}} arrays(%x, %x_1 : memref<10x2xf32>, memref<10xf32>)
// CHECK-NOT:     hpacml_rt.check_map
// CHECK:         hpacml.unpack

// Read, they may share what they like.

func.func @reading(%x_1: memref<10xf32>, %x_2: memref<10xf32>) {
  %1 = hpacml.map to @pair(%x_1[0 : 5], %x_2[0 : 5]) : memref<10xf32>, memref<10xf32> -> !hpacml.mapping<5x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<5x2xf32> -> memref<5x2xf32>
  hpacml.gather %1 into %y : !hpacml.mapping<5x2xf32>, memref<5x2xf32>
  func.return
}

// CHECK-LABEL: func.func @reading
// CHECK-NOT:     hpacml_rt.check_map
// CHECK-NOT:     extract_aligned_pointer
// CHECK:         hpacml.pack

// One array, written: where its strides show that its elements are different, nothing is checked at the run.

hpacml.functor @point : [i, j] = ([i, j])

func.func @fortran(%x: memref<10x20xf32, strided<[1, 10]>>) {
  %1 = hpacml.map from @point(%x[0 : 10, 0 : 20]) : memref<10x20xf32, strided<[1, 10]>> -> !hpacml.mapping<10x20xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<10x20xf32> -> memref<10x20xf32>
  hpacml.scatter %y into %1 : memref<10x20xf32>, !hpacml.mapping<10x20xf32>
  func.return
}

// CHECK-LABEL: func.func @fortran
// CHECK-NOT:     hpacml_rt.check_map
// CHECK:         hpacml.unpack

func.func @backwards(%x: memref<10x20xf32, strided<[-20, -1], offset: 199>>) {
  %1 = hpacml.map from @point(%x[0 : 10, 0 : 20]) : memref<10x20xf32, strided<[-20, -1], offset: 199>> -> !hpacml.mapping<10x20xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<10x20xf32> -> memref<10x20xf32>
  hpacml.scatter %y into %1 : memref<10x20xf32>, !hpacml.mapping<10x20xf32>
  func.return
}

// CHECK-LABEL: func.func @backwards
// CHECK-NOT:     hpacml_rt.check_map
// CHECK:         hpacml.unpack

func.func @strided(%x: memref<10xf32, strided<[?], offset: ?>>) {
  %1 = hpacml.map from @line(%x[0 : 10]) : memref<10xf32, strided<[?], offset: ?>> -> !hpacml.mapping<10xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<10xf32> -> memref<10xf32>
  hpacml.scatter %y into %1 : memref<10xf32>, !hpacml.mapping<10xf32>
  func.return
}

hpacml.functor @line : [i] = ([i])

// CHECK-LABEL: func.func @strided
// CHECK-NEXT:    %{{\d+}}, [[OFFSET:%\d+]], %{{\d+}}, [[STRIDE:%\d+]] = memref.extract_strided_metadata %x
// CHECK:         [[ONE:%\d+]] = arith.constant 1 : index
// CHECK-NEXT:    [[APART:%\d+]] = arith.cmpi sle, [[ONE]], [[STRIDE]] : index
// CHECK:         hpacml_rt.check_map [[APART]] from {{.*}} arrays(%x : memref<10xf32, strided<[?], offset: ?>>)

// Of rows, only the outer stride is read: it may lead backwards, and must step over a row.

hpacml.functor @both : [i, j, 0:2] = ([i, j], [i, j])

func.func @rows(%x: memref<10x20xf32, strided<[?, 1], offset: ?>>, %z: memref<10x20xf32>) {
  %1 = hpacml.map from @both(%x[0 : 10, 0 : 20], %z[0 : 10, 0 : 20]) : memref<10x20xf32, strided<[?, 1], offset: ?>>, memref<10x20xf32> -> !hpacml.mapping<10x20x2xf32>
  %y = hpacml.tensor %1 : !hpacml.mapping<10x20x2xf32> -> memref<10x20x2xf32>
  hpacml.scatter %y into %1 : memref<10x20x2xf32>, !hpacml.mapping<10x20x2xf32>
  func.return
}

// CHECK-LABEL: func.func @rows
// CHECK-NEXT:    %{{\d+}}, [[OFFSET:%\d+]], %{{\d+}}, %{{\d+}}, [[OUTER:%\d+]], %{{\d+}} = memref.extract_strided_metadata %x
// CHECK:         [[SPAN:%\d+]] = arith.muli [[OUTER]], %{{\d+}} : index
// CHECK:         [[FORWARD:%\d+]] = arith.cmpi sle, %{{\d+}}, [[SPAN]] : index
// CHECK-COUNT-2: arith.select [[FORWARD]]
// CHECK-NOT:     arith.select
// CHECK:         [[APART:%\d+]] = arith.ori
// CHECK:         [[ROW:%\d+]] = arith.constant 20 : index
// CHECK-NEXT:    [[NEST:%\d+]] = arith.cmpi sle, [[ROW]], [[OUTER]] : index
// CHECK-NEXT:    [[DIFFERENT:%\d+]] = arith.andi [[APART]], [[NEST]] : i1
// CHECK:         hpacml_rt.check_map [[DIFFERENT]]
// CHECK:         %x_1 = memref.reinterpret_cast %x to offset: [[[OFFSET]]], sizes: [10, 20], strides: [[[OUTER]], 1]
