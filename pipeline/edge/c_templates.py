"""The C and C++ files that `c_source` fills in; $$ is a dollar sign, ${name} digits_int8, ${NAME} DIGITS_INT8."""

from __future__ import annotations

NEEDS_CPU = "It runs on the CPU alone."
NEEDS_NPU = """\
Compiled by Vela: it needs the Arm Ethos-U that it was compiled for, the NPU's driver, and TFLM's kernel for it
   (AddEthosU)."""

ARENA_MEASURED = """\
Measured with the reference kernels where a pointer has
   8 bytes: with the same kernels, a 32-bit microcontroller needs less. Kernels of your chip's vendor may need more;
   MicroInterpreter::arena_used_bytes() tells on the device."""
ARENA_ESTIMATED = """\
Not measured: what Vela estimates that
   the NPU works in, and what TFLM keeps beside it, measured on the file before Vela.
   MicroInterpreter::arena_used_bytes() tells on the device."""

HEADER = """\
/* ${file} for a microcontroller, written by modelmill.
   ${needs} */
#ifndef ${NAME}_H_
#define ${NAME}_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of the tensor arena, which must be aligned to 16 bytes. ${arena_is} */
#define ${NAME}_ARENA_BYTES ${arena_bytes}

#define ${NAME}_MODEL_BYTES ${model_bytes}
#define ${NAME}_OPERATORS ${operator_count}
#define ${NAME}_INPUTS ${input_count}
#define ${NAME}_OUTPUTS ${output_count}
#define ${NAME}_LABELS ${label_count}

enum ${name}_type {
  ${NAME}_FLOAT32,
  ${NAME}_INT8,
  ${NAME}_UINT8,
  ${NAME}_INT16,
  ${NAME}_INT32,
  ${NAME}_INT64,
  ${NAME}_BOOL
};

struct ${name}_tensor {
  const char *name; /* UTF-8 */
  enum ${name}_type type;
  int rank;
  int32_t shape[${max_rank}]; /* rank sizes, the batch of one first */
  size_t elements;
  size_t bytes;
  /* real value = (integer - zero_point) * scale; a scale of 0: values are what they are */
  float scale;
  int32_t zero_point;
};

extern const uint8_t ${name}_model[${NAME}_MODEL_BYTES]; /* the .tflite, aligned to 16 bytes */
extern const struct ${name}_tensor ${name}_inputs[${NAME}_INPUTS];
extern const struct ${name}_tensor ${name}_outputs[${NAME}_OUTPUTS];
/* ${NAME}_LABELS names of classes in UTF-8, in the order of an output's values; with none, one null pointer */
extern const char *const ${name}_labels[${label_room}];

#ifdef __cplusplus
}
#endif

#endif
"""

DATA = """\
/* ${file} for a microcontroller, written by modelmill. C11; C++11 takes it, too.
   ${needs} */
#include "${name}.h"

#ifndef __cplusplus
#include <stdalign.h>
#endif

/* The operators that it needs, and the methods of MicroMutableOpResolver that register them:
${operator_list} */

alignas(16) const uint8_t ${name}_model[${NAME}_MODEL_BYTES] = {
${model}
};

const struct ${name}_tensor ${name}_inputs[${NAME}_INPUTS] = {
${inputs}
};

const struct ${name}_tensor ${name}_outputs[${NAME}_OUTPUTS] = {
${outputs}
};

const char *const ${name}_labels[${label_room}] = {
${labels}
};
"""

OPERATORS = """\
/* The kernels that ${name} needs in TensorFlow Lite for Microcontrollers, written by modelmill. C++.

${operator_list} */
#ifndef ${NAME}_OPERATORS_H_
#define ${NAME}_OPERATORS_H_

#include "${name}.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

/* Registers them; false: one was registered before, or the resolver has no room for all. */
template <unsigned int kRoom>
bool ${name}_register_operators(tflite::MicroMutableOpResolver<kRoom>& resolver) {
  static_assert(kRoom >= ${NAME}_OPERATORS, "the resolver has no room for all operators of ${name}");
  bool registered = true; /* kTfLiteOk is 0 */
${registrations}
  return registered;
}

#endif
"""

RUNTIME_HEADER = """\
/* ${name} in TensorFlow Lite for Microcontrollers, for a program in C; written by modelmill. */
#ifndef ${NAME}_RUNTIME_H_
#define ${NAME}_RUNTIME_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Starts the interpreter, once, in an arena of ${NAME}_ARENA_BYTES. 0; 1: an operator could not be registered; 2: the
   model does not start, in most cases because the arena is too small. */
int ${name}_start(void);

/* Where to write an input: ${name}_inputs[index].bytes bytes. Write all of them before each ${name}_invoke. */
void *${name}_input(size_t index);

/* Answers what was written to the inputs. 0, or not. */
int ${name}_invoke(void);

/* Where an output is until the next call: ${name}_outputs[index].bytes bytes. */
const void *${name}_output(size_t index);

/* Forgets the state of a recurrent model; call it before a sample that does not go on from the last one. 0, or not. */
int ${name}_reset(void);

#ifdef __cplusplus
}
#endif

#endif
"""

RUNTIME = """\
/* ${name} in TensorFlow Lite for Microcontrollers, written by modelmill. C++17; compile it with TFLM's headers.
   ${needs} */
#include "${name}_runtime.h"

#include "${name}.h"
#include "${name}_operators.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {

alignas(16) uint8_t arena[${NAME}_ARENA_BYTES];
tflite::MicroInterpreter* interpreter = nullptr;

} /* namespace */

extern "C" int ${name}_start(void) {
  if (interpreter != nullptr) return 0;
  static tflite::MicroMutableOpResolver<${NAME}_OPERATORS> resolver;
  static const bool registered = ${name}_register_operators(resolver);
  if (!registered) return 1;
  static tflite::MicroInterpreter started(tflite::GetModel(${name}_model), resolver, arena, sizeof(arena));
  if (started.AllocateTensors() != 0) return 2;
  interpreter = &started;
  return 0;
}

extern "C" void* ${name}_input(size_t index) { return interpreter->input(index)->data.data; }

extern "C" int ${name}_invoke(void) { return interpreter->Invoke() == 0 ? 0 : 1; }

extern "C" const void* ${name}_output(size_t index) { return interpreter->output(index)->data.data; }

extern "C" int ${name}_reset(void) { return interpreter->Reset() == 0 ? 0 : 1; }
"""
