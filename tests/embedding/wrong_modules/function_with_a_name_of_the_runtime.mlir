// passes: convert-hpacml-to-runtime
// says: dsl.py:2:1: @hpacml_time_ms is a function of the runtime

hpacml.functor @f : [i] = ([i])

func.func @hpacml_time_ms(%x: f32) -> f32 {
  func.return %x : f32
} loc("dsl.py":2:1)
func.func private @step()
func.func @k() -> f64 {
  %ms = hpacml.body "r" @step()
  func.return %ms : f64
}
