// Indirect targets: views through indices, which are watched where they are read, and copied before they are written through.

// RUN: hpacml-opt %s -p hpacml-resolve-slices --split-input-file | filecheck %s

// Rows of an array, read. The view repeats each index for the columns; whether one was bad is asked after the copy.

hpacml.functor @rows : [i, 0:3] = ([i, 0:3])

func.func @gather(%pos: memref<10x3xf32>, %idx: memref<4xi32>) {
  %m = hpacml.map to @rows(%pos[*%idx[0 : 4], 0 : 3]) : memref<10x3xf32>, memref<4xi32> -> !hpacml.mapping<4x3xf32>
  %x = hpacml.tensor %m : !hpacml.mapping<4x3xf32> -> memref<4x3xf32>
  "test.op"() : () -> ()
  hpacml.gather %m into %x : !hpacml.mapping<4x3xf32>, memref<4x3xf32>
  func.return
}

// CHECK-LABEL: func.func @gather(%pos: memref<10x3xf32>, %idx: memref<4xi32>) {
// CHECK-NEXT:    [[ZERO:%\d+]] = arith.constant 0 : index
// CHECK-NEXT:    %x = memref.alloc() {hpacml.may_alias} : memref<4x3xf32>
// CHECK-NEXT:    "test.op"() : () -> ()
// CHECK-NEXT:    [[WATCH:%\d+]] = hpacml_rt.watch
// CHECK-NEXT:    [[ROWS:%.*]] = memref.reinterpret_cast %pos to offset: [0], sizes: [4, 3, 10], strides: [0, 1, 3] : memref<10x3xf32> to memref<4x3x10xf32, strided<[0, 1, 3]>>
// CHECK-NEXT:    [[IDX:%.*]] = memref.reinterpret_cast %idx to offset: [0], sizes: [4, 3], strides: [1, 0] : memref<4xi32> to memref<4x3xi32, strided<[1, 0]>>
// CHECK-NEXT:    [[V:%.*]] = hpacml.indirect [[ROWS]][[[IDX]]] watched by [[WATCH]] : memref<4x3x10xf32, strided<[0, 1, 3]>>[memref<4x3xi32, strided<[1, 0]>>] -> !hpacml.indirect<4x3xf32>
// CHECK-NEXT:    hpacml.pack [[V]] into %x at [[ZERO]] features [1] : !hpacml.indirect<4x3xf32>, memref<4x3xf32>
// CHECK-NEXT:    [[OK:%\d+]] = hpacml_rt.none_bad [[WATCH]]
// CHECK-NEXT:    [[TEN:%\d+]] = arith.constant 10 : index
// CHECK-NEXT:    [[THREE:%\d+]] = arith.constant 3 : index
// CHECK-NEXT:    [[FOUR:%\d+]] = arith.constant 4 : index
// CHECK-NEXT:    hpacml_rt.check_map [[OK]] to "rows: [i, 0:3] = ([i, 0:3])" names ["pos", "idx"] targets [#hpacml.target<[*[0 : 4], 0 : 3]>] sizes([[TEN]], [[THREE]], [[FOUR]]) bounds() params() of [] arrays(%pos, %idx : memref<10x3xf32>, memref<4xi32>) indices
// CHECK-NEXT:    memref.dealloc %x : memref<4x3xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// ... and written: indices inside, memory apart from that of the indices, no element twice. What is checked is a copy, and
// the copy is what is used.

hpacml.functor @rows : [i, 0:3] = ([i, 0:3])

func.func @scatter(%pos: memref<10x3xf32>, %idx: memref<4xi32>) {
  %m = hpacml.map from @rows(%pos[*%idx[0 : 4], 0 : 3]) : memref<10x3xf32>, memref<4xi32> -> !hpacml.mapping<4x3xf32>
  %y = hpacml.tensor %m : !hpacml.mapping<4x3xf32> -> memref<4x3xf32>
  "test.op"(%y) : (memref<4x3xf32>) -> ()
  hpacml.scatter %y into %m : memref<4x3xf32>, !hpacml.mapping<4x3xf32>
  func.return
}

