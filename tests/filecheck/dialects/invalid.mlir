// What the verifiers and parsers refuse, and what they say.

// RUN: hpacml-opt %s --verify-diagnostics --parsing-diagnostics --split-input-file | filecheck %s

hpacml.functor @f : [i, 0:2] = ([i], [i + 1], [i + 2])

// CHECK: Operation does not verify: the left side declares 2 features, the right side gives 3: make the feature range on the left that long

// -----

hpacml.functor @f : [i] = ([i, 0:2])

// CHECK: Operation does not verify: the left side declares 1 feature, the right side gives 2: make the feature range on the left that long

// -----

hpacml.functor @f(n) : [i, 0:6 * n] = ([i : i + 6 * n + 1])

// CHECK: Operation does not verify: the left side declares 6 * n features, the right side gives 6 * n + 1: make the feature range on the left that long

// -----

hpacml.functor @f : [i, 0:k] = ([i, k])

// CHECK: Operation does not verify: the feature range '0:k' on the left depends on the symbol 'k': its bounds may hold integers and integer parameters only

// -----

hpacml.functor @f : [i, 0:4:0] = ([i])

// CHECK: Operation does not verify: the step of '0:4:0' is 0

// -----

hpacml.functor @f : [i + 1, 0:1] = ([i])

// CHECK: Operation does not verify: 'i + 1' on the left side is neither a symbol nor a range: write a bare symbol for a dimension of the sweep, or a range such as 0:5 for features

// -----

hpacml.functor @f(i) : [i] = ([i])

// CHECK: Operation does not verify: 'i' on the left side is neither a symbol nor a range: write a bare symbol for a dimension of the sweep, or a range such as 0:5 for features

// -----

hpacml.functor @f : [i, i] = ([i])

// CHECK: Operation does not verify: the symbol 'i' stands twice on the left side

// -----

hpacml.functor @f : [i, f, g] = ([i, 0:4])

// CHECK: Operation does not verify: neither 'f' nor 'g' occurs on the right side, and only one dimension's size can be inferred: give one of them as a range

// -----

hpacml.functor @f : [i, j] = ([i * j])

// CHECK: Operation does not verify: 'i * j' multiplies the symbols 'i' and 'j': indices must be affine in the symbols

// -----

hpacml.functor @f : [i, f] = ([0:i])

// CHECK: Operation does not verify: the extent of '0:i' depends on the symbol 'i': a range must have the same number of elements at every point of the sweep

// -----

hpacml.functor @f : [i, f] = ([i], [0:4:i])

// CHECK: Operation does not verify: the step of '0:4:i' depends on the symbol 'i'

// -----

hpacml.functor @f : [f] = ([0:4:0])

// CHECK: Operation does not verify: the step of '0:4:0' is 0

// -----

hpacml.functor @f(n) : [i] = ([i])

// CHECK: Operation does not verify: parameters must be the integer names that occur, in alphabetical order

// -----

hpacml.functor @f(n, m) : [i, f] = ([i : i + n * m])

// CHECK: Operation does not verify: parameters must be the integer names that occur, in alphabetical order

// -----

hpacml.functor @f : [i, 0:1] = ([i / 2])

// CHECK: ']' expected

// -----

func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @missing(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: @missing is not an hpacml.functor

// -----

func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: @f is not an hpacml.functor

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9x9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the target of 't' gives 1 range, but the array has 2 dimensions

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9, 0 : 9]) : memref<9x9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the slice [i] has 1 entry, but the target 't' has 2 dimensions

// -----

hpacml.functor @p : [i, 0:3] = ([i], [i], [i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9], %t[0 : 9]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x3xf32>
  func.return
}

// CHECK: Operation does not verify: the functor has 3 slices on its right side but is applied to 2 targets: give one target for all slices, or one per slice

// -----

hpacml.functor @p : [i, 0:4] = ([i, k])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9, 0 : 5]) : memref<9x9xf32> -> !hpacml.mapping<9x4xf32>
  func.return
}

// CHECK: Operation does not verify: the left side declares 4 features, the right side gives 5: make the feature range on the left that long

// -----

hpacml.functor @p : [i, 0:2] = ([i - 1], [i + 1])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[1 : 9]) : memref<9xf32> -> !hpacml.mapping<8x2xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i + 1' of the slice [i + 1] reaches index 9 in dimension 0 of 't', which has 9 elements

// -----

hpacml.functor @p : [i, 0:1] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[-1 : 9]) : memref<9xf32> -> !hpacml.mapping<10x1xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i' of the slice [i] reaches index -1 in dimension 0 of 't', which has 9 elements

// -----

hpacml.functor @p : [i, 0:1] = ([i, 0])
func.func @f(%t: memref<9x9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9, 1 : 4]) : memref<9x9xf32> -> !hpacml.mapping<9x1xf32>
  func.return
}

