// RUN: hpacml-opt %s -p convert-hpacml-to-runtime --split-input-file | filecheck %s

// A call passes a constant that describes its site, and pointers to the descriptors of its tensors.

func.func @infer(%x: memref<?x5xf32>, %y: memref<?x1xf64>) -> i1 {
  %done = hpacml.infer "heat" model "m.pt2" batch 64 on_error "accurate" maps ["to: f", "from: g"] ins(%x : memref<?x5xf32>) outs(%y : memref<?x1xf64>)
  func.return %done : i1
}

// CHECK:       llvm.mlir.global private constant @hpacml_site_0
// CHECK-SAME:    kind{{.*}}infer{{.*}}label{{.*}}heat{{.*}}path{{.*}}m.pt2{{.*}}batch{{.*}}64{{.*}}on_error{{.*}}accurate{{.*}}f32{{.*}}rank{{.*}}2{{.*}}f64
// CHECK:       func.func private @hpacml_infer(!llvm.ptr, !llvm.ptr) -> i32
// CHECK-LABEL: func.func @infer
// CHECK:         builtin.unrealized_conversion_cast %x : memref<?x5xf32> to !llvm.struct<(!llvm.ptr, !llvm.ptr, i64, !llvm.array<2 x i64>, !llvm.array<2 x i64>)>
// CHECK:         llvm.store
// CHECK:         builtin.unrealized_conversion_cast %y
// CHECK:         [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:    [[STATUS:%.*]] = func.call @hpacml_infer([[SITE]], {{%\d+}}) : (!llvm.ptr, !llvm.ptr) -> i32
// CHECK-NEXT:    [[ZERO:%.*]] = arith.constant 0 : i32
// CHECK-NEXT:    [[DONE:%.*]] = arith.cmpi ne, [[STATUS]], [[ZERO]] : i32
// CHECK-NEXT:    func.return [[DONE]] : i1

// -----

// Views are offered with the record of the inference, so that both are of one site, and with a record of their own.

func.func @offer(%x: memref<?x3xf32>, %v: memref<?xf32>, %y: memref<?x1xf32>) {
  %on_views = hpacml.infer_on_views "a" model "m.pt2" tensors [memref<?x3xf32>, memref<?x1xf32>] ins(%v, %x : memref<?xf32>, memref<?x3xf32>) outs(%v : memref<?xf32>)
  %done = hpacml.infer "a" model "m.pt2" ins(%x : memref<?x3xf32>) outs(%y : memref<?x1xf32>)
  func.return
}

// CHECK-DAG:   @hpacml_site_0("{\22kind\22: \22infer\22, \22label\22: \22a\22
// CHECK-DAG:   @hpacml_site_1("{\22kind\22: \22views\22, \22sweep\22: 1, \22inputs\22: [{\22dtype\22: \22f32\22, \22rank\22: 1}, {\22dtype\22: \22f32\22, \22rank\22: 2}], \22outputs\22: [{\22dtype\22: \22f32\22, \22rank\22: 1}]}\00")
// CHECK-DAG:   func.func private @hpacml_infer_on_views(!llvm.ptr, !llvm.ptr, !llvm.ptr) -> i32
// CHECK-LABEL: func.func @offer
// CHECK:         [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:    [[VIEWS:%\d+]] = llvm.mlir.addressof @hpacml_site_1
// CHECK-NEXT:    func.call @hpacml_infer_on_views([[SITE]], [[VIEWS]], {{%\d+}}) : (!llvm.ptr, !llvm.ptr, !llvm.ptr) -> i32
// CHECK:         [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:    func.call @hpacml_infer([[SITE]]

// -----

// Sites are told apart by what they say: equal ones share a constant. Everything the runtime needs to know is in it.