// CHECK-LABEL: func.func @scatter(
// CHECK-NOT:     hpacml_rt.check_map
// CHECK:         "test.op"(%y)
// CHECK-NEXT:    [[ONCE:%.*]] = memref.reinterpret_cast %idx to offset: [0], sizes: [4], strides: [1]
// CHECK-NEXT:    [[COPY:%.*]] = memref.alloc() : memref<4xi32>
// CHECK:         [[INSIDE:%\d+]] = hpacml_rt.in_bounds [[ONCE]] below %{{.*}} copy([[COPY]] : memref<4xi32>) : memref<4xi32, strided<[1]>>
// CHECK:         hpacml_rt.check_map [[INSIDE]] from {{.*}} indices
// CHECK-NEXT:    [[POS:%\d+]] = "memref.extract_aligned_pointer_as_index"(%pos)
// CHECK-NEXT:    [[IDX:%\d+]] = "memref.extract_aligned_pointer_as_index"(%idx)
// CHECK-NEXT:    [[SIZE:%\d+]] = arith.constant 120 : index
// CHECK-NEXT:    [[END:%\d+]] = arith.addi [[POS]], [[SIZE]] : index
// CHECK-NEXT:    [[BEFORE:%\d+]] = arith.cmpi sle, [[END]], [[IDX]] : index
// CHECK-NEXT:    [[OTHER:%\d+]] = arith.constant 16 : index
// CHECK-NEXT:    [[STOP:%\d+]] = arith.addi [[IDX]], [[OTHER]] : index
// CHECK-NEXT:    [[BEHIND:%\d+]] = arith.cmpi sle, [[STOP]], [[POS]] : index
// CHECK-NEXT:    [[APART:%\d+]] = arith.ori [[BEFORE]], [[BEHIND]] : i1
// CHECK-NEXT:    hpacml_rt.check_map [[APART]] from {{.*}} arrays(%pos, %idx : memref<10x3xf32>, memref<4xi32>) sharing
// CHECK-NEXT:    %marks = memref.alloc() : memref<30xi8>
// CHECK-NEXT:    [[ROWS:%.*]] = memref.reinterpret_cast %marks to offset: [0], sizes: [4, 3, 10], strides: [0, 1, 3] : memref<30xi8> to memref<4x3x10xi8, strided<[0, 1, 3]>>
// CHECK-NEXT:    [[EACH:%.*]] = memref.reinterpret_cast [[COPY]] to offset: [0], sizes: [4, 3], strides: [1, 0]
// CHECK-NEXT:    [[MARKS:%.*]] = hpacml.indirect [[ROWS]][[[EACH]]] : {{.*}} -> !hpacml.indirect<4x3xi8>
// CHECK-NEXT:    [[DIFFERENT:%\d+]] = hpacml_rt.distinct [[MARKS]] in(%marks : memref<30xi8>) : !hpacml.indirect<4x3xi8>
// CHECK-NEXT:    memref.dealloc %marks : memref<30xi8>
// CHECK-NEXT:    hpacml_rt.check_map [[DIFFERENT]] from {{.*}} arrays(%pos, %idx : memref<10x3xf32>, memref<4xi32>) indices
// CHECK-NEXT:    [[OF:%.*]] = memref.reinterpret_cast %pos to offset: [0], sizes: [4, 3, 10], strides: [0, 1, 3]
// CHECK-NEXT:    [[OWN:%.*]] = memref.reinterpret_cast [[COPY]] to offset: [0], sizes: [4, 3], strides: [1, 0]
// CHECK-NEXT:    [[V:%.*]] = hpacml.indirect [[OF]][[[OWN]]] : {{.*}} -> !hpacml.indirect<4x3xf32>
// CHECK-NEXT:    hpacml.unpack [[V]] from %y at %{{.*}} features [1] : !hpacml.indirect<4x3xf32>, memref<4x3xf32>
// CHECK-NEXT:    memref.dealloc [[COPY]]

// -----

// Indices of indices: the outer ones are copied first, then those they lead to; again before the scatter.

hpacml.functor @point : [i] = ([i])

func.func @nested(%data: memref<100xf64>, %a: memref<50xi64>, %b: memref<20xi8>) {
  %m = hpacml.map inout @point(%data[*%a[*%b[0 : 20 : 2]]]) : memref<100xf64>, memref<50xi64>, memref<20xi8> -> !hpacml.mapping<10xf64>
  %x = hpacml.tensor fresh %m : !hpacml.mapping<10xf64> -> memref<10xf64>
  hpacml.gather %m into %x : !hpacml.mapping<10xf64>, memref<10xf64>
  hpacml.scatter %x into %m : memref<10xf64>, !hpacml.mapping<10xf64>
  func.return
}