// CHECK: Operation does not verify: the entry '0' of the slice [i, 0] is an absolute index, and lies outside the range of dimension 1 of 't' (1 to 3)

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%t: memref<9xf32>, %u: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9], %u[0 : 4]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: the symbol 'i' runs over 9 values in dimension 0 of 't' but over 4 in dimension 0 of 'u'

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%t: memref<9xf32>, %u: memref<9xf32>) {
  %a = hpacml.map from @p(%t[0 : 9], %u[0 : 1]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: the symbol 'i' runs over 9 values in dimension 0 of 't' but over 1 in dimension 0 of 'u'

// -----

hpacml.functor @p : [i, 0:2] = ([i], [i])
func.func @f(%0: memref<9xf32>, %1: memref<9xf32>) {
  %a = hpacml.map to @p(%0[0 : 9], %1[3]) : memref<9xf32>, memref<9xf32> -> !hpacml.mapping<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: dimension 0 of 'array 1' is a single index, but the symbol 'i' that meets it runs over 9 values: write a range

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9 : 0]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the step of a range is 0

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<8xf32>
  func.return
}

// CHECK: Operation does not verify: the map's type is !hpacml.mapping<8xf32>, but the functor makes it !hpacml.mapping<9xf32>

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>, %ix: memref<9xi32>) {
  %a = hpacml.map to @p(%t[*%ix[0 : 9]]) : memref<9xf32>, memref<9xi32> -> !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: the target of 't' is indirect, which this version cannot map yet

// -----

func.func @f(%t: !hpacml.mapping<9xi1>) {
  func.return
}

// CHECK: element type i1 is none of u8, i32, i64, f16, bf16, f32, f64

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  %x = hpacml.tensor %in : !hpacml.mapping<9xf32> -> memref<9xf64>
  func.return
}

// CHECK: Operation does not verify: a tensor of type memref<9xf64> does not fit a mapping of type !hpacml.mapping<9xf32>

// -----

func.func @f(%in: !hpacml.mapping<9xf32>, %x: memref<9x1xf32>) {
  hpacml.scatter %x into %in : memref<9x1xf32>, !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: a tensor of type memref<9x1xf32> does not fit a mapping of type !hpacml.mapping<9xf32>

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.scatter %t into %a : memref<9xf32>, !hpacml.mapping<9xf32>
  func.return
}

// CHECK: Operation does not verify: cannot scatter through a 'to' map

// -----

func.func @f(%in: !hpacml.mapping<9xf32>, %c: i1) {
  hpacml.ml infer(%c) in(%in) out(%in) label "r" : !hpacml.mapping<9xf32>, !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a condition belongs to mode 'predicated', and only to it

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml predicated in(%in) out(%in) label "r" : !hpacml.mapping<9xf32>, !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a condition belongs to mode 'predicated', and only to it

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in) out(%in) label "r" batch -1 : !hpacml.mapping<9xf32>, !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: batch must not be negative

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in) label "r" : !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a region needs at least one input and one output

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer out(%in) label "r" : !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: a region needs at least one input and one output

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer in(%in) out(%in) label "r" : !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: expected one type for each mapping

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in) : !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: property 'label' expected in operation 'hpacml.ml'

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml deduce inout(%in) label "r" : !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Expected `infer`, `collect`, or `predicated`.

// -----

func.func @f(%in: !hpacml.mapping<9xf32>) {
  hpacml.ml infer inout(%in) model 3 label "r" : !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: Unexpected attribute 3 : i64

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map from @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer in(%a) out(%a) label "r" : !hpacml.mapping<9xf32>, !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: an input is mapped by a 'from' map

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer inout(%a) label "r" : !hpacml.mapping<9xf32> {
    "test.op"() : () -> ()
  }
  func.return
}

// CHECK: Operation does not verify: an output is mapped by a 'to' map

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [2] : memref<9xf32>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: features [2] are not dimensions of memref<9x2xf32> in order

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2x2xf32>, %n: index) {
  hpacml.unpack %v from %x at %n features [2, 1] : memref<9xf32>, memref<9x2x2xf32>
  func.return
}

// CHECK: Operation does not verify: features [2, 1] are not dimensions of memref<9x2x2xf32> in order

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [] : memref<9xf32>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type memref<9xf32> lacks sweep dimensions of memref<9x2xf32>

// -----

func.func @f(%v: memref<8xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [1] : memref<8xf32>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type memref<8xf32> does not sweep over dimension 0 of memref<9x2xf32>

// -----

func.func @f(%v: memref<9xi1>, %x: memref<9x2xf32>, %n: index) {
  hpacml.pack %v into %x at %n features [1] : memref<9xi1>, memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: element type i1 is none of u8, i32, i64, f16, bf16, f32, f64

// -----

func.func @f(%v: memref<9xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.fused_gather %v, %v into %x at %n features [1] : memref<9xf32>, memref<9xf32> -> memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: expected views and as many first features, got 2 and 1

// -----

func.func @f(%v: memref<9xf32>, %w: memref<8xf32>, %x: memref<9x2xf32>, %n: index) {
  hpacml.fused_scatter %v, %w from %x at %n, %n features [1] : memref<9xf32>, memref<8xf32> -> memref<9x2xf32>
  func.return
}

// CHECK: Operation does not verify: a view of type memref<8xf32> does not sweep over dimension 0 of memref<9x2xf32>

// -----

func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map to @p(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9x1xf32>
  func.return
}
hpacml.functor @p : [i, 0:1] = ([i], [i])

// CHECK: Operation does not verify: the left side declares 1 feature, the right side gives 2: make the feature range on the left that long

// -----

hpacml.functor @p : [i] = ([i])
func.func @f(%t: memref<9xf32>) {
  %a = hpacml.map inout @p(%t[0 : 10]) : memref<9xf32> -> !hpacml.mapping<10xf32>
  func.return
}

// CHECK: Operation does not verify: the entry 'i' of the slice [i] reaches index 9 in dimension 0 of 't', which has 9 elements
