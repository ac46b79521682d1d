/* The model in TensorFlow Lite for Microcontrollers. Compile it with model.c and, against TFLM's headers and library,
 * model_runtime.cc. */
#include <string.h>

#include "golden.h"
#include "model.h"
#include "model_runtime.h"
#include "run.h"

static int place(const char* name, const golden_tensor* tensors, int count) {
  for (int index = 0; index < count; ++index)
    if (strcmp(name, tensors[index].name) == 0) return index;
  return -1;
}

int run(const void* const* inputs, void* const* outputs) {
  int status = model_start();
  if (status) return status;
  if ((status = model_reset())) return status;
  for (size_t index = 0; index < MODEL_INPUTS; ++index) {
    int from = place(model_inputs[index].name, golden_inputs, GOLDEN_INPUTS);
    if (from < 0) return -1;
    memcpy(model_input(index), inputs[from], model_inputs[index].bytes);
  }
  if ((status = model_invoke())) return status;
  for (size_t index = 0; index < MODEL_OUTPUTS; ++index) {
    int to = place(model_outputs[index].name, golden_outputs, GOLDEN_OUTPUTS);
    if (to < 0) return -1;
    memcpy(outputs[to], model_output(index), model_outputs[index].bytes);
  }
  return 0;
}