// CHECK-LABEL: func.func @nested(
// CHECK:         [[B:%.*]] = memref.reinterpret_cast %b to offset: [0], sizes: [10], strides: [2] : memref<20xi8> to memref<10xi8, strided<[2]>>
// CHECK-NEXT:    [[OWN_B:%.*]] = memref.alloc() : memref<10xi8>
// CHECK-NEXT:    [[FIFTY:%\d+]] = arith.constant 50 : index
// CHECK-NEXT:    [[OUTER:%\d+]] = hpacml_rt.in_bounds [[B]] below [[FIFTY]] copy([[OWN_B]] : memref<10xi8>) : memref<10xi8, strided<[2]>>
// CHECK-NEXT:    [[HUNDRED:%\d+]] = arith.constant 100 : index
// CHECK:         hpacml_rt.check_map [[OUTER]] inout {{.*}} names ["data", "a", "b"] targets [#hpacml.target<[*[*[0 : 20 : 2]]]>]
// CHECK-NEXT:    [[A:%.*]] = memref.reinterpret_cast %a to offset: [0], sizes: [10, 50], strides: [0, 1] : memref<50xi64> to memref<10x50xi64, strided<[0, 1]>>
// CHECK-NEXT:    [[OF_B:%.*]] = memref.reinterpret_cast [[OWN_B]]
// CHECK-NEXT:    [[AB:%.*]] = hpacml.indirect [[A]][[[OF_B]]] : memref<10x50xi64, strided<[0, 1]>>[memref<10xi8, strided<[1]>>] -> !hpacml.indirect<10xi64>
// CHECK-NEXT:    [[OWN_A:%.*]] = memref.alloc() : memref<10xi64>
// CHECK-NEXT:    [[INNER:%\d+]] = hpacml_rt.in_bounds [[AB]] below [[HUNDRED]] copy([[OWN_A]] : memref<10xi64>) : !hpacml.indirect<10xi64>
// CHECK-NEXT:    hpacml_rt.check_map [[INNER]] inout
// CHECK:         hpacml_rt.distinct %{{.*}} in(%{{.*}} : memref<100xi8>) : !hpacml.indirect<10xi8>
// CHECK:         [[OF_A:%.*]] = memref.reinterpret_cast [[OWN_A]] to offset: [0], sizes: [10], strides: [1]
// CHECK-NEXT:    [[V:%.*]] = hpacml.indirect %{{.*}}[[[OF_A]]] : memref<10x100xf64, strided<[0, 1]>>[memref<10xi64, strided<[1]>>] -> !hpacml.indirect<10xf64>
// CHECK-NEXT:    hpacml.pack [[V]] into %x
// CHECK-NEXT:    memref.dealloc [[OWN_B]]
// CHECK-NEXT:    memref.dealloc [[OWN_A]]
// CHECK:         hpacml_rt.in_bounds %{{.*}} : memref<10xi8, strided<[2]>>
// CHECK:         hpacml_rt.check_map
// CHECK:         hpacml_rt.in_bounds %{{.*}} : !hpacml.indirect<10xi64>
// CHECK:         hpacml_rt.check_map
// CHECK:         hpacml_rt.check_map
// CHECK:         hpacml_rt.distinct %{{.*}} in(%{{.*}} : memref<100xi8>) : !hpacml.indirect<10xi8>
// CHECK:         hpacml_rt.check_map
// CHECK:         hpacml.unpack %{{.*}} from %x

// -----

// An index for each of two dimensions, that move together, ...

hpacml.functor @diagonal : [i] = ([i, i])
hpacml.functor @pairs : [i, j] = ([i, j])

func.func @together(%t: memref<8x9xf64>, %a: memref<5xi64>, %b: memref<5xi32>) {
  %m = hpacml.map to @diagonal(%t[*%a[0 : 5], *%b[0 : 5]]) : memref<8x9xf64>, memref<5xi64>, memref<5xi32> -> !hpacml.mapping<5xf64>
  %x = hpacml.tensor %m : !hpacml.mapping<5xf64> -> memref<5xf64>
  hpacml.gather %m into %x : !hpacml.mapping<5xf64>, memref<5xf64>
  func.return
}

