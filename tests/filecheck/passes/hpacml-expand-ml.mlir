// RUN: hpacml-opt %s -p hpacml-expand-ml --split-input-file | filecheck %s
// RUN: hpacml-opt %s -p 'hpacml-expand-ml{collect=false}' --split-input-file | filecheck %s --check-prefix ALONE

hpacml.functor @in : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @out : [i] = ([i])

// Inference that raises: the body is gone.

func.func @infer(%t: memref<9xf32>, %u: memref<9xf32>) {
  %in = hpacml.map to @in(%t[1 : 8]) {text = "in(t[1:8])"} : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %out = hpacml.map from @out(%u[1 : 8]) {text = "out(u[1:8])"} : memref<9xf32> -> !hpacml.mapping<7xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<7x2xf32>) out(%out : !hpacml.mapping<7xf32>) label "r" model "m.pt2" batch 16 on_error "raise" database "d.h5" {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @infer(%t: memref<9xf32>, %u: memref<9xf32>) {
// CHECK-NEXT:    %in = hpacml.map to @in(%t[1 : 8]) {text = "in(t[1:8])"} : memref<9xf32> -> !hpacml.mapping<7x2xf32>
// CHECK-NEXT:    %out = hpacml.map from @out(%u[1 : 8]) {text = "out(u[1:8])"} : memref<9xf32> -> !hpacml.mapping<7xf32>
// CHECK-NEXT:    %x = hpacml.tensor %in : !hpacml.mapping<7x2xf32> -> memref<7x2xf32>
// CHECK-NEXT:    hpacml.gather %in into %x : !hpacml.mapping<7x2xf32>, memref<7x2xf32>
// CHECK-NEXT:    %y = hpacml.tensor %out : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:    %{{[0-9]+}} = hpacml.infer "r" model "m.pt2" batch 16 on_error "raise" maps ["to: in: [i, 0:2] = ([i - 1], [i + 1]) | in(t[1:8])", "from: out: [i] = ([i]) | out(u[1:8])"] ins(%x : memref<7x2xf32>) outs(%y : memref<7xf32>)
// CHECK-NEXT:    hpacml.scatter %y into %out : memref<7xf32>, !hpacml.mapping<7xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Inference: the original code runs where there is no result.

hpacml.functor @in : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @out : [i] = ([i])

func.func @infer_or_body(%t: memref<9xf32>, %u: memref<9xf32>) {
  %in = hpacml.map to @in(%t[1 : 8]) {text = "in(t[1:8])"} : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %out = hpacml.map from @out(%u[1 : 8]) {text = "out(u[1:8])"} : memref<9xf32> -> !hpacml.mapping<7xf32>
  hpacml.ml infer in(%in : !hpacml.mapping<7x2xf32>) out(%out : !hpacml.mapping<7xf32>) label "r" model "m.pt2" batch 16 database "d.h5" {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @infer_or_body(%t: memref<9xf32>, %u: memref<9xf32>) {
// CHECK-NEXT:    %in = hpacml.map to @in(%t[1 : 8]) {text = "in(t[1:8])"} : memref<9xf32> -> !hpacml.mapping<7x2xf32>
// CHECK-NEXT:    %out = hpacml.map from @out(%u[1 : 8]) {text = "out(u[1:8])"} : memref<9xf32> -> !hpacml.mapping<7xf32>
// CHECK-NEXT:    %x = hpacml.tensor %in : !hpacml.mapping<7x2xf32> -> memref<7x2xf32>
// CHECK-NEXT:    hpacml.gather %in into %x : !hpacml.mapping<7x2xf32>, memref<7x2xf32>
// CHECK-NEXT:    %y = hpacml.tensor %out : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:    %done = hpacml.infer "r" model "m.pt2" batch 16 maps ["to: in: [i, 0:2] = ([i - 1], [i + 1]) | in(t[1:8])", "from: out: [i] = ([i]) | out(u[1:8])"] ins(%x : memref<7x2xf32>) outs(%y : memref<7xf32>)
// CHECK-NEXT:    scf.if %done {
// CHECK-NEXT:      hpacml.scatter %y into %out : memref<7xf32>, !hpacml.mapping<7xf32>
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %ms = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
// CHECK-NEXT:  func.func private @r_body(%t: memref<9xf32>) attributes {llvm.linkage = #llvm.linkage<"internal">, hpacml.body_of = "infer_or_body"} {
// CHECK-NEXT:    "test.op"(%t) : (memref<9xf32>) -> ()
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Collection: inputs are copied before the body runs, outputs are read after it.

hpacml.functor @in : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @out : [i] = ([i])

func.func @collect(%t: memref<9xf32>, %u: memref<9xf32>) {
  %in = hpacml.map to @in(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7xf32>
  hpacml.ml collect in(%in : !hpacml.mapping<7x2xf32>) out(%out : !hpacml.mapping<7xf32>) label "r" model "m.pt2" database @base {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @collect(%t: memref<9xf32>, %u: memref<9xf32>) {
// CHECK-NEXT:    %in = hpacml.map to @in(%t[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7x2xf32>
// CHECK-NEXT:    %out = hpacml.map from @out(%u[1 : 8]) : memref<9xf32> -> !hpacml.mapping<7xf32>
// CHECK-NEXT:    %x = hpacml.tensor fresh %in : !hpacml.mapping<7x2xf32> -> memref<7x2xf32>
// CHECK-NEXT:    hpacml.gather %in into %x : !hpacml.mapping<7x2xf32>, memref<7x2xf32>
// CHECK-NEXT:    %ms = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:    %y = hpacml.tensor %out : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:    hpacml.gather %out into %y : !hpacml.mapping<7xf32>, memref<7xf32>
// CHECK-NEXT:    hpacml.collect "r" database @base maps ["to: in: [i, 0:2] = ([i - 1], [i + 1]) | in(t[1 : 8])", "from: out: [i] = ([i]) | out(u[1 : 8])"] ins(%x : memref<7x2xf32>) outs(%y : memref<7xf32>) time %ms
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Predicated, under an if clause, with several tensors: inouts follow the others on both sides. The maps are made
// only where the region uses them.

hpacml.functor @f : [i] = ([i])

func.func @predicated(%t: memref<9xf32>, %u: memref<9xf32>, %c: i1, %d: i1) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %b = hpacml.map from @f(%u[0 : 8]) : memref<9xf32> -> !hpacml.mapping<8xf32>
  %c_ = hpacml.map inout @f(%u[0 : 7]) : memref<9xf32> -> !hpacml.mapping<7xf32>
  hpacml.ml predicated(%c) if(%d) in(%a : !hpacml.mapping<9xf32>) out(%b : !hpacml.mapping<8xf32>) inout(%c_ : !hpacml.mapping<7xf32>) label "r" model @net {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @predicated(%t: memref<9xf32>, %u: memref<9xf32>, %c: i1, %d: i1) {
// CHECK-NEXT:    scf.if %d {
// CHECK-NEXT:      %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
// CHECK-NEXT:      %b = hpacml.map from @f(%u[0 : 8]) : memref<9xf32> -> !hpacml.mapping<8xf32>
// CHECK-NEXT:      %c_ = hpacml.map inout @f(%u[0 : 7]) : memref<9xf32> -> !hpacml.mapping<7xf32>
// CHECK-NEXT:      scf.if %c {
// CHECK-NEXT:        %x = hpacml.tensor %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:        hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:        %x_1 = hpacml.tensor %c_ : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:        hpacml.gather %c_ into %x_1 : !hpacml.mapping<7xf32>, memref<7xf32>
// CHECK-NEXT:        %y = hpacml.tensor %b : !hpacml.mapping<8xf32> -> memref<8xf32>
// CHECK-NEXT:        %y_1 = hpacml.tensor %c_ : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:        %done = hpacml.infer "r" model @net maps ["to: f: [i] = ([i]) | f(t[0 : 9])", "to: f: [i] = ([i]) | f(u[0 : 7])", "from: f: [i] = ([i]) | f(u[0 : 8])", "from: f: [i] = ([i]) | f(u[0 : 7])"] ins(%x, %x_1 : memref<9xf32>, memref<7xf32>) outs(%y, %y_1 : memref<8xf32>, memref<7xf32>)
// CHECK-NEXT:        scf.if %done {
// CHECK-NEXT:          hpacml.scatter %y into %b : memref<8xf32>, !hpacml.mapping<8xf32>
// CHECK-NEXT:          hpacml.scatter %y_1 into %c_ : memref<7xf32>, !hpacml.mapping<7xf32>
// CHECK-NEXT:        } else {
// CHECK-NEXT:          %ms = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:        }
// CHECK-NEXT:      } else {
// CHECK-NEXT:        %x_2 = hpacml.tensor fresh %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:        hpacml.gather %a into %x_2 : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:        %x_3 = hpacml.tensor fresh %c_ : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:        hpacml.gather %c_ into %x_3 : !hpacml.mapping<7xf32>, memref<7xf32>
// CHECK-NEXT:        %ms_1 = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:        %y_2 = hpacml.tensor %b : !hpacml.mapping<8xf32> -> memref<8xf32>
// CHECK-NEXT:        hpacml.gather %b into %y_2 : !hpacml.mapping<8xf32>, memref<8xf32>
// CHECK-NEXT:        %y_3 = hpacml.tensor %c_ : !hpacml.mapping<7xf32> -> memref<7xf32>
// CHECK-NEXT:        hpacml.gather %c_ into %y_3 : !hpacml.mapping<7xf32>, memref<7xf32>
// CHECK-NEXT:        hpacml.collect "r" maps ["to: f: [i] = ([i]) | f(t[0 : 9])", "to: f: [i] = ([i]) | f(u[0 : 7])", "from: f: [i] = ([i]) | f(u[0 : 8])", "from: f: [i] = ([i]) | f(u[0 : 7])"] ins(%x_2, %x_3 : memref<9xf32>, memref<7xf32>) outs(%y_2, %y_3 : memref<8xf32>, memref<7xf32>) time %ms_1
// CHECK-NEXT:      }
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %ms_2 = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Collection of some of the calls: in the others only the body runs.

hpacml.functor @f : [i] = ([i])

func.func @sampled(%t: memref<9xf32>) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml collect inout(%a : !hpacml.mapping<9xf32>) label "r" database "d.h5" sample <every: 10, most: 1000> units <t: "K"> {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @sampled(%t: memref<9xf32>) {
// CHECK-NEXT:    %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
// CHECK-NEXT:    %sampled = hpacml.sample "r" database "d.h5" <every: 10, most: 1000>
// CHECK-NEXT:    scf.if %sampled {
// CHECK-NEXT:      %x = hpacml.tensor fresh %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:      hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:      %ms = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:      %y = hpacml.tensor %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:      hpacml.gather %a into %y : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:      hpacml.collect "r" database "d.h5" sample <every: 10, most: 1000> units <t: "K"> maps ["to: f: [i] = ([i]) | f(t[0 : 9])", "from: f: [i] = ([i]) | f(t[0 : 9])"] ins(%x : memref<9xf32>) outs(%y : memref<9xf32>) time %ms
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %ms_1 = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// What is sampled are the calls that would collect.

hpacml.functor @f : [i] = ([i])

func.func @sampled_predicated(%t: memref<9xf32>, %c: i1, %d: i1) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml predicated(%c) if(%d) inout(%a : !hpacml.mapping<9xf32>) label "r" on_error "raise" sample <fraction: 0.5> {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @sampled_predicated(
// CHECK-NEXT:    scf.if %d {
// CHECK-NEXT:      %a = hpacml.map
// CHECK-NEXT:      scf.if %c {
// CHECK:             hpacml.infer "r"
// CHECK-NEXT:        hpacml.scatter
// CHECK-NEXT:      } else {
// CHECK-NEXT:        %sampled = hpacml.sample "r" <fraction: 0.5>
// CHECK-NEXT:        scf.if %sampled {
// CHECK:               hpacml.collect "r" sample <fraction: 0.5>
// CHECK-NEXT:        } else {
// CHECK-NEXT:          %ms_1 = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:        }
// CHECK-NEXT:      }
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %ms_2 = hpacml.body "r" @r_body(%t : memref<9xf32>)

// -----

// A region in a region.

hpacml.functor @f : [i] = ([i])

func.func @nested(%t: memref<9xf32>, %d: i1) {
  %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.ml infer if(%d) inout(%a : !hpacml.mapping<9xf32>) label "outer" on_error "raise" {
    %b = hpacml.map inout @f(%t[0 : 3]) : memref<9xf32> -> !hpacml.mapping<3xf32>
    hpacml.ml collect inout(%b : !hpacml.mapping<3xf32>) label "inner" {
      "test.op"(%t) : (memref<9xf32>) -> ()
    }
  }
  func.return
}

// CHECK-LABEL: func.func @nested(%t: memref<9xf32>, %d: i1) {
// CHECK-NEXT:    scf.if %d {
// CHECK-NEXT:      %a = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
// CHECK-NEXT:      %x = hpacml.tensor %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:      hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:      %y = hpacml.tensor %a : !hpacml.mapping<9xf32> -> memref<9xf32>
// CHECK-NEXT:      %{{[0-9]+}} = hpacml.infer "outer" on_error "raise" maps ["to: f: [i] = ([i]) | f(t[0 : 9])", "from: f: [i] = ([i]) | f(t[0 : 9])"] ins(%x : memref<9xf32>) outs(%y : memref<9xf32>)
// CHECK-NEXT:      hpacml.scatter %y into %a : memref<9xf32>, !hpacml.mapping<9xf32>
// CHECK-NEXT:    } else {
// CHECK-NEXT:      %ms = hpacml.body "outer" @outer_body(%t : memref<9xf32>)
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
// CHECK-NEXT:  func.func private @outer_body(%t: memref<9xf32>) attributes {llvm.linkage = #llvm.linkage<"internal">, hpacml.body_of = "nested"} {
// CHECK-NEXT:    %b = hpacml.map inout @f(%t[0 : 3]) : memref<9xf32> -> !hpacml.mapping<3xf32>
// CHECK-NEXT:    %x = hpacml.tensor fresh %b : !hpacml.mapping<3xf32> -> memref<3xf32>
// CHECK-NEXT:    hpacml.gather %b into %x : !hpacml.mapping<3xf32>, memref<3xf32>
// CHECK-NEXT:    %ms = hpacml.body "inner" @inner_body(%t : memref<9xf32>)
// CHECK-NEXT:    %y = hpacml.tensor %b : !hpacml.mapping<3xf32> -> memref<3xf32>
// CHECK-NEXT:    hpacml.gather %b into %y : !hpacml.mapping<3xf32>, memref<3xf32>
// CHECK-NEXT:    hpacml.collect "inner" maps ["to: f: [i] = ([i]) | f(t[0 : 3])", "from: f: [i] = ([i]) | f(t[0 : 3])"] ins(%x : memref<3xf32>) outs(%y : memref<3xf32>) time %ms
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }
// CHECK-NEXT:  func.func private @inner_body(%t: memref<9xf32>) attributes {llvm.linkage = #llvm.linkage<"internal">, hpacml.body_of = "nested"} {
// CHECK-NEXT:    "test.op"(%t) : (memref<9xf32>) -> ()
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// Each region has its own maps, under its own condition, also of one map that serves several.

hpacml.functor @f : [i] = ([i])

func.func @shared(%t: memref<9xf32>, %c: i1) {
  %shared = hpacml.map inout @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  %outer = hpacml.map from @f(%t[0 : 8]) : memref<9xf32> -> !hpacml.mapping<8xf32>
  hpacml.ml infer if(%c) in(%shared : !hpacml.mapping<9xf32>) out(%shared : !hpacml.mapping<9xf32>) label "first" {
    "test.op"() : () -> ()
  }
  scf.if %c {
    hpacml.ml infer if(%c) in(%shared : !hpacml.mapping<9xf32>) out(%outer : !hpacml.mapping<8xf32>) label "second" {
      "test.op"() : () -> ()
    }
  }
  func.return
}

// CHECK-LABEL: func.func @shared(%t: memref<9xf32>, %c: i1) {
// CHECK-NEXT:    scf.if %c {
// CHECK-NEXT:      %shared = hpacml.map inout @f(%t[0 : 9])
// CHECK-NEXT:      %x = hpacml.tensor %shared
// CHECK:           hpacml.body "first" @first_body()
// CHECK:         scf.if %c {
// CHECK-NEXT:      scf.if %c {
// CHECK-NEXT:        %shared_1 = hpacml.map inout @f(%t[0 : 9])
// CHECK-NEXT:        %outer = hpacml.map from @f(%t[0 : 8])
// CHECK-NEXT:        %x_1 = hpacml.tensor %shared_1

// -----

// What a body uses from outside becomes arguments, but for constants and maps, which come along.

hpacml.functor @f : [i] = ([i])

func.func @captures(%t: memref<9xf32>, %s: f32, %n: index) {
  %c1 = arith.constant 1 : index
  %a = hpacml.map inout @f(%t[%c1 : %n]) : memref<9xf32> -> !hpacml.mapping<?xf32>
  scf.for %i = %c1 to %n step %c1 {
    hpacml.ml collect inout(%a : !hpacml.mapping<?xf32>) label "out er" {
      memref.store %s, %t[%i] : memref<9xf32>
      hpacml.ml infer inout(%a : !hpacml.mapping<?xf32>) label "inner" {
        scf.for %j = %c1 to %i step %c1 {
          "test.op"(%i, %j) : (index, index) -> ()
        }
      }
    }
  }
  func.return
}

// CHECK-LABEL: func.func @captures(
// CHECK:           hpacml.body "out er" @out_er_body(%t, %n, %s, %i : memref<9xf32>, index, f32, index)
// CHECK:       func.func private @out_er_body(%t: memref<9xf32>, %n: index, %s: f32, %i: index)
// CHECK-NEXT:    arith.constant 1 : index
// CHECK:         memref.store %s, %t[%i]
// CHECK-NEXT:    hpacml.map inout @f(%t[%{{.*}} : %n])
// CHECK:         hpacml.body "inner" @inner_body(%i : index)
// CHECK:       func.func private @inner_body(%i: index)
// CHECK-NEXT:    arith.constant 1 : index

// -----

// Nothing to expand.

hpacml.functor @f : [i] = ([i])

func.func @nothing(%t: memref<9xf32>, %x: memref<9xf32>) {
  %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
  hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
  func.return
}

// CHECK-LABEL: func.func @nothing(%t: memref<9xf32>, %x: memref<9xf32>) {
// CHECK-NEXT:    %a = hpacml.map to @f(%t[0 : 9]) : memref<9xf32> -> !hpacml.mapping<9xf32>
// CHECK-NEXT:    hpacml.gather %a into %x : !hpacml.mapping<9xf32>, memref<9xf32>
// CHECK-NEXT:    func.return
// CHECK-NEXT:  }

// -----

// A truth is gathered behind the original code, in place of the outputs, and is not looked at where the model runs.

hpacml.functor @in : [i, 0:2] = ([i - 1], [i + 1])
hpacml.functor @out : [i] = ([i])

func.func @truth(%t: memref<9xf32>, %u: memref<9xf32>, %v: memref<9xf64>, %c: i1, %s: f64) {
  %in = hpacml.map to @in(%t[1 : 8]) {text = "in(t[1:8])"} : memref<9xf32> -> !hpacml.mapping<7x2xf32>
  %out = hpacml.map from @out(%u[1 : 8]) {text = "out(u[1:8])"} : memref<9xf32> -> !hpacml.mapping<7xf32>
  %true = hpacml.map to @out(%v[1 : 8]) {text = "out(v[1:8])"} : memref<9xf64> -> !hpacml.mapping<7xf64>
  hpacml.ml predicated(%c) in(%in : !hpacml.mapping<7x2xf32>) out(%out : !hpacml.mapping<7xf32>) truth(%true : !hpacml.mapping<7xf64>) numbers(%s) label "r" on_error "raise" database "d.h5" meta ["step"] {
    "test.op"(%t) : (memref<9xf32>) -> ()
  }
  func.return
}

// CHECK-LABEL: func.func @truth(
// CHECK-NEXT:    %in = hpacml.map to @in
// CHECK-NEXT:    %out = hpacml.map from @out
// CHECK-NEXT:    scf.if %c {
// CHECK-NOT:       memref<9xf64>
// CHECK:         } else {
// CHECK-NEXT:      %true = hpacml.map to @out(%v[1 : 8]) {text = "out(v[1:8])"} : memref<9xf64> -> !hpacml.mapping<7xf64>
// CHECK-NEXT:      %x_1 = hpacml.tensor fresh %in
// CHECK-NEXT:      hpacml.gather %in into %x_1
// CHECK-NEXT:      %ms = hpacml.body "r" @r_body(%t : memref<9xf32>)
// CHECK-NEXT:      %y_1 = hpacml.tensor %true : !hpacml.mapping<7xf64> -> memref<7xf64>
// CHECK-NEXT:      hpacml.gather %true into %y_1
// CHECK-NEXT:      hpacml.collect "r" database "d.h5" meta ["step"] maps ["to: in: [i, 0:2] = ([i - 1], [i + 1]) | in(t[1:8])", "from: out: [i] = ([i]) | out(u[1:8])"] truth ["to: out: [i] = ([i]) | out(v[1:8])"] ins(%x_1 : memref<7x2xf32>) outs(%y_1 : memref<7xf64>) numbers(%s) time %ms
// CHECK-NEXT:    }

// Without collection, maps are checked where the model does not run, too.

// ALONE-LABEL: func.func @truth(
// ALONE-NEXT:    %in = hpacml.map to @in
// ALONE-NEXT:    %out = hpacml.map from @out
// ALONE-NEXT:    scf.if %c {
// ALONE:         } else {
// ALONE-NEXT:      hpacml.body "r" @r_body(%t : memref<9xf32>)
// ALONE-NEXT:    }