func.func @sites(%x: memref<?x5xf32>, %u: memref<2xi8>, %z: memref<bf16>, %ms: f64, %ok: i1, %n: index) {
  %0 = hpacml.infer "a" model "m.pt2" batch 64 maps ["to: f"] ins(%x : memref<?x5xf32>) outs(%u, %z : memref<2xi8>, memref<bf16>)
  %1 = hpacml.infer "a" model "m.pt2" batch 64 maps ["to: f"] ins(%x : memref<?x5xf32>) outs(%u, %z : memref<2xi8>, memref<bf16>)
  %2 = hpacml.infer "a" model @net ins(%x : memref<?x5xf32>) outs(%x : memref<?x5xf32>)
  hpacml.collect "a" ins(%x : memref<?x5xf32>) outs(%x : memref<?x5xf32>) time %ms
  hpacml_rt.check_map %ok inout "f: [i, 0:m] = ([i * m : i * m + m, k])" names ["t"] targets [#hpacml.target<[1 : ? : 2, ?]>] sizes(%n, %n) bounds(%n, %n) params(%n) of ["m"]
  func.return
}

// CHECK-LABEL: builtin.module {
// CHECK-DAG:   @hpacml_site_0("{\22kind\22: \22infer\22, \22label\22: \22a\22, \22model\22: {\22path\22: \22m.pt2\22}, \22batch\22: 64, \22on_error\22: null, \22maps\22: [\22to: f\22], \22inputs\22: [{\22dtype\22: \22f32\22, \22rank\22: 2}], \22outputs\22: [{\22dtype\22: \22u8\22, \22rank\22: 1}, {\22dtype\22: \22bf16\22, \22rank\22: 0}], \22engine\22: null}\00")
// CHECK-DAG:   @hpacml_site_1("{\22kind\22: \22infer\22, \22label\22: \22a\22, \22model\22: {\22argument\22: \22net\22}, \22batch\22: null, \22on_error\22: null, \22maps\22: [], 
// CHECK-DAG:   @hpacml_site_2("{\22kind\22: \22collect\22, \22label\22: \22a\22, \22database\22: null, \22maps\22: [], 
// CHECK-DAG:   @hpacml_site_3("{\22kind\22: \22map\22, \22direction\22: \22inout\22, \22functor\22: \22f: [i, 0:m] = ([i * m : i * m + m, k])\22, \22parameters\22: [\22m\22], \22names\22: [\22t\22], \22targets\22: {{\[\[\[}}1, null, 2], [null]]], \22arrays\22: [], \22sharing\22: false, \22text\22: null}\00")
// CHECK-LABEL: func.func @sites
// CHECK:         llvm.mlir.addressof @hpacml_site_0
// CHECK:         llvm.mlir.addressof @hpacml_site_0
// CHECK:         llvm.mlir.addressof @hpacml_site_1
// CHECK:         llvm.mlir.addressof @hpacml_site_2
// CHECK:         llvm.mlir.addressof @hpacml_site_3

// -----

// The body is called, and timed where its time is recorded. A model may be an argument.

func.func private @my_region_body(memref<?xf32>)

func.func @collect(%x: memref<?xf32>, %c: i1) {
  scf.if %c {
    %ms = hpacml.body "my region" @my_region_body(%x : memref<?xf32>)
    hpacml.collect "my region" database @db ins(%x : memref<?xf32>) outs(%x : memref<?xf32>) time %ms
  } else {
    %ms = hpacml.body "my region" @my_region_body(%x : memref<?xf32>)
  }
  func.return
}

// CHECK-DAG:   llvm.mlir.global {{.*}}collect{{.*}}argument{{.*}}db
// CHECK-LABEL: func.func @collect
// CHECK:         scf.if %c {
// CHECK:           [[START:%\d+]] = func.call @hpacml_time_ms() : () -> f64
// CHECK-NEXT:      func.call @my_region_body(%x)
// CHECK-NEXT:      [[STOP:%\d+]] = func.call @hpacml_time_ms() : () -> f64
// CHECK-NEXT:      %ms = arith.subf [[STOP]], [[START]] : f64
// CHECK:           func.call @hpacml_collect({{.*}}, {{.*}}, %ms)
// CHECK:         } else {
// CHECK-NEXT:      func.call @my_region_body(%x)
// CHECK-NEXT:    }

// -----

// Numbers of a call come behind its tensors, as pointers to doubles.

func.func @numbers(%x: memref<?xf32>, %ms: f64, %step: f64) {
  hpacml.collect "heat" meta ["step"] maps ["to: f", "from: g"] truth ["to: h"] ins(%x : memref<?xf32>) outs(%x : memref<?xf32>) numbers(%step) time %ms
  func.return
}

// CHECK-LABEL: builtin.module {
// CHECK:       @hpacml_site_0({{.*}}, \22maps\22: [\22to: f\22, \22from: g\22], {{.*}}, \22meta\22: [\22step\22], \22truth\22: [\22to: h\22]}\00")
// CHECK-LABEL: func.func @numbers
// CHECK:         [[POINTERS:%\d+]] = llvm.alloca %{{.*}} x !llvm.ptr
// CHECK:         [[ROOM:%\d+]] = llvm.alloca %{{.*}} x f64
// CHECK:         llvm.store %step, [[ROOM]] : f64, !llvm.ptr
// CHECK:         [[PLACE:%\d+]] = llvm.getelementptr [[POINTERS]][2]
// CHECK-NEXT:    llvm.store [[ROOM]], [[PLACE]]
// CHECK:         func.call @hpacml_collect({{.*}}, [[POINTERS]], %ms)

// -----

// The runtime is asked which calls to collect, and told how when it gets one.

func.func @sample(%x: memref<?xf32>, %ms: f64) -> i1 {
  %sampled = hpacml.sample "heat" database "d.h5" <every: 10, fraction: 0.5, seed: 3, most: 9>
  hpacml.collect "heat" database "d.h5" sample <every: 10> units <t: "K", "\C3\B6": "\C2\B0C"> ins(%x : memref<?xf32>) outs(%x : memref<?xf32>) time %ms
  func.return %sampled : i1
}

// CHECK-LABEL: builtin.module {
// CHECK-DAG:   @hpacml_site_0("{\22kind\22: \22sample\22, \22label\22: \22heat\22, \22database\22: {\22path\22: \22d.h5\22}, \22sample\22: {\22every\22: 10, \22fraction\22: 0.5, \22seed\22: 3, \22most\22: 9}}\00")
// CHECK-DAG:   @hpacml_site_1({{.*}}, \22sample\22: {\22every\22: 10}, \22units\22: {\22t\22: \22K\22, \22\\u00f6\22: \22\\u00b0C\22}}\00")
// CHECK-DAG:   func.func private @hpacml_sample(!llvm.ptr) -> i32
// CHECK-LABEL: func.func @sample
// CHECK:         [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:    [[STATUS:%.*]] = func.call @hpacml_sample([[SITE]]) : (!llvm.ptr) -> i32
// CHECK-NEXT:    [[ZERO:%.*]] = arith.constant 0 : i32
// CHECK-NEXT:    [[SAMPLED:%.*]] = arith.cmpi ne, [[STATUS]], [[ZERO]] : i32
// CHECK:         func.return [[SAMPLED]] : i1

// -----

// Rejected points are counted in a word on the stack.

func.func @points(%mask: memref<?x?xi8>, %at: memref<?xi64>) -> index {
  %rejected = hpacml.count_points "heat" %mask : memref<?x?xi8> positions %at : memref<?xi64>
  func.return %rejected : index
}

// CHECK:       @hpacml_site_0("{\22kind\22: \22points\22, \22label\22: \22heat\22, \22mask\22: {\22dtype\22: \22u8\22, \22rank\22: 2}, \22positions\22: true}\00")
// CHECK:       func.func private @hpacml_count_points(!llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-LABEL: func.func @points
// CHECK:         [[FOUND:%\d+]] = llvm.alloca {{%\d+}} x i64
// CHECK:         builtin.unrealized_conversion_cast %mask
// CHECK:         builtin.unrealized_conversion_cast %at
// CHECK:         func.call @hpacml_count_points({{%\d+}}, {{%\d+}}, [[FOUND]]) : (!llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-NEXT:    [[PLACE:%\d+]] = llvm.getelementptr [[FOUND]][0]
// CHECK-NEXT:    [[COUNT:%\d+]] = llvm.load [[PLACE]] : !llvm.ptr -> i64
// CHECK-NEXT:    [[REJECTED:%.*]] = arith.index_cast [[COUNT]] : i64 to index
// CHECK-NEXT:    func.return [[REJECTED]] : index

// -----

// Bounds and the name of a function are those of outputs before they are written.

func.func @corrected(%x: memref<?xf32>, %y: memref<?xf32>) {
  %done = hpacml.infer "heat" model "m.pt2" clip <0.0:, :> project "conserve" ins(%x : memref<?xf32>) outs(%y, %x : memref<?xf32>, memref<?xf32>)
  func.return
}

// CHECK:       @hpacml_site_0("{{.*}} \22clip\22: {{\[\[}}0.0, null], [null, null{{\]\]}}, \22project\22: \22conserve\22}\00")
// CHECK-LABEL: func.func @corrected

// -----

// Memory is filled with the domain of a model.

func.func @domain(%low: memref<?xf64>, %high: memref<?xf64>, %mean: memref<?xf64>, %whitening: memref<?x?xf64>) -> i1 {
  %known = hpacml.domain "heat" model @net on_error "accurate" margin 0.25 into(%low, %high : memref<?xf64>, memref<?xf64>) distance(%mean, %whitening : memref<?xf64>, memref<?x?xf64>)
  func.return %known : i1
}

// CHECK:       @hpacml_site_0("{\22kind\22: \22domain\22, \22label\22: \22heat\22, \22model\22: {\22argument\22: \22net\22}, \22inputs\22: [\22f64\22], \22margin\22: 0.25, \22distance\22: true, \22on_error\22: \22accurate\22}\00")
// CHECK:       func.func private @hpacml_domain(!llvm.ptr, !llvm.ptr) -> i32
// CHECK-LABEL: func.func @domain
// CHECK:         builtin.unrealized_conversion_cast %low
// CHECK:         builtin.unrealized_conversion_cast %high
// CHECK:         builtin.unrealized_conversion_cast %mean
// CHECK:         builtin.unrealized_conversion_cast %whitening
// CHECK:         [[STATUS:%\d+]] = func.call @hpacml_domain({{%\d+}}, {{%\d+}}) : (!llvm.ptr, !llvm.ptr) -> i32
// CHECK:         [[KNOWN:%.*]] = arith.cmpi ne, [[STATUS]]
// CHECK-NEXT:    func.return [[KNOWN]] : i1

// -----

// An inference is counted with a record of the region's checks, and the check itself has one with its tensors.

func.func @checks(%y: memref<?x1xf32>, %truth: memref<?x1xf32>, %mask: memref<?xi8>) -> (i1, i1, i1) {
  %due, %open = hpacml.count_inference "heat" <every: 100, tolerance: 0.01> maps ["to: f", "from: g"]
  %good = hpacml.verify "heat" <every: 100, tolerance: 0.01> maps ["to: f", "from: g"] ins(%y : memref<?x1xf32>) against(%truth : memref<?x1xf32>) where(%mask : memref<?xi8>)
  func.return %open, %due, %good : i1, i1, i1
}

// CHECK-LABEL: builtin.module {
// CHECK-DAG:   @hpacml_site_0("{\22kind\22: \22verify\22, \22label\22: \22heat\22, \22verify\22: {\22every\22: 100, \22tolerance\22: 0.01, \22metric\22: \22rmse\22, \22window\22: 20, \22then\22: \22accurate\22}, \22maps\22: [\22to: f\22, \22from: g\22], \22outputs\22: []}\00")
// CHECK-DAG:   @hpacml_site_1("{\22kind\22: \22verify\22, {{.*}}\22outputs\22: [{\22dtype\22: \22f32\22, \22rank\22: 2}], \22mask\22: {\22dtype\22: \22u8\22, \22rank\22: 1}}\00")
// CHECK-LABEL: func.func @checks
// CHECK:         llvm.alloca {{%\d+}} x !llvm.ptr
// CHECK:         [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_0
// CHECK-NEXT:    func.call @hpacml_count_inference([[SITE]], [[FOUND:%\d+]]) : (!llvm.ptr, !llvm.ptr) -> ()
// CHECK:         [[BITS:%.*]] = llvm.load
// CHECK:         [[BIT:%.*]] = arith.andi [[BITS]], {{%.*}} : i64
// CHECK-NEXT:    [[DUE:%.*]] = arith.cmpi ne, [[BIT]]
// CHECK:         [[BIT:%.*]] = arith.andi [[BITS]], {{%.*}} : i64
// CHECK-NEXT:    [[OPEN:%.*]] = arith.cmpi ne, [[BIT]]
// CHECK-NEXT:    builtin.unrealized_conversion_cast %y
// CHECK:         builtin.unrealized_conversion_cast %truth
// CHECK:         builtin.unrealized_conversion_cast %mask
// CHECK:         [[SITE:%\d+]] = llvm.mlir.addressof @hpacml_site_1
// CHECK-NEXT:    [[STATUS:%.*]] = func.call @hpacml_verify([[SITE]], {{%\d+}}) : (!llvm.ptr, !llvm.ptr) -> i32
// CHECK-NEXT:    [[ZERO:%.*]] = arith.constant 0 : i32
// CHECK-NEXT:    [[GOOD:%.*]] = arith.cmpi ne, [[STATUS]], [[ZERO]] : i32
// CHECK-NEXT:    func.return [[OPEN]], [[DUE]], [[GOOD]] : i1, i1, i1

// -----

// Code on some points, and on all of them.

func.func @compared(%mask: memref<?xi8>, %at: memref<?xi64>, %y: memref<?x1xf32>, %whole: memref<?x1xf32>) -> i1 {
  %k = hpacml.count_points again "heat" %mask : memref<?xi8> positions %at : memref<?xi64>
  %due = hpacml.is_compared "heat" %mask : memref<?xi8>
  hpacml.compare_points "heat" maps ["f(y[0:n])"] ins(%y : memref<?x1xf32>) against(%whole : memref<?x1xf32>) features [1, -1] where %mask : memref<?xi8>
  func.return %due : i1
}

// CHECK-DAG:   {\22kind\22: \22points\22, {{.*}}\22again\22: true}
// CHECK-DAG:   {\22kind\22: \22comparison\22, {{.*}}\22mask\22: {\22dtype\22: \22u8\22, \22rank\22: 1}, \22maps\22: [], \22outputs\22: [], \22features\22: []}
// CHECK-DAG:   {\22kind\22: \22comparison\22, {{.*}}\22mask\22: {\22dtype\22: \22u8\22, \22rank\22: 1}, \22maps\22: [\22f(y[0:n])\22], \22outputs\22: [{\22dtype\22: \22f32\22, \22rank\22: 2}], \22features\22: {{\[\[1\]\]}}}
// CHECK-LABEL: func.func @compared
// CHECK:         func.call @hpacml_is_compared({{%\d+}}, {{%\d+}}) : (!llvm.ptr, !llvm.ptr) -> i32
// CHECK:         func.call @hpacml_compare_points({{%\d+}}, {{%\d+}}) : (!llvm.ptr, !llvm.ptr) -> ()

// -----

// A doubtful map is judged by the runtime, which gets all its numbers.

func.func @check(%fits: i1, %size: index, %n: index) {
  hpacml_rt.check_map %fits to "f: [i] = ([i - 1])" names ["t"] targets [#hpacml.target<[1 : ?]>] sizes(%size) bounds(%n) params() of [] text "f(t[1:n])"
  func.return
}

// CHECK:       llvm.mlir.global {{.*}}f: [i] = ([i - 1]){{.*}}{{\[\[\[}}1, null, 1]]]{{.*}}arrays{{.*}}f(t[1:n])
// CHECK-LABEL: func.func @check
// CHECK:         llvm.alloca
// CHECK:         [[FAILS:%\d+]] = arith.xori %fits
// CHECK-NEXT:    scf.if [[FAILS]] {
// CHECK-NEXT:      arith.index_cast %size
// CHECK-NEXT:      arith.index_cast %n
// CHECK:           [[NONE:%\d+]] = llvm.mlir.zero : !llvm.ptr
// CHECK:           func.call @hpacml_check_map({{%\d+}}, {{%\d+}}, [[NONE]]) : (!llvm.ptr, !llvm.ptr, !llvm.ptr) -> ()
// CHECK-NEXT:    }

// -----

func.func @nothing() {
  func.return
}

// CHECK:      builtin.module {
// CHECK-NEXT:   func.func @nothing

// -----

// Rejected points come with their reasons, between tensors and numbers.

func.func @rejected(%x: memref<?xf32>, %why: memref<?xi8>, %step: f64) {
  %start = hpacml_rt.milliseconds
  %stop = hpacml_rt.milliseconds
  %ms = arith.subf %stop, %start : f64
  hpacml.collect "heat" meta ["step"] maps ["to: f", "from: g"] ins(%x : memref<?xf32>) outs(%x : memref<?xf32>) reasons(%why : memref<?xi8>) numbers(%step) time %ms
  func.return
}

// CHECK:       \22meta\22: [\22step\22], \22reasons\22: {\22dtype\22: \22u8\22, \22rank\22: 1}}\00")
// CHECK-LABEL: func.func @rejected
// CHECK:         %start = func.call @hpacml_time_ms() : () -> f64
// CHECK-NEXT:    %stop = func.call @hpacml_time_ms() : () -> f64
// CHECK:         llvm.store %step
// CHECK:         func.call @hpacml_collect({{.*}}, {{.*}}, %ms)