// CHECK-LABEL: func.func @together(
// CHECK:         [[ROWS:%.*]] = memref.reinterpret_cast %t to offset: [0], sizes: [5, 8, 9], strides: [0, 9, 1]
// CHECK-NEXT:    [[A:%.*]] = memref.reinterpret_cast %a to offset: [0], sizes: [5], strides: [1]
// CHECK-NEXT:    [[B:%.*]] = memref.reinterpret_cast %b to offset: [0], sizes: [5], strides: [1]
// CHECK-NEXT:    [[V:%.*]] = hpacml.indirect [[ROWS]][[[A]], [[B]]] watched by %{{\d+}} : memref<5x8x9xf64, strided<[0, 9, 1]>>[memref<5xi64, strided<[1]>>, memref<5xi32, strided<[1]>>] -> !hpacml.indirect<5xf64>
// CHECK-NEXT:    hpacml.pack [[V]] into %x
// CHECK-NEXT:    [[OK:%\d+]] = hpacml_rt.none_bad
// CHECK-NEXT:    [[EIGHT:%\d+]] = arith.constant 8 : index
// CHECK-NEXT:    [[NINE:%\d+]] = arith.constant 9 : index
// CHECK:         hpacml_rt.check_map [[OK]] to {{.*}} sizes([[EIGHT]], [[NINE]], [[FIVE:%\d+]], [[FIVE]])

// ... and independently of each other: all rows named by all columns named.

func.func @independent(%t: memref<8x9xf64>, %a: memref<5xi64>, %b: memref<6xi32>) {
  %m = hpacml.map to @pairs(%t[*%a[0 : 5], *%b[0 : 6]]) : memref<8x9xf64>, memref<5xi64>, memref<6xi32> -> !hpacml.mapping<5x6xf64>
  %x = hpacml.tensor %m : !hpacml.mapping<5x6xf64> -> memref<5x6xf64>
  hpacml.gather %m into %x : !hpacml.mapping<5x6xf64>, memref<5x6xf64>
  func.return
}

// CHECK-LABEL: func.func @independent(
// CHECK:         [[ROWS:%.*]] = memref.reinterpret_cast %t to offset: [0], sizes: [5, 6, 8, 9], strides: [0, 0, 9, 1]
// CHECK-NEXT:    [[A:%.*]] = memref.reinterpret_cast %a to offset: [0], sizes: [5, 6], strides: [1, 0]
// CHECK-NEXT:    [[B:%.*]] = memref.reinterpret_cast %b to offset: [0], sizes: [5, 6], strides: [0, 1]
// CHECK-NEXT:    hpacml.indirect [[ROWS]][[[A]], [[B]]] watched by %{{\d+}} : memref<5x6x8x9xf64, strided<[0, 0, 9, 1]>>[memref<5x6xi64, strided<[1, 0]>>, memref<5x6xi32, strided<[0, 1]>>] -> !hpacml.indirect<5x6xf64>

// -----

// Indices that are trusted.

hpacml.functor @point : [i] = ([i])

func.func @unchecked(%t: memref<8xf64>, %a: memref<5xi64>) {
  %m = hpacml.map inout @point(%t[*%a[0 : 5]]) unchecked : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<5xf64>
  %x = hpacml.tensor fresh %m : !hpacml.mapping<5xf64> -> memref<5xf64>
  hpacml.gather %m into %x : !hpacml.mapping<5xf64>, memref<5xf64>
  hpacml.scatter %x into %m : memref<5xf64>, !hpacml.mapping<5xf64>
  func.return
}

// CHECK-LABEL: func.func @unchecked(
// CHECK-NEXT:    [[ROWS:%.*]] = memref.reinterpret_cast %t
// CHECK-NEXT:    [[A:%.*]] = memref.reinterpret_cast %a
// CHECK-NEXT:    [[V:%.*]] = hpacml.indirect [[ROWS]][[[A]]]
// CHECK-NEXT:    arith.constant 0 : index
// CHECK-NEXT:    %x = memref.alloc() : memref<5xf64>
// CHECK-NEXT:    hpacml.pack [[V]] into %x
// CHECK-NEXT:    hpacml.unpack [[V]] from %x
// CHECK-NEXT:    memref.dealloc %x : memref<5xf64>
// CHECK-NEXT:    func.return

// ... where the ranges still are not: of the index array, and of what is indexed directly.

