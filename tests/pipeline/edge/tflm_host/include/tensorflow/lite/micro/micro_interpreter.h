// Stands in for TFLM's header of this name: what a program calls of it, laid out as in the wheel's library.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {
inline namespace micro {

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

struct TfLiteTensor {
  struct {
    int type;
    void* params;
  } quantization;
  struct {
    float scale;
    int32_t zero_point;
  } params;
  union {
    void* data;
    float* f;
    int8_t* int8;
    uint8_t* uint8;
    int16_t* i16;
    int32_t* i32;
  } data;
  void* dims;
  size_t bytes;
  int type;
  int allocation_type;
  bool is_variable;
};

struct TFLMRegistration {
  void* functions[5];  // init, free, prepare, invoke, reset
  int32_t builtin_code;
  const char* custom_name;
};

class BuiltinDataAllocator;
using BuiltinParser = TfLiteStatus (*)(const Operator*, BuiltinDataAllocator*, void**);

class MicroOpResolver {
 public:
  virtual const TFLMRegistration* FindOp(BuiltinOperator kind) const = 0;
  virtual const TFLMRegistration* FindOp(const char* custom_name) const = 0;
  virtual BuiltinParser GetOpDataParser(BuiltinOperator kind) const = 0;
  virtual ~MicroOpResolver() = default;
};

class MicroResourceVariables;
class MicroProfilerInterface;

class MicroInterpreter {
 public:
  MicroInterpreter(const Model* model, const MicroOpResolver& resolver, uint8_t* arena, size_t arena_bytes,
                   MicroResourceVariables* variables = nullptr, MicroProfilerInterface* profiler = nullptr,
                   bool preserve_all_tensors = false);
  ~MicroInterpreter();
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteStatus Reset();
  TfLiteTensor* input(size_t index);
  TfLiteTensor* output(size_t index);

 private:
  alignas(16) unsigned char members_[4096];  // more than the library's own
};

}  // namespace micro
}  // namespace tflite
