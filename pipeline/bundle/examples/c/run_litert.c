/* The model in LiteRT, on a computer or a phone: libLiteRt.so. */
#include <string.h>

#include "golden.h"
#include "litert_api.h"
#include "run.h"

#ifndef MODEL_PATH
#define MODEL_PATH "../../model.tflite" /* from this folder */
#endif

static LiteRtEnvironment environment;
static LiteRtModel model;
static LiteRtOptions options;
static LiteRtCompiledModel compiled;
static LiteRtTensorBuffer inputs_of_model[GOLDEN_INPUTS], outputs_of_model[GOLDEN_OUTPUTS];
static int place_of_input[GOLDEN_INPUTS], place_of_output[GOLDEN_OUTPUTS];

static int place(const char* name, const golden_tensor* tensors, int count) {
  for (int index = 0; index < count; ++index)
    if (strcmp(name, tensors[index].name) == 0) return index;
  return -1;
}

static LiteRtRankedTensorType type_of(const golden_tensor* tensor) {
  LiteRtRankedTensorType type;
  memset(&type, 0, sizeof type);
  type.element_type = tensor->type;
  type.rank = (uint32_t)tensor->rank;
  for (int axis = 0; axis < tensor->rank; ++axis) type.dimensions[axis] = tensor->shape[axis];
  return type;
}

static int load(void) {
  LiteRtSignature signature;
  LiteRtTensorBufferRequirements wanted;
  const char* name;
  int status = 0;
  status |= LiteRtCreateEnvironment(0, NULL, &environment);
  status |= LiteRtCreateModelFromFile(environment, MODEL_PATH, &model);
  status |= LiteRtCreateOptions(&options);
  status |= LiteRtSetOptionsHardwareAccelerators(options, LITERT_CPU);
  if (status) return status;
  status |= LiteRtCreateCompiledModel(environment, model, options, &compiled);
  status |= LiteRtGetModelSignature(model, 0, &signature);
  if (status) return status;
  for (size_t index = 0; index < GOLDEN_INPUTS && !status; ++index) {
    status |= LiteRtGetSignatureInputName(signature, index, &name);
    if (status || (place_of_input[index] = place(name, golden_inputs, GOLDEN_INPUTS)) < 0) return -1;
    const golden_tensor* tensor = &golden_inputs[place_of_input[index]];
    LiteRtRankedTensorType type = type_of(tensor);
    status |= LiteRtGetCompiledModelInputBufferRequirements(compiled, 0, index, &wanted);
    status |= LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, wanted, &inputs_of_model[index]);
  }
  for (size_t index = 0; index < GOLDEN_OUTPUTS && !status; ++index) {
    status |= LiteRtGetSignatureOutputName(signature, index, &name);
    if (status || (place_of_output[index] = place(name, golden_outputs, GOLDEN_OUTPUTS)) < 0) return -1;
    LiteRtRankedTensorType type = type_of(&golden_outputs[place_of_output[index]]);
    status |= LiteRtGetCompiledModelOutputBufferRequirements(compiled, 0, index, &wanted);
    status |= LiteRtCreateManagedTensorBufferFromRequirements(environment, &type, wanted, &outputs_of_model[index]);
  }
  return status;
}

int run(const void* const* inputs, void* const* outputs) {
  void* address;
  static int loaded;
  int status = loaded ? 0 : load();
  if (status) return status;
  loaded = 1;
  for (int index = 0; index < GOLDEN_INPUTS; ++index) {
    int from = place_of_input[index];
    if ((status = LiteRtLockTensorBuffer(inputs_of_model[index], &address, LITERT_LOCK_WRITE))) return status;
    memcpy(address, inputs[from], golden_inputs[from].bytes);
    if ((status = LiteRtUnlockTensorBuffer(inputs_of_model[index]))) return status;
  }
  status = LiteRtRunCompiledModel(compiled, 0, GOLDEN_INPUTS, inputs_of_model, GOLDEN_OUTPUTS, outputs_of_model);
  if (status) return status;
  for (int index = 0; index < GOLDEN_OUTPUTS; ++index) {
    int to = place_of_output[index];
    if ((status = LiteRtLockTensorBuffer(outputs_of_model[index], &address, LITERT_LOCK_READ))) return status;
    memcpy(outputs[to], address, golden_outputs[to].bytes);
    if ((status = LiteRtUnlockTensorBuffer(outputs_of_model[index]))) return status;
  }
  return 0;
}