func.func @ranges(%t: memref<8xf64>, %a: memref<?xi64>, %n: index) {
  %m = hpacml.map to @point(%t[*%a[0 : %n]]) unchecked : memref<8xf64>, memref<?xi64> -> !hpacml.mapping<?xf64>
  %x = hpacml.tensor %m : !hpacml.mapping<?xf64> -> memref<?xf64>
  hpacml.gather %m into %x : !hpacml.mapping<?xf64>, memref<?xf64>
  func.return
}

// CHECK-LABEL: func.func @ranges(
// CHECK:         %{{\d+}}, %{{\d+}}, [[SIZE:%\d+]], %{{\d+}} = memref.extract_strided_metadata %a
// CHECK:         [[N:%\d+]] = arith.maxsi %n, %{{\d+}} : index
// CHECK-NEXT:    arith.cmpi sle, [[N]], [[SIZE]] : index
// CHECK:         hpacml_rt.check_map %{{\d+}} to "point: [i] = ([i])" names ["t", "a"] targets [#hpacml.target<[*[0 : ?]]>] sizes(%{{\d+}}, [[SIZE]]) bounds(%n) params() of []
// CHECK-NOT:     watched
// CHECK-NOT:     arrays(
// CHECK:         hpacml.pack

// -----

// One array, written through indices and directly: the same marks for both.

hpacml.functor @both : [i, 0:2] = ([i], [i])

func.func @mixed(%t: memref<8xf64>, %a: memref<5xi64>) {
  %m = hpacml.map from @both(%t[*%a[0 : 3]], %t[1 : 4]) : memref<8xf64>, memref<5xi64>, memref<8xf64> -> !hpacml.mapping<3x2xf64>
  %y = hpacml.tensor %m : !hpacml.mapping<3x2xf64> -> memref<3x2xf64>
  hpacml.scatter %y into %m : memref<3x2xf64>, !hpacml.mapping<3x2xf64>
  func.return
}

// CHECK-LABEL: func.func @mixed(
// CHECK:         [[COPY:%.*]] = memref.alloc() : memref<3xi64>
// CHECK:         %marks = memref.alloc() : memref<8xi8>
// CHECK-NOT:     memref.alloc
// CHECK:         [[MARKS:%.*]] = hpacml.indirect {{.*}} -> !hpacml.indirect<3xi8>
// CHECK-NEXT:    [[DIRECT:%.*]] = memref.reinterpret_cast %marks to offset: [1], sizes: [3], strides: [1] : memref<8xi8> to memref<3xi8, strided<[1], offset: 1>>
// CHECK-NEXT:    [[DIFFERENT:%\d+]] = hpacml_rt.distinct [[MARKS]], [[DIRECT]] in(%marks : memref<8xi8>) : !hpacml.indirect<3xi8>, memref<3xi8, strided<[1], offset: 1>>
// CHECK-NEXT:    memref.dealloc %marks
// CHECK-NEXT:    hpacml_rt.check_map [[DIFFERENT]] from {{.*}} arrays(%t, %a, %t : memref<8xf64>, memref<5xi64>, memref<8xf64>)
// CHECK:         [[V:%.*]] = hpacml.indirect {{.*}} -> !hpacml.indirect<3xf64>
// CHECK-NEXT:    [[W:%.*]] = memref.reinterpret_cast %t to offset: [1], sizes: [3], strides: [1]
// CHECK-NEXT:    hpacml.unpack [[V]] from %y
// CHECK-NEXT:    hpacml.unpack [[W]] from %y

// -----

// What several slices read of one index array is looked at once, against the smallest array, ...

hpacml.functor @three : [i, 0:3] = ([i], [i], [i])
hpacml.functor @both : [i, 0:2] = ([i], [i])

func.func @once(%x: memref<9xf32>, %y: memref<7xf32>, %z: memref<8xf32>, %a: memref<5xi64>) {
  %m = hpacml.map from @three(%x[*%a[0 : 5]], %y[*%a[0 : 5]], %z[*%a[0 : 5]]) : memref<9xf32>, memref<5xi64>, memref<7xf32>, memref<5xi64>, memref<8xf32>, memref<5xi64> -> !hpacml.mapping<5x3xf32>
  %t = hpacml.tensor %m : !hpacml.mapping<5x3xf32> -> memref<5x3xf32>
  hpacml.scatter %t into %m : memref<5x3xf32>, !hpacml.mapping<5x3xf32>
  func.return
}

// CHECK-LABEL: func.func @once(
// CHECK:         [[COPY:%.*]] = memref.alloc() : memref<5xi64>
// CHECK-NEXT:    [[SEVEN:%\d+]] = arith.constant 7 : index
// CHECK-NEXT:    [[INSIDE:%\d+]] = hpacml_rt.in_bounds %{{.*}} below [[SEVEN]] copy([[COPY]] : memref<5xi64>) : memref<5xi64, strided<[1]>>
// CHECK-NOT:     hpacml_rt.in_bounds
// CHECK:         hpacml_rt.check_map [[INSIDE]] from {{.*}} arrays(%x, %a, %y, %a, %z, %a : memref<9xf32>, memref<5xi64>, memref<7xf32>, memref<5xi64>, memref<8xf32>, memref<5xi64>)
// CHECK-COUNT-3: hpacml.unpack

// ... which only the run may know. Other elements of it are looked at too.

func.func @smallest(%x: memref<?xf32>, %y: memref<?xf32>, %a: memref<6xi64>) {
  %m = hpacml.map from @three(%x[*%a[0 : 5]], %y[*%a[0 : 5]], %x[*%a[1 : 6]]) : memref<?xf32>, memref<6xi64>, memref<?xf32>, memref<6xi64>, memref<?xf32>, memref<6xi64> -> !hpacml.mapping<5x3xf32>
  %t = hpacml.tensor %m : !hpacml.mapping<5x3xf32> -> memref<5x3xf32>
  hpacml.scatter %t into %m : memref<5x3xf32>, !hpacml.mapping<5x3xf32>
  func.return
}

// CHECK-LABEL: func.func @smallest(
// CHECK:         %{{\d+}}, %{{\d+}}, [[X:%\d+]], %{{\d+}} = memref.extract_strided_metadata %x
// CHECK:         %{{\d+}}, %{{\d+}}, [[Y:%\d+]], %{{\d+}} = memref.extract_strided_metadata %y
// CHECK:         [[LESS:%\d+]] = arith.cmpi sle, [[Y]], [[X]] : index
// CHECK-NEXT:    [[SMALLEST:%\d+]] = arith.select [[LESS]], [[Y]], [[X]] : index
// CHECK-NEXT:    [[A:%.*]] = memref.reinterpret_cast %a to offset: [0], sizes: [5]
// CHECK:         hpacml_rt.in_bounds [[A]] below [[SMALLEST]] copy(%{{.*}}) : memref<5xi64, strided<[1]>>
// CHECK:         [[B:%.*]] = memref.reinterpret_cast %a to offset: [1], sizes: [5]
// CHECK:         hpacml_rt.in_bounds [[B]] below {{%\d+}} copy(%{{.*}}) : memref<5xi64, strided<[1], offset: 1>>
// CHECK-NOT:     hpacml_rt.in_bounds
// CHECK:         hpacml.unpack

// -----

// An array indexed by itself, written: whether that is all right, its elements have to tell.

hpacml.functor @point : [i] = ([i])

func.func @itself(%a: memref<5xi64>) {
  %m = hpacml.map from @point(%a[*%a[0 : 2]]) : memref<5xi64>, memref<5xi64> -> !hpacml.mapping<2xi64>
  %y = hpacml.tensor %m : !hpacml.mapping<2xi64> -> memref<2xi64>
  hpacml.scatter %y into %m : memref<2xi64>, !hpacml.mapping<2xi64>
  func.return
}

// CHECK-LABEL: func.func @itself(
// CHECK:         hpacml_rt.in_bounds
// CHECK:         hpacml_rt.check_map
// CHECK-NEXT:    [[NO:%\d+]] = arith.constant false
// CHECK-NEXT:    hpacml_rt.check_map [[NO]] from {{.*}} arrays(%a, %a : memref<5xi64>, memref<5xi64>)
// CHECK:         hpacml.unpack

// -----

// Early checks: of a map that is written through, one that is read through, one that is trusted, one without indices.

hpacml.functor @point : [i] = ([i])

func.func @early(%t: memref<8xf64>, %a: memref<5xi64>) {
  %m = hpacml.map inout @point(%t[*%a[0 : 5]]) : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<5xf64>
  %r = hpacml.map to @point(%t[*%a[0 : 5]]) : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<5xf64>
  %u = hpacml.map from @point(%t[*%a[0 : 5]]) unchecked : memref<8xf64>, memref<5xi64> -> !hpacml.mapping<5xf64>
  %d = hpacml.map from @point(%t[0 : 5]) : memref<8xf64> -> !hpacml.mapping<5xf64>
  "test.op"() {written} : () -> ()
  hpacml_rt.check_indices %m : !hpacml.mapping<5xf64>
  "test.op"() {read} : () -> ()
  hpacml_rt.check_indices %r : !hpacml.mapping<5xf64>
  "test.op"() {trusted} : () -> ()
  hpacml_rt.check_indices %u : !hpacml.mapping<5xf64>
  "test.op"() {direct} : () -> ()
  hpacml_rt.check_indices %d : !hpacml.mapping<5xf64>
  "test.op"() {end} : () -> ()
  func.return
}

// CHECK-LABEL: func.func @early(
// CHECK:         "test.op"() {written}
// CHECK:         hpacml_rt.in_bounds
// CHECK:         hpacml_rt.check_map
// CHECK:         extract_aligned_pointer_as_index
// CHECK:         hpacml_rt.check_map
// CHECK:         hpacml_rt.distinct
// CHECK:         hpacml_rt.check_map
// CHECK-NEXT:    memref.dealloc
// CHECK-NEXT:    "test.op"() {read}
// CHECK:         hpacml_rt.in_bounds
// CHECK-NOT:     hpacml_rt.distinct
// CHECK:         hpacml_rt.check_map
// CHECK-NEXT:    memref.dealloc
// CHECK-NEXT:    "test.op"() {trusted}
// CHECK-NEXT:    "test.op"() {direct}
// CHECK-NEXT:    "test.op"() {end}
// CHECK-NEXT:    func.return

// -----

// A sweep that may be empty keeps the check from reading an index that no element uses.

hpacml.functor @table : [i, j] = ([i, j])

func.func @nothing(%t: memref<8x9xf64>, %a: memref<5xi64>, %n: index) {
  %m = hpacml.map from @table(%t[*%a[0 : 5], 0 : %n]) : memref<8x9xf64>, memref<5xi64> -> !hpacml.mapping<5x?xf64>
  %x = hpacml.tensor %m : !hpacml.mapping<5x?xf64> -> memref<5x?xf64>
  hpacml.scatter %x into %m : memref<5x?xf64>, !hpacml.mapping<5x?xf64>
  func.return
}

// CHECK-LABEL: func.func @nothing(
// CHECK:         [[N:%\d+]] = arith.maxsi %n, %{{\d+}} : index
// CHECK:         [[ANY:%\d+]] = arith.cmpi sle, %{{\d+}}, [[N]] : index
// CHECK-NEXT:    [[PRESENT:%\d+]] = arith.select [[ANY]], %{{\d+}}, %{{\d+}} : index
// CHECK-NEXT:    [[A:%.*]] = memref.reinterpret_cast %a to offset: [0], sizes: [[[PRESENT]], 5], strides: [0, 1]
// CHECK:         hpacml_rt.in_bounds [[A]] below %{{\d+}} copy(%{{.*}}) : memref<?x5xi64, strided<[0, 1]>>

// -----

// Added where indices lead, which may repeat: they are watched as they are where elements are read.

hpacml.functor @rows : [i, 0:3] = ([i, 0:3])

func.func @adjoint(%pos: memref<10x3xf32>, %idx: memref<4xi32>, %g: memref<4x3xf32>) {
  %m = hpacml.map to @rows(%pos[*%idx[0 : 4], 0 : 3]) : memref<10x3xf32>, memref<4xi32> -> !hpacml.mapping<4x3xf32>
  hpacml.scatter add %g into %m : memref<4x3xf32>, !hpacml.mapping<4x3xf32>
  func.return
}

// CHECK-LABEL: func.func @adjoint(
// CHECK:         [[WATCH:%\d+]] = hpacml_rt.watch
// CHECK:         [[V:%.*]] = hpacml.indirect %{{.*}} watched by [[WATCH]]
// CHECK-NEXT:    hpacml.unpack add [[V]] from %g at %{{\d+}} features [1] : !hpacml.indirect<4x3xf32>, memref<4x3xf32>
// CHECK-NEXT:    [[OK:%\d+]] = hpacml_rt.none_bad [[WATCH]]
// CHECK:         hpacml_rt.check_map [[OK]] to
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
